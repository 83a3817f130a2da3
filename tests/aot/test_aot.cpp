// Functions written ahead of time: what they compute, check and depend on.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "tests/aot/aot_tools.h"
#include "tests/tools/error_text.h"

using namespace aot_tools;

using error_text::contains;

namespace {

bool same_bits(const kt::Array& a, const void* b) {
  return a.size() == 0 || std::memcmp(a.raw(), b, static_cast<std::size_t>(a.nbytes())) == 0;
}

// The symbols that an object file leaves to others.
std::vector<std::string> undefined_symbols(const std::string& object) {
  std::istringstream lines(run_well("nm -u " + object));
  std::vector<std::string> names;
  std::string kind, name;
  while (lines >> kind >> name) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("aot: a C program calls a function and its state") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("n")});
  const auto w = kt::shared(kt::Array::from({2.0F, 3.0F, 4.0F}), "w");
  const kt::aot::Files files =
      kt::aot::write({x}, kt::sum(x) * kt::sum(w),
                     {.updates = {{w, w + 1}}, .name = "weigh", .directory = directory.path()});
  CHECK(files.object == directory.file("weigh.o"));
  CHECK(files.header == directory.file("weigh.h"));
  CHECK(directory.names() == std::vector<std::string>{"weigh.h", "weigh.o"});
  write_file(directory.file("main.c"), R"(
#include <stdio.h>
#include <stdlib.h>
#include "weigh.h"
int main(void) {
  weigh_state state;
  void* memory = aligned_alloc(64, WEIGH_STATE_BYTES);
  if (weigh_state_init(&state, memory) != 0) return 1;
  size_t bytes = weigh_arena_bytes(5);
  void* arena = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  const float x[5] = {1, 2, 3, 4, 5};
  float y = 0;
  int code = weigh(5, x, &state, &y, arena, bytes);
  printf("%d %g %g %s\n", code, y, state.w[2], weigh_error(code));
  code = weigh(2, x, &state, &y, arena, bytes);
  printf("%d %g %g\n", code, y, state.w[2]);
  code = weigh(-1, x, &state, &y, arena, bytes);
  printf("%s\n", weigh_error(code));
  return 0;
}
)");
  CHECK(contains(read_file(files.header), "int weigh("));
  run_well(places::c_compiler() +
           " -std=c99 -D_ISOC11_SOURCE -Wall -Wextra -Wpedantic -Werror -o " +
           directory.file("main") + " " + directory.file("main.c") + " " + files.object);
  CHECK(run_well(directory.file("main")) == "0 135 5 no error\n0 36 6\nweigh: n is below zero\n");
}

TEST_CASE("aot: the bits of the function compiled in the process, at any size") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("n"), 5});
  const auto y = kt::vector("y");
  const auto scale = kt::scalar("scale");
  const auto keep = kt::tensor("keep", {kt::dim("n")}, kt::boolean);
  const auto shift = kt::scalar("shift", kt::i64);
  const std::vector<kt::Tensor> inputs{x, y, scale, keep, shift};
  const auto h = kt::tanh(x) * scale;
  const std::vector<kt::Tensor> outputs{kt::dot(kt::transpose(x), h), kt::where(keep, y, -y),
                                        kt::argmax(h, 1) + shift, kt::sum(h)};
  const auto f = kt::function(inputs, outputs);
  const kt::aot::Files files = kt::aot::write(
      inputs, outputs,
      {.name = "mixed", .directory = directory.path(), .output_names = {"gram", "kept"}});
  const std::string header = read_file(files.header);
  // y's free size meets the named one: they are one parameter.
  CAPTURE(header);
  CHECK(contains(header,
                 "int mixed(int64_t n, const float* x, const float* y, float scale, const uint8_t* "
                 "keep,\n          int64_t shift, float* gram, float* kept, int64_t* output2, "
                 "float* output3, void* arena,\n          size_t arena_bytes);"));
  CHECK_FALSE(contains(header, "mixed_state"));
  const Linked linked(files.object);
  auto* const mixed =
      linked.function<int(std::int64_t, const float*, const float*, float, const std::uint8_t*,
                          std::int64_t, float*, float*, std::int64_t*, float*, void*, std::size_t)>(
          "mixed");
  auto* const arena_bytes = linked.function<std::size_t(std::int64_t)>("mixed_arena_bytes");
  for (const std::int64_t n : {0, 1, 3, 17, 300}) {
    CAPTURE(n);
    const kt::Array xs = kt::Array::normal({n, 5}, 1);
    const kt::Array ys = kt::Array::normal({n}, 2);
    kt::Array flags = kt::Array::zeros({n}, kt::boolean);
    for (std::int64_t k = 0; k < n; k += 2) flags.data<bool>()[static_cast<std::size_t>(k)] = true;
    const std::vector<kt::Array> expected = f(xs, ys, 0.5F, flags, 7);
    const Block arena(arena_bytes(n));
    std::vector<float> gram(25, -1), kept(static_cast<std::size_t>(n), -1);
    std::vector<std::int64_t> at(static_cast<std::size_t>(n), -1);
    float total = -1;
    REQUIRE(mixed(n, static_cast<const float*>(xs.raw()), static_cast<const float*>(ys.raw()), 0.5F,
                  static_cast<const std::uint8_t*>(flags.raw()), 7, gram.data(), kept.data(),
                  at.data(), &total, arena.data(), arena.size()) == 0);
    CHECK(same_bits(expected[0], gram.data()));
    CHECK(same_bits(expected[1], kept.data()));
    CHECK(same_bits(expected[2], at.data()));
    CHECK(same_bits(expected[3], &total));
  }
}

TEST_CASE("aot: every argument is checked") {
  const TemporaryDirectory directory;
  const auto table = kt::matrix("table");
  const auto ids = kt::tensor("ids", {kt::dim("n")}, kt::i64);
  const auto tail = kt::tensor("tail", {kt::dim("n") - 2});
  const auto w = kt::shared(kt::Array::ones({3}), "w");
  // Rows of the table, whose length must be that of w, and two scalars that agree in nothing.
  const auto rows = kt::take(table, ids, 0);
  const auto out = rows * w;
  const kt::aot::Files files = kt::aot::write(
      {table, ids, tail}, {out, kt::sum(tail)},
      {.updates = {{w, w + kt::sum(rows, 0)}}, .name = "pick", .directory = directory.path()});
  CHECK(contains(read_file(files.header), "int pick(int64_t table_shape_0, int64_t n,"));
  const Linked linked(files.object);
  auto* const pick =
      linked.function<int(std::int64_t, std::int64_t, const float*, const std::int64_t*,
                          const float*, float* const*, float*, float*, void*, std::size_t)>("pick");
  auto* const message = linked.function<const char*(int)>("pick_error");
  auto* const place = linked.function<int(float**, void*)>("pick_state_place");
  const std::size_t bytes =
      linked.function<std::size_t(std::int64_t, std::int64_t)>("pick_arena_bytes")(4, 3);

  const std::vector<float> values(12, 2);
  std::vector<std::int64_t> index{0, 3, 1};
  const float tails[1] = {5};
  float state_values[3] = {1, 1, 1};
  float* state[1] = {state_values};
  float outputs[9] = {};
  float total = 0;
  const Block arena(std::max<std::size_t>(bytes, 64) + 64);
  struct Call {
    std::int64_t table_rows = 4, n = 3;
    const float* table;
    const std::int64_t* ids;
    const float* tail;
    float* const* state;
    float* out;
    float* total;
    void* arena;
    std::size_t arena_bytes;
  };
  const Call good{4,     3,       values.data(), index.data(), tails,
                  state, outputs, &total,        arena.data(), bytes};
  const auto outcome = [&](const std::function<void(Call&)>& spoil) {
    Call c = good;
    spoil(c);
    const int code = pick(c.table_rows, c.n, c.table, c.ids, c.tail, c.state, c.out, c.total,
                          c.arena, c.arena_bytes);
    return std::string(message(code));
  };
  CHECK(outcome([](Call&) {}) == "no error");
  CHECK(state_values[0] == 7);
  CHECK(outcome([](Call& c) { c.table_rows = -1; }) == "pick: table_shape_0 is below zero");
  CHECK(outcome([](Call& c) { c.n = -1; }) == "pick: n is below zero");
  CHECK(outcome([](Call& c) { c.n = 1; }) == "pick: the size n - 2 of tail is below zero");
  CHECK(outcome([](Call& c) { c.table_rows = INT64_MAX; }) ==
        "pick: no array of these sizes fits in memory");
  CHECK(outcome([](Call& c) { c.table = nullptr; }) == "pick: table is a null pointer");
  CHECK(outcome([](Call& c) { c.ids = nullptr; }) == "pick: ids is a null pointer");
  CHECK(outcome([](Call& c) { c.tail = nullptr; }) == "pick: tail is a null pointer");
  CHECK(outcome([](Call& c) { c.state = nullptr; }) == "pick: state is a null pointer");
  float* const no_state[1] = {nullptr};
  CHECK(outcome([&](Call& c) { c.state = no_state; }) == "pick: state->w is a null pointer");
  CHECK(outcome([](Call& c) { c.out = nullptr; }) == "pick: output0 is a null pointer");
  CHECK(outcome([](Call& c) { c.total = nullptr; }) == "pick: output1 is a null pointer");
  CHECK(outcome([](Call& c) { c.arena = static_cast<char*>(c.arena) + 4; }) ==
        "pick: the arena is not aligned to 64 bytes");
  REQUIRE(bytes > 0);
  CHECK(outcome([](Call& c) { c.arena = nullptr; }) == "pick: arena is a null pointer");
  CHECK(outcome([](Call& c) { --c.arena_bytes; }) ==
        "pick: the arena is smaller than pick_arena_bytes()");
  CHECK(place(nullptr, arena.data()) != 0);
  CHECK(std::string(message(place(state, nullptr))) == "pick: memory is a null pointer");
  CHECK(std::string(message(place(state, static_cast<char*>(arena.data()) + 1))) ==
        "pick: memory is not aligned to 64 bytes");
  CHECK(std::string(message(10000)) == "pick: not an error code of this function");
  CHECK(std::string(message(-1)) == "pick: not an error code of this function");

  CHECK(state_values[0] == 7);
  index[1] = 4;
  const std::string range = outcome([](Call&) {});
  CHECK(
      contains(range, "pick: take: an index is out of range for axis 0 of table  [test_aot.cpp:"));
  CHECK(state_values[0] == 7);
}

TEST_CASE("aot: sizes that must be equal are checked where they are two parameters") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("a") + kt::dim("b")});
  const auto y = kt::tensor("y", {kt::dim("c") * 2});
  const auto a = kt::tensor("p", {kt::dim("a")});
  const auto b = kt::tensor("q", {kt::dim("b")});
  const auto c = kt::tensor("r", {kt::dim("c")});
  const kt::aot::Files files =
      kt::aot::write({a, b, c, x, y}, kt::sum(x * y) + kt::sum(a) + kt::sum(b) + kt::sum(c),
                     {.name = "joined", .directory = directory.path()});
  const Linked linked(files.object);
  auto* const bytes =
      linked.function<std::size_t(std::int64_t, std::int64_t, std::int64_t)>("joined_arena_bytes");
  auto* const joined =
      linked.function<int(std::int64_t, std::int64_t, std::int64_t, const float*, const float*,
                          const float*, const float*, const float*, float*, void*, std::size_t)>(
          "joined");
  const std::vector<float> ones(64, 1);
  const float* p = ones.data();
  const Block arena(bytes(3, 5, 4) + 64);
  float out = 0;
  CHECK(joined(3, 5, 4, p, p, p, p, p, &out, arena.data(), arena.size()) == 0);
  CHECK(out == 8 + 3 + 5 + 4);
  const int code = joined(3, 5, 5, p, p, p, p, p, &out, arena.data(), arena.size());
  const std::string message = linked.function<const char*(int)>("joined_error")(code);
  CHECK(contains(message, "joined: mul: sizes differ"));
  CHECK(bytes(3, 5, 5) == 0);
}

TEST_CASE("aot: names that C does not allow in an argument list are changed") {
  const TemporaryDirectory directory;
  const auto x = kt::vector("int");
  const auto y = kt::vector("a b");
  const auto z = kt::vector("a-b");
  const auto u = kt::scalar("");
  const auto v = kt::scalar("7up");
  const auto arena = kt::scalar("arena");
  const kt::aot::Files files =
      kt::aot::write({x, y, z, u, v, arena}, kt::sum(x) + kt::sum(y) + kt::sum(z) + u + v + arena,
                     {.name = "odd", .directory = directory.path(), .output_names = {"a_b"}});
  const std::string header = read_file(files.header);
  for (const char* name : {"* int_,", "* a_b,", "* a_b_2,", " scalar,", " input4_7up,", " arena_2,",
                           "* a_b_3,", "void* arena,"}) {
    CHECK_MESSAGE(contains(header, name), name, header);
  }
  write_file(directory.file("use.cpp"), "#include \"odd.h\"\n#include \"odd.h\"\n");
  write_file(directory.file("use.c"), "#include \"odd.h\"\n");
  run_well(places::cxx_compiler() + " -std=c++20 -Wall -Wextra -Wpedantic -Werror -c -o " +
           directory.file("use.o") + " " + directory.file("use.cpp"));
  run_well(places::c_compiler() + " -std=c99 -Wall -Wextra -Wpedantic -Werror -c -o " +
           directory.file("use.o") + " " + directory.file("use.c"));
}

TEST_CASE("aot: two functions share parameters through the caller's pointers") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("batch"), 2});
  const auto w = kt::shared(kt::Array::from({3.0F, -1.0F}), "w");
  const auto steps = kt::shared(kt::Array::zeros({}, kt::i64), "steps");
  const auto score = kt::sum(x * w);
  const kt::aot::Files train =
      kt::aot::write({x}, score,
                     {.updates = {{w, w - 0.5F * kt::sum(x, 0)}, {steps, steps + 1}},
                      .name = "train",
                      .directory = directory.path()});
  const kt::aot::Files predict =
      kt::aot::write({x}, kt::sum(x * w, 1), {.name = "predict", .directory = directory.path()});
  write_file(directory.file("main.cpp"), R"(
#include <cstdio>
#include "predict.h"
#include "train.h"
alignas(64) static char memory[TRAIN_STATE_BYTES];
alignas(64) static char arena[65536];
int main() {
  train_state t;
  if (train_state_init(&t, memory) != 0) return 1;
  predict_state shared, built_in;
  shared.w = t.w;
  built_in.w = predict_initial_w;
  const float x[6] = {1, 2, 3, 4, 5, 6};
  float score, before[3], after[3];
  if (train(3, x, &t, &score, arena, sizeof arena) != 0) return 2;
  if (predict(3, x, &built_in, before, arena, sizeof arena) != 0) return 3;
  if (predict(3, x, &shared, after, arena, sizeof arena) != 0) return 4;
  std::printf("%g steps %d before %g %g %g after %g %g %g\n", score, (int)*t.steps, before[0],
              before[1], before[2], after[0], after[1], after[2]);
}
)");
  run_well(places::cxx_compiler() + " -std=c++11 -Wall -Wextra -Wpedantic -Werror -o " +
           directory.file("main") + " " + directory.file("main.cpp") + " " + train.object + " " +
           predict.object);
  CHECK(run_well(directory.file("main")) == "15 steps 1 before 1 5 9 after -15.5 -32.5 -49.5\n");
}

TEST_CASE("aot: an object needs only memory functions, and libm where it lacks instructions") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("batch"), 19});
  const auto w = kt::shared(kt::Array::normal({19, 21}, 1), "w");
  const auto loss = kt::mean(kt::square(kt::tanh(kt::dot(x, w)))) +
                    kt::mean(kt::exp(kt::log_softmax(kt::dot(x, w), 1)));
  for (const char* target : {"native", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"}) {
    const kt::aot::Files files = kt::aot::write({x}, loss,
                                                {.updates = {{w, w - kt::grad(loss, w)}},
                                                 .name = "step",
                                                 .directory = directory.path(),
                                                 .target = target});
    for (const std::string& name : undefined_symbols(files.object)) {
      const bool memory = name == "memcpy" || name == "memset";
      const bool fma = std::string(target) == "x86-64-v2" && (name == "fmaf" || name == "fma");
      CHECK_MESSAGE((memory || fma), target, " needs ", name);
    }
  }
}

TEST_CASE("aot: values that are all zero take no room, unused ones can be dropped") {
  const TemporaryDirectory directory;
  const auto w = kt::shared(kt::Array::zeros({1000, 1000}), "w");
  const auto v = kt::shared(kt::Array::ones({1000, 1000}), "v");
  const auto x = kt::scalar("x");
  const auto size = [&](const kt::aot::Files& files) { return read_file(files.object).size(); };
  CHECK(size(kt::aot::write({x}, x * kt::sum(w), {.name = "f", .directory = directory.path()})) <
        50000);
  CHECK(size(kt::aot::write({x}, x * kt::sum(v), {.name = "f", .directory = directory.path()})) >
        4000000);
  const kt::aot::Files bare = kt::aot::write(
      {x}, x * kt::sum(v), {.name = "f", .directory = directory.path(), .initial_values = false});
  CHECK(size(bare) < 50000);
  CHECK_FALSE(contains(read_file(bare.header), "f_initial_v"));
  CHECK_FALSE(contains(read_file(bare.header), "f_state_init"));
  CHECK(contains(read_file(bare.header), "f_state_place"));
}

TEST_CASE("aot: a function of the user's own is an undefined symbol that the header names") {
  const TemporaryDirectory directory;
  const auto x = kt::vector("x");
  const kt::ExternalOp twice(
      {.name = "twice",
       .function = [](void* const*,
                      const std::int64_t*) { return 1; },  // not the one that is linked
       .results = [](std::span<const kt::TensorType> in) { return std::vector{in[0]}; }});
  const auto files = kt::aot::write({x}, kt::sum(twice({x + 1})[0]),
                                    {.name = "total", .directory = directory.path()});
  CHECK(contains(
      read_file(files.header),
      "It calls int32_t twice(void* const* arrays, const int64_t* sizes), which is yours"));
  CHECK(contains(read_file(files.header), "twice: the function has returned an error"));
  write_file(directory.file("main.c"), R"(
#include <stdio.h>
#include <stdlib.h>
#include "total.h"
int32_t twice(void* const* arrays, const int64_t* sizes) {
  const float* x = arrays[0];
  float* y = arrays[1];
  for (int64_t i = 0; i < sizes[0]; ++i) {
    if (x[i] < 0) return 5;
    y[i] = 2 * x[i];
  }
  return sizes[0] == sizes[1] ? 0 : 6;
}
int main(void) {
  float x[3] = {1, 2, 3}, y;
  size_t bytes = total_arena_bytes(3);
  void* arena = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  int code = total(3, x, &y, arena, bytes);
  printf("%d %g\n", code, y);
  x[1] = -4;
  code = total(3, x, &y, arena, bytes);
  printf("%s\n", total_error(code));
  return 0;
}
)");
  const std::string output =
      run_well("cd " + directory.path() + " && cc main.c total.o -lm -o main && ./main");
  CHECK(contains(output, "0 18"));
  CHECK(contains(output, "total: twice: the function has returned an error"));
}

TEST_CASE("aot: a function that calls LAPACK names the libraries, and gives the same numbers") {
  const TemporaryDirectory directory;
  const auto a = kt::tensor("a", {kt::dim("count"), kt::dim("n"), kt::dim("n")}, kt::f64);
  const kt::Tensor l = kt::cholesky(a);
  const kt::Tensor half = kt::solve_triangular(l, a);
  const auto files =
      kt::aot::write({a}, {l, half}, {.name = "factor", .directory = directory.path()});
  const std::string header = read_file(files.header);
  CHECK(contains(header, "Link the libraries kroton_aot_lapack, LAPACK and BLAS too."));
  CHECK(contains(header, "cholesky: a matrix is not positive definite  ["));
  CHECK(contains(header, "solve_triangular: a matrix is singular  ["));
  CHECK(contains(header, "cholesky: a size does not fit the 32-bit integers of LAPACK  ["));
  write_file(directory.file("main.c"), R"(
#include <stdio.h>
#include <stdlib.h>
#include "factor.h"
int main(void) {
  double a[8] = {4, 0, 2, 5, 9, 0, 3, 2}, l[8], half[8];
  size_t bytes = factor_arena_bytes(2, 2);
  void* arena = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  int code = factor(2, 2, a, l, half, arena, bytes);
  printf("%d", code);
  for (int k = 0; k < 8; ++k) printf(" %a %a", l[k], half[k]);
  a[7] = 1;
  code = factor(2, 2, a, l, half, arena, bytes);
  printf("\n%s\n", factor_error(code));
  free(arena);
  return 0;
}
)");
  const std::string output =
      run_well("cd " + directory.path() + " && " + places::c_compiler() +
               " -std=c11 -Wall -Wextra -Wpedantic -Werror -I " + places::source_dir() +
               " main.c factor.o " + places::source_dir() + "/runtime/aot/lapack.c " +
               places::lapack_libraries() + " -lm -o main && ./main");
  CHECK(contains(output, "factor: cholesky: a matrix is not positive definite"));
  kt::Array values = kt::Array::zeros({2, 2, 2}, kt::f64);
  const double given[] = {4, 0, 2, 5, 9, 0, 3, 2};
  std::copy(std::begin(given), std::end(given), values.data<double>().begin());
  const auto got = kt::function({a}, {l, half})(values);
  std::istringstream numbers(output);
  std::string word;
  numbers >> word;
  CHECK(word == "0");
  for (int k = 0; k < 8; ++k) {
    for (const kt::Array& result : got) {
      numbers >> word;
      CHECK(std::strtod(word.c_str(), nullptr) == result.data<double>()[k]);
    }
  }
}
