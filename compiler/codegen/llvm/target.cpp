#include "compiler/codegen/llvm/target.h"

#include <kroton/error.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/TargetParser/Host.h>
#include <unistd.h>

#include <atomic>

namespace kroton::codegen {
namespace {

std::atomic<bool> quick_preferred{false};

// Asked of the processor once: each question stops a virtual machine.
CpuTarget find_host() {
  CpuTarget target;
  target.cpu = llvm::sys::getHostCPUName().str();
  const auto features = llvm::sys::getHostCPUFeatures();
  const auto has = [&](const char* name) {
    const auto it = features.find(name);
    return it != features.end() && it->second;
  };
  for (const auto& feature : features) {
    if (!target.features.empty()) target.features += ',';
    target.features += (feature.second ? "+" : "-") + feature.first().str();
  }
  const bool avx512 = has("avx512f") && has("avx512vl") && has("avx512bw");
  target.machine = has("neon") ? arm_machine() : x86_machine(avx512 ? 64 : has("avx2") ? 32 : 16);
  if (!has("neon")) target.machine.converts_f16 = has("f16c");
  const std::int64_t cache = ::sysconf(_SC_LEVEL2_CACHE_SIZE);
  const std::int64_t ways = ::sysconf(_SC_LEVEL2_CACHE_ASSOC);
  if (cache > 0 && ways > 0) {
    target.machine.second_cache = cache;
    target.machine.second_cache_ways = ways;
  }
  return target;
}

}  // namespace

CpuTarget host_target() {
  static const CpuTarget& host = *new CpuTarget(find_host());  // never destroyed
  CpuTarget target = host;
  target.quick = quick_preferred;
  return target;
}

void prefer_quick_code(bool preferred) { quick_preferred = preferred; }

CpuTarget named_target(const std::string& name) {
  const std::string x86 = "x86_64-unknown-linux-gnu";
  if (name == "native") return host_target();
  if (name == "x86-64-v2") return {name, "", x86_machine(16), x86};
  if (name == "x86-64-v3") return {name, "", x86_machine(32), x86};
  if (name == "x86-64-v4") return {name, "", x86_machine(64), x86};
  if (name == "aarch64") return {"generic", "+neon", arm_machine(), "aarch64-unknown-linux-gnu"};
  throw DeviceError("there is no target \"" + name +
                    "\"; the targets are native, x86-64-v2, x86-64-v3, x86-64-v4 and aarch64");
}

}  // namespace kroton::codegen
