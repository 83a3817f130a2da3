// Jacobians: products with the Jacobian, and of vectors with it, for all unit vectors at once.
#include <kroton/derivatives.h>
#include <kroton/error.h>
#include <kroton/ops.h>

#include <algorithm>

#include "compiler/autodiff/checks.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/scan/batch.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

using Tensors = std::vector<Tensor>;

Tensor identity_of(const Dim& count, DType dtype) {
  const Dims square{count, count};
  return cast(eq(iota(square, 0), iota(square, 1)), dtype);
}

// Whether x is that identity, its axes in whatever order, among others of size 1.
bool is_identity(Tensor x, const Tensor& identity) {
  const Dim& count = identity.shape(0);
  while (!same(x, identity)) {
    const Node& node = x.node();
    if (&node.op != &reshape_op && &node.op != &transpose_op) return false;
    const auto is_count = [&](const Dim& size) { return size == count; };
    const auto is_one = [](const Dim& size) { return size.is_constant(1); };
    const auto counts = std::count_if(x.shape().begin(), x.shape().end(), is_count);
    const auto ones = std::count_if(x.shape().begin(), x.shape().end(), is_one);
    if (counts != 2 || counts + ones != x.rank()) return false;
    const Tensor operand = node.inputs[0];
    x = operand;
  }
  return true;
}

// Products with the identity are the other factor.
Tensors without_unit_products(const Tensors& values, const Tensor& identity) {
  return substitute(values, [&](const Tensor& t) -> std::optional<Tensor> {
    const Node& node = t.node();
    if (&node.op != &dot_op || t.rank() != 2) return std::nullopt;
    const DotView view(node.attributes);
    for (const std::size_t k : {std::size_t{0}, std::size_t{1}}) {
      if (!is_identity(node.inputs[k], identity)) continue;
      const Tensor& other = node.inputs[1 - k];
      const bool turned = k == 0 ? view.transposes_b : view.transposes_a;
      const LineScope scope(node.line, "");
      return turned ? transpose(other) : other;
    }
    return std::nullopt;
  });
}

// The expressions for all unit vectors in place of `seed`, (their number, shape...) each.
Tensors for_unit_vectors(const Tensors& expressions, const Tensor& seed) {
  const Dim count = element_count(seed.shape());
  const Tensor identity = identity_of(count, seed.dtype());
  const Tensor seeds = reshape(identity, ops::with_rows(count, seed.shape()));
  const BatchedAll all = batch_all(expressions, {{&seed.node(), seeds}}, count);
  Tensors values;
  if (!all.refused) {
    for (const Batched& one : all.values) {
      values.push_back(one.mapped ? one.value
                                  : ops::with_rows({&one.value, 1}, {false}, count).front());
    }
    return without_unit_products(values, identity);
  }
  ScanDefinition loop;
  loop.count = count;
  loop.line = seed.line();
  loop.rows = {{seed, seeds}};
  std::vector<ScanResult> wanted;
  for (const Tensor& expression : expressions) wanted.push_back({expression, Collect::stack});
  return make_scan(loop, wanted);
}

Dims joined(Dims first, const Dims& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Tensor by_tangents(const Tensor& y, const Tensor& x) {
  if (x.rank() == 0) return cast(jvp(y, x, ones_like(x)), x.dtype());
  const Tensor seed = make_input("tangent", x.type(), x.line());
  const Tensor columns = for_unit_vectors({jvp(y, x, seed)}, seed).front();
  const Tensor behind = cast(ops::move_axis(columns, 0, y.rank()), x.dtype());
  return x.rank() == 1 ? behind : reshape(behind, joined(y.shape(), x.shape()));
}

// The parts that y is joined of along its first axis, if they have little in common: unit vectors
// of all of y would be zero in most of what each part is computed by.
Tensors separate_parts(const Tensor& y, const Tensors& wrt) {
  const Node& node = y.node();
  if (&node.op != &concatenate_op || node.attributes.axes[0] != 0 || node.inputs.size() < 2) {
    return {};
  }
  const bool is_wrt =
      std::any_of(wrt.begin(), wrt.end(), [&](const Tensor& w) { return same(w, y); });
  if (is_wrt) return {};
  std::size_t total = 0;
  for (const Tensor& part : node.inputs) total += topological_order({&part, 1}).size();
  const std::size_t together = topological_order({&y, 1}).size();
  return 2 * total <= (node.inputs.size() + 1) * together ? node.inputs : Tensors();
}

Tensors by_cotangents(const Tensor& y, const Tensors& wrt) {
  if (y.rank() == 0) return vjp({y}, wrt, {ones_like(y)});
  Tensors rows;
  if (element_count(y.shape()).is_constant(1)) {
    rows = vjp({y}, wrt, {ones_like(y)});
  } else if (const Tensors parts = separate_parts(y, wrt); !parts.empty()) {
    std::vector<Tensors> of_wrt(wrt.size());
    for (const Tensor& part : parts) {
      const Tensors of_part = by_cotangents(part, wrt);
      for (std::size_t k = 0; k < wrt.size(); ++k) of_wrt[k].push_back(of_part[k]);
    }
    for (const Tensors& all : of_wrt) rows.push_back(concatenate(all));
    return rows;
  } else {
    const Tensor seed = make_input("cotangent", y.type(), y.line());
    rows = for_unit_vectors(vjp({y}, wrt, {seed}), seed);
    if (y.rank() == 1) return rows;
  }
  for (std::size_t k = 0; k < rows.size(); ++k) {
    rows[k] = reshape(rows[k], joined(y.shape(), wrt[k].shape()));
  }
  return rows;
}

// A size that is not known counts as large.
bool is_smaller(const Dims& a, const Dims& b) {
  const Dim x = element_count(a), y = element_count(b);
  if (!x.is_constant()) return false;
  return !y.is_constant() || x.constant() < y.constant();
}

Tensors jacobians(const char* op, const Tensor& y, const Tensors& wrt,
                  const JacobianOptions& options, SourceLine line) {
  check_wrt(op, wrt, line);
  check_given(op, "y", y, line);
  if (!is_float(y.dtype())) {
    throw TypeError(std::string(op) + ": expected a floating y: " + described(y) + place(line));
  }
  if (!options.allow_unused) check_used(op, "y", {&y, 1}, wrt, line);
  const LineScope scope(LineScope::current().value_or(line), op);
  Tensors result(wrt.size()), others;
  std::vector<std::size_t> positions;
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    const bool forward =
        options.mode == DerivativeMode::forward ||
        (options.mode == DerivativeMode::automatic && is_smaller(wrt[k].shape(), y.shape()));
    if (forward) {
      result[k] = by_tangents(y, wrt[k]);
    } else {
      others.push_back(wrt[k]);
      positions.push_back(k);
    }
  }
  if (others.empty()) return result;
  const Tensors rows = by_cotangents(y, others);
  for (std::size_t k = 0; k < positions.size(); ++k) result[positions[k]] = rows[k];
  return result;
}

// The gradient, whose derivatives come next, and what is asked of the arguments.
Tensors first_derivatives(const char* op, const Tensor& cost, const Tensors& wrt, SourceLine line) {
  check_given(op, "the cost", cost, line);
  check_cost(op, cost, line);
  check_wrt(op, wrt, line);
  check_used(op, "the cost", {&cost, 1}, wrt, line);
  return grad(Operand(cost), wrt);
}

Tensor tensor_of(const Operand& operand) {
  return operand.is_empty() ? Tensor() : operand.tensor();
}

}  // namespace

std::vector<Tensor> jacobian(const Operand& y, const std::vector<Tensor>& wrt,
                             const JacobianOptions& options) {
  const Tensor of = tensor_of(y);
  return on_deep_stack([&] { return jacobians("jacobian", of, wrt, options, y.line()); });
}

Tensor jacobian(const Operand& y, const Tensor& wrt, const JacobianOptions& options) {
  return jacobian(y, std::vector<Tensor>{wrt}, options).front();
}

std::vector<std::vector<Tensor>> hessian(const Operand& cost, const std::vector<Tensor>& wrt) {
  const SourceLine line = cost.line();
  const Tensor of = tensor_of(cost);
  return on_deep_stack([&] {
    const Tensors first = first_derivatives("hessian", of, wrt, line);
    std::vector<Tensors> blocks;
    for (const Tensor& gradient : first) {
      blocks.push_back(jacobians("hessian", gradient, wrt,
                                 {.mode = DerivativeMode::forward, .allow_unused = true}, line));
    }
    return blocks;
  });
}

Tensor hessian(const Operand& cost, const Tensor& wrt) {
  return hessian(cost, std::vector<Tensor>{wrt}).front().front();
}

std::vector<Tensor> hvp(const Operand& cost, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& vectors, const std::source_location&) {
  const SourceLine line = cost.line();
  const Tensor of = tensor_of(cost);
  return on_deep_stack([&] {
    const Tensors first = first_derivatives("hvp", of, wrt, line);
    if (wrt.size() != vectors.size()) {
      throw ValueError("hvp: expected one vector for each of " + std::to_string(wrt.size()) +
                       " wrt, got " + std::to_string(vectors.size()) + place(line));
    }
    Tensors met;
    for (std::size_t k = 0; k < wrt.size(); ++k) {
      met.push_back(met_by_type("hvp", "vector", wrt[k], vectors[k], line));
    }
    return jvp(first, wrt, met);
  });
}

Tensor hvp(const Operand& cost, const Tensor& wrt, const Operand& vector) {
  check_wrt("hvp", {wrt}, cost.line());
  const Tensor given = vector.is_empty() ? Tensor() : vector.tensor(wrt.dtype());
  return hvp(cost, std::vector<Tensor>{wrt}, std::vector<Tensor>{given}).front();
}

}  // namespace kroton
