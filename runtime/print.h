// What kt::print calls from compiled code.
#pragma once
#include <kroton/print.h>

#include <cstdint>

#include "runtime/abi.h"

namespace kroton {

// kroton_context::print: writes the message and the value to the print stream, in one piece.
extern "C" void kroton_print_value(kroton_context* context, const char* message, std::int32_t dtype,
                                   std::int32_t rank, const std::int64_t* shape, const void* data);

}  // namespace kroton
