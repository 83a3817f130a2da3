// Programs on a device whose launches are captured in graphs and replayed.
#include <kroton/error.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "compiler/codegen/cuda/run_program.h"
#include "compiler/ir/node.h"
#include "compiler/ops/call.h"
#include "runtime/group_graph.h"

namespace kroton::codegen {

bool can_be_captured(const std::vector<Step>& steps) {
  return std::all_of(steps.begin(), steps.end(), [](const Step& step) {
    return visit(
        step, [](const loop::Kernel&) { return true; },
        [](const Scan& scan) { return scan.idle == nullptr && can_be_captured(scan.steps); },
        // The host decides what runs next while it runs.
        [](const Branch&) { return false; },
        [](const kroton::Call& call) { return is_collective(call); });
  });
}

bool is_collective(const kroton::Call& call) {
  return call.callee && call.callee->options.function == kroton_collective;
}

bool has_collectives(const std::vector<Step>& steps) {
  bool has = false;
  for (const Step& step : steps) {
    if (const auto* call = as<kroton::Call>(step)) has = has || is_collective(*call);
    for_each_inner(step, [&](const auto& inner) { has = has || has_collectives(inner); });
  }
  return has;
}

std::int64_t DeviceProgram::launches_of(const std::vector<Step>& steps) const {
  std::int64_t count = 0;
  for (const Step& step : steps) {
    if (const Scan* scan = as<Scan>(step)) {
      count += values_.of(scan->extent) * launches_of(scan->steps);
    } else if (const auto* kernel = as<loop::Kernel>(step)) {
      const LoadedKernel& loaded = kernels_[static_cast<std::size_t>(kernel_numbers_.at(kernel))];
      bool runs = loaded.choice < 0;
      if (!runs) {
        const Choice& choice = choices_[static_cast<std::size_t>(loaded.choice)];
        runs = choice.now >= 0 &&
               choice.candidates[static_cast<std::size_t>(choice.now)].of == loaded.candidate;
      }
      count += runs && loaded.blocks != 0 ? 1 : 0;
    } else {
      ++count;
    }
  }
  return count;
}

// Into a graph of the same launches if there is one.
void DeviceProgram::capture(std::unique_ptr<DeviceGraph>& graph) {
  device_->begin_capture();
  if (device_->orders_captured()) order_.emplace();
  try {
    run_all();
    order_.reset();
  } catch (...) {
    order_.reset();
    device_->abandon_capture();
    updating_ = false;  // nothing has been started
    throw;
  }
  updating_ = false;
  if (graph) {
    device_->end_capture(graph);
  } else {
    graph = device_->end_capture();
  }
}

// Whether the call that was just looked up is to be captured.
bool DeviceProgram::wants_graph(std::int64_t launches) {
  // While a graph is captured nothing can be timed.
  const bool is_decided = choices_.empty() || decided_sizes_.count(sizes_) != 0;
  return is_decided && graphs_.wants(launches);
}

void DeviceProgram::run_replayed() {
  // All that the launches have beside the sizes.
  std::vector<DeviceAddress> addresses = argument_addresses_;
  addresses.push_back(arena_.address());
  addresses.push_back(transfers_.results());
  for (const LoadedKernel& kernel : kernels_) {
    if (kernel.emitted->in_order) addresses.push_back(kernel.words.address());
  }
  DeviceGraph* graph = graphs_.look_up(sizes_, addresses);
  if (exchanges_in_graphs_) {
    run_with_others();
    return;
  }
  if (!graph) {
    const std::int64_t launches = launches_of(program_.steps);
    if (!wants_graph(launches)) {
      run_all();
      return;
    }
    std::unique_ptr<DeviceGraph> made = graphs_.take_outdated();
    capture(made);
    graph = graphs_.keep(std::move(made), launches);
  }
  device_->launch(*graph);
  updating_ = true;
}

// Whether every exchange of the program may be in a graph.
bool DeviceProgram::captures_exchanges(const std::vector<Step>& steps) const {
  return std::all_of(steps.begin(), steps.end(), [this](const Step& step) {
    if (const Scan* scan = as<Scan>(step)) return captures_exchanges(scan->steps);
    const auto* call = as<kroton::Call>(step);
    return !call || is_between_devices(collective_in(*call));
  });
}

// All devices of a group replay what they have captured in one call, or capture together, or start
// kernels one by one. A graph is not updated, but made anew: whether what the library keeps for one
// goes over to the other is not for us to know.
void DeviceProgram::run_with_others() {
  const RankScope* const scope = RankScope::current();
  if (!scope || !scope->group.is_capturable() || !device_->orders_captured() ||
      !captures_exchanges(program_.steps)) {
    run_all();
    return;
  }
  Communicator& group = scope->group;
  const auto number_of = [](const DeviceGraph& graph) {
    return static_cast<const GroupGraph&>(graph).number();
  };
  graphs_.forget([&](const DeviceGraph& graph) { return number_of(graph) == 0; });
  // The others' sizes may be others than when this device had these.
  const std::vector<DeviceGraph*> known = graphs_.all_of_call();
  std::vector<std::uint64_t> numbers;
  for (const DeviceGraph* graph : known) numbers.push_back(number_of(*graph));
  const std::int64_t launches = launches_of(program_.steps);
  const auto failed = [&] { return DeviceError(program_.name + ": " + group.failure()); };
  const auto agreed = group.agree_on_graph(scope->rank, numbers, wants_graph(launches));
  if (!agreed) throw failed();
  if (*agreed == 0) {
    run_all();
    return;
  }
  const auto found = std::ranges::find(numbers, *agreed);
  DeviceGraph* graph =
      found == numbers.end() ? nullptr : known[static_cast<std::size_t>(found - numbers.begin())];
  if (!graph) {
    graphs_.take_outdated();
    std::unique_ptr<DeviceGraph> made;
    capture(made);
    graph = graphs_.keep(
        std::make_unique<GroupGraph>(group.graphs(), device_, std::move(made), *agreed), launches);
    if (!group.confirm_graph(scope->rank)) throw failed();
  }
  graphs_.note_use(*graph);
  device_->launch(static_cast<GroupGraph*>(graph)->graph());
  updating_ = true;
}

void DeviceProgram::launch_all() {
  if (how_.graphs && times_ == nullptr) {
    run_replayed();
  } else {
    run_all();
  }
}

}  // namespace kroton::codegen
