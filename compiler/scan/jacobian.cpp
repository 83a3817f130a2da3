// Jacobians: products with the Jacobian, and of vectors with it, for all unit vectors at once.
#include <kroton/derivatives.h>
#include <kroton/error.h>
#include <kroton/ops.h>

#include "compiler/autodiff/checks.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/rules.h"
#include "compiler/scan/batch.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

using Tensors = std::vector<Tensor>;

// The unit vectors of tensors of that type: (their number, shape...).
Tensor unit_vectors(const TensorType& type) {
  const Dim count = element_count(type.shape);
  const Dims square{count, count};
  const Tensor eye = cast(eq(iota(square, 0), iota(square, 1)), type.dtype);
  return reshape(eye, ops::with_rows(count, type.shape));
}

// The expressions for all unit vectors in place of `seed`, (their number, shape...) each.
Tensors for_unit_vectors(const Tensors& expressions, const Tensor& seed) {
  const Dim count = element_count(seed.shape());
  const Tensor seeds = unit_vectors(seed.type());
  const BatchedAll all = batch_all(expressions, {{&seed.node(), seeds}}, count);
  Tensors values;
  if (!all.refused) {
    for (const Batched& one : all.values) {
      values.push_back(one.mapped ? one.value
                                  : ops::with_rows({&one.value, 1}, {false}, count).front());
    }
    return values;
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
  if (x.rank() == 0) return jvp(y, x, ones_like(x));
  const Tensor seed = make_input("tangent", x.type(), x.line());
  const Tensor columns = for_unit_vectors({jvp(y, x, seed)}, seed).front();
  const Tensor behind = ops::move_axis(columns, 0, y.rank());
  return x.rank() == 1 ? behind : reshape(behind, joined(y.shape(), x.shape()));
}

Tensors by_cotangents(const Tensor& y, const Tensors& wrt) {
  if (y.rank() == 0) return vjp({y}, wrt, {ones_like(y)});
  const Tensor seed = make_input("cotangent", y.type(), y.line());
  Tensors rows = for_unit_vectors(vjp({y}, wrt, {seed}), seed);
  for (std::size_t k = 0; k < rows.size() && y.rank() > 1; ++k) {
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
