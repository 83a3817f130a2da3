#include "compiler/loop/intern.h"

#include <bit>
#include <functional>
#include <mutex>

namespace kroton::loop {
namespace {

std::size_t mix(std::size_t hash, std::size_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 29);
}

// Arguments are interned already, so their addresses stand for them.
std::size_t hash_of(const ExprNode& node) {
  std::size_t hash = mix(static_cast<std::size_t>(node.op), static_cast<std::size_t>(node.dtype));
  for (const Expr& arg : node.args) hash = mix(hash, reinterpret_cast<std::uintptr_t>(arg.get()));
  hash = mix(hash, std::bit_cast<std::uint64_t>(node.real));
  hash = mix(hash, static_cast<std::size_t>(node.integer));
  switch (node.op) {
    case Op::variable:
      return mix(hash, static_cast<std::size_t>(node.variable.id));
    case Op::size:
      return mix(hash, node.dim.hash());
    case Op::load:
      return mix(hash, reinterpret_cast<std::uintptr_t>(node.buffer.get()));
    default:
      return hash;
  }
}

// Constants compare by their bits: -0.0 is not 0.0, and a NaN is itself. Variables compare by name
// too, since kernels number theirs independently and dumps show the names.
bool equal(const ExprNode& a, const ExprNode& b) {
  return a.op == b.op && a.dtype == b.dtype && a.args == b.args &&
         std::bit_cast<std::uint64_t>(a.real) == std::bit_cast<std::uint64_t>(b.real) &&
         a.integer == b.integer && a.variable.id == b.variable.id &&
         a.variable.name == b.variable.name && a.buffer == b.buffer && a.dim == b.dim;
}

// Deletes the node and, one after the other, the arguments that only it held: a chain of any
// length needs no stack. Those that wait are a list of themselves, linked in their integers: it
// needs no memory, which an unwinding program may not have.
void destroy(ExprNode* node) {
  static_assert(sizeof(node->integer) >= sizeof(ExprNode*));
  thread_local ExprNode* waiting = nullptr;
  thread_local bool is_deleting = false;
  node->integer = reinterpret_cast<std::intptr_t>(waiting);
  waiting = node;
  if (is_deleting) return;
  is_deleting = true;
  while (waiting != nullptr) {
    const ExprNode* dead = waiting;
    waiting = reinterpret_cast<ExprNode*>(dead->integer);  // NOLINT(performance-no-int-to-ptr)
    delete dead;
  }
  is_deleting = false;
}

// Open addressing with linear probing over weak references. The slot of a node that is gone is used
// again for the next one of the same hash, so that making one expression many times fills one slot;
// the others are dropped when the table is rebuilt.
class Table {
 public:
  Expr find_or_insert(ExprNode&& candidate) {
    const std::size_t hash = hash_of(candidate);
    const std::lock_guard lock(mutex_);
    if (filled_ * 2 >= slots_.size()) rebuild();
    std::size_t at = hash & (slots_.size() - 1);
    std::size_t abandoned = slots_.size();
    for (; slots_[at].filled; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].hash != hash) continue;
      Expr found = slots_[at].node.lock();
      if (found == nullptr) {
        abandoned = at;
      } else if (equal(*found, candidate)) {
        return found;
      }
    }
    Expr made(new ExprNode(std::move(candidate)), destroy);
    if (abandoned == slots_.size()) {
      slots_[at] = Slot{hash, made, true};
      ++filled_;
    } else {
      slots_[abandoned].node = made;
    }
    return made;
  }

 private:
  struct Slot {
    std::size_t hash = 0;
    std::weak_ptr<const ExprNode> node;
    bool filled = false;
  };

  void rebuild() {
    std::size_t living = 0;
    for (const Slot& slot : slots_) living += slot.filled && !slot.node.expired() ? 1 : 0;
    std::vector<Slot> old(std::bit_ceil(living * 4 + 1024));
    old.swap(slots_);
    filled_ = 0;
    for (Slot& slot : old) {
      if (!slot.filled || slot.node.expired()) continue;
      std::size_t at = slot.hash & (slots_.size() - 1);
      while (slots_[at].filled) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = std::move(slot);
      ++filled_;
    }
  }

  std::mutex mutex_;
  std::vector<Slot> slots_;
  std::size_t filled_ = 0;  // those of dead nodes included
};

}  // namespace

Expr intern(ExprNode&& candidate) {
  // Never destroyed: expressions may outlive every other static object.
  static Table& table = *new Table;
  return table.find_or_insert(std::move(candidate));
}

}  // namespace kroton::loop
