#include "compiler/ir/graph.h"

#include <algorithm>
#include <atomic>
#include <boost/graph/depth_first_search.hpp>
#include <boost/graph/reverse_graph.hpp>
#include <unordered_set>

#include "compiler/ir/graph_storage.h"
#include "compiler/ir/leaf.h"
#include "compiler/ir/unify.h"

namespace kroton {
namespace {

struct ConstraintHash {
  std::size_t operator()(const SizeConstraint* constraint) const {
    return constraint->left.hash() * 31 + constraint->right.hash();
  }
};
struct SameSizes {
  bool operator()(const SizeConstraint* a, const SizeConstraint* b) const {
    return a->left == b->left && a->right == b->right;
  }
};

// The constraints of all nodes and updates, each pair of sizes once, with its first message.
std::vector<SizeConstraint> collect_constraints(
    const std::vector<Tensor>& order, std::span<const std::pair<Shared, Tensor>> updates) {
  std::vector<SizeConstraint> update_constraints;
  for (const auto& [shared, value] : updates) {
    const std::string what = "update of " + shared.name();
    if (value.dtype() != shared.dtype()) {
      throw TypeError(what + ": expected " + to_string(shared.type()) + ", got " +
                      to_string(value.type()) + "  [" + to_string(value.line()) + "]");
    }
    if (value.rank() != shared.rank()) {
      throw ShapeError(what + ": expected " + to_string(shared.type()) + ", got " +
                       to_string(value.type()) + "  [" + to_string(value.line()) + "]");
    }
    for (int axis = 0; axis < value.rank(); ++axis) {
      update_constraints.push_back(
          {shared.shape(axis), value.shape(axis),
           what + ": axis " + std::to_string(axis) + " must be " + shared.shape(axis).to_string() +
               ", is " + value.shape(axis).to_string() + "  [" + to_string(value.line()) + "]"});
    }
  }
  std::vector<SizeConstraint> result;
  std::unordered_set<const SizeConstraint*, ConstraintHash, SameSizes> seen;
  const auto collect = [&](const std::vector<SizeConstraint>& constraints) {
    for (const SizeConstraint& constraint : constraints) {
      if (constraint.left == constraint.right || !seen.insert(&constraint).second) continue;
      result.push_back(constraint);
    }
  };
  std::vector<std::shared_ptr<const Body>> bodies;
  const auto collect_nodes = [&](const std::vector<Tensor>& nodes) {
    for (const Tensor& tensor : nodes) {
      collect(tensor.node().constraints);
      if (tensor.node().attributes.body) bodies.push_back(tensor.node().attributes.body);
    }
  };
  collect_nodes(order);
  // Sizes inside a loop are those outside: its steps are checked before the call runs.
  for (std::size_t k = 0; k < bodies.size(); ++k) {
    collect_nodes(kroton::topological_order(bodies[k]->results));
  }
  collect(update_constraints);
  return result;
}

// Collects vertices when all that they are computed from has been collected.
struct FinishOrder : boost::default_dfs_visitor {
  std::vector<Graph::Vertex>* order;

  template <class G>
  void finish_vertex(Graph::Vertex v, const G&) const {
    order->push_back(v);
  }
  template <class Edge, class G>
  void back_edge(Edge edge, const G& graph) const {
    throw InternalError("graph: cycle through vertex %" + std::to_string(target(edge, graph)));
  }
};

}  // namespace

Graph::Graph(std::span<const Tensor> parameters, std::span<const Tensor> results,
             std::span<const std::pair<Shared, Tensor>> new_values, bool unify,
             std::span<const SizeConstraint> equalities)
    : input_tensors(parameters.begin(), parameters.end()), storage_(std::make_unique<Storage>()) {
  std::vector<Tensor> roots(parameters.begin(), parameters.end());
  roots.insert(roots.end(), results.begin(), results.end());
  for (const auto& [shared, value] : new_values) roots.push_back(value);

  const std::vector<Tensor> order = kroton::topological_order(roots);
  constraints.assign(equalities.begin(), equalities.end());
  std::ranges::move(collect_constraints(order, new_values), std::back_inserter(constraints));
  if (unify) unified_ = unify_sizes(constraints);
  const UnifiedSizes sizes;
  Known known;
  import(order, known);

  for (const Tensor& parameter : parameters) inputs.push_back(known.at(&parameter.node()));
  for (const Tensor& result : results) outputs.push_back(known.at(&result.node()));
  for (const auto& [shared, value] : new_values) {
    updates.push_back({shared.state(), known.at(&value.node())});
  }
}

Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::~Graph() = default;

const VertexData& Graph::operator[](Vertex v) const { return (*storage_)[v]; }

std::size_t Graph::size() const { return boost::num_vertices(*storage_); }

Dim Graph::unified(const Dim& dim) const {
  if (dim.is_constant() || unified_.empty()) return dim;
  return dim.substitute([this](const DimAtomRef& atom) -> std::optional<Dim> {
    const auto found = unified_.find(atom->identity);
    return found == unified_.end() ? std::nullopt : std::optional(found->second);
  });
}

std::shared_ptr<const Body> Graph::unified(const std::shared_ptr<const Body>& body) const {
  std::unordered_map<const Node*, Tensor> rebuilt;
  std::vector<Tensor> roots = body->parameters;
  roots.insert(roots.end(), body->results.begin(), body->results.end());
  for (const Tensor& tensor : kroton::topological_order(roots)) {
    const Node& node = tensor.node();
    Attributes attributes = node.attributes;
    for (Dim& dim : attributes.dims) dim = unified(dim);
    if (attributes.body) attributes.body = unified(attributes.body);
    std::vector<Tensor> operands;
    for (const Tensor& input : node.inputs) operands.push_back(rebuilt.at(&input.node()));
    const LineScope scope(node.line, "");
    rebuilt.emplace(&node,
                    make_node(node.op, std::move(operands), std::move(attributes), node.line));
  }
  Body result;
  for (const Tensor& t : body->parameters) result.parameters.push_back(rebuilt.at(&t.node()));
  for (const Tensor& t : body->results) result.results.push_back(rebuilt.at(&t.node()));
  return std::make_shared<const Body>(std::move(result));
}

// Vertices for the nodes of `order` that are not known. A node's type holds unless unification
// changed its attributes or the type of an operand.
void Graph::import(const std::vector<Tensor>& order, Known& known) {
  std::unordered_map<Vertex, Tensor> stand_ins;
  for (const Tensor& tensor : order) {
    const Node& node = tensor.node();
    if (known.contains(&node)) continue;
    VertexData data{&node.op, node.attributes, node.type, node.line};
    std::vector<Vertex> operands;
    operands.reserve(node.inputs.size());
    for (const Tensor& input : node.inputs) operands.push_back(known.at(&input.node()));

    if (!unified_.empty()) {
      bool changed = false;
      for (Dim& dim : data.attributes.dims) {
        const Dim now = unified(dim);
        changed = changed || !(now == dim);
        dim = now;
      }
      if (data.attributes.body) {
        data.attributes.body = unified(data.attributes.body);
        changed = true;
      }
      for (std::size_t k = 0; k < operands.size(); ++k) {
        changed = changed || !((*storage_)[operands[k]].type == node.inputs[k].type());
      }
      if (node.op.kind == OpKind::leaf) {
        for (Dim& dim : data.type.shape) dim = unified(dim);
      } else if (changed) {
        std::vector<Tensor> arguments;
        for (const Vertex operand : operands) {
          Tensor& argument = stand_ins[operand];
          if (!argument) argument = stand_in((*storage_)[operand].type, (*storage_)[operand].line);
          arguments.push_back(argument);
        }
        data.type = infer_type(node.op, arguments, data.attributes, node.line);
      }
    }
    known.emplace(&node, append(std::move(data), operands));
  }
}

Graph::Vertex Graph::append(VertexData data, const std::vector<Vertex>& operands) {
  if (std::exchange(data.attributes.weak, false) && data.type.dtype == DType::f32) {
    data.attributes.real = static_cast<float>(data.attributes.real);
  }
  const Vertex v = boost::add_vertex(*storage_);
  (*storage_)[v] = std::move(data);  // add_vertex would copy it
  uses_.push_back(0);
  dead_.push_back(false);
  for (std::size_t k = 0; k < operands.size(); ++k) {
    boost::add_edge(operands[k], v, EdgeData{static_cast<int>(k)}, *storage_);
    ++uses_[operands[k]];
  }
  return v;
}

std::vector<Graph::Vertex> Graph::operands(Vertex v) const {
  std::vector<Vertex> result(boost::in_degree(v, *storage_));
  for (auto [edge, end] = boost::in_edges(v, *storage_); edge != end; ++edge) {
    result.at(static_cast<std::size_t>((*storage_)[*edge].position)) =
        boost::source(*edge, *storage_);
  }
  return result;
}

Graph::Vertex Graph::operand(Vertex v, int k) const {
  for (auto [edge, end] = boost::in_edges(v, *storage_); edge != end; ++edge) {
    if ((*storage_)[*edge].position == k) return boost::source(*edge, *storage_);
  }
  throw InternalError("graph: vertex %" + std::to_string(v) + " has no operand " +
                      std::to_string(k));
}

std::vector<Graph::Vertex> Graph::users(Vertex v) const {
  std::vector<Vertex> result;
  for (auto [edge, end] = boost::out_edges(v, *storage_); edge != end; ++edge) {
    const Vertex user = boost::target(*edge, *storage_);
    if (!dead_[user]) result.push_back(user);
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

int Graph::use_count(Vertex v) const {
  int count = uses_[v] + static_cast<int>(std::count(outputs.begin(), outputs.end(), v));
  for (const Update& update : updates) count += update.value == v ? 1 : 0;
  return count;
}

bool Graph::is_root(Vertex v) const {
  return std::find(outputs.begin(), outputs.end(), v) != outputs.end() ||
         std::any_of(updates.begin(), updates.end(),
                     [v](const Update& update) { return update.value == v; });
}

std::vector<Graph::Vertex> Graph::topological_order(bool live_only) const {
  std::vector<Vertex> order;
  FinishOrder visitor;
  visitor.order = &order;
  const auto operands_of = boost::make_reverse_graph(*storage_);
  std::vector<boost::default_color_type> colors(size(), boost::white_color);
  auto color_map =
      boost::make_iterator_property_map(colors.begin(), boost::get(boost::vertex_index, *storage_));
  const auto visit = [&](Vertex root) {
    if (root >= size()) throw InternalError("graph: no vertex %" + std::to_string(root));
    if (colors[root] != boost::white_color) return;
    boost::depth_first_visit(operands_of, root, visitor, color_map);
  };
  for (const Vertex output : outputs) visit(output);
  for (const Update& update : updates) visit(update.value);
  if (!live_only) {
    for (Vertex v = 0; v < size(); ++v) visit(v);
  }
  return order;
}

Graph::Vertex Graph::add(const OpRecord& op, const std::vector<Vertex>& operands,
                         Attributes attributes, SourceLine line) {
  std::vector<Tensor> arguments;
  arguments.reserve(operands.size());
  for (const Vertex operand : operands)
    arguments.push_back(stand_in((*storage_)[operand].type, line));
  TensorType type = infer_type(op, arguments, attributes, line);
  return append({&op, std::move(attributes), std::move(type), line}, operands);
}

Graph::Vertex Graph::build(const std::vector<Vertex>& operands, SourceLine line,
                           const std::function<Tensor(std::span<const Tensor>)>& build) {
  Known known;
  std::vector<Tensor> arguments;
  arguments.reserve(operands.size());
  for (const Vertex operand : operands) {
    arguments.push_back(stand_in((*storage_)[operand].type, (*storage_)[operand].line));
    known.emplace(&arguments.back().node(), operand);
  }
  const LineScope scope(line, "");
  const Tensor result = build(arguments);
  // The new nodes speak of unified sizes already: their types hold as they are.
  for (const Tensor& tensor : kroton::topological_order(std::span(&result, 1))) {
    const Node& node = tensor.node();
    if (known.contains(&node)) continue;
    std::vector<Vertex> inputs_of_node;
    for (const Tensor& input : node.inputs) inputs_of_node.push_back(known.at(&input.node()));
    known.emplace(&node, append({&node.op, node.attributes, node.type, line}, inputs_of_node));
  }
  return known.at(&result.node());
}

void Graph::replace(Vertex from, Vertex to) {
  if (from == to) return;
  if (!((*storage_)[from].type == (*storage_)[to].type)) {
    throw InternalError("graph: replacing %" + std::to_string(from) + " (" +
                        std::string((*storage_)[from].op->name) + "), a " +
                        to_string((*storage_)[from].type) + ", by %" + std::to_string(to) + " (" +
                        std::string((*storage_)[to].op->name) + "), a " +
                        to_string((*storage_)[to].type) + "\n" + to_string(*this));
  }
  std::vector<std::pair<Vertex, EdgeData>> uses;
  for (auto [edge, end] = boost::out_edges(from, *storage_); edge != end; ++edge) {
    uses.emplace_back(boost::target(*edge, *storage_), (*storage_)[*edge]);
  }
  boost::clear_out_edges(from, *storage_);
  for (const auto& [user, edge] : uses) {
    boost::add_edge(to, user, edge, *storage_);
    if (!dead_[user]) ++uses_[to];
  }
  uses_[from] = 0;
  for (Vertex& output : outputs) output = output == from ? to : output;
  for (Update& update : updates) update.value = update.value == from ? to : update.value;
  kill(from);
}

// Marks the vertex and everything that only dead vertices use as dead. Edges stay until
// remove_dead, which makes a whole pass's removals linear.
void Graph::kill(Vertex v) {
  std::vector<Vertex> stack{v};
  while (!stack.empty()) {
    const Vertex dying = stack.back();
    stack.pop_back();
    dead_[dying] = true;
    for (auto [edge, end] = boost::in_edges(dying, *storage_); edge != end; ++edge) {
      const Vertex operand = boost::source(*edge, *storage_);
      if (--uses_[operand] == 0 && !is_root(operand)) stack.push_back(operand);
    }
  }
}

std::size_t Graph::remove_dead() {
  const Vertex none = Storage::null_vertex();
  std::vector<Vertex> order = topological_order();
  std::vector<Vertex> renumbered(size(), none);
  // Inputs come first, used or not.
  std::vector<Vertex> keep = inputs;
  for (const Vertex input : inputs) renumbered[input] = 0;
  for (const Vertex v : order) {
    if (renumbered[v] == none) keep.push_back(v);
  }
  for (std::size_t k = 0; k < keep.size(); ++k) renumbered[keep[k]] = k;

  const std::size_t dropped = size() - keep.size();
  std::vector<std::pair<VertexData, std::vector<Vertex>>> kept;
  kept.reserve(keep.size());
  for (const Vertex v : keep) {
    std::vector<Vertex> mapped = operands(v);
    for (Vertex& operand : mapped) operand = renumbered[operand];
    kept.emplace_back(std::move((*storage_)[v]), std::move(mapped));
  }
  storage_ = std::make_unique<Storage>();
  uses_.clear();
  dead_.clear();
  for (auto& [data, mapped] : kept) append(std::move(data), mapped);
  for (Vertex& input : inputs) input = renumbered[input];
  for (Vertex& output : outputs) output = renumbered[output];
  for (Update& update : updates) update.value = renumbered[update.value];
  return dropped;
}

std::vector<Tensor> Graph::export_expressions(std::span<const Vertex> roots) const {
  std::unordered_map<Vertex, Tensor> exported;
  // Operands are exported before their users; a vertex on the stack twice is skipped the second
  // time.
  std::vector<Vertex> stack(roots.rbegin(), roots.rend());
  while (!stack.empty()) {
    const Vertex v = stack.back();
    if (exported.contains(v)) {
      stack.pop_back();
      continue;
    }
    const std::vector<Vertex> operands_of_v = operands(v);
    bool ready = true;
    for (auto operand = operands_of_v.rbegin(); operand != operands_of_v.rend(); ++operand) {
      if (exported.contains(*operand)) continue;
      stack.push_back(*operand);
      ready = false;
    }
    if (!ready) continue;
    stack.pop_back();
    std::vector<Tensor> arguments;
    arguments.reserve(operands_of_v.size());
    for (const Vertex operand : operands_of_v) arguments.push_back(exported.at(operand));
    const VertexData& data = (*storage_)[v];
    const LineScope scope(data.line, "");
    exported.emplace(v, make_node(*data.op, std::move(arguments), data.attributes, data.line));
  }
  std::vector<Tensor> result;
  result.reserve(roots.size());
  for (const Vertex root : roots) result.push_back(exported.at(root));
  return result;
}

Tensor stand_in(const TensorType& type, SourceLine line) {
  static std::atomic<std::uint64_t> next{1};
  const std::uint64_t identity = next.fetch_add(1, std::memory_order_relaxed);
  Attributes attributes;
  attributes.dims = type.shape;
  attributes.dtype = type.dtype;
  attributes.name = "operand";
  attributes.identity = identity;
  return Tensor(std::make_shared<const Node>(
      input_op, std::make_shared<const Attributes>(std::move(attributes)), std::vector<Tensor>{},
      std::make_shared<const TensorType>(type), std::vector<SizeConstraint>{}, line,
      static_cast<std::size_t>(identity), false));
}

TensorType infer_type(const OpRecord& op, std::span<const Tensor> inputs,
                      const Attributes& attributes, SourceLine line) {
  TypeContext context(op, inputs, attributes, line);
  return op.infer(context);
}

}  // namespace kroton
