// vmap against kt::map, which does a row at a time: the same numbers, gradients among them.
#include <doctest/doctest.h>
#include <kroton/custom_gradient.h>
#include <kroton/external.h>
#include <kroton/kroton.h>
#include <kroton/random.h>
#include <kroton/vmap.h>

#include "tests/tools/compiled_tools.h"
#include "tests/tools/error_text.h"
#include "tests/tools/op_tools.h"

using namespace op_test;     // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

using Of = std::function<Tensor(const Tensor&, const Tensor&)>;

void check_same(const ReferenceValue& a, const ReferenceValue& b) {
  CHECK(a.shape == b.shape);
  REQUIRE(a.data.size() == b.data.size());
  for (std::size_t k = 0; k < a.data.size(); ++k) {
    CAPTURE(k);
    CHECK(double(a.data[k]) == doctest::Approx(double(b.data[k])).epsilon(1e-10));
  }
}

void check_same(const Array& got, const Array& want) {
  check_same(from_array(got), from_array(want));
}

int loops_in(const Tensor& root) {
  const std::vector<Tensor> order = topological_order({&root, 1});
  return static_cast<int>(std::count_if(order.begin(), order.end(), [](const Tensor& t) {
    return t.node().op.kind == OpKind::scan;
  }));
}

// f of rows of x and one w, by vmap and by map: values, and gradients of a cost of them. Of known
// sizes and of free ones, of 0, 1 and 4 rows. Both captured and given w.
void check(const Of& f, const std::vector<std::int64_t>& row, const std::vector<std::int64_t>& w) {
  for (const bool free : {false, true}) {
    for (const std::int64_t count : {0, 1, 4}) {
      CAPTURE(free);
      CAPTURE(count);
      const auto dims = [&](const std::vector<std::int64_t>& sizes) {
        Dims result;
        for (const std::int64_t size : sizes) {
          result.push_back(free ? Dim::fresh("n") : Dim(size));
        }
        return result;
      };
      std::vector<std::int64_t> rows = row;
      rows.insert(rows.begin(), count);
      const Tensor x = tensor("x", dims(rows), f64), p = tensor("p", dims(w), f64);
      const Tensor all = vmap(f, {.in_axes = {0, none}})(x, p);
      const Tensor captured = vmap([&](Tensor r) { return f(r, p); })(x);
      const Tensor want = map([&](Tensor r) { return f(r, p); }, {x});
      const auto grads = [&](const Tensor& y) {
        return grad(sum(sin(y)), std::vector<Tensor>{x, p}, {.allow_unused = true});
      };
      const auto g = grads(all), wanted = grads(want);
      const std::vector<Tensor> got{all, captured, g[0], g[1]};
      const std::vector<Tensor> expected{want, want, wanted[0], wanted[1]};
      const ReferenceValue at_x = ops::spread(f64, rows, -1.5, 1.5, 3);
      const ReferenceValue at_p = ops::spread(f64, w, -1.5, 1.5, 4);
      const Bindings at = {{&x.node(), at_x}, {&p.node(), at_p}};
      for (std::size_t k = 0; k < got.size(); ++k) {
        check_same(value_of(got[k], at), value_of(expected[k], at));
      }
      if (!free || count != 4) continue;
      const auto values = function({x, p}, got, {.on_unused_input = UnusedInput::ignore})(
          to_array(at_x), to_array(at_p));
      for (std::size_t k = 0; k < got.size(); ++k) {
        check_same(from_array(values[k]), value_of(expected[k], at));
      }
    }
  }
}

}  // namespace

TEST_CASE("vmap: elementwise work, products, reductions and views") {
  check([](const Tensor& x, const Tensor& w) { return tanh(dot(w, x)); }, {3}, {2, 3});
  check([](const Tensor& x, const Tensor& w) { return softmax(x * w) + max(x); }, {3}, {3});
  check([](const Tensor& x, const Tensor& w) { return dot(x, transpose(w)); }, {2, 3}, {4, 3});
  check([](const Tensor& x, const Tensor& w) { return x * sum(w); }, {}, {2});
  check([](const Tensor& x, const Tensor& w) { return concatenate({x, w, x}); }, {2}, {3});
  check([](const Tensor&, const Tensor& w) { return exp(w); }, {2}, {3});
}

TEST_CASE("vmap: a loop becomes one loop of all rows") {
  const Of loop = [](const Tensor& x, const Tensor& w) {
    return scan([&](Tensor row, Tensor s) { return tanh(dot(w, s) + row); },
                {.sequences = {x}, .outputs_info = {zeros({2}, f64)}});
  };
  check(loop, {5}, {2, 2});
  check([&](const Tensor& x, const Tensor& w) { return loop(x, w)[-1]; }, {5}, {2, 2});
  // One state that changes with the row, one that does not, and one from outside.
  check(
      [](const Tensor& x, const Tensor& w) {
        auto [a, b] =
            scan([&](Tensor row, Tensor s,
                     Tensor t) { return std::pair{s * row + t + x[0], sin(t) + row}; },
                 {.sequences = {w}, .outputs_info = {x[1], zeros({}, f64)}, .go_backwards = true});
        return a + b;
      },
      {2}, {3});
  // What is made of the one that does not alone.
  check(
      [](const Tensor& x, const Tensor& w) {
        auto [a, b] = scan(
            [&](Tensor row, Tensor s, Tensor t) { return std::pair{s * row + x[0], sin(t) + row}; },
            {.sequences = {w}, .outputs_info = {x[1], zeros({}, f64)}});
        return stack({sum(a), sum(exp(b) * w), 2 * b[-1]});
      },
      {2}, {3});
  const Tensor x = tensor("x", {7, 3}, f64);
  const Tensor y = vmap([](Tensor r) {
    return foldl([](Tensor a, Tensor s) { return sin(s + a); }, {r}, zeros({}, f64));
  })(x);
  CHECK(loops_in(y) == 1);
}

TEST_CASE("vmap: a branch on a condition of each row's own takes one of both sides") {
  check([](const Tensor& x, const Tensor& w) { return ifelse(x[0] > 0, x * w, sin(x)); }, {3}, {3});
  check([](const Tensor& x, const Tensor& w) { return ifelse(w[0] > 0, x * w, sin(x)); }, {3}, {3});
}

TEST_CASE("vmap: factorisations take the matrices of all rows") {
  const Of factor = [](const Tensor& x, const Tensor& w) {
    return cholesky(dot(x, transpose(x)) + dot(w, transpose(w)));
  };
  check(factor, {2, 2}, {2, 2});
  check([](const Tensor& x, const Tensor& w) { return solve_triangular(w + 3, x); }, {2}, {2, 2});
}

TEST_CASE("vmap: in vmap, of gradients, Jacobians and Hessians, and in loops") {
  check(
      [](const Tensor& x, const Tensor& w) {
        return vmap([](Tensor a, Tensor b) { return sum(a * b) + a[0]; }, {.in_axes = {0, none}})(
            x, w);
      },
      {3, 2}, {2});
  check(
      [](const Tensor& x, const Tensor& w) {
        return vmap([&](Tensor a) { return vmap([&](Tensor b) { return a * b; })(w); })(x);
      },
      {3}, {2});
  check([](const Tensor& x, const Tensor& w) { return grad(sum(tanh(dot(w, x))), x); }, {3},
        {2, 3});
  check([](const Tensor& x, const Tensor& w) { return jacobian(tanh(dot(w, x)), x); }, {3}, {2, 3});
  check([](const Tensor& x, const Tensor& w) { return hessian(sum(exp(x * w)), x); }, {3}, {3});
  check(
      [](const Tensor& x, const Tensor& w) {
        return scan([&](Tensor row) { return vmap([&](Tensor a) { return sum(a * w); })(row); },
                    {.sequences = {x}});
      },
      {2, 4, 3}, {3});
}

TEST_CASE("vmap: axes in and out") {
  const Tensor x = tensor("x", {3, 4, 2}, f64), y = tensor("y", {5, 4}, f64);
  const auto [a, b] =
      vmap([](Tensor p, Tensor q) { return std::pair{dot(p, transpose(p)), q + sum(p)}; },
           {.in_axes = {1, -1}, .out_axes = {-1, 1}})(x, y);
  CHECK(to_string(a.shape()) == "(3, 3, 4)");
  CHECK(to_string(b.shape()) == "(5, 4)");
  const Array at_x = to_array(ops::spread(f64, {3, 4, 2}, -1, 1, 1));
  const Array at_y = to_array(ops::spread(f64, {5, 4}, -1, 1, 2));
  const Tensor s = transpose(x, {1, 0, 2});
  const Tensor want_a = transpose(matmul(s, transpose(s, {0, 2, 1})), {1, 2, 0});
  const Tensor want_b = y + sum(x, {0, 2});
  const auto values = function({x, y}, {a, want_a, b, want_b})(at_x, at_y);
  check_same(values[0], values[1]);
  check_same(values[2], values[3]);
  const auto list = vmap([](std::span<const Tensor> all) {
    return std::vector<Tensor>{all[0] + all[1] * all[2]};
  })(std::vector<Tensor>{x, x, x});
  CHECK(list.size() == 1);
}

TEST_CASE("vmap: each row draws numbers of its own, which map draws too") {
  RandomStream random(7);
  const Tensor x = tensor("x", {3, 2}, f64);
  const auto noisy = [&](Tensor r) { return r * 0 + random.normal({2}, 0, 1, f64); };
  const Array got = function({x}, vmap(noisy)(x))(Array::zeros({3, 2}, f64));
  const auto numbers = got.data<double>();
  CHECK(numbers[0] != numbers[2]);
  CHECK(numbers[2] != numbers[4]);
}

TEST_CASE("vmap: the sizes of mapped axes agree, at the call where they are free") {
  const Tensor x = vector("x", f64), y = vector("y", f64);
  const auto f = function({x, y}, vmap([](Tensor a, Tensor b) { return a + 0 * b; })(x, y));
  check_same(f(Array::from({1.0, 2.0}), Array::from({3.0, 4.0})), Array::from({1.0, 2.0}));
  CHECK_THROWS_AS(f(Array::from({1.0, 2.0}), Array::from({3.0})), ShapeError);
}

namespace {

std::int32_t nothing(void* const*, const std::int64_t*) { return 0; }

}  // namespace

TEST_CASE("vmap: what cannot take rows, and axes that do not fit, are refused") {
  const Tensor x = tensor("x", {3, 2}, f64), y = tensor("y", {4}, f64), s = scalar("s", f64), e;
  const auto same_one = [](Tensor a) { return a; };
  const auto first = [](Tensor a, Tensor) { return a; };
  const auto message = [](const auto& body) { return message_of<Error>(body); };
  CHECK(contains(message([&] { vmap(same_one)(s); }), "vmap: input 0, s, is f64 (): it has no"));
  CHECK(contains(message([&] { vmap(same_one)(e); }), "vmap: input 0 is an empty Tensor"));
  CHECK(contains(message([&] { vmap(first)(x, y); }),
                 "vmap: the mapped axes differ: input 0, x, is f64 (3, 2), input 1, y, is f64"));
  CHECK(contains(message([&] { vmap(first, {.in_axes = {0}})(x, y); }),
                 "vmap: there are 1 in_axes for 2 inputs"));
  CHECK(contains(message([&] { vmap(first, {.in_axes = {none, none}})(x, y); }),
                 "vmap: no input is mapped"));
  CHECK(contains(message([&] { vmap(same_one, {.in_axes = {2}})(x); }), "no axis 2 to map"));
  CHECK(contains(message([&] { vmap(same_one, {.out_axes = {2}})(x); }), "cannot be axis 2"));
  CHECK(contains(message([&] { vmap(same_one, {.out_axes = {0, 0}})(x); }), "2 out_axes for 1"));
  CHECK(contains(message([&] { vmap(same_one)(x, x); }),
                 "the function takes 1 arguments, it gets 2"));
  CHECK(contains(message([&] { vmap([&](Tensor) { return e; })(x); }), "result 0 of the function"));
  const ExternalOp op(
      {.name = "nothing", .function = nothing, .results = [](std::span<const TensorType> in) {
         return std::vector<TensorType>{in[0]};
       }});
  CHECK(contains(message([&] { vmap([&](Tensor a) { return op({a})[0]; })(x); }), "vmap: call"));
  const Tensor counts = vector("counts", i64);
  const auto doubled = [](Tensor n) {
    return scan([](Tensor a) { return 2 * a; }, {.outputs_info = {ones({})}, .n_steps = n})[-1];
  };
  CHECK(contains(message([&] { vmap(doubled)(counts); }),
                 "vmap: a row of counts is the number of steps of a scan"));
  const auto total = shared(0.0, "total");
  CHECK(contains(
      message([&] { vmap([&](Tensor a) { return with_update(a, total, total + 1); })(x); }),
      "with_update: "));
}
