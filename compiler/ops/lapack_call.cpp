#include "compiler/ops/lapack_call.h"

#include <kroton/linalg.h>

#include "compiler/ops/matrices.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

// One call; its results follow from attributes.callee, and its errors too. dims, integers:
// CallView.
constinit const OpRecord lapack_op = {
    .name = "lapack",
    .kind = OpKind::call,
    .arity = -1,
    .cost = 100,
    .observable = true,
    .infer = [](TypeContext&) -> TensorType { return {DType::boolean, {0}}; },
    .vjp_results = differentiate_call,
    .reference = call_reference,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto distinct = [](const Tensor& x) {
            const Tensor row = cast(ops::row_of(x), x.dtype());
            return where(eq(ops::row_of(x), ops::column_of(x)), 9 * row, x);
          };
          ops::add_samples(
              samples, {{0, 0}, {1, 1}, {3, 3}, {2, 3, 3}}, [=](std::span<const Tensor> in) {
                return eigvalsh(distinct(0.5 * (in[0] + ops::transposed_matrices(in[0]))));
              });
          ops::add_samples(samples, {{3, 3}, {2, 3, 4}}, [=](std::span<const Tensor> in) {
            return svdvals(distinct(in[0]) + 1);
          });
          ops::add_samples(samples, {{4, 3}, {2, 3, 3}}, [=](std::span<const Tensor> in) {
            return square(qr(distinct(in[0]) + 1).q);
          });
          // With more than 12 rows or columns it is LAPACK's where sizes are known, too.
          ops::add_samples(samples, {{2, 13}, {13, 2}}, [=](std::span<const Tensor> in) {
            return svdvals(distinct(in[0]) + 1);
          });
          ops::add_samples(samples, {{13, 2}}, [=](std::span<const Tensor> in) {
            return square(qr(distinct(in[0]) + 1).q);
          });
          ops::add_samples(
              samples, {{17, 17}}, [](std::span<const Tensor> in) { return svdvals(in[0]); },
              false);
          return samples;
        }};

namespace ops {

Routine::Routine(const std::string& name, const std::string& function, ExternalFunction f32,
                 ExternalFunction f64, const std::string& no_solution, Gradient gradient) {
  const std::vector<std::string> errors = {
      no_solution, name + ": a size does not fit the 32-bit integers of LAPACK",
      name + ": no memory for what LAPACK works with"};
  for (const auto& [dtype, of_dtype] : {std::pair(DType::f32, f32), std::pair(DType::f64, f64)}) {
    callees_[dtype] = std::make_shared<const Callee>(
        Callee{.options = {.name = function + "_" + std::string(name_of(dtype)),
                           .function = of_dtype,
                           .results = {},
                           .gradient = gradient},
               .operation = name,
               .errors = errors,
               .takes_matrices = true,
               .in_f64 = f64,
               .libraries = "the libraries kroton_aot_lapack, LAPACK and BLAS"});
  }
}

std::vector<Tensor> Routine::call(const std::vector<Tensor>& operands,
                                  const std::vector<TensorType>& results) const {
  const std::shared_ptr<const Callee>& callee = callees_.at(operands[0].dtype());
  std::vector<TensorType> types = results;
  types.push_back({DType::i64, {2}});  // which matrix an error means, and where in it
  std::vector<Tensor> all = make_call(lapack_op, callee, operands, types);
  all.pop_back();
  return all;
}

}  // namespace ops

}  // namespace kroton
