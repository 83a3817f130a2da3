// What devices that run one program at the same time tell each other: sums over all of them, their
// rows joined. Each is run by a thread of its own, its rank in the group.
#pragma once
#include <kroton/dtype.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace kroton {

class GroupGraphs;

// One exchange, that all ranks take part in.
struct Collective {
  enum class Kind : std::uint8_t {
    all_reduce,      // all get the combination of all
    reduce_scatter,  // the same, each a part of it: as many elements as it gives, divided by size
    all_gather,      // all get the elements of all, one after the other
    broadcast,       // all get those of the root
    reduce           // the root gets the combination, others get zeros
  };
  enum class Combine : std::uint8_t { sum, prod, max, min };  // max and min: NaN if one is
  Kind kind = Kind::all_reduce;
  Combine combine = Combine::sum;
  DType dtype = DType::f32;
  int size = 1;  // of the group
  int root = 0;

  friend bool operator==(const Collective&, const Collective&) = default;
};

const char* name_of(Collective::Kind kind);

// One rank's part of an exchange between devices: addresses in its memory, elements, and the stream
// that it is made in.
struct ExchangePart {
  std::uint64_t in = 0, out = 0;
  std::int64_t in_count = 0, out_count = 0;
  void* stream = nullptr;
};

// What moves elements between the memories of a group's devices.
class GroupExchange {
 public:
  virtual ~GroupExchange() = default;
  virtual bool takes(const Collective& what) const = 0;
  // Queues one exchange for all ranks, on one rank's thread. DeviceError where it fails.
  virtual void start(const Collective& what, const std::vector<ExchangePart>& parts) = 0;
  // Whether exchanges may be started while the streams of all ranks are captured, each in a graph
  // of its own.
  virtual bool is_capturable() const { return false; }
  // Ends what is queued, from any thread, and does not wait for the end: a device has failed that
  // others wait for. It cannot be used afterwards.
  virtual void abort() noexcept = 0;
};

// A group of ranks in this process. A call begins when all take part; each says when its part of it
// is over. Where one leaves while others wait for it, or where they do not ask for the same, the
// exchange fails for all: nobody waits for ever.
class Communicator {
 public:
  explicit Communicator(int size);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int size() const { return size_; }
  void begin();  // by one thread, before the ranks start
  // By the rank: `failed` where that is by an error, so that others are not to wait for it.
  void leave(int rank, bool failed = false);
  // Whether an exchange has failed since the beginning, and why.
  bool has_failed() const;
  std::string failure() const;
  // Whether that rank was the one that waited for another, or that was told so.
  bool was_let_down(int rank) const;

  // Elements in the host's memory. `in_count` elements are read and `out_count` written, as the
  // kind says. Sums are in the order of the ranks: the same bits in every call, on every rank.
  // False where it fails.
  bool run(int rank, const Collective& what, const void* in, std::int64_t in_count, void* out,
           std::int64_t out_count);

  // The same between devices, by what connects them, if something does and takes it: queued when it
  // returns. `in_context` does something with the rank's device as the thread's current one.
  void connect(std::shared_ptr<GroupExchange> devices);
  // Whether what connected them has been ended since, by a device that failed.
  bool is_ended() const { return is_ended_; }
  bool is_connected_for(const Collective& what) const { return devices_ && devices_->takes(what); }
  bool run(int rank, const Collective& what, const ExchangePart& part,
           const std::function<void(const std::function<void()>&)>& in_context);

  // Exchanges in graphs of the devices. What is captured by all in one call is replayed by all in
  // one call: an exchange of one's graph would wait for ever for that of another's.
  bool is_capturable() const { return devices_ && devices_->is_capturable(); }
  // At the beginning of a call, by all ranks: the numbers of those that captured graphs the rank
  // has for this one, and whether it would capture another. The largest number that all have; if
  // there is none and all are to capture, a new one; else 0. Nothing where it fails.
  std::optional<std::uint64_t> agree_on_graph(int rank, std::vector<std::uint64_t> has, bool wants);
  // After capturing: whether all have. False where it fails.
  bool confirm_graph(int rank);
  // Graphs that are to end before what connects the devices.
  const std::shared_ptr<GroupGraphs>& graphs() const { return graphs_; }

 private:
  struct Posted {
    Collective what;
    ExchangePart part;
    const void* in = nullptr;
    void* out = nullptr;
    std::int64_t count = 0;
    bool is_beginning = false;  // or at the end of capturing, instead of at an exchange
    std::vector<std::uint64_t> graphs;
    bool wants_graph = false;
    bool let_down = false;
    bool left = false;
  };

  // Waits until all ranks are here; the last one does what is to be done then, for all.
  bool meet(int rank, const std::function<void()>& last = {});
  // The same, for what the rank has posted, which must be the same for all.
  bool agree(int rank, const std::function<void()>& last = {});
  // For the exchange that `what` says.
  bool agree(int rank, const Collective& what, std::int64_t count,
             const std::function<void()>& last = {});
  // Why not all ask for the same; empty if they do.
  std::string disagreement() const;
  void fail(const std::string& why);  // with the mutex held

  const int size_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0, left_ = 0;
  std::uint64_t generation_ = 0;
  bool failed_ = false;
  std::string failure_;
  std::vector<Posted> posted_;
  std::shared_ptr<GroupExchange> devices_;
  std::shared_ptr<GroupGraphs> graphs_;
  std::uint64_t captures_ = 0, agreed_ = 0;
  bool has_started_ = false;  // an exchange by them, or a graph with some, in this call
  bool is_ended_ = false;
};

// While one lives, this thread is that rank of the group.
class RankScope {
 public:
  RankScope(Communicator& group, int rank);
  ~RankScope();
  RankScope(const RankScope&) = delete;
  RankScope& operator=(const RankScope&) = delete;
  static const RankScope* current();

  Communicator& group;
  const int rank;

 private:
  const RankScope* const outer_;
};

// The size of the group, the root, and in one number kind, way of combining and dtype: the first
// sizes that kroton_collective gets, those of an array without elements.
constexpr int collective_rank = 4;
std::vector<std::int64_t> sizes_of(const Collective& what);
Collective collective_of(const std::int64_t* sizes);

// What they return.
constexpr std::int32_t collective_alone = 1;  // the thread is no rank of such a group
constexpr std::int32_t collective_failed = 2;

}  // namespace kroton

// The exchange as compiled code calls it. arrays: one without elements that says what it is, what
// is given, what is got, and two numbers for messages. sizes: theirs; elements are in one axis.
extern "C" std::int32_t kroton_collective(void* const* arrays, const std::int64_t* sizes);
// The same of f64 in place of floating dtypes.
extern "C" std::int32_t kroton_collective_f64(void* const* arrays, const std::int64_t* sizes);
