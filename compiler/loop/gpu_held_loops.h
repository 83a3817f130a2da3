// What the loops over a row or a column look at several times stays in the registers of threads:
// which arrays that is, and how the positions are dealt out.
#pragma once
#include <functional>
#include <unordered_map>
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// Elements of a row or a column that a thread has, and words that it holds of all arrays.
constexpr std::int64_t most_of_thread = 16;
constexpr std::int64_t most_held_words = 32;

// What a branch leaves out can be neither loaded early nor stored late.
bool has_loop_or_branch(const Block& block);

// The loop of a stage, as what it does for one position.
struct HeldStage {
  std::size_t place = 0;  // among the statements of the core
  Block body;
};

// What is kept: the loads of an element that several stages need, or a row that one stage leaves to
// the next ones.
struct HeldArray {
  Expr element;           // the load of the position, of memory
  BufferRef shared;       // or the row in shared memory
  std::size_t first = 0;  // the first stage with it
  int uses = 0;
  BufferRef registers;
};

// How the positions are dealt out: round by round, in each a few neighbours to each thread. Of a
// length that is not known they are neighbours where it is a multiple of their number; else they
// are as far apart as there are threads.
struct PositionShare {
  std::int64_t threads = 0, rounds = 0, together = 1;
  std::int64_t count = 0;  // positions divided by `together`, if known
  Dim length;              // that is not known, where some are together
};

class StageHolder {
 public:
  StageHolder(const Variable& position, std::vector<HeldStage> stages, const Block& core);

  bool is_possible() const { return is_possible_; }
  const std::vector<HeldStage>& stages() const { return stages_; }
  std::vector<HeldArray>& held() { return held_; }

  // How many neighbours a thread may have at a time, where the row has `length` positions, and
  // `fewest` threads something to do.
  std::int64_t neighbours(std::int64_t length, std::int64_t fewest) const;
  // The same where the length is not known.
  std::int64_t neighbours_of_free() const;

  // Bytes of the narrowest elements of memory that the stages look at.
  std::int64_t narrowest() const;

  // Keeps those that are looked at most, as many as a thread with so many elements of each has room
  // for, in the registers that `registers` makes. Whether no row stays in shared memory.
  using NewRegisters = std::function<BufferRef(DType, std::int64_t, const char*)>;
  bool choose(std::int64_t slots, const NewRegisters& registers);

 private:
  bool is_of_row(const Expr& e) const;
  // Whether each row in shared memory is touched at the iteration's own position only.
  bool note_shared();
  void note_loads(const Block& core);
  // Whether nothing is written to the array before the last look at it.
  bool may_be_early(const Expr& e, const Block& core) const;
  static std::vector<Expr> nodes_of(const Block& block);
  // Whether all that the stages touch of memory lies together, and is of elements that do.
  bool suits(std::int64_t together, std::int64_t length) const;
  // The body for neighbour k of group q.
  Block at(const Block& body, const Variable& q, const Variable& k, std::int64_t together,
           std::int64_t length) const;

  Variable position_;
  std::vector<HeldStage> stages_;
  std::vector<HeldArray> held_;
  bool is_possible_ = true;
};

// Deals the positions of a stage out to the threads that share them.
class DealtStages {
 public:
  DealtStages(const PositionShare& share, const Expr& length, const Variable& position,
              const std::vector<HeldArray>& held, const StageHolder::NewRegisters& registers)
      : share_(share), length_(length), position_(position), held_(held), registers_(registers) {}

  // The part of the stage with that number which is the one's with the number `own` of the threads.
  Block operator()(const HeldStage& stage, std::size_t number, const Expr& own);

 private:
  // Where a thread is in a round: the round's number, the first position of all threads and of
  // this one, and from one position to the next.
  struct Spot {
    Expr round, begin, first, step;
  };
  using OfRound = std::function<Block(const Spot& spot)>;
  using OfPlace = std::function<Block(const Expr& k, const Expr& place)>;

  static void append(Block& list, Block more) {
    for (Stmt& s : more) list.push_back(std::move(s));
  }

  Expr slot(const Expr& round, const Expr& k) const { return round * integer(share_.together) + k; }
  Expr at(const Expr& e, const Expr& place) const;

  bool is_free() const { return share_.count == 0; }
  bool is_wide() const { return is_free() && share_.together > 1; }
  // 1 where the length is a multiple of the neighbours, else 0, as the host knows.
  Dim is_multiple() const;
  // `body` for each round of the thread's. With `whole_apart`, rounds that are known when the
  // kernel runs to be whole are not looked at one by one, so that nothing comes between their
  // loads.
  Block rounds(const Expr& own, const OfRound& body, bool whole_apart = false) const;
  Block free_rounds(const Expr& own, const OfRound& body, bool whole_apart) const;
  Block wide_rounds(const Expr& own, const OfRound& body) const;
  // What memory gives and takes in a round: `body` for each of the thread's positions. What lies
  // behind a row's end is left out, or, not `guarded`, is the row's last elements.
  Block moved(const Spot& spot, const Expr& own, bool guarded, const OfPlace& body) const;
  Block together(const Expr& first, const OfPlace& body) const;
  Block compute(const Block& body, const Spot& spot, const Expr& own);
  bool is_held(const Expr& e) const;

  const PositionShare share_;
  const Expr length_;
  const Variable position_;
  const std::vector<HeldArray>& held_;
  const StageHolder::NewRegisters& registers_;
};

For unrolled_loop(const Variable& v, std::int64_t extent, Block body);

}  // namespace kroton::loop
