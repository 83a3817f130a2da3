// What kt::print calls from compiled code.
#pragma once
#include <kroton/print.h>

#include <cstdint>
#include <exception>

#include "runtime/abi.h"

namespace kroton {

// The context of a call that shows what it prints.
struct CallContext : kroton_context {
  std::exception_ptr failure;  // what a print threw: compiled code cannot be unwound
};

// kroton_context::print of a CallContext: writes the message and the value to the print stream, in
// one piece. Nonzero, with the exception kept in the context, if that fails.
//
// A function that the stream's buffer calls may print in turn: what it prints is shown when the
// text in progress is. A stream that prints whenever something is shown would never come to an end;
// that is a ValueError.
extern "C" std::int32_t kroton_print_value(kroton_context* context, const char* message,
                                           std::int32_t dtype, std::int32_t rank,
                                           const std::int64_t* shape, const void* data) noexcept;

// While a thread that writes to the print stream waits for a shared variable, whoever has that
// variable and prints leaves its text to the thread that writes, instead of waiting for it.
class PrintersPass {
 public:
  PrintersPass();
  ~PrintersPass();
  PrintersPass(const PrintersPass&) = delete;
  PrintersPass& operator=(const PrintersPass&) = delete;
};

}  // namespace kroton
