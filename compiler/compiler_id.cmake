# Writes OUTPUT, the source of compiler_id(): Kroton's version and a digest of the sources that
# decide what a compiled object is. cmake -D ROOT=... -D VERSION=... -D OUTPUT=... -P this
file(GLOB_RECURSE sources RELATIVE "${ROOT}"
  "${ROOT}/compiler/*.cpp" "${ROOT}/compiler/*.h" "${ROOT}/runtime/*.h")
list(SORT sources)
set(digests "")
foreach(source IN LISTS sources)
  file(SHA256 "${ROOT}/${source}" digest)
  string(APPEND digests "${source} ${digest}\n")
endforeach()
string(SHA256 id "${digests}")
file(WRITE "${OUTPUT}" "#include \"compiler/lower/cache_key.h\"

namespace kroton {

const char* compiler_id() { return \"${VERSION} ${id}\"; }

}  // namespace kroton
")
