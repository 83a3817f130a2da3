// Factorisations and solvers: calls of LAPACK.
#include <map>

#include "compiler/ops/call.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "runtime/lapack.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

const TensorType no_value{DType::boolean, {0}};

// What these functions give besides: which matrix an error means, and where in it.
const TensorType failure{DType::i64, {2}};

const char* const libraries = "the libraries kroton_aot_lapack, LAPACK and BLAS";

std::string too_large(const std::string& op) {
  return op + ": a size does not fit the 32-bit integers of LAPACK";
}

Tensor transposed_matrices(const Tensor& x) { return swapaxes(x, -1, -2); }

Tensor row_of(const Tensor& x) { return iota(x.shape(), x.rank() - 2); }
Tensor column_of(const Tensor& x) { return iota(x.shape(), x.rank() - 1); }

// The elements of the lower or upper triangle, the diagonal in it, and zeros elsewhere.
Tensor triangle(const Tensor& x, bool lower) {
  return where(lower ? ge(row_of(x), column_of(x)) : le(row_of(x), column_of(x)), x, 0);
}

// The last axis as the size of square matrices, a constant if one is known.
Dim square_size(const TensorType& type) {
  const Dim& last = type.shape.back();
  return last.is_constant() ? last : type.shape[type.shape.size() - 2];
}

void require_square(TypeContext& context) {
  const TensorType& type = context.input(0);
  if (type.rank() < 2) context.fail_shape("takes matrices, of two axes or more");
  context.equal(type.shape[type.shape.size() - 2], type.shape.back(),
                "the matrices are not square");
}

TensorType cholesky_type(TypeContext& context) {
  require_square(context);
  return no_value;
}

// (S + S^T) / 2 of S = L^-T P L^-1, where P is the lower triangle of L^T G with half its diagonal
// and G the cotangent of L.
Tensors cholesky_gradient(std::span<const Tensor> /*inputs*/, std::span<const Tensor> results,
                          std::span<const Tensor> cotangents) {
  const Tensor& l = results[0];
  const Tensor product = matmul(transposed_matrices(l), cotangents[0]);
  const Tensor on_diagonal = eq(row_of(product), column_of(product));
  const Tensor p = where(on_diagonal, 0.5 * product, triangle(product, true));
  const Tensor left = solve_triangular(l, p, true);
  const Tensor s = transposed_matrices(solve_triangular(l, transposed_matrices(left), true));
  return {0.5 * (s + transposed_matrices(s))};
}

TensorType solve_triangular_type(TypeContext& context) {
  const TensorType& l = context.input(0);
  const TensorType& b = context.input(1);
  if (l.dtype != b.dtype) context.fail_type("dtypes differ");
  require_square(context);
  if (b.rank() != l.rank()) context.fail_shape("ranks differ");
  for (int axis = 0; axis + 1 < l.rank(); ++axis) {
    const auto k = static_cast<std::size_t>(axis);
    context.equal(l.shape[k], b.shape[k], ops::sizes_differ(axis, l.rank()));
  }
  return no_value;
}

// Of the two sides of L X = b or L^T X = b, for L lower or upper.
template <bool lower, bool transposed>
Tensors solve_gradient(std::span<const Tensor> inputs, std::span<const Tensor> results,
                       std::span<const Tensor> cotangents) {
  const Tensor& x = results[0];
  const Tensor of_b = solve_triangular(inputs[0], cotangents[0], !transposed, lower);
  const Tensor of_l =
      transposed ? matmul(x, transposed_matrices(of_b)) : matmul(of_b, transposed_matrices(x));
  return {-triangle(of_l, lower), of_b};
}

using Gradient = Tensors (*)(std::span<const Tensor>, std::span<const Tensor>,
                             std::span<const Tensor>);

// The functions of one form, by dtype: nodes of equal calls share the callee.
struct Routine {
  Routine(const char* name, ExternalFunction f32, ExternalFunction f64, Gradient gradient,
          const std::vector<std::string>& errors) {
    for (const auto& [dtype, function] : {std::pair(DType::f32, f32), std::pair(DType::f64, f64)}) {
      callees[dtype] = std::make_shared<const Callee>(
          Callee{.options = {.name = name + ("_" + std::string(name_of(dtype))),
                             .function = function,
                             .results = {},
                             .gradient = gradient},
                 .errors = errors,
                 .takes_matrices = true,
                 .in_f64 = f64,
                 .libraries = libraries});
    }
  }
  std::map<DType, std::shared_ptr<const Callee>> callees;

  // The first result of the call.
  Tensor call(const OpRecord& op, const Tensors& operands, Dims shape) const {
    const DType dtype = operands[0].dtype();
    const auto found = callees.find(dtype);
    if (found == callees.end()) ops::fail_type(op, operands, "takes f32 and f64 only");
    return make_call(op, found->second, operands, {{dtype, std::move(shape)}, failure})[0];
  }
};

const Routine& cholesky_routine() {
  static const Routine routine("kroton_cholesky", kroton_cholesky_f32, kroton_cholesky_f64,
                               cholesky_gradient,
                               {"cholesky: matrix %index is not positive definite: its leading "
                                "minor of order %size is not above 0",
                                too_large("cholesky")});
  return routine;
}

const Routine& solve_routine(bool lower, bool transposed) {
  static const std::vector<std::string> errors = {
      "solve_triangular: matrix %index is singular: element %size of its diagonal is 0",
      too_large("solve_triangular")};
  static const Routine routines[] = {
      {"kroton_solve_upper", kroton_solve_upper_f32, kroton_solve_upper_f64,
       solve_gradient<false, false>, errors},
      {"kroton_solve_upper_transposed", kroton_solve_upper_transposed_f32,
       kroton_solve_upper_transposed_f64, solve_gradient<false, true>, errors},
      {"kroton_solve_lower", kroton_solve_lower_f32, kroton_solve_lower_f64,
       solve_gradient<true, false>, errors},
      {"kroton_solve_lower_transposed", kroton_solve_lower_transposed_f32,
       kroton_solve_lower_transposed_f64, solve_gradient<true, true>, errors}};
  return routines[(lower ? 2 : 0) + (transposed ? 1 : 0)];
}

// ---- Samples

Tensor identity_like(const Tensor& x) { return cast(eq(row_of(x), column_of(x)), x.dtype()); }

std::vector<Sample> cholesky_samples() {
  const auto apply = [](std::span<const Tensor> in) {
    const Tensor square = matmul(in[0], transposed_matrices(in[0]));
    return cholesky(square + 2 * identity_like(square));
  };
  std::vector<Sample> samples;
  ops::add_samples(samples, {{0, 0}, {1, 1}, {3, 3}, {2, 3, 3}, {0, 3, 3}, {2, 1, 2, 2}}, apply);
  ops::add_samples(samples, {{17, 17}}, apply, false);
  return samples;
}

std::vector<Sample> solve_triangular_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ops::HostShape& l, const ops::HostShape& b, bool differentiable) {
    for (const DType dtype : ops::dtypes_of(ops::floating)) {
      for (const bool lower : {true, false}) {
        for (const bool transposed : {true, false}) {
          samples.push_back({{ops::spread(dtype, l, -2, 2, 1), ops::spread(dtype, b, -2, 2, 2)},
                             [=](std::span<const Tensor> in) {
                               return solve_triangular(in[0] + 4 * identity_like(in[0]), in[1],
                                                       transposed, lower);
                             },
                             differentiable});
        }
      }
    }
  };
  add({0, 0}, {0, 3}, true);
  add({1, 1}, {1, 1}, true);
  add({3, 3}, {3, 2}, true);
  add({2, 2, 2}, {2, 2, 3}, true);
  add({17, 17}, {17, 3}, false);
  return samples;
}

}  // namespace

// L (..., n, n) of a (..., n, n).
constinit const OpRecord cholesky_op = {.name = "cholesky",
                                        .kind = OpKind::call,
                                        .cost = 100,
                                        .observable = true,
                                        .infer = cholesky_type,
                                        .vjp_results = differentiate_call,
                                        .reference = call_reference,
                                        .samples = cholesky_samples};

// X (..., n, k) of L (..., n, n) and B (..., n, k); the callee says which triangle and side.
constinit const OpRecord solve_triangular_op = {.name = "solve_triangular",
                                                .kind = OpKind::call,
                                                .arity = 2,
                                                .cost = 100,
                                                .observable = true,
                                                .infer = solve_triangular_type,
                                                .vjp_results = differentiate_call,
                                                .reference = call_reference,
                                                .samples = solve_triangular_samples};

Tensor cholesky(const Operand& a) {
  const LineScope scope(a.line());
  const Tensor x = a.tensor();
  Dims shape = x.shape();
  if (shape.size() >= 2) shape.end()[-1] = shape.end()[-2] = square_size(x.type());
  return cholesky_routine().call(cholesky_op, {x}, std::move(shape));
}

Tensor solve_triangular(const Operand& l, const Operand& b, bool transposed, bool lower) {
  const LineScope scope(l.line());
  const Tensors operands = ops::promoted(l, b);
  const Tensor& matrices = operands[0];
  const Tensor& right = operands[1];
  if (matrices.rank() == 2 && right.rank() == 1) {
    return squeeze(solve_triangular(matrices, expand_dims(right, 1), transposed, lower), 1);
  }
  return solve_routine(lower, transposed).call(solve_triangular_op, operands, right.shape());
}

}  // namespace kroton
