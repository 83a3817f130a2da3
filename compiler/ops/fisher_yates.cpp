// Permutations from random choices.
#include <kroton/random.h>

#include <algorithm>

#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

namespace {

TensorType fisher_yates_type(TypeContext& context) {
  const TensorType& choices = context.input(0);
  if (!is_integer(choices.dtype)) context.fail_type("choices must be integers");
  if (choices.rank() == 0) context.fail_shape("takes choices (..., n)");
  return {DType::i64, choices.shape};
}

// Position i gets what stands at the chosen one, which gets i: by its inside-out form.
void fisher_yates_write(WriteContext& context) {
  const Dims& shape = context.type().shape;
  context.nest(Dims(shape.begin(), shape.end() - 1), [&](const Index& row) {
    context.nest({shape.back()}, [&](const Index& position) {
      const auto index_of = [&](const loop::Expr& place) {
        Index index = row;
        index.push_back(place);
        return index;
      };
      const loop::Expr& here = position[0];
      const loop::Expr choice = loop::cast(context.input(0, index_of(here)), DType::i64);
      const loop::Expr chosen =
          loop::binary(loop::Op::min, loop::binary(loop::Op::max, choice, loop::integer(0)), here);
      context.store(index_of(here), here);
      context.store(index_of(here), context.stored(index_of(chosen)));
      context.store(index_of(chosen), here);
    });
  });
}

void fisher_yates_reference(ReferenceContext& c) {
  const auto n = static_cast<std::size_t>(c.output.shape.back());
  for (std::size_t first = 0; first < c.output.data.size(); first += n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto choice = static_cast<std::int64_t>(c.inputs[0]->data[first + i]);
      const auto chosen = std::clamp<std::int64_t>(choice, 0, static_cast<std::int64_t>(i));
      Number& other = c.output.data[first + static_cast<std::size_t>(chosen)];
      c.output.data[first + i] = other;
      other = static_cast<std::int64_t>(i);
    }
  }
}

std::vector<Sample> fisher_yates_samples() {
  std::vector<Sample> samples;
  for (const DType dtype : ops::dtypes_of(ops::integer)) {
    for (const ops::HostShape& shape :
         {ops::HostShape{0}, {1}, {3}, {17}, {3, 17}, {17, 1}, {0, 3}, {3, 0}, {2, 3, 5}}) {
      samples.push_back({{ops::spread(dtype, shape, -1, 17)},
                         [](std::span<const Tensor> in) { return fisher_yates(in[0]); },
                         false});
    }
  }
  return samples;
}

void draw_fisher_yates(ops::Draw& d) {
  d.call("fisher_yates", fisher_yates, d.operand(ops::integer, 1, 3));
}

}  // namespace

// The permutation, i64, that the choices make along the last axis; integers.   vjp: none
constinit const OpRecord fisher_yates_op = {
    .name = "fisher_yates",
    .kind = OpKind::write,
    .infer = fisher_yates_type,
    .write = fisher_yates_write,
    .reference = fisher_yates_reference,
    .batch = [](std::span<const Tensor> operands, const std::vector<bool>&, const Attributes&,
                const Dim&) { return fisher_yates(operands[0]); },
    .draw = draw_fisher_yates,
    .samples = fisher_yates_samples};

Tensor fisher_yates(const Operand& choices) {
  const LineScope scope(choices.line());
  return ops::apply(fisher_yates_op, {choices.tensor()});
}

}  // namespace kroton
