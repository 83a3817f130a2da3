#include "tests/fuzz/shrink.h"

#include <algorithm>
#include <chrono>

namespace fuzz {
namespace {

// Every use of a value becomes a use of another.
void replace(Block& block, Value from, Value to) {
  std::replace(block.results.begin(), block.results.end(), from, to);
  for (Statement& statement : block.statements) {
    std::replace(statement.operands.begin(), statement.operands.end(), from, to);
    if (auto* loop = std::get_if<Scan>(&statement.what)) replace(loop->body, from, to);
  }
}

void replace(Program& program, Value from, Value to) {
  replace(program.main, from, to);
  for (auto& [target, value] : program.updates) {
    if (value == from) value = to;
  }
}

int size_of(const Block& block) {
  int count = 0;
  visit(block, [&](const Statement&) { ++count; });
  return count;
}

void collect(Block& block, std::vector<Block*>& blocks) {
  blocks.push_back(&block);
  for (Statement& statement : block.statements) {
    if (auto* loop = std::get_if<Scan>(&statement.what)) collect(loop->body, blocks);
  }
}

void substitute(kt::Dim& dim, const std::function<std::optional<kt::Dim>(const kt::Dim&)>& by) {
  if (const std::optional<kt::Dim> whole = by(dim)) {
    dim = *whole;
    return;
  }
  dim = dim.substitute([&](const kt::DimAtomRef& atom) -> std::optional<kt::Dim> {
    for (const kt::Dim::Term& term : dim.terms()) {
      for (const kt::DimAtomRef& factor : term.factors) {
        if (factor->identity == atom->identity) {
          return by(kt::Dim::from_terms({{1, {factor}}}));
        }
      }
    }
    return std::nullopt;
  });
}

// Sizes in all that the program says.
void substitute(Program& program, const std::function<std::optional<kt::Dim>(const kt::Dim&)>& by) {
  for (Variable& variable : program.variables) {
    for (kt::Dim& dim : variable.shape) substitute(dim, by);
    if (variable.contents.index_of) substitute(*variable.contents.index_of, by);
  }
  std::vector<Block*> blocks;
  collect(program.main, blocks);
  for (Block* block : blocks) {
    for (Statement& statement : block->statements) {
      if (auto* loop = std::get_if<Scan>(&statement.what); loop && loop->steps) {
        substitute(*loop->steps, by);
      }
      auto* operation = std::get_if<Operation>(&statement.what);
      if (!operation) continue;
      for (kt::ops::Argument& argument : operation->call.arguments) {
        if (auto* dim = std::get_if<kt::Dim>(&argument)) substitute(*dim, by);
        if (auto* dims = std::get_if<kt::Dims>(&argument)) {
          for (kt::Dim& dim : *dims) substitute(dim, by);
        }
        if (auto* widths = std::get_if<kt::ops::Widths>(&argument)) {
          for (auto& [before, after] : *widths) {
            substitute(before, by);
            substitute(after, by);
          }
        }
        if (auto* cuts = std::get_if<std::vector<kt::ops::Cut>>(&argument)) {
          for (kt::ops::Cut& cut : *cuts) {
            if (cut.start) substitute(*cut.start, by);
            if (cut.stop) substitute(*cut.stop, by);
          }
        }
      }
    }
  }
}

class Shrinker {
 public:
  Shrinker(Program program, std::string kind, const Ways& ways, double each, double seconds)
      : best_(std::move(program)),
        kind_(std::move(kind)),
        ways_(ways),
        each_(each),
        deadline_(std::chrono::steady_clock::now() +
                  std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                      std::chrono::duration<double>(seconds))) {}

  Program run() {
    can_build_ = survives([&] { build(best_); }, each_);
    while (in_time() && (fewer_results() || fewer_statements() || smaller_sizes() ||
                         simpler_loops() || simpler_contents())) {
    }
    return best_;
  }

 private:
  bool in_time() const { return std::chrono::steady_clock::now() < deadline_; }

  // Takes the candidate if it fails in the same way.
  bool take(Program candidate) {
    if (!in_time()) return false;
    try {
      prune(candidate);
      if (candidate.main.results.empty() && candidate.updates.empty()) return false;
    } catch (const std::exception&) {
      return false;
    }
    const Verdict verdict = check_apart(candidate, ways_, each_);
    if (verdict.kind != kind_) return false;
    best_ = std::move(candidate);
    return true;
  }

  bool fewer_results() {
    bool any = false;
    for (std::size_t k = best_.main.results.size(); k-- > 0;) {
      Program candidate = best_;
      auto& results = candidate.main.results;
      results.erase(results.begin() + static_cast<std::ptrdiff_t>(k));
      any = take(std::move(candidate)) || any;
    }
    for (std::size_t k = best_.updates.size(); k-- > 0;) {
      Program candidate = best_;
      candidate.updates.erase(candidate.updates.begin() + static_cast<std::ptrdiff_t>(k));
      any = take(std::move(candidate)) || any;
    }
    return any;
  }

  // An operand, a variable or a new one takes the place of a statement's result.
  bool fewer_statements() {
    const int before = size_of(best_.main);
    bool any = false;
    std::vector<Block*> blocks;
    collect(best_.main, blocks);
    std::vector<std::pair<Value, std::vector<Value>>> tries;
    for (const Block* block : blocks) {
      for (const Statement& statement : block->statements) {
        for (const Value result : statement.results) tries.emplace_back(result, statement.operands);
      }
    }
    std::reverse(tries.begin(), tries.end());
    for (const auto& [from, operands] : tries) {
      if (std::find(best_.main.results.begin(), best_.main.results.end(), from) !=
              best_.main.results.end() &&
          take_operand_as_output(from, operands)) {
        any = true;
        continue;
      }
      for (const Value to : operands) {
        Program candidate = best_;
        replace(candidate, from, to);
        if (!take(std::move(candidate))) continue;
        any = true;
        break;
      }
      any = take_variable(from) || any;
    }
    return any && size_of(best_.main) < before;
  }

  bool take_operand_as_output(Value from, const std::vector<Value>& operands) {
    for (const Value to : operands) {
      Program candidate = best_;
      std::replace(candidate.main.results.begin(), candidate.main.results.end(), from, to);
      if (take(std::move(candidate))) return true;
    }
    return false;
  }

  bool take_variable(Value from) {
    if (!can_build_) return false;
    Program candidate = best_;
    kt::Tensor tensor;
    try {
      const Built built = build(candidate);
      const auto found = built.tensors.find(from);
      if (found == built.tensors.end()) return false;
      tensor = found->second;
    } catch (const std::exception&) {
      return false;
    }
    const Value v = candidate.next++;
    Contents contents{.seed = 1};
    if (!kt::is_float(tensor.dtype())) contents = {.seed = 1, .low = 0, .high = 3};
    bool used = false;
    visit(candidate.main, [&](const Statement& s) {
      used = used || std::find(s.operands.begin(), s.operands.end(), from) != s.operands.end();
    });
    if (!used) return false;
    candidate.variables.push_back({v, tensor.dtype(), tensor.shape(), false, contents});
    replace(candidate, from, v);
    return take(std::move(candidate));
  }

  bool smaller_sizes() {
    bool any = false;
    for (std::size_t k = 0; k < best_.sizes.size(); ++k) {
      for (const bool second : {true, false}) {
        for (const std::int64_t value : {1, 2, 3}) {
          Program candidate = best_;
          Size& size = candidate.sizes[k];
          if ((second ? size.second : size.first) <= value) break;
          (second ? size.second : size.first) = value;
          if (!take(std::move(candidate))) continue;
          any = true;
          break;
        }
      }
      if (best_.sizes[k].second != best_.sizes[k].first) {
        Program candidate = best_;
        candidate.sizes[k].second = candidate.sizes[k].first;
        any = take(std::move(candidate)) || any;
      }
    }
    for (const std::int64_t from : {33, 17, 16, 7, 5, 4, 3, 2}) {
      for (const std::int64_t to : {1, 2, 3}) {
        if (to >= from) break;
        Program candidate = best_;
        bool found = false;
        substitute(candidate, [&](const kt::Dim& dim) -> std::optional<kt::Dim> {
          if (!dim.is_constant(from)) return std::nullopt;
          found = true;
          return kt::Dim(to);
        });
        if (!found) break;
        if (!take(std::move(candidate))) continue;
        any = true;
        break;
      }
    }
    return any || known_sizes();
  }

  // Free sizes become numbers.
  bool known_sizes() {
    bool any = false;
    for (std::size_t k = 0; k < best_.sizes.size(); ++k) {
      const Size size = best_.sizes[k];
      Program candidate = best_;
      bool found = false;
      substitute(candidate, [&](const kt::Dim& dim) -> std::optional<kt::Dim> {
        const kt::DimAtomRef atom = dim.as_variable();
        if (!atom || atom->identity != size.dim.as_variable()->identity) return std::nullopt;
        found = true;
        return kt::Dim(size.first);
      });
      if (found) any = take(std::move(candidate)) || any;
    }
    return any;
  }

  bool simpler_loops() {
    bool any = false;
    std::vector<Block*> blocks;
    collect(best_.main, blocks);
    const std::size_t count = blocks.size();
    for (std::size_t b = 0; b < count; ++b) {
      for (int change = 0; change < 2; ++change) {
        Program candidate = best_;
        std::vector<Block*> all;
        collect(candidate.main, all);
        if (b >= all.size()) break;
        bool changed = false;
        for (Statement& statement : all[b]->statements) {
          auto* loop = std::get_if<Scan>(&statement.what);
          if (!loop) continue;
          if (change == 0) changed = changed || std::exchange(loop->backwards, false);
          if (change == 1) changed = changed || std::exchange(loop->truncate, -1) >= 0;
        }
        if (changed) any = take(std::move(candidate)) || any;
      }
    }
    return any;
  }

  bool simpler_contents() {
    bool any = false;
    for (std::size_t k = 0; k < best_.variables.size(); ++k) {
      if (!best_.variables[k].shared) continue;
      Program candidate = best_;
      candidate.variables[k].shared = false;
      std::erase_if(candidate.updates, [&](const auto& update) {
        return update.first == candidate.variables[k].value;
      });
      any = take(std::move(candidate)) || any;
    }
    return any;
  }

  Program best_;
  std::string kind_;
  Ways ways_;
  double each_;
  bool can_build_ = false;  // here, where a crash would be the end
  std::chrono::steady_clock::time_point deadline_;
};

}  // namespace

Program shrunk(const Program& program, const std::string& kind, const Ways& ways,
               double seconds_each, double seconds) {
  return Shrinker(program, kind, ways, seconds_each, seconds).run();
}

}  // namespace fuzz
