// f16, bf16 and narrow integers in whole programs: products, gradients, training, files, objects
// compiled ahead of time.
#include <doctest/doctest.h>
#include <kroton/checkpoint.h>
#include <kroton/derivatives.h>
#include <kroton/kroton.h>
#include <kroton/npy.h>
#include <kroton/random.h>

#include <cmath>
#include <cstring>

#include "tests/aot/aot_tools.h"
#include "tests/tools/error_text.h"

using namespace kroton;  // NOLINT: tests

namespace {

constexpr DType halves[] = {f16, bf16};

// The largest difference between elements, relative to the largest one.
double difference(const Array& a, const Array& b) {
  const Array x = a.cast(f64), y = b.cast(f64);
  double largest = 0, apart = 0;
  for (std::size_t k = 0; k < static_cast<std::size_t>(x.size()); ++k) {
    largest = std::max(largest, std::abs(y.data<double>()[k]));
    apart = std::max(apart, std::abs(x.data<double>()[k] - y.data<double>()[k]));
  }
  return largest == 0 ? apart : apart / largest;
}

}  // namespace

TEST_CASE("half: products are those of f32 rounded") {
  for (const DType dtype : halves) {
    CAPTURE(name_of(dtype));
    for (const auto& [m, k, n] : {std::array{1, 300, 7}, std::array{33, 65, 40},
                                  std::array{130, 257, 96}, std::array{3, 0, 2}}) {
      CAPTURE(m);
      const Array a = Array::normal({m, k}, 1, 0, 1, dtype),
                  b = Array::normal({k, n}, 2, 0, 1, dtype);
      const Array bt = Array::normal({n, k}, 3, 0, 1, dtype);
      const Tensor x = tensor("x", {dim("m"), k}, dtype), y = tensor("y", {k, n}, dtype);
      const Tensor z = tensor("z", {n, k}, dtype);
      const Tensor wide[] = {cast(x, f32), cast(y, f32), cast(z, f32)};
      const std::vector<Tensor> outputs = {dot(x, y), dot(x, transpose(z)),
                                           relu(dot(x, y) + cast(1, dtype)), dot(wide[0], wide[1]),
                                           dot(wide[0], transpose(wide[2]))};
      CHECK(outputs[0].dtype() == dtype);
      const std::vector<Array> got = function({x, y, z}, outputs)(a, b, bt);
      const double unit = std::ldexp(1.0, -info_of(dtype).digits);
      CHECK(difference(got[0], got[3]) <= unit);
      CHECK(difference(got[1], got[4]) <= unit);
      CHECK(array_equal(got[0], got[3].cast(dtype)));
      const auto product = function({x, y}, cast(dot(x, y), f32))(a, b);
      CHECK(array_equal(product, got[0].cast(f32)));
    }
  }
}

TEST_CASE("half: each result is rounded whatever is fused") {
  const Tensor x = tensor("x", {dim("n")}, bf16), y = tensor("y", {dim("n")}, bf16);
  const Array a = Array::uniform({1000}, 1, -3, 3, bf16),
              b = Array::uniform({1000}, 2, -3, 3, bf16);
  const Array fused = function({x, y}, x * y + x)(a, b);
  const Array product = function({x, y}, x * y)(a, b);
  CHECK(array_equal(fused, function({x, y}, x + y)(product, a)));
  for (std::size_t k = 0; k < 1000; ++k) {
    const float p = bfloat16(float(a.data<bfloat16>()[k]) * float(b.data<bfloat16>()[k]));
    CHECK(float(fused.data<bfloat16>()[k]) == float(bfloat16(p + float(a.data<bfloat16>()[k]))));
  }
}

TEST_CASE("half: sums and means neither overflow nor stand still on the way") {
  const Tensor x = tensor("x", {dim("n")}, f16), y = tensor("y", {dim("n")}, bf16);
  const Array large = Array::full({5000}, 60000, f16), ones = Array::ones({5000}, bf16);
  const auto results =
      function({x, y}, {mean(x), sum(y), stddev(x), logsumexp(x), softmax(x, 0)})(large, ones);
  CHECK(float(results[0].item<float16>()) == 60000);
  CHECK(float(results[1].item<bfloat16>()) == 4992);  // 5000, rounded
  CHECK(float(results[2].item<float16>()) == 0);
  CHECK(float(results[3].item<float16>()) == 60000);
  CHECK(float(results[4].data<float16>()[7]) == doctest::Approx(1.0 / 5000).epsilon(1e-2));
  CHECK(std::isinf(float(function({x}, sum(x))(large).item<float16>())));
}

TEST_CASE("half: gradients have the dtype of the operand") {
  for (const DType dtype : halves) {
    CAPTURE(name_of(dtype));
    const Tensor x = tensor("x", {dim("n"), 12}, dtype), w = tensor("w", {12, 5}, dtype);
    const Tensor wide_x = tensor("x", {dim("n"), 12}), wide_w = tensor("w", {12, 5});
    const auto cost = [](const Tensor& a, const Tensor& b) {
      return mean(square(tanh(dot(a, b))) + exp(-dot(a, b)) * 0.125);
    };
    const auto narrow = grad(cost(x, w), std::vector<Tensor>{x, w});
    const auto wide = grad(cost(wide_x, wide_w), std::vector<Tensor>{wide_x, wide_w});
    CHECK(narrow[0].dtype() == dtype);
    const Array a = Array::normal({9, 12}, 1, 0, 0.5, dtype),
                b = Array::normal({12, 5}, 2, 0, 0.5, dtype);
    const auto got = function({x, w}, narrow)(a, b);
    const auto wanted = function({wide_x, wide_w}, wide)(a.cast(f32), b.cast(f32));
    for (int k = 0; k < 2; ++k) {
      CHECK(got[k].dtype() == dtype);
      CHECK(difference(got[k], wanted[k]) < 20 * std::ldexp(1.0, -info_of(dtype).digits));
    }
    // Of second order too.
    const Tensor second = grad(sum(narrow[1] * narrow[1]), w);
    CHECK(second.dtype() == dtype);
    CHECK(std::isfinite(double(function({x, w}, sum(second))(a, b).item<double>())));
  }
}

TEST_CASE("half: a network learns in bf16 with weights in f32") {
  for (const DType dtype : halves) {
    CAPTURE(name_of(dtype));
    const Tensor x = tensor("x", {dim("n"), 2}), labels = tensor("labels", {dim("n")}, u8);
    const Shared w1 = shared(Array::normal({2, 24}, 1), "w1"),
                 b1 = shared(Array::zeros({24}), "b1");
    const Shared w2 = shared(Array::normal({24, 2}, 2, 0, 0.3), "w2");
    const auto half = [&](const Tensor& t) { return cast(t, dtype); };
    const Tensor hidden = tanh(dot(half(x), half(w1)) + half(b1));
    const Tensor logits = dot(hidden, half(w2));
    CHECK(logits.dtype() == dtype);
    const Tensor loss = mean(softmax_cross_entropy(cast(logits, f32), labels));
    const auto g = grad(loss, std::vector<Tensor>{w1, b1, w2});
    CHECK(g[0].dtype() == f32);
    const auto train = function(
        {x, labels}, loss,
        {.updates = {{w1, w1 - 0.5 * g[0]}, {b1, b1 - 0.5 * g[1]}, {w2, w2 - 0.5 * g[2]}}});
    const Array points = Array::uniform({200, 2}, 3, -1, 1);
    Array classes = Array::zeros({200}, u8);
    for (std::size_t k = 0; k < 200; ++k) {
      const float a = points.data<float>()[2 * k], b = points.data<float>()[2 * k + 1];
      classes.data<std::uint8_t>()[k] = a * b > 0 ? 1 : 0;
    }
    for (int step = 0; step < 600; ++step) train(points, classes);
    const Array last = train(points, classes);
    CHECK(last.item<float>() < 0.25F);
  }
}

TEST_CASE("half: scans and branches carry it") {
  const Tensor x = tensor("x", {dim("n")}, bf16);
  const Tensor total = scan([](const Tensor& row, const Tensor& state) { return state + row; },
                            {.sequences = {x}, .outputs_info = {cast(0, bf16)}})[-1];
  CHECK(total.dtype() == bf16);
  const Tensor chosen = ifelse(gt(total, 3), total * 2, total - 1);
  const auto f = function({x}, {total, chosen, grad(total * total, x)});
  const auto got = f(Array::from({1.0F, 2.5F, 3.0F}).cast(bf16));
  CHECK(float(got[0].item<bfloat16>()) == 6.5F);
  CHECK(float(got[1].item<bfloat16>()) == 13);
  CHECK(float(got[2].data<bfloat16>()[2]) == 13);
}

TEST_CASE("half: random numbers") {
  const RandomStream random(5);
  for (const DType dtype : halves) {
    const auto f =
        function({}, {random.uniform({4000}, 0, 1, dtype), random.normal({4000}, 0, 1, dtype)});
    const auto got = f();
    CHECK(got[0].dtype() == dtype);
    const Array u = got[0].cast(f64), z = got[1].cast(f64);
    double sum = 0, highest = 0, squares = 0;
    for (const double v : u.data<double>()) {
      sum += v;
      highest = std::max(highest, v);
    }
    for (const double v : z.data<double>()) squares += v * v;
    CHECK(sum / 4000 == doctest::Approx(0.5).epsilon(0.03));
    CHECK(highest < 1);
    CHECK(squares / 4000 == doctest::Approx(1).epsilon(0.08));
    const Array host = Array::uniform({4000}, 1, -2, 1, dtype).cast(f64);
    for (const double v : host.data<double>()) CHECK((v >= -2 && v < 1));
  }
}

TEST_CASE("half: what has no 16 bits says so") {
  const Tensor a = tensor("a", {3, 3}, bf16);
  CHECK_THROWS_AS(solve(a, a), TypeError);
  CHECK_THROWS_AS(cholesky(a), TypeError);
  CHECK_THROWS_AS(tensor("u", {3}, u8) + 256, TypeError);
  CHECK_THROWS_AS(tensor("u", {3}, u8) + 0.5, TypeError);
  CHECK_THROWS_AS(Array::full({2}, -1, u16), ValueError);
  CHECK_THROWS_AS(Array::full({2}, 1e20, u64), ValueError);
  const auto f = function({a}, a);
  CHECK_THROWS_AS(f(Array::zeros({3, 3}, f16)), TypeError);
}

TEST_CASE("half: arrays of narrow elements") {
  const Array bytes = Array::from(std::vector<std::uint8_t>{1, 200, 255});
  CHECK(bytes.dtype() == u8);
  CHECK(to_string(bytes) == "[  1 200 255]");
  Array x = Array::from({float16(1.1F), float16(-2.0F), float16(504.0F)});
  CHECK(to_string(x) == to_string(Array::from({1.1, -2.0, 504.0})));
  x(0) = 0.5;
  CHECK(double{x(0)} == 0.5);
  CHECK(x(0).item<float16>().bits() == float16(0.5).bits());
  const Array big = Array::full({2}, 18446744073709551615U, u64);
  CHECK(to_string(big) == "[18446744073709551615 18446744073709551615]");
  CHECK(to_string(Array(bfloat16(0.1))) == "0.1");
  const Tensor u = tensor("u", {2}, u64);
  CHECK(function({u}, gt(u, 9223372036854775808U))(big).data<bool>()[0]);
  CHECK(array_equal(function({u}, sum(u) + 2)(big), Array(std::uint64_t{0})));
  CHECK(array_equal(function({u}, sort(u, 0))(Array::from({~std::uint64_t{0}, std::uint64_t{3}})),
                    Array::from({std::uint64_t{3}, ~std::uint64_t{0}})));
}

TEST_CASE("half: files") {
  const TemporaryDirectory directory;
  std::map<std::string, Array> arrays;
  for (const DTypeInfo& info : dtype_table) {
    const Array values = Array::uniform({4, 3}, 1, 0, info.dtype == boolean ? 2 : 99, f64);
    arrays[std::string(info.name)] =
        values.cast(info.dtype == boolean ? i32 : info.dtype).cast(info.dtype);
    save_npy(directory.file("a.npy"), arrays[std::string(info.name)]);
    CHECK(array_equal(load_npy(directory.file("a.npy")), arrays[std::string(info.name)]));
  }
  save_safetensors(directory.file("a.safetensors"), arrays);
  for (const auto& [name, array] : load_safetensors(directory.file("a.safetensors"))) {
    CHECK(array_equal(array, arrays.at(name)));
  }
}

TEST_CASE("half: ahead of time for every target") {
  const TemporaryDirectory directory;
  const Tensor x = tensor("x", {dim("n")}, u8), w = tensor("w", {dim("n")}, bf16);
  const Tensor h = tensor("h", {dim("n")}, f16), scale = scalar("scale", f16);
  const Tensor y = cast(x, bf16) / 255 * w;
  const std::vector<Tensor> outputs = {y, h * scale + 1, sum(cast(x, u32))};
  const auto f = function({x, w, h, scale}, outputs);
  const std::size_t n = 37;
  const Array bytes = Array::uniform({37}, 1, 0, 256, f64).cast(u8);
  Array weights = Array::normal({37}, 2, 0, 1, bf16), values = Array::normal({37}, 3, 0, 100, f16);
  values.data<float16>()[3] = float16::from_bits(0x0003);  // a subnormal
  values.data<float16>()[4] = float16(60000.0F);
  values.data<float16>()[5] = std::numeric_limits<float16>::infinity();
  values.data<float16>()[6] = std::numeric_limits<float16>::quiet_NaN();
  const float16 factor(1.5F);
  const auto wanted = f(bytes, weights, values, Array(factor));
  for (const char* target : {"native", "x86-64-v2", "x86-64-v3"}) {
    CAPTURE(target);
    const aot::Files files =
        aot::write({x, w, h, scale}, outputs,
                   {.name = "narrow", .directory = directory.path(), .target = target});
    const std::string header = aot_tools::read_file(files.header);
    CHECK(error_text::contains(header, "const uint8_t* x"));
    CHECK(error_text::contains(header, "const uint16_t* w"));
    CHECK(error_text::contains(header, "uint16_t scale"));
    const aot_tools::Linked linked(files.object);
    auto* const call = linked.function<int(std::int64_t, const std::uint8_t*, const bfloat16*,
                                           const float16*, std::uint16_t, bfloat16*, float16*,
                                           std::uint64_t*, void*, std::size_t)>("narrow");
    std::vector<bfloat16> first(n);
    std::vector<float16> second(n);
    std::uint64_t total = 0;
    auto* const need = linked.function<std::size_t(std::int64_t)>("narrow_arena_bytes");
    const aot_tools::Block arena(need(37));
    REQUIRE(call(37, bytes.data<std::uint8_t>().data(), weights.data<bfloat16>().data(),
                 values.data<float16>().data(), factor.bits(), first.data(), second.data(), &total,
                 arena.data(), arena.size()) == 0);
    CHECK(array_equal(Array::from(first), wanted[0]));
    CHECK(array_equal(Array::from(second), wanted[1], true));
    CHECK(total == wanted[2].item<std::uint64_t>());
  }
}
