// The driver of CUDA, loaded at the first use.
#include <kroton/error.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "runtime/cuda/driver_api.h"

namespace kroton::nvidia {
namespace {

// Whether this process is the child, by fork, of one that had loaded the driver. The driver does
// not work there: nothing of it is called.
std::atomic<bool> forked{false};

}  // namespace

bool is_forked() { return forked.load(std::memory_order_relaxed); }

void refuse_after_fork(const std::string& who) {
  if (!is_forked()) return;
  throw DeviceError(who +
                    ": CUDA does not work in a process that was forked by one that uses it; fork "
                    "before the first function for a GPU is made, or start a program by exec");
}

const DriverApi& driver() {
  // Never destroyed: what lives in static variables of the program may still use it.
  static const DriverApi* const loaded = [] {
    const auto* api = new DriverApi;
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return api;
  }();
  return *loaded;
}

std::string error_text(CUresult result) {
  const char* name = nullptr;
  const char* text = nullptr;
  driver().cuGetErrorName(result, &name);
  driver().cuGetErrorString(result, &text);
  return (name ? std::string(name) : "error " + std::to_string(result)) +
         (text ? std::string(": ") + text : "");
}

bool is_lasting(CUresult result) {
  constexpr std::array<CUresult, 14> lasting{
      4,    // deinitialized
      214,  // memory that cannot be corrected
      220,  // link between devices
      700,  // illegal address
      702,  // a kernel that took too long
      709,  // context is destroyed
      710,  // assert
      714,  // hardware stack
      715,  // illegal instruction
      716,  // misaligned address
      717,  // address space
      718,  // program counter
      719,  // launch failed
      721,  // tensor memory leak
  };
  return std::find(lasting.begin(), lasting.end(), result) != lasting.end();
}

}  // namespace kroton::nvidia
