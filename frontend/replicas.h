// The copies of shared variables that the devices of a group have.
#pragma once
#include <kroton/collectives.h>

#include <unordered_map>

#include "compiler/ir/node.h"
#include "runtime/device_copy.h"

namespace kroton::detail {

// The first device uses the variables themselves, the others copies of their own.
class Replicas {
 public:
  // Of the shared variables among `leaves`.
  Replicas(const DeviceGroup& group, const std::vector<Tensor>& leaves);

  // The expressions as that device computes them.
  std::vector<Tensor> on(int rank, const std::vector<Tensor>& tensors) const;
  Shared on(int rank, const Shared& variable) const;
  // Gives every copy the value of its variable, where the two differ.
  void bring_up_to_date();
  // After a call, which has changed all in the same way.
  void note_equal();
  // After a call in which that device has failed, and so has changed nothing: what the others have
  // changed is taken back.
  void take_back(int failed);

 private:
  struct Replicated {
    Shared variable;
    std::vector<Shared> copies;  // of the devices after the first
    // What was known of the variable's copy on its device when all were equal.
    std::shared_ptr<DeviceCopy> on_device;
    std::uint64_t writes = 0;
    bool are_equal = false;
  };
  bool differ(const Replicated& replicated) const;

  bool on_cpu_;
  std::vector<Replicated> all_;
  std::unordered_map<const SharedState*, std::size_t> numbers_;
};

}  // namespace kroton::detail
