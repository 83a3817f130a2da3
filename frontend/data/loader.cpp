// Batches made by threads: each takes the next number that nobody has, and leaves what it made in
// the place of that number, from which next() takes them in order.
#include <kroton/dataset.h>
#include <kroton/error.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "frontend/data/random.h"

namespace kroton::data {

namespace {

using Clock = std::chrono::steady_clock;

int threads_of(const Dataset& dataset, const LoaderOptions& o) {
  return o.threads.value_or(dataset.is_in_memory ? 0 : 2);
}

void check(const Dataset& dataset, const LoaderOptions& o) {
  const auto fail = [](const std::string& what) { throw ValueError("Loader: " + what); };
  if (!dataset.make) fail("the data set makes no batches");
  const int threads = threads_of(dataset, o);
  if (threads < 0) fail("threads is " + std::to_string(threads));
  if (threads > 0 && o.ahead < 1) fail("ahead is " + std::to_string(o.ahead));
  if (!dataset.lengths.empty() &&
      static_cast<std::int64_t>(dataset.lengths.size()) != dataset.count) {
    fail("the data set has " + std::to_string(dataset.count) + " examples and " +
         std::to_string(dataset.lengths.size()) + " lengths");
  }
  if (o.by_length && dataset.lengths.empty() && dataset.count > 0) {
    fail("by_length is for data sets that know the lengths of their examples");
  }
}

}  // namespace

struct Loader::State {
  State(Dataset from, const LoaderOptions& o)
      : dataset(std::move(from)), options(o), order(dataset.count, o.batch, o.seed) {
    check(dataset, o);
    for (int k = 0; k < threads_of(dataset, o); ++k) threads.emplace_back([this] { work(); });
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      ends = true;
    }
    wanted.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  std::int64_t batches() const {
    return options.drop_last ? dataset.count / options.batch : order.batch_count();
  }

  // The rows of batch `index` of the epoch that order and sorted are of.
  Rows rows(std::int64_t index) const {
    if (!options.by_length) return order.batch(index);
    return sorted[static_cast<std::size_t>(index)];
  }

  // Sorts by length within stretches of a hundred batches, so that which sequences meet still
  // changes from epoch to epoch, and deals the batches in a random order.
  void sort_by_length(std::uint64_t number) {
    std::vector<std::uint32_t> all;
    for (const Rows batch : order) all.insert(all.end(), batch.begin(), batch.end());
    const auto size = static_cast<std::size_t>(options.batch);
    const std::size_t stretch = size * 100;
    for (std::size_t at = 0; at < all.size();) {
      // What is less than a stretch goes with the one before.
      const std::size_t end = all.size() - at < 2 * stretch ? all.size() : at + stretch;
      std::stable_sort(all.begin() + static_cast<std::ptrdiff_t>(at),
                       all.begin() + static_cast<std::ptrdiff_t>(end),
                       [&](std::uint32_t a, std::uint32_t b) {
                         return dataset.lengths[a] < dataset.lengths[b];
                       });
      at = end;
    }
    sorted.clear();
    for (std::size_t at = 0; at < all.size(); at += size) {
      sorted.emplace_back(
          all.begin() + static_cast<std::ptrdiff_t>(at),
          all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), at + size)));
    }
    if (!options.shuffle) return;
    // The smaller batch stays the last.
    Random random(options.seed + 1, number);
    for (std::size_t left = all.size() / size; left > 1; --left) {
      std::swap(sorted[left - 1], sorted[random.below(static_cast<std::uint32_t>(left))]);
    }
  }

  void start(std::uint64_t number, std::int64_t first) {
    if (first < 0 || first > batches()) {
      throw ValueError("Loader: batch " + std::to_string(first) + " of " +
                       std::to_string(batches()));
    }
    const std::lock_guard one_at_a_time(caller);
    std::unique_lock lock(mutex);
    // Nobody makes a batch of the order that is about to change.
    next_made = batches();
    quiet.wait(lock, [&] { return making == 0; });
    made.clear();
    epoch = number;
    if (options.shuffle) order.epoch(number);
    if (options.by_length) sort_by_length(number);
    next_made = next_taken = first;
    started = true;
    waited = 0;
    lock.unlock();
    wanted.notify_all();
  }

  bool may_make() const {
    return started && next_made < batches() && next_made < next_taken + options.ahead;
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      wanted.wait(lock, [&] { return ends || may_make(); });
      if (ends) return;
      const std::int64_t index = next_made++;
      ++making;
      const Rows asked = rows(index);
      lock.unlock();
      Made result = make(asked);
      lock.lock();
      made[index] = std::move(result);
      --making;
      there.notify_all();
      quiet.notify_all();
    }
  }

  struct Made {
    Batch batch;
    std::exception_ptr error;
  };

  Made make(Rows asked) const {
    try {
      return {dataset.make(asked, epoch), nullptr};
    } catch (...) {
      return {{}, std::current_exception()};
    }
  }

  std::optional<Batch> next() {
    const std::lock_guard one_at_a_time(caller);
    if (!started || next_taken >= batches()) return std::nullopt;
    const Clock::time_point start = Clock::now();
    Made result;
    if (threads.empty()) {
      result = make(rows(next_taken));
      ++next_taken;
    } else {
      std::unique_lock lock(mutex);
      there.wait(lock, [&] { return made.contains(next_taken); });
      result = std::move(made.extract(next_taken).mapped());
      ++next_taken;
      lock.unlock();
      wanted.notify_all();
    }
    waited += std::chrono::duration<double>(Clock::now() - start).count();
    if (result.error) {
      {
        const std::lock_guard lock(mutex);
        started = false;
      }
      std::rethrow_exception(result.error);
    }
    return std::move(result.batch);
  }

  const Dataset dataset;
  const LoaderOptions options;
  Batches order;
  std::vector<std::vector<std::uint32_t>> sorted;  // batches of about one length
  std::uint64_t epoch = 0;
  double waited = 0;

  std::mutex caller;  // start() or next() is under way
  std::mutex mutex;
  std::condition_variable wanted;  // a batch may be made, or all ends
  std::condition_variable there;   // one has been made
  std::condition_variable quiet;   // a thread has stopped making one
  std::map<std::int64_t, Made> made;
  std::int64_t next_made = 0, next_taken = 0;
  int making = 0;
  bool started = false, ends = false;
  std::vector<std::thread> threads;
};

Loader::Loader(Dataset dataset, const LoaderOptions& options)
    : state_(std::make_unique<State>(std::move(dataset), options)) {}
Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

std::int64_t Loader::count() const {
  const std::int64_t all = state_->dataset.count;
  return state_->options.drop_last ? all - all % state_->options.batch : all;
}
std::int64_t Loader::batches() const { return state_->batches(); }
void Loader::start(std::uint64_t epoch, std::int64_t first) { state_->start(epoch, first); }
std::optional<Batch> Loader::next() { return state_->next(); }
double Loader::seconds_waited() const { return state_->waited; }

}  // namespace kroton::data
