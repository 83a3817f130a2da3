#include "frontend/replicas.h"

#include <kroton/error.h>

#include <array>
#include <cstring>

namespace kroton::detail {
namespace {

// The seed of a random stream on that device: the first one's is the stream's own.
std::int64_t seed_on(int rank, std::int64_t seed) {
  if (rank == 0) return seed;
  std::uint64_t mixed = static_cast<std::uint64_t>(rank) * 0x9e3779b97f4a7c15U;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(seed) ^ mixed ^ (mixed >> 31));
}

// What that device has where the first one has `value`, and the other way round.
Array value_on(int rank, const SharedState& state, const Array& value) {
  if (!state.counts_calls) return value;
  Array other = value.copy();
  other.data<std::int64_t>()[0] = seed_on(rank, other.data<std::int64_t>()[0]);
  return other;
}

bool equal_bits(const Array& a, const Array& b) {
  return a.nbytes() == 0 ||
         std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.nbytes())) == 0;
}

}  // namespace

Replicas::Replicas(const DeviceGroup& group, const std::vector<Tensor>& leaves)
    : on_cpu_(group.devices()[0].kind == Target::Kind::cpu) {
  for (const Tensor& leaf : leaves) {
    const std::shared_ptr<SharedState>& state = leaf.node().attributes.state;
    if (!state || !numbers_.emplace(state.get(), all_.size()).second) continue;
    Replicated& made = all_.emplace_back(Replicated{Shared(leaf), {}, {}, 0, false});
    const Array value = made.variable.get_value();
    for (int rank = 1; rank < group.size(); ++rank) {
      const Shared& copy =
          made.copies.emplace_back(value_on(rank, *state, value), state->name, leaf.line());
      copy.state()->counts_calls = state->counts_calls;
    }
  }
}

Shared Replicas::on(int rank, const Shared& variable) const {
  if (rank == 0) return variable;
  return all_[numbers_.at(variable.state().get())].copies[static_cast<std::size_t>(rank - 1)];
}

std::vector<Tensor> Replicas::on(int rank, const std::vector<Tensor>& tensors) const {
  if (rank == 0) return tensors;
  return substitute(tensors, [&](const Tensor& t) -> std::optional<Tensor> {
    if (!t.node().attributes.state) return std::nullopt;
    return on(rank, Shared(t));
  });
}

bool Replicas::differ(const Replicated& replicated) const {
  if (!replicated.are_equal) return true;
  SharedState& state = *replicated.variable.state();
  const LockRequest request{&state.lock, false};
  const HeldLocks held({&request, 1}, "parallel_function");
  if (!on_cpu_) {
    return state.copy != replicated.on_device ||
           (state.copy && state.copy->writes() != replicated.writes);
  }
  // Nothing tells who else has written to memory of the host.
  state.bring_to_host();
  const Array expected = value_on(1, state, state.value);
  return !equal_bits(expected, replicated.copies[0].state()->value);
}

void Replicas::bring_up_to_date() {
  for (Replicated& replicated : all_) {
    if (replicated.copies.empty() || !differ(replicated)) continue;
    const Array value = replicated.variable.get_value();
    for (std::size_t k = 0; k < replicated.copies.size(); ++k) {
      replicated.copies[k].set_value(
          value_on(static_cast<int>(k) + 1, *replicated.variable.state(), value));
    }
    replicated.are_equal = on_cpu_;
  }
}

void Replicas::note_equal() {
  for (Replicated& replicated : all_) {
    SharedState& state = *replicated.variable.state();
    const LockRequest request{&state.lock, false};
    const HeldLocks held({&request, 1}, "parallel_function");
    replicated.on_device = state.copy;
    replicated.writes = state.copy ? state.copy->writes() : 0;
    replicated.are_equal = true;
  }
}

void Replicas::take_back(int failed) {
  for (Replicated& replicated : all_) {
    replicated.are_equal = false;
    if (failed == 0) continue;
    try {
      const Shared& copy = replicated.copies[static_cast<std::size_t>(failed - 1)];
      replicated.variable.set_value(value_on(failed, *copy.state(), copy.get_value()));
    } catch (const DeviceError&) {  // NOLINT(bugprone-empty-catch): whoever uses it is told
    }
  }
}

}  // namespace kroton::detail
