# kroton_add_function(<target> SOURCE <file>... FUNCTIONS <name>... [TARGET <cpu>] [THREADS]
#                     [LAPACK])
#
# Builds SOURCE as a program linked with Kroton, runs it at build time to write FUNCTIONS as object
# files with C headers (kt::aot::generate in <kroton/aot.h>), and makes <target> a static library of
# them: a target that links it finds the headers <name>.h. Like Halide's add_halide_library.
#
#   TARGET   the processor the functions are for: native (the default), x86-64-v2, x86-64-v3,
#            x86-64-v4 or aarch64
#   THREADS  the functions take a context of <kroton/aot_runtime.h>, whose library <target> then
#            brings along
#   LAPACK   the functions call LAPACK, as their headers say: <target> brings it along, with the
#            library of Kroton's that calls it
function(kroton_add_function target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "THREADS;LAPACK" "TARGET" "SOURCE;FUNCTIONS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "kroton_add_function(${target}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_SOURCE OR NOT arg_FUNCTIONS)
    message(FATAL_ERROR "kroton_add_function(${target}): SOURCE and FUNCTIONS are required")
  endif()
  if(NOT arg_TARGET)
    set(arg_TARGET native)
  endif()

  set(generator "${target}_generator")
  add_executable(${generator} ${arg_SOURCE})
  target_link_libraries(${generator} PRIVATE kroton::kroton)

  set(directory "${CMAKE_CURRENT_BINARY_DIR}/${target}.dir")
  file(MAKE_DIRECTORY "${directory}")
  set(objects ${arg_FUNCTIONS})
  list(TRANSFORM objects REPLACE "^(.+)$" "${directory}/\\1.o")
  set(headers ${arg_FUNCTIONS})
  list(TRANSFORM headers REPLACE "^(.+)$" "${directory}/\\1.h")
  set(threads)
  if(arg_THREADS)
    set(threads --threads)
  endif()
  list(JOIN arg_FUNCTIONS " and " names)
  add_custom_command(OUTPUT ${objects} ${headers}
    COMMAND ${generator} --directory "${directory}" --target "${arg_TARGET}" ${threads}
      --functions ${arg_FUNCTIONS}
    DEPENDS ${generator}
    COMMENT "Compiling ${names} ahead of time for ${arg_TARGET}"
    VERBATIM)

  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  add_library(${target} STATIC ${objects} ${headers})
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(${target} INTERFACE "${directory}")
  # libm: processors without an instruction for a fused multiply-add call its function.
  target_link_libraries(${target} INTERFACE m)
  if(arg_THREADS)
    target_link_libraries(${target} INTERFACE kroton::aot_runtime)
  endif()
  if(arg_LAPACK)
    target_link_libraries(${target} INTERFACE kroton::aot_lapack)
  endif()
endfunction()
