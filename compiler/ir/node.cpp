// Nodes: attributes, the table that makes equal expressions one node, and the traversals. All of
// it is iterative: expressions may be chains of hundreds of thousands of nodes.
#include "compiler/ir/node.h"

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "compiler/base/hash.h"
#include "compiler/ir/op.h"
#include "compiler/ir/user_function.h"

namespace kroton {
namespace {

bool same_elements(const std::shared_ptr<const Array>& a, const std::shared_ptr<const Array>& b) {
  if (a == b || !a || !b) return a == b;
  return a->raw() == b->raw() && a->dtype() == b->dtype() && a->shape() == b->shape();
}

template <class T>
std::string bracketed(const std::vector<T>& values) {
  std::string text = "[";
  for (std::size_t k = 0; k < values.size(); ++k) {
    text += (k == 0 ? "" : ", ") + std::to_string(values[k]);
  }
  return text + "]";
}

std::string shortest(double value) {
  char buffer[32];
  for (int digits = 1; digits <= 17; ++digits) {
    std::snprintf(buffer, sizeof buffer, "%.*g", digits, value);
    if (std::strtod(buffer, nullptr) == value) break;
  }
  return buffer;
}

std::size_t hash_of(const OpRecord& op, const std::vector<Tensor>& inputs,
                    std::size_t attributes_hash) {
  std::size_t hash = hash_combine(std::hash<std::string_view>()(op.name), attributes_hash);
  for (const Tensor& input : inputs) {
    hash = hash_combine(hash, input.node().hash);
  }
  return hash;
}

bool same_inputs(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (!same(a[k], b[k])) return false;
  }
  return true;
}

// The nodes alive, by hash. A node leaves the table before its memory is freed, so the pointers in
// the table are always readable under the lock.
class NodeTable {
 public:
  std::shared_ptr<const Node> find(std::size_t hash, const OpRecord& op,
                                   const std::vector<Tensor>& inputs,
                                   const Attributes& attributes) {
    const std::lock_guard lock(mutex_);
    return find_locked(hash, op, inputs, attributes);
  }

  // The given node, or the equal one that another thread has added meanwhile.
  std::shared_ptr<const Node> add(std::shared_ptr<const Node> node) {
    const std::lock_guard lock(mutex_);
    if (auto found = find_locked(node->hash, node->op, node->inputs, node->attributes)) {
      return found;
    }
    entries_.emplace(node->hash, Entry{node.get(), node});
    return node;
  }

  void remove(const Node* dead) {
    const std::lock_guard lock(mutex_);
    for (auto [entry, end] = entries_.equal_range(dead->hash); entry != end; ++entry) {
      if (entry->second.node == dead) {
        entries_.erase(entry);
        return;
      }
    }
  }

 private:
  struct Entry {
    const Node* node;
    std::weak_ptr<const Node> reference;
  };

  std::shared_ptr<const Node> find_locked(std::size_t hash, const OpRecord& op,
                                          const std::vector<Tensor>& inputs,
                                          const Attributes& attributes) {
    for (auto [entry, end] = entries_.equal_range(hash); entry != end; ++entry) {
      const Node& node = *entry->second.node;
      if (&node.op == &op && same_inputs(node.inputs, inputs) && node.attributes == attributes) {
        if (auto alive = entry->second.reference.lock()) return alive;
      }
    }
    return nullptr;
  }

  std::mutex mutex_;
  std::unordered_multimap<std::size_t, Entry> entries_;
};

// Never destroyed: tensors in static storage may outlive any order of destruction.
NodeTable& table() {
  static NodeTable* nodes = new NodeTable;
  return *nodes;
}

// Frees a node. Freeing a node releases its inputs, which may free them: those wait for the
// outermost call, so that the stack does not grow with the depth of the expression. They wait in a
// list of themselves: it needs no memory, which an unwinding program may not have.
void release(const Node* node) {
  thread_local const Node* first_dead = nullptr;
  thread_local bool is_freeing = false;
  node->next_dead = first_dead;
  first_dead = node;
  if (is_freeing) return;
  is_freeing = true;
  while (first_dead != nullptr) {
    const Node* dead = first_dead;
    first_dead = dead->next_dead;
    table().remove(dead);
    delete dead;
  }
  is_freeing = false;
}

// Gives out one copy of equal values that are wanted one after the other, on one thread. It keeps
// none of them alive.
template <class T>
class Recent {
 public:
  std::shared_ptr<const T> share(T&& value, std::size_t hash) {
    std::weak_ptr<const T>& slot = slots_[(hash ^ (hash >> 32)) % slots_.size()];
    if (auto known = slot.lock(); known && *known == value) return known;
    auto fresh = std::make_shared<const T>(std::move(value));
    slot = fresh;
    return fresh;
  }

 private:
  std::array<std::weak_ptr<const T>, 16> slots_;
};

// Static destructors build expressions too, after those of the main thread's variables have run.
thread_local bool thread_ends = false;
struct RecentValues {
  Recent<TensorType> types;
  Recent<Attributes> attributes;
  ~RecentValues() { thread_ends = true; }
};
thread_local RecentValues recent;

std::size_t hash_of(const TensorType& type) {
  auto hash = static_cast<std::size_t>(type.dtype);
  for (const Dim& dim : type.shape) hash = hash_combine(hash, dim.hash());
  return hash;
}

[[noreturn]] void fail_internal(const OpRecord& op, const std::string& what, SourceLine line) {
  throw InternalError(std::string(op.name) + ": " + what + "  [" + to_string(line) + "]");
}

// Whether the result has no dtype of its own. Literals and conversions say so; what else is
// computed is weak if all operands of its kind, floating or integer, are.
bool is_weak(const OpRecord& op, const Attributes& attributes, const std::vector<Tensor>& inputs,
             const TensorType& type) {
  if (op.kind == OpKind::leaf || op.sets_weak) return attributes.weak;
  const auto kind = [](DType dtype) { return is_float(dtype) ? 2 : is_integer(dtype) ? 1 : 0; };
  bool any = false;
  for (const Tensor& input : inputs) {
    if (kind(input.dtype()) == 0 || kind(input.dtype()) != kind(type.dtype)) continue;
    if (!input.node().weak) return false;
    any = true;
  }
  return any;
}

bool same_bodies(const std::shared_ptr<const Body>& a, const std::shared_ptr<const Body>& b) {
  if (a == b || !a || !b) return a == b;
  return same_inputs(a->parameters, b->parameters) && same_inputs(a->results, b->results);
}

}  // namespace

std::string user_function(const OpRecord& op) {
  const std::string_view function = LineScope::function();
  const bool has_name = !function.empty() && !function.starts_with("operator");
  return std::string(has_name ? function : op.name);
}

namespace {

// No op makes a type that no array has.
void check_sizes(const OpRecord& op, const TensorType& type, SourceLine line) {
  const auto fail = [&](const std::string& what) {
    throw ShapeError(user_function(op) + ": " + what + "  [" + to_string(line) + "]");
  };
  if (type.rank() > Shape::max_rank) {
    fail("the result " + to_string(type) + " has " + std::to_string(type.rank()) +
         " axes, at most " + std::to_string(Shape::max_rank) + " are possible");
  }
  for (const Dim& size : type.shape) {
    if (size.is_constant() && size.constant() < 0) {
      fail("a size is negative in " + to_string(type.shape));
    }
  }
}

}  // namespace

bool Attributes::operator==(const Attributes& other) const {
  // Reals by their bits: 0 and -0 are different literals, a NaN is itself.
  return axes == other.axes && dims == other.dims && integers == other.integers &&
         dtype == other.dtype && weak == other.weak &&
         std::bit_cast<std::uint64_t>(real) == std::bit_cast<std::uint64_t>(other.real) &&
         name == other.name && identity == other.identity && state == other.state &&
         same_elements(array, other.array) && same_bodies(body, other.body) &&
         callee == other.callee;
}

std::size_t Attributes::hash() const {
  std::size_t hash =
      hash_combine(static_cast<std::size_t>(dtype), std::bit_cast<std::uint64_t>(real));
  hash = hash_combine(hash, weak ? 1 : 0);
  for (const int axis : axes) hash = hash_combine(hash, static_cast<std::size_t>(axis));
  hash = hash_combine(hash, axes.size());
  for (const Dim& dim : dims) hash = hash_combine(hash, dim.hash());
  hash = hash_combine(hash, dims.size());
  for (const std::int64_t value : integers)
    hash = hash_combine(hash, static_cast<std::size_t>(value));
  hash = hash_combine(hash, std::hash<std::string>()(name));
  hash = hash_combine(hash, static_cast<std::size_t>(identity));
  hash = hash_combine(hash, std::hash<const void*>()(state.get()));
  hash = hash_combine(hash, std::hash<const void*>()(callee.get()));
  if (body) {
    for (const Tensor& result : body->results) hash = hash_combine(hash, result.node().hash);
  }
  return hash_combine(hash, std::hash<const void*>()(array ? array->raw() : nullptr));
}

std::string Attributes::to_string() const {
  std::string text;
  const auto append = [&text](const char* label, const std::string& value) {
    text += (text.empty() ? "" : " ") + std::string(label) + "=" + value;
  };
  if (!name.empty()) append("name", name);
  if (!axes.empty()) append("axes", bracketed(axes));
  if (!dims.empty()) append("dims", kroton::to_string(dims));
  if (!integers.empty()) append("integers", bracketed(integers));
  if (dtype != DType::f32) append("dtype", std::string(name_of(dtype)));
  if (std::bit_cast<std::uint64_t>(real) != 0) append("real", shortest(real));
  if (weak) append("weak", "true");
  if (array) {
    append("array", std::string(name_of(array->dtype())) + kroton::to_string(array->shape()));
  }
  return text;
}

Tensor make_node(const OpRecord& op, std::vector<Tensor> inputs, Attributes attributes,
                 SourceLine line) {
  line = LineScope::current().value_or(line);
  if (op.arity >= 0 && static_cast<int>(inputs.size()) != op.arity) {
    fail_internal(
        op,
        "expected " + std::to_string(op.arity) + " inputs, got " + std::to_string(inputs.size()),
        line);
  }
  for (const Tensor& input : inputs) {
    if (input) continue;
    throw ValueError(user_function(op) +
                     ": a Tensor is empty: no expression has been assigned to "
                     "it  [" +
                     to_string(line) + "]");
  }
  const std::size_t attributes_hash = attributes.hash();
  const std::size_t hash = hash_of(op, inputs, attributes_hash);
  if (auto known = table().find(hash, op, inputs, attributes)) {
    return Tensor(std::move(known));
  }
  TypeContext context(op, inputs, attributes, line);
  TensorType type = op.infer(context);
  check_sizes(op, type, line);
  const bool weak = is_weak(op, attributes, inputs, type);
  const std::size_t type_hash = hash_of(type);
  auto shared_type = thread_ends ? std::make_shared<const TensorType>(std::move(type))
                                 : recent.types.share(std::move(type), type_hash);
  auto shared_attributes = thread_ends
                               ? std::make_shared<const Attributes>(std::move(attributes))
                               : recent.attributes.share(std::move(attributes), attributes_hash);
  const auto* node = new Node(op, std::move(shared_attributes), std::move(inputs),
                              std::move(shared_type), context.take_constraints(), line, hash, weak);
  return Tensor(table().add(std::shared_ptr<const Node>(node, release)));
}

std::string SizeConstraint::text(const std::function<std::string(const Dim&)>& shown) const {
  std::string result;
  for (std::size_t k = 0; k < message.size(); ++k) {
    const auto digit = static_cast<std::size_t>(k + 1 < message.size() ? message[k + 1] - '0' : 10);
    if (message[k] == '%' && digit < values.size()) {
      result += shown(values[digit]);
      ++k;
    } else {
      result += message[k];
    }
  }
  return result;
}

std::vector<Tensor> topological_order(std::span<const Tensor> roots) {
  struct Visit {
    Tensor tensor;
    std::size_t next = 0;  // the input to look at next
  };
  std::vector<Tensor> order;
  std::unordered_set<const Node*> seen;
  std::vector<Visit> stack;
  for (const Tensor& root : roots) {
    if (seen.insert(&root.node()).second) stack.push_back({root});
    while (!stack.empty()) {
      Visit& top = stack.back();
      const std::vector<Tensor>& inputs = top.tensor.node().inputs;
      if (top.next == inputs.size()) {
        order.push_back(std::move(top.tensor));
        stack.pop_back();
        continue;
      }
      const Tensor& input = inputs[top.next++];
      if (seen.insert(&input.node()).second) stack.push_back({input});
    }
  }
  return order;
}

void visit_dims(std::span<const Tensor> roots,
                const std::function<void(const Dim&, SourceLine)>& visit) {
  std::vector<std::vector<Tensor>> pending{{roots.begin(), roots.end()}};
  while (!pending.empty()) {
    const std::vector<Tensor> order = topological_order(pending.back());
    pending.pop_back();
    for (const Tensor& tensor : order) {
      const Attributes& attributes = tensor.node().attributes;
      for (const Dim& dim : tensor.shape()) visit(dim, tensor.line());
      for (const Dim& dim : attributes.dims) visit(dim, tensor.line());
      if (attributes.body) pending.push_back(attributes.body->results);
    }
  }
}

void visit_sizes(std::span<const Tensor> roots,
                 const std::function<void(const DimAtomRef&)>& visit) {
  visit_dims(roots, [&](const Dim& dim, SourceLine) { dim.visit_variables(visit); });
}

std::vector<Tensor> substitute(std::span<const Tensor> roots,
                               const std::function<std::optional<Tensor>(const Tensor&)>& replace) {
  struct Visit {
    Tensor tensor;
    std::size_t next = 0;
  };
  std::unordered_map<const Node*, Tensor> done;  // empty while the node is on the stack
  std::vector<Visit> stack;
  const auto visit = [&](const Tensor& tensor) {
    if (!done.try_emplace(&tensor.node()).second) return;
    if (std::optional<Tensor> replacement = replace(tensor)) {
      done[&tensor.node()] = std::move(*replacement);
    } else {
      stack.push_back({tensor});
    }
  };
  std::vector<Tensor> result;
  for (const Tensor& root : roots) {
    visit(root);
    while (!stack.empty()) {
      Visit& top = stack.back();
      const Node& node = top.tensor.node();
      if (top.next < node.inputs.size()) {
        visit(node.inputs[top.next++]);
        continue;
      }
      std::vector<Tensor> inputs;
      for (const Tensor& input : node.inputs) inputs.push_back(done.at(&input.node()));
      Tensor rebuilt = top.tensor;
      if (!same_inputs(inputs, node.inputs)) {
        const LineScope scope(node.line, "");
        rebuilt = make_node(node.op, std::move(inputs), node.attributes, node.line);
      }
      done[&node] = std::move(rebuilt);
      stack.pop_back();
    }
    result.push_back(done.at(&root.node()));
  }
  return result;
}

}  // namespace kroton
