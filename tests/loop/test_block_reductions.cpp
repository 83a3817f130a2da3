#include <doctest/doctest.h>

#include "compiler/loop/schedule.h"
#include "compiler/loop/simplify.h"
#include "tests/loop/kernel_tools.h"
#include "tests/tools/error_text.h"

using namespace loop_test;  // NOLINT: tests

using error_text::contains;

namespace {

const Variable i = fresh_variable("i");
const Variable k = fresh_variable("k");
const Variable b = fresh_variable("b");
const Variable sum = fresh_variable("sum", DType::f32);
const Variable top = fresh_variable("top", DType::f32);
const Expr vi = variable(i);
const Expr vk = variable(k);
const Expr vb = variable(b);

// Which of a kernel's two axes follow each other in memory.
enum class Along : std::uint8_t { columns, rows };

struct Case {
  Along along;
  Dim results, steps;
  bool two_sums = false;
  bool batched = false;
};

Expr element(const Case& c, const BufferRef& matrix) {
  const Expr at = c.along == Along::columns ? vk * size(c.results) + vi : vi * size(c.steps) + vk;
  return load(matrix, c.batched ? vb * size(c.results * c.steps) + at : at);
}

// y[i] = 2 * (1 + sum over k of x[k] * m[i, k]) + z[i], perhaps with the maximum of m[i, k] added.
Kernel product(const Case& c) {
  const Dim batch = c.batched ? Dim(2) : Dim(1);
  const BufferRef matrix = buffer(0, "m", batch * c.results * c.steps);
  const BufferRef x = buffer(1, "x", c.steps);
  const BufferRef z = buffer(2, "z", c.results);
  const BufferRef y = buffer(3, "y", batch * c.results);
  Block body{Declare{sum, real(1, DType::f32)}};
  if (c.two_sums) body.push_back(Declare{top, real(-100, DType::f32)});
  Block step{Accumulate{sum, Op::add, load(x, vk) * element(c, matrix)}};
  if (c.two_sums) step.push_back(Accumulate{top, Op::max, element(c, matrix)});
  body.push_back(serial(k, size(c.steps), std::move(step)));
  Expr result = variable(sum) * real(2, DType::f32) + load(z, vi);
  if (c.two_sums) result = result + variable(top);
  const Expr at = c.batched ? vb * size(c.results) + vi : vi;
  body.push_back(Store{y, at, result});
  Block nest{serial(i, size(c.results), std::move(body))};
  if (c.batched) nest = {serial(b, integer(2), std::move(nest))};
  return kernel({matrix, x, z}, {y}, std::move(nest));
}

Kernel blocked(const Kernel& kernel, int lanes_bytes = 64) {
  int next = 100;
  const NewBuffer new_buffer = [&](const std::string& name, DType dtype, const Dim& count,
                                   Space space) {
    return buffer(next++, name, count, dtype, space);
  };
  Kernel result = parallelize(block_reductions(
      vectorize(collapse_loops(simplify(kernel)), lanes_bytes), lanes_bytes, new_buffer));
  verify(result);
  return result;
}

std::string text(const Case& c) { return to_string(blocked(product(c))); }

const Dim n = Dim::named("n");
const Dim m = Dim::named("m");

}  // namespace

TEST_CASE("block_reductions: few columns are summed in registers") {
  const std::string few = text({Along::columns, 64, n});
  CHECK(contains(few, "registers sums: f32[64]"));
  CHECK(contains(few, "vector<16 unrolled 64> for"));
  CHECK(contains(text({Along::columns, 50, n}), "registers sums: f32[64]"));
  CHECK(contains(text({Along::columns, 128, n}), "registers sums: f32[128]"));
  CHECK(contains(text({Along::columns, 129, n}), "stack sums: f32[144]"));
  CHECK(contains(text({Along::columns, 65, n, true}), "stack sums: f32[80]"));
}

TEST_CASE("block_reductions: many columns are summed in an array, four rows at a time") {
  const std::string many = text({Along::columns, n, m});
  CHECK(contains(many, "parallel for i_block in 0..(floor_div(n + 1023, 1024))"));
  CHECK(contains(many, "stack sums: f32[1024]"));
  CHECK(contains(many, "for k_block in 0..(floor_div(m + 511, 512))"));
  // What the last vector holds past the last column is defined.
  CHECK(contains(many, "let t4 = floor_div(t3 - 1, 16)*16"));
  CHECK(contains(many, "let t6 = floor_div(t5, 4)"));
  CHECK(contains(many, "for k_1 in 0..t6"));
  // Few rows, or columns for one vector only, are better as they were.
  CHECK(contains(many, "let t1 = m <= 16"));
  CHECK(contains(many, "let t3 = min(n - i_block*1024, 1024)"));
  CHECK(contains(many, "if t1 or t3 <= 16 {"));
  CHECK(!contains(text({Along::columns, 1000, 100}), "if "));
}

TEST_CASE("block_reductions: four rows share one loop") {
  const std::string rows = text({Along::rows, 64, 200});
  CHECK(contains(rows, "stack sums: f32[64]"));
  CHECK(contains(rows, "for i_1 in 0..16 {"));
  CHECK(contains(rows, "vector<16 x2> for k in 0..200"));
  CHECK(contains(rows, "sum_3 += "));
  // What follows the reduction is a vector loop over the rows.
  CHECK(contains(rows, "vector<16 x2> for i_2 in 0..64"));
  // Nothing is shared by the rows of a sum.
  const BufferRef x = buffer(0, "x", n * 200);
  const BufferRef y = buffer(1, "y", n);
  const Kernel plain = kernel(
      {x}, {y},
      {serial(i, size(n),
              {Declare{sum, real(0, DType::f32)},
               serial(k, integer(200), {Accumulate{sum, Op::add, load(x, vi * integer(200) + vk)}}),
               Store{y, vi, variable(sum)}})});
  CHECK(!contains(to_string(blocked(plain)), "stack"));
  // Unknown rows: few for each thread.
  CHECK(contains(text({Along::rows, n, m}), "parallel for i_block in 0..(floor_div(n + 3, 4))"));
}

TEST_CASE("block_reductions: a vector of short rows is written out") {
  const std::string rows = text({Along::rows, 64, 50});
  CHECK(contains(rows, "for i_group in 0..4"));
  CHECK(contains(rows, "registers sums: f32[16]"));
  CHECK(contains(rows, "vector<16 unrolled 64> for k in 0..50"));
  CHECK(contains(rows, "sum_15 += "));
  CHECK(!contains(rows, "stack"));
  // Those left over.
  const std::string odd = text({Along::rows, 67, 50});
  CHECK(contains(odd, "stack sums_1: f32[16]"));
  CHECK(contains(text({Along::rows, n, 50}), "stack sums_1: f32[16]"));
  // Threads share the blocks, of a free number of rows, too.
  CHECK(
      contains(text({Along::rows, n, 50}), "parallel for i_block in 0..(floor_div(n + 255, 256))"));
}

TEST_CASE("block_reductions: what gains nothing stays") {
  const auto stays = [](const Kernel& kernel) {
    const Kernel wide = vectorize(collapse_loops(simplify(kernel)), 64);
    return to_string(wide) ==
           to_string(block_reductions(wide, 64, [](const auto&, auto, const auto&, auto) {
             FAIL("a new buffer");
             return nullptr;
           }));
  };
  CHECK(stays(product({Along::columns, n, 9})));     // in registers anyway
  CHECK(stays(product({Along::rows, n, 1 << 20})));  // rows long enough by themselves
  const BufferRef x = buffer(0, "x", n);
  const BufferRef y = buffer(1, "y", n);
  CHECK(stays(kernel({x}, {y}, {serial(i, size(n), {Store{y, vi, load(x, vi)}})})));
}

TEST_CASE("block_reductions keep what products of a matrix and a vector compute") {
  for (const Along along : {Along::columns, Along::rows}) {
    for (const std::int64_t results : {0, 1, 2, 3, 4, 5, 16, 17, 33, 65, 130, 1025}) {
      for (const std::int64_t steps : {0, 1, 3, 4, 16, 17, 33, 65}) {
        if (results == 1025 && steps > 4 && steps != 33) continue;
        for (const bool known : {false, true}) {
          for (const int variant : {0, 1, 2}) {
            const Case c{along, known ? Dim(results) : n, known ? Dim(steps) : m, variant == 1,
                         variant == 2};
            CAPTURE(results);
            CAPTURE(steps);
            CAPTURE(known);
            CAPTURE(variant);
            const Kernel before = product(c);
            const Kernel after = blocked(before, results % 2 == 0 ? 64 : 32);
            const Sizes sizes{{"n", results}, {"m", steps}};
            const Contents contents = random_contents(before, sizes, 1);
            const Contents expected = outcome(before, sizes, contents);
            CHECK_MESSAGE(outcome(after, sizes, contents) == expected, to_string(after));
            CHECK_MESSAGE(outcome(backwards(after), sizes, contents) == expected, to_string(after));
          }
        }
      }
    }
  }
}

TEST_CASE("block_reductions: softmax along columns") {
  // Stages: the maximum, the sum, and the results, which a nest stores.
  const BufferRef x = buffer(0, "x", n * m);
  const BufferRef y = buffer(1, "y", n * m);
  const Variable k2 = fresh_variable("k2");
  const Expr at = vk * size(n) + vi;
  const Expr at2 = variable(k2) * size(n) + vi;
  const Kernel before =
      kernel({x}, {y},
             {serial(i, size(n),
                     {Declare{top, real(-100, DType::f32)}, Declare{sum, real(0, DType::f32)},
                      serial(k, size(m), {Accumulate{top, Op::max, load(x, at)}}),
                      serial(k2, size(m), {Accumulate{sum, Op::add, load(x, at2) - variable(top)}}),
                      serial(k, size(m), {Store{y, at, load(x, at) * variable(sum)}})})});
  const Kernel after = blocked(before);
  CHECK(contains(to_string(after), "stack tops"));
  for (const std::int64_t columns : {0, 1, 17, 65}) {
    for (const std::int64_t rows : {0, 1, 3, 17, 33}) {
      const Sizes sizes{{"n", columns}, {"m", rows}};
      const Contents contents = random_contents(before, sizes, 1);
      CHECK(outcome(after, sizes, contents) == outcome(before, sizes, contents));
    }
  }
}
