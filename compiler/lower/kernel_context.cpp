#include "compiler/lower/kernel_context.h"

#include <kroton/error.h>

#include <algorithm>
#include <limits>

#include "compiler/loop/traverse.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

class VertexPoint final : public PointContext {
 public:
  VertexPoint(KernelContext& context, Vertex v)
      : context_(context), v_(v), operands_(context.graph().operands(v)) {}
  const Attributes& attributes() const override { return context_.graph()[v_].attributes; }
  const TensorType& type() const override { return context_.graph()[v_].type; }
  int input_count() const override { return static_cast<int>(operands_.size()); }
  const TensorType& input_type(int k) const override { return context_.graph()[operand(k)].type; }
  loop::Expr input(int k, const Index& index) override {
    loop::Expr value = context_.value(operand(k), index);
    if (context_.checks_values() && is_float(value->dtype)) {
      operands_finite_ = loop::binary(loop::Op::logical_and, operands_finite_, is_finite(value));
    }
    return value;
  }
  loop::Expr check_index(const loop::Expr& index, const Dim& size, int axis) override {
    const loop::Expr checked = context_.check_index(v_, index, size, axis);
    if (loop::may_fail(checked->op)) checked_.push_back(checked);
    return checked;
  }
  loop::Expr check_position(const loop::Expr& position, const Dim& size, int axis) override {
    return check_index(context_.check_position(v_, position, size, axis), size, axis);
  }
  loop::Expr check(const loop::Expr& value, const loop::Expr& condition, const loop::Expr& index,
                   const loop::Expr& size, const std::string& text) override {
    return context_.check(v_, value, condition, index, size, text);
  }
  loop::Expr choose(const loop::Expr& condition, const std::function<loop::Expr()>& then,
                    const std::function<loop::Expr()>& otherwise) override {
    return context_.choose(condition, then, otherwise);
  }
  // Of those read so far.
  const loop::Expr& operands_finite() const { return operands_finite_; }
  // The indices that are checked.
  const std::vector<loop::Expr>& checked() const { return checked_; }

 private:
  Vertex operand(int k) const { return operands_[static_cast<std::size_t>(k)]; }
  KernelContext& context_;
  Vertex v_;
  loop::Expr operands_finite_ = loop::boolean_constant(true);
  std::vector<loop::Expr> checked_;
  std::vector<Vertex> operands_;
};

// Appends the checks that are terms of a sum, which no simplification takes out of it.
void collect_terms(const loop::Expr& index, std::vector<const loop::ExprNode*>& checks) {
  if (loop::may_fail(index->op)) checks.push_back(index.get());
  if (index->op != loop::Op::add && index->op != loop::Op::mul) return;
  for (const loop::Expr& arg : index->args) collect_terms(arg, checks);
}

// The value, which fails where an index out of range was asked for. A read of memory at that index
// does so; but where the axis is broadcast, or of one element, the value is independent of it.
loop::Expr with_checks(const loop::Expr& value, const std::vector<loop::Expr>& checks) {
  if (checks.empty()) return value;
  std::vector<const loop::ExprNode*> kept;
  for (const loop::Expr& e : loop::post_order(std::span(&value, 1))) {
    if (e->op == loop::Op::load) collect_terms(e->args[0], kept);
  }
  loop::Expr result = value;
  for (const loop::Expr& check : checks) {
    if (std::find(kept.begin(), kept.end(), check.get()) != kept.end()) continue;
    const loop::Expr& index = check->args[0];
    const loop::Expr& size = check->args[1];
    const loop::Expr fits = loop::binary(loop::Op::logical_and,
                                         loop::binary(loop::Op::le, loop::integer(0) - size, index),
                                         loop::binary(loop::Op::lt, index, size));
    result = loop::check(result, fits, index, size, static_cast<int>(check->integer));
  }
  return result;
}

std::string buffer_name(const Graph& graph, Vertex v) {
  const VertexData& data = graph[v];
  if (data.attributes.state && !data.attributes.state->name.empty())
    return data.attributes.state->name;
  const bool is_text = data.op->has_points();  // of an error
  if (!data.attributes.name.empty() && !is_text) return data.attributes.name;
  return std::string(data.op->name) + std::to_string(v);
}

void collect_loads(const loop::Expr& e, std::unordered_set<const loop::ExprNode*>& seen,
                   std::map<int, loop::BufferRef>& read) {
  if (!e || !seen.insert(e.get()).second) return;
  if (e->op == loop::Op::load) read[e->buffer->id] = e->buffer;
  for (const loop::Expr& arg : e->args) collect_loads(arg, seen, read);
}

void require_observable(const OpRecord& op) {
  if (op.observable) return;
  throw InternalError(std::string(op.name) +
                      ": checks something, but its record does not say that it may fail");
}

struct BufferUse {
  std::unordered_set<const loop::ExprNode*> seen;
  std::map<int, loop::BufferRef> read, written;
  void visit(const loop::Block& block) {
    loop::visit_statements(block, [&](const loop::Stmt& stmt) {
      loop::visit_own_expressions(stmt, [&](const loop::Expr& e) { collect_loads(e, seen, read); });
      if (const auto* store = std::get_if<loop::Store>(&stmt)) {
        written[store->buffer->id] = store->buffer;
      } else if (const auto* copy = std::get_if<loop::Copy>(&stmt)) {
        read[copy->from->id] = copy->from;
      }
    });
  }
};

}  // namespace

const loop::BufferRef& BufferTable::of(Vertex v) {
  loop::BufferRef& buffer = of_[v];
  if (!buffer) {
    const TensorType& type = graph_[v].type;
    buffer = create(buffer_name(graph_, v), type.dtype, element_count(type.shape));
  }
  return buffer;
}

loop::BufferRef BufferTable::create(const std::string& name, DType dtype, const Dim& size,
                                    loop::Space space) {
  auto buffer = std::make_shared<loop::Buffer>();
  buffer->id = common_.next++;
  buffer->name = name;
  buffer->dtype = dtype;
  buffer->size = size;
  buffer->space = space;
  return buffer;
}

loop::NewBuffer BufferTable::maker() {
  return [this](const std::string& name, DType dtype, const Dim& size, loop::Space space) {
    return create(name, dtype, size, space);
  };
}

int BufferTable::add_site(CheckSite site) {
  common_.sites.push_back(std::move(site));
  return static_cast<int>(common_.sites.size()) - 1;
}

std::size_t KernelContext::PlaceHash::operator()(const Place& place) const {
  std::size_t h = std::hash<std::size_t>{}(place.vertex);
  for (const loop::Expr& e : place.index) h = h * 1000003 + std::hash<const void*>{}(e.get());
  return h;
}

KernelContext::KernelContext(const Graph& graph, const Fusion& fusion, const Cluster& cluster,
                             BufferTable& buffers, const ValueChecks& checks)
    : graph_(graph),
      fusion_(fusion),
      cluster_(cluster),
      buffers_(buffers),
      checks_(checks),
      members_(cluster.members.begin(), cluster.members.end()) {}

void KernelContext::set_value(const Place& place, const loop::Expr& value) {
  fixed_[place] = value;
  forget_values();
  if (const auto finite = operands_finite_.find(place.vertex); finite != operands_finite_.end()) {
    given_results_[value.get()] = {place, value, finite->second};
  }
}

void KernelContext::forget_values() {
  memo_.clear();
  computed_.clear();
  results_.clear();
}

loop::Expr KernelContext::value(Vertex v, const Index& index) {
  const Place place{v, index};
  if (const auto it = fixed_.find(place); it != fixed_.end()) return it->second;
  const VertexData& data = graph_[v];
  const bool computed = members_.count(v) != 0;
  if (!computed && fusion_.stored[v]) return load(v, data.type.shape, index);
  if (data.op->regroups) {
    // Row-major order is what a reshape keeps: a stored operand is read at the same place.
    const Vertex operand = graph_.operand(v, 0);
    if (fusion_.stored[operand] && members_.count(operand) == 0) {
      return load(operand, data.type.shape, index);
    }
  }
  if (data.op->at == nullptr) {
    throw InternalError("lowering: %" + std::to_string(v) + " (" + std::string(data.op->name) +
                        ") is neither stored nor computed where it is read\n" + to_string(graph_) +
                        fusion_.to_string(graph_));
  }
  const Values& known = memo_[condition_];
  if (const auto it = known.find(place); it != known.end()) return it->second;
  VertexPoint point(*this, v);
  const loop::Expr result = with_checks(data.op->at(point, index), point.checked());
  if (!condition_) computed_.push_back(place);
  if (checks_.wanted && is_float(result->dtype) && data.op->has_points() && !data.op->is_view) {
    results_.try_emplace(result.get(), Result{place, result, point.operands_finite()});
  }
  return memo_[condition_][place] = result;
}

loop::Expr KernelContext::load(Vertex v, const Dims& shape, const Index& index) {
  return loop::load(buffers_.of(v), linear_index(shape, index), condition_);
}

loop::Expr KernelContext::choose(const loop::Expr& condition,
                                 const std::function<loop::Expr()>& then,
                                 const std::function<loop::Expr()>& otherwise) {
  if (condition->op == loop::Op::integer) return condition->integer != 0 ? then() : otherwise();
  const auto under = [&](const loop::Expr& own, const std::function<loop::Expr()>& value) {
    const loop::Expr all = condition_ ? loop::binary(loop::Op::logical_and, condition_, own) : own;
    const loop::Expr outer = std::exchange(condition_, all);
    const loop::Expr result = value();
    condition_ = outer;
    return result;
  };
  const loop::Expr first = under(condition, then);
  return loop::select(condition, first,
                      under(loop::unary(loop::Op::logical_not, condition), otherwise));
}

loop::Stmt KernelContext::store_root(Vertex v, const Index& index) {
  return loop::Store{buffers_.of(v), linear_index(graph_[v].type.shape, index),
                     checked(value(v, index))};
}

int KernelContext::value_site(Vertex v) {
  const auto [known, first] = value_sites_.try_emplace(v, 0);
  if (first) {
    const VertexData& data = graph_[v];
    known->second =
        buffers_.add_site({std::string(data.op->name) + ": the result, " + to_string(data.type) +
                               ", at index %index is %size though its operands are "
                               "finite  [" +
                               to_string(data.line) + "]",
                           CheckSite::Kind::value});
  }
  return known->second;
}

loop::Expr KernelContext::checked(const loop::Expr& value) {
  if (!checks_.wanted) return value;
  using loop::Op;
  const std::vector<loop::Expr> nodes = loop::post_order(std::span(&value, 1));
  // When the value depends on a node: what a select does not take has no part in it.
  const loop::Expr always = loop::boolean_constant(true);
  std::unordered_map<const loop::ExprNode*, loop::Expr> when{{value.get(), always}};
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    const loop::Expr now = when.at(node->get());
    const auto depends = [&](const loop::Expr& on, const loop::Expr& condition) {
      const auto [known, first] = when.try_emplace(on.get(), condition);
      if (!first) known->second = loop::binary(Op::logical_or, known->second, condition);
    };
    const std::vector<loop::Expr>& args = (*node)->args;
    if ((*node)->op == Op::select) {
      depends(args[0], now);
      depends(args[1], loop::binary(Op::logical_and, now, args[0]));
      depends(args[2], loop::binary(Op::logical_and, now, loop::unary(Op::logical_not, args[0])));
    } else {
      for (const loop::Expr& arg : args) depends(arg, now);
    }
  }
  loop::Expr result = value;
  for (const loop::Expr& node : nodes) {
    const auto given = given_results_.find(node.get());
    const auto found = given != given_results_.end() ? given : results_.find(node.get());
    if (given == given_results_.end() && found == results_.end()) continue;
    const auto& [place, computed, operands_finite] = found->second;
    const loop::Expr& counts = when.at(node.get());
    if (!checks_.always[place.vertex] && counts == always) continue;
    const loop::Expr must = loop::binary(Op::logical_and, operands_finite, counts);
    const loop::Expr fits =
        loop::binary(Op::logical_or, is_finite(node), loop::unary(Op::logical_not, must));
    result = loop::check(result, fits, linear_index(graph_[place.vertex].type.shape, place.index),
                         loop::bitcast(loop::cast(node, DType::f64), DType::i64),
                         value_site(place.vertex));
  }
  return result;
}

ValueChecks value_checks(const Graph& graph) {
  ValueChecks checks{true, std::vector<bool>(graph.size(), false)};
  for (Vertex v : graph.outputs) checks.always[v] = true;
  for (const Graph::Update& update : graph.updates) checks.always[update.value] = true;
  const std::vector<Vertex> order = graph.topological_order();
  for (auto v = order.rbegin(); v != order.rend(); ++v) {
    if (!checks.always[*v]) continue;
    const std::vector<Vertex> operands = graph.operands(*v);
    for (std::size_t k = 0; k < operands.size(); ++k) {
      if (k == 0 || graph[*v].op != &where_op) checks.always[operands[k]] = true;
    }
  }
  return checks;
}

loop::Expr is_finite(const loop::Expr& value) {
  const double infinity = std::numeric_limits<double>::infinity();
  return loop::binary(loop::Op::lt, loop::unary(loop::Op::abs, value),
                      loop::real(infinity, value->dtype));
}

loop::Expr KernelContext::check(Vertex v, const loop::Expr& value, const loop::Expr& condition,
                                const loop::Expr& index, const loop::Expr& size,
                                const std::string& text) {
  require_observable(*graph_[v].op);
  int& site = text_sites_.try_emplace({v, text}, -1).first->second;
  if (site < 0) site = buffers_.add_site({text + "  [" + to_string(graph_[v].line) + "]"});
  return loop::check(value, condition, index, size, site);
}

loop::Expr KernelContext::check_index(Vertex v, const loop::Expr& index, const Dim& size,
                                      int axis) {
  return loop::check_index(index, loop::size(size), check_site(v, size, axis));
}

loop::Expr KernelContext::check_position(Vertex v, const loop::Expr& position, const Dim& size,
                                         int axis) {
  const loop::Expr fits = loop::binary(loop::Op::le, loop::integer(0), position);
  return loop::check(position, fits, position, loop::size(size), check_site(v, size, axis));
}

int KernelContext::check_site(Vertex v, const Dim& size, int axis) {
  require_observable(*graph_[v].op);
  int& site = check_sites_.try_emplace({v, axis}, -1).first->second;
  if (site < 0) {
    const VertexData& data = graph_[v];
    // Gathers index their first operand; scatters and one_hot index their own result. What has no
    // name of the user's goes without one.
    const VertexData& source = graph_[graph_.operand(v, 0)];
    const auto at = static_cast<std::size_t>(axis);
    const bool of_source = source.op->kind == OpKind::leaf && data.op->has_points() &&
                           at < source.type.shape.size() && source.type.shape[at] == size;
    site = buffers_.add_site(
        {(data.attributes.name.empty() ? std::string(data.op->name) : data.attributes.name) +
         ": index %index is out of range for axis " + std::to_string(axis) +
         (of_source ? " of " + buffer_name(graph_, graph_.operand(v, 0)) : "") +
         ", whose size is %size  [" + to_string(data.line) + "]"});
  }
  return site;
}

std::int64_t KernelContext::cost() const {
  std::int64_t sum = 0;
  for (Vertex v : cluster_.members) sum += graph_[v].op->cost;
  return std::max<std::int64_t>(1, sum);
}

Index without_ones(Index index, const std::vector<std::size_t>& axes, const Dims& shape) {
  for (const std::size_t axis : axes) {
    if (shape[axis].is_constant(1)) index[axis] = loop::integer(0);
  }
  return index;
}

loop::Expr linear_index(const Dims& shape, const Index& index) {
  if (shape.size() != index.size()) {
    throw InternalError("lowering: " + std::to_string(index.size()) +
                        " indices for a value of shape " + to_string(shape));
  }
  loop::Expr linear = loop::integer(0);
  Dim stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    // The index of one element is 0, but one that is checked may have to fail.
    if (!shape[axis].is_constant(1) || loop::may_fail(index[axis]->op)) {
      linear = linear + index[axis] * loop::size(stride);
    }
    stride = stride * shape[axis];
  }
  return linear;
}

void collect_buffers(loop::Kernel& kernel) {
  BufferUse use;
  use.visit(kernel.body);
  kernel.inputs.clear();
  kernel.outputs.clear();
  kernel.scratch.clear();
  for (const auto& [id, buffer] : use.written) {
    if (buffer->space == loop::Space::global) kernel.outputs.push_back(buffer);
    if (buffer->space == loop::Space::worker) kernel.scratch.push_back(buffer);
  }
  for (const auto& [id, buffer] : use.read) {
    if (buffer->space == loop::Space::global && use.written.count(id) == 0) {
      kernel.inputs.push_back(buffer);
    }
  }
}

}  // namespace kroton
