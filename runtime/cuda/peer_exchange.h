// Exchanges between CUDA devices that reach each other's memory, without a library.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/communicator.h"
#include "runtime/cuda/cuda_device.h"

namespace kroton::nvidia {

// Copies of the driver's, and kernels that combine what has come in the order of the ranks: the
// same bits as by the host's memory. Null where two of the devices have no way to each other; `why`
// tells. DeviceError where the kernels cannot be made.
std::shared_ptr<GroupExchange> make_peer_exchange(
    const std::vector<std::shared_ptr<CudaDevice>>& devices, std::string& why);

}  // namespace kroton::nvidia
