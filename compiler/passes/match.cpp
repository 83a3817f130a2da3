#include "compiler/passes/match.h"

#include <deque>

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"

namespace kroton {

std::optional<Vertex> uniform_literal(const Graph& graph, Vertex v) {
  while (graph[v].op == &broadcast_op) v = graph.operand(v, 0);
  return graph[v].op == &literal_op ? std::optional(v) : std::nullopt;
}

std::optional<double> uniform_value(const Graph& graph, Vertex v) {
  const std::optional<Vertex> literal = uniform_literal(graph, v);
  if (!literal) return std::nullopt;
  return literal_value(graph[*literal].attributes);
}

Vertex add_repeated(Graph& graph, Vertex scalar, Dims dims, SourceLine line) {
  if (dims.empty()) return scalar;
  Attributes attributes;
  attributes.dims = std::move(dims);
  return graph.add(broadcast_op, {scalar}, std::move(attributes), line);
}

Pattern term(int slot) { return {Pattern::Kind::any, slot}; }
Pattern literal(int slot) { return {Pattern::Kind::literal, slot}; }
Pattern number(double value) { return {Pattern::Kind::number, 0, value}; }
Pattern call(std::string_view op, std::vector<Pattern> operands) {
  return {Pattern::Kind::op, 0, 0, false, &op_named(op), std::move(operands)};
}
Pattern once(Pattern pattern) {
  pattern.single_use = true;
  return pattern;
}
Pattern operator+(Pattern x, Pattern y) { return call("add", {std::move(x), std::move(y)}); }
Pattern operator-(Pattern x, Pattern y) { return call("sub", {std::move(x), std::move(y)}); }
Pattern operator*(Pattern x, Pattern y) { return call("mul", {std::move(x), std::move(y)}); }
Pattern operator/(Pattern x, Pattern y) { return call("div", {std::move(x), std::move(y)}); }
Pattern operator-(Pattern x) { return call("neg", {std::move(x)}); }
Pattern exp(Pattern x) { return call("exp", {std::move(x)}); }
Pattern log(Pattern x) { return call("log", {std::move(x)}); }

bool Match::matches(const Graph& graph, const Pattern& pattern, Vertex v) {
  graph_ = &graph;
  vertices_.fill(std::nullopt);
  return match(pattern, v);
}

bool Match::match(const Pattern& pattern, Vertex v) {
  switch (pattern.kind) {
    case Pattern::Kind::any: {
      std::optional<Vertex>& bound = vertices_[static_cast<std::size_t>(pattern.slot)];
      if (bound) return *bound == v;
      bound = v;
      return true;
    }
    case Pattern::Kind::literal: {
      const std::optional<double> value = uniform_value(*graph_, v);
      if (!value) return false;
      vertices_[static_cast<std::size_t>(pattern.slot)] = v;
      values_[static_cast<std::size_t>(pattern.slot)] = *value;
      return true;
    }
    case Pattern::Kind::number:
      return uniform_value(*graph_, v) == pattern.value;
    case Pattern::Kind::op:
      break;
  }
  if ((*graph_)[v].op != pattern.op) return false;
  if (pattern.single_use && graph_->use_count(v) > 1) return false;
  const std::vector<Vertex> operands = graph_->operands(v);
  if (operands.size() != pattern.operands.size()) return false;
  const auto before = vertices_;
  if (match_operands(pattern, operands, false)) return true;
  vertices_ = before;
  return pattern.op->commutative && operands.size() == 2 && match_operands(pattern, operands, true);
}

bool Match::match_operands(const Pattern& pattern, const std::vector<Vertex>& operands,
                           bool swapped) {
  for (std::size_t k = 0; k < operands.size(); ++k) {
    if (!match(pattern.operands[k], operands[swapped ? operands.size() - 1 - k : k])) return false;
  }
  return true;
}

Vertex Match::build(Graph& graph, SourceLine line, Tensor (*write)(const Match&)) {
  std::vector<Vertex> operands;
  for (const auto& vertex : vertices_) {
    if (vertex) operands.push_back(*vertex);
  }
  const Vertex result = graph.build(operands, line, [&](std::span<const Tensor> tensors) {
    std::size_t next = 0;
    for (std::size_t slot = 0; slot < vertices_.size(); ++slot) {
      if (vertices_[slot]) tensors_[slot] = tensors[next++];
    }
    return write(*this);
  });
  tensors_.fill(Tensor());
  return result;
}

Rule algebra(Pattern from, Tensor (*to)(const Match&), bool (*when)(const Match&)) {
  const std::string_view root = from.op->name;
  return {root,
          [from = std::move(from), to, when](Graph& graph, Vertex v) -> std::optional<Vertex> {
            Match match;
            if (!match.matches(graph, from, v) || (when != nullptr && !when(match))) {
              return std::nullopt;
            }
            return match.build(graph, graph[v].line, to);
          }};
}

namespace {

// One rewriting: vertices wait in a queue, and what a rewrite makes or touches waits again.
class Rewriting {
 public:
  Rewriting(Graph& graph, std::string_view pass, std::span<const Rule> rules)
      : graph_(graph), pass_(pass), budget_(100 * graph.size() + 10000) {
    for (const Rule& rule : rules) rules_[&op_named(rule.op)].push_back(&rule);
  }

  bool run() {
    bool changed = false;
    // A rewrite can make another possible that it does not touch (a vertex has one user less), so
    // the whole graph is looked through again until nothing applies.
    while (sweep()) changed = true;
    return changed;
  }

 private:
  bool sweep() {
    bool changed = false;
    waiting_.assign(graph_.size(), false);
    for (const Vertex v : graph_.topological_order()) enqueue(v);
    while (!queue_.empty()) {
      const Vertex v = queue_.front();
      queue_.pop_front();
      waiting_[v] = false;
      if (!graph_.is_dead(v) && rewrite_vertex(v)) changed = true;
    }
    return changed;
  }

  bool rewrite_vertex(Vertex v) {
    const auto found = rules_.find(graph_[v].op);
    if (found == rules_.end()) return false;
    for (const Rule* rule : found->second) {
      const Vertex first_new = graph_.size();
      const std::optional<Vertex> result = rule->apply(graph_, v);
      // Sizes that are equal but not known to be (n * m and k) can give the result another type.
      if (!result || *result == v || !(graph_[*result].type == graph_[v].type)) continue;
      if (budget_-- == 0) {
        throw InternalError(std::string(pass_) + ": rewriting does not come to an end, last at %" +
                            std::to_string(v) + "\n" + to_string(graph_));
      }
      const std::vector<Vertex> users = graph_.users(v);
      graph_.replace(v, *result);
      waiting_.resize(graph_.size(), false);
      // What was made, then its users, are next: operands are in normal form before their users.
      for (auto user = users.rbegin(); user != users.rend(); ++user) enqueue(*user, true);
      for (Vertex made = graph_.size(); made-- > first_new;) enqueue(made, true);
      return true;
    }
    return false;
  }

  void enqueue(Vertex v, bool next = false) {
    if (waiting_[v]) return;
    waiting_[v] = true;
    if (next) {
      queue_.push_front(v);
    } else {
      queue_.push_back(v);
    }
  }

  Graph& graph_;
  std::string_view pass_;
  std::size_t budget_;
  std::unordered_map<const OpRecord*, std::vector<const Rule*>> rules_;
  std::deque<Vertex> queue_;
  std::vector<bool> waiting_;
};

}  // namespace

bool rewrite(Graph& graph, std::string_view pass, std::span<const Rule> rules) {
  return Rewriting(graph, pass, rules).run();
}

}  // namespace kroton
