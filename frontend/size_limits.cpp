#include "frontend/size_limits.h"

#include <kroton/error.h>

#include <algorithm>
#include <unordered_set>

#include "compiler/dim/dim_atoms.h"
#include "compiler/ops/records.h"

namespace kroton::detail {
namespace {

// Whether it has products of free sizes. Sums of them pass 64 bits only where memory is at an end.
bool may_be_huge(const Dim& dim) {
  if (dim.is_constant()) return false;
  // Sizes of nested joins have atoms within atoms, each reached on many ways.
  std::unordered_set<const DimAtom*> seen;
  std::vector<const Dim*> pending{&dim};
  while (!pending.empty()) {
    const std::vector<Dim::Term> terms = pending.back()->terms();
    pending.pop_back();
    for (const Dim::Term& term : terms) {
      if (term.factors.size() > 1) return true;
      for (const DimAtomRef& factor : term.factors) {
        if (!seen.insert(factor.get()).second) continue;
        for (const Dim& operand : factor->operands) pending.push_back(&operand);
      }
    }
  }
  return false;
}

bool may_be_too_many(const Dims& shape) {
  const auto others =
      std::count_if(shape.begin(), shape.end(), [](const Dim& dim) { return !dim.is_constant(1); });
  return others > 1 || std::any_of(shape.begin(), shape.end(), may_be_huge);
}

bool is_known(const Dims& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& dim) { return dim.is_constant(); });
}

class Collector {
 public:
  explicit Collector(const std::string& name) : name_(name) {}

  void add(const TensorType& type, const Attributes& attributes, std::string_view op,
           SourceLine line) {
    const std::string what = std::string(op) + "  [" + to_string(line) + "]";
    if (may_be_too_many(type.shape)) add(type.shape, what);
    // Not counts of elements, but computed with.
    for (const Dim& dim : attributes.dims) {
      if (may_be_huge(dim)) add({dim}, what);
    }
    if (attributes.body) add_body(*attributes.body);
  }

  std::vector<CountedShape> result;

 private:
  void add(const Dims& shape, const std::string& what) {
    if (is_known(shape)) {
      check_count({shape, what}, name_, [](const DimAtom&) { return std::int64_t{0}; });
      return;
    }
    for (const CountedShape& known : result) {
      if (known.shape == shape) return;
    }
    result.push_back({shape, what});
  }

  void add_body(const Body& body) {
    for (const Tensor& tensor : topological_order(body.results)) {
      const Node& node = tensor.node();
      add(node.type, node.attributes, node.op.name, node.line);
    }
  }

  const std::string& name_;
};

bool can_be_counted(const Dims& dims, const std::function<std::int64_t(const DimAtom&)>& value_of) {
  Shape shape;
  try {
    for (const Dim& dim : dims) shape.push_back(std::max<std::int64_t>(dim.evaluate(value_of), 0));
  } catch (const SizeOverflow&) {
    return false;
  }
  try {
    (void)shape.element_count();
    return true;
  } catch (const ValueError&) {
    return false;
  }
}

}  // namespace

std::vector<CountedShape> shapes_to_count(const Graph& graph, const std::string& name) {
  Collector collector(name);
  for (const Graph::Vertex v : graph.topological_order()) {
    const VertexData& data = graph[v];
    // What a loop gives is that of the user's scan.
    const bool is_scan = data.op == &scan_stack_op || data.op == &scan_last_op;
    collector.add(data.type, data.attributes, is_scan ? "scan" : data.op->name, data.line);
  }
  return std::move(collector.result);
}

void check_count(const CountedShape& counted, const std::string& name,
                 const std::function<std::int64_t(const DimAtom&)>& value_of) {
  if (can_be_counted(counted.shape, value_of)) return;
  std::string values;
  std::vector<std::uint64_t> shown;
  for (const Dim& dim : counted.shape) {
    dim.visit_variables([&](const DimAtomRef& variable) {
      if (std::find(shown.begin(), shown.end(), variable->identity) != shown.end()) return;
      shown.push_back(variable->identity);
      values += ", " + variable->name + " is " + std::to_string(value_of(*variable));
    });
  }
  throw ValueError(name + ": more elements than 64 bits can count in " + to_string(counted.shape) +
                   " of " + counted.what + values);
}

}  // namespace kroton::detail
