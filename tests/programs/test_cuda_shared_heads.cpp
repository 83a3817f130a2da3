// Attention on a GPU whose heads share keys and values: they are read where they lie, converted by
// nobody and repeated nowhere.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/rearrange.h>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"

using namespace kroton;  // NOLINT: tests

namespace {

constexpr std::int64_t shared_groups = 2, heads_of_group = 3, all_heads = 6;

struct SharedHeads {
  const char* name;
  std::vector<Tensor> inputs;  // queries, keys, values
  Tensor output;
};

Tensor attention_of_heads(const Tensor& q, const Tensor& k, const Tensor& v) {
  return matmul(softmax(matmul(q, swapaxes(k, -2, -1)) * 0.25, -1), v);
}

// (batch, heads, rows, each) and (batch, groups, keys, each): the forms that programs have.
std::vector<SharedHeads> shared_heads(DType dtype, std::int64_t each) {
  const Dim b = dim("b"), m = dim("m"), n = dim("n");
  const Dim groups(shared_groups), times(heads_of_group), heads(all_heads);
  const Tensor q = tensor("q", {b, heads, m, each}, dtype),
               k = tensor("k", {b, groups, n, each}, dtype),
               v = tensor("v", {b, groups, n, each}, dtype);
  std::vector<SharedHeads> forms;
  const auto by = [&](const char* name, const auto& repeated) {
    forms.push_back({name, {q, k, v}, attention_of_heads(q, repeated(k), repeated(v))});
  };
  by("broadcast and reshaped", [&](const Tensor& x) {
    return reshape(broadcast_to(expand_dims(x, 2), {b, groups, times, n, each}),
                   {b, heads, n, each});
  });
  by("repeated, as by enable_gqa", [&](const Tensor& x) { return repeat(x, times, 1); });
  by("tiled", [&](const Tensor& x) { return tile(x, {1, times, 1, 1}); });
  const Dims split{b, groups, times, m, each};
  const auto with_axis = [&](const Tensor& x) { return reshape(x, {b, groups, 1, n, each}); };
  forms.push_back(
      {"an axis of one",
       {q, k, v},
       reshape(attention_of_heads(reshape(q, split), with_axis(k), with_axis(v)), q.shape())});
  const auto indexed = [&](const Tensor& x) {
    return broadcast_to(expand_dims(x, 2), {b, groups, times, n, each});
  };
  forms.push_back(
      {"a broadcast axis",
       {q, k, v},
       reshape(attention_of_heads(reshape(q, split), indexed(k), indexed(v)), q.shape())});
  // One group, and heads that lie behind the positions.
  const Tensor one = k(all, slice(0, 1)), other = v(all, slice(0, 1));
  forms.push_back({"one for all", {q, k, v}, attention_of_heads(q, one, other)});
  const Tensor qt = tensor("q", {b, m, heads, each}, dtype),
               kt = tensor("k", {b, n, groups, each}, dtype),
               vt = tensor("v", {b, n, groups, each}, dtype);
  forms.push_back({"positions before heads",
                   {qt, kt, vt},
                   attention_of_heads(swapaxes(qt, 1, 2), repeat(swapaxes(kt, 1, 2), times, 1),
                                      repeat(swapaxes(vt, 1, 2), times, 1))});
  return forms;
}

struct KernelCounts {
  int attention = 0, others = 0;
};
KernelCounts kernel_counts(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  const Program program = lower(graph, "f", gpu_machine(80));
  KernelCounts counts;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    ++(kernel.form.starts_with("attention") ? counts.attention : counts.others);
  });
  return counts;
}

}  // namespace

TEST_CASE("attention: heads that share keys and values are one kernel and read them in place") {
  for (const DType dtype : {f16, bf16, f32}) {
    for (const SharedHeads& form : shared_heads(dtype, 32)) {
      CAPTURE(form.name);
      CAPTURE(dtype);
      const KernelCounts counts = kernel_counts(form.inputs, {form.output});
      CHECK(counts.attention == 1);
      // What is reshaped in the end is a copy.
      const bool copies = std::string_view(form.name).find("axis") != std::string_view::npos;
      CHECK(counts.others == (copies ? 1 : 0));
    }
  }
}

// Where keys lie has nothing to do with the dtype; how they are brought does.
TEST_CASE("cuda: attention of heads that share keys and values") {
  const gpu_emulator::TestCuda device;
  struct Checked {
    DType dtype;
    int each;
    std::vector<std::size_t> forms;
    std::vector<std::pair<int, int>> sizes;  // rows, keys
  };
  for (const Checked& checked :
       {Checked{f16, 16, {0, 1, 2, 3, 4, 5, 6}, {{3, 0}, {17, 65}}},
        Checked{bf16, 20, {0}, {{17, 65}}}, Checked{f32, 12, {0, 3, 6}, {{1, 3}, {17, 33}}}}) {
    const DType dtype = checked.dtype;
    const std::vector<SharedHeads> forms = shared_heads(dtype, checked.each);
    for (const std::size_t number : checked.forms) {
      const SharedHeads& form = forms[number];
      CAPTURE(form.name);
      CAPTURE(dtype);
      const auto on_cpu = function(form.inputs, form.output);
      const auto on_cuda = function(form.inputs, form.output, {.target = cuda()});
      const bool behind = form.inputs[0].shape(2).is_constant();
      for (const auto& [rows, keys] : checked.sizes) {
        CAPTURE(rows);
        const std::int64_t batch = rows < 17 ? 2 : 1;
        const auto given = [&](std::int64_t heads, std::int64_t positions, int seed) {
          const Shape shape = behind ? Shape{batch, positions, heads, checked.each}
                                     : Shape{batch, heads, positions, checked.each};
          return Argument(Array::normal(shape, seed, 0, 1).cast(dtype));
        };
        const std::vector<Argument> arguments{given(all_heads, rows, 1),
                                              given(shared_groups, keys, 2),
                                              given(shared_groups, keys, 3)};
        const Array wanted = on_cpu.call(arguments), got = on_cuda.call(arguments);
        const double tolerance = dtype == bf16 ? 0.03 : dtype == f16 ? 0.004 : 2e-5;
        CHECK(all_close(got.cast(f32), wanted.cast(f32), tolerance, tolerance, true));
      }
    }
  }
}
