// Functions that several devices compute together: what the devices exchange, its gradients,
// training on parts of the rows, errors. Parts of the CPU here; GPUs in test_parallel_gpus.cpp.
#include <doctest/doctest.h>
#include <kroton/parallel.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <sstream>

#include "tests/frontend/parallel_training.h"
#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

// Rows [0, rows) of each device, one after the other, with no two numbers alike.
Array rows_of_all(int devices, std::int64_t rows, std::int64_t columns, DType dtype, double scale) {
  Array x = Array::zeros({devices * rows, columns}, f64);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    x.data<double>()[static_cast<std::size_t>(i)] = std::round((i * 37 % 101 - 50) * scale) / 8 +
                                                    (scale < 1 ? 0.01 * static_cast<double>(i) : 0);
  }
  return x.cast(dtype);
}

double at(const Array& x, std::int64_t i) {
  return x.cast(f64).data<double>()[static_cast<std::size_t>(i)];
}

using Exchange = std::function<Tensor(const Tensor&, const DeviceGroup&)>;

struct Named {
  const char* name;
  Exchange exchange;
};

std::vector<Named> exchanges() {
  std::vector<Named> all;
  const std::pair<const char*, Combine> ways[] = {{"sum", Combine::sum},
                                                  {"mean", Combine::mean},
                                                  {"prod", Combine::prod},
                                                  {"max", Combine::max},
                                                  {"min", Combine::min}};
  for (const auto& [name, how] : ways) {
    all.push_back(
        {name, [h = how](const Tensor& x, const DeviceGroup& g) { return all_reduce(x, g, h); }});
  }
  all.push_back({"reduce_scatter",
                 [](const Tensor& x, const DeviceGroup& g) { return reduce_scatter(x, g); }});
  all.push_back({"reduce_scatter mean", [](const Tensor& x, const DeviceGroup& g) {
                   return reduce_scatter(x, g, Combine::mean);
                 }});
  all.push_back(
      {"all_gather", [](const Tensor& x, const DeviceGroup& g) { return all_gather(x, g); }});
  all.push_back({"broadcast", [](const Tensor& x, const DeviceGroup& g) {
                   return broadcast(x, g, g.size() - 1);
                 }});
  all.push_back({"reduce_to_root", [](const Tensor& x, const DeviceGroup& g) {
                   return reduce_to_root(x, g, g.size() / 2);
                 }});
  return all;
}

bool equal_bits(const Array& a, const Array& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         (a.nbytes() == 0 ||
          std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.nbytes())) == 0);
}

}  // namespace

TEST_CASE("parallel: all_reduce combines the values of all devices in every dtype") {
  const DType dtypes[] = {i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64};
  const std::pair<Combine, std::function<double(double, double)>> ways[] = {
      {Combine::sum, [](double a, double b) { return a + b; }},
      {Combine::prod, [](double a, double b) { return a * b; }},
      {Combine::max, [](double a, double b) { return std::max(a, b); }},
      {Combine::min, [](double a, double b) { return std::min(a, b); }}};
  for (const int n : {2, 5}) {
    const DeviceGroup group = devices(cpu(), n);
    for (const DType dtype : dtypes) {
      CAPTURE(n);
      CAPTURE(name_of(dtype));
      const Tensor x = matrix("x", dtype);
      // Small whole numbers, of which every dtype holds the products.
      Array given = Array::zeros({n * 3, 2}, i64);
      for (std::size_t i = 0; i < given.data<std::int64_t>().size(); ++i) {
        given.data<std::int64_t>()[i] = static_cast<std::int64_t>(i * 7 % 3);
      }
      const Array values = given.cast(dtype);
      std::vector<Tensor> all;
      for (const auto& way : ways) all.push_back(all_reduce(x, group, way.first));
      const std::vector<Array> results = parallel_function(group, {x}, all)(values);
      for (std::size_t way = 0; way < results.size(); ++way) {
        const Array& y = results[way];
        const auto& combine = ways[way].second;
        REQUIRE(y.shape() == values.shape());
        CHECK(y.dtype() == dtype);
        for (std::int64_t i = 0; i < 6; ++i) {
          double expected = at(values, i);
          for (int k = 1; k < n; ++k) expected = combine(expected, at(values, k * 6 + i));
          for (int k = 0; k < n; ++k) CHECK(at(y, k * 6 + i) == expected);
        }
      }
    }
  }
}

TEST_CASE("parallel: what the other exchanges give") {
  for (const int n : {1, 2, 3}) {
    CAPTURE(n);
    const DeviceGroup group = devices(cpu(), n);
    const Tensor x = matrix("x", f64);
    const std::int64_t rows = 2 * n, columns = 3, part = rows * columns;
    const Array given = rows_of_all(n, rows, columns, f64, 1);
    const auto sum_at = [&](std::int64_t i) {
      double sum = 0;
      for (int k = 0; k < n; ++k) sum += at(given, k * part + i);
      return sum;
    };
    const Array all = parallel_function(group, {x}, all_gather(x, group))(given);
    REQUIRE(all.shape() == Shape({n * n * rows, columns}));
    for (int k = 0; k < n; ++k) {
      for (std::int64_t i = 0; i < n * part; ++i) CHECK(at(all, k * n * part + i) == at(given, i));
    }
    const Array scattered = parallel_function(group, {x}, reduce_scatter(x, group))(given);
    REQUIRE(scattered.shape() == Shape({rows, columns}));
    for (std::int64_t i = 0; i < part; ++i) CHECK(at(scattered, i) == sum_at(i));
    const Array sent = parallel_function(group, {x}, broadcast(x, group, n - 1))(given);
    const Array summed = parallel_function(group, {x}, reduce_to_root(x, group, n - 1))(given);
    for (int k = 0; k < n; ++k) {
      for (std::int64_t i = 0; i < part; ++i) {
        CHECK(at(sent, k * part + i) == at(given, (n - 1) * part + i));
        CHECK(at(summed, k * part + i) == (k == n - 1 ? sum_at(i) : 0));
      }
    }
    // A scalar counts as a row.
    const Tensor first = x(0, 0);
    const Array firsts =
        parallel_function(group, {x}, all_gather(first, group), {.same = {}})(given);
    REQUIRE(firsts.shape() == Shape({n * n}));
    for (int k = 0; k < n * n; ++k) CHECK(at(firsts, k) == at(given, k % n * part));
  }
}

TEST_CASE("parallel: NaN is the largest and the smallest and nothing is reduced to nothing") {
  const DeviceGroup group = devices(cpu(), 3);
  const Tensor x = vector("x");
  const float nan = std::nanf("");
  for (const Combine how : {Combine::max, Combine::min}) {
    const auto f = parallel_function(group, {x}, all_reduce(x, group, how));
    for (int where = 0; where < 3; ++where) {
      Array given = Array::ones({3});
      given.data<float>()[static_cast<std::size_t>(where)] = nan;
      const Array y = f(given);
      for (const float value : y.data<float>()) CHECK(std::isnan(value));
    }
  }
  const Tensor m = matrix("m");
  const Array y = parallel_function(group, {m}, all_reduce(m, group))(Array::zeros({3, 0}));
  CHECK(y.shape() == Shape({3, 0}));
}

// The gradient by this device's rows of the costs of all devices, by differences along a direction;
// the cost of the gradient too, for derivatives of second order.
TEST_CASE("parallel: gradients are those of the costs of all devices") {
  int number = 0;
  for (const Named& named : exchanges()) {
    const int n = 2 + number++ % 2;
    const DeviceGroup group = devices(cpu(), n);
    const Array at_rest = rows_of_all(n, n, 2, f64, 0.1);
    CAPTURE(n);
    CAPTURE(std::string(named.name));
    const Tensor x = matrix("x", f64);
    const Tensor y = named.exchange(sin(x) + 2, group);
    // Another cost on each device.
    const Tensor cost = sum(y * y * y) * (0.3 + 0.1 * sum(x));
    const Tensor g = grad(cost, x);
    const Tensor second_cost = sum(g * g);
    const auto f = parallel_function(
        group, {x},
        {all_gather(cost, group), all_gather(second_cost, group), g, grad(second_cost, x)});
    const auto along = [&](std::int64_t i) { return std::cos(1.0 + 2.7 * static_cast<double>(i)); };
    const auto moved = [&](double step) {
      Array given = at_rest.copy();
      for (std::int64_t i = 0; i < given.size(); ++i) {
        given.data<double>()[static_cast<std::size_t>(i)] += step * along(i);
      }
      return f(given);
    };
    const double step = 1e-5;
    const auto here = moved(0), above = moved(step), below = moved(-step);
    REQUIRE(here[2].shape() == at_rest.shape());
    for (std::size_t order = 0; order < 2; ++order) {
      double slope = 0, have = 0, size = 1;
      for (int k = 0; k < n; ++k) {
        slope += (at(above[order], k) - at(below[order], k)) / (2 * step);
      }
      for (std::int64_t i = 0; i < at_rest.size(); ++i) {
        have += at(here[2 + order], i) * along(i);
        size += std::abs(at(here[2 + order], i));
      }
      CAPTURE(order);
      CHECK(std::abs(slope - have) <= 1e-6 * size);
      CHECK(size > 2);
    }
  }
}

using namespace parallel_test;  // NOLINT: tests

TEST_CASE("parallel: exchanges of many rows at once are those of each row") {
  for (const Named& named : exchanges()) {
    const int n = 3;
    const DeviceGroup group = devices(cpu(), n);
    CAPTURE(std::string(named.name));
    // Two rows on every device, of three values each.
    const Tensor x = matrix("x", f64);
    const Tensor fixed = reshape(x, {2, 3});
    const auto of_row = [&](const Tensor& row) {
      return sin(named.exchange(row * row + 1, group));
    };
    const Tensor all = vmap(of_row)(fixed);
    const Tensor each = stack({of_row(fixed(0)), of_row(fixed(1))}, 0);
    const Tensor slope = grad(sum(all * all), x), slope_of_each = grad(sum(each * each), x);
    const Array given = rows_of_all(n, 2, 3, f64, 0.1);
    const auto results = parallel_function(group, {x}, {all, each, slope, slope_of_each})(given);
    CHECK(all_close(results[0], results[1], 1e-12, 1e-12));
    CHECK(all_close(results[2], results[3], 1e-12, 1e-12));
  }
}

TEST_CASE("parallel: digits are learned by 1 and 2 and 3 devices as by one function") {
  const auto problem = [] { return digits(300, 1, 64); };
  const auto momentum = [] { return optim::Sgd({.rate = 0.2, .momentum = 0.9}); };
  const Trained one = on_one(problem(), momentum, 12, 100);
  CHECK(one[0].data<float>()[11] < 0.7F * one[0].data<float>()[0]);
  for (const int n : {1, 2, 3}) {
    CAPTURE(n);
    // 100 rows: 34 and 33 on three devices.
    const Trained several = on_group(problem(), momentum, 12, 100, devices(cpu(), n));
    CHECK(largest_difference(one, several) < 2e-5);
    CHECK(same_bits(several, on_group(problem(), momentum, 12, 100, devices(cpu(), n))));
    // Exchanged each by itself: the same sums.
    CHECK(same_bits(several, on_group(problem(), momentum, 12, 100, devices(cpu(), n), 0)));
    CHECK(same_bits(several, on_group(problem(), momentum, 12, 100, devices(cpu(), n), 3000)));
  }
}

TEST_CASE("parallel: photographs are learned by 1 and 2 and 3 devices as by one function") {
  const auto problem = [] { return photographs(40, 16, 8); };
  const auto adam = [] { return optim::Adam({.rate = 0.01}); };
  const Trained one = on_one(problem(), adam, 6, 20);
  for (const int n : {1, 2, 3}) {
    CAPTURE(n);
    const Trained several = on_group(problem(), adam, 6, 20, devices(cpu(), n));
    CHECK(largest_difference(one, several) < 2e-4);
    CHECK(same_bits(several, on_group(problem(), adam, 6, 20, devices(cpu(), n))));
  }
}

TEST_CASE("parallel: a cost over uneven parts is that of all rows") {
  const Tensor x = matrix("x", f64);
  const Shared w = shared(Array::from({0.5, -1.0, 0.25}), "w");
  const Tensor cost = mean(square(dot(x, w))) + 0.1 * sum(square(w));
  const Array rows = rows_of_all(1, 7, 3, f64, 1);
  const Array expected = function({x}, cost)(rows);
  const Array slope = function({x}, grad(cost, w))(rows);
  for (const int n : {1, 2, 3, 5, 7}) {
    const DeviceGroup group = devices(cpu(), n);
    const Tensor all = data_parallel_loss(cost, x, group);
    const Tensor g = grad(all, w);
    const auto f = parallel_function(group, {x}, {all, g, all_gather(g, group)}, {.same = {g}});
    const auto [value, gradient, of_each] = f(rows);
    CHECK(std::abs(value.item<double>() - expected.item<double>()) < 1e-12);
    for (std::int64_t i = 0; i < 3; ++i) {
      CHECK(std::abs(at(gradient, i) - at(slope, i)) < 1e-12);
      for (int k = 0; k < n; ++k) CHECK(at(of_each, 3 * k + i) == at(gradient, i));
    }
  }
}

TEST_CASE("parallel: all devices follow what a shared variable is set to elsewhere") {
  const DeviceGroup group = devices(cpu(), 3);
  const Tensor x = vector("x");
  Shared w = shared(Array::from({1.0F}), "w");
  const Tensor values = x * 0 + w;  // that each device has
  const auto f = parallel_function(group, {x}, values, {.updates = {{w, w + 1}}});
  const auto add_ten = function({}, {.updates = {{w, w + 10}}});
  const Array three = Array::ones({3});
  const auto alike = [&](float expected) {
    const Array y = f(three);
    for (const float value : y.data<float>()) CHECK(value == expected);
  };
  alike(1);
  alike(2);
  w.set_value(Array::from({7.0F}));
  alike(7);
  add_ten();
  alike(18);
  CHECK(w.get_value().data<float>()[0] == 19);
}

TEST_CASE("parallel: values that carry an update keep all devices alike") {
  const DeviceGroup group = devices(cpu(), 2);
  const Tensor x = matrix("x", f64);
  const Shared running = shared(Array::zeros({2}, f64), "running");
  const Shared w = shared(Array::ones({2}, f64), "w");
  const Tensor normal = with_update(x, running, 0.5 * running + 0.5 * mean(x, 0));
  const Tensor loss = data_parallel_loss(mean(dot(normal, w)), x, group);
  const auto f = parallel_function(group, {x}, loss, {.updates = {{w, w - 0.1 * grad(loss, w)}}});
  const Array rows = Array::from({{1.0, 2.0}, {3.0, 4.0}, {5.0, 9.0}});
  f(rows);
  // The mean of all rows, of which the first device has two.
  CHECK(std::abs(at(running.get_value(), 0) - 1.5) < 1e-12);
  CHECK(std::abs(at(running.get_value(), 1) - 2.5) < 1e-12);
  f(rows);
  CHECK(std::abs(at(running.get_value(), 0) - 2.25) < 1e-12);
}

TEST_CASE("parallel: random numbers differ between devices and come again") {
  const auto draws = [](int n) {
    const DeviceGroup group = devices(cpu(), n);
    RandomStream random(5);
    const Tensor x = vector("x");
    const auto f = parallel_function(group, {x}, x * 0 + random.uniform(x.shape()));
    std::vector<Array> all;
    for (int k = 0; k < 3; ++k) all.push_back(f(Array::zeros({6})));
    CHECK(random.state().get_value().data<std::int64_t>()[1] == 3);
    return all;
  };
  const std::vector<Array> one = draws(1), two = draws(2), again = draws(2);
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(equal_bits(two[k], again[k]));
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(two[k].data<float>()[i] == one[k].data<float>()[i]);  // the first device's are the same
      CHECK(two[k].data<float>()[i] != two[k].data<float>()[i + 3]);
    }
  }
  CHECK(!equal_bits(two[0], two[1]));
}

TEST_CASE("parallel: an error on one device is that of the call and changes nothing") {
  const DeviceGroup group = devices(cpu(), 3);
  const Tensor x = vector("x", i64);
  Shared table = shared(Array::from({1.0F, 2.0F, 3.0F}), "table");
  const Tensor taken = take(table, x, 0);
  const Tensor total = all_reduce(sum(taken), group);
  const auto before = parallel_function(group, {x}, total, {.updates = {{table, table + total}}});
  // Here nothing is exchanged behind the error: other devices come to their end.
  const auto alone = parallel_function(group, {x}, taken, {.updates = {{table, table * 2}}});
  const Array good = Array::from({std::int64_t{0}, std::int64_t{1}, std::int64_t{2}});
  for (int where = 0; where < 3; ++where) {
    Array bad = good.copy();
    bad.data<std::int64_t>()[static_cast<std::size_t>(where)] = 9;
    for (int k = 0; k < 2; ++k) {
      const std::string said = value_error([&] { k == 0 ? (void)before(bad) : (void)alone(bad); });
      CHECK(contains(said, "index 9 is out of range for axis 0 of table"));
      CHECK(table.get_value().data<float>()[0] == 1);
      CHECK(at(alone(good), 2) == 3);
      CHECK(table.get_value().data<float>()[2] == 6);
      table.set_value(Array::from({1.0F, 2.0F, 3.0F}));
    }
  }
  CHECK(before(good).item<float>() == 6);
}

TEST_CASE("parallel: devices that do not come to the same exchanges do not wait for ever") {
  const DeviceGroup group = devices(cpu(), 2);
  const Tensor x = vector("x");
  const Shared w = shared(0.0F, "w");
  const auto branch =
      parallel_function(group, {x}, ifelse(sum(x) > 0, all_reduce(sum(x), group), sum(x)),
                        {.updates = {{w, w + 1}}, .name = "branch"});
  CHECK(contains(device_error([&] { branch(Array::from({1.0F, -1.0F})); }),
                 "branch: device 1 has ended its part of the call while others wait for it"));
  CHECK(w.get_value().item<float>() == 0);
  CHECK(branch(Array::from({1.0F, 2.0F})).item<float>() == 3);
  CHECK(w.get_value().item<float>() == 1);
  // Values of other sizes.
  const auto uneven = parallel_function(group, {x}, all_gather(x, group), {.name = "uneven"});
  CHECK(contains(device_error([&] { uneven(Array::zeros({5})); }),
                 "uneven: the devices do not agree: device 0 is at all_gather of 3 elements, f32, "
                 "device 1 at all_gather of 2 elements, f32"));
  CHECK(uneven(Array::ones({4})).size() == 8);
  // As many steps as each device has rows.
  const Tensor states =
      scan([&](Tensor row, Tensor s) { return row + 0.5F * all_reduce(s, group); },
           {.sequences = {x}, .outputs_info = {1.0F}});
  const auto steps = parallel_function(group, {x}, states, {.name = "steps"});
  CHECK(contains(device_error([&] { steps(Array::ones({3})); }), "steps: device 1 has ended"));
  const Array y = steps(Array::from({1.0F, 2.0F, 3.0F, 4.0F}));
  CHECK(at(y, 0) == 2);
  CHECK(at(y, 2) == 4);
  CHECK(at(y, 1) == 2 + 3);
  CHECK(at(y, 3) == 4 + 3);
}

TEST_CASE("parallel: what is asked for wrongly") {
  const DeviceGroup group = devices(cpu(), 3);
  const Tensor x = matrix("x"), whole = matrix("whole"), flag = vector("flag", boolean);
  CHECK(contains(value_error([] { DeviceGroup({}); }), "DeviceGroup: there is no device in it  ["));
  CHECK(contains(value_error([] { DeviceGroup({cpu(), cuda()}); }),
                 "expected devices of one kind, got cpu and cuda:0"));
  CHECK(contains(value_error([] { DeviceGroup({cuda(1), cuda(1)}); }), "cuda:1 is in it twice"));
  CHECK(contains(value_error([] { devices(cpu(), 0); }), "devices: expected at least 1, got 0"));
  CHECK(contains(value_error([&] { broadcast(x, group, 3); }),
                 "broadcast: the root is device 3, the group has 3"));
  CHECK(contains(value_error([&] { reduce_scatter(x, group, Combine::max); }),
                 "reduce_scatter: expected the sum or the mean"));
  CHECK(contains(shape_error([&] { reduce_scatter(x(0, 0), group); }), "a scalar has no rows"));
  CHECK(contains(shape_error([&] { reduce_scatter(tensor("t", {4, 2}), group); }),
                 "axis 0 has 4 rows, which 3 devices do not divide"));
  const auto scattering = parallel_function(group, {x}, reduce_scatter(x, group));
  CHECK(contains(shape_error([&] { scattering(Array::zeros({12, 2})); }),
                 "reduce_scatter: axis 0 has 4 rows, which 3 devices do not divide"));
  CHECK(contains(type_error([&] { all_reduce(flag, group); }), "expected numbers"));
  CHECK(contains(type_error([&] { all_reduce(vector("i", i64), group, Combine::mean); }),
                 "the mean over devices is of floating numbers"));
  CHECK(contains(type_error([&] { replicated(vector("i", i64), group); }), "floating"));
  CHECK(contains(shape_error([&] { data_parallel_loss(x, x, group); }), "expected a scalar cost"));
  CHECK(contains(shape_error([&] { data_parallel_loss(sum(x), sum(x), group); }), "no rows"));
  CHECK(contains(value_error([&] { all_reduce(Tensor(), group); }), "all_reduce"));
  const auto f =
      parallel_function(group, {x, whole}, sum(x) + sum(whole), {.same = {whole}, .name = "f"});
  CHECK(contains(value_error([&] { f(Array::zeros({2, 2}), Array::zeros({1, 1})); }),
                 "f: x has 2 rows, fewer than the 3 devices"));
  CHECK(contains(shape_error([&] { f(Array::zeros({3}), Array::zeros({1, 1})); }), "f: x is f32"));
  CHECK(contains(value_error([&] { f(Array::zeros({3, 1})); }), "f: takes 2 arguments"));
  CHECK(contains(value_error([&] { parallel_function(group, {x}, sum(x), {.same = {whole}}); }),
                 "a tensor in `same` is neither an input nor an output"));
  CHECK(contains(
      value_error([&] {
        const Tensor t = tensor("t", {6, 2});
        parallel_function(group, {t}, sum(t));
      }),
      "t is f32 (6, 2): its rows are split over the devices, so that their number must be free"));
  CHECK(contains(value_error([&] {
                   const Tensor t = tensor("t", {6, 2});
                   parallel_function(devices(cpu(), 1), {t}, sum(t));
                 }),
                 "their number must be free"));
  // The operation that the user has called, also where the means over devices are written out.
  const Tensor v = vector("v");
  const Tensor cost = data_parallel_loss(mean(square(x) * expand_dims(v, 1)), x, group);
  const auto unequal = parallel_function(group, {x, v}, cost, {.name = "u"});
  CHECK(contains(shape_error([&] { unequal(Array::zeros({6, 2}), Array::zeros({3})); }),
                 "u: mul: sizes differ"));
  CHECK(contains(value_error([&] { function({x}, 2 * x, {.stream = nullptr}); }),
                 "there is a stream of a GPU, but the target is the CPU"));
  CHECK(contains(value_error([&] {
                   function({x}, 2 * x,
                            {.name = "g", .target = cuda(), .own_stream = true, .stream = nullptr});
                 }),
                 "g: there are both own_stream and stream"));
  CHECK(contains(value_error([&] { aot::write({x}, all_reduce(x, group), {.name = "g"}); }),
                 "aot::write: g exchanges values between devices (all_reduce)"));
  // Without the others.
  CHECK(contains(
      value_error(
          [&] { function({x}, all_reduce(x, group), {.name = "g"})(Array::zeros({1, 1})); }),
      "g: all_reduce: it is one of a group of 3 devices, which parallel_function makes functions"));
  CHECK(contains(value_error([&] {
                   parallel_function(devices(cpu(), 2), {x},
                                     all_reduce(sum(x), group))(Array::zeros({2, 1}));
                 }),
                 "it is one of a group of 3 devices"));
}

TEST_CASE("parallel: exchanges are made together as far as they do not depend on each other") {
  const TrainingProblem p = digits(4, 1, 16);
  const auto calls_of = [&](int n, std::int64_t bytes) {
    const DeviceGroup group = devices(cpu(), n);
    const Tensor loss = data_parallel_loss(p.loss, p.x, group);
    optim::Sgd sgd({.rate = 0.1});
    const auto f =
        parallel_function(group, {p.x, p.labels}, loss,
                          {.updates = sgd.minimize(loss, p.parameters), .bucket_bytes = bytes});
    std::ostringstream text;
    f.print(text);
    int count = 0;
    for (std::size_t at = text.str().find("kroton_collective"); at != std::string::npos;
         at = text.str().find("kroton_collective", at + 1)) {
      ++count;
    }
    return count;
  };
  CHECK(calls_of(1, 0) == 0);        // as if there were no devices
  CHECK(calls_of(2, 0) == 6);        // rows, cost, four gradients
  CHECK(calls_of(2, 4 << 20) == 2);  // rows; the rest
  CHECK(calls_of(3, 1000) == 3);     // rows; cost and small ones; the largest by itself
}
