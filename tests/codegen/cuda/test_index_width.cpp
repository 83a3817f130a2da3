// Indices of 32 bits on GPUs: when they do, what is divided with them, and that they change
// nothing.
#include "compiler/codegen/cuda/index_width.h"

#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cstring>
#include <map>

#include "compiler/codegen/cuda/run_program.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"

using namespace kroton;  // NOLINT: tests

namespace index_width {
namespace {

Program lowered(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  return lower(graph, "f", gpu_machine());
}

std::vector<std::int64_t> sizes_of(const Program& program,
                                   const std::map<std::string, std::int64_t>& values) {
  std::vector<std::int64_t> sizes;
  for (const DimAtomRef& size : program.sizes) {
    const auto found = values.find(size->name);
    sizes.push_back(found == values.end() ? 1 : found->second);
  }
  return sizes;
}

// Whether the indices of all kernels fit at sizes in these ranges; all others are 1.
bool fit_in(const Program& program, const std::map<std::string, codegen::ValueRange>& values) {
  const codegen::RangeOfSize range = [&](const DimAtom& size) {
    const auto found = values.find(size.name);
    return found == values.end() ? codegen::ValueRange{1, 1} : found->second;
  };
  bool all = true;
  for (const codegen::CudaKernel& kernel : codegen::emit_cuda(program).kernels) {
    all = all && codegen::fits_in_32_bits(kernel.indices, range);
  }
  return all;
}

bool fit(const Program& program, const std::map<std::string, std::int64_t>& values) {
  std::map<std::string, codegen::ValueRange> ranges;
  for (const auto& [name, value] : values) ranges[name] = {value, value};
  return fit_in(program, ranges);
}

std::int64_t divided(std::int64_t a, std::int64_t d) {
  const std::uint64_t by = codegen::division_by(d);
  const auto multiplier = static_cast<std::uint32_t>(by);
  return static_cast<std::int64_t>((static_cast<std::uint64_t>(a) * 2 * multiplier) >> 32 >>
                                   (by >> 32));
}

}  // namespace

TEST_CASE("cuda: quotients by a product and a shift") {
  constexpr std::int64_t end = std::int64_t{1} << 31;
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d < 300; ++d) divisors.push_back(d);
  for (int k = 9; k < 31; ++k) {
    for (const std::int64_t near : {-2, -1, 0, 1, 3}) divisors.push_back((1LL << k) + near);
  }
  for (const std::int64_t d : {1000003, 715827883, 1431655765}) divisors.push_back(d);
  divisors.push_back(end - 1);
  int wrong = 0;
  for (const std::int64_t d : divisors) {
    for (const std::int64_t quotient :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{7}, (end - 1) / d / 2, (end - 1) / d}) {
      for (const std::int64_t near : {-1, 0, 1}) {
        const std::int64_t a = quotient * d + near;
        if (a < 0 || a >= end) continue;
        wrong += divided(a, d) != a / d;
      }
    }
    wrong += divided(end - 1, d) != (end - 1) / d;
  }
  CHECK(wrong == 0);
  CHECK(codegen::division_by(0) == 0);
  CHECK(codegen::division_by(end) == 0);
}

TEST_CASE("cuda: when indices of 32 bits do") {
  const Tensor x = tensor("x", {dim("n"), dim("m")}), b = tensor("b", {dim("m")});
  const Program bias = lowered({x, b}, {x * b});
  CHECK(fit(bias, {{"n", 0}, {"m", 0}}));
  CHECK(fit(bias, {{"n", 40000}, {"m", 50000}}));
  CHECK(fit(bias, {{"n", 1}, {"m", 2000000000}}));
  CHECK_FALSE(fit(bias, {{"n", 50000}, {"m", 50000}}));
  CHECK_FALSE(fit(bias, {{"n", 2}, {"m", 2000000000}}));
  const Program rows = lowered({x}, {softmax(x), sum(x, 0)});
  CHECK(fit(rows, {{"n", 3}, {"m", 17}}));
  CHECK(fit(rows, {{"n", 1000000}, {"m", 1000}}));
  CHECK_FALSE(fit(rows, {{"n", 1000000}, {"m", 4000}}));
  // Of all sizes of so many bits.
  for (const Program* program : {&bias, &rows}) {
    CHECK(fit_in(*program, {{"n", codegen::range_of_bits(13)}, {"m", codegen::range_of_bits(12)}}));
    CHECK_FALSE(
        fit_in(*program, {{"n", codegen::range_of_bits(20)}, {"m", codegen::range_of_bits(20)}}));
  }
  CHECK(codegen::range_of_bits(0).high == 0);
  CHECK(codegen::range_of_bits(3).low == 4);
  CHECK(codegen::range_of_bits(3).high == 7);
}

TEST_CASE("cuda: indices of 32 and of 64 bits give the same bits") {
  const gpu_emulator::TestCuda cuda;
  const Tensor x = tensor("x", {dim("n"), dim("m")}), b = tensor("b", {dim("m")}),
               ids = tensor("ids", {dim("k")}, i64);
  const std::vector<Tensor> outputs = {x * b,
                                       transpose(x) + 1,
                                       flip(x, 1) * b,
                                       sum(x, 0),
                                       softmax(x, 1),
                                       take(x, ids, 0),
                                       argmax(x, 1),
                                       cumsum(x, 0),
                                       concatenate({x, x * 2}, 1),
                                       pad(x, {{1, 2}, {3, 1}}),
                                       dot(x, transpose(x)),
                                       iota({dim("n"), dim("m")}, 1, f32) * x};
  const Program program = lowered({x, b, ids}, outputs);
  const codegen::CudaProgram emitted = codegen::emit_cuda(program);
  codegen::DeviceProgram::How wide;
  wide.short_indices = false;
  codegen::DeviceProgram short_one(program, emitted, cuda_device(0), {}),
      wide_one(program, emitted, cuda_device(0), wide);
  for (const auto& [n, m] :
       {std::pair{3, 17}, std::pair{17, 4}, std::pair{1, 0}, std::pair{5, 40}}) {
    const std::map<std::string, std::int64_t> values{{"n", n}, {"m", m}, {"k", 2}};
    const std::vector<std::int64_t> sizes = sizes_of(program, values);
    Array a = Array::zeros({n, m}), c = Array::zeros({m}), places = Array::zeros({2}, i64);
    for (std::int64_t k = 0; k < a.size(); ++k) a.data<float>()[k] = 0.25F * float(k % 13) - 1;
    for (std::int64_t k = 0; k < c.size(); ++k) c.data<float>()[k] = 1.5F - float(k);
    places.data<std::int64_t>()[0] = -1;
    const std::vector<codegen::ArgumentMemory> inputs = {
        {a.raw(), a.size() * 4}, {c.raw(), c.size() * 4}, {places.raw(), 16}};
    const auto run = [&](codegen::DeviceProgram& device) {
      codegen::SizeValues at(program);
      at.set(sizes);
      std::vector<std::vector<std::byte>> results;
      std::vector<codegen::ArgumentMemory> memory;
      for (const TensorType& type : program.outputs) {
        std::int64_t bytes = size_of(type.dtype);
        for (const Dim& size : type.shape) bytes *= at.of(size);
        results.emplace_back(static_cast<std::size_t>(bytes));
      }
      for (auto& result : results) memory.push_back({result.data(), std::ssize(result)});
      CHECK(device.run(inputs, memory, sizes).code == KROTON_OK);
      return results;
    };
    CHECK(run(short_one) == run(wide_one));
  }
}

TEST_CASE("cuda: a call whose sizes do not fit in 32 bits") {
  const gpu_emulator::TestCuda cuda;
  const Tensor x = tensor("x", {dim("n"), dim("m")}), z = tensor("z", {dim("k")});
  const auto f = function({x, z}, {sum(x), z * 2}, {.name = "f", .target = kroton::cuda()});
  const Array values = Array::from({1.0F, 2.0F, 3.0F});
  for (const std::int64_t rows : {std::int64_t{2}, std::int64_t{1} << 32, std::int64_t{2}}) {
    const auto results = f(Array::zeros({rows, 0}), values);
    CHECK(results[0].item<float>() == 0);
    CHECK(array_equal(results[1], Array::from({2.0F, 4.0F, 6.0F})));
  }
}

}  // namespace index_width
