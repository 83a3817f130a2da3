// libnvrtc.so.13 of the kit (tests/gpu/kit), for a machine that has none: it compiles nothing. All
// code is in the cache that the kit brings, under the version and the architectures that the NVRTC
// had that made it: KIT_MINOR and KIT_ARCHITECTURES, from the kit.
#include <stddef.h>
#include <string.h>

static const int architectures[] = {KIT_ARCHITECTURES};

const char* nvrtcGetErrorString(int result) {
  return result == 0 ? "NVRTC_SUCCESS" : "not in the cache, and this machine has no NVRTC";
}
int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = KIT_MINOR;
  return 0;
}
int nvrtcGetNumSupportedArchs(int* count) {
  *count = (int)(sizeof architectures / sizeof *architectures);
  return 0;
}
int nvrtcGetSupportedArchs(int* list) {
  memcpy(list, architectures, sizeof architectures);
  return 0;
}
int nvrtcCreateProgram(void** program, const char* source, const char* name, int count,
                       const char* const* headers, const char* const* names) {
  (void)source, (void)name, (void)count, (void)headers, (void)names;
  *program = NULL;
  return 1;
}
int nvrtcDestroyProgram(void** program) { return *program = NULL, 0; }
int nvrtcCompileProgram(void* program, int count, const char* const* options) {
  (void)program, (void)count, (void)options;
  return 1;
}
int nvrtcGetProgramLogSize(void* program, size_t* size) { return (void)program, *size = 1, 0; }
int nvrtcGetProgramLog(void* program, char* log) { return (void)program, *log = 0, 0; }
int nvrtcGetCUBINSize(void* program, size_t* size) { return (void)program, *size = 0, 1; }
int nvrtcGetCUBIN(void* program, char* code) { return (void)program, (void)code, 1; }
int nvrtcGetPTXSize(void* program, size_t* size) { return (void)program, *size = 0, 1; }
int nvrtcGetPTX(void* program, char* code) { return (void)program, (void)code, 1; }
