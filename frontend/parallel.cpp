// Functions that several devices compute together: one compiled function for each, a thread for
// each, and what they exchange.
#include <kroton/error.h>
#include <kroton/parallel.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>

#include "compiler/base/dump.h"
#include "compiler/ops/weak.h"
#include "frontend/buckets.h"
#include "frontend/replicas.h"
#include "runtime/communicator.h"
#include "runtime/storage.h"

namespace kroton::detail {
namespace {

std::string in_line(const SourceLine& line) { return "  [" + to_string(line) + "]"; }

}  // namespace

// Threads that do one thing together with the one that asks for it.
class ParallelTeam {
 public:
  explicit ParallelTeam(int size) {
    for (int rank = 1; rank < size; ++rank) {
      threads_.emplace_back([this, rank] { work(rank); });
    }
  }
  ~ParallelTeam() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    begins_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  ParallelTeam(const ParallelTeam&) = delete;
  ParallelTeam& operator=(const ParallelTeam&) = delete;

  // task(0) on this thread, the others on theirs; must not throw.
  void run(const std::function<void(int)>& task) {
    {
      const std::lock_guard lock(mutex_);
      task_ = &task;
      busy_ = static_cast<int>(threads_.size());
      ++round_;
    }
    begins_.notify_all();
    task(0);
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return busy_ == 0; });
  }

 private:
  void work(int rank) {
    std::uint64_t done = 0;
    std::unique_lock lock(mutex_);
    while (true) {
      begins_.wait(lock, [&] { return ends_ || round_ != done; });
      if (ends_) return;
      done = round_;
      const std::function<void(int)>* const task = task_;
      lock.unlock();
      (*task)(rank);
      lock.lock();
      if (--busy_ == 0) ended_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable begins_, ended_;
  const std::function<void(int)>* task_ = nullptr;
  std::uint64_t round_ = 0;
  int busy_ = 0;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

namespace {

// Rows [first, first + count) of a row-major array, where they are.
Array rows_of(const Array& array, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> sizes(array.shape().begin(), array.shape().end());
  const std::int64_t stride = sizes[0] == 0 ? 0 : array.nbytes() / sizes[0];
  sizes[0] = count;
  const Shape shape{std::span<const std::int64_t>(sizes)};
  const Storage* const storage = ArrayAccess::on_device(array);
  const DeviceAddress begin =
      ArrayAccess::address(array) + static_cast<DeviceAddress>(first * stride);
  return ArrayAccess::make(reinterpret_cast<void*>(begin), array.dtype(), shape,
                           array.is_read_only(), storage ? *storage : Storage{}, true);
}

// The rows of all, in their order.
Array joined(const std::vector<Array>& parts, const Target& where) {
  std::vector<std::int64_t> sizes(parts[0].shape().begin(), parts[0].shape().end());
  sizes[0] = 0;
  for (const Array& part : parts) sizes[0] += part.shape()[0];
  const Shape shape{std::span<const std::int64_t>(sizes)};
  Array all = Array::empty(shape, parts[0].dtype(), where);
  std::int64_t first = 0;
  for (const Array& part : parts) {
    const std::int64_t count = part.shape()[0];
    Array rows = rows_of(all, first, count);
    rows.assign(part);
    first += count;
  }
  return all;
}

// Calls that run on several GPUs hold all of them, one after the other: two such calls at once
// could each wait for a device that the other has.
std::mutex& devices_in_use() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

}  // namespace

struct ParallelCore::Parts {
  Parts(const DeviceGroup& its_group, const std::vector<Tensor>& leaves)
      : group(its_group),
        replicas(its_group, leaves),
        communicator(its_group.size()),
        team(its_group.size()) {}

  bool is_same(const std::vector<Tensor>& same, const Tensor& t) const {
    return t.rank() == 0 || std::any_of(same.begin(), same.end(), [&](const Tensor& other) {
             return &other.node() == &t.node();
           });
  }
  std::vector<std::vector<Argument>> split(std::span<const Argument> arguments,
                                           std::vector<Array>& copies) const;
  // Joins the devices by the library for that, if it is there; else they exchange by the host.
  void connect();
  [[noreturn]] void fail(std::vector<std::exception_ptr>& errors);

  DeviceGroup group;
  std::string name;
  std::vector<Tensor> inputs;
  std::vector<bool> input_is_split, output_is_joined;
  Replicas replicas;
  std::vector<std::unique_ptr<FunctionCore>> cores;
  Communicator communicator;
  ParallelTeam team;
  std::mutex mutex;  // one call at a time
};

ParallelCore::ParallelCore(const DeviceGroup& group, const std::vector<Tensor>& inputs,
                           const std::vector<Tensor>& outputs, const ParallelOptions& options,
                           const SourceLine& line) {
  const std::string name = options.name.empty() ? "parallel_function" : options.name;
  for (const Tensor& output : outputs) {
    if (!output) throw ValueError(name + ": an output is empty" + in_line(line));
  }
  std::vector<Tensor> roots = outputs;
  for (const Update& update : options.updates) {
    if (!update.value) {
      throw ValueError(name + ": the update of " + update.target.name() + " is empty" +
                       in_line(line));
    }
    roots.push_back(ops::met_by(update.value, update.target.dtype()));
  }
  for (const Tensor& t : options.same) {
    const auto is_t = [&](const Tensor& other) {
      return bool(t) && bool(other) && &other.node() == &t.node();
    };
    if (std::any_of(inputs.begin(), inputs.end(), is_t) ||
        std::any_of(outputs.begin(), outputs.end(), is_t)) {
      continue;
    }
    throw ValueError(name + ": a tensor in `same` is neither an input nor an output" +
                     in_line(line));
  }
  roots = with_buckets(roots, options.bucket_bytes);
  std::vector<Tensor> leaves = topological_order(roots);
  for (const Update& update : options.updates) leaves.push_back(update.target);
  parts_ = std::make_unique<Parts>(group, leaves);
  Parts& parts = *parts_;
  parts.name = name;
  parts.inputs = inputs;
  for (const Tensor& input : inputs) {
    const bool is_split = input && !parts.is_same(options.same, input);
    parts.input_is_split.push_back(is_split);
    if (!is_split || !input.shape(0).is_constant()) continue;
    throw ValueError(name + ": " + input.name() + " is " + to_string(input.type()) +
                     ": its rows are split over the devices, so that their number must be free; "
                     "`same` names what all devices get whole" +
                     in_line(line));
  }
  for (const Tensor& output : outputs) {
    parts.output_is_joined.push_back(!parts.is_same(options.same, output));
  }
  // What is known first is exchanged first.
  const auto count = static_cast<std::ptrdiff_t>(outputs.size());
  const std::vector<std::size_t> order =
      by_depth(std::vector<Tensor>(roots.begin() + count, roots.end()));
  for (int rank = 0; rank < group.size(); ++rank) {
    const std::vector<Tensor> own = parts.replicas.on(rank, roots);
    FunctionOptions how;
    for (const std::size_t k : order) {
      how.updates.push_back(
          {parts.replicas.on(rank, options.updates[k].target), own[outputs.size() + k]});
    }
    how.name = name;
    how.target = group.devices()[static_cast<std::size_t>(rank)];
    how.on_unused_input = options.on_unused_input;
    how.check = options.check;
    how.contract = options.contract;
    how.downloads = options.downloads;
    parts.cores.push_back(std::make_unique<FunctionCore>(
        inputs, std::vector<Tensor>(own.begin(), own.begin() + count), how, line));
  }
  parts.connect();
}

ParallelCore::~ParallelCore() = default;

std::vector<std::vector<Argument>> ParallelCore::Parts::split(std::span<const Argument> arguments,
                                                              std::vector<Array>& copies) const {
  const std::int64_t size = group.size();
  std::vector<std::vector<Argument>> result(static_cast<std::size_t>(size));
  copies.reserve(arguments.size());
  for (std::size_t k = 0; k < arguments.size(); ++k) {
    const Array* array = arguments[k].array();
    const bool moves =
        array && array->is_on_device() && group.devices()[0].kind != Target::Kind::cpu;
    if (array && !moves) {
      require_host(*array, name + ": " + (k < inputs.size() ? inputs[k].name() : ""));
    }
    const bool splits = array && array->rank() > 0 && k < inputs.size() && input_is_split[k];
    if (!splits) {
      for (std::int64_t rank = 0; rank < size; ++rank) {
        const Target& device = group.devices()[static_cast<std::size_t>(rank)];
        result[static_cast<std::size_t>(rank)].push_back(moves ? Argument(array->to(device))
                                                               : arguments[k]);
      }
      continue;
    }
    const std::int64_t rows = array->shape()[0];
    if (rows < size) {
      throw ValueError(name + ": " + inputs[k].name() + " has " + std::to_string(rows) +
                       (rows == 1 ? " row" : " rows") + ", fewer than the " + std::to_string(size) +
                       " devices");
    }
    const Array& whole = copies.emplace_back(array->contiguous());
    std::int64_t first = 0;
    for (std::int64_t rank = 0; rank < size; ++rank) {
      const std::int64_t count = rows / size + (rank < rows % size ? 1 : 0);
      Array part = rows_of(whole, first, count);
      if (moves) part = part.to(group.devices()[static_cast<std::size_t>(rank)]);
      result[static_cast<std::size_t>(rank)].emplace_back(std::move(part));
      first += count;
    }
  }
  return result;
}

void ParallelCore::Parts::connect() {
  if (group.size() == 1 || group.devices()[0].kind == Target::Kind::cpu) return;
  std::vector<int> numbers;
  for (const Target& device : group.devices()) numbers.push_back(device.device);
  std::string why;
  std::shared_ptr<GroupExchange> exchange = open_exchange(numbers, why);
  if (!why.empty() && dumps("cuda")) {
    std::fprintf(stderr, "== exchanges by %s\n%s\n",
                 exchange ? "copies between the devices" : "the host", why.c_str());
  }
  communicator.connect(std::move(exchange));
}

// The error of the first device that has one of its own.
void ParallelCore::Parts::fail(std::vector<std::exception_ptr>& errors) {
  int failed = -1, own = -1;
  for (int rank = 0; rank < group.size(); ++rank) {
    if (!errors[static_cast<std::size_t>(rank)]) continue;
    if (failed < 0) failed = rank;
    if (own < 0 && !communicator.was_let_down(rank)) own = rank;
  }
  replicas.take_back(failed);
  if (own >= 0) std::rethrow_exception(errors[static_cast<std::size_t>(own)]);
  throw DeviceError(name + ": " + communicator.failure());
}

void ParallelCore::call(std::span<const Argument> arguments, std::span<Array> results) const {
  Parts& parts = *parts_;
  const std::lock_guard lock(parts.mutex);
  const bool on_cpu = parts.group.devices()[0].kind == Target::Kind::cpu;
  std::unique_lock<std::mutex> devices(devices_in_use(), std::defer_lock);
  if (!on_cpu) devices.lock();
  std::vector<Array> copies;
  const std::vector<std::vector<Argument>> split = parts.split(arguments, copies);
  parts.replicas.bring_up_to_date();
  if (parts.communicator.is_ended()) parts.connect();
  const auto size = static_cast<std::size_t>(parts.group.size());
  std::vector<std::vector<Array>> values(size, std::vector<Array>(results.size()));
  std::vector<std::exception_ptr> errors(size);
  parts.communicator.begin();
  parts.team.run([&](int number) {
    const auto rank = static_cast<std::size_t>(number);
    try {
      const RankScope scope(parts.communicator, number);
      parts.cores[rank]->call(split[rank], values[rank], false);
    } catch (...) {
      errors[rank] = std::current_exception();
    }
    parts.communicator.leave(number, bool(errors[rank]));
  });
  if (std::any_of(errors.begin(), errors.end(), [](const auto& error) { return bool(error); })) {
    parts.fail(errors);
  }
  parts.replicas.note_equal();
  for (std::size_t k = 0; k < results.size(); ++k) {
    if (!parts.output_is_joined[k] || size == 1) {
      results[k] = values[0][k];
      continue;
    }
    std::vector<Array> pieces;
    for (const std::vector<Array>& list : values) pieces.push_back(list[k]);
    results[k] = joined(pieces, pieces[0].device());
  }
}

std::size_t ParallelCore::output_count() const { return parts_->output_is_joined.size(); }
const std::string& ParallelCore::name() const { return parts_->name; }
const DeviceGroup& ParallelCore::group() const { return parts_->group; }
const FunctionCore& ParallelCore::of_device(int number) const {
  return *parts_->cores[static_cast<std::size_t>(number)];
}

}  // namespace kroton::detail
