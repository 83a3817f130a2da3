#include "compiler/dim/dim_atoms.h"

#include <kroton/error.h>

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "compiler/base/hash.h"

namespace kroton {
namespace {

bool same_atom(const DimAtom& atom, DimAtom::Kind kind, const std::string& name,
               const std::vector<Dim>& operands) {
  return atom.kind == kind && atom.name == name && atom.operands == operands;
}

// The atoms alive, by hash. An atom leaves the table before its memory is freed, so the pointers
// in the table are always readable under the lock.
class AtomTable {
 public:
  DimAtomRef intern(DimAtom::Kind kind, const std::string& name, const std::vector<Dim>& operands) {
    std::size_t hash = hash_combine(std::hash<std::string>()(name), static_cast<std::size_t>(kind));
    for (const Dim& operand : operands) {
      hash = hash_combine(hash, operand.hash());
    }
    {
      const std::lock_guard lock(mutex_);
      if (DimAtomRef found = find(hash, kind, name, operands)) return found;
    }
    // Made, and perhaps unmade, without the lock, which the deleter takes.
    DimAtomRef created(new DimAtom{kind, ++last_identity_, name, operands},
                       [this, hash](DimAtom* dead) { remove(hash, dead); });
    const std::lock_guard lock(mutex_);
    if (DimAtomRef found = find(hash, kind, name, operands)) return found;
    entries_.emplace(hash, Entry{created.get(), created});
    return created;
  }

  DimAtomRef fresh(const std::string& name) {
    return std::make_shared<const DimAtom>(
        DimAtom{DimAtom::Kind::variable, ++last_identity_, name, {}});
  }

 private:
  struct Entry {
    const DimAtom* atom;
    std::weak_ptr<const DimAtom> reference;
  };

  DimAtomRef find(std::size_t hash, DimAtom::Kind kind, const std::string& name,
                  const std::vector<Dim>& operands) {
    const auto [begin, end] = entries_.equal_range(hash);
    for (auto entry = begin; entry != end; ++entry) {
      if (same_atom(*entry->second.atom, kind, name, operands)) {
        if (DimAtomRef alive = entry->second.reference.lock()) return alive;
      }
    }
    return nullptr;
  }

  void remove(std::size_t hash, DimAtom* dead) {
    {
      const std::lock_guard lock(mutex_);
      auto [entry, end] = entries_.equal_range(hash);
      while (entry != end && entry->second.atom != dead) {
        ++entry;
      }
      if (entry != end) {
        entries_.erase(entry);
      }
    }
    // Outside the lock. Its operands may hold the last reference to other atoms: these wait for the
    // outermost call, in a list of themselves, linked in their identities.
    static_assert(sizeof(dead->identity) >= sizeof(DimAtom*));
    thread_local DimAtom* waiting = nullptr;
    thread_local bool is_deleting = false;
    dead->identity = reinterpret_cast<std::uintptr_t>(waiting);
    waiting = dead;
    if (is_deleting) return;
    is_deleting = true;
    while (waiting != nullptr) {
      const DimAtom* next = waiting;
      waiting = reinterpret_cast<DimAtom*>(next->identity);  // NOLINT(performance-no-int-to-ptr)
      delete next;
    }
    is_deleting = false;
  }

  std::mutex mutex_;
  std::atomic<std::uint64_t> last_identity_ = 0;
  std::unordered_multimap<std::size_t, Entry> entries_;
};

// Never destroyed: sizes in static storage may outlive any order of destruction.
AtomTable& atoms() {
  static AtomTable* table = new AtomTable;
  return *table;
}

[[noreturn]] void fail_overflow() { throw SizeOverflow(); }

}  // namespace

DimAtomRef intern_atom(DimAtom::Kind kind, const std::string& name, std::vector<Dim> operands) {
  return atoms().intern(kind, name, std::move(operands));
}

DimAtomRef fresh_atom(const std::string& name) { return atoms().fresh(name); }

int compare_factors(const std::vector<DimAtomRef>& a, const std::vector<DimAtomRef>& b) {
  if (a.size() != b.size()) {
    return a.size() > b.size() ? -1 : 1;
  }
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k] != b[k]) {
      return a[k]->identity < b[k]->identity ? -1 : 1;
    }
  }
  return 0;
}

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) {
    fail_overflow();
  }
  return result;
}
std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) {
    fail_overflow();
  }
  return result;
}
std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) {
    throw ValueError("size: division of " + std::to_string(a) + " by zero");
  }
  if (b == -1) {
    return checked_multiply(a, -1);
  }
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

}  // namespace kroton
