// Programs on a device: buffers placed in its memory, kernels started, loops and branches run by
// the host.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>

#include "compiler/codegen/cuda/call_timer.h"
#include "compiler/codegen/cuda/capture_order.h"
#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/codegen/cuda/exchanges_in_flight.h"
#include "compiler/codegen/cuda/gpu_rates.h"
#include "compiler/codegen/cuda/graph_cache.h"
#include "compiler/codegen/cuda/size_values.h"
#include "compiler/codegen/cuda/transfers.h"
#include "compiler/codegen/executable.h"
#include "runtime/abi.h"
#include "runtime/communicator.h"
#include "runtime/sha256.h"

namespace kroton::codegen {

// Whether the launches of a call depend on its sizes only, so that they can be captured.
bool can_be_captured(const std::vector<Step>& steps);
// Whether the call is an exchange between devices; whether there is one among the steps.
bool is_collective(const kroton::Call& call);
bool has_collectives(const std::vector<Step>& steps);

// One Program in one stream of a device. Calls in a stream run one after the other: each holds its
// lock.
class DeviceProgram final : public Executable {
 public:
  struct How {
    // A program whose launches depend on the sizes only is captured as a graph when the sizes are
    // those of an earlier call, and replayed from then on, updated where addresses are others.
    bool graphs = true;
    // Kernels that are a product or a convolution are left to the device's libraries if it has
    // them.
    bool products = true;
    // Which may round operands of f32 to 11 bits.
    bool tf32 = false;
    // Indices have 32 bits in calls where these do.
    bool short_indices = true;
    // Another stream of the device, where calls run; null: the device's own one.
    std::shared_ptr<Device> stream = nullptr;
    // A stream of the caller's that calls are in order with.
    std::optional<void*> follows = {};
  };

  // Compiles the kernels and uploads the constants. `program` must live as long. DeviceError where
  // the device fails, InternalError for a buffer that has no place on a device.
  DeviceProgram(const Program& program, const CudaProgram& emitted, std::shared_ptr<Device> device,
                const How& how);

  // One call: `sizes` are the values of Program::sizes (one worker), the sizes of the host memory
  // those that follow from them. Shared variables are used where they are newest and stay on the
  // device; their locks must be held, exclusively where they are updated or moved. Returns the
  // first failed check, code KROTON_OK if none failed; outputs and shared variables are then as
  // before. A DeviceError leaves a variable that was to be updated as it was if its newest value
  // was the host's; if that was the device's, it is lost, and the variable says so. DeviceError if
  // called from inside a call, as what a print is written to may do: the device's memory of the
  // function is in use.
  //
  // Memory on the device is used where it is, and outputs there may be written in part by a call
  // that fails. Without host outputs and checks the call returns when all is started. A call that
  // is measured starts no graphs and waits.
  kroton_error run(std::span<const ArgumentMemory> inputs, std::span<const ArgumentMemory> outputs,
                   std::span<const std::int64_t> sizes, CallTimes* times = nullptr);

  bool uses_host_memory() const override { return false; }
  // Blocks that may wait for each other, of any kernel whose blocks do.
  std::int64_t workers() const override { return workers_; }
  // Bringing the copy of a shared variable up to date changes what belongs to it.
  bool moves_what_it_reads() const override;
  const Device* stream() const override { return device_.get(); }
  kroton_error run(const Call& call, CallContext& context) override;
  RunsOn runs_on() const override;
  std::vector<KernelCost> costs(std::span<const std::int64_t> sizes) const override;

 private:
  struct PlacedBuffer {
    loop::BufferRef buffer;
    Placement place;
    int of = -1;              // part: the position of the buffer it is in
    DeviceAddress start = 0;  // for the sizes of this call; part: of the whole
    std::int64_t bytes = 0;
    DeviceAddress elsewhere = 0;  // memory in its place, while candidates are timed; 0: none
  };
  struct PlacedProduct {
    const LibraryProduct* product = nullptr;
    int a = -1, b = -1, result = -1;  // positions in buffers_
    int c = -1, bias = -1;            // or none
  };
  struct LoadedKernel {
    const CudaKernel* emitted = nullptr;
    std::array<DeviceModule::Kernel, 2> handles{};  // by wide_
    std::vector<int> buffers;                       // positions in buffers_
    std::vector<bool> writes;                       // which of these
    bool checks = false;                            // it may stop with an error
    DeviceAddress arrivals = 0;  // where its blocks count themselves, if they wait for each other
    DeviceMemory words;          // that they wait for, if they do so for those before them
    std::int64_t blocks = 0;     // for the sizes of this call
    std::vector<std::uint64_t> derived;  // sizes and divisions by sizes, as it gets them
    PlacedProduct product;               // if the device's library computes it
    int algorithm = 0;                   // of the library's
    bool updates = false;                // writes to a shared variable
    int choice = -1;                     // position in choices_; -1: it always runs
    int candidate = 0;
  };
  // Several ways to the same results (Step::choice), and with the same kernels those algorithms
  // that a library has beside its first. Code for one is made when it is to run.
  struct Candidate {
    int of = 0;                  // Step::candidate
    int algorithm = 0;           // of a library's
    std::vector<int> kernels;    // positions in kernels_
    std::vector<Digest> forms;   // of these
    std::string form;            // for people
    bool needs_library = false;  // that is not there: a kernel is in its place
  };
  struct Choice {
    std::vector<Candidate> candidates;
    std::vector<int> outputs;                          // of any of them, positions in buffers_
    std::map<std::vector<std::int64_t>, int> decided;  // by sizes
    int now = -1;                                      // for the sizes of this call; -1: not known
    bool was_tried = false;                            // in this call
  };

  // run_program.cpp
  int position_of(const loop::BufferRef& buffer);
  bool is_state(const loop::BufferRef& buffer);
  void place_buffers(const std::vector<Step>& steps);
  void bind(std::span<const ArgumentMemory> inputs, std::span<const ArgumentMemory> outputs,
            std::span<const std::int64_t> sizes);
  // run(), in order with the streams of others.
  kroton_error run_ordered(std::span<const ArgumentMemory> inputs,
                           std::span<const ArgumentMemory> outputs,
                           std::span<const std::int64_t> sizes);
  void give_words(LoadedKernel& kernel);
  bool needs_wide_indices(std::span<const std::int64_t> sizes);
  void load_kernels();
  DeviceAddress address_of(const PlacedBuffer& placed) const;
  void give_up_states(const std::string& reason);

  // measure.cpp
  // Copies in a call: one part of it.
  template <class Copies>
  void measured(MeasuredTime CallTimes::* time, std::int64_t bytes, const Copies& copies) {
    if (times_ == nullptr || bytes == 0) {
      copies();
      return;
    }
    timer_.measure(times_->*time, copies);
    (times_->*time).bytes += static_cast<double>(bytes);
  }
  void upload(DeviceAddress to, const void* from, std::int64_t bytes);
  void download(void* to, DeviceAddress from, std::int64_t bytes);

  // run_steps.cpp
  void run_all();
  void run_steps(const std::vector<Step>& steps);
  // The value of a boolean on the device.
  bool is_true(const loop::BufferRef& condition);
  void launch(const LoadedKernel& kernel);
  void in_order(const std::vector<CaptureOrder::Range>& ranges, const std::function<void()>& work);
  void start(const LoadedKernel& kernel);
  std::vector<CaptureOrder::Range> touched(const LoadedKernel& kernel) const;

  // run_calls.cpp
  void show(const kroton::Call& print);
  void call(const kroton::Call& made);
  Collective collective_in(const kroton::Call& made) const;
  bool is_between_devices(const Collective& what) const;
  bool exchange(const kroton::Call& made);
  void settle(const PlacedBuffer& touched);
  ExchangesInFlight::Memory memory_of(const PlacedBuffer& placed) const;
  std::vector<std::byte> downloaded(const PlacedBuffer& placed);
  const PlacedBuffer& placed(const kroton::Call::Value& value) const;

  // run_libraries.cpp
  bool run_by_library(int algorithm, const std::function<bool(int algorithm)>& run) const;
  bool run_product(const PlacedProduct& placed, int algorithm);
  bool run_convolution(const PlacedProduct& placed, int algorithm);

  // run_graphs.cpp
  std::int64_t launches_of(const std::vector<Step>& steps) const;
  bool wants_graph(std::int64_t launches);
  void run_replayed();
  bool captures_exchanges(const std::vector<Step>& steps) const;
  void run_with_others();
  void capture(std::unique_ptr<DeviceGraph>& graph);
  void launch_all();

  // choose.cpp: choices between candidates
  void find_choices(const std::vector<Step>& steps);
  void recall_choices();
  void add_algorithms(Choice& choice) const;
  // The Step::candidate that runs.
  int candidate_of(int choice);
  void load(const Candidate& candidate);
  Digest key_of(const Choice& choice) const;
  int decide(Choice& choice);
  std::optional<int> timed(const Choice& choice);

  const Program& program_;
  CudaProgram emitted_;
  std::shared_ptr<Device> home_;    // whose memory it is
  std::shared_ptr<Device> device_;  // the stream of it
  std::optional<GpuRates> rates_;
  How how_;
  bool exchanges_in_graphs_ = false;  // the program has exchanges, and could be captured
  std::array<std::unique_ptr<DeviceModule>, 2> modules_;  // by wide_
  std::vector<DeviceMemory> constants_;
  DeviceMemory arrivals_;  // a word for each kernel whose blocks wait for each other
  std::int64_t workers_ = 1;
  DeviceMemory arena_;
  std::vector<DeviceAddress> argument_addresses_;
  std::vector<PlacedBuffer> buffers_;
  std::map<int, int> positions_;  // in buffers_, by Buffer::id
  std::vector<LoadedKernel> kernels_;
  std::unordered_map<const loop::Kernel*, int> kernel_numbers_;
  std::vector<Choice> choices_;
  std::map<int, int> choice_numbers_;  // in choices_, by Step::choice
  std::vector<std::array<std::unique_ptr<DeviceModule>, 2>> candidate_modules_;  // by wide_
  // Sizes for which every choice that a call meets has been made.
  std::set<std::vector<std::int64_t>> decided_sizes_;
  std::set<std::string> refusals_;  // of convolutions, that have been shown
  bool is_undecided_ = false;       // a call has met one that could not be made
  bool is_timing_ = false;          // the candidates of one

  // Of the call in progress.
  std::vector<std::int64_t> sizes_;
  SizeValues values_;
  // Whether the indices have 64 bits: another text, which is compiled when it is needed.
  bool wide_ = false;
  std::map<std::vector<int>, bool> short_sizes_;  // whether 32 do, by the bits of the sizes
  std::vector<KernelArgument> launch_arguments_;
  Transfers transfers_;
  ExchangesInFlight exchanges_;

  CallTimes* times_ = nullptr;  // of a call that is measured
  CallTimer timer_;

  bool running_ = false;   // a call is in progress
  bool updating_ = false;  // something that writes to a shared variable has been started

  // While a graph is captured whose branches may run side by side.
  std::optional<CaptureOrder> order_;
  GraphCache graphs_;
};

}  // namespace kroton::codegen
