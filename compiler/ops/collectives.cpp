// Exchanges between devices that run one program.
#include <kroton/collectives.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "compiler/ir/leaf.h"
#include "compiler/ops/collective.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;
using Kind = Collective::Kind;

namespace {

constexpr int most_devices = 256;

const std::shared_ptr<const Callee>& callee_of(Kind kind) {
  static const auto& callees = *new std::array<std::shared_ptr<const Callee>, 5>([] {
    std::array<std::shared_ptr<const Callee>, 5> made;
    for (std::size_t k = 0; k < made.size(); ++k) {
      const std::string name = name_of(static_cast<Kind>(k));
      made[k] = std::make_shared<const Callee>(Callee{
          .options = {.name = "kroton_collective", .function = kroton_collective, .results = {}},
          .operation = name,
          .errors = {name + ": it is one of a group of %size devices, which "
                            "parallel_function makes functions for",
                     name + ": the devices of the group do not come to it together"},
          .in_f64 = kroton_collective_f64});
    }
    return made;
  }());
  return callees[static_cast<std::size_t>(kind)];
}

// What is given and got, as a vector.
Tensor flat(const Tensor& x) { return reshape(x, {element_count(x.shape())}); }

Tensor exchanged_elements(const Collective& what, const Tensor& x, const Dim& count) {
  const std::vector<std::int64_t> sizes = sizes_of(what);
  const Tensor description =
      make_constant(Array::zeros(Shape(std::span<const std::int64_t>(sizes)), boolean),
                    LineScope::current().value_or(SourceLine{}));
  return make_call(collective_op, callee_of(what.kind), {description, x},
                   {{what.dtype, {count}}, {DType::i64, {2}}})[0];
}

// By the product, the largest or the smallest: as if one device had the values of all.
Tensor combination_vjp(const Collective& what, const Tensor& x, const Tensor& g) {
  const Dim count = x.shape(0);
  Collective gather = what;
  gather.kind = Kind::all_gather;
  const Tensor all = reshape(exchanged_elements(gather, x, what.size * count), {what.size, count});
  const Tensor one = what.combine == Collective::Combine::prod  ? prod(all, 0)
                     : what.combine == Collective::Combine::max ? max(all, 0)
                                                                : min(all, 0);
  Collective scatter = what;
  scatter.kind = Kind::reduce_scatter;
  scatter.combine = Collective::Combine::sum;
  return exchanged_elements(scatter, flat(one.node().op.vjp(one, g)[0]), count);
}

Tensors collective_vjp(const Tensor& call, std::span<const std::pair<Tensor, Tensor>> results,
                       const std::vector<bool>& /*wanted*/) {
  Tensors cotangents(2);
  const Collective what = ops::exchange_of(call.node());
  const Tensor& x = call.node().inputs[1];
  for (const auto& [result, g] : results) {
    if (result.node().attributes.integers[0] != 0 || !g || !is_float(what.dtype)) continue;
    Collective back = what;
    back.combine = Collective::Combine::sum;
    switch (what.kind) {
      case Kind::all_reduce:
        if (what.combine != Collective::Combine::sum) {
          cotangents[1] = combination_vjp(what, x, g);
          continue;
        }
        break;
      case Kind::reduce_scatter:
        back.kind = Kind::all_gather;
        break;
      case Kind::all_gather:
        back.kind = Kind::reduce_scatter;
        break;
      case Kind::broadcast:
        back.kind = Kind::reduce;
        break;
      case Kind::reduce:
        back.kind = Kind::broadcast;
        break;
    }
    cotangents[1] = exchanged_elements(back, g, x.shape(0));
  }
  return cotangents;
}

Tensor mean_over(const Tensor& x, int size) {
  return ops::exchanged({.dtype = x.dtype(), .size = size}, x, x.shape()) * (1.0 / size);
}

// The value alone, or the mean; the cotangent the other way round.
Tensor replicated_by(const Tensor& x, int size, bool joins) {
  Attributes attributes;
  attributes.integers = {size, joins ? 1 : 0};
  return ops::apply(replicate_op, {x}, std::move(attributes));
}
bool joins(const Attributes& attributes) { return attributes.integers[1] != 0; }
int size_in(const Attributes& attributes) { return static_cast<int>(attributes.integers[0]); }

// A group of one, in which every exchange gives what it gets.
const DeviceGroup& alone() {
  static const auto& group = *new DeviceGroup({cpu()});
  return group;
}

std::vector<Sample> collective_samples() {
  std::vector<Sample> samples;
  const std::vector<ops::HostShape> shapes = {{0}, {1}, {3}, {17}, {2, 3}};
  for (const Combine how :
       {Combine::sum, Combine::mean, Combine::prod, Combine::max, Combine::min}) {
    ops::add_samples(samples, shapes,
                     [=](std::span<const Tensor> in) { return all_reduce(in[0], alone(), how); });
  }
  ops::add_samples(samples, {{}},
                   [](std::span<const Tensor> in) { return all_reduce(in[0], alone()); });
  ops::add_samples(samples, shapes,
                   [](std::span<const Tensor> in) { return reduce_scatter(in[0], alone()); });
  ops::add_samples(samples, shapes,
                   [](std::span<const Tensor> in) { return all_gather(square(in[0]), alone()); });
  ops::add_samples(samples, shapes, [](std::span<const Tensor> in) {
    return broadcast(in[0], alone()) + reduce_to_root(in[0], alone());
  });
  for (const DType dtype : {DType::i32, DType::i64}) {
    samples.push_back({{ops::spread(dtype, {3}, -9, 9)},
                       [](std::span<const Tensor> in) { return all_reduce(in[0], alone()); },
                       false});
  }
  return samples;
}

std::vector<Sample> replicate_samples() {
  std::vector<Sample> samples;
  ops::add_samples(samples, {{}, {0}, {1}, {3}, {17}, {2, 3}},
                   [](std::span<const Tensor> in) { return replicated(in[0], alone()); });
  ops::add_samples(samples, {{}, {3}},
                   [](std::span<const Tensor> in) { return replicated_by(in[0], 1, true); });
  return samples;
}

}  // namespace

// One exchange of a group's devices: CallView. Operand 0 says which by its sizes, operand 1 has one
// axis.   vjp: the exchange that is its transpose
constinit const OpRecord collective_op = {
    .name = "collective",
    .kind = OpKind::call,
    .arity = -1,
    .cost = 100,
    .observable = true,
    .infer = [](TypeContext&) -> TensorType { return {DType::boolean, {0}}; },
    .vjp_results = collective_vjp,
    .reference = call_reference,
    .samples = collective_samples};

// y = x, alike on all devices of a group of integers[0].   vjp: dx = the mean over them of dy.
// Where integers[1] is set: y = the mean over them of x, and dx = dy, which is alike on all.
constinit const OpRecord replicate_op = {
    .name = "replicate",
    .kind = OpKind::composite,
    .cost = 0,
    .infer = ops::same_type<ops::Accepts::floating>,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      const Attributes& a = y.node().attributes;
      return {joins(a) ? g : mean_over(g, size_in(a))};
    },
    .jvp =
        [](const Tensor& y, std::span<const Tensor> tangents) {
          const Attributes& a = y.node().attributes;
          return joins(a) ? mean_over(tangents[0], size_in(a)) : tangents[0];
        },
    .expand =
        [](std::span<const Tensor> inputs, const Attributes& a) {
          return joins(a) ? mean_over(inputs[0], size_in(a)) : inputs[0];
        },
    .reference = [](ReferenceContext& c) { c.output.data = c.inputs[0]->data; },
    .batch = ops::batch_elementwise<replicate_op>,
    .samples = replicate_samples};

namespace ops {

Tensor exchanged(const Collective& what, const Tensor& x, const Dims& shape) {
  return reshape(exchanged_elements(what, flat(x), element_count(shape)), shape);
}

bool is_exchange(const Node& call) { return &call.op == &collective_op; }

Collective exchange_of(const Node& call) {
  std::array<std::int64_t, collective_rank> sizes{};
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    sizes[k] = call.inputs[0].shape(static_cast<int>(k)).constant();
  }
  return collective_of(sizes.data());
}

bool is_result_of_exchange(const Node& node) {
  return &node.op == &call_result_op && node.attributes.integers[0] == 0 &&
         is_exchange(node.inputs[0].node());
}

Tensor exchange_of_rows(const Tensor& result, const Tensor& x) {
  const Collective what = exchange_of(result.node().inputs[0].node());
  const Dim rows = x.shape(0), given = x.shape(1), got = result.shape(0);
  switch (what.kind) {
    case Kind::all_reduce:
    case Kind::broadcast:
    case Kind::reduce:
      break;
    case Kind::all_gather: {
      // Devices give all their rows one after the other: each row's are put together.
      const Tensor all = exchanged(what, x, {what.size, rows, given});
      return reshape(transpose(all, {1, 0, 2}), {rows, got});
    }
    case Kind::reduce_scatter: {
      const Tensor parts = transpose(reshape(x, {rows, what.size, got}), {1, 0, 2});
      return exchanged(what, parts, {rows, got});
    }
  }
  return exchanged(what, x, x.shape());
}

int replicas_of(const Node& replicate) { return size_in(replicate.attributes); }

}  // namespace ops

namespace {

// x as an operand of an exchange.
Tensor given(const Operand& x) {
  const Tensor tensor = x.tensor();
  if (tensor.dtype() == DType::boolean) {
    ops::fail_type(collective_op, {tensor}, "expected numbers, cast() makes booleans such");
  }
  return tensor;
}

void check_root(const char* name, int root, const DeviceGroup& group) {
  if (root >= 0 && root < group.size()) return;
  ops::fail_value(name, "the root is device " + std::to_string(root) + ", the group has " +
                            std::to_string(group.size()));
}

Collective::Combine combination(const Tensor& x, Combine how) {
  switch (how) {
    case Combine::mean:
      if (!is_float(x.dtype())) {
        ops::fail_type(collective_op, {x}, "the mean over devices is of floating numbers");
      }
      [[fallthrough]];
    case Combine::sum:
      return Collective::Combine::sum;
    case Combine::prod:
      return Collective::Combine::prod;
    case Combine::max:
      return Collective::Combine::max;
    case Combine::min:
      return Collective::Combine::min;
  }
  return Collective::Combine::sum;
}

Tensor averaged(const Tensor& total, Combine how, int size) {
  return how == Combine::mean ? total * (1.0 / size) : total;
}

}  // namespace

DeviceGroup::DeviceGroup(std::vector<Target> devices, const Location& at)
    : devices_(std::move(devices)) {
  const LineScope scope(LineScope::current().value_or(SourceLine{at.file_name(), at.line()}));
  if (devices_.empty()) ops::fail_value("DeviceGroup", "there is no device in it");
  if (devices_.size() > most_devices) {
    ops::fail_value("DeviceGroup", std::to_string(devices_.size()) + " devices, expected at most " +
                                       std::to_string(most_devices));
  }
  for (auto device = devices_.begin(); device != devices_.end(); ++device) {
    if (device->kind != devices_[0].kind) {
      ops::fail_value("DeviceGroup", "expected devices of one kind, got " + to_string(devices_[0]) +
                                         " and " + to_string(*device));
    }
    if (device->kind == Target::Kind::cuda &&
        std::find(devices_.begin(), device, *device) != device) {
      ops::fail_value("DeviceGroup", to_string(*device) + " is in it twice");
    }
  }
}

DeviceGroup devices(const Target& first, int count, const std::source_location& at) {
  const LineScope scope(LineScope::current().value_or(SourceLine{at.file_name(), at.line()}));
  if (count < 1) {
    ops::fail_value("devices", "expected at least 1, got " + std::to_string(count));
  }
  std::vector<Target> all(static_cast<std::size_t>(count), first);
  for (int k = 0; k < count; ++k) all[static_cast<std::size_t>(k)].device = first.device + k;
  return DeviceGroup(std::move(all), at);
}

Tensor all_reduce(const Operand& x, const DeviceGroup& group, Combine how) {
  const LineScope scope(x.line());
  const Tensor tensor = given(x);
  const Collective what{
      .combine = combination(tensor, how), .dtype = tensor.dtype(), .size = group.size()};
  return averaged(ops::exchanged(what, tensor, tensor.shape()), how, group.size());
}

std::vector<Tensor> all_reduce(const std::vector<Tensor>& xs, const DeviceGroup& group,
                               Combine how) {
  std::vector<Tensor> result;
  for (const Tensor& x : xs) result.push_back(all_reduce(x, group, how));
  return result;
}

Tensor reduce_scatter(const Operand& x, const DeviceGroup& group, Combine how) {
  const LineScope scope(x.line());
  const Tensor tensor = given(x);
  if (how != Combine::sum && how != Combine::mean) {
    ops::fail_value("reduce_scatter", "expected the sum or the mean");
  }
  const auto combine = combination(tensor, how);
  if (tensor.rank() == 0) {
    ops::fail_shape(collective_op, {tensor}, "reduce_scatter: a scalar has no rows");
  }
  const int size = group.size();
  const Dim rows = tensor.shape(0);
  const Dim part = floor_div(rows, size);
  const std::string do_not_divide = ", which " + std::to_string(size) + " devices do not divide";
  if (rows.is_constant() && rows.constant() % size != 0) {
    ops::fail_shape(collective_op, {tensor},
                    "reduce_scatter: axis 0 has " + rows.to_string() + " rows" + do_not_divide);
  }
  const Tensor divided = ops::size_check(tensor, "reduce_scatter", {tensor}, size * part, rows,
                                         "axis 0 has %1 rows" + do_not_divide);
  Dims shape = tensor.shape();
  shape[0] = part;
  Dims whole = shape;
  whole.insert(whole.begin(), size);
  const Collective what{
      .kind = Kind::reduce_scatter, .combine = combine, .dtype = tensor.dtype(), .size = size};
  return averaged(ops::exchanged(what, reshape(divided, whole), shape), how, size);
}

Tensor all_gather(const Operand& x, const DeviceGroup& group) {
  const LineScope scope(x.line());
  const Tensor tensor = given(x);
  Dims shape = tensor.shape();
  if (shape.empty()) shape.emplace_back(1);
  shape[0] = group.size() * shape[0];
  return ops::exchanged({.kind = Kind::all_gather, .dtype = tensor.dtype(), .size = group.size()},
                        tensor, shape);
}

Tensor broadcast(const Operand& x, const DeviceGroup& group, int root) {
  const LineScope scope(x.line());
  const Tensor tensor = given(x);
  check_root("broadcast", root, group);
  return ops::exchanged(
      {.kind = Kind::broadcast, .dtype = tensor.dtype(), .size = group.size(), .root = root},
      tensor, tensor.shape());
}

Tensor reduce_to_root(const Operand& x, const DeviceGroup& group, int root) {
  const LineScope scope(x.line());
  const Tensor tensor = given(x);
  check_root("reduce_to_root", root, group);
  return ops::exchanged(
      {.kind = Kind::reduce, .dtype = tensor.dtype(), .size = group.size(), .root = root}, tensor,
      tensor.shape());
}

Tensor replicated(const Operand& x, const DeviceGroup& group) {
  const LineScope scope(x.line());
  return replicated_by(x.tensor(), group.size(), false);
}

namespace {

// Costs that are scalars (or, where `sums_arrays`, also counts) of all devices' rows.
Tensors of_all_rows(const char* name, const Tensors& values, const Tensor& x,
                    const DeviceGroup& group, bool sums_arrays) {
  Tensors roots;
  for (const Tensor& value : values) {
    const Tensor root = roots.emplace_back(Operand(value).tensor());
    if (root.rank() != 0 && sums_arrays) continue;
    if (!is_float(root.dtype())) {
      ops::fail_type(replicate_op, {root}, std::string(name) + ": expected a floating cost");
    }
    if (root.rank() != 0) {
      ops::fail_shape(replicate_op, {root}, std::string(name) + ": expected a scalar cost");
    }
  }
  const Tensor rows_of = Operand(x).tensor();
  if (rows_of.rank() == 0) {
    ops::fail_shape(replicate_op, {rows_of}, std::string(name) + ": a scalar has no rows");
  }
  const int size = group.size();
  // This device's share of the rows, times the number of devices. Counts are exact in f64.
  const Tensor rows = cast(size_of_dim(rows_of.shape(0)), f64);
  const Tensor weight = size * rows / all_reduce(rows, group);
  const auto joined = [&](const Tensor& value) {
    return replicated_by(value * cast(weight, value.dtype()), size, true);
  };
  std::unordered_map<const Node*, Tensor> now;
  for (const Tensor& t : topological_order(roots)) {
    const Node& node = t.node();
    Tensor& value = now[&node];
    if (&node.op == &shared_op) {
      const bool is_parameter = is_float(t.dtype()) && !node.attributes.state->counts_calls;
      value = is_parameter ? replicated_by(t, size, false) : t;
      continue;
    }
    Tensors inputs;
    bool same = true;
    for (const Tensor& input : node.inputs) {
      inputs.push_back(now.at(&input.node()));
      same = same && &inputs.back().node() == &input.node();
    }
    if (node.op.carries_update) {
      inputs[1] = node.inputs[1];
      if (is_float(inputs[2].dtype())) inputs[2] = joined(inputs[2]);
      same = false;
    }
    value = same ? t : make_node(node.op, std::move(inputs), node.attributes, node.line);
  }
  Tensors results;
  for (const Tensor& root : roots) {
    const Tensor& value = now.at(&root.node());
    results.push_back(root.rank() == 0 ? joined(value) : all_reduce(value, group));
  }
  return results;
}

}  // namespace

Tensor data_parallel_loss(const Tensor& loss, const Tensor& x, const DeviceGroup& group,
                          const std::source_location& at) {
  const LineScope scope(LineScope::current().value_or(SourceLine{at.file_name(), at.line()}));
  return of_all_rows("data_parallel_loss", {loss}, x, group, false)[0];
}

std::vector<Tensor> data_parallel_measures(const std::vector<Tensor>& values, const Tensor& x,
                                           const DeviceGroup& group,
                                           const std::source_location& at) {
  const LineScope scope(LineScope::current().value_or(SourceLine{at.file_name(), at.line()}));
  return of_all_rows("data_parallel_measures", values, x, group, true);
}

}  // namespace kroton
