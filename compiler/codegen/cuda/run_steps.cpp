// The steps of a Program on a device: kernels are started, loops and branches run by the host.
#include <algorithm>

#include "compiler/codegen/cuda/run_program.h"

namespace kroton::codegen {
namespace {

// Memory that libraries work in, each as if it were here: two of them at a time would disturb each
// other.
constexpr DeviceAddress library_memory = 1;

}  // namespace

std::vector<CaptureOrder::Range> DeviceProgram::touched(const LoadedKernel& kernel) const {
  std::vector<CaptureOrder::Range> ranges;
  for (std::size_t k = 0; k < kernel.buffers.size(); ++k) {
    const PlacedBuffer& placed = buffers_[static_cast<std::size_t>(kernel.buffers[k])];
    ranges.push_back(CaptureOrder::range(address_of(placed), placed.bytes, kernel.writes[k]));
  }
  // The first failed check counts, and nothing is updated behind one.
  // Blocks that wait for each other have to find the same.
  const bool together = kernel.emitted->together, in_order = kernel.emitted->in_order;
  if (kernel.checks || ((kernel.updates || together || in_order) && !program_.sites.empty())) {
    ranges.push_back(
        CaptureOrder::range(transfers_.results(), sizeof(kroton_error), kernel.checks));
  }
  if (together) {
    ranges.push_back(CaptureOrder::range(kernel.arrivals, sizeof(std::uint32_t), true));
  }
  if (in_order) {
    ranges.push_back(CaptureOrder::range(kernel.words.address(), kernel.words.bytes(), true));
  }
  if (kernel.product.product) ranges.push_back(CaptureOrder::range(library_memory, 1, true));
  return ranges;
}

void DeviceProgram::launch(const LoadedKernel& kernel) {
  if (kernel.blocks == 0) return;
  if (!exchanges_.empty()) {
    for (int position : kernel.buffers) settle(buffers_[static_cast<std::size_t>(position)]);
  }
  const auto started = [&] { start(kernel); };
  if (order_) {
    in_order(touched(kernel), started);
  } else if (times_ != nullptr) {
    timer_.measure(times_->kernels[static_cast<std::size_t>(&kernel - kernels_.data())], started);
  } else {
    start(kernel);
  }
}

// Captures work that touches these.
void DeviceProgram::in_order(const std::vector<CaptureOrder::Range>& ranges,
                             const std::function<void()>& work) {
  device_->capture_behind(order_->before(ranges));
  work();
  order_->add(ranges, device_->captured_places());
}

void DeviceProgram::start(const LoadedKernel& kernel) {
  if (kernel.product.product && run_product(kernel.product, kernel.algorithm)) {
    updating_ = updating_ || kernel.updates;
    return;
  }
  launch_arguments_.clear();
  for (int position : kernel.buffers) {
    const PlacedBuffer& placed = buffers_[static_cast<std::size_t>(position)];
    launch_arguments_.push_back({address_of(placed), placed.bytes});
  }
  for (std::int64_t size : sizes_) launch_arguments_.push_back({static_cast<std::uint64_t>(size)});
  for (const std::uint64_t derived : kernel.derived) launch_arguments_.push_back({derived});
  const bool together = kernel.emitted->together;
  if (together) launch_arguments_.push_back({kernel.arrivals, sizeof(std::uint32_t)});
  if (kernel.emitted->in_order) {
    launch_arguments_.push_back({kernel.words.address(), kernel.words.bytes()});
  }
  launch_arguments_.push_back({transfers_.results(), sizeof(kroton_error)});
  const DeviceModule::Kernel handle = kernel.handles[wide_ ? 1 : 0];
  const int threads = kernel.emitted->threads;
  if (together) {
    device_->launch_together(handle, kernel.blocks, threads, launch_arguments_);
  } else {
    device_->launch(handle, kernel.blocks, threads, launch_arguments_);
  }
  updating_ = updating_ || kernel.updates;
}

void DeviceProgram::run_steps(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    visit(
        step,
        [this](const loop::Kernel& kernel) {
          const LoadedKernel& loaded =
              kernels_[static_cast<std::size_t>(kernel_numbers_.at(&kernel))];
          if (loaded.choice < 0 || candidate_of(loaded.choice) == loaded.candidate) launch(loaded);
        },
        [this](const Scan& scan) {
          const std::int64_t extent = values_.of(scan.extent);
          const bool ends = scan.idle != nullptr && scan.idle_to_the_end;
          std::int64_t idle_from = extent;
          for (std::int64_t i = 0; i < extent; ++i) {
            values_.begin(scan.variable, i);
            run_steps(idle_from < i ? scan.idle_steps : scan.steps);
            if (!ends || idle_from < i) continue;
            // The one that finds it out has brought every state to both of its rows.
            if (is_true(scan.idle)) {
              if (scan.idle_steps.empty()) break;
              idle_from = i;
            }
          }
          values_.end(scan.variable);
        },
        [this](const Branch& branch) {
          run_steps(is_true(branch.condition) ? branch.then_steps : branch.else_steps);
        },
        [this](const kroton::Call& made) {
          if (!made.callee) {
            settle(placed(made.inputs[0]));
            show(made);
          } else if (!exchange(made)) {
            for (const auto* values : {&made.inputs, &made.outputs}) {
              for (const kroton::Call::Value& value : *values) settle(placed(value));
            }
            call(made);
          }
        });
  }
}

bool DeviceProgram::is_true(const loop::BufferRef& condition) {
  std::uint8_t value = 0;
  const int position = positions_.at(condition->id);
  settle(buffers_[static_cast<std::size_t>(position)]);
  download(&value, address_of(buffers_[static_cast<std::size_t>(position)]), 1);
  return value != 0;
}

void DeviceProgram::run_all() {
  if (!program_.sites.empty()) {
    device_->clear(transfers_.results(), sizeof(kroton_error));
    if (order_) {
      const CaptureOrder::Range error =
          CaptureOrder::range(transfers_.results(), sizeof(kroton_error), true);
      order_->add(std::span(&error, 1), device_->captured_places());
    }
  }
  exchanges_.forget();  // of a call that has failed
  is_undecided_ = false;
  for (Choice& choice : choices_) choice.was_tried = false;
  run_steps(program_.steps);
  exchanges_.settle_all();
  if (!choices_.empty() && !is_undecided_) decided_sizes_.insert(sizes_);
}

}  // namespace kroton::codegen
