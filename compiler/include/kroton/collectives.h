// Exchanges between devices. A function of kt::parallel_function (parallel.h) is one program that
// several devices run at the same time, each on its own part of the data; these are operations in
// it. docs/parallel.md has examples.
//
// Every device of the group computes the same expression. Where it comes to one of these
// operations it waits for the others, and gets a value that depends on those of all. The
// expression must come to the same operations on every device, in the same number: one inside an
// ifelse() whose condition is another on each device, or in a scan() of another number of steps, is
// a DeviceError in the call.
//
// Operands are numbers of any dtype (TypeError for booleans), of the same shape on every device. On
// the host's memory sums are added in the order of the devices, those of 16 bits in f32, so that
// they are the same bits in every call and on every device.
//
// Gradients are those of the sum of the costs of all devices by the value that this device has.
// Where a value is alike on all devices (a shared variable), the gradient by all of them together
// is the mean of these: data_parallel_loss() sees to that.
#pragma once
#include <kroton/target.h>
#include <kroton/tensor.h>

#include <vector>

namespace kroton {

// The devices that share the work of a function, in order.
class DeviceGroup {
 public:
  using Location = std::source_location;
  // CUDA devices, each once, or cpu() as many times as there are to be parts: threads of this
  // process, for tests and for machines without a GPU. ValueError for an empty list, for more than
  // 256, for both kinds at once and for one CUDA device twice.
  DeviceGroup(std::vector<Target> devices, const Location& at = Location::current());  // NOLINT

  int size() const { return static_cast<int>(devices_.size()); }
  const std::vector<Target>& devices() const { return devices_; }

 private:
  std::vector<Target> devices_;
};

// The `count` CUDA devices from `first` on, or as many parts of the CPU. ValueError below 1.
DeviceGroup devices(const Target& first, int count,
                    const std::source_location& at = std::source_location::current());

// How the values of all devices become one, element by element: their sum, mean (floating, else
// TypeError), product, largest, smallest (NaN if one is NaN).
enum class Combine : std::uint8_t { sum, mean, prod, max, min };

// The combination of x over the devices, on each of them.   Gradients: of a sum the sum of the
// cotangents, of a mean the mean; of the largest and the smallest the devices that have it share it
// evenly.
Tensor all_reduce(const Operand& x, const DeviceGroup& group, Combine how = Combine::sum);

// Several at once.
std::vector<Tensor> all_reduce(const std::vector<Tensor>& xs, const DeviceGroup& group,
                               Combine how = Combine::sum);

// The sum or mean of x (rows, ...) over the devices, of which device k gets the k-th part of the
// rows: (rows / size, ...). ShapeError for scalars and for rows that the group does not divide,
// ValueError for other combinations.   Gradient: all_gather of the cotangent.
Tensor reduce_scatter(const Operand& x, const DeviceGroup& group, Combine how = Combine::sum);

// The rows of all devices, in their order: (size * rows, ...); a scalar counts as one row.
// Gradient: reduce_scatter of the cotangent.
Tensor all_gather(const Operand& x, const DeviceGroup& group);

// The value that device `root` has, on each. ValueError for a root that is not in the group.
// Gradient: reduce_to_root of the cotangent.
Tensor broadcast(const Operand& x, const DeviceGroup& group, int root = 0);

// The sum over the devices on device `root`, zeros on the others.   Gradient: broadcast of the
// cotangent.
Tensor reduce_to_root(const Operand& x, const DeviceGroup& group, int root = 0);

// x, which is alike on all devices: nothing is exchanged.   Gradient: the mean over the devices of
// the cotangents, alike on all again. Floating, else TypeError.
Tensor replicated(const Operand& x, const DeviceGroup& group);

// A cost that is the mean over the rows of x, split over the devices, made that of all rows:
//
//     auto loss = kt::data_parallel_loss(kt::mean(xent), x, group);
//     auto [gw, gb] = kt::grad(loss, w, b);     // of all rows, alike on all devices
//
// The result is the mean of the costs over the devices, weighted by their rows, so that parts of
// unequal size are right too. Shared variables that are floating become replicated() in it, random
// streams excepted; updates that come with a value (running means of a normalisation) get the same
// weighted mean. A gradient by such a variable is then that of the result, alike on all devices,
// and so is whatever an optimizer makes of it. ShapeError unless the cost is a scalar and x has an
// axis, TypeError unless the cost is floating.
Tensor data_parallel_loss(const Tensor& loss, const Tensor& x, const DeviceGroup& group,
                          const std::source_location& at = std::source_location::current());

// The same of a cost and of what one computation measures beside it, so that its updates are made
// once: floating scalars become means over all rows, weighted as the cost is, arrays (counts) sums
// over the devices. Errors are those of data_parallel_loss(), TypeError for other scalars.
std::vector<Tensor> data_parallel_measures(
    const std::vector<Tensor>& values, const Tensor& x, const DeviceGroup& group,
    const std::source_location& at = std::source_location::current());

}  // namespace kroton
