// The part of NVRTC that is used, declared as in its documentation (NVRTC 11.2 to 13).
#pragma once
#include <cstddef>

#include "runtime/cuda/library.h"

namespace kroton::nvidia {

using nvrtcResult = int;  // 0: success
using nvrtcProgram = struct nvrtcProgramHandle*;

struct NvrtcApi {
  Library library{"NVRTC, the compiler of CUDA C++ (libnvrtc),",
                  {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"}};

  const char* (*nvrtcGetErrorString)(nvrtcResult) = nullptr;
  nvrtcResult (*nvrtcVersion)(int* major, int* minor) = nullptr;
  nvrtcResult (*nvrtcGetNumSupportedArchs)(int* count) = nullptr;
  nvrtcResult (*nvrtcGetSupportedArchs)(int* architectures) = nullptr;
  nvrtcResult (*nvrtcCreateProgram)(nvrtcProgram*, const char* source, const char* name,
                                    int header_count, const char* const* headers,
                                    const char* const* include_names) = nullptr;
  nvrtcResult (*nvrtcDestroyProgram)(nvrtcProgram*) = nullptr;
  nvrtcResult (*nvrtcCompileProgram)(nvrtcProgram, int count, const char* const* options) = nullptr;
  nvrtcResult (*nvrtcGetProgramLogSize)(nvrtcProgram, std::size_t*) = nullptr;
  nvrtcResult (*nvrtcGetProgramLog)(nvrtcProgram, char*) = nullptr;
  nvrtcResult (*nvrtcGetCUBINSize)(nvrtcProgram, std::size_t*) = nullptr;
  nvrtcResult (*nvrtcGetCUBIN)(nvrtcProgram, char*) = nullptr;
  nvrtcResult (*nvrtcGetPTXSize)(nvrtcProgram, std::size_t*) = nullptr;
  nvrtcResult (*nvrtcGetPTX)(nvrtcProgram, char*) = nullptr;

  NvrtcApi() {
    library.find(nvrtcGetErrorString, "nvrtcGetErrorString");
    library.find(nvrtcVersion, "nvrtcVersion");
    library.find(nvrtcGetNumSupportedArchs, "nvrtcGetNumSupportedArchs");
    library.find(nvrtcGetSupportedArchs, "nvrtcGetSupportedArchs");
    library.find(nvrtcCreateProgram, "nvrtcCreateProgram");
    library.find(nvrtcDestroyProgram, "nvrtcDestroyProgram");
    library.find(nvrtcCompileProgram, "nvrtcCompileProgram");
    library.find(nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize");
    library.find(nvrtcGetProgramLog, "nvrtcGetProgramLog");
    library.find(nvrtcGetCUBINSize, "nvrtcGetCUBINSize");
    library.find(nvrtcGetCUBIN, "nvrtcGetCUBIN");
    library.find(nvrtcGetPTXSize, "nvrtcGetPTXSize");
    library.find(nvrtcGetPTX, "nvrtcGetPTX");
  }
};

}  // namespace kroton::nvidia
