// Loops and branches ahead of time: the same bits as in this process.
#include <doctest/doctest.h>

#include <cstring>

#include "tests/aot/aot_tools.h"

using namespace aot_tools;

TEST_CASE("aot: a training step with a scan") {
  const TemporaryDirectory directory;
  const auto words = kt::tensor("words", {kt::dim("length")}, kt::i64);
  const auto next = kt::tensor("next", {kt::dim("length")}, kt::i64);
  const auto embed = kt::shared(kt::Array::normal({11, 7}, 1, 0, 0.5), "embed");
  const auto recur = kt::shared(kt::Array::normal({7, 7}, 2, 0, 0.5), "recur");
  const auto out = kt::shared(kt::Array::normal({7, 11}, 3, 0, 0.5), "out");
  const auto states =
      kt::scan([&](kt::Tensor x, kt::Tensor h) { return kt::tanh(x + kt::dot(h, recur)); },
               {.sequences = {kt::take(embed, words, 0)}, .outputs_info = {kt::zeros({7})}});
  const auto loss = kt::mean(kt::softmax_cross_entropy(kt::dot(states, out), next));
  const auto [ge, gr, go] = kt::grad(loss, embed, recur, out);
  const std::vector<kt::Update> updates{
      {embed, embed - 0.5 * ge}, {recur, recur - 0.5 * gr}, {out, out - 0.5 * go}};
  const kt::aot::Files files =
      kt::aot::write({words, next}, loss,
                     {.updates = updates, .name = "read_text", .directory = directory.path()});
  const auto step = kt::function({words, next}, loss, {.updates = updates});

  const Linked linked(files.object);
  float* state[3];
  const Block values(4096);
  REQUIRE(linked.function<int(float**, void*)>("read_text_state_init")(state, values.data()) == 0);
  auto* const read_text =
      linked.function<int(std::int64_t, const std::int64_t*, const std::int64_t*, float**, float*,
                          void*, std::size_t)>("read_text");
  const Block arena(linked.function<std::size_t(std::int64_t)>("read_text_arena_bytes")(17));
  std::vector<std::int64_t> text(18);
  for (std::size_t k = 0; k < text.size(); ++k) text[k] = static_cast<std::int64_t>(k * k % 11);
  float first = 0, last = 0;
  for (int k = 0; k < 100; ++k) {
    const std::int64_t length = k % 17 + 1;
    const float expected =
        step(kt::Array::view(text.data(), {length}), kt::Array::view(text.data() + 1, {length}))
            .item<float>();
    float got = 0;
    REQUIRE(read_text(length, text.data(), text.data() + 1, state, &got, arena.data(),
                      arena.size()) == 0);
    REQUIRE(got == expected);
    (k < 17 ? first : last) = got;
  }
  CHECK(last < first);
  const kt::Shared* const shared[3] = {&embed, &recur, &out};
  const std::string header = read_file(files.header);
  for (int k = 0; k < 3; ++k) {
    // The order of the fields is the header's.
    const kt::Array value = shared[k]->get_value();
    const std::size_t at = header.find("* " + shared[k]->name() + ";");
    int field = 0;
    for (int other = 0; other < 3; ++other) {
      field += header.find("* " + shared[other]->name() + ";") < at ? 1 : 0;
    }
    CHECK(std::memcmp(value.raw(), state[field], static_cast<std::size_t>(value.nbytes())) == 0);
  }
}

TEST_CASE("aot: a number of steps is read from its argument") {
  const TemporaryDirectory directory;
  const auto a = kt::vector("a");
  const auto steps = kt::scalar("steps", kt::i32);
  const auto powers =
      kt::scan([](kt::Tensor power, kt::Tensor base) { return power * base; },
               {.outputs_info = {kt::ones_like(a)}, .non_sequences = {a}, .n_steps = steps});
  const kt::aot::Files files =
      kt::aot::write({a, steps}, powers, {.name = "powers", .directory = directory.path()});
  const Linked linked(files.object);
  auto* const run =
      linked.function<int(std::int64_t, const float*, std::int32_t, float*, void*, std::size_t)>(
          "powers");
  auto* const bytes =
      linked.function<std::size_t(std::int64_t, std::int64_t)>("powers_arena_bytes");
  auto* const message = linked.function<const char*(int)>("powers_error");
  const float x[3] = {1, 2, -3};
  const Block arena(bytes(3, 4));
  float y[12] = {};
  REQUIRE(run(3, x, 4, y, arena.data(), arena.size()) == 0);
  CHECK(y[9] == 1);
  CHECK(y[10] == 16);
  CHECK(y[11] == 81);
  CHECK(run(3, x, 0, y, arena.data(), arena.size()) == 0);
  CHECK(std::string(message(run(3, x, -1, y, arena.data(), arena.size()))) ==
        "powers: steps is below zero");
}

TEST_CASE("aot: steps after an end are left out, in one kernel and in several") {
  const TemporaryDirectory directory;
  const auto a = kt::vector("a", kt::f64), b = kt::tensor("b", {2}, kt::f64);
  const auto halved = [](const kt::Tensor& x) {
    return kt::scan(
        [](kt::Tensor v) {
          const kt::Tensor next = v / 2;
          return kt::until(next, kt::max(next) < 1);
        },
        {.outputs_info = {x}, .n_steps = 600});
  };
  const auto of_a = halved(a), of_b = halved(b);
  const kt::aot::Files files = kt::aot::write(
      {a, b}, {of_a, of_b, kt::grad(kt::sum(of_a[-1]), a), kt::grad(kt::sum(of_b[-1]), b)},
      {.name = "halved", .directory = directory.path()});
  const Linked linked(files.object);
  auto* const run = linked.function<int(std::int64_t, const double*, const double*, double*,
                                        double*, double*, double*, void*, std::size_t)>("halved");
  auto* const bytes = linked.function<std::size_t(std::int64_t)>("halved_arena_bytes");
  const double x[2] = {12, 3};
  const Block arena(bytes(2));
  std::vector<double> ya(1200), yb(1200);
  double ga[2] = {}, gb[2] = {};
  REQUIRE(run(2, x, x, ya.data(), yb.data(), ga, gb, arena.data(), arena.size()) == 0);
  CHECK(ya == yb);
  CHECK(ya[4] == 1.5);
  CHECK(ya[6] == 0.75);
  CHECK(ya[1198] == 0.75);
  CHECK(ya[1199] == 0.1875);
  for (const double* g : {ga, gb}) {
    CHECK(g[0] == 1.0 / 16);
    CHECK(g[1] == 1.0 / 16);
  }
}

TEST_CASE("aot: a branch that is not taken is not run") {
  const TemporaryDirectory directory;
  const auto table = kt::tensor("table", {5});
  const auto i = kt::scalar("i", kt::i64);
  const auto picked = kt::ifelse(i < 5, kt::take(table, i, 0), kt::sum(table));
  const kt::aot::Files files =
      kt::aot::write({table, i}, picked, {.name = "pick", .directory = directory.path()});
  const Linked linked(files.object);
  auto* const pick =
      linked.function<int(const float*, std::int64_t, float*, void*, std::size_t)>("pick");
  const Block arena(linked.function<std::size_t()>("pick_arena_bytes")());
  const float values[5] = {1, 2, 3, 4, 5};
  float y = 0;
  CHECK(pick(values, 3, &y, arena.data(), arena.size()) == 0);
  CHECK(y == 4);
  CHECK(pick(values, 17, &y, arena.data(), arena.size()) == 0);
  CHECK(y == 15);
  CHECK(pick(values, -17, &y, arena.data(), arena.size()) != 0);
}
