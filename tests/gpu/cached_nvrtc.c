// libnvrtc.so.13 of the kit (tests/gpu/kit). The code of the kit's kernels is in the cache that it
// brings, under the version of the NVRTC that made it, 13.KIT_MINOR: for devices of KIT_CAPABILITY,
// and as PTX of KIT_PTX for others. What is not there is compiled by the machine's NVRTC, if it has
// one: the first libnvrtc.so.13 of the folders in KROTON_CUDA_LIBRARIES that is not this one.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void* machine(void) {
  static void* found;
  static int asked;
  if (asked++) return found;
  const char* list = getenv("KROTON_CUDA_LIBRARIES");
  Dl_info self;
  if (!list || !dladdr((void*)machine, &self)) return NULL;
  while (*list && !found) {
    const size_t length = strcspn(list, ":");
    char path[4096];
    snprintf(path, sizeof path, "%.*s/libnvrtc.so.13", (int)length, list);
    if (length && strcmp(path, self.dli_fname) != 0) found = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    list += length + (list[length] == ':');
  }
  return found;
}

// Of device 0. 0: not known.
static int capability(void) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  int (*attribute)(int*, int, int) = NULL;
  int major = 0, minor = 0;
  if (driver) *(void**)&attribute = dlsym(driver, "cuDeviceGetAttribute");
  if (!attribute || attribute(&major, 75, 0) != 0 || attribute(&minor, 76, 0) != 0) return 0;
  return major * 10 + minor;
}

int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = KIT_MINOR;
  return 0;
}
int nvrtcGetNumSupportedArchs(int* count) { return *count = 1, 0; }
int nvrtcGetSupportedArchs(int* list) {
  *list = capability() == KIT_CAPABILITY ? KIT_CAPABILITY : KIT_PTX;
  return 0;
}

// A function of the machine's library. Error 1 without one.
#define PASS(name, parameters, arguments)                     \
  int name parameters {                                       \
    int(*there) parameters = NULL;                            \
    if (machine()) *(void**)&there = dlsym(machine(), #name); \
    return there ? there arguments : 1;                       \
  }
PASS(nvrtcCreateProgram,
     (void** program, const char* source, const char* name, int count, const char* const* headers,
      const char* const* names),
     (program, source, name, count, headers, names))
PASS(nvrtcDestroyProgram, (void** program), (program))
PASS(nvrtcCompileProgram, (void* program, int count, const char* const* options),
     (program, count, options))
PASS(nvrtcGetProgramLogSize, (void* program, size_t* size), (program, size))
PASS(nvrtcGetProgramLog, (void* program, char* log), (program, log))
PASS(nvrtcGetCUBINSize, (void* program, size_t* size), (program, size))
PASS(nvrtcGetCUBIN, (void* program, char* code), (program, code))
PASS(nvrtcGetPTXSize, (void* program, size_t* size), (program, size))
PASS(nvrtcGetPTX, (void* program, char* code), (program, code))

const char* nvrtcGetErrorString(int result) {
  const char* (*there)(int) = NULL;
  if (result == 0) return "NVRTC_SUCCESS";
  if (machine()) *(void**)&there = dlsym(machine(), "nvrtcGetErrorString");
  return there ? there(result)
               : "the kit brings no code of this for such a device, and this machine has no NVRTC";
}
