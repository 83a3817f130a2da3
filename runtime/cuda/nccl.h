// Exchanges between CUDA devices by NCCL, loaded at run time.
#pragma once
#include <memory>
#include <vector>

#include "runtime/communicator.h"

namespace kroton::nvidia {

// A communicator of the devices of these numbers, ranks in their order. DeviceError if there is no
// library, or it does not join them. To be called with one of their contexts current.
std::shared_ptr<GroupExchange> make_nccl(const std::vector<int>& devices);

}  // namespace kroton::nvidia
