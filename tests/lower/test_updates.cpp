// Updates of shared variables: that they overwrite the old values in place, and only where nobody
// needs these any more.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"

namespace kt = kroton;

namespace {

using Updates = std::vector<kt::Update>;

kt::Shared state(const kt::Shape& shape, std::uint64_t seed) {
  return kt::shared(compiled_test::random_array(shape, kt::f32, seed), "s" + std::to_string(seed));
}

// The kernels of the updates' function, those in scans and branches too.
std::vector<kt::loop::Kernel> kernels(const std::vector<kt::Tensor>& inputs,
                                      const std::vector<kt::Tensor>& outputs,
                                      const Updates& updates) {
  std::vector<std::pair<kt::Shared, kt::Tensor>> pairs;
  for (const kt::Update& update : updates) pairs.emplace_back(update.target, update.value);
  kt::Graph graph(inputs, outputs, pairs);
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", kt::x86_machine(32));
  std::vector<kt::loop::Kernel> found;
  kt::for_each_kernel(program.steps, [&](const kt::loop::Kernel& k) { found.push_back(k); });
  return found;
}

// What the updates and the outputs give is what they give as outputs of a function without updates.
void check_values(const Updates& updates, const std::vector<kt::Tensor>& outputs = {},
                  const kt::Target& target = kt::cpu()) {
  std::vector<kt::Tensor> wanted = outputs;
  for (const kt::Update& update : updates) wanted.push_back(update.value);
  const std::vector<kt::Tensor> none;
  const std::vector<kt::Array> want = kt::function(none, wanted)();
  const std::vector<kt::Array> have =
      kt::function(none, outputs, {.updates = updates, .target = target})();
  for (std::size_t k = 0; k < want.size(); ++k) {
    CAPTURE(k);
    const bool is_output = k < outputs.size();
    const kt::Array actual = is_output ? have[k] : updates[k - outputs.size()].target.get_value();
    CHECK(kt::all_close(actual, want[k], 1e-6, 1e-6));
  }
}

const std::vector<std::string> optimisers = {"sgd", "momentum", "nesterov", "rmsprop", "adam"};

kt::Shared zeros_like(const kt::Shared& p) {
  return kt::shared(kt::Array::zeros(p.get_value().shape()));
}

// A step of an optimiser that keeps a state, or two, for every parameter.
Updates descent(const std::string& kind, const std::vector<kt::Shared>& parameters,
                const std::vector<kt::Tensor>& gradients) {
  Updates updates;
  kt::Tensor first_share, second_share;
  if (kind == "adam") {
    const auto steps = kt::shared(0.0F);
    const kt::Tensor now = steps + 1;
    updates.emplace_back(steps, now);
    first_share = 1 - kt::pow(0.9, now);
    second_share = 1 - kt::pow(0.999, now);
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const kt::Shared& p = parameters[k];
    const kt::Tensor& g = gradients[k];
    const auto first = zeros_like(p), second = zeros_like(p);
    if (kind == "sgd") {
      updates.emplace_back(p, p - 0.01 * g);
    } else if (kind == "momentum" || kind == "nesterov") {
      const kt::Tensor next = 0.9 * first + g;
      updates.emplace_back(first, next);
      updates.emplace_back(p, p - 0.01 * (kind == "momentum" ? next : 0.9 * next + g));
    } else if (kind == "rmsprop") {
      const kt::Tensor mean_square = 0.9 * second + 0.1 * kt::square(g);
      updates.emplace_back(second, mean_square);
      updates.emplace_back(p, p - 0.01 * g / kt::sqrt(mean_square + 1e-6));
    } else {
      const kt::Tensor m = 0.9 * first + 0.1 * g;
      const kt::Tensor v = 0.999 * second + 0.001 * kt::square(g);
      updates.emplace_back(first, m);
      updates.emplace_back(second, v);
      updates.emplace_back(p, p - 0.001 * (m / first_share) / (kt::sqrt(v / second_share) + 1e-8));
    }
  }
  return updates;
}

}  // namespace

TEST_CASE("updates: an optimiser's step of a parameter is one kernel that overwrites all states") {
  for (const std::string& kind : optimisers) {
    for (const kt::Shape& shape : {kt::Shape{1000}, kt::Shape{30, 17}}) {
      CAPTURE(kind);
      const kt::Shared p = state(shape, 1);
      kt::Dims sizes;
      for (int axis = 0; axis < shape.rank(); ++axis) sizes.push_back(shape[axis]);
      const kt::Tensor g = kt::tensor("g", sizes);
      const Updates updates = descent(kind, {p}, {g});
      int large = 0;
      for (const kt::loop::Kernel& k : kernels({g}, {}, updates)) {
        const auto is_large = [](const kt::loop::BufferRef& b) { return b->size.constant() > 1; };
        if (!std::any_of(k.outputs.begin(), k.outputs.end(), is_large)) continue;
        ++large;
        CHECK(!k.name.ends_with("_copy"));
        // Adam counts its steps in one more.
        CHECK(k.outputs.size() == updates.size() - (kind == "adam" ? 1 : 0));
      }
      CHECK(large == 1);
    }
  }
}

TEST_CASE("updates: 64 steps of a network move little more than they must") {
  constexpr double inputs = 784, hidden = 512, classes = 10, batch = 128, steps = 64;
  for (const std::string kind : {"sgd", "momentum", "adam"}) {
    const auto normal = [](const kt::Shape& shape, std::uint64_t seed) {
      return kt::shared(kt::Array::normal(shape, seed, 0, 0.05));
    };
    const kt::Shared w1 = normal({784, 512}, 1), b1 = normal({512}, 2);
    const kt::Shared w2 = normal({512, 10}, 3), b2 = normal({10}, 4);
    const kt::Tensor x = kt::tensor("x", {kt::dim("n"), 784});
    const kt::Tensor labels = kt::tensor("labels", {kt::dim("n")}, kt::i64);
    const kt::Tensor logits = kt::dot(kt::relu(kt::dot(x, w1) + b1), w2) + b2;
    const kt::Tensor loss = kt::mean(kt::softmax_cross_entropy(logits, labels));
    const std::vector<kt::Shared> parameters{w1, b1, w2, b2};
    const auto f = kt::function(
        {x, labels}, loss,
        {.updates = descent(kind, parameters, kt::grad(loss, parameters)), .profile = true});
    const kt::Array images = kt::Array::uniform({128, 784}, 5);
    const kt::Array numbers = kt::Array::zeros({128}, kt::i64);
    const float first = f(images, numbers).item<float>();
    float last = first;
    for (int step = 1; step < steps; ++step) last = f(images, numbers).item<float>();
    CHECK(last < first);
    // The step reads and writes each parameter and its states; the products read the weights once
    // or, those of the last layer, twice, the images twice, the hidden values three times, their
    // gradient, that of the logits and the logits as often as they are needed.
    const double states = kind == "sgd" ? 0 : kind == "momentum" ? 1 : 2;
    const double touched = 2 * (1 + states);
    const double elements = inputs * hidden * (1 + touched) + hidden * (1 + touched) +
                            hidden * classes * (2 + touched) + classes * (1 + touched) +
                            batch * (2 * inputs + (4 + 3) * hidden + (2 + 4) * classes + 4);
    double moved = 0;
    for (const kt::KernelProfile& k : f.profile().kernels) moved += k.bytes;
    CAPTURE(kind);
    CAPTURE(moved / (steps * 4 * elements));
    CHECK(moved <= 1.15 * steps * 4 * elements);
    CHECK(moved >= 0.85 * steps * 4 * elements);  // else this counts too much
  }
}

TEST_CASE("updates: optimisers give what their expressions give, step by step") {
  for (const std::string& kind : optimisers) {
    for (const kt::Shape& shape : {kt::Shape{}, kt::Shape{5}, kt::Shape{33, 7}, kt::Shape{20000}}) {
      const kt::Shared p = state(shape, 1), target = state(shape, 2);
      const Updates updates = descent(kind, {p}, {kt::Tensor(p) - target});
      CAPTURE(kind);
      for (int step = 0; step < 3; ++step) check_values(updates, {kt::sum(kt::square(p))});
    }
  }
}

TEST_CASE("updates: old values that are needed elsewhere are kept") {
  const kt::Shared a = state({6, 6}, 1), b = state({6, 6}, 2), c = state({6}, 3);
  const kt::Tensor moved = 0.5 * a + b;
  // Each by the other's old value, in one kernel or two.
  check_values({{a, b + 1}, {b, a - 1}});
  check_values({{a, b}, {b, a}});
  check_values({{a, a + b}, {b, a - b}, {c, kt::sum(a * b, 1)}});
  // At other indices than the one stored.
  check_values({{a, moved}, {b, b - kt::transpose(moved)}});
  check_values({{a, moved}, {b, b - kt::transpose(kt::Tensor(a))}});
  check_values({{a, a(kt::slice(kt::end, kt::end, -1)) + b}, {b, b + a}});
  check_values({{c, c + a(0)}, {a, a + c}});
  // By rows that are read first: sums, and the values again.
  check_values({{a, a / kt::sum(kt::square(a), 1, true)}, {b, 0.9 * b + a}});
  check_values({{a, kt::softmax(a + b)}, {b, b + kt::softmax(a + b)}});
  check_values({{c, c - kt::sum(a, 0)}, {a, a * c}});
  check_values({{a, kt::dot(a, b)}, {b, 0.9 * b + kt::dot(a, b)}});
  check_values({{a, a - kt::dot(a, b)}, {b, b + kt::dot(a, b) * a}});
  // New values that are not made of the old one, which other results read.
  check_values({{a, b + 1}}, {a * (b + 1)});
  check_values({{a, b + 1}, {b, a * (b + 1)}});
  check_values({{c, kt::max(a, 1)}}, {c * kt::max(a, 1)});
  // Outputs: the old value, the new one, what is computed from both.
  check_values({{a, moved}, {b, b - moved}}, {a, b});
  check_values({{a, moved}, {b, b - moved}}, {moved, b - a});
  check_values({{a, moved}, {b, moved}}, {kt::sum(moved - a)});
  check_values({{a, moved}, {b, b * kt::mean(moved)}}, {kt::max(a, 0)});
}

TEST_CASE("updates: in a branch, in a scan, and where a check fails") {
  const kt::Shared a = state({8}, 1), b = state({8}, 2);
  const kt::Tensor next = 0.9 * a + b;
  for (const bool holds : {false, true}) {
    const kt::Tensor c = kt::Tensor(kt::shared(kt::Array::full({}, holds ? 1 : 0))) > 0;
    check_values({{a, kt::ifelse(c, next, a)}, {b, kt::ifelse(c, b - next, b)}});
    check_values({{a, kt::ifelse(c, next, b)}, {b, kt::ifelse(c, b - next, next)}});
    check_values({{a, next}, {b, kt::ifelse(c, b - next, kt::Tensor(a))}});
  }
  const kt::Tensor sums =
      kt::scan([&](auto row, auto total) { return total + row * a; },
               {.sequences = {kt::Tensor(b)}, .outputs_info = {kt::zeros({8})}});
  check_values({{a, 0.9 * a + sums[-1]}, {b, b - (0.9 * a + sums[-1])}}, {sums});

  const kt::Tensor i = kt::tensor("i", {8}, kt::i64);
  const kt::Tensor taken = 0.9 * a + kt::take(b, i);
  const auto f = kt::function({i}, kt::sum(taken), {.updates = {{a, taken}, {b, b - taken}}});
  const kt::Array before_a = a.get_value().copy(), before_b = b.get_value().copy();
  CHECK_THROWS_AS(f(kt::Array::full({8}, 8, kt::i64)), kt::Error);
  CHECK(kt::all_close(a.get_value(), before_a, 0, 0));
  CHECK(kt::all_close(b.get_value(), before_b, 0, 0));
}

TEST_CASE("cuda: updates overwrite states that other results of the same element read") {
  const gpu_emulator::TestCuda cuda;
  for (const std::string kind : {"momentum", "adam"}) {
    const kt::Shared p = state({3000}, 1), target = state({3000}, 2);
    const Updates updates = descent(kind, {p}, {kt::Tensor(p) - target});
    const kt::Tensor loss = 0.5 * kt::sum(kt::square(kt::Tensor(p) - target));
    for (int step = 0; step < 2; ++step) check_values(updates, {loss}, kt::cuda());
  }
  const kt::Shared a = state({6, 40}, 1), b = state({6, 40}, 2), c = state({6}, 3);
  check_values({{a, 0.5 * a + b}, {b, b - (0.5 * a + b)}}, {}, kt::cuda());
  check_values({{c, kt::max(a, 1)}}, {c * kt::max(a, 1)}, kt::cuda());
  check_values({{c, 0.9 * c + kt::sum(a, 1)}, {b, b * kt::expand_dims(c, 1)}},
               {c * (0.9 * c + kt::sum(a, 1))}, kt::cuda());
  // By tiles of a product, whose places are scalars of the block.
  const kt::Shared w = state({70, 65}, 1), x = state({5, 70}, 2), y = state({5, 65}, 3);
  for (const std::string kind : {"momentum", "adam"}) {
    check_values(descent(kind, {w}, {kt::dot(kt::transpose(x), y)}), {}, kt::cuda());
  }
}

TEST_CASE("updates: a value that several kernels store, each its part, overwrites the old one") {
  const kt::Shared p = state({300, 200}, 1);
  const kt::Shared x = state({100, 200}, 2);
  // The gradient of a slice is 0 elsewhere: rows before it, its own, rows after it.
  const auto decayed = [&](double decay) {
    return Updates{{p, decay * p - 0.5 * kt::pad(kt::Tensor(x), {{50, 150}, {0, 0}})}};
  };
  CHECK(kernels({}, {}, decayed(0.5)).size() == 3);
  check_values(decayed(0.5));
  // Rows that stay as they are are not touched.
  CHECK(kernels({}, {}, decayed(1)).size() == 1);
  check_values(decayed(1));
  // Each element becomes one that another kernel has overwritten.
  const kt::Tensor old = p;
  const Updates rolled = {
      {p, kt::concatenate({old(kt::slice(20, kt::end)), old(kt::slice(0, 20)) * 2}, 0)}};
  check_values(rolled);
  const Updates neighbours = {{p, p - 0.1 * kt::grad(kt::sum(kt::square(old(kt::slice(1, kt::end)) -
                                                                        old(kt::slice(0, -1)))),
                                                     p)}};
  check_values(neighbours);
}
