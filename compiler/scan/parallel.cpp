#include <kroton/ops.h>

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <unordered_set>

#include "compiler/base/dump.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/running.h"
#include "compiler/ops/scan_op.h"
#include "compiler/passes/match.h"
#include "compiler/passes/passes.h"
#include "compiler/scan/batch.h"
#include "compiler/scan/parallel.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

using StepNodes = std::unordered_set<const Node*>;
using RowsOfNodes = std::unordered_map<const Node*, Tensor>;

// Up to so many steps one after the other take no longer than further kernels.
constexpr std::int64_t few_steps = 128;
// So many elements of a state are threads enough.
constexpr std::int64_t many_elements = 4096;
// Of a state of which only the last value is wanted, so few elements are kept for all steps.
constexpr std::int64_t few_elements = 64;

// What a value of a step is of the state before it, element by element: factor * s + term, or the
// larger (smaller) one of s and the term.
struct StepForm {
  bool has_state = false;
  const OpRecord* extreme = nullptr;  // maximum_op or minimum_op
  Tensor factor = {}, term = {};      // empty: 1 and 0
  // Whether it may be another value that is put in place of the state, which then forgets a NaN; a
  // factor of 0 would keep it. With a condition, where that is not `unless`.
  bool forgets = false;
  Tensor condition = {};
  bool unless = false;
  bool has_factor() const { return static_cast<bool>(factor); }
  bool has_term() const { return static_cast<bool>(term); }
  bool is_state() const { return has_state && extreme == nullptr && !has_factor() && !has_term(); }
};

// The form of a state's next value; nothing where it has none.
class FormOfStep {
 public:
  FormOfStep(const Tensor& parameter, const StepNodes& unknown)
      : parameter_(parameter), unknown_(unknown) {}

  std::optional<StepForm> run(const Tensor& next) {
    for (const Tensor& tensor : topological_order({&next, 1})) {
      const Node& node = tensor.node();
      if (&node == &parameter_.node()) {
        forms_[&node].has_state = true;
        continue;
      }
      if (unknown_.contains(&node)) return std::nullopt;
      const bool depends = std::any_of(node.inputs.begin(), node.inputs.end(),
                                       [&](const Tensor& t) { return has_state(t); });
      if (!depends) continue;
      const LineScope scope(node.line, "");
      std::optional<StepForm> form = of(node);
      if (!form) return std::nullopt;
      forms_[&node] = std::move(*form);
    }
    StepForm form = form_of(next);
    return form.forgets ? std::nullopt : std::optional(std::move(form));
  }

 private:
  bool has_state(const Tensor& t) const { return forms_.contains(&t.node()); }
  StepForm form_of(const Tensor& t) const {
    const auto found = forms_.find(&t.node());
    return found == forms_.end() ? StepForm{false, nullptr, {}, t} : found->second;
  }
  static Tensor plus(const Tensor& a, const Tensor& b) { return !a ? b : !b ? a : a + b; }
  static Tensor negative(const Tensor& a) { return a ? -a : a; }

  std::optional<StepForm> of(const Node& node) const {
    if (&node.op == &where_op) return of_choice(node);
    const StepForm x = form_of(node.inputs[0]);
    if (&node.op == &maximum_op || &node.op == &minimum_op) return of_extreme(node);
    if (x.extreme != nullptr) return std::nullopt;
    if (&node.op == &reshape_op || &node.op == &broadcast_op) return of_view(node, x);
    if (&node.op == &neg_op) return negated(x, node);
    if (node.inputs.size() != 2) return std::nullopt;
    const StepForm y = form_of(node.inputs[1]);
    if (y.extreme != nullptr) return std::nullopt;
    if (&node.op == &add_op) return sum_of(x, y, node);
    if (&node.op == &sub_op) {
      if (!y.has_state) return changed(x, x.factor, plus(x.term, -y.term));
      return sum_of(x, negated(y, node), node);
    }
    if (&node.op == &mul_op && !(x.has_state && y.has_state)) {
      const StepForm& s = x.has_state ? x : y;
      const Tensor& by = x.has_state ? y.term : x.term;
      return changed(s, s.factor ? s.factor * by : by, s.term ? s.term * by : s.term);
    }
    if (&node.op == &div_op && !y.has_state && is_float(node.type.dtype)) {
      return changed(x, (x.factor ? x.factor : ones_like(y.term)) / y.term,
                     x.term ? x.term / y.term : x.term);
    }
    return std::nullopt;
  }

  static StepForm changed(StepForm form, Tensor factor, Tensor term) {
    form.factor = std::move(factor);
    form.term = std::move(term);
    return form;
  }
  static StepForm sum_of(const StepForm& x, const StepForm& y, const Node& node) {
    StepForm sum = changed(x.has_state ? x : y, {}, plus(x.term, y.term));
    if (!x.has_state || !y.has_state) {
      sum.factor = x.has_state ? x.factor : y.factor;
      return sum;
    }
    sum.factor = factor_of(x, node) + factor_of(y, node);
    const bool have_conditions = static_cast<bool>(x.condition) && static_cast<bool>(y.condition);
    const bool by_turns = have_conditions && same(x.condition, y.condition) && x.unless != y.unless;
    sum.forgets = x.forgets && y.forgets && !by_turns;
    sum.condition = {};
    return sum;
  }
  static StepForm negated(const StepForm& x, const Node& node) {
    return changed(x, x.has_state ? -factor_of(x, node) : Tensor(), negative(x.term));
  }
  // Of the type of the node.
  static Tensor uniform(double value, const Node& node) {
    const Tensor one = make_literal(Number(value), node.type.dtype, node.line);
    if (node.type.rank() == 0) return one;
    Attributes attributes;
    attributes.dims = node.type.shape;
    return make_node(broadcast_op, {one}, std::move(attributes), node.line);
  }
  static Tensor factor_of(const StepForm& x, const Node& node) {
    if (!x.has_state) return uniform(0, node);
    return x.factor ? x.factor : uniform(1, node);
  }

  std::optional<StepForm> of_choice(const Node& node) const {
    const Tensor& condition = node.inputs[0];
    if (has_state(condition)) return std::nullopt;
    const StepForm x = form_of(node.inputs[1]), y = form_of(node.inputs[2]);
    if (x.extreme != nullptr || y.extreme != nullptr) return std::nullopt;
    const auto either = [&](const Tensor& a, const Tensor& b) { return where(condition, a, b); };
    StepForm result;
    result.has_state = true;
    if (!(x.has_state && y.has_state) || x.has_factor() || y.has_factor()) {
      result.factor = either(factor_of(x, node), factor_of(y, node));
    }
    if (x.has_term() || y.has_term()) {
      result.term = either(x.term ? x.term : uniform(0, node), y.term ? y.term : uniform(0, node));
    }
    result.forgets = x.forgets || y.forgets || !x.has_state || !y.has_state;
    if (result.forgets && !x.forgets && !y.forgets) {
      result.condition = condition;
      result.unless = x.has_state;
    }
    return result;
  }

  std::optional<StepForm> of_extreme(const Node& node) const {
    const StepForm x = form_of(node.inputs[0]), y = form_of(node.inputs[1]);
    if (x.has_state && y.has_state) return std::nullopt;
    const StepForm& s = x.has_state ? x : y;
    const Tensor& other = x.has_state ? y.term : x.term;
    if (!s.is_state() && s.extreme != &node.op) return std::nullopt;
    StepForm result = s;
    result.extreme = &node.op;
    result.term = s.term ? make_node(node.op, {s.term, other}, {}, node.line) : other;
    return result;
  }

  // Elements keep their order.
  static std::optional<StepForm> of_view(const Node& node, const StepForm& x) {
    if (!(element_count(node.type.shape) == element_count(node.inputs[0].shape()))) {
      return std::nullopt;
    }
    const auto view = [&](const Tensor& t) { return t ? reshape(t, node.type.shape) : t; };
    return changed(x, view(x.factor), view(x.term));
  }

  const Tensor& parameter_;
  const StepNodes& unknown_;  // states whose values are not known yet
  std::unordered_map<const Node*, StepForm> forms_;
};

// A loop all of whose states have a form, one after the other.
class ParallelScan {
 public:
  ParallelScan(Graph& graph, Vertex loop)
      : graph_(graph),
        data_(graph[loop]),
        view_(data_.attributes),
        operands_(graph.operands(loop)) {
    for (const Vertex v : graph_.users(loop)) {
      (graph_.is_op(v, scan_last_op) ? lasts_ : stacks_).push_back(v);
    }
    backwards_ = !stacks_.empty() &&
                 std::all_of(stacks_.begin(), stacks_.end(),
                             [&](const Vertex v) { return is_backwards(graph_[v].attributes); });
  }

  bool run() {
    if (view_.recomputes() || view_.states == 0) return false;
    if (view_.count.is_constant() && view_.count.constant() <= few_steps) return false;
    if (!find_forms()) return false;
    find_wanted();
    for (std::size_t k = 0; k < forms_.size(); ++k) {
      if (!pays(k)) return false;
    }
    for (const std::size_t k : order_) {
      if (!is_kept_[k]) continue;
      const std::optional<Vertex> made =
          build([&](const auto& given) { return history(k, given); });
      if (!made) return false;
      kept_.emplace_back(k, *made);
    }
    std::vector<std::pair<Vertex, Vertex>> replaced;
    for (const Vertex v : stacks_) {
      const std::optional<Vertex> made = build([&](const auto& given) { return stack(v, given); });
      if (!made) return false;
      replaced.emplace_back(v, *made);
    }
    for (const Vertex v : lasts_) {
      const std::optional<Vertex> made = build([&](const auto& given) {
        return last(static_cast<std::size_t>(result_number(graph_[v].attributes)), given);
      });
      if (!made) return false;
      replaced.emplace_back(v, *made);
    }
    for (const auto& [from, to] : replaced) {
      if (!(graph_[from].type == graph_[to].type)) return false;
    }
    for (const auto& [from, to] : replaced) graph_.replace(from, to);
    return !replaced.empty();
  }

 private:
  // Stand-ins for the loop's operands, and for the values after all steps of states that are kept.
  struct Given {
    std::span<const Tensor> operands;
    std::vector<std::pair<std::size_t, Tensor>> kept;
  };

  const Body& body() const { return *data_.attributes.body; }
  const Tensor& parameter(std::size_t k) const { return body().parameters[k]; }
  const Dim& count() const { return view_.count; }
  const Tensor& expression(Vertex stack) const { return graph_[stack].attributes.body->results[0]; }

  bool find_forms() {
    const auto states = static_cast<std::size_t>(view_.states);
    forms_.resize(states);
    StepNodes unknown;
    for (std::size_t k = 0; k < states; ++k) unknown.insert(&parameter(k).node());
    for (bool more = true; more;) {
      more = false;
      for (std::size_t k = 0; k < states; ++k) {
        if (!unknown.contains(&parameter(k).node())) continue;
        const auto form = FormOfStep(parameter(k), unknown).run(body().results[k]);
        if (!form) continue;
        forms_[k] = *form;
        order_.push_back(k);
        unknown.erase(&parameter(k).node());
        more = true;
      }
    }
    return unknown.empty();
  }

  // States whose values in all steps something reads, and those read by such ones.
  void find_wanted() {
    const auto states = static_cast<std::size_t>(view_.states);
    is_read_.assign(states, false);
    std::vector<bool> is_last(states, false);
    std::vector<Tensor> pending;
    for (const Vertex v : stacks_) pending.push_back(expression(v));
    for (const Vertex v : lasts_) {
      is_last[static_cast<std::size_t>(result_number(graph_[v].attributes))] = true;
    }
    const auto note = [&](const std::vector<Tensor>& roots, std::vector<bool>& found) {
      StepNodes reached;
      for (const Tensor& t : topological_order(roots)) reached.insert(&t.node());
      bool more = false;
      for (std::size_t k = 0; k < states; ++k) {
        if (found[k] || !reached.contains(&parameter(k).node())) continue;
        found[k] = more = true;
      }
      return more;
    };
    // What the stacks read.
    note(pending, is_read_);
    is_kept_ = is_read_;
    for (std::size_t k = 0; k < states; ++k) is_kept_[k] = is_kept_[k] || (is_last[k] && !adds(k));
    for (bool more = true; more;) {
      std::vector<Tensor> roots;
      for (std::size_t k = 0; k < states; ++k) {
        if (!is_kept_[k] && !is_last[k]) continue;
        for (const Tensor& t : {forms_[k].factor, forms_[k].term}) {
          if (t) roots.push_back(t);
        }
      }
      more = note(roots, is_kept_);
    }
  }

  // The last value is a sum, or a product, of what comes in.
  bool adds(std::size_t k) const {
    const StepForm& form = forms_[k];
    return form.has_state && form.extreme == nullptr && !(form.has_factor() && form.has_term());
  }

  bool pays(std::size_t k) const {
    const Dim elements = element_count(parameter(k).shape());
    if (elements.is_constant() && elements.constant() > many_elements) return false;
    if (is_read_[k] || !is_kept_[k]) return true;
    return elements.is_constant() && elements.constant() <= few_elements;
  }

  std::optional<Vertex> build(const std::function<Tensor(const Given&)>& write) {
    std::vector<Vertex> from = operands_;
    for (const auto& [k, vertex] : kept_) from.push_back(vertex);
    bool has_rule = true;
    const Vertex made = graph_.build(from, data_.line, [&](std::span<const Tensor> tensors) {
      Given given{tensors.first(operands_.size()), {}};
      for (std::size_t k = 0; k < kept_.size(); ++k) {
        given.kept.emplace_back(kept_[k].first, tensors[operands_.size() + k]);
      }
      const Tensor written = write(given);
      if (!written) {
        has_rule = false;
        return tensors[0];
      }
      // What stays the same in all steps.
      return substitute({&written, 1},
                        [&](const Tensor& t) -> std::optional<Tensor> {
                          const auto fixed = static_cast<std::size_t>(view_.states + view_.rows);
                          for (std::size_t k = fixed; k < operands_.size(); ++k) {
                            if (same(parameter(k), t)) return given.operands[k];
                          }
                          return std::nullopt;
                        })
          .front();
    });
    return has_rule ? std::optional(made) : std::nullopt;
  }

  // All rows in the order of the results: that of the steps, or against it.
  Tensor flipped(const Tensor& all) const { return rows_of(all, count() - Dim(1), -1, count()); }

  RowsOfNodes rows(const Given& given) const {
    RowsOfNodes mapped;
    for (int row = 0; row < view_.rows; ++row) {
      const auto k = static_cast<std::size_t>(view_.states + row);
      const Dim first = view_.offset(row);
      const std::int64_t stride = view_.stride(row);
      mapped.emplace(&parameter(k).node(),
                     backwards_
                         ? rows_of(given.operands[k], first + Dim(stride) * (count() - Dim(1)),
                                   -stride, count())
                         : rows_of(given.operands[k], first, stride, count()));
    }
    for (const auto& [k, after] : given.kept) {
      const Tensor all = with_initial(k, after, given);
      mapped.insert_or_assign(&parameter(k).node(),
                              rows_of(all, backwards_ ? Dim(1) : Dim(0), 1, count()));
    }
    for (const auto& [k, after] : given.kept) {
      const Tensor& next = body().results[k];
      mapped.try_emplace(&next.node(), after);
    }
    return mapped;
  }

  // The values after all steps, and the one before them.
  Tensor with_initial(std::size_t k, const Tensor& after, const Given& given) const {
    const Tensor initial = expand_dims(given.operands[k], 0);
    return backwards_ ? concatenate({after, initial}, 0) : concatenate({initial, after}, 0);
  }

  // The value in all steps; empty if an op has no rule.
  Tensor in_all_steps(const Tensor& expression, const Given& given) const {
    const std::optional<Batched> all = batch(expression, rows(given), count());
    if (!all) return {};
    return all->mapped ? all->value : in_every_step(all->value);
  }
  Tensor in_every_step(const Tensor& value) const {
    return ops::with_rows({&value, 1}, {false}, count()).front();
  }

  // The values after all steps.
  Tensor history(std::size_t k, const Given& given) const {
    const StepForm& form = forms_[k];
    const Tensor& initial = given.operands[k];
    if (form.is_state()) return in_every_step(initial);
    Tensor factor, term;
    const Dims& shape = parameter(k).shape();
    for (const auto& [from, to] : {std::pair{&form.factor, &factor}, {&form.term, &term}}) {
      if (!*from) continue;
      *to = in_all_steps(*from, given);
      if (!*to) return {};
      if (!((*from).shape() == shape)) *to = reshape(*to, ops::with_rows(count(), shape));
    }
    if (!form.has_state) return term;
    const Attributes attributes =
        ops::running_attributes("scan", 0, static_cast<int>(shape.size()) + 1, backwards_);
    // The first step has the initial value before it.
    const auto begun = [&](const Tensor& all, const Tensor& first) {
      return where(ops::is_first_on_way(all, attributes), first, all);
    };
    const Tensor before = in_every_step(initial);
    const auto initial_value = uniform_value(graph_, operands_[k]);
    if (form.extreme != nullptr) {
      const bool is_max = form.extreme == &maximum_op;
      const Tensor first = make_node(*form.extreme, {before, term}, {}, data_.line);
      return ops::apply(is_max ? cummax_op : cummin_op, {begun(term, first)}, attributes);
    }
    if (!term) {
      return ops::apply(cumprod_op, {initial_value == 1 ? factor : begun(factor, before * factor)},
                        attributes);
    }
    const bool from_zero = initial_value == 0 && (!factor || is_uniform(form.factor));
    if (!factor) {
      return ops::apply(cumsum_op, {from_zero ? term : begun(term, before + term)}, attributes);
    }
    return ops::apply(linear_recurrence_op,
                      {from_zero ? term : begun(term, factor * before + term), factor}, attributes);
  }

  // Whether it is a finite constant, so that it takes zero to zero.
  static bool is_uniform(const Tensor& t) {
    const Tensor* from = &t;
    while (from->node().op.is_view) from = &from->node().inputs[0];
    return &from->node().op == &literal_op;
  }

  Tensor stack(Vertex v, const Given& given) const {
    const Tensor all = in_all_steps(expression(v), given);
    if (!all) return {};
    return is_backwards(graph_[v].attributes) == backwards_ ? all : flipped(all);
  }

  // The state after the last step; its initial value where there are no steps.
  Tensor last(std::size_t k, const Given& given) const {
    const StepForm& form = forms_[k];
    if (form.is_state()) return given.operands[k];
    if (!is_kept_[k]) {
      const Tensor& from = form.term ? form.term : form.factor;
      Tensor all = in_all_steps(from, given);
      if (!all) return {};
      all = form.term ? sum(all, 0) : prod(all, 0);
      if (all.dtype() != from.dtype()) all = cast(all, from.dtype());
      all = reshape(all, parameter(k).shape());
      return form.term ? given.operands[k] + all : given.operands[k] * all;
    }
    for (const auto& [kept, after] : given.kept) {
      if (kept != k) continue;
      const bool has_steps = count().is_constant();
      const Tensor all = has_steps ? after : with_initial(k, after, given);
      const Dim at = backwards_ ? Dim(0) : has_steps ? count() - Dim(1) : count();
      return reshape(rows_of(all, at, 1, Dim(1)), parameter(k).shape());
    }
    throw InternalError("scans_in_parallel: a state that is wanted is not kept");
  }

  Graph& graph_;
  const VertexData data_;
  const ScanView view_;
  const std::vector<Vertex> operands_;
  std::vector<Vertex> lasts_, stacks_;
  bool backwards_ = false;       // rows of results are in the order of the last step to the first
  std::vector<StepForm> forms_;  // by state
  std::vector<std::size_t> order_;  // of states: each reads those before it
  std::vector<bool> is_read_;       // by a stack
  std::vector<bool> is_kept_;       // the values after all steps are computed
  std::vector<std::pair<std::size_t, Vertex>> kept_;
};

}  // namespace

bool scans_in_parallel(Graph& graph) {
  bool changed = false;
  for (const Vertex v : graph.topological_order()) {
    if (graph.is_op(v, scan_op) && !graph.is_dead(v)) changed |= ParallelScan(graph, v).run();
  }
  return changed;
}

bool run_gpu_passes(Graph& graph) {
  const UnifiedSizes sizes;
  if (!scans_in_parallel(graph)) return false;
  // What was made is of primitive ops, but for what rules of batches write.
  expand_composites(graph);
  canonicalize(graph);
  eliminate_dead_code(graph);
  if (dumps("scans_in_parallel")) {
    std::fprintf(stderr, "== scans_in_parallel\n%s", to_string(graph).c_str());
  }
  return true;
}

}  // namespace kroton
