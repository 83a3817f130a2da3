// Executes a kernel on host memory, one scalar at a time: the oracle for schedules and generated
// code. Vector, parallel and unrolled loops run in order.
#pragma once
#include <functional>
#include <map>
#include <optional>

#include "compiler/loop/ir.h"

namespace kroton::loop {

struct BufferMemory {
  void* data = nullptr;
  std::int64_t count = 0;  // elements
};

// Where a kernel's buffers are, and how large its sizes.
struct Memory {
  std::map<int, BufferMemory> buffers;                  // by Buffer::id; inputs and outputs
  std::function<std::int64_t(const DimAtom&)> size_of;  // the value of a size variable
};

// A check_index or a check that failed: which one, and what it saw.
struct IndexFault {
  int site = 0;
  std::int64_t index = 0;
  std::int64_t size = 0;
};

// Runs the kernel; stops at the first check that fails and returns it. An access outside a
// buffer, or a buffer without memory, is an InternalError with the buffer, the index, the size and
// the kernel's text.
std::optional<IndexFault> interpret(const Kernel& kernel, const Memory& memory);

}  // namespace kroton::loop
