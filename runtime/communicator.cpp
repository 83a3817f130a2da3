#include "runtime/communicator.h"

#include <kroton/error.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime/group_graph.h"
#include "runtime/visit.h"

namespace kroton {
namespace {

thread_local const RankScope* innermost = nullptr;

template <class T>
T combined(Collective::Combine how, T a, T b) {
  // Integers wrap around.
  const auto wrapped = [](auto x) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      return static_cast<std::uint64_t>(x);
    } else {
      return x;
    }
  };
  switch (how) {
    case Collective::Combine::sum:
      return static_cast<T>(wrapped(a) + wrapped(b));
    case Collective::Combine::prod:
      return static_cast<T>(wrapped(a) * wrapped(b));
    case Collective::Combine::max:
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(a)) return a;
        if (std::isnan(b)) return b;
      }
      return std::max(a, b);
    case Collective::Combine::min:
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(a)) return a;
        if (std::isnan(b)) return b;
      }
      return std::min(a, b);
  }
  return a;
}

// The elements [begin, end) of all, combined in the order of the ranks, in f32 where the dtype is
// only stored, and rounded once.
void combine(const Collective& what, const std::vector<const void*>& from, std::int64_t begin,
             std::int64_t end, void* to) {
  visit_dtype(what.dtype, [&]<class T>(std::type_identity<T>) {
    using Computed =
        std::conditional_t<is_floating_element<T> && !std::is_floating_point_v<T>, float, T>;
    for (std::int64_t i = begin; i < end; ++i) {
      auto value = static_cast<Computed>(static_cast<const T*>(from[0])[i]);
      for (std::size_t rank = 1; rank < from.size(); ++rank) {
        value = combined(what.combine, value,
                         static_cast<Computed>(static_cast<const T*>(from[rank])[i]));
      }
      static_cast<T*>(to)[i - begin] = static_cast<T>(value);
    }
  });
}

char* at(void* data, std::int64_t bytes) { return static_cast<char*>(data) + bytes; }
const char* at(const void* data, std::int64_t bytes) {
  return static_cast<const char*>(data) + bytes;
}

std::string gone(int rank) {
  return "device " + std::to_string(rank) +
         " has ended its part of the call while others wait for it";
}

std::string described(const Collective& what, std::int64_t count) {
  return std::string(name_of(what.kind)) + " of " + std::to_string(count) + " elements, " +
         std::string(name_of(what.dtype));
}

}  // namespace

const char* name_of(Collective::Kind kind) {
  switch (kind) {
    case Collective::Kind::all_reduce:
      return "all_reduce";
    case Collective::Kind::reduce_scatter:
      return "reduce_scatter";
    case Collective::Kind::all_gather:
      return "all_gather";
    case Collective::Kind::broadcast:
      return "broadcast";
    case Collective::Kind::reduce:
      return "reduce_to_root";
  }
  return "";
}

Communicator::Communicator(int size)
    : size_(size),
      posted_(static_cast<std::size_t>(size)),
      graphs_(std::make_shared<GroupGraphs>()) {}

Communicator::~Communicator() { connect(nullptr); }

void Communicator::connect(std::shared_ptr<GroupExchange> devices) {
  if (!graphs_->end()) {
    // Graphs that cannot be ended, of a device that has failed: it would wait for them.
    static auto* const kept = new std::vector<std::shared_ptr<GroupExchange>>;
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    kept->push_back(devices_);
  }
  devices_ = std::move(devices);
  is_ended_ = false;
}

void Communicator::begin() {
  const std::lock_guard lock(mutex_);
  arrived_ = left_ = 0;
  failed_ = has_started_ = false;
  failure_.clear();
  for (Posted& posted : posted_) posted.let_down = posted.left = false;
}

void Communicator::leave(int rank, bool failed) {
  const std::lock_guard lock(mutex_);
  ++left_;
  posted_[static_cast<std::size_t>(rank)].left = true;
  if (failed && has_started_ && devices_) {
    devices_->abort();
    is_ended_ = true;
  }
  if (arrived_ > 0) fail(gone(rank));
}

bool Communicator::has_failed() const {
  const std::lock_guard lock(mutex_);
  return failed_;
}

std::string Communicator::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool Communicator::was_let_down(int rank) const {
  const std::lock_guard lock(mutex_);
  return posted_[static_cast<std::size_t>(rank)].let_down;
}

void Communicator::fail(const std::string& why) {
  if (!failed_) failure_ = why;
  failed_ = true;
  changed_.notify_all();
}

bool Communicator::meet(int rank, const std::function<void()>& last) {
  std::unique_lock lock(mutex_);
  bool& let_down = posted_[static_cast<std::size_t>(rank)].let_down;
  if (!failed_ && left_ > 0) {
    const auto who = std::find_if(posted_.begin(), posted_.end(),
                                  [](const Posted& posted) { return posted.left; });
    fail(gone(static_cast<int>(who - posted_.begin())));
  }
  if (failed_) {
    let_down = true;
    return false;
  }
  if (++arrived_ == size_) {
    arrived_ = 0;
    try {
      if (last) last();
    } catch (const std::exception& error) {
      fail(error.what());
    }
    let_down = failed_;
    ++generation_;
    changed_.notify_all();
    return !failed_;
  }
  const std::uint64_t mine = generation_;
  changed_.wait(lock, [&] { return generation_ != mine || failed_; });
  let_down = failed_;
  return !failed_;
}

std::string Communicator::disagreement() const {
  const Posted& first = posted_[0];
  for (std::size_t other = 1; other < posted_.size(); ++other) {
    const Posted& posted = posted_[other];
    const bool is_same = posted.is_beginning || first.is_beginning
                             ? posted.is_beginning == first.is_beginning
                             : posted.what == first.what && posted.count == first.count;
    if (is_same) continue;
    const auto place = [](const Posted& at) {
      return at.is_beginning ? "the beginning" : described(at.what, at.count);
    };
    return "the devices do not agree: device 0 is at " + place(first) + ", device " +
           std::to_string(other) + " at " + place(posted);
  }
  return "";
}

bool Communicator::agree(int rank, const std::function<void()>& last) {
  return meet(rank, [&] {
    const std::string why = disagreement();
    if (!why.empty()) throw DeviceError(why);
    if (last) last();
  });
}

bool Communicator::agree(int rank, const Collective& what, std::int64_t count,
                         const std::function<void()>& last) {
  Posted& mine = posted_[static_cast<std::size_t>(rank)];
  mine.what = what;
  mine.count = count;
  mine.is_beginning = false;
  return agree(rank, last);
}

std::optional<std::uint64_t> Communicator::agree_on_graph(int rank, std::vector<std::uint64_t> has,
                                                          bool wants) {
  Posted& mine = posted_[static_cast<std::size_t>(rank)];
  mine.is_beginning = true;
  mine.graphs = std::move(has);
  mine.wants_graph = wants;
  const bool agreed = agree(rank, [&] {
    agreed_ = 0;
    for (const std::uint64_t number : posted_[0].graphs) {
      const bool all = std::ranges::all_of(posted_, [&](const Posted& posted) {
        return std::ranges::count(posted.graphs, number) != 0;
      });
      if (all) agreed_ = std::max(agreed_, number);
    }
    if (agreed_ == 0 && std::ranges::all_of(posted_, &Posted::wants_graph)) agreed_ = ++captures_;
    has_started_ = has_started_ || agreed_ != 0;
  });
  if (!agreed) return std::nullopt;
  return agreed_;
}

bool Communicator::confirm_graph(int rank) {
  posted_[static_cast<std::size_t>(rank)].is_beginning = true;
  return agree(rank);
}

bool Communicator::run(int rank, const Collective& what, const ExchangePart& part,
                       const std::function<void(const std::function<void()>&)>& in_context) {
  posted_[static_cast<std::size_t>(rank)].part = part;
  return agree(rank, what, part.in_count, [&] {
    std::vector<ExchangePart> parts;
    for (const Posted& posted : posted_) parts.push_back(posted.part);
    if (part.in_count == 0) return;
    has_started_ = true;
    in_context([&] { devices_->start(what, parts); });
  });
}

bool Communicator::run(int rank, const Collective& what, const void* in, std::int64_t in_count,
                       void* out, std::int64_t out_count) {
  Posted& mine = posted_[static_cast<std::size_t>(rank)];
  mine.in = in;
  mine.out = out;
  if (!agree(rank, what, in_count)) return false;
  std::vector<const void*> from;
  for (const Posted& posted : posted_) from.push_back(posted.in);
  const auto bytes = static_cast<std::int64_t>(size_of(what.dtype));
  const auto copy = [&](void* to, const void* source, std::int64_t count) {
    if (count > 0) std::memcpy(to, source, static_cast<std::size_t>(count * bytes));
  };
  // Elements that this rank combines for all.
  const auto begin_of = [&](std::int64_t r) { return in_count * r / size_; };
  const std::int64_t begin = begin_of(rank), end = begin_of(rank + 1);
  switch (what.kind) {
    case Collective::Kind::all_reduce: {
      combine(what, from, begin, end, at(out, begin * bytes));
      if (!meet(rank)) return false;
      for (int other = 0; other < size_; ++other) {
        if (other == rank) continue;
        const std::int64_t first = begin_of(other);
        copy(at(out, first * bytes),
             at(static_cast<const void*>(posted_[static_cast<std::size_t>(other)].out),
                first * bytes),
             begin_of(other + 1) - first);
      }
      break;
    }
    case Collective::Kind::reduce_scatter:
      combine(what, from, out_count * rank, out_count * (rank + 1), out);
      break;
    case Collective::Kind::all_gather:
      for (int other = 0; other < size_; ++other) {
        copy(at(out, in_count * other * bytes), from[static_cast<std::size_t>(other)], in_count);
      }
      break;
    case Collective::Kind::broadcast:
      copy(out, from[static_cast<std::size_t>(what.root)], in_count);
      break;
    case Collective::Kind::reduce:
      if (rank == what.root) {
        combine(what, from, 0, in_count, out);
      } else if (in_count > 0) {
        std::memset(out, 0, static_cast<std::size_t>(in_count * bytes));
      }
      break;
  }
  // What was read may be changed from here on.
  return meet(rank);
}

RankScope::RankScope(Communicator& its_group, int its_rank)
    : group(its_group), rank(its_rank), outer_(innermost) {
  innermost = this;
}
RankScope::~RankScope() { innermost = outer_; }
const RankScope* RankScope::current() { return innermost; }

std::vector<std::int64_t> sizes_of(const Collective& what) {
  const std::int64_t code =
      (static_cast<std::int64_t>(what.kind) * 16 + static_cast<std::int64_t>(what.combine)) * 256 +
      static_cast<std::int64_t>(what.dtype);
  return {what.size, what.root, code, 0};
}

Collective collective_of(const std::int64_t* sizes) {
  const std::int64_t code = sizes[2];
  return {static_cast<Collective::Kind>(code / 4096),
          static_cast<Collective::Combine>(code / 256 % 16), static_cast<DType>(code % 256),
          static_cast<int>(sizes[0]), static_cast<int>(sizes[1])};
}

static std::int32_t exchange(const Collective& what, void* const* arrays,
                             const std::int64_t* sizes) {
  const std::int64_t in_count = sizes[collective_rank], out_count = sizes[collective_rank + 1];
  auto* const numbers = static_cast<std::int64_t*>(arrays[3]);
  numbers[0] = 0;
  numbers[1] = what.size;
  const RankScope* const scope = RankScope::current();
  if (scope && scope->group.size() == what.size) {
    const bool done =
        scope->group.run(scope->rank, what, arrays[1], in_count, arrays[2], out_count);
    return done ? 0 : collective_failed;
  }
  if (scope || what.size != 1) return collective_alone;
  if (out_count > 0) {
    std::memcpy(arrays[2], arrays[1], static_cast<std::size_t>(out_count * size_of(what.dtype)));
  }
  return 0;
}

}  // namespace kroton

std::int32_t kroton_collective(void* const* arrays, const std::int64_t* sizes) {
  return kroton::exchange(kroton::collective_of(sizes), arrays, sizes);
}

std::int32_t kroton_collective_f64(void* const* arrays, const std::int64_t* sizes) {
  kroton::Collective what = kroton::collective_of(sizes);
  if (kroton::is_float(what.dtype)) what.dtype = kroton::DType::f64;
  return kroton::exchange(what, arrays, sizes);
}
