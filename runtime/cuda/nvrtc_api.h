// The part of NVRTC that is used, declared as in its documentation (NVRTC 11.2 to 13).
#pragma once
#include <cstddef>

#include "runtime/cuda/library.h"

namespace kroton::nvidia {

using nvrtcResult = int;  // 0: success
using nvrtcProgram = struct nvrtcProgramHandle*;

struct NvrtcApi {
  Library loaded;

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

  explicit NvrtcApi(const std::vector<std::string>& names)
      : loaded("NVRTC, the compiler of CUDA C++ (libnvrtc),", names) {
    loaded.find(nvrtcGetErrorString, "nvrtcGetErrorString");
    loaded.find(nvrtcVersion, "nvrtcVersion");
    loaded.find(nvrtcGetNumSupportedArchs, "nvrtcGetNumSupportedArchs");
    loaded.find(nvrtcGetSupportedArchs, "nvrtcGetSupportedArchs");
    loaded.find(nvrtcCreateProgram, "nvrtcCreateProgram");
    loaded.find(nvrtcDestroyProgram, "nvrtcDestroyProgram");
    loaded.find(nvrtcCompileProgram, "nvrtcCompileProgram");
    loaded.find(nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize");
    loaded.find(nvrtcGetProgramLog, "nvrtcGetProgramLog");
    loaded.find(nvrtcGetCUBINSize, "nvrtcGetCUBINSize");
    loaded.find(nvrtcGetCUBIN, "nvrtcGetCUBIN");
    loaded.find(nvrtcGetPTXSize, "nvrtcGetPTXSize");
    loaded.find(nvrtcGetPTX, "nvrtcGetPTX");
  }
};

}  // namespace kroton::nvidia
