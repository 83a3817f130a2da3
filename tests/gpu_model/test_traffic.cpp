// The traffic of kernels of every form: sectors and banks as few as can be, but for what is named.
#include <doctest/doctest.h>
#include <kroton/convolution.h>
#include <kroton/cumulative.h>
#include <kroton/kroton.h>
#include <kroton/normalization.h>
#include <kroton/sort.h>

#include <set>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/gpu_model/traffic.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/golden.h"

using namespace gpu_model;  // NOLINT: tests
namespace kt = kroton;

namespace {

struct Measured {
  std::string name;
  compiled_test::Problem problem;
};

kt::Array floats(const kt::Shape& shape) { return compiled_test::random_array(shape, kt::f32, 1); }

// Rows, copies, what goes by indices, and steps.
void add_rows_and_indices(std::vector<Measured>& list) {
  using kt::Tensor;
  const Tensor x = kt::tensor("x", {12, 512}), scale = kt::tensor("scale", {512}),
               shift = kt::tensor("shift", {512});
  list.push_back({"layer norm",
                  {{x, scale, shift},
                   {kt::layer_norm(x, scale, shift)},
                   {floats({12, 512}), floats({512}), floats({512})}}});
  list.push_back({"argmax of rows", {{x}, {kt::argmax(x, 1)}, {floats({12, 512})}}});
  list.push_back({"concatenate", {{x}, {kt::concatenate({x, x * 2}, 0)}, {floats({12, 512})}}});
  const Tensor ids = kt::tensor("ids", {100}, kt::i64);
  kt::Array places = kt::Array::zeros({100}, kt::i64);
  for (std::int64_t k = 0; k < 100; ++k) places.data<std::int64_t>()[k] = k * 7 % 12;
  list.push_back({"gather of rows", {{x, ids}, {kt::take(x, ids)}, {floats({12, 512}), places}}});
  const Tensor keys = kt::tensor("keys", {3000}), rows = kt::tensor("rows", {3, 400});
  list.push_back({"sort of 3000", {{keys}, {kt::sort(keys)}, {floats({3000})}}});
  list.push_back({"sort of rows", {{rows}, {kt::sort(rows)}, {floats({3, 400})}}});
  const Tensor each = kt::tensor("each", {20, 64}), w = kt::tensor("w", {64, 64});
  const auto steps = [&](bool by_elements) {
    return kt::scan(
        [&](Tensor now, Tensor h) {
          return kt::tanh((by_elements ? h * 0.9 : kt::dot(h, w)) + now);
        },
        {.sequences = {each}, .outputs_info = {kt::zeros({64})}});
  };
  list.push_back({"scan of elements", {{each}, {steps(true)}, {floats({20, 64})}}});
  list.push_back(
      {"scan of products", {{each, w}, {steps(false)}, {floats({20, 64}), floats({64, 64})}}});
}

std::vector<Measured> measured_cases() {
  std::vector<Measured> list;
  const auto add = [&](const std::string& name, const kt::Shape& shape, auto make) {
    kt::Dims dims;
    for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
    const kt::Tensor x = kt::tensor("x", dims);
    list.push_back({name, {{x}, {make(x)}, {floats(shape)}}});
  };
  using kt::Tensor;
  add("elementwise", {1000}, [](Tensor x) { return kt::tanh(x) * x; });
  add("transpose", {128, 96}, [](Tensor x) { return kt::transpose(x); });
  add("transpose and sum", {3, 40, 50},
      [](Tensor x) { return kt::transpose(x, {0, 2, 1}) * 2 + x(0, 0, 0); });
  add("rows of 1000", {4, 1000}, [](Tensor x) { return kt::softmax(x); });
  for (const kt::DType dtype : {kt::f32, kt::bf16}) {
    const Tensor x = kt::tensor("x", {kt::dim("n"), kt::dim("m")}, dtype);
    for (const std::int64_t length : {1000, 999}) {
      list.push_back({"free rows of " + std::to_string(length) + ", " + std::string(name_of(dtype)),
                      {{x}, {kt::softmax(x)}, {floats({4, length}).cast(dtype)}}});
    }
  }
  add("rows of 100", {8, 100}, [](Tensor x) { return kt::softmax(x); });
  add("rows of 10", {512, 10}, [](Tensor x) { return kt::softmax(x); });
  add("rows of 40 by parts of warps", {1024, 40}, [](Tensor x) { return kt::softmax(x); });
  add("sort of rows of 40", {8, 40}, [](Tensor x) { return kt::sort(x); });
  add("argsort of rows of 500", {2, 500}, [](Tensor x) { return kt::argsort(x); });
  add("argsort of a long row", {5000}, [](Tensor x) { return kt::argsort(x); });
  add("long rows", {2, 20000}, [](Tensor x) { return kt::sum(x, 1); });
  add("columns", {300, 64}, [](Tensor x) { return kt::sum(x, 0); });
  add("8 columns", {4096, 8}, [](Tensor x) { return kt::sum(x, 0); });
  add("columns in stages", {1000, 64}, [](Tensor x) { return kt::softmax(x, 0); });
  add("long columns in stages", {5000, 16}, [](Tensor x) { return kt::softmax(x, 0); });
  add("channels", {2, 20, 128}, [](Tensor x) { return kt::log_softmax(x, 1); });
  add("all", {20000}, [](Tensor x) { return kt::sum(x); });
  const auto product = [&](const std::string& name, const kt::Shape& a, const kt::Shape& b,
                           bool transposed, kt::DType dtype = kt::f32) {
    const Tensor x = kt::tensor("a", {a[0], a[1]}, dtype), y = kt::tensor("b", {b[0], b[1]}, dtype);
    const Tensor z = transposed ? kt::dot(kt::transpose(x), kt::transpose(y)) : kt::dot(x, y);
    list.push_back({name, {{x, y}, {kt::relu(z)}, {floats(a).cast(dtype), floats(b).cast(dtype)}}});
  };
  product("product", {128, 64}, {64, 128}, false);
  product("product of transposed", {64, 128}, {128, 64}, true);
  product("product, bf16", {128, 64}, {64, 128}, false, kt::bf16);
  product("product of transposed, bf16", {64, 128}, {128, 64}, true, kt::bf16);
  const auto convolution = [&](const std::string& name, int which) {
    const kt::Shape image{1, 8, 8, 16}, window{64, 8, 3, 3}, result{1, 64, 8, 16};
    const Tensor x = kt::tensor("x", {1, 8, 8, 16}), w = kt::tensor("w", {64, 8, 3, 3}),
                 c = kt::tensor("c", {1, 64, 8, 16});
    kt::ConvolutionOptions same;
    same.padding = kt::Padding::same;
    const Tensor y = kt::conv2d(x, w, same);
    const auto [gx, gw] = kt::grad(kt::sum(y * c), x, w);
    list.push_back({name,
                    {{x, w, c},
                     {which == 0   ? y
                      : which == 1 ? gx
                                   : gw},
                     {floats(image), floats(window), floats(result)}}});
  };
  convolution("convolution", 0);
  convolution("convolution, gradient of the image", 1);
  convolution("convolution, gradient of the filters", 2);
  {
    const Tensor x = kt::tensor("x", {1, 8, 16, 32}), w = kt::tensor("w", {64, 8, 3, 3});
    kt::ConvolutionOptions strided;
    strided.stride = 2;
    strided.padding = 1;
    list.push_back(
        {"convolution of stride 2",
         {{x, w}, {kt::conv2d(x, w, strided)}, {floats({1, 8, 16, 32}), floats({64, 8, 3, 3})}}});
  }
  const auto attention = [&](const std::string& name, kt::DType dtype, bool gradients) {
    const kt::Shape shape{2, 64, 64};
    const Tensor q = kt::tensor("q", {2, 64, 64}, dtype), k = kt::tensor("k", {2, 64, 64}, dtype),
                 v = kt::tensor("v", {2, 64, 64}, dtype), c = kt::tensor("c", {2, 64, 64}, dtype);
    const kt::Array values = floats(shape).cast(dtype);
    const Tensor y = kt::matmul(kt::softmax(kt::matmul(q, kt::swapaxes(k, 1, 2)), -1), v);
    if (!gradients) {
      list.push_back({name, {{q, k, v}, {y}, {values, values, values}}});
      return;
    }
    const auto [gq, gk, gv] = kt::grad(kt::sum(y * c), q, k, v);
    list.push_back({name, {{q, k, v, c}, {gq, gk, gv}, {values, values, values, values}}});
  };
  attention("attention", kt::f32, false);
  attention("attention, bf16", kt::bf16, false);
  attention("attention, gradients", kt::f32, true);
  attention("attention, gradients, bf16", kt::bf16, true);
  add("running sum of rows", {2, 4200}, [](Tensor x) { return kt::cumsum(x, 1); });
  add("running sum of columns", {600, 64}, [](Tensor x) { return kt::cumsum(x, 0); });
  const auto scatter = [&](const std::string& name, const kt::Shape& shape, std::int64_t rows) {
    kt::Dims dims{shape[0]}, result{rows};
    if (shape.rank() > 1) {
      dims.emplace_back(shape[1]);
      result.emplace_back(shape[1]);
    }
    const Tensor x = kt::tensor("x", dims), ids = kt::tensor("ids", {shape[0]}, kt::i64);
    kt::Array places = kt::Array::zeros({shape[0]}, kt::i64);
    for (std::int64_t k = 0; k < shape[0]; ++k) {
      places.data<std::int64_t>()[k] = k * 7919 % rows;
    }
    list.push_back({name, {{x, ids}, {kt::scatter_add(x, ids, result)}, {floats(shape), places}}});
  };
  scatter("scatter of rows", {2560, 12}, 50);
  scatter("scatter of numbers", {2560}, 50);
  add_rows_and_indices(list);
  return list;
}

}  // namespace

TEST_CASE("golden: traffic of kernels in the emulator") {
  // Asked for more than half as many sectors or banks again as would do.
  const std::set<std::string> known = {
      // Four neighbours in shared memory, which the compiler loads together (the table of the code
      // has 16 bytes), are four requests of the text. Also one operand of two is stored across its
      // lines.
      "product",
      "product of transposed",
      "attention, gradients",
      "convolution",
      "convolution, gradient of the image",
      "convolution, gradient of the filters",  // rows of three, too, which are stored one by one
      "convolution of stride 2",               // and every second element is loaded
      // Two neighbours of 16 bits are half a sector of a row.
      "product, bf16",
      "product of transposed, bf16",
      "attention, bf16",
      "attention, gradients, bf16",
      "attention",  // a thread's neighbouring weights are stored in different lines
      // Elements that are sorted go anywhere.
      "scatter of rows",
      "scatter of numbers",
      "sort of 3000",
      "argsort of a long row",
      // Keys go to places of shared memory that follow from them alone.
      "sort of rows",
      "sort of rows of 40",
      "argsort of rows of 500",
  };
  const gpu_emulator::TestCuda cuda;
  if (!cuda.is_emulated()) return;
  std::string text;
  for (const Measured& one : measured_cases()) {
    const Traffic traffic;
    compiled_test::compiled(one.problem, kt::cuda());
    text += one.name + "\n" + to_string(traffic.kernels());
    double worst = 1;
    for (const KernelTraffic& kernel : traffic.kernels()) {
      for (const Requests* r :
           {&kernel.loads, &kernel.stores, &kernel.shared_loads, &kernel.shared_stores}) {
        worst = std::max(worst, r->excess());
      }
    }
    CHECK_MESSAGE((worst <= 1.5) != known.contains(one.name), one.name, ": ", worst,
                  " times what would do");
  }
  check_golden("traffic", text, R"golden(
elementwise
  k0_tanh_mul                                4 x  256  loads 3.9/3.9 of 31.2  stores 3.9/3.9 of 31.2
transpose
  k0_copy                                   12 x  256  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
transpose and sum
  k0_mul_add                                12 x  256  loads 2.3/2.1 of 22.2  stores 2.5/2.5 of 20.0
           shared loads 1.0/1.0 of 20.0  shared stores 1.0/1.0 of 25.0
rows of 1000
  k0_max_sub_exp_sum_div_mul                 4 x  256  loads 15.6/15.6 of 31.2  stores 15.6/15.6 of
          31.2  shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 1.0
free rows of 1000, f32
  k5_max_sub_exp_sum_div_mul                 4 x  256  loads 15.6/15.6 of 32.0  stores 15.6/15.6 of
          31.2  shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 1.0
free rows of 999, f32
  k5_max_sub_exp_sum_div_mul                 4 x  256  loads 4.7/3.9 of 32.0  stores 4.7/3.9 of 31.2
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 1.0
free rows of 1000, bf16
  k5_cast_max_sub_exp_sum_div_mul_cast       4 x  256  loads 8.6/8.4 of 32.0  stores 16.1/15.8 of
          31.2  shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 1.0
free rows of 999, bf16
  k5_cast_max_sub_exp_sum_div_mul_cast       4 x  256  loads 1.9/1.5 of 32.0  stores 2.7/2.0 of 31.2
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 1.0
rows of 100
  k0_max_sub_exp_sum_div_mul                 8 x   32  loads 6.8/6.5 of 25.0  stores 6.8/6.5 of 25.0
rows of 10
  k0_max_sub_exp_sum_div_mul                 8 x   64  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
           shared loads 1.2/1.0 of 32.0  shared stores 1.5/1.0 of 32.0
rows of 40 by parts of warps
  k0_max_sub_exp_sum_div_mul                32 x  128  loads 13.3/13.3 of 26.7  stores 13.3/13.3 of
          26.7
sort of rows of 40
  k0_sort                                    2 x  256  loads 3.6/3.6 of 29.1  stores 3.6/3.6 of 29.1
           shared loads 1.0/1.0 of 29.1  shared stores 1.5/1.0 of 29.1
argsort of rows of 500
  k0_argsort                                 2 x  128  loads 4.4/3.9 of 32.0  stores 7.8/7.8 of 31.2
           shared loads 1.5/1.0 of 30.0  shared stores 2.1/1.0 of 30.0
argsort of a long row
  k0_argsort                                 2 x  256  loads 2.8/2.8 of 32.0  stores 4.0/4.0 of 31.9
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
  k1_argsort                                 3 x  256  loads 4.0/4.0 of 31.9  stores 8.9/4.0 of 31.8
           shared loads 1.5/1.0 of 30.9  shared stores 2.2/1.0 of 30.8
  k2_argsort                                 3 x  256  loads 4.0/4.0 of 31.9  stores 8.9/4.0 of 31.8
           shared loads 1.5/1.0 of 30.9  shared stores 2.2/1.0 of 30.8
  k4_argsort                                 3 x  256  loads 4.0/4.0 of 31.9  stores 8.6/8.0 of 31.8
           shared loads 1.5/1.0 of 31.1  shared stores 2.0/1.0 of 31.1
long rows
  k0_sum                                    10 x  256  loads 4.0/4.0 of 32.0  stores 1.0/1.0 of 1.0 
          shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 1.0
  k1_sum                                     1 x   64  loads 2.0/2.0 of 10.0  stores 1.0/1.0 of 2.0 
          shared loads 1.0/1.0 of 2.0  shared stores 1.0/1.0 of 10.0
columns
  k0_sum                                     2 x 1024  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
8 columns
  k0_sum                                    32 x 1024  loads 4.0/4.0 of 32.0  stores 1.0/1.0 of 8.0 
          shared loads 1.0/1.0 of 8.0  shared stores 1.0/1.0 of 32.0
  k1_sum                                     1 x   64  loads 1.0/1.0 of 8.0  stores 1.0/1.0 of 8.0
columns in stages
  k0_max_sub_exp_sum_div_mul                 8 x  512  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
long columns in stages
  k0_max_sub_exp_sum_div_mul                20 x  256  loads 4.0/4.0 of 32.0  stores 1.0/1.0 of 8.0 
          shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
  k1_max_sub_exp_sum_div_mul                 1 x  128  loads 2.0/2.0 of 16.0  stores 2.0/2.0 of 16.0
           shared loads 1.0/1.0 of 16.0  shared stores 1.0/1.0 of 16.0
  k2_max_sub_exp_sum_div_mul               313 x  256  loads 2.7/2.7 of 32.0  stores 4.0/4.0 of 32.0
channels
  k0_max_sub_exp_sum_log_sub                16 x  128  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
all
  k0_sum                                     5 x  256  loads 4.0/4.0 of 32.0  stores 1.0/1.0 of 1.0 
          shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 1.0
  k1_sum                                     1 x   32  loads 1.0/1.0 of 5.0  stores 1.0/1.0 of 1.0
product
  k0_dot_relu                                4 x  256  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.8/1.0 of 32.0  shared stores 1.5/1.0 of 32.0
product of transposed
  k0_dot_relu                                4 x  256  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.8/1.0 of 32.0  shared stores 1.5/1.0 of 32.0
product, bf16
  k0_cast_cast_dot_cast_cast_relu_cast       4 x  128  loads 16.0/16.0 of 32.0  stores 8.0/4.0 of
          32.0  shared loads 4.0/4.0 of 32.0  shared stores 4.0/4.0 of 32.0
product of transposed, bf16
  k0_cast_cast_dot_cast_cast_relu_cast       4 x  128  loads 16.0/16.0 of 32.0  stores 8.0/4.0 of
          32.0  shared loads 4.0/4.0 of 32.0  shared stores 4.0/4.0 of 32.0
convolution
  k0_unslice_convolution                     1 x  256  loads 5.1/3.4 of 26.5  stores 16.0/16.0 of
          32.0  shared loads 3.4/1.0 of 32.0  shared stores 1.0/1.0 of 28.8
convolution, gradient of the image
  k0_unslice_unslice_convolution             4 x  128  loads 4.0/3.6 of 27.8  stores 16.0/16.0 of
          32.0  shared loads 3.4/1.0 of 32.0  shared stores 1.0/1.0 of 30.9
  k1_unslice_unslice_convolution            16 x   64  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
convolution, gradient of the filters
  k0_unslice                                 6 x  256  loads 3.6/3.4 of 23.3  stores 4.0/4.0 of 32.0
  k1_convolution                             1 x  256  loads 3.9/3.5 of 32.0  stores 13.0/3.0 of
          18.0  shared loads 3.4/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
  k2_copy                                   18 x  256  loads 8.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
convolution of stride 2
  k0_unslice_convolution                     1 x  256  loads 7.5/3.5 of 27.6  stores 16.0/16.0 of
          32.0  shared loads 3.4/1.0 of 32.0  shared stores 1.0/1.0 of 28.8
attention
  k0_dot_max_sub_exp_sum_div_mul_dot         2 x  128  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.0/1.0 of 32.0  shared stores 1.7/1.0 of 32.0
attention, bf16
  k0_cast_cast_dot_cast_cast_max_sub_ex      2 x  128  loads 16.0/16.0 of 32.0  stores 8.0/4.0 of
          32.0  shared loads 3.1/3.1 of 32.0  shared stores 1.9/1.9 of 32.0
attention, gradients
  k0_dot                                     2 x  256  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.8/1.0 of 32.0  shared stores 2.0/1.0 of 32.0
  k1_dot                                     2 x  256  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.8/1.0 of 32.0  shared stores 2.0/1.0 of 32.0
  k2_max_sub_exp_sum_div_mul_mul_sum_su    128 x   32  loads 8.0/8.0 of 32.0  stores 8.0/8.0 of 32.0
  k3_dot                                     2 x  256  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.8/1.0 of 32.0  shared stores 1.5/1.0 of 32.0
  k4_dot                                     2 x  256  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.8/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
  k5_dot                                     2 x  256  loads 4.0/4.0 of 32.0  stores 16.0/16.0 of
          32.0  shared loads 1.8/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
attention, gradients, bf16
  k0_cast_cast_dot                           2 x  128  loads 16.0/16.0 of 32.0  stores 8.0/8.0 of
          32.0  shared loads 4.0/4.0 of 32.0  shared stores 4.0/4.0 of 32.0
  k1_cast_cast_dot                           2 x  128  loads 16.0/16.0 of 32.0  stores 8.0/8.0 of
          32.0  shared loads 4.0/4.0 of 32.0  shared stores 4.0/4.0 of 32.0
  k2_cast_cast_max_sub_exp_sum_div_mul_    128 x   32  loads 8.0/8.0 of 32.0  stores 4.0/4.0 of 32.0
  k3_cast_cast_dot_cast                      2 x  128  loads 16.0/16.0 of 32.0  stores 8.0/4.0 of
          32.0  shared loads 4.0/4.0 of 32.0  shared stores 4.0/4.0 of 32.0
  k4_cast_cast_dot_cast                      2 x  128  loads 16.0/16.0 of 32.0  stores 8.0/4.0 of
          32.0  shared loads 4.0/4.0 of 32.0  shared stores 4.0/4.0 of 32.0
  k5_cast_cast_dot_cast                      2 x  128  loads 16.0/16.0 of 32.0  stores 8.0/4.0 of
          32.0  shared loads 4.0/4.0 of 32.0  shared stores 4.0/4.0 of 32.0
running sum of rows
  k0_cumsum                                  6 x  256  loads 3.0/3.0 of 32.0  stores 4.0/4.0 of 31.8
           shared loads 1.2/1.0 of 31.4  shared stores 1.3/1.0 of 31.4
running sum of columns
  k0_cumsum                                 10 x  256  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
scatter of rows
  k0_scatter_add                             3 x  256  stores 3.9/3.9 of 31.6
  k1_scatter_add                            10 x  256  loads 8.0/8.0 of 32.0  stores 4.0/4.0 of 32.0
  k2_scatter_add                             1 x  256  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
  k3_scatter_add                             2 x  256  loads 4.0/4.0 of 32.0  stores 5.8/4.0 of 32.0
           shared loads 1.5/1.0 of 31.0  shared stores 2.0/1.0 of 30.9
  k4_scatter_add                            20 x  256  loads 2.3/1.3 of 29.2  stores 2.0/2.0 of 12.0
           shared loads 1.0/1.0 of 29.4  shared stores 1.0/1.0 of 31.6
scatter of numbers
  k0_scatter_add                             1 x  256  stores 3.5/3.5 of 25.0
  k1_scatter_add                            10 x  256  loads 8.0/8.0 of 32.0  stores 4.0/4.0 of 32.0
  k2_scatter_add                            10 x  128  loads 4.0/4.0 of 32.0  stores 3.9/3.5 of 25.0
           shared loads 1.0/1.0 of 31.7  shared stores 1.0/1.0 of 27.3
  k3_scatter_add                             7 x  256  loads 4.2/2.5 of 19.6  stores 1.0/1.0 of 7.1 
          shared loads 1.0/1.0 of 8.0  shared stores 1.0/1.0 of 32.0
layer norm
  k0_sum_div_sub_mul_sum_div_add_sqrt_d     12 x   32  loads 16.0/16.0 of 32.0  stores 16.0/16.0 of
          32.0
argmax of rows
  k0_argmax                                 12 x   32  loads 16.0/16.0 of 32.0  stores 1.0/1.0 of
          1.0
concatenate
  k0_mul_concatenate                        48 x  256  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
gather of rows
  k0_take                                  200 x  256  loads 2.5/2.5 of 32.0  stores 4.0/4.0 of 32.0
sort of 3000
  k0_sort                                    1 x  256  loads 3.2/3.2 of 32.0  stores 4.0/4.0 of 31.9
           shared loads 1.0/1.0 of 32.0  shared stores 1.0/1.0 of 32.0
  k1_sort                                    2 x  256  loads 4.0/4.0 of 31.9  stores 8.2/4.0 of 31.9
           shared loads 1.5/1.0 of 30.7  shared stores 2.1/1.0 of 30.5
  k1_sort                                    2 x  256  loads 4.0/4.0 of 31.9  stores 8.1/4.0 of 31.9
           shared loads 1.5/1.0 of 30.7  shared stores 2.1/1.0 of 30.6
  k1_sort                                    2 x  256  loads 4.0/4.0 of 31.9  stores 8.2/4.0 of 31.9
           shared loads 1.5/1.0 of 30.8  shared stores 2.1/1.0 of 30.6
  k4_sort                                    2 x  256  loads 4.0/4.0 of 31.9  stores 5.1/4.0 of 31.9
           shared loads 1.5/1.0 of 31.0  shared stores 2.0/1.0 of 30.9
sort of rows
  k0_sort                                    3 x  128  loads 3.3/3.3 of 32.0  stores 3.8/3.8 of 30.8
           shared loads 1.5/1.0 of 29.9  shared stores 2.0/1.0 of 29.8
scan of elements
  k0_copy                                    1 x  256  stores 4.0/4.0 of 32.0
  k1_scan_mul_add_tanh                       1 x   64  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
  k2_copy                                    5 x  256  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
scan of products
  k0_copy                                    1 x  256  stores 4.0/4.0 of 32.0
  k1_scan_mul_sum_add_tanh                   1 x   64  loads 2.5/2.5 of 32.0  stores 4.0/4.0 of 32.0
  k2_copy                                    5 x  256  loads 4.0/4.0 of 32.0  stores 4.0/4.0 of 32.0
)golden");
}
