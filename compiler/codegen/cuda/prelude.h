// What every CUDA translation unit begins with.
#pragma once
#include <string_view>

namespace kroton::codegen {

// Types, and the loop IR's operations that C++ has not or defines otherwise. Needs no include, and
// means the same to NVRTC and to a host compiler that has the few CUDA names it uses.
extern const std::string_view cuda_prelude;

// Behind it where kernels copy to shared memory without waiting, or multiply by matrix units. May
// stand in a text several times.
extern const std::string_view matrix_prelude;

}  // namespace kroton::codegen
