// Products by the matrix units of a GPU: operands of 16 bits, and of f32 where TF32 is asked for.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/loop/matrix_tile.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"
#include "tests/tools/program_call.h"

using namespace kroton;  // NOLINT: tests

namespace {

using error_text::contains;

// Whole numbers, whose products and sums are exact in whatever order they are added.
Array whole(const Shape& shape, DType dtype, int seed) {
  Array values = Array::empty(shape, f32);
  int next = seed;
  for (float& x : values.data<float>()) {
    next = (next * 1103 + 12345) % 30011;
    x = static_cast<float>(next % 7 - 3);
  }
  return values.cast(dtype);
}

std::string source_of(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                      const Machine& machine) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  return codegen::emit_cuda(lower(graph, "f", machine)).source;
}

// Results that are whole numbers are equal, whatever they are stored as.
void check_equal(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                 const std::vector<Array>& values, const Target& target = cuda()) {
  const std::vector<Argument> arguments(values.begin(), values.end());
  const std::vector<Array> wanted = function(inputs, outputs).call(arguments);
  const std::vector<Array> got = function(inputs, outputs, {.target = target}).call(arguments);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    CAPTURE(k);
    CHECK(array_equal(got[k], wanted[k]));
  }
}

}  // namespace

TEST_CASE("matrix tiles: every element has a place of its own and pieces stay together") {
  for (const DType dtype : {bf16, f32}) {
    for (const int rows : {16, 64, 128}) {
      for (const bool runs_inner : {true, false}) {
        const int depth = 64 / static_cast<int>(size_of(dtype));
        const loop::MatrixTile tile{rows, rows, depth, 16, 16, runs_inner, runs_inner};
        std::vector<bool> taken(static_cast<std::size_t>(rows * depth), false);
        for (int row = 0; row < rows; ++row) {
          for (int k = 0; k < depth; ++k) {
            const int place = loop::place_of_a(tile, dtype, row, k);
            REQUIRE((place >= 0 && place < rows * depth));
            CHECK(!taken[static_cast<std::size_t>(place)]);
            taken[static_cast<std::size_t>(place)] = true;
            CHECK(place == loop::place_of_b(tile, dtype, k, row));
            const int along = runs_inner ? k : row;
            CHECK(place % loop::elements_together(dtype) == along % loop::elements_together(dtype));
          }
        }
      }
    }
  }
}

TEST_CASE("matrix tiles: the interpreter of the loop IR multiplies them") {
  const auto check = [](DType dtype, bool tf32, std::int64_t m, std::int64_t k, std::int64_t n) {
    const Tensor a = tensor("a", {dim("m"), k}, dtype), b = tensor("b", {k, n}, dtype);
    const std::vector<Tensor> inputs{a, b}, outputs{dot(a, b)};
    const std::vector<Array> values{whole({m, k}, dtype, 1), whole({k, n}, dtype, 2)};
    Graph graph(inputs, outputs, {});
    run_passes(graph);
    const Program program = lower(graph, "f", gpu_machine(80, tf32));
    compiled_test::ProgramCall call(program, values);
    REQUIRE(!call.interpret());
    const std::vector<Argument> arguments(values.begin(), values.end());
    CHECK(array_equal(call.outputs()[0], function(inputs, outputs).call(arguments)[0]));
  };
  check(bf16, false, 17, 40, 24);
  check(f16, false, 3, 33, 5);
  check(f32, true, 20, 17, 24);
}

TEST_CASE("cuda: products of 16 bits of all sizes are exact in one function") {
  const gpu_emulator::TestCuda device;
  for (const DType dtype : {bf16, f16}) {
    const Tensor x = matrix("x", dtype), y = matrix("y", dtype), b = vector("b", dtype);
    const std::vector<Tensor> inputs{x, y, b},
        outputs{dot(x, y), relu(dot(x, y) + b), cast(dot(x, y), f32) * 2};
    const auto on_cpu = function(inputs, outputs);
    const auto on_cuda = function(inputs, outputs, {.target = cuda()});
    for (const auto& [m, k, n] : std::vector<std::array<int, 3>>{{0, 3, 5},
                                                                 {3, 0, 5},
                                                                 {1, 1, 1},
                                                                 {17, 3, 5},
                                                                 {65, 40, 72},
                                                                 {64, 32, 64},
                                                                 {5, 100, 8},
                                                                 {70, 33, 129},
                                                                 {16, 320, 16}}) {
      CAPTURE(m);
      CAPTURE(k);
      CAPTURE(n);
      const std::vector<Argument> arguments{whole({m, k}, dtype, 1), whole({k, n}, dtype, 2),
                                            whole({n}, dtype, 3)};
      const std::vector<Array> wanted = on_cpu.call(arguments);
      const std::vector<Array> got = on_cuda.call(arguments);
      for (std::size_t i = 0; i < outputs.size(); ++i) CHECK(array_equal(got[i], wanted[i]));
    }
  }
}

TEST_CASE("cuda: products of 16 bits by tiles of every kind") {
  const gpu_emulator::TestCuda device;
  const auto product = [](std::int64_t m, std::int64_t k, std::int64_t n, bool a_transposed,
                          bool b_transposed) {
    const Tensor a = tensor("a", a_transposed ? Dims{k, m} : Dims{m, k}, bf16),
                 b = tensor("b", b_transposed ? Dims{n, k} : Dims{k, n}, bf16);
    const Shape as = a_transposed ? Shape{k, m} : Shape{m, k},
                bs = b_transposed ? Shape{n, k} : Shape{k, n};
    CAPTURE(m);
    CAPTURE(k);
    CAPTURE(n);
    check_equal({a, b},
                {relu(dot(a_transposed ? transpose(a) : a, b_transposed ? transpose(b) : b))},
                {whole(as, bf16, 1), whole(bs, bf16, 2)});
  };
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      product(72, 40, 136, a, b);
      product(3, 64, 200, a, b);   // few rows
      product(200, 64, 3, a, b);   // few columns
      product(33, 600, 17, a, b);  // in parts
    }
  }
  product(1500, 48, 1540, false, false);  // large tiles
}

TEST_CASE("cuda: products of 16 bits: batches and axes and views and what is computed") {
  const gpu_emulator::TestCuda device;
  const Tensor a = tensor("a", {dim("b"), 9, 40}, bf16), b = tensor("b", {dim("b"), 40, 24}, bf16);
  const Tensor c = tensor("c", {40, 50}, bf16), d = tensor("d", {3, 5, 40}, bf16);
  const Tensor image = tensor("image", {2, 3, 9, 8}, f16), filters = tensor("f", {4, 3, 3, 3}, f16);
  const Tensor row = c(all, slice(1, 41));
  const std::vector<Tensor> outputs{
      matmul(a, b),
      matmul(transpose(a, {0, 2, 1}), a),
      matmul(d, c),
      dot(row, row),
      dot(transpose(c), c),
      dot(maximum(c, 0), transpose(c)(all, slice(3, 40))),
      conv2d(image, filters),
      dot(cast(transpose(c), f32), cast(c, f32)),
      sum(dot(c, transpose(c)), 0),
  };
  check_equal(
      {a, b, c, d, image, filters}, outputs,
      {whole({4, 9, 40}, bf16, 1), whole({4, 40, 24}, bf16, 2), whole({40, 50}, bf16, 3),
       whole({3, 5, 40}, bf16, 4), whole({2, 3, 9, 8}, f16, 5), whole({4, 3, 3, 3}, f16, 6)});
}

TEST_CASE(
    "cuda: products of 16 bits in scans and branches and gradients and where all is checked") {
  const gpu_emulator::TestCuda device;
  const Tensor xs = tensor("xs", {dim("steps"), 40, 9}, bf16), w = tensor("w", {48, 40}, bf16),
               start = tensor("start", {48, 9}, bf16), flag = scalar("flag", boolean);
  // So large that its kernels are started by the host, from rows that are not aligned.
  const Tensor h = scan([&](Tensor x, Tensor before) { return minimum(dot(w, x), 3) - before; },
                        {.sequences = {xs}, .outputs_info = {start}});
  const Tensor chosen = ifelse(flag, dot(w, xs(0)), dot(w, xs(1)));
  const Tensor image = tensor("image", {2, 3, 8, 8}, f16), filters = tensor("f", {4, 3, 3, 3}, f16);
  const auto [gi, gf] = grad(sum(cast(conv2d(image, filters), f32)), image, filters);
  const std::vector<Tensor> inputs{xs, w, start, flag, image, filters}, outputs{h, chosen, gi, gf};
  const std::vector<Argument> arguments{whole({3, 40, 9}, bf16, 1),  whole({48, 40}, bf16, 2),
                                        whole({48, 9}, bf16, 3),     true,
                                        whole({2, 3, 8, 8}, f16, 4), whole({4, 3, 3, 3}, f16, 5)};
  const std::vector<Array> wanted = function(inputs, outputs).call(arguments);
  for (const bool checked : {false, true}) {
    FunctionOptions options{.target = cuda()};
    if (checked) options.check = Check::memory;
    const std::vector<Array> got = function(inputs, outputs, options).call(arguments);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      CAPTURE(k);
      CAPTURE(checked);
      CHECK(array_equal(got[k], wanted[k]));
    }
  }
}

TEST_CASE("cuda: a variable that is multiplied by itself is replaced when it has been read") {
  const gpu_emulator::TestCuda device;
  const Array first = whole({130, 130}, bf16, 1);
  const auto multiplied = [&](const Target& target) {
    const Shared w = shared(first.copy(), "w");
    const Tensor x = matrix("x", bf16);
    const auto f = function({x}, {.updates = {{w, relu(dot(w, x))}}, .target = target});
    f(whole({130, 130}, bf16, 2));
    return w.get_value();
  };
  CHECK(array_equal(multiplied(cuda()), multiplied(cpu())));
}

TEST_CASE("cuda: products of free sizes by large tiles where they are many") {
  const gpu_emulator::TestCuda device;
  for (const DType dtype : {bf16, f32}) {
    const Tensor a = tensor3("a", dtype), b = tensor3("b", dtype);
    const auto product = function({a, b}, relu(matmul(a, b)), {.target = cuda()});
    const auto on_cpu = function({a, b}, relu(matmul(a, b)));
    for (const int batch : {132, 133}) {
      const Array x = whole({batch, 3, 5}, dtype, 1), y = whole({batch, 5, 7}, dtype, 2);
      CHECK(array_equal(product(x, y), on_cpu(x, y)));
    }
  }
}

TEST_CASE("cuda: a network in bf16 trains as on the CPU") {
  const gpu_emulator::TestCuda device;
  const Array w1 = Array::normal({24, 40}, 1, 0, 0.2), w2 = Array::normal({40, 8}, 2, 0, 0.2);
  const Array data = Array::normal({17, 24}, 3), target = Array::normal({17, 8}, 4);
  const auto trained = [&](const Target& where) {
    const Shared a = shared(w1.copy(), "a"), b = shared(w2.copy(), "b");
    const Tensor x = matrix("x"), y = matrix("y");
    const auto low = [](const Tensor& t) { return cast(t, bf16); };
    const Tensor h = relu(dot(low(x), low(a)));
    const Tensor loss = mean(square(cast(dot(h, low(b)), f32) - y));
    const auto [ga, gb] = grad(loss, a, b);
    const auto step = function(
        {x, y}, loss, {.updates = {{a, a - 0.1 * ga}, {b, b - 0.1 * gb}}, .target = where});
    for (int k = 0; k < 3; ++k) step(data, target);
    return std::pair{a.get_value(), b.get_value()};
  };
  const auto [a, b] = trained(cpu());
  const auto [c, d] = trained(cuda());
  CHECK(all_close(c, a, 0.02, 0.002));
  CHECK(all_close(d, b, 0.02, 0.002));
  const auto [e, f] = trained(cuda());
  CHECK(array_equal(c, e));
  CHECK(array_equal(d, f));
}

TEST_CASE("cuda: TF32 is used where it is asked for and rounds operands to 11 bits") {
  const gpu_emulator::TestCuda device;
  Target fast = cuda();
  fast.tf32 = true;
  for (const bool transposed : {false, true}) {
    const Tensor a = matrix("a"), b = matrix("b");
    const Tensor y = transposed ? relu(dot(transpose(a), transpose(b))) : relu(dot(a, b));
    const auto with = [](const Shape& s, bool t) { return t ? Shape{s[1], s[0]} : s; };
    for (const auto& [m, k, n] :
         std::vector<std::array<int, 3>>{{3, 5, 7}, {70, 36, 68}, {65, 33, 1}}) {
      check_equal(
          {a, b}, {y},
          {whole(with({m, k}, transposed), f32, 1), whole(with({k, n}, transposed), f32, 2)}, fast);
    }
    // 1 + 2^-12 is no number of 11 bits; 1 + 2^-10 is.
    const Array left = Array::full({1, 1}, 1 + std::ldexp(1.0, -12)),
                right = Array::full({1, 1}, 1 + std::ldexp(1.0, -10));
    const std::vector<Tensor> inputs{a, b};
    CHECK(function(inputs, y, {.target = fast})(left, right).item<float>() == right.item<float>());
    CHECK(function(inputs, y, {.target = cuda()})(left, right).item<float>() ==
          left.item<float>() * right.item<float>());
  }
  const Tensor a = tensor("a", {40, 40}), h = tensor("h", {40, 40}, bf16);
  const auto has_units = [](const Tensor& x, const Machine& machine) {
    return contains(source_of({x}, {relu(dot(x, x))}, machine), "kt_multiply<KtUnits_");
  };
  CHECK(!has_units(a, gpu_machine(90)));
  CHECK(has_units(a, gpu_machine(90, true)));
  CHECK(!has_units(a, gpu_machine(75, true)));
  CHECK(has_units(h, gpu_machine(80)));
  CHECK(!has_units(h, gpu_machine(75)));
  const Tensor w = tensor("w", {40, 40}, f64);
  CHECK(!has_units(w, gpu_machine(90, true)));
  const Tensor image = tensor("image", {2, 3, 9, 8}, f16), filters = tensor("f", {4, 3, 3, 3}, f16);
  CHECK(contains(source_of({image, filters}, {conv2d(image, filters)}, gpu_machine(80)),
                 "kt_multiply<KtUnits_f16"));
}

TEST_CASE("cuda: products of 16 bits and of TF32 by the device's library") {
  const gpu_emulator::TestCuda device(true);
  const Tensor a = matrix("a", bf16), b = matrix("b", bf16), c = matrix("c");
  for (const Tensor& y :
       {dot(a, b), dot(cast(a, f32), cast(b, f32)) + c, dot(cast(a, f32), cast(b, f32)) * 2}) {
    const int before = gpu_emulator::counts().products;
    check_equal({a, b, c}, {y, c(0)},
                {whole({17, 24}, bf16, 1), whole({24, 9}, bf16, 2), whole({17, 9}, f32, 3)});
    if (device.is_emulated()) CHECK(gpu_emulator::counts().products == before + 1);
  }
  Target fast = cuda();
  fast.tf32 = true;
  const Tensor x = matrix("x"), y = matrix("y");
  const Array left = Array::full({2, 1}, 1 + std::ldexp(1.0, -12)), right = Array::ones({1, 2});
  const std::vector<Tensor> inputs{x, y};
  CHECK(function(inputs, dot(x, y), {.target = fast})(left, right).data<float>()[0] == 1);
  CHECK(function(inputs, dot(x, y), {.target = cuda()})(left, right).data<float>()[0] ==
        left.data<float>()[0]);
}

namespace {

const char* const faulty_kernels = R"(
extern "C" __global__ void not_waited(KROTON_GLOBAL(const float) x, KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 128);
  KROTON_COPY(4, held, threadIdx.x * 4, x, threadIdx.x * 4, 4);
  KROTON_COPIES_END();
  __syncthreads();
  y[threadIdx.x] = held[threadIdx.x];
}
extern "C" __global__ void no_barrier(KROTON_GLOBAL(const float) x, KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 128);
  KROTON_COPY(4, held, threadIdx.x * 4, x, threadIdx.x * 4, 4);
  KROTON_COPIES_END();
  KROTON_WAIT_COPIES(0);
  y[threadIdx.x] = held[threadIdx.x];
}
extern "C" __global__ void too_early(KROTON_GLOBAL(const float) x, KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 128);
  KROTON_COPY(4, held, threadIdx.x * 4, x, threadIdx.x * 4, 4);
  KROTON_COPIES_END();
  KROTON_WAIT_COPIES(0);
  __syncthreads();
  y[threadIdx.x] = held[127 - threadIdx.x];
  KROTON_COPY(4, held, threadIdx.x * 4, x, 0, 4);
}
extern "C" __global__ void not_aligned(KROTON_GLOBAL(const float) x, KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 128);
  KROTON_COPY(4, held, threadIdx.x * 4, x, threadIdx.x * 2 + 1, 4);
}
extern "C" __global__ void one_group_late(KROTON_GLOBAL(const float) x, KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 256);
  KROTON_COPY(4, held, threadIdx.x * 4, x, threadIdx.x * 4, 2);
  KROTON_COPIES_END();
  KROTON_COPY(4, held, 128 + threadIdx.x * 4, x, threadIdx.x * 4, 4);
  KROTON_COPIES_END();
  KROTON_WAIT_COPIES(1);
  __syncthreads();
  y[threadIdx.x] = held[127 - threadIdx.x];
}
)";

}  // namespace

TEST_CASE("gpu emulator: copies that are touched before they are waited for are errors") {
  const auto device = gpu_emulator::make_device();
  const auto module = device->compile(faulty_kernels, "faulty");
  DeviceMemory x(device, 512), y(device, 128);
  const std::vector<float> values(128, 1.0F);
  device->upload(x.address(), values.data(), x.bytes());
  const auto message_of = [&](const std::string& kernel) {
    const std::vector<KernelArgument> arguments{{x.address(), x.bytes()}, {y.address(), y.bytes()}};
    try {
      device->launch(module->kernel(kernel), 1, 32, arguments);
    } catch (const DeviceError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(contains(message_of("not_waited"), "to which a copy is on its way"));
  CHECK(contains(message_of("no_barrier"), "race: thread "));
  CHECK(contains(message_of("too_early"), "race: thread "));
  CHECK(contains(message_of("not_aligned"), "is not aligned"));
  CHECK(message_of("one_group_late") == "");
  std::vector<float> got(32);
  device->download(got.data(), y.address(), y.bytes());
  CHECK(got[0] == 0);
  CHECK(got[2] == 1);
}
