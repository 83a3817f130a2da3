#include <kroton/error.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "compiler/codegen/llvm/object.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"
#include "compiler/ir/node.h"
#include "compiler/ir/op.h"
#include "compiler/ops/weak.h"
#include "compiler/scan/steps.h"
#include "frontend/function_parts.h"
#include "frontend/profiler.h"

namespace kroton {

std::int64_t compilation_count() { return codegen::compilation_count(); }

namespace detail {
namespace {

std::string at(const SourceLine& line) { return "  [" + to_string(line) + "]"; }

bool is_input(const Tensor& t) { return t && &t.node().op == &input_op; }

std::string identifier(const std::string& name) {
  if (name.empty()) return "kroton_function";
  std::string result;
  for (char c : name) result += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return std::isdigit(static_cast<unsigned char>(result[0])) ? "f" + result : result;
}

void check_inputs(const std::vector<Tensor>& inputs, const SourceLine& line) {
  std::set<const Node*> seen;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const std::string which = "function: input " + std::to_string(k);
    if (!inputs[k]) throw ValueError(which + " is empty" + at(line));
    if (&inputs[k].node().op == &shared_op) {
      throw ValueError(which + ", " + inputs[k].name() +
                       ", is a shared variable, which a function has without its being an input: "
                       "leave it out" +
                       at(line));
    }
    if (!is_input(inputs[k])) {
      throw ValueError(which + " is not a variable but the result of " +
                       std::string(inputs[k].node().op.name) + at(inputs[k].line()) + at(line));
    }
    if (!seen.insert(&inputs[k].node()).second) {
      throw ValueError(which + ", " + inputs[k].name() + ", appears twice" + at(line));
    }
  }
}

// The types of updates are checked when the graph is built.
void check_updates(const std::vector<Update>& updates, const SourceLine& line) {
  std::set<const SharedState*> seen;
  for (const Update& update : updates) {
    const std::string name = update.target.name();
    if (!update.value) throw ValueError("function: the update of " + name + " is empty" + at(line));
    if (!seen.insert(update.target.state().get()).second) {
      throw ValueError("function: two updates of " + name + at(line));
    }
  }
}

// Every given replaces something, if only the sizes of its variable.
void check_givens_match(const std::vector<Tensor>& roots, const std::vector<Given>& givens,
                        const SourceLine& line) {
  std::set<const Node*> reached;
  for (const Tensor& t : topological_order(roots)) reached.insert(&t.node());
  std::set<std::uint64_t> sizes;
  visit_sizes(roots, [&](const DimAtomRef& atom) { sizes.insert(atom->identity); });
  for (const Given& given : givens) {
    bool matches = reached.contains(&given.variable.node());
    for (const Dim& dim : given.variable.shape()) {
      dim.visit_variables(
          [&](const DimAtomRef& atom) { matches = matches || sizes.contains(atom->identity); });
    }
    if (matches) continue;
    throw ValueError("function: the given of " + given.variable.name() +
                     " replaces nothing: no output or update depends on it (on_unused_input = "
                     "ignore allows it)" +
                     at(line));
  }
}

// The roots with every given variable replaced. The variable's sizes are its replacement's:
// expressions built on the variable may mention them.
std::vector<Tensor> with_givens(const std::vector<Tensor>& roots, const FunctionOptions& options,
                                const SourceLine& line, std::vector<SizeConstraint>& equalities) {
  const std::vector<Given>& givens = options.givens;
  if (givens.empty()) return roots;
  std::map<const Node*, Tensor> replacements;
  for (const Given& given : givens) {
    if (!given.variable || !given.replacement)
      throw ValueError("function: an empty given" + at(line));
    const Tensor replacement = ops::met_by(given.replacement, given.variable.dtype());
    const TensorType& have = replacement.type();
    const TensorType& want = given.variable.type();
    const std::string message = "function: the given of " + given.variable.name() + " is " +
                                to_string(have) + ", " + given.variable.name() + " is " +
                                to_string(want) + at(line);
    if (have.dtype != want.dtype) throw TypeError(message);
    if (have.rank() != want.rank()) throw ShapeError(message);
    if (!replacements.emplace(&given.variable.node(), replacement).second) {
      throw ValueError("function: two givens of " + given.variable.name() + at(line));
    }
    for (int axis = 0; axis < have.rank(); ++axis) {
      if (want.shape[static_cast<std::size_t>(axis)] == have.shape[static_cast<std::size_t>(axis)])
        continue;
      equalities.push_back({want.shape[static_cast<std::size_t>(axis)],
                            have.shape[static_cast<std::size_t>(axis)], message});
    }
  }
  if (options.on_unused_input == UnusedInput::error)
    check_givens_match(roots, options.givens, line);
  return substitute(roots, [&](const Tensor& t) -> std::optional<Tensor> {
    const auto it = replacements.find(&t.node());
    return it == replacements.end() ? std::nullopt : std::optional<Tensor>(it->second);
  });
}

// Updates that come with what is computed: of values that carry one, and of random streams, which
// count the calls that draw from them unless something else updates them.
void add_carried_updates(std::vector<Tensor>& roots, std::vector<Shared>& targets,
                         const SourceLine& line) {
  const LineScope scope(line, "function");
  const auto find = [&](const std::shared_ptr<SharedState>& state) {
    return std::find_if(targets.begin(), targets.end(),
                        [&](const Shared& target) { return target.state() == state; });
  };
  // By the order in which they were written; an update may depend on values that carry further
  // ones.
  std::map<std::uint64_t, Tensor> carried;
  for (std::vector<Tensor> pending = roots; !pending.empty();) {
    std::vector<Tensor> further;
    for (const Tensor& t : topological_order(pending)) {
      const Node& node = t.node();
      if (!node.op.carries_update || !carried.emplace(node.attributes.identity, t).second) continue;
      further.push_back(node.inputs[2]);
    }
    pending = std::move(further);
  }
  const auto given = static_cast<std::ptrdiff_t>(targets.size());
  for (const auto& [identity, t] : carried) {
    const Node& node = t.node();
    const Shared variable(node.inputs[1]);
    const auto known = find(variable.state());
    if (known == targets.end()) {
      targets.push_back(variable);
      roots.push_back(node.inputs[2]);
      continue;
    }
    if (known - targets.begin() < given) {
      throw ValueError("function: two updates of " + variable.name() +
                       ", one of which comes with a value" + at(node.line) + ", in the function" +
                       at(line));
    }
    // One after the other: this one changes what the one before gives.
    Tensor& value = roots[roots.size() - static_cast<std::size_t>(targets.end() - known)];
    const Tensor before = value;
    value =
        substitute(std::span(&node.inputs[2], 1), [&](const Tensor& read) -> std::optional<Tensor> {
          if (read.node().attributes.state != variable.state()) return std::nullopt;
          return before;
        })[0];
  }
  for (const Tensor& t : topological_order(roots)) {
    const std::shared_ptr<SharedState>& state = t.node().attributes.state;
    if (!state || !state->counts_calls || find(state) != targets.end()) continue;
    targets.emplace_back(t);
    roots.push_back(t + Array::from({std::int64_t{0}, std::int64_t{1}}));
  }
}

// The size variables that are values of inputs, by the identity of the input.
using Values = std::map<std::uint64_t, Dim>;

// The size variables that an input fixes: those of its axes, and the one that its value is.
Dims sizes_fixed_by(const Tensor& input, const Values& values) {
  Dims result = input.shape();
  const auto value = values.find(input.node().attributes.identity);
  if (value != values.end()) result.push_back(value->second);
  return result;
}

void check_reached(const std::vector<Tensor>& roots, const std::vector<Tensor>& inputs,
                   const Values& values, const FunctionOptions& options,
                   std::span<const SizeConstraint> given_sizes, const SourceLine& line) {
  std::set<const Node*> reached;
  std::set<std::uint64_t> sizes;  // size variables that are used and no reached input fixes
  const auto for_each_size = [](const Dims& dims, const auto& visit) {
    for (const Dim& dim : dims) {
      dim.visit_variables([&](const DimAtomRef& atom) { visit(atom->identity); });
    }
  };
  const std::vector<Tensor> order = topological_order(roots);
  visit_sizes(roots, [&](const DimAtomRef& atom) { sizes.insert(atom->identity); });
  // The sizes of a variable that is given are those of what is given for it.
  for (const SizeConstraint& given : given_sizes) {
    bool is_used = false;
    given.left.visit_variables(
        [&](const DimAtomRef& atom) { is_used = is_used || sizes.contains(atom->identity); });
    if (!is_used) continue;
    given.right.visit_variables([&](const DimAtomRef& atom) { sizes.insert(atom->identity); });
  }
  for (const Tensor& t : order) {
    if (!is_input(t)) continue;
    reached.insert(&t.node());
    for_each_size(t.shape(), [&](std::uint64_t identity) { sizes.erase(identity); });
  }
  for (const Tensor& t : order) {
    if (!is_input(t) || role_of(t) == InputRole::variable) continue;
    throw ValueError(
        "function: the outputs depend on " +
        std::string(role_of(t) == InputRole::row ? "a row of " : "the state ") + t.name() +
        " inside the scan" + at(t.line()) +
        ", which has a value in the steps only: what is needed of it, the step returns" + at(line));
  }
  for (const Tensor& input : inputs) {
    // An input may be there for its sizes only.
    bool used = reached.erase(&input.node()) != 0;
    for_each_size(sizes_fixed_by(input, values),
                  [&](std::uint64_t identity) { used |= sizes.count(identity) != 0; });
    if (!used && options.on_unused_input == UnusedInput::error) {
      throw ValueError("function: input " + input.name() +
                       " is not used by any output or update (on_unused_input = ignore allows it)" +
                       at(line));
    }
  }
  for (const Tensor& t : order) {
    if (!reached.count(&t.node())) continue;
    throw ValueError("function: the outputs depend on the variable " + t.name() + at(t.line()) +
                     ", which is neither an input nor given" + at(line));
  }
}

void check_streams(const FunctionOptions& options, const SourceLine& line) {
  if (!options.stream) return;
  const std::string name = options.name.empty() ? "function" : options.name;
  if (options.target.kind == Target::Kind::cpu) {
    throw ValueError(name + ": there is a stream of a GPU, but the target is the CPU" + at(line));
  }
  if (options.own_stream) {
    throw ValueError(name + ": there are both own_stream and stream: calls are in one of them" +
                     at(line));
  }
}

// Null for the CPU.
std::shared_ptr<Device> device_of(const FunctionOptions& options, const SourceLine& line) {
  if (options.target.kind == Target::Kind::cpu) return nullptr;
  try {
    return cuda_device(options.target.device);
  } catch (const DeviceError& error) {
    throw DeviceError((options.name.empty() ? "function" : options.name) + ": " + error.what() +
                      at(line));
  }
}

// Sizes of the inputs: which axis gives which variable its value.
void plan_sizes(FunctionPlan& plan, const Values& values) {
  for (const Tensor& input : plan.inputs) {
    std::vector<AxisRule> rules;
    for (const Dim& dim : input.shape()) {
      AxisRule rule;
      rule.dim = dim;
      if (dim.is_constant()) {
        rule.constant = dim.constant();
      } else if (const DimAtomRef variable = dim.as_variable()) {
        const auto [it, fresh] =
            plan.slots.emplace(variable->identity, static_cast<int>(plan.slots.size()));
        if (fresh) plan.slot_variables.push_back(variable);
        rule.kind = fresh ? AxisRule::Kind::bind : AxisRule::Kind::equal;
        rule.slot = it->second;
      } else {
        rule.kind = AxisRule::Kind::computed;
      }
      rules.push_back(rule);
    }
    plan.rules.push_back(std::move(rules));
    // A count of steps: the value of the input is a size.
    int slot = -1;
    const auto given = values.find(input.node().attributes.identity);
    if (given != values.end()) {
      slot = static_cast<int>(plan.slots.size());
      plan.slots.emplace(given->second.as_variable()->identity, slot);
      plan.slot_variables.push_back(given->second.as_variable());
    }
    plan.value_slots.push_back(slot);
  }
}

// What a call would not know of a size: a variable of it that no input's axis is.
std::string why_unknown(const FunctionPlan& plan, const Dim& dim) {
  std::string why;
  dim.visit_variables([&](const DimAtomRef& unknown) {
    if (!why.empty() || plan.slots.contains(unknown->identity)) return;
    for (const Tensor& input : plan.inputs) {
      for (int axis = 0; axis < input.rank(); ++axis) {
        bool mentions = false;
        input.shape(axis).visit_variables(
            [&](const DimAtomRef& atom) { mentions |= atom->identity == unknown->identity; });
        if (!mentions) continue;
        why = unknown->name + " cannot be worked out of " + input.shape(axis).to_string() +
              ", the size of axis " + std::to_string(axis) + " of " + input.name() +
              "; it must be the size of an axis itself";
        return;
      }
    }
    why = unknown->name + " is not the size of any input's axis";
  });
  return why;
}

// The sizes of an expression that the call must check by themselves: those that may be negative,
// and those that others are divided by. Each once, with the first place it comes from.
class BoundCollector {
 public:
  BoundCollector(FunctionPlan& plan, const Graph& graph) : plan_(plan), graph_(graph) {}

  void collect(std::span<const Tensor> roots) {
    std::vector<std::vector<Tensor>> pending{{roots.begin(), roots.end()}};
    while (!pending.empty()) {
      const std::vector<Tensor> order = topological_order(pending.back());
      pending.pop_back();
      for (const Tensor& tensor : order) {
        const Node& node = tensor.node();
        for (const Dim& dim : node.attributes.dims) collect_divisors(dim, node);
        for (std::size_t axis = 0; axis < node.type.shape.size(); ++axis) {
          const Dim& size = node.type.shape[axis];
          collect_divisors(size, node);
          if (provably_at_least(size, 0)) continue;
          add(plan_.extents, size, 0, node,
              "axis " + std::to_string(axis) + " has a negative size");
        }
        if (node.attributes.body) pending.push_back(node.attributes.body->results);
      }
    }
  }

 private:
  void collect_divisors(const Dim& dim, const Node& node) {
    if (dim.is_constant() || dim.as_variable()) return;
    for (const Dim::Term& term : dim.terms()) {
      for (const DimAtomRef& atom : term.factors) {
        if (atom->operands.empty() || !seen_.insert(atom.get()).second) continue;
        for (const Dim& operand : atom->operands) collect_divisors(operand, node);
        if (atom->kind != DimAtom::Kind::floor_div) continue;
        const Dim& divisor = atom->operands[1];
        if (provably_at_least(divisor, 1)) continue;
        add(plan_.divisors, divisor, 1, node,
            "the size " + atom->operands[0].to_string() + " is divided by " + divisor.to_string());
      }
    }
  }

  void add(std::vector<SizeBound>& bounds, Dim size, std::int64_t least, const Node& node,
           const std::string& what) {
    if (!is_known(size)) size = graph_.unified(size);
    if (!is_known(size)) return;
    for (const SizeBound& bound : bounds) {
      if (bound.size == size) return;
    }
    bounds.push_back({size, least, std::string(node.op.name) + ": " + what + at(node.line)});
  }

  // Whether a call knows it from the inputs.
  bool is_known(const Dim& dim) const {
    bool known = true;
    dim.visit_variables(
        [&](const DimAtomRef& atom) { known = known && plan_.slots.contains(atom->identity); });
    return known;
  }

  FunctionPlan& plan_;
  const Graph& graph_;
  std::set<const DimAtom*> seen_;
};

// Expresses every constraint by the inputs' sizes. Other variables are those of givens, which
// unification has replaced or made the representatives of an input's.
void resolve_sizes(FunctionPlan& plan, const Graph& graph, const Values& values) {
  for (const Tensor& input : plan.inputs) {
    for (const Dim& dim : sizes_fixed_by(input, values)) {
      const DimAtomRef variable = dim.as_variable();
      if (!variable) continue;
      if (const DimAtomRef representative = graph.unified(dim).as_variable()) {
        plan.slots.emplace(representative->identity, plan.slots.at(variable->identity));
      }
    }
  }
  const auto is_bound = [&](const Dim& dim) {
    bool bound = true;
    dim.visit_variables(
        [&](const DimAtomRef& atom) { bound = bound && plan.slots.count(atom->identity) != 0; });
    return bound;
  };
  // Numbers of steps first: what else is wrong follows from them.
  std::vector<SizeConstraint> counts, resolved;
  for (SizeConstraint c : plan.constraints) {
    if (!is_bound(c.left)) c.left = graph.unified(c.left);
    if (!is_bound(c.right)) c.right = graph.unified(c.right);
    if (c.left == c.right) continue;
    for (Dim& value : c.values) {
      if (!is_bound(value)) value = graph.unified(value);
    }
    if (!is_bound(c.left) || !is_bound(c.right)) {
      throw ValueError("function: " + c.message + ": " +
                       why_unknown(plan, is_bound(c.left) ? c.right : c.left) + at(plan.line));
    }
    (c.is_count ? counts : resolved).push_back(std::move(c));
  }
  counts.insert(counts.end(), resolved.begin(), resolved.end());
  plan.constraints = std::move(counts);
  for (Graph::Vertex v : graph.topological_order()) {
    const VertexData& data = graph[v];
    for (const Dims* dims : {&data.type.shape, &data.attributes.dims}) {
      for (const Dim& dim : *dims) {
        if (is_bound(dim)) continue;
        throw ValueError("function: the size " + dim.to_string() + " of " +
                         std::string(data.op->name) + at(data.line) + ": " +
                         why_unknown(plan, dim) + at(plan.line));
      }
    }
  }
}

}  // namespace

FunctionPlan::FunctionPlan(const std::vector<Tensor>& parameters,
                           const std::vector<Tensor>& outputs, const FunctionOptions& options,
                           SourceLine at_line, std::unique_ptr<Graph>& graph)
    : name(options.name.empty() ? "function" : options.name), line(at_line), inputs(parameters) {
  check_inputs(inputs, line);
  for (const Tensor& output : outputs) {
    if (!output) throw ValueError("function: an output is empty" + at(line));
  }
  check_updates(options.updates, line);

  std::vector<Tensor> roots = outputs;
  std::vector<Shared> targets;
  for (const Update& update : options.updates) {
    roots.push_back(ops::met_by(update.value, update.target.dtype()));
    targets.push_back(update.target);
  }
  std::vector<SizeConstraint> given_sizes;
  roots = with_givens(roots, options, line, given_sizes);
  add_carried_updates(roots, targets, line);
  const Values values = sizes_given_by_values(roots);
  check_reached(roots, inputs, values, options, given_sizes, line);
  const std::vector<Tensor> results(roots.begin(),
                                    roots.begin() + static_cast<std::ptrdiff_t>(outputs.size()));
  std::vector<std::pair<Shared, Tensor>> updates;
  for (std::size_t k = 0; k < targets.size(); ++k) {
    updates.emplace_back(targets[k], roots[outputs.size() + k]);
  }
  plan_sizes(*this, values);
  std::ranges::move(constraints_on_counts(roots), std::back_inserter(given_sizes));

  graph = std::make_unique<Graph>(inputs, results, updates, true, given_sizes);
  constraints = graph->constraints;
  resolve_sizes(*this, *graph, values);
  BoundCollector(*this, *graph).collect(roots);
}

std::vector<int> FunctionPlan::slots_of(const std::vector<DimAtomRef>& sizes) const {
  std::vector<int> result;
  for (const DimAtomRef& atom : sizes) {
    if (worker_count().as_variable()->identity == atom->identity) {
      result.push_back(-1);
      continue;
    }
    const auto it = slots.find(atom->identity);
    if (it == slots.end()) {
      throw ValueError("function: " + why_unknown(*this, Dim::from_terms({{1, {atom}}})) +
                       at(line));
    }
    result.push_back(it->second);
  }
  return result;
}

namespace {

Checks checks_of(Check check) {
  if (check == Check::environment) return Checks::from_environment();
  return {.memory = check == Check::memory || check == Check::all,
          .values = check == Check::values || check == Check::all};
}

}  // namespace

WinogradTiles winograd_tiles(Winograd asked) {
  switch (asked) {
    case Winograd::environment:
      break;
    case Winograd::off:
      return {1};
    case Winograd::two:
      return {2};
    case Winograd::four:
      return {4};
  }
  return WinogradTiles::from_environment();
}

static std::unique_ptr<FunctionCore::Parts> make_parts(const std::vector<Tensor>& inputs,
                                                       const std::vector<Tensor>& outputs,
                                                       const FunctionOptions& options,
                                                       const SourceLine& line) {
  const auto start = std::chrono::steady_clock::now();
  check_streams(options, line);
  const std::shared_ptr<Device> device = device_of(options, line);
  std::unique_ptr<Graph> graph;
  auto made = std::make_unique<FunctionCore::Parts>(inputs, outputs, options, line, graph);
  FunctionCore::Parts& parts = *made;
  parts.device = device;
  parts.device_number = options.target.device;
  parts.uploads = options.uploads;
  parts.downloads = options.downloads;
  shapes_to_count(*graph, parts.name);  // those that are known are checked here
  parts.executable = make_executable(
      *graph, identifier(options.name),
      {device,
       options.target.graphs,
       options.target.products,
       options.target.tf32,
       options.own_stream,
       options.stream,
       options.profile,
       {checks_of(options.check), options.contract, detail::winograd_tiles(options.winograd)}},
      parts.program);
  parts.counted = shapes_to_count(*graph, parts.name);
  parts.graph = std::move(graph);
  if (options.profile) parts.profiler = std::make_unique<Profiler>(parts.program);
  parts.size_slots = parts.slots_of(parts.program.sizes);
  for (std::size_t k = 0; k < parts.program.states.size(); ++k) {
    FairLock* const lock = &parts.program.states[k]->lock;
    parts.locks.push_back({lock, parts.program.state_is_updated[k]});
    parts.moving_locks.push_back({lock, true});
  }
  parts.compile_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return made;
}

FunctionCore::FunctionCore(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                           FunctionOptions options, SourceLine line)
    : parts_(on_deep_stack([&] { return make_parts(inputs, outputs, options, line); })) {}

FunctionCore::~FunctionCore() = default;
FunctionCore::Parts::~Parts() { delete spare.load(); }

std::size_t FunctionCore::output_count() const { return parts_->program.outputs.size(); }
const std::string& FunctionCore::name() const { return parts_->name; }
double FunctionCore::compile_seconds() const { return parts_->compile_seconds; }

}  // namespace detail
}  // namespace kroton
