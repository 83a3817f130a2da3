#include "tests/gpu_emulator/emulated_device.h"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <vector>

#include "compiler/loop/matrix_tile.h"
#include "compiler/loop/scalar.h"
#include "tests/gpu_emulator/any_order.h"
#include "tests/gpu_emulator/kernels.h"

namespace gpu_emulator {
namespace {

using kroton::Device;
using kroton::DeviceAddress;
using kroton::DeviceError;
using kroton::DeviceGraph;
using kroton::DeviceModule;
using kroton::DeviceProduct;
using kroton::InternalError;
using kroton::KernelArgument;

Counts& all_counts() {
  static Counts counts;
  return counts;
}

class Module : public DeviceModule {
 public:
  explicit Module(Kernels& kernels) : kernels_(kernels) {}
  Kernel kernel(const std::string& name) override {
    const auto it = kernels_.find(name);
    if (it == kernels_.end()) throw DeviceError("emulator: the source has no kernel " + name);
    return &it->second;
  }

 private:
  Kernels& kernels_;
};

class Graph : public DeviceGraph {
 public:
  std::vector<std::function<void()>> steps;
  std::vector<std::vector<std::size_t>> behind;  // positions of steps that each waits for
  std::vector<std::size_t> last;                 // that the next one waits for
};

class EmulatedDevice : public Device {
 public:
  explicit EmulatedDevice(bool products) : products_(products) {}
  ~EmulatedDevice() override {
    for (auto& [address, allocation] : allocations_) release(allocation);
  }
  EmulatedDevice(const EmulatedDevice&) = delete;
  EmulatedDevice& operator=(const EmulatedDevice&) = delete;

  const std::string& name() const override { return name_; }

  DeviceAddress allocate(std::int64_t bytes) override {
    const std::lock_guard lock(mutex);
    forbid_in_capture("allocate");
    constexpr std::size_t alignment = 256;
    const auto size = (static_cast<std::size_t>(bytes) + alignment - 1) / alignment * alignment;
    Allocation allocation{bytes, std::aligned_alloc(alignment, size), nullptr};
    allocation.shadow = std::calloc(size, log_bytes);
    if (!allocation.data || !allocation.shadow) {
      release(allocation);
      throw DeviceError(name_ + ": allocating " + std::to_string(bytes) + " bytes");
    }
    std::memset(allocation.data, 0xa5, size);  // what was there before means nothing
    const auto address = reinterpret_cast<DeviceAddress>(allocation.data);
    allocations_[address] = allocation;
    ++all_counts().allocations;
    return address;
  }

  void free(DeviceAddress address) noexcept override {
    const std::lock_guard lock(mutex);
    const auto found = allocations_.find(address);
    if (found == allocations_.end()) std::abort();
    release(found->second);
    allocations_.erase(found);
    --all_counts().allocations;
  }

  void upload(DeviceAddress to, const void* from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const std::lock_guard lock(mutex);
    forbid_in_capture("upload");
    std::memcpy(memory(to, bytes), from, static_cast<std::size_t>(bytes));
    ++all_counts().uploads;
  }

  void download(void* to, DeviceAddress from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const std::lock_guard lock(mutex);
    forbid_in_capture("download");
    std::memcpy(to, memory(from, bytes), static_cast<std::size_t>(bytes));
    ++all_counts().downloads;
  }

  void download(std::span<const kroton::DeviceRead> reads) override {
    bool any = false;
    for (const kroton::DeviceRead& read : reads) {
      if (read.bytes == 0) continue;
      const std::lock_guard lock(mutex);
      forbid_in_capture("download");
      std::memcpy(read.to, memory(read.from, read.bytes), static_cast<std::size_t>(read.bytes));
      any = true;
    }
    all_counts().downloads += any ? 1 : 0;
  }

  void copy(DeviceAddress to, DeviceAddress from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const std::lock_guard lock(mutex);
    forbid_in_capture("copy");
    std::memcpy(memory(to, bytes), memory(from, bytes), static_cast<std::size_t>(bytes));
  }

  std::string why_foreign(DeviceAddress address) override {
    const std::lock_guard lock(mutex);
    try {
      holder(address, 1);
    } catch (const DeviceError&) {
      return "is in no memory of the emulator";
    }
    return "";
  }

  void clear(DeviceAddress to, std::int64_t bytes) override {
    if (bytes == 0) return;
    const std::lock_guard lock(mutex);
    void* data = memory(to, bytes);
    run_or_note([=] { std::memset(data, 0, static_cast<std::size_t>(bytes)); });
  }

  std::unique_ptr<DeviceModule> compile(const std::string& source,
                                        const std::string& name) override {
    const std::lock_guard lock(mutex);
    try {
      return std::make_unique<Module>(compiled(source, name));
    } catch (const std::runtime_error& error) {
      throw InternalError(std::string("emulator: ") + error.what());
    }
  }

  void launch(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
              std::span<const KernelArgument> arguments) override {
    start(kernel, blocks, threads, false, arguments);
  }

  void launch_together(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                       std::span<const KernelArgument> arguments) override {
    if (blocks > blocks_at_once) {
      throw DeviceError(name_ + ": " + std::to_string(blocks) + " blocks wait for each other, " +
                        std::to_string(blocks_at_once) + " are there at once");
    }
    start(kernel, blocks, threads, true, arguments);
  }

  std::int64_t blocks_together(DeviceModule::Kernel /*kernel*/, int /*threads*/) override {
    return blocks_at_once;
  }

  void start(DeviceModule::Kernel kernel, std::int64_t blocks, int threads, bool together,
             std::span<const KernelArgument> arguments) {
    const std::lock_guard lock(mutex);
    const auto& called = *static_cast<const Kernel*>(kernel);
    if (blocks < 1 || blocks > 0x7fffffff || threads < 1 || threads > 1024) {
      throw DeviceError(name_ + ": " + called.name + ": a launch of " + std::to_string(blocks) +
                        " blocks of " + std::to_string(threads) + " threads");
    }
    run_or_note([this, &called, blocks, threads, together,
                 list = std::vector<KernelArgument>(arguments.begin(), arguments.end())] {
      run(called, blocks, threads, together, list);
    });
  }

  bool has_products() override { return products_; }
  // Of some GPU or other, so that there are predictions.
  kroton::DeviceProperties properties() const override {
    return {"emulated", 40, 1.5, 2, 1.5, 1024, 100 << 10};
  }

  bool product(const DeviceProduct& p) override {
    if (p.algorithm > 0) return false;
    const std::lock_guard lock(mutex);
    run_or_note([this, p] {
      ++all_counts().products;
      multiply(p);
    });
    return true;
  }

  void synchronize() override { forbid_in_capture("synchronize"); }

  void end_capture(std::unique_ptr<DeviceGraph>& graph) override {
    if (!capture_) throw DeviceError(name_ + ": end_capture: nothing is being captured");
    ++all_counts().graph_updates;
    graph = std::move(capture_);
  }

  void begin_capture() override {
    const std::lock_guard lock(mutex);
    forbid_in_capture("begin_capture");
    capture_ = std::make_unique<Graph>();
  }

  std::unique_ptr<DeviceGraph> end_capture() override {
    const std::lock_guard lock(mutex);
    if (!capture_) throw DeviceError(name_ + ": end_capture: nothing is being captured");
    ++all_counts().graphs;
    return std::move(capture_);
  }

  void abandon_capture() noexcept override { capture_.reset(); }

  // Places are positions from 1 on.
  bool orders_captured() const override { return true; }
  void capture_behind(std::span<const CapturedPlace> places) override {
    capture_->last.clear();
    for (const CapturedPlace place : places) {
      capture_->last.push_back(static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(place)) -
                               1);
    }
  }
  std::vector<CapturedPlace> captured_places() override {
    std::vector<CapturedPlace> places;
    for (const std::size_t position : capture_->last) {
      places.push_back(reinterpret_cast<CapturedPlace>(static_cast<std::uintptr_t>(position + 1)));
    }
    return places;
  }

  // In any order that is allowed, another one each time.
  void launch(DeviceGraph& graph) override {
    const std::lock_guard lock(mutex);
    forbid_in_capture("launch of a graph");
    const auto& launched = static_cast<Graph&>(graph);
    const auto seed = static_cast<std::uint64_t>(++all_counts().graph_launches);
    for (const std::size_t step : any_order(launched.behind, seed)) launched.steps[step]();
  }

 private:
  struct Allocation {
    std::int64_t bytes;
    void* data;
    void* shadow;
  };

  static void release(Allocation& allocation) {
    std::free(allocation.data);
    std::free(allocation.shadow);
  }

  void forbid_in_capture(const char* what) const {
    if (capture_) throw DeviceError(name_ + ": " + what + " while a graph is captured");
  }

  template <class F>
  void run_or_note(F step) {
    if (capture_) {
      capture_->steps.emplace_back(std::move(step));
      capture_->behind.push_back(std::move(capture_->last));
      capture_->last = {capture_->steps.size() - 1};
    } else {
      step();
    }
  }

  // The allocation that holds these bytes.
  const Allocation& holder(DeviceAddress address, std::int64_t bytes) const {
    auto after = allocations_.upper_bound(address);
    if (after != allocations_.begin()) {
      const auto& [start, allocation] = *--after;
      if (address + static_cast<DeviceAddress>(bytes) <=
          start + static_cast<DeviceAddress>(allocation.bytes)) {
        return allocation;
      }
    }
    throw DeviceError(name_ + ": " + std::to_string(bytes) + " bytes at " +
                      std::to_string(address) + " are not inside one allocation");
  }

  void* memory(DeviceAddress address, std::int64_t bytes) const {
    const Allocation& allocation = holder(address, bytes);
    return static_cast<char*>(allocation.data) +
           (address - reinterpret_cast<DeviceAddress>(allocation.data));
  }

  void run(const Kernel& kernel, std::int64_t blocks, int threads, bool together,
           const std::vector<KernelArgument>& arguments) {
    std::vector<Argument> list;
    for (const KernelArgument& argument : arguments) {
      Argument& given = list.emplace_back(Argument{argument.value, argument.bytes, nullptr});
      if (argument.bytes <= 0) continue;
      const Allocation& allocation = holder(argument.value, argument.bytes);
      given.shadow =
          static_cast<char*>(allocation.shadow) +
          (argument.value - reinterpret_cast<DeviceAddress>(allocation.data)) * log_bytes;
    }
    ++all_counts().launches;
    const std::string failure = gpu_emulator::run(kernel, blocks, threads, list, together);
    if (!failure.empty()) throw DeviceError(name_ + ": " + failure);
  }

  void multiply(const DeviceProduct& p) {
    using kroton::loop::read_element;
    const auto element = [&](const DeviceProduct::Matrix& m, kroton::DType dtype,
                             std::int64_t batch, std::int64_t row, std::int64_t column) {
      const std::int64_t at = batch * m.batch_stride + (m.transposed ? column : row) * m.leading +
                              (m.transposed ? row : column);
      const auto size = static_cast<std::int64_t>(size_of(dtype));
      return memory(m.address + static_cast<DeviceAddress>(at * size), size);
    };
    const auto operand = [&](const DeviceProduct::Matrix& m, std::int64_t batch, std::int64_t row,
                             std::int64_t column) {
      const double value =
          read_element(element(m, p.operands, batch, row, column), p.operands).real;
      return p.tf32 ? kroton::loop::multiplied(value, p.operands) : value;
    };
    for (std::int64_t n = 0; n < p.batch; ++n) {
      for (std::int64_t i = 0; i < p.rows; ++i) {
        for (std::int64_t j = 0; j < p.columns; ++j) {
          double sum = 0;
          for (std::int64_t k = 0; k < p.inner; ++k) {
            sum += operand(p.a, n, i, k) * operand(p.b, n, k, j);
          }
          sum *= p.alpha;
          if (p.beta != 0) {
            sum += p.beta * read_element(element(p.c, p.result, n, i, j), p.result).real;
          }
          if (p.bias != 0) {
            sum += read_element(element({p.bias, 0, 0, false}, p.result, 0, 0, j), p.result).real;
          }
          if (p.result != p.dtype) sum = static_cast<float>(sum);
          kroton::loop::write_element(element(p.d, p.result, n, i, j), p.result, {sum, 0});
        }
      }
    }
  }

  std::string name_ = "cuda:0 (emulated)";
  bool products_;
  std::map<DeviceAddress, Allocation> allocations_;
  std::unique_ptr<Graph> capture_;
};

// A device as if it had no library of products.
class WithoutProducts : public Device {
 public:
  explicit WithoutProducts(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  const std::string& name() const override { return device_->name(); }
  void check_usable() const override { device_->check_usable(); }
  DeviceAddress allocate(std::int64_t bytes) override { return device_->allocate(bytes); }
  void free(DeviceAddress address) noexcept override { device_->free(address); }
  void upload(DeviceAddress to, const void* from, std::int64_t bytes) override {
    device_->upload(to, from, bytes);
  }
  void download(void* to, DeviceAddress from, std::int64_t bytes) override {
    device_->download(to, from, bytes);
  }
  void download(std::span<const kroton::DeviceRead> reads) override { device_->download(reads); }
  void copy(DeviceAddress to, DeviceAddress from, std::int64_t bytes) override {
    device_->copy(to, from, bytes);
  }
  void clear(DeviceAddress to, std::int64_t bytes) override { device_->clear(to, bytes); }
  std::unique_ptr<kroton::DeviceEvent> make_event() override { return device_->make_event(); }
  void record(kroton::DeviceEvent& event) override { device_->record(event); }
  void begin_early_uploads(kroton::DeviceEvent& after) override {
    device_->begin_early_uploads(after);
  }
  void end_early_uploads() noexcept override { device_->end_early_uploads(); }
  std::string why_foreign(DeviceAddress address) override { return device_->why_foreign(address); }
  void wait_for(void* stream) override { device_->wait_for(stream); }
  void let_wait(void* stream) override { device_->let_wait(stream); }
  std::unique_ptr<DeviceModule> compile(const std::string& source,
                                        const std::string& name) override {
    return device_->compile(source, name);
  }
  void begin_call(const std::string& function) override { device_->begin_call(function); }
  void launch(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
              std::span<const KernelArgument> arguments) override {
    device_->launch(kernel, blocks, threads, arguments);
  }
  void launch_together(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                       std::span<const KernelArgument> arguments) override {
    device_->launch_together(kernel, blocks, threads, arguments);
  }
  std::int64_t blocks_together(DeviceModule::Kernel kernel, int threads) override {
    return device_->blocks_together(kernel, threads);
  }
  int capability() const override { return device_->capability(); }
  bool has_products() override { return false; }
  bool product(const DeviceProduct& /*product*/) override { return false; }
  void synchronize() override { device_->synchronize(); }
  std::string kind() const override { return device_->kind(); }
  kroton::DeviceProperties properties() const override { return device_->properties(); }
  std::unique_ptr<kroton::DeviceEvent> make_timed_event() override {
    return device_->make_timed_event();
  }
  double seconds_between(kroton::DeviceEvent& from, kroton::DeviceEvent& to) override {
    return device_->seconds_between(from, to);
  }
  bool has_graphs() const override { return device_->has_graphs(); }
  void begin_capture() override { device_->begin_capture(); }
  std::unique_ptr<DeviceGraph> end_capture() override { return device_->end_capture(); }
  void end_capture(std::unique_ptr<DeviceGraph>& graph) override { device_->end_capture(graph); }
  void abandon_capture() noexcept override { device_->abandon_capture(); }
  void launch(DeviceGraph& graph) override { device_->launch(graph); }
  bool orders_captured() const override { return device_->orders_captured(); }
  void capture_behind(std::span<const CapturedPlace> places) override {
    device_->capture_behind(places);
  }
  std::vector<CapturedPlace> captured_places() override { return device_->captured_places(); }

 private:
  std::shared_ptr<Device> device_;
};

bool asked_for(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value && std::string(value) != "0";
}

}  // namespace

std::shared_ptr<Device> make_device(bool products) {
  return std::make_shared<EmulatedDevice>(products);
}

TestCuda::TestCuda(bool products) : emulated_(!asked_for("KROTON_TEST_GPU")) {
  if (asked_for("KROTON_TEST_GPU_PRODUCTS")) products = true;
  if (!emulated_ && products) return;
  const std::shared_ptr<Device> device =
      emulated_ ? make_device(products)
                : std::make_shared<WithoutProducts>(kroton::machine_cuda_device(0));
  kroton::replace_cuda_devices([device](int number) -> std::shared_ptr<Device> {
    if (number != 0) {
      throw DeviceError("cuda(" + std::to_string(number) + "): the tests have device 0 only");
    }
    return device;
  });
}

TestCuda::~TestCuda() { kroton::replace_cuda_devices({}); }

const Counts& counts() {
  all_counts().compilations = compilations();
  return all_counts();
}

}  // namespace gpu_emulator
