// Functions that several devices compute together, each on its part of the rows.
//
//     const kt::DeviceGroup group = kt::devices(kt::cuda(), 2);
//     const kt::Tensor loss = kt::data_parallel_loss(kt::mean(xent), x, group);
//     auto [gw, gb] = kt::grad(loss, w, b);
//     auto train = kt::parallel_function(group, {x, y}, loss,
//                                        {.updates = {{w, w - 0.1 * gw}, {b, b - 0.1 * gb}}});
//     float err = train(batch_x, batch_y).item<float>();
//
// docs/parallel.md describes what happens. Operations between the devices: collectives.h.
#pragma once
#include <kroton/collectives.h>
#include <kroton/function.h>

namespace kroton {

struct ParallelOptions {
  std::vector<Update> updates = {};
  // Inputs that all devices get whole, and outputs that are alike on all of them, of which the
  // first device's are returned. Scalars are both, unless asked for otherwise by an operation.
  std::vector<Tensor> same = {};
  std::string name = {};  // for messages and dumps; letters, digits and underscores
  UnusedInput on_unused_input = UnusedInput::error;
  Check check = Check::environment;
  bool contract = false;
  // Sums of gradients over the devices are exchanged together in pieces of about so many bytes, so
  // that small ones cost little and the first are on their way while others are computed. 0: each
  // by itself.
  std::int64_t bucket_bytes = std::int64_t{4} << 20;
  // Of GPUs: whether outputs are copied to the host; else they stay on the first device.
  bool downloads = true;
};

namespace detail {

// A compiled function of a group, whatever its number of outputs.
class ParallelCore {
 public:
  ParallelCore(const DeviceGroup& group, const std::vector<Tensor>& inputs,
               const std::vector<Tensor>& outputs, const ParallelOptions& options,
               const SourceLine& line);
  ~ParallelCore();
  ParallelCore(const ParallelCore&) = delete;
  ParallelCore& operator=(const ParallelCore&) = delete;

  void call(std::span<const Argument> arguments, std::span<Array> results) const;
  std::size_t output_count() const;
  const std::string& name() const;
  const DeviceGroup& group() const;
  const FunctionCore& of_device(int number) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace detail

// A function of N outputs, compiled for each device of a group. Copies share the code. Calls from
// several threads come one after the other.
template <int N>
class ParallelFunction {
 public:
  explicit ParallelFunction(std::shared_ptr<const detail::ParallelCore> core)
      : core_(std::move(core)) {}

  // One argument per input, in order, on the host. Those with an axis are split by rows, the first
  // devices having one more where the rows do not come out even; scalars, and what `same` names, go
  // to all devices whole. An output with an axis is that of all devices, joined by rows, unless
  // `same` names it; a scalar is that of the first device. What is returned is on the host.
  //
  // Errors: those of a call of a Function, with the sizes that a device saw; ValueError for fewer
  // rows than devices; DeviceError where devices do not come to the same operations of
  // collectives.h. Shared variables are then as before the call, on all devices.
  template <class... Arguments>
  auto operator()(const Arguments&... arguments) const {
    return detail::with_list([&](std::span<const Argument> list) { return call(list); },
                             arguments...);
  }
  auto call(std::span<const Argument> arguments) const {
    return detail::results_of<N>(
        core_->output_count(), [&](std::span<Array> results) { core_->call(arguments, results); });
  }

  const std::string& name() const { return core_->name(); }
  const DeviceGroup& group() const { return core_->group(); }
  // The program of the first device, as Function::print shows it.
  void print(std::ostream& stream) const { core_->of_device(0).print(&stream); }

 private:
  std::shared_ptr<const detail::ParallelCore> core_;
};

// Compiles a function for all devices of the group. Shared variables are alike on all of them: each
// device has its own copy, which gets the variable's value where that was set or updated elsewhere
// since; the variable itself is the first device's. Updates are computed on every device, so they
// must be alike: of gradients by data_parallel_loss() they are. Random streams give other numbers
// on each device.
//
// Errors as of function(), and ValueError for an input that is split and whose number of rows is
// fixed, and for a tensor in `same` that is neither an input nor an output.
inline ParallelFunction<1> parallel_function(
    const DeviceGroup& group, const std::vector<Tensor>& inputs, const Tensor& output,
    const ParallelOptions& options = {},
    const std::source_location& at = std::source_location::current()) {
  return ParallelFunction<1>(std::make_shared<detail::ParallelCore>(
      group, inputs, std::vector<Tensor>{output}, options, SourceLine{at.file_name(), at.line()}));
}
template <std::size_t N>
ParallelFunction<static_cast<int>(N)> parallel_function(
    const DeviceGroup& group, const std::vector<Tensor>& inputs, const Tensor (&outputs)[N],
    const ParallelOptions& options = {},
    const std::source_location& at = std::source_location::current()) {
  return ParallelFunction<static_cast<int>(N)>(std::make_shared<detail::ParallelCore>(
      group, inputs, std::vector<Tensor>(outputs, outputs + N), options,
      SourceLine{at.file_name(), at.line()}));
}
// As many outputs as the vector holds.
inline ParallelFunction<dynamic_outputs> parallel_function(
    const DeviceGroup& group, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
    const ParallelOptions& options = {},
    const std::source_location& at = std::source_location::current()) {
  return ParallelFunction<dynamic_outputs>(std::make_shared<detail::ParallelCore>(
      group, inputs, outputs, options, SourceLine{at.file_name(), at.line()}));
}
// No outputs, only updates.
inline ParallelFunction<0> parallel_function(
    const DeviceGroup& group, const std::vector<Tensor>& inputs, const ParallelOptions& options,
    const std::source_location& at = std::source_location::current()) {
  return ParallelFunction<0>(std::make_shared<detail::ParallelCore>(
      group, inputs, std::vector<Tensor>{}, options, SourceLine{at.file_name(), at.line()}));
}

}  // namespace kroton
