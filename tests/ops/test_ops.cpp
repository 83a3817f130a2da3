// Every op record: complete, its samples run, its gradients agree with finite differences.
#include <doctest/doctest.h>
#include <kroton/grad.h>
#include <kroton/index.h>
#include <kroton/variables.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "compiler/autodiff/sweep.h"
#include "tests/tools/op_tools.h"
#include "tests/tools/places.h"

using namespace op_test;  // NOLINT: tests

namespace {

bool uses(const Tensor& output, const OpRecord& op) {
  const std::vector<Tensor> order = topological_order(std::span(&output, 1));
  return std::any_of(order.begin(), order.end(),
                     [&](const Tensor& tensor) { return &tensor.node().op == &op; });
}

std::vector<std::pair<Tensor, Array>> point_of(const Case& c) {
  std::vector<std::pair<Tensor, Array>> point;
  for (const Tensor& input : c.inputs) {
    point.emplace_back(input, to_array(c.bindings.at(&input.node())));
  }
  return point;
}

std::vector<Tensor> floating(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) {
    if (is_float(tensor.dtype())) {
      result.push_back(tensor);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("every op record is complete") {
  std::set<std::string_view> names;
  for (const OpRecord* op : all_ops()) {
    CAPTURE(op->name);
    CHECK(names.insert(op->name).second);
    CHECK(&op_named(op->name) == op);
    CHECK(bool(op->infer));
    CHECK(bool(op->reference));
    REQUIRE(bool(op->samples));
    CHECK(!op->samples().empty());
    CHECK((!op->has_points() || op->at != nullptr));
    // A leaf that is one number has an expression too.
    CHECK((op->at == nullptr || op->has_points() || op->kind == OpKind::leaf));
    CHECK((op->write != nullptr) == (op->kind == OpKind::write));
    CHECK((op->roles != nullptr) == (op->kind == OpKind::contraction));
    CHECK((op->factors != nullptr) == (op->kind == OpKind::contraction));
    CHECK((op->expand != nullptr) == (op->kind == OpKind::composite));
    CHECK((op->reduction != Reduction::absent) == (op->kind == OpKind::reduce));
    CHECK((!op->is_view || op->has_points()));
  }
  CHECK(names.size() > 60);
  CHECK_THROWS_AS(op_named("no such op"), InternalError);
}

TEST_CASE("every op record is in the list of all ops") {
  std::size_t count = 0;
  for (const auto& file :
       std::filesystem::recursive_directory_iterator(places::source_dir() + "/compiler")) {
    std::ifstream text(file.path());
    for (std::string line; std::getline(text, line);) {
      count += line.starts_with("constinit const OpRecord ") ? 1 : 0;
    }
  }
  CHECK(count == all_ops().size());
}

ReferenceValue value_of(const Sample& sample) {
  const Case c = make_case(sample);
  return op_test::value_of(c.output, c.bindings);
}

// The value at x + z is that at x and that at z together, where z, for the operands from `first` to
// `last`, holds the numbers of x backwards and negated but for the first; other operands stay.
void check_additive(const Sample& x, std::size_t first, std::size_t last) {
  Sample z = x, both = x;
  for (std::size_t k = first; k <= last; ++k) {
    std::vector<Number>& data = z.inputs[k].data;
    std::reverse(data.begin(), data.end());
    for (std::size_t i = 1; i < data.size(); ++i) data[i] = -data[i];
    for (std::size_t i = 0; i < data.size(); ++i) both.inputs[k].data[i] += data[i];
  }
  const ReferenceValue at_x = value_of(x), at_z = value_of(z), at_both = value_of(both);
  for (std::size_t i = 0; i < at_both.data.size(); ++i) {
    const double sum = static_cast<double>(at_x.data[i]) + static_cast<double>(at_z.data[i]);
    CHECK(std::abs(static_cast<double>(at_both.data[i]) - sum) <= 1e-9);
  }
}

TEST_CASE("ops that say that they are linear are") {
  for (const OpRecord* op : all_ops()) {
    if (op->linear == Linear::no) continue;
    CAPTURE(op->name);
    int checked = 0;
    for (const Sample& sample : op->samples()) {
      const Case plain = make_case(sample);
      const Node& node = plain.output.node();
      const auto is_input = [](const Tensor& operand) {
        return &operand.node().op == &input_op && operand.dtype() == DType::f64;
      };
      const auto inputs = std::ranges::count_if(node.inputs, is_input);
      const auto patterns = std::ranges::count_if(
          node.inputs, [](const Tensor& operand) { return &operand.node().op == &constant_op; });
      const bool alone =
          &node.op == op && inputs + patterns == static_cast<std::ptrdiff_t>(node.inputs.size());
      if (!alone || static_cast<std::size_t>(inputs) != sample.inputs.size()) continue;
      ++checked;
      const std::size_t last = sample.inputs.size() - 1;
      if (op->linear == Linear::jointly) {
        check_additive(sample, 0, last);
      } else {
        for (std::size_t k = 0; k <= last; ++k) check_additive(sample, k, k);
      }
    }
    CHECK(checked > 0);
  }
}

TEST_CASE("every op's samples run, with known and with free sizes") {
  for (const OpRecord* op : all_ops()) {
    CAPTURE(op->name);
    bool used = false;
    int number = -1;
    for (const Sample& sample : op->samples()) {
      ++number;
      CAPTURE(number);
      const Case known = make_case(sample);
      used = used || uses(known.output, *op);
      const ReferenceValue value = value_of(known.output, known.bindings);
      if (op->kind == OpKind::leaf) {
        continue;
      }
      const Case free = make_case(sample, true);
      const ReferenceValue again = value_of(free.output, free.bindings);
      CHECK(again.shape == value.shape);
      CHECK(again.dtype == value.dtype);
      CHECK(std::equal(value.data.begin(), value.data.end(), again.data.begin(), again.data.end(),
                       equal));
    }
    CHECK(used);
  }
}

TEST_CASE("every op is sampled at sizes 0, 1, 3 and 17") {
  const std::set<std::int64_t> wanted = {0, 1, 3, 17};
  for (const OpRecord* op : all_ops()) {
    if (op->kind == OpKind::leaf) {
      continue;
    }
    CAPTURE(op->name);
    std::set<std::int64_t> sizes;
    // An op that only ever gives one number, and takes nothing, has no sizes.
    bool has_axes = op->arity != 0;
    for (const Sample& sample : op->samples()) {
      const Case c = make_case(sample);
      for (const Tensor& tensor : topological_order(std::span(&c.output, 1))) {
        has_axes = has_axes || (&tensor.node().op == op && tensor.rank() > 0);
        for (const Dim& size : tensor.shape()) {
          sizes.insert(size.constant());
        }
      }
    }
    const bool is_of_all = std::includes(sizes.begin(), sizes.end(), wanted.begin(), wanted.end());
    CHECK((is_of_all || !has_axes));
  }
}

TEST_CASE("every composite's composition has the value of its reference") {
  int count = 0;
  for (const OpRecord* op : all_ops()) {
    if (op->kind != OpKind::composite) {
      continue;
    }
    CAPTURE(op->name);
    for (const Sample& sample : op->samples()) {
      const Case c = make_case(sample, true);
      const Node& node = c.output.node();
      REQUIRE(&node.op == op);
      const Tensor expanded = op->expand(node.inputs, node.attributes);
      CHECK(expanded.type() == c.output.type());
      const ReferenceValue direct = value_of(c.output, c.bindings);
      const ReferenceValue composed = value_of(expanded, c.bindings);
      REQUIRE(direct.data.size() == composed.data.size());
      for (std::size_t i = 0; i < direct.data.size(); ++i) {
        CHECK(composed.data[i] == doctest::Approx(direct.data[i]).epsilon(1e-12));
      }
      ++count;
    }
  }
  CHECK(count > 30);
}

TEST_CASE("gradients of every op agree with finite differences") {
  for (const OpRecord* op : all_ops()) {
    // The rule of one is an error, that of the other not the derivative of its value.
    if (op->name == "no_gradient" || op->name == "gamma_deviate") continue;
    CAPTURE(op->name);
    int checked = 0;
    int number = -1;
    for (const Sample& sample : op->samples()) {
      ++number;
      CAPTURE(number);
      const Case c = make_case(sample);
      if (!sample.differentiable || !is_float(c.output.dtype())) {
        continue;
      }
      const ReferenceValue value = value_of(c.output, c.bindings);
      const Tensor cost = cost_of(c.output, value, 3);
      CHECK_NOTHROW(verify_grad(cost, point_of(c)));
      // grad simplifies first; the rules of the expression as it is written must agree with it.
      const std::vector<Tensor> wrt = floating(c.inputs);
      const std::vector<Tensor> simplified = grad(cost, wrt, {.allow_unused = true});
      const std::vector<Tensor> written = sweep({{cost, ones_like(cost)}}, wrt);
      for (std::size_t k = 0; k < wrt.size(); ++k) {
        if (!written[k]) continue;
        const ReferenceValue expected = value_of(simplified[k], c.bindings);
        const ReferenceValue got = value_of(written[k], c.bindings);
        CHECK(got.shape == expected.shape);
        REQUIRE(got.data.size() == expected.data.size());
        for (std::size_t i = 0; i < got.data.size(); ++i) {
          CHECK(got.data[i] == doctest::Approx(expected.data[i]).epsilon(1e-6));
        }
      }
      ++checked;
    }
    CHECK((op->vjp == nullptr || checked > 0));
  }
}

TEST_CASE("where extremes are equal, maximum gives the gradient to its first operand, max shares") {
  const Tensor x = tensor("x", {3}, f64);
  const Tensor y = tensor("y", {3}, f64);
  const Bindings at = {{&x.node(), ops::values(f64, {3}, {2, 1, 2})},
                       {&y.node(), ops::values(f64, {3}, {2, 0, 5})}};
  const auto [dx, dy] = grad(sum(maximum(x, y)), x, y);
  CHECK(value_of(dx, at).data == std::vector<Number>{1, 1, 0});
  CHECK(value_of(dy, at).data == std::vector<Number>{0, 0, 1});
  CHECK(value_of(grad(max(x), x), at).data == std::vector<Number>{0.5, 0, 0.5});
  const Tensor z = tensor("z", {3}, f64);
  CHECK(value_of(grad(sum(relu(z)), z), {{&z.node(), ops::values(f64, {3}, {-1, 0, 1})}}).data ==
        std::vector<Number>{0, 0, 1});
}

TEST_CASE("the type of results: promotion and literals") {
  const Tensor b = tensor("b", {3}, boolean);
  const Tensor i = tensor("i", {3}, i32);
  const Tensor l = tensor("l", {3}, i64);
  const Tensor f = tensor("f", {3}, f32);
  const Tensor d = tensor("d", {3}, f64);
  CHECK((b * f).dtype() == f32);
  CHECK((b + i).dtype() == i32);
  CHECK((i + l).dtype() == i64);
  CHECK((l + f).dtype() == f32);
  CHECK((f + d).dtype() == f64);
  CHECK((0.1 * f).dtype() == f32);
  CHECK((f + 1).dtype() == f32);
  CHECK((i + 1).dtype() == i32);
  CHECK((b + 1).dtype() == i64);
  CHECK((1 - d).dtype() == f64);
  CHECK((i / 2).dtype() == f32);
  CHECK((l / l).dtype() == f32);
  CHECK((l / d).dtype() == f64);
  CHECK((1 / i).dtype() == f32);
  CHECK((i < l).dtype() == boolean);
  CHECK(where(b, f, 0).dtype() == f32);
  CHECK(sum(b).dtype() == i64);
  CHECK(sum(i).dtype() == i64);
  CHECK(sum(f).dtype() == f32);
  CHECK(mean(i).dtype() == f32);
  CHECK(mean(d).dtype() == f64);
  CHECK(argmax(f).dtype() == i64);
  CHECK(zeros({2}).dtype() == f32);
  CHECK(full_like(i, 7).dtype() == i32);
  CHECK(concatenate({i, f}).dtype() == f32);
}

TEST_CASE("shapes with free sizes") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 784});
  const Tensor v = vector("v");
  CHECK((x + zeros({784})).shape() == Dims{n, 784});
  CHECK((x * zeros({n, 1})).shape() == Dims{n, 784});
  CHECK(reshape(x, {-1, 28, 28}).shape() == Dims{n, 28, 28});
  CHECK(reshape(x, {-1}).shape() == Dims{n * 784});
  CHECK(flatten(tensor("y", {n, 2, 3}), 1).shape() == Dims{n, 6});
  CHECK(dot(x, zeros({784, 10})).shape() == Dims{n, 10});
  CHECK(sum(x, 0).shape() == Dims{784});
  CHECK(sum(x, -1, true).shape() == Dims{n, 1});
  CHECK(concatenate({x, x}).shape() == Dims{2 * n, 784});
  CHECK(x[0].shape() == Dims{784});
  CHECK(x(all, -1).shape() == Dims{n});
  CHECK(x(all, slice(0, end, 2)).shape() == Dims{n, 392});
  CHECK(x(slice(1, end)).shape() == x(slice(0, -1)).shape());
  CHECK(x(slice(0, n)).shape() == Dims{n, 784});
  CHECK(x(slice(end, end, -1)).shape() == Dims{n, 784});
  CHECK(x(slice(-3, end)).shape() == Dims{minimum(n, 3), 784});
  CHECK(take(x, tensor("ids", {5, 2}, i32)).shape() == Dims{5, 2, 784});
  CHECK(x(all, tensor("ids", {5}, i64)).shape() == Dims{n, 5});
  // Nothing is built where nothing changes.
  CHECK(same(x(all, all), x));
  CHECK(same(reshape(x, {n, 784}), x));
  CHECK(same(cast(x, f32), x));
  CHECK(same(transpose(x, {0, 1}), x));
  CHECK(same(broadcast_to(x, {n, 784}), x));
}
