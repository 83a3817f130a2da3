# Installs a built Kroton into a fresh prefix, then configures, builds and runs this folder's project
# with nothing but that prefix.
#   KROTON_BUILD_DIR     the build to install
#   KROTON_C_COMPILER, KROTON_CXX_COMPILER  the compilers it was built with
#   WORK_DIR             scratch folder, emptied first
set(prefix "${WORK_DIR}/prefix")
set(build "${WORK_DIR}/build")
file(REMOVE_RECURSE "${WORK_DIR}")
set(ENV{KROTON_CACHE} off)

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "failed (${result}): ${command}")
  endif()
endfunction()

run("${CMAKE_COMMAND}" --install "${KROTON_BUILD_DIR}" --prefix "${prefix}")
run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${build}" -G Ninja
  -D "CMAKE_PREFIX_PATH=${prefix}"
  -D "CMAKE_C_COMPILER=${KROTON_C_COMPILER}"
  -D "CMAKE_CXX_COMPILER=${KROTON_CXX_COMPILER}"
  -D CMAKE_BUILD_TYPE=Release)
run("${CMAKE_COMMAND}" --build "${build}")
run("${build}/app")
run("${build}/embedded")
run("${build}/embedded_threads")
run("${build}/embedded_lapack")
