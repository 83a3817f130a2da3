// What runs a Program, wherever it runs.
#pragma once
#include <kroton/array.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compiler/codegen/llvm/machine_peak.h"
#include "runtime/print.h"

namespace kroton {

class Device;
namespace detail {
struct Storage;
}

// What the parts of a call take that is measured.
struct MeasuredTime {
  std::int64_t runs = 0;
  double seconds = 0;
  double bytes = 0;  // of copies
};
struct CallTimes {
  std::vector<MeasuredTime> kernels;  // of the Program, in the order of for_each_kernel
  MeasuredTime to_device, to_host;    // copies between the host's memory and the device's
};

// What one run of a kernel does, and what a model says that it takes, if there is one.
struct KernelCost {
  double flops = 0, bytes = 0;
  std::optional<double> seconds;
};

// What runs a Program, for people.
struct RunsOn {
  std::string device;  // empty: this machine's processor
  std::string model;   // what the predictions are of; empty: there are none
  MachinePeak peak;    // 0: not known
};

class Executable {
 public:
  struct Call {
    // The addresses of the inputs, of the shared variables (which run() fills in) and of the
    // outputs: row-major, of the sizes that follow from `sizes`.
    std::span<void*> args;
    std::span<const std::int64_t> sizes;  // the values of Program::sizes
    void* arena = nullptr;                // Program::arena_bytes, if uses_host_memory()
    // By argument, or empty: that of an array on the device, where its address is; else null.
    std::span<const detail::Storage* const> storages = {};
    // Adds up what the parts take; null: nothing is measured. On this processor the Program must
    // have been compiled for it.
    CallTimes* times = nullptr;
  };

  virtual ~Executable() = default;
  // Whether a call needs an arena in the host's memory.
  virtual bool uses_host_memory() const = 0;
  // How many workers a call has: the value of worker_count().
  virtual std::int64_t workers() const = 0;
  // Whether a call would now change what belongs to a shared variable that it only reads. To be
  // asked with the locks of the variables held, as calls that change nothing of it hold them.
  virtual bool moves_what_it_reads() const = 0;
  // The stream of a device that calls run in; null: none.
  virtual const Device* stream() const { return nullptr; }
  // The locks of the shared variables must be held: exclusively where the call updates them or
  // moves_what_it_reads(). Returns the first failed check, code KROTON_OK if none failed; outputs
  // and shared variables are then as before. Throws what a print threw, and DeviceError.
  // `context` is what code of this process gets.
  virtual kroton_error run(const Call& call, CallContext& context) = 0;

  // For profiles. Costs are of the Program's kernels, in the order of for_each_kernel.
  virtual RunsOn runs_on() const = 0;
  virtual std::vector<KernelCost> costs(std::span<const std::int64_t> sizes) const = 0;
};

// Where an Array's elements begin, as a call is told it: somewhere for an Array without any.
// ValueError for a read-only Array that is to be written.
const void* address_of(const Array& array);
void* address_of(Array& array);

}  // namespace kroton
