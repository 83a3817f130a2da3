#include "compiler/loop/interleaved.h"

#include <algorithm>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Stores to one buffer with one step, and how far each is from the first.
struct Group {
  const Store* first;
  std::int64_t step;
  std::vector<std::pair<std::int64_t, std::size_t>> members;  // distance, position in the block
};

// Whether the statement reads an element of the group that has been stored by then.
bool reads_stored(const Stmt& s, std::size_t position, const Group& group, const Block& block) {
  bool found = false;
  visit_own_expressions(s, [&](const Expr& root) {
    for (const Expr& e : post_order(std::span(&root, 1))) {
      if (e->op != Op::load || e->buffer->id != group.first->buffer->id) continue;
      const bool comes_later =
          std::any_of(group.members.begin(), group.members.end(), [&](const auto& member) {
            return member.second >= position &&
                   std::get<Store>(block[member.second]).index == e->args[0];
          });
      found = found || !comes_later;
    }
  });
  return found;
}

std::optional<Interleaved> complete(Group group, const Block& block) {
  std::sort(group.members.begin(), group.members.end());
  if (static_cast<std::int64_t>(group.members.size()) != group.step) return std::nullopt;
  Interleaved result;
  std::size_t first = block.size();
  for (std::size_t k = 0; k < group.members.size(); ++k) {
    const auto& [distance, position] = group.members[k];
    if (distance != group.members[0].first + static_cast<std::int64_t>(k)) return std::nullopt;
    result.stores.push_back(position);
    result.last = std::max(result.last, position);
    first = std::min(first, position);
  }
  for (std::size_t k = first; k <= result.last; ++k) {
    const bool is_plain = as_for(block[k]) == nullptr && as_if(block[k]) == nullptr;
    if (!is_plain || reads_stored(block[k], k, group, block)) return std::nullopt;
  }
  return result;
}

}  // namespace

std::vector<Interleaved> interleaved_stores(const Block& block,
                                            const std::function<Expr(const Expr&)>& stride) {
  std::vector<Group> groups;
  for (std::size_t k = 0; k < block.size(); ++k) {
    const auto* store = std::get_if<Store>(&block[k]);
    if (store == nullptr || store->buffer->space == Space::registers) continue;
    const Expr between = stride(store->index);
    std::int64_t step = 0;
    if (between == nullptr || !is_integer_constant(between, step)) continue;
    if (step < 2 || step > most_interleaved) continue;
    const auto known = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
      const std::optional<Dim> d = difference(store->index, group.first->index);
      return group.first->buffer->id == store->buffer->id && group.step == step && d &&
             d->is_constant() && d->constant() > -step && d->constant() < step;
    });
    if (known == groups.end()) {
      groups.push_back({store, step, {{0, k}}});
    } else {
      known->members.emplace_back(difference(store->index, known->first->index)->constant(), k);
    }
  }
  std::vector<Interleaved> result;
  for (Group& group : groups) {
    if (auto all = complete(std::move(group), block)) result.push_back(std::move(*all));
  }
  return result;
}

}  // namespace kroton::loop
