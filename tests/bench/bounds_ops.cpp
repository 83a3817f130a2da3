// The operations of bounds.cpp, with the arithmetic that each needs for an element, in the units of
// a multiply-add's two: an elementary function is a polynomial, a division takes the unit as long
// as nine multiply-adds.
#include "bounds.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

template <T (*f)(const kt::Operand&)>
T one(Operands& in) {
  return f(in.x());
}

template <T (*f)(const kt::Operand&, const kt::Operand&)>
T two(Operands& in) {
  return f(in.x(), in.y());
}

using Reduction = T (*)(const kt::Operand&, const kt::Axes&, kt::KeepDims);

template <Reduction f>
T first_axis(Operands& in) {
  return f(in.x(), 0, false);
}
template <Reduction f>
T last_axis(Operands& in) {
  return f(in.x(), -1, false);
}
template <Reduction f>
T all_axes(Operands& in) {
  return f(in.x(), {}, false);
}

kt::Slice whole() { return kt::slice(kt::end, kt::end); }

// x(slice) along the last axis.
T along_last(const T& x, const kt::Slice& slice) {
  switch (x.rank()) {
    case 1:
      return x(slice);
    case 2:
      return x(whole(), slice);
    case 3:
      return x(whole(), whole(), slice);
    default:
      return x(whole(), whole(), whole(), slice);
  }
}

T pairs_of_columns(const T& x) {
  return along_last(x, kt::slice(1, kt::end)) - along_last(x, kt::slice(0, -1));
}

std::int64_t rows(const Operands& in) { return in.shape()[0]; }
std::int64_t columns(const Operands& in) { return in.shape()[in.rank() - 1]; }

void add_elementwise(std::vector<Operation>& list) {
  list.insert(list.end(),
              {{"neg", 1, one<kt::neg>},
               {"abs", 1, one<kt::abs>},
               {"sign", 2, one<kt::sign>},
               {"relu", 1, one<kt::relu>},
               {"floor", 1, one<kt::floor>},
               {"sqrt", 18, one<kt::sqrt>},
               {"reciprocal", 18, one<kt::reciprocal>},
               {"exp", 20, one<kt::exp>, 1, 4, true},
               {"expm1", 26, one<kt::expm1>},
               {"log", 26, one<kt::log>},
               {"log1p", 28, one<kt::log1p>},
               {"tanh", 30, one<kt::tanh>},
               {"sigmoid", 40, one<kt::sigmoid>},
               {"softplus", 46, one<kt::softplus>},
               {"erf", 40, one<kt::erf>},
               {"sin", 30, one<kt::sin>},
               {"atan", 40, one<kt::atan>},
               {"asin", 40, one<kt::asin>},
               {"cast_f64", 1, [](Operands& in) { return kt::cast(in.x(), kt::f64); }},
               {"cast_i32", 1, [](Operands& in) { return kt::cast(in.x(), kt::i32); }},
               {"cast_boolean", 1, [](Operands& in) { return kt::cast(in.x(), kt::boolean); }},
               {"clip", 2, [](Operands& in) { return kt::clip(in.x(), 0.25, 0.5); }},
               {"add", 1, two<kt::add>, 1, 4, true},
               {"mul", 1, two<kt::mul>, 1, 4, true},
               {"div", 18, two<kt::div>},
               {"floor_div", 30, two<kt::floor_div>},
               {"mod", 30, two<kt::mod>},
               {"maximum", 1, two<kt::maximum>, 1, 4, true},
               {"pow", 60, two<kt::pow>},
               {"atan2", 60, two<kt::atan2>},
               {"lt", 1, [](Operands& in) { return T(in.x() < in.y()); }},
               {"where", 2, [](Operands& in) { return kt::where(in.x() < in.y(), in.y(), in.x()); },
                1, 4, true}});
}

void add_reductions(std::vector<Operation>& list) {
  list.insert(
      list.end(),
      {{"sum_first", 1, first_axis<kt::sum>, 1, 4, true},
       {"sum_last", 1, last_axis<kt::sum>, 2, 4, true},
       {"sum_all", 1, all_axes<kt::sum>, 2, 4, true},
       {"prod_first", 1, first_axis<kt::prod>},
       {"prod_last", 1, last_axis<kt::prod>, 2},
       {"max_first", 1, first_axis<kt::max>, 1, 4, true},
       {"max_last", 1, last_axis<kt::max>, 2, 4, true},
       {"max_all", 1, all_axes<kt::max>, 2},
       {"mean_last", 1, last_axis<kt::mean>, 2},
       {"var_first", 4, first_axis<kt::var>},
       {"var_last", 4, last_axis<kt::var>, 2},
       {"var_all", 4, all_axes<kt::var>, 2},
       {"logsumexp_first", 22, first_axis<kt::logsumexp>},
       {"logsumexp_last", 22, last_axis<kt::logsumexp>, 2},
       {"argmax_first", 2, [](Operands& in) { return kt::argmax(in.x(), 0); }, 1, 4, true},
       {"argmax_last", 2, [](Operands& in) { return kt::argmax(in.x(), -1); }, 2, 4, true},
       {"argmax_all", 2, [](Operands& in) { return kt::argmax(in.x()); }, 2},
       {"any_last", 1, [](Operands& in) { return kt::any(in.x() > 2, -1); }},
       {"sum_middle", 1, [](Operands& in) { return kt::sum(in.x(), 1); }, 3},
       {"sum_outer", 1, [](Operands& in) { return kt::sum(in.x(), {0, 2, 3}); }, 4},
       {"sum_of_products_first", 2, [](Operands& in) { return kt::sum(in.x() * in.y(), 0); }},
       {"sum_of_products_last", 2, [](Operands& in) { return kt::sum(in.x() * in.y(), -1); }},
       {"cumsum_first", 1,
        [](Operands& in) {
          in.waits(rows(in));
          return kt::cumsum(in.x(), 0);
        }},
       {"cumsum_last", 1,
        [](Operands& in) {
          in.waits(columns(in));
          return kt::cumsum(in.x(), -1);
        },
        2},
       {"softmax_first", 40, [](Operands& in) { return kt::softmax(in.x(), 0); }},
       {"softmax_last", 40, [](Operands& in) { return kt::softmax(in.x(), -1); }, 2},
       {"log_softmax_last", 26, [](Operands& in) { return kt::log_softmax(in.x()); }, 2}});
}

void add_views(std::vector<Operation>& list) {
  list.insert(
      list.end(),
      {{"transpose", 0, [](Operands& in) { return kt::transpose(in.x()); }, 2, 4, true},
       {"swap_first", 0, [](Operands& in) { return kt::swapaxes(in.x(), 0, 1); }, 3},
       {"swap_last", 0, [](Operands& in) { return kt::swapaxes(in.x(), -1, -2); }, 3},
       {"flatten", 0, [](Operands& in) { return kt::flatten(in.x()); }, 2},
       {"reverse_first", 0, [](Operands& in) { return in.x()(kt::slice(kt::end, kt::end, -1)); }},
       {"reverse_last", 0,
        [](Operands& in) { return along_last(in.x(), kt::slice(kt::end, kt::end, -1)); }, 2},
       {"second_first", 0, [](Operands& in) { return in.x()(kt::slice(0, kt::end, 2)); }},
       {"second_last", 0, [](Operands& in) { return along_last(in.x(), kt::slice(0, kt::end, 2)); },
        2},
       {"part_last", 0, [](Operands& in) { return along_last(in.x(), kt::slice(1, -1)); }},
       {"differences_first", 1,
        [](Operands& in) { return in.x()(kt::slice(1, kt::end)) - in.x()(kt::slice(0, -1)); }},
       {"differences_last", 1, [](Operands& in) { return pairs_of_columns(in.x()); }, 2},
       {"gradient_of_part", 1,
        [](Operands& in) {
          const auto part = along_last(in.x(), kt::slice(1, -1));
          return kt::grad(kt::sum(kt::square(part)), in.x());
        }},
       {"pad", 0,
        [](Operands& in) {
          return kt::pad(in.x(), std::vector<std::pair<kt::Dim, kt::Dim>>(in.rank(), {1, 1}));
        }},
       {"concatenate_first", 0, [](Operands& in) { return kt::concatenate({in.x(), in.y()}, 0); }},
       {"concatenate_last", 0, [](Operands& in) { return kt::concatenate({in.x(), in.y()}, -1); },
        2},
       {"stack_first", 0, [](Operands& in) { return kt::stack({in.x(), in.y()}, 0); }},
       {"stack_last", 0, [](Operands& in) { return kt::stack({in.x(), in.y()}, -1); }, 1, 3},
       {"outer_sum", 1,
        [](Operands& in) {
          // Of a column and a row: what is broadcast is both.
          return in.more({rows(in), 1}) + in.more({columns(in)}) + in.x();
        },
        2, 2}});
}

void add_gathers(std::vector<Operation>& list) {
  list.insert(list.end(),
              {{"take_first", 0,
                [](Operands& in) {
                  const std::int64_t count = rows(in) / 2;
                  in.reads(static_cast<double>(in.shape().element_count()) / 2 * 4 +
                           8 * static_cast<double>(count));
                  return kt::take(in.x(), in.indices(count, rows(in)), 0);
                }},
               {"take_last", 0,
                [](Operands& in) {
                  return kt::take(in.x(), in.indices(columns(in) / 2 + 1, columns(in)), -1);
                },
                2},
               {"scatter_add_first", 1,
                [](Operands& in) {
                  const auto at = in.indices(rows(in), rows(in) / 2);
                  kt::Dims shape;
                  for (std::size_t k = 0; k < in.rank(); ++k) shape.push_back(in.shape()[k]);
                  shape[0] = rows(in) / 2;
                  return kt::scatter_add(in.x(), at, shape, 0);
                }},
               {"pick", 0,
                [](Operands& in) {
                  // A line of memory of each row, or the whole row where it is shorter.
                  in.reads(static_cast<double>(rows(in)) *
                           (8 + std::min(64.0, 4 * static_cast<double>(columns(in)))));
                  return kt::pick(in.x(), in.indices(rows(in), columns(in)));
                },
                2, 2},
               {"one_hot_sum", 1,
                [](Operands& in) {
                  return in.x() + kt::one_hot(in.indices(rows(in), columns(in)), columns(in));
                },
                2, 2},
               {"cross_entropy", 26,
                [](Operands& in) {
                  return kt::softmax_cross_entropy(in.x(), in.indices(rows(in), columns(in)));
                },
                2, 2}});
}

// Products of x, whatever its shape, with a thin operand.
void add_products(std::vector<Operation>& list) {
  list.insert(
      list.end(),
      {{"dot_vector", 2, [](Operands& in) { return kt::dot(in.x(), in.more({columns(in)})); }, 2, 2,
        true},
       {"vector_dot", 2, [](Operands& in) { return kt::dot(in.more({rows(in)}), in.x()); }, 2, 2,
        true},
       {"inner_product", 2, [](Operands& in) { return kt::dot(in.x(), in.y()); }, 1, 1, true},
       {"dot_nn", 128, [](Operands& in) { return kt::dot(in.x(), in.more({columns(in), 64})); }, 2,
        2, true},
       {"dot_nt", 128,
        [](Operands& in) { return kt::dot(in.x(), kt::transpose(in.more({64, columns(in)}))); }, 2,
        2, true},
       {"dot_tn", 128,
        [](Operands& in) { return kt::dot(kt::transpose(in.x()), in.more({rows(in), 64})); }, 2, 2,
        true},
       {"dot_8", 16, [](Operands& in) { return kt::dot(in.x(), in.more({columns(in), 8})); }, 2, 2},
       {"dot_bias_relu", 129,
        [](Operands& in) {
          return kt::relu(kt::dot(in.x(), in.more({columns(in), 64})) + in.more({64}));
        },
        2, 2},
       {"matmul", 2,
        [](Operands& in) {
          const double width = static_cast<double>(columns(in));
          in.multiplies(static_cast<double>(in.shape().element_count()) * width);
          return kt::matmul(in.x(), in.y());
        },
        4, 4, true}});
}

}  // namespace

std::vector<Operation> operations() {
  std::vector<Operation> list;
  add_elementwise(list);
  add_reductions(list);
  add_views(list);
  add_gathers(list);
  add_products(list);
  return list;
}

std::vector<Layout> layouts(bool quick) {
  const std::int64_t part = quick ? 4 : 1, side = quick ? 1024 : 2048;
  std::vector<Layout> list = {{"vector", {4'000'000 / part}},
                              {"square", {side, side}},
                              {"tall", {1'000'000 / part, 8}},
                              {"rows_of_10_free", {400'000 / part, 10}},
                              {"tiny", {16, 16}},
                              {"rank4", {32 / part, 64, 28, 28}},
                              {"transposed", {side, side}, View::transposed},
                              // From here on in f32 only.
                              {"square_free", {side, side}},
                              {"rows_of_3", {1'000'000 / part, 3}},
                              {"wide", {8, 1'000'000 / part}},
                              {"odd", {1001, 1999 / part}},
                              {"second_rows", {side / 2, side}, View::second_rows},
                              {"second_columns", {side, side / 2}, View::second_columns},
                              {"inner", {side - 2, side - 2}, View::inner},
                              {"with_row", {side, side}, View::whole, Second::row},
                              {"with_column", {side, side}, View::whole, Second::column},
                              {"with_transposed", {side, side}, View::whole, Second::transposed}};
  for (std::size_t k = 0; k < list.size(); ++k) {
    list[k].has_f32_only = k >= 7;
    list[k].is_free = list[k].name.ends_with("_free");
  }
  return list;
}

}  // namespace bench
