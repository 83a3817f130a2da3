// The forms in which programs write attention. On a GPU each is one kernel, and a few for its
// gradients, and nothing that has a number for each pair of a row and a key is in memory.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/nn_attention.h>

#include <cmath>
#include <functional>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"

using namespace kroton;  // NOLINT: tests

namespace attention_forms {
namespace {

constexpr std::int64_t heads = 2, each = 16, width = heads * each, distances = 9;

// What a form is written with. All sizes are free but those of heads.
struct Given {
  DType dtype = f32;
  Dim b = dim("b"), m = dim("m"), n = dim("n");
  Tensor q = tensor("q", {b, heads, m, each}, dtype), k = tensor("k", {b, heads, n, each}, dtype),
         v = tensor("v", {b, heads, n, each}, dtype);
  Tensor x = tensor("x", {b, m, width}, dtype), memory = tensor("memory", {b, n, width}, dtype);
  Tensor keys = tensor("keys", {b, n}, boolean), rows = tensor("rows", {b, m}, boolean),
         pairs = tensor("pairs", {b, m, n}, boolean), alike = tensor("alike", {m, n}, boolean);
  Tensor added = tensor("added", {b, 1, m, n}, dtype),
         added_to_keys = tensor("added_to_keys", {b, n}, dtype),
         bias = tensor("bias", {heads, m, n}, dtype);
  Tensor slopes = tensor("slopes", {heads}, dtype),
         table = tensor("table", {distances, heads}, dtype);

  std::vector<Tensor> inputs() const {
    return {q,    k,      v,    x, memory, keys, rows, pairs, alike, added, added_to_keys,
            bias, slopes, table};
  }
  Tensor scores() const { return matmul(q, swapaxes(k, 2, 3)) * 0.25; }
  Tensor attend(const Tensor& made) const { return matmul(softmax(made, -1), v); }
  // How far behind the row the key is.
  Tensor distance() const { return iota({m, n}, 0) - iota({m, n}, 1); }
};

// (batch, keys) or (batch, rows, keys)
Tensor of_all_heads(const Tensor& mask) {
  const Tensor whole = expand_dims(mask, 1);
  return mask.rank() == 2 ? expand_dims(whole, 1) : whole;
}
Tensor shown(const Tensor& mask, const Tensor& scores) { return where(mask, scores, -1e4); }
Tensor between_all_rows(const Given& a, const Tensor& k, const Tensor& v) {
  return matmul(softmax(matmul(a.q, swapaxes(k, -2, -1)), -1), v);
}

struct Form {
  const char* name;
  std::function<Tensor(const Given&)> result;
  // At most: kernels besides those of attention and its gradients, without gradients and with them.
  // Rows that are summed up for the gradients are one.
  int others = 0, training_others = 1;
  bool of_layer = false;  // trained with x
  int pairs = 2;          // kernels of gradients: of queries, of keys and values
};

const Form forms[] = {
    {"plain", [](const Given& a) { return a.attend(a.scores()); }},
    {"a mask of keys",
     [](const Given& a) { return a.attend(shown(of_all_heads(a.keys), a.scores())); }},
    {"a mask of pairs of each example",
     [](const Given& a) { return a.attend(shown(of_all_heads(a.pairs), a.scores())); }},
    {"a mask of pairs of minus infinity",
     [](const Given& a) { return a.attend(where(a.alike, a.scores(), -HUGE_VAL)); }},
    {"an additive mask", [](const Given& a) { return a.attend(a.scores() + a.added); }},
    {"an additive mask of keys",
     [](const Given& a) { return a.attend(a.scores() + of_all_heads(a.added_to_keys)); }},
    {"a mask that is made additive",
     [](const Given& a) {
       return a.attend(a.scores() + (1.0 - cast(of_all_heads(a.keys), a.dtype)) * -1e4);
     }},
    {"rows that see nothing are 0",
     [](const Given& a) {
       const Tensor mask = of_all_heads(a.pairs);
       const Tensor weights = softmax(shown(mask, a.scores()), -1);
       return matmul(where(any(mask, 3, true), weights, 0), a.v);
     },
     4, 5},  // whether a row sees anything, in one of several ways
    {"a bias of each head", [](const Given& a) { return a.attend(a.scores() + a.bias); }},
    {"a slope of each head",
     [](const Given& a) {
       const Tensor slopes = reshape(a.slopes, {heads, 1, 1});
       return a.attend(a.scores() - slopes * cast(a.distance(), a.dtype));
     }},
    {"a bias from a table",
     [](const Given& a) {
       const Tensor place = minimum(maximum(a.distance() + distances / 2, 0), distances - 1);
       return a.attend(a.scores() + transpose(take(a.table, place), {2, 0, 1}));
     },
     1, 2},  // what is looked up, for each head and not for each example
    {"a window",
     [](const Given& a) {
       const Tensor distance = a.distance();
       return a.attend(where(logical_and(ge(distance, 0), lt(distance, 8)), a.scores(), -HUGE_VAL));
     },
     0, 2},
    {"three axes",
     [](const Given& a) {
       const Tensor scores = matmul(a.x, swapaxes(a.memory, 1, 2));
       return matmul(softmax(shown(a.pairs, scores), -1), a.memory);
     },
     0, 1, true, 1},
    {"two axes",
     [](const Given& a) {
       const Tensor q = a.q(0, 0), k = a.k(0, 0), v = a.v(0, 0);
       return matmul(softmax(matmul(q, transpose(k)) + a.added(0, 0), -1), v);
     },
     0, 4},  // gradients of slices
    {"a batch of one",
     [](const Given& a) {
       const auto one = slice(0, 1);
       const Tensor scores = matmul(a.q(one), swapaxes(a.k(one), 2, 3));
       return matmul(softmax(shown(of_all_heads(a.keys(one)), scores), -1), a.v(one));
     },
     0, 4},
    {"keys of one head for all",
     [](const Given& a) {
       return between_all_rows(a, a.k(all, slice(0, 1)), a.v(all, slice(0, 1)));
     },
     0, 4},
    {"an axis of one group",
     [](const Given& a) {
       const auto repeated = [&](const Tensor& x) {
         return broadcast_to(expand_dims(x(all, slice(0, 1)), 2), {a.b, 1, heads, a.n, each});
       };
       const Tensor q = reshape(a.q, {a.b, 1, heads, a.m, each});
       const Tensor scores = matmul(q, swapaxes(repeated(a.k), -2, -1));
       return matmul(softmax(scores, -1), repeated(a.v));
     },
     0, 7},
    {"batch and heads in one axis for products",
     [](const Given& a) {
       const Dim every = a.b * heads;
       const auto merged = [&](const Tensor& t, const Dim& size, const Dim& last) {
         return reshape(t, {every, size, last});
       };
       const Tensor products =
           matmul(merged(a.q, a.m, each), swapaxes(merged(a.k, a.n, each), 1, 2));
       const Tensor scores = reshape(products, {a.b, heads, a.m, a.n});
       const Tensor weights = softmax(shown(of_all_heads(a.keys), scores), -1);
       const Tensor y = matmul(merged(weights, a.m, a.n), merged(a.v, a.n, each));
       return reshape(transpose(y, {1, 0, 2}), {a.m, a.b, width});
     },
     2, 4},
    {"keys before rows",
     [](const Given& a) {
       const Tensor scores = matmul(a.k, swapaxes(a.q, 2, 3)) + swapaxes(a.bias, 1, 2);
       return matmul(swapaxes(softmax(scores, 2), 2, 3), a.v);
     }},
    {"a layer", [](const Given& a) { return nn::MultiHeadAttention(heads)(a.x, a.memory); }, 9, 14,
     true, 1},
    {"a layer under a mask of keys",
     [](const Given& a) {
       return nn::MultiHeadAttention(heads)(a.x, a.memory, of_all_heads(a.keys));
     },
     20, 25, true, 1},
    {"a layer under a mask of pairs",
     [](const Given& a) {
       return nn::MultiHeadAttention(heads)(a.x, a.memory, of_all_heads(a.pairs));
     },
     23, 28, true, 1},
    {"a layer under a mask of numbers",
     [](const Given& a) { return nn::MultiHeadAttention(heads)(a.x, a.memory, a.added); }, 23, 28,
     true, 1},
    {"a causal layer under a mask of keys",
     [](const Given& a) {
       return nn::MultiHeadAttention(heads, {.causal = true})(a.x, a.x, of_all_heads(a.rows));
     },
     24, 34, true},
    {"a block under a mask of keys",
     [](const Given& a) {
       return nn::TransformerBlock(heads, 3, {.causal = true})(a.x, of_all_heads(a.rows));
     },
     27, 43, true},
};

struct Kernels {
  int attention = 0, pairs = 0, others = 0;
  bool stores_pairs = false;
};
Kernels kernels_of(const Given& given, const std::vector<Tensor>& outputs) {
  Graph graph(given.inputs(), outputs, {});
  run_passes(graph);
  const Program program = lower(graph, "f", gpu_machine(80));
  Kernels result;
  const auto elements = [](const Dim& size) {
    return size.evaluate([](const DimAtom& atom) { return atom.name == "b" ? 3 : 1000; });
  };
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    ++(kernel.form.starts_with("attention") ? result.attention
       : kernel.form.starts_with("pairs")   ? result.pairs
                                            : result.others);
    for (const loop::BufferRef& buffer : kernel.outputs) {
      result.stores_pairs |= elements(buffer->size) >= 3 * heads * 1000 * 1000;
    }
  });
  return result;
}

std::vector<Tensor> with_gradients(const Form& form, const Given& given) {
  const Tensor y = form.result(given);
  std::vector<Tensor> outputs{y};
  const std::vector<Tensor> of =
      form.of_layer ? std::vector{given.x} : std::vector{given.q, given.k, given.v};
  for (const Tensor& slope : grad(sum(cast(y * y, f32)), of)) outputs.push_back(slope);
  return outputs;
}

const Form& form_named(std::string_view name) {
  for (const Form& form : forms) {
    if (name == form.name) return form;
  }
  throw ValueError("no form of that name");
}

// Random numbers, and masks of which each row sees something; sizes that b, m and n have.
std::vector<Argument> arguments_of(const Given& given, std::int64_t b, std::int64_t m,
                                   std::int64_t n) {
  std::vector<Argument> arguments;
  std::uint64_t seed = 1;
  for (const Tensor& input : given.inputs()) {
    Shape shape;
    for (const Dim& size : input.shape()) {
      shape.push_back(size.evaluate([&](const DimAtom& atom) {
        return atom.name == "b" ? b : atom.name == "m" ? m : n;
      }));
    }
    Array numbers = Array::normal(shape, seed++, 0, 1);
    if (input.dtype() == boolean) {
      Array mask = Array::zeros(shape, boolean);
      for (std::int64_t i = 0; i < mask.size(); ++i) {
        mask.data<bool>()[i] = i % 3 != 2 || numbers.data<float>()[i] > 0;
      }
      numbers = mask;
    }
    arguments.push_back(numbers);
  }
  return arguments;
}

// All at once: functions are compiled once.
void check_forms(const std::vector<const char*>& names, bool trains) {
  const gpu_emulator::TestCuda device;
  nn::seed(2);
  const Given given;
  std::vector<Tensor> outputs;
  for (const char* name : names) {
    const Form& form = form_named(name);
    const std::vector<Tensor> own =
        trains ? with_gradients(form, given) : std::vector{form.result(given)};
    outputs.insert(outputs.end(), own.begin(), own.end());
  }
  const std::vector<Tensor> inputs = given.inputs();
  const auto on_cpu = function(inputs, outputs, {.on_unused_input = UnusedInput::ignore});
  const auto on_cuda =
      function(inputs, outputs, {.target = cuda(), .on_unused_input = UnusedInput::ignore});
  for (const auto& [b, m, n] : {std::array<std::int64_t, 3>{1, 1, 3}, {2, 17, 35}}) {
    CAPTURE(m);
    const std::vector<Argument> arguments = arguments_of(given, b, m, n);
    const std::vector<Array> wanted = on_cpu.call(arguments), got = on_cuda.call(arguments);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CAPTURE(i);
      CHECK(all_close(got[i], wanted[i], 1e-4, 1e-4, true));
    }
  }
}

}  // namespace

TEST_CASE("attention: each form that programs have stores nothing of all pairs") {
  for (const DType dtype : {f32, f16})
    for (const Form& form : forms) {
      CAPTURE(form.name);
      CAPTURE(dtype);
      nn::seed(2);
      const Given given{dtype};
      const std::vector<Tensor> outputs = with_gradients(form, given);
      const Kernels forwards = kernels_of(given, {outputs[0]});
      CHECK(forwards.attention == 1);
      CHECK(forwards.others <= form.others);
      CHECK(!forwards.stores_pairs);
      const Kernels training = kernels_of(given, outputs);
      CHECK(training.attention == 1);
      CHECK(training.pairs == form.pairs);
      CHECK(training.others <= form.training_others);
      CHECK(!training.stores_pairs);
    }
}

TEST_CASE("cuda: attention of the forms that programs have") {
  check_forms({"rows that see nothing are 0", "a bias from a table",
               "batch and heads in one axis for products", "an axis of one group",
               "keys before rows", "a layer under a mask of pairs"},
              false);
}

TEST_CASE("cuda: attention under masks trains as on the CPU") {
  check_forms({"a layer under a mask of keys", "batch and heads in one axis for products",
               "keys before rows"},
              true);
}

}  // namespace attention_forms
