#include "tests/gpu_model/canonical.h"

#include <kroton/convolution.h>
#include <kroton/cumulative.h>
#include <kroton/error.h>
#include <kroton/normalization.h>
#include <kroton/rearrange.h>
#include <kroton/sort.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "compiler/scan/parallel.h"
#include "tests/gpu_model/networks.h"

namespace gpu_model {
namespace {

using namespace kroton;  // NOLINT: tests

Tensor numbers(const std::string& name, const Dims& shape, DType dtype = f32) {
  return tensor(name, shape, dtype);
}

void add_elementwise(std::vector<Case>& list) {
  const Tensor x = numbers("x", {dim("n")}), y = numbers("y", {dim("n")});
  list.push_back({"elementwise, free", {x, y}, {relu(x + y) * 2}, {}, {{{"n", 10000000}}}});
  const Tensor k = numbers("x", {10000000});
  list.push_back({"tanh of 1e7", {k}, {tanh(k)}, {}});
  const Tensor d = numbers("d", {dim("n")}, f64);
  list.push_back({"exp, f64", {d}, {exp(d) * d}, {}, {{{"n", 1000000}}}});
  const Tensor m = numbers("m", {dim("n"), dim("m")}), b = numbers("b", {dim("m")});
  list.push_back({"bias, free", {m, b}, {m * b}, {}, {{{"n", 8192}, {"m", 1024}}}});
  const Tensor t = numbers("t", {4096, 4096});
  list.push_back({"transpose of 4096x4096", {t}, {transpose(t)}, {}});
  const Tensor z = numbers("z", {dim("m"), dim("n")});
  list.push_back(
      {"x + transpose(y), free", {m, z}, {m + transpose(z)}, {}, {{{"n", 4096}, {"m", 4096}}}});
  list.push_back({"concatenate", {x, y}, {concatenate({x, y * 2}, 0)}, {}, {{{"n", 1000000}}}});
}

void add_rows(std::vector<Case>& list) {
  const Tensor x = numbers("x", {dim("n"), dim("m")});
  const Sizes square{{"n", 1000}, {"m", 1000}}, wide{{"n", 8}, {"m", 1000000}};
  const Tensor k = numbers("x", {1000, 1000}), w = numbers("x", {8, 1000000});
  list.push_back({"softmax of 1000x1000", {k}, {softmax(k)}, {}});
  list.push_back({"softmax of 8x1e6", {w}, {softmax(w)}, {}});
  list.push_back(
      {"softmax, free", {x}, {softmax(x)}, {}, {square, wide, {{"n", 1000000}, {"m", 40}}}});
  const Tensor s = numbers("x", {8192, 128});
  list.push_back({"log_softmax of 8192x128", {s}, {log_softmax(s)}, {}});
  list.push_back({"sum of rows, free", {x}, {sum(x, 1)}, {}, {square, wide}});
  for (const std::int64_t length : {24, 32}) {
    const Tensor r = numbers("x", {1000000, length});
    list.push_back({"softmax of 1e6x" + std::to_string(length), {r}, {softmax(r)}, {}});
  }
  const Tensor n = numbers("x", {1000000, 48}), ns = numbers("scale", {48}),
               nh = numbers("shift", {48});
  list.push_back({"layer norm of 1e6x48", {n, ns, nh}, {layer_norm(n, ns, nh)}, {}});
  const Tensor t = numbers("x", {1000000, 10});
  list.push_back({"softmax of 1e6x10", {t}, {softmax(t)}, {}});
  list.push_back({"argmax of rows, free", {x}, {argmax(x, 1)}, {}, {square, wide}});
  const Tensor d = numbers("x", {dim("n"), dim("m")}, f64);
  list.push_back({"mean of rows, f64", {d}, {mean(d, 1)}, {}, {square}});
  const Tensor l = numbers("x", {dim("n"), 1024}), scale = numbers("scale", {1024}),
               shift = numbers("shift", {1024});
  const Sizes rows{{"n", 8192}};
  const Tensor y = layer_norm(l, scale, shift);
  list.push_back({"layer norm", {l, scale, shift}, {y}, {}, {rows}});
  const Tensor c = numbers("c", {dim("n"), 1024});
  const auto [gl, gs, gh] = grad(sum(y * c), l, scale, shift);
  list.push_back({"layer norm, gradients", {l, scale, shift, c}, {gl, gs, gh}, {}, {rows}});
}

void add_sums(std::vector<Case>& list) {
  const Tensor x = numbers("x", {dim("n")});
  list.push_back({"sum of all, free", {x}, {sum(x)}, {}, {{{"n", 10000000}}, {{"n", 1000}}}});
  list.push_back({"argmax of all, free", {x}, {argmax(x, 0)}, {}, {{{"n", 10000000}}}});
  list.push_back({"softmax of all, free", {x}, {softmax(x)}, {}, {{{"n", 10000000}}}});
  const Tensor n = numbers("x", {1000000, 8});
  list.push_back({"sum of columns of 1e6x8", {n}, {sum(n, 0)}, {}});
  const Tensor m = numbers("x", {dim("n"), dim("m")});
  list.push_back({"sum of columns, free",
                  {m},
                  {sum(m, 0)},
                  {},
                  {{{"n", 1000000}, {"m", 8}}, {{"n", 8192}, {"m", 1024}}}});
  const Tensor b = numbers("x", {dim("n"), 512});
  list.push_back({"sum of 512 columns", {b}, {sum(b, 0)}, {}, {{{"n", 128}}, {{"n", 65536}}}});
  list.push_back(
      {"softmax of columns, free", {m}, {softmax(m, 0)}, {}, {{{"n", 100000}, {"m", 64}}}});
  const Tensor p = numbers("x", {dim("n"), 64, 56, 56});
  list.push_back({"sum of channels", {p}, {sum(p, {0, 2, 3})}, {}, {{{"n", 32}}}});
}

// Along an axis that is not the last one, in several stages.
void add_columns(std::vector<Case>& list) {
  const Tensor x = numbers("x", {4096, 4096});
  list.push_back({"softmax of columns of 4096x4096", {x}, {softmax(x, 0)}, {}});
  list.push_back({"argmax of columns of 4096x4096", {x}, {argmax(x, 0)}, {}});
  list.push_back({"mean, variance and extremes of columns",
                  {x},
                  {mean(x, 0), var(x, 0), max(x, 0), min(x, 0)},
                  {}});
  const Tensor p = numbers("x", {dim("n"), 64, 56, 56});
  list.push_back({"log_softmax over 64 channels", {p}, {log_softmax(p, 1)}, {}, {{{"n", 32}}}});
  const Sizes rows{{"n", 8192}};
  const Tensor b = numbers("x", {dim("n"), 1024}), scale = numbers("scale", {1024}),
               shift = numbers("shift", {1024}), c = numbers("c", {dim("n"), 1024});
  const BatchNorm norm = batch_norm(b, scale, shift);
  list.push_back({"batch norm", {b, scale, shift}, {norm.y, norm.mean, norm.variance}, {}, {rows}});
  const auto [gb, gs, gh] = grad(sum(norm.y * c), b, scale, shift);
  list.push_back({"batch norm, gradients", {b, scale, shift, c}, {gb, gs, gh}, {}, {rows}});
  const Tensor few = numbers("scale", {64}), moved = numbers("shift", {64}),
               q = numbers("c", {dim("n"), 64, 56, 56});
  const BatchNorm of_pictures = batch_norm(p, few, moved);
  const auto [gp, gf, gm] = grad(sum(of_pictures.y * q), p, few, moved);
  list.push_back({"batch norm of pictures, with gradients",
                  {p, few, moved, q},
                  {of_pictures.y, gp, gf, gm},
                  {},
                  {{{"n", 32}}}});
  const Tensor scores = numbers("scores", {8192, 1000}), labels = numbers("labels", {8192}, i64);
  list.push_back({"mean cross entropy of 8192x1000",
                  {scores, labels},
                  {mean(softmax_cross_entropy(scores, labels))},
                  {}});
}

void add_products(std::vector<Case>& list) {
  const auto product = [&](const std::string& name, std::int64_t m, std::int64_t k, std::int64_t n,
                           DType dtype = f32) {
    const Tensor a = numbers("a", {m, k}, dtype), b = numbers("b", {k, n}, dtype);
    list.push_back({name, {a, b}, {relu(dot(a, b))}, {}});
  };
  product("relu of dot 4096x4096x4096", 4096, 4096, 4096);
  product("relu of dot 64x16384x64", 64, 16384, 64);
  product("relu of dot 128x784x512", 128, 784, 512);
  product("relu of dot 1024x1024x1024, f64", 1024, 1024, 1024, f64);
  product("relu of dot 4096x512x10", 4096, 512, 10);
  const Tensor a = numbers("a", {dim("m"), dim("k")}), b = numbers("b", {dim("k"), dim("n")});
  const Tensor bias = numbers("bias", {dim("n")});
  list.push_back({"relu of dot + bias, free",
                  {a, b, bias},
                  {relu(dot(a, b) + bias)},
                  {},
                  {{{"m", 4096}, {"k", 4096}, {"n", 4096}},
                   {{"m", 64}, {"k", 16384}, {"n", 64}},
                   {{"m", 1000}, {"k", 1000}, {"n", 1000}}}});
  Case with_library = list.back();
  with_library.name += ", with the library";
  with_library.libraries = true;
  list.push_back(with_library);
  const Tensor at = numbers("a", {dim("k"), dim("m")}), bt = numbers("b", {dim("n"), dim("k")});
  list.push_back({"relu of dot of transposed, free",
                  {at, bt},
                  {relu(dot(transpose(at), transpose(bt)))},
                  {},
                  {{{"m", 1000}, {"k", 1000}, {"n", 1000}}}});
  const Tensor q = numbers("q", {dim("b"), 128, 64}), k = numbers("k", {dim("b"), 64, 128});
  list.push_back({"exp of matmul of a batch", {q, k}, {exp(matmul(q, k))}, {}, {{{"b", 96}}}});
  const Tensor v = numbers("v", {4096});
  const Tensor w = numbers("w", {4096, 4096});
  list.push_back({"dot of matrix and vector", {w, v}, {dot(w, v)}, {}});
  const Tensor image = numbers("image", {dim("n"), 64, 56, 56});
  const Tensor filters = numbers("filters", {64, 64, 3, 3});
  ConvolutionOptions same;
  same.padding = Padding::same;
  const Tensor y = conv2d(image, filters, same);
  list.push_back({"conv2d of 64x56x56, 3x3", {image, filters}, {y}, {}, {{{"n", 32}}}});
  const Tensor c = numbers("c", {dim("n"), 64, 56, 56});
  const auto [gi, gf] = grad(sum(y * c), image, filters);
  list.push_back({"conv2d, gradient of the image", {image, filters, c}, {gi}, {}, {{{"n", 32}}}});
  list.push_back({"conv2d, gradient of the filters", {image, filters, c}, {gf}, {}, {{{"n", 32}}}});
}

void add_indexed(std::vector<Case>& list) {
  const Tensor table = numbers("table", {dim("rows"), dim("columns")});
  const Tensor ids = numbers("ids", {dim("n")}, i64);
  const Sizes sizes{{"rows", 50000}, {"columns", 256}, {"n", 100000}};
  list.push_back({"gather, free", {table, ids}, {take(table, ids)}, {}, {sizes}});
  const Tensor values = numbers("values", {dim("n"), dim("columns")});
  list.push_back({"scatter_add, free",
                  {values, ids},
                  {scatter_add(values, ids, {dim("rows"), dim("columns")})},
                  {},
                  {sizes}});
  list.back().inputs.push_back(table);
  list.back().outputs.push_back(table * 2);
  const Tensor one = numbers("one", {dim("n")});
  list.push_back({"scatter_add of numbers",
                  {one, ids},
                  {scatter_add(one, ids, {1000})},
                  {},
                  {{{"n", 100000}}}});
  const Tensor x = numbers("x", {dim("n"), 256});
  list.push_back({"cumsum down rows", {x}, {cumsum(x, 0)}, {}, {{{"n", 10000}}}});
}

// A training step of a recurrent network.
void add_lstm(std::vector<Case>& list, const std::string& name, std::int64_t units,
              const Sizes& sizes) {
  const Tensor x = numbers("x", {dim("steps"), dim("batch"), units});
  const Shared w = shared(Array::zeros({units, 4 * units}), "w");
  const Shared u = shared(Array::zeros({units, 4 * units}), "u");
  const Shared b = shared(Array::zeros({4 * units}), "b");
  const Tensor zero = zeros({dim("batch"), units});
  const auto [h, c] = scan(
      [&](Tensor now, Tensor h0, Tensor c0) {
        const Tensor gates = dot(now, w) + dot(h0, u) + b;
        const auto gate = [&](std::int64_t k) {
          return gates(all, slice(k * units, (k + 1) * units));
        };
        const Tensor cell = sigmoid(gate(0)) * c0 + sigmoid(gate(1)) * tanh(gate(2));
        return std::pair{sigmoid(gate(3)) * tanh(cell), cell};
      },
      {.sequences = {x}, .outputs_info = {zero, zero}});
  const Tensor loss = mean(square(h));
  const auto [gw, gu, gb] = grad(loss, w, u, b);
  list.push_back({name,
                  {x},
                  {loss},
                  {{w, w - 0.1 * gw}, {u, u - 0.1 * gu}, {b, b - 0.1 * gb}},
                  {sizes},
                  true});
}

// Training steps.
void add_steps(std::vector<Case>& list) {
  {
    const Tensor images = numbers("images", {dim("batch"), 784});
    const Tensor labels = numbers("labels", {dim("batch")}, i64);
    const Shared w1 = shared(Array::zeros({784, 512}), "w1"),
                 b1 = shared(Array::zeros({512}), "b1");
    const Shared w2 = shared(Array::zeros({512, 10}), "w2"), b2 = shared(Array::zeros({10}), "b2");
    const Tensor scores = dot(relu(dot(images, w1) + b1), w2) + b2;
    const Tensor loss = mean(softmax_cross_entropy(scores, labels));
    const auto [g1, h1, g2, h2] = grad(loss, w1, b1, w2, b2);
    list.push_back(
        {"MLP step 784-512-10",
         {images, labels},
         {loss},
         {{w1, w1 - 0.5 * g1}, {b1, b1 - 0.5 * h1}, {w2, w2 - 0.5 * g2}, {b2, b2 - 0.5 * h2}},
         {{{"batch", 128}}},
         true});
  }
  add_lstm(list, "LSTM step, 256 units", 256, {{"steps", 100}, {"batch", 64}});
  add_lstm(list, "LSTM step, 64 units", 64, {{"steps", 100}, {"batch", 1}});
  {
    const Tensor x = numbers("x", {dim("n")});
    const Tensor y = scan([&](Tensor now, Tensor before) { return before * 0.9 + now; },
                          {.sequences = {x}, .outputs_info = {zeros({})}});
    list.push_back({"running sum by scan", {x}, {y}, {}, {{{"n", 10000}}}, true});
    list.push_back({"gradient of a running sum by scan",
                    {x},
                    {grad(sum(square(y)), x)},
                    {},
                    {{{"n", 10000}}},
                    true});
  }
  {
    // Oscillators with friction, by Runge and Kutta's method of the fourth order.
    const Tensor x = numbers("x", {dim("n")}), v = numbers("v", {dim("n")});
    const auto [xs, vs] = scan(
        [](Tensor at, Tensor speed) {
          const double h = 0.01;
          const auto force = [](const Tensor& p, const Tensor& q) { return -sin(p) - 0.1 * q; };
          const Tensor k1 = speed, l1 = force(at, speed);
          const Tensor k2 = speed + h / 2 * l1, l2 = force(at + h / 2 * k1, k2);
          const Tensor k3 = speed + h / 2 * l2, l3 = force(at + h / 2 * k2, k3);
          const Tensor k4 = speed + h * l3, l4 = force(at + h * k3, k4);
          return std::pair{at + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4),
                           speed + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)};
        },
        {.outputs_info = {x, v}, .n_steps = 1000});
    list.push_back(
        {"1000 steps of oscillators", {x, v}, {xs[-1], vs[-1]}, {}, {{{"n", 4096}}}, true});
  }
  {
    const Tensor z = numbers("z", {dim("n")}), f = numbers("f", {4, 4}), q = numbers("q", {4, 4}),
                 h = numbers("h", {4});
    const auto [x, p] = scan(
        [&](Tensor measured, Tensor x0, Tensor p0) {
          const Tensor x1 = dot(f, x0), p1 = dot(dot(f, p0), transpose(f)) + q;
          const Tensor ph = dot(p1, h), gain = ph / (dot(h, ph) + 0.1);
          return std::pair{x1 + gain * (measured - dot(h, x1)), p1 - outer(gain, ph)};
        },
        {.sequences = {z}, .outputs_info = {zeros({4}), q}});
    list.push_back({"Kalman filter of 4 numbers", {z, f, q, h}, {x}, {}, {{{"n", 1000}}}, true});
  }
}

// Products by matrix units.
void add_matrix_units(std::vector<Case>& list) {
  const auto relu_of_dot = [&](const std::string& name, const Dims& a, const Dims& b, DType dtype,
                               const std::vector<Sizes>& sizes = {{}}) {
    const Tensor x = numbers("a", a, dtype), y = numbers("b", b, dtype);
    list.push_back({"relu of dot " + name, {x, y}, {relu(dot(x, y))}, {}, sizes});
  };
  relu_of_dot("4096x4096x4096, bf16", {4096, 4096}, {4096, 4096}, bf16);
  relu_of_dot("4096x4096x4096, bf16, with the library", {4096, 4096}, {4096, 4096}, bf16);
  list.back().libraries = true;
  relu_of_dot("8x4096x4096, f16", {8, 4096}, {4096, 4096}, f16);
  relu_of_dot("4096x4096x4096, TF32", {4096, 4096}, {4096, 4096}, f32);
  list.back().tf32 = true;
  relu_of_dot("bf16, free", {dim("m"), dim("k")}, {dim("k"), dim("n")}, bf16,
              {{{"m", 4096}, {"k", 4096}, {"n", 4096}},
               {{"m", 64}, {"k", 16384}, {"n", 64}},
               {{"m", 1000}, {"k", 1000}, {"n", 1000}}});
  const Tensor at = numbers("a", {dim("k"), 1024}, bf16), bt = numbers("b", {1024, dim("k")}, bf16),
               bias = numbers("bias", {1024}, bf16);
  list.push_back({"relu of dot of transposed + bias, bf16",
                  {at, bt, bias},
                  {relu(dot(transpose(at), transpose(bt)) + bias)},
                  {},
                  {{{"k", 4096}}}});
}

void add_convolutions(std::vector<Case>& list) {
  struct Layer {
    std::string name;
    Dims picture;
    Dims filters;
    std::int64_t stride = 1, dilation = 1, groups = 1;
    bool with_gradients = false;
    Sizes sizes = {{"n", 32}};
  };
  const Dim n = dim("n");
  const std::vector<Layer> layers = {
      {"conv2d of 256x56x56, 1x1", {n, 256, 56, 56}, {64, 256, 1, 1}},
      {"conv2d of 3x224x224, 7x7, stride 2", {n, 3, 224, 224}, {64, 3, 7, 7}, 2},
      {"conv2d of 128x56x56, 3x3, stride 2", {n, 128, 56, 56}, {128, 128, 3, 3}, 2, 1, 1, true},
      {"conv2d of 64x56x56, 3x3, dilation 2", {n, 64, 56, 56}, {64, 64, 3, 3}, 1, 2},
      {"conv2d of 128x28x28, 3x3, 4 groups", {n, 128, 28, 28}, {128, 32, 3, 3}, 1, 1, 4},
      {"conv2d of 96x56x56, 3x3, 96 groups", {n, 96, 56, 56}, {96, 1, 3, 3}, 1, 1, 96, true},
      {"conv2d of 64 channels, 3x3, free",
       {n, 64, dim("h"), dim("w")},
       {64, 64, 3, 3},
       1,
       1,
       1,
       true,
       {{"n", 32}, {"h", 56}, {"w", 56}}},
      {"conv1d of 64x4096, 5", {n, 64, 4096}, {64, 64, 5}},
      {"conv3d of 32x16x28x28, 3x3x3", {n, 32, 16, 28, 28}, {32, 32, 3, 3, 3}}};
  for (const Layer& layer : layers) {
    const Tensor x = numbers("x", layer.picture), w = numbers("w", layer.filters);
    ConvolutionOptions options;
    options.stride = layer.stride;
    options.dilation = layer.dilation;
    options.groups = layer.groups;
    options.padding = Padding::same;
    const Tensor y = x.rank() == 3   ? conv1d(x, w, options)
                     : x.rank() == 4 ? conv2d(x, w, options)
                                     : conv3d(x, w, options);
    list.push_back({layer.name, {x, w}, {y}, {}, {layer.sizes}});
    if (!layer.with_gradients) continue;
    const Tensor c = numbers("c", y.shape());
    const auto [gx, gw] = grad(sum(y * c), x, w);
    list.push_back({layer.name + ", by the image", {x, w, c}, {gx}, {}, {layer.sizes}});
    list.push_back({layer.name + ", by the filters", {x, w, c}, {gw}, {}, {layer.sizes}});
  }
}

// Queries, keys and values (batch, heads, positions, head).
void add_attention(std::vector<Case>& list) {
  const auto attention = [&](const std::string& name, const Dim& batch, const Dim& heads,
                             const Dim& positions, std::int64_t head, DType dtype, bool causal,
                             const std::vector<Sizes>& sizes = {{}}) {
    const Dims shape{batch, heads, positions, head}, pairs{positions, positions};
    const Tensor q = numbers("q", shape, dtype), k = numbers("k", shape, dtype),
                 v = numbers("v", shape, dtype);
    Tensor scores = matmul(q, swapaxes(k, 2, 3)) * (1 / std::sqrt(static_cast<double>(head)));
    if (causal) scores = where(le(iota(pairs, 1), iota(pairs, 0)), scores, -1e30);
    list.push_back({name, {q, k, v}, {matmul(softmax(scores, -1), v)}, {}, sizes});
  };
  attention("attention of 8x12x1024x64, f16", 8, 12, 1024, 64, f16, false);
  attention("attention of 8x12x1024x64, f32", 8, 12, 1024, 64, f32, false);
  attention("causal attention of 8x12x1024x64, bf16", 8, 12, 1024, 64, bf16, true);
  attention("attention of heads of 128, f16, free", dim("b"), dim("h"), dim("n"), 128, f16, false,
            {{{"b", 4}, {"h", 16}, {"n", 2048}}, {{"b", 1}, {"h", 32}, {"n", 8192}}});
  attention("causal attention of heads of 64, f32, free", dim("b"), dim("h"), dim("n"), 64, f32,
            true, {{{"b", 4}, {"h", 16}, {"n", 1000}}});
  attention("attention of 8x12x1024x64, f16, gradients", 8, 12, 1024, 64, f16, false);
  Case& trained = list.back();
  const auto [gq, gk, gv] = grad(sum(square(trained.outputs[0])), trained.inputs[0],
                                 trained.inputs[1], trained.inputs[2]);
  trained.outputs = {gq, gk, gv};
}

// Along lines that one thread each would take long for.
void add_running(std::vector<Case>& list) {
  const Tensor x = numbers("x", {1000000});
  list.push_back({"cumsum of 1e6", {x}, {cumsum(x, 0)}, {}});
  const Tensor rows = numbers("x", {dim("n"), dim("m")});
  list.push_back(
      {"cumsum of rows, free", {rows}, {cumsum(rows, 1)}, {}, {{{"n", 64}, {"m", 100000}}}});
  const Tensor a = numbers("a", {100000, 16}), b = numbers("b", {100000, 16});
  list.push_back({"linear recurrence of 100000x16", {a, b}, {linear_recurrence(a, b, 0)}, {}});
}

void add_segments(std::vector<Case>& list) {
  const Shared table = shared(Array::zeros({20000, 64}), "table");
  const Tensor ids = numbers("ids", {65536}, i64), c = numbers("c", {65536, 64});
  const Tensor cost = sum(take(table, ids) * c);
  list.push_back(
      {"update of an embedding", {ids, c}, {}, {{table, table - 0.1 * grad(cost, table)}}});
}

void add_sorts(std::vector<Case>& list) {
  const Tensor x = numbers("x", {1000000}), rows = numbers("rows", {1000, 1000});
  list.push_back({"argsort of 1e6", {x}, {argsort(x)}, {}});
  // Four passes over keys and positions: 4 bytes are read, 8 go to and fro three times, then 8 are
  // stored.
  list.back().moved = 1e6 * (4 + 6 * 8 + 8);
  list.push_back({"sort of 1000x1000", {rows}, {sort(rows)}, {}});
  const Tensor short_rows = numbers("rows", {10000, 100});
  list.push_back({"sort of 10000x100", {short_rows}, {sort(short_rows)}, {}});
  const Tensor shorter = numbers("rows", {100000, 16});
  list.push_back({"sort of 100000x16", {shorter}, {sort(shorter)}, {}});
  const Tensor scores = numbers("scores", {64, 50000});
  list.push_back({"first 5 of 64x50000", {scores}, {argtopk(scores, 5)}, {}});
  const Tensor free = numbers("x", {dim("n"), dim("m")});
  list.push_back({"argsort of rows, free",
                  {free},
                  {argsort(free)},
                  {},
                  {{{"n", 100000}, {"m", 8}}, {{"n", 1000}, {"m", 1000}}}});
}

// Queries, keys and values (8, heads, 1024, 64), and keys and values that three heads share.
void add_attention_training(std::vector<Case>& list) {
  const auto attention = [](const Tensor& q, const Tensor& k, const Tensor& v) {
    return matmul(softmax(matmul(q, swapaxes(k, 2, 3)) * 0.125, -1), v);
  };
  for (const DType dtype : {f16, f32}) {
    const Dims shape{8, 12, 1024, 64};
    const Tensor q = numbers("q", shape, dtype), k = numbers("k", shape, dtype),
                 v = numbers("v", shape, dtype), g = numbers("g", shape, dtype);
    const Tensor y = attention(q, k, v);
    const auto [gq, gk, gv] = grad(sum(square(y) * g), q, k, v);
    const char* const name = dtype == f16 ? "attention step of 8x12x1024x64, f16"
                                          : "attention step of 8x12x1024x64, f32";
    list.push_back({name, {q, k, v, g}, {y, gq, gk, gv}, {}});
  }
  const Dims wide{4, 8, 2048, 128};
  const Tensor wq = numbers("q", wide, bf16), wk = numbers("k", wide, bf16),
               wv = numbers("v", wide, bf16), wg = numbers("g", wide, bf16);
  const Tensor wy = attention(wq, wk, wv);
  const auto [gq, gk, gv] = grad(sum(square(wy) * wg), wq, wk, wv);
  list.push_back({"attention step of heads of 128, bf16", {wq, wk, wv, wg}, {wy, gq, gk, gv}, {}});
  const Dims each{8, 4, 1024, 64};
  const Tensor q = numbers("q", {8, 12, 1024, 64}, f16), k = numbers("k", each, f16),
               v = numbers("v", each, f16);
  list.push_back({"attention of 12 heads that share 4 keys, f16",
                  {q, k, v},
                  {attention(q, repeat(k, 3, 1), repeat(v, 3, 1))},
                  {}});
}

}  // namespace

std::vector<Case> cases() {
  std::vector<Case> list;
  add_elementwise(list);
  add_rows(list);
  add_sums(list);
  add_columns(list);
  add_products(list);
  add_indexed(list);
  add_steps(list);
  add_matrix_units(list);
  add_convolutions(list);
  add_attention(list);
  add_running(list);
  add_segments(list);
  add_sorts(list);
  add_attention_training(list);
  add_networks(list);
  return list;
}

Program lowered(const Case& one, int capability) {
  Graph graph(one.inputs, one.outputs, one.updates);
  run_passes(graph);
  run_gpu_passes(graph);
  LoweringOptions options;
  if (one.libraries) options.products = options.convolutions = [] { return true; };
  return lower(graph, "model", gpu_machine(capability, one.tf32), options);
}

std::int64_t Evaluator::operator()(const DimAtom& size) const {
  if (size.identity == worker_count().as_variable()->identity) return processors_;
  const auto found = sizes_.find(size.name);
  return found == sizes_.end() ? std::int64_t{1} : found->second;
}

std::int64_t Evaluator::operator()(const Dim& dim) const {
  return dim.evaluate([&](const DimAtom& size) { return (*this)(size); });
}

std::int64_t Evaluator::operator()(const loop::Expr& e) const {
  const auto argument = [&](std::size_t k) { return (*this)(e->args[k]); };
  const auto quotient = [&] {
    const std::int64_t a = argument(0), b = argument(1);
    return b == 0 ? 0 : a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
  };
  switch (e->op) {
    case loop::Op::integer:
      return e->integer;
    case loop::Op::size:
      return (*this)(e->dim);
    case loop::Op::add:
      return argument(0) + argument(1);
    case loop::Op::sub:
      return argument(0) - argument(1);
    case loop::Op::mul:
      return argument(0) * argument(1);
    case loop::Op::min:
      return std::min(argument(0), argument(1));
    case loop::Op::max:
      return std::max(argument(0), argument(1));
    case loop::Op::floor_div:
      return quotient();
    case loop::Op::mod:
      return argument(0) - quotient() * argument(1);
    default:
      throw std::runtime_error("no arithmetic of sizes: " + loop::to_string(e));
  }
}

std::string to_string(const Sizes& sizes) {
  std::string text;
  for (const auto& [name, value] : sizes) {
    text += (text.empty() ? "" : " ") + name + "=" + std::to_string(value);
  }
  return text.empty() ? "known" : text;
}

}  // namespace gpu_model
