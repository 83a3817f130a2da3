// The processors that code is generated for. No LLVM header.
#pragma once
#include <string>

#include "compiler/base/machine.h"

namespace kroton::codegen {

// What a kernel may assume about the processor it runs on.
struct CpuTarget {
  std::string cpu;          // LLVM's name: "znver4", "x86-64-v3"
  std::string features;     // LLVM's feature string
  Machine machine;          // what schedules know of it
  std::string triple = {};  // LLVM's name of processor family and system; empty: this process's
  bool quick = false;       // machine code that is made in half the time, and is slower
};
CpuTarget host_target();
// Whether host_target() is quick from now on, for this process: tests that compile much and run
// little.
void prefer_quick_code(bool preferred);
// "native" (the host), "x86-64-v2", "x86-64-v3", "x86-64-v4" or "aarch64": Linux on that processor.
// DeviceError, naming the ones there are, for another name.
CpuTarget named_target(const std::string& name);

}  // namespace kroton::codegen
