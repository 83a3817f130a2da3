// Loops inside loops of few steps and few elements: what is a step's state, what is a row of a
// history, and what is all of it.
#include <doctest/doctest.h>

#include "tests/scan/scan_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests
using namespace scan_test;      // NOLINT: tests

namespace {

using Step = std::function<Tensor(const Tensor& h)>;

// What a step does with its state.
const std::vector<std::pair<const char*, Step>>& steps() {
  static const std::vector<std::pair<const char*, Step>> known = {
      {"a map", [](const Tensor& h) { return map([](Tensor a) { return tanh(a) * 2.0; }, {h}); }},
      {"a map with a branch",
       [](const Tensor& h) {
         return map([](Tensor a) { return ifelse(a > 0.5, sin(a), a * 2.0); }, {h});
       }},
      {"a map that reads all of it",
       [](const Tensor& h) {
         return map([&](Tensor a) { return ifelse(a > 0.5, sin(a), h(-1) * 2.0); }, {h});
       }},
      {"a running sum",
       [](const Tensor& h) {
         return scan([](Tensor a, Tensor t) { return t * 0.5 + a; },
                     {.sequences = {h}, .outputs_info = {zeros({}, f64)}});
       }},
      {"a running sum from the end",
       [](const Tensor& h) {
         return scan([](Tensor a, Tensor t) { return t * 0.5 + a; },
                     {.sequences = {h}, .outputs_info = {zeros({}, f64)}, .go_backwards = true});
       }},
      {"steps from it",
       [](const Tensor& h) {
         return scan([](Tensor t) { return tanh(t * 0.5); },
                     {.outputs_info = {h}, .n_steps = 2})(-1);
       }},
      {"steps from it that read it",
       [](const Tensor& h) {
         return scan([&](Tensor a, Tensor t) { return tanh(t * 0.5) + a + h(0); },
                     {.sequences = {h}, .outputs_info = {h}})(-1);
       }},
      {"all steps from it",
       [](const Tensor& h) {
         return sum(
             scan([](Tensor t) { return sin(t) * 0.5; }, {.outputs_info = {h}, .n_steps = 3}), 0);
       }},
      {"a loop in a map",
       [](const Tensor& h) {
         return map(
             [&](Tensor a) {
               const Tensor inner = scan([&](Tensor t) { return sin(t) + h(0); },
                                         {.outputs_info = {a}, .n_steps = 2});
               return sum(inner) + inner(-1);
             },
             {h});
       }},
      {"pairs of neighbours",
       [](const Tensor& h) {
         const Tensor s = scan([](Tensor before, Tensor now) { return before * now; },
                               {.sequences = {{h, {-1, 0}}}});
         return h * 0.25 + sum(s);
       }},
  };
  return known;
}

// A loop around it, whose step reads the state outside it too or not: states and gradients.
void check_step(const Step& step, std::int64_t count, std::int64_t elements, bool last,
                bool free_count, bool by_itself) {
  const Tensor x = tensor("x", {free_count ? dim("n") : Dim(count), elements}, f64);
  const Tensor h0 = tensor("h0", {elements}, f64);
  const Tensor all_rows = scan(
      [&](Tensor row, Tensor h) {
        return by_itself ? row * 0.1 + h * 0.5 + step(h) : row * 0.1 + step(h);
      },
      {.sequences = {x}, .outputs_info = {h0}});
  const Tensor y = last ? all_rows(-1) : all_rows;
  const std::vector<Tensor> gradients = grad(sum(y * y), std::vector<Tensor>{x, h0});
  check_agrees({{x, h0},
                {y, gradients[0], gradients[1]},
                {random_array({count, elements}, f64, 5), random_array({elements}, f64, 6)}},
               {2e-6, 1e-12});
}

}  // namespace

TEST_CASE("scan merged: a loop in the step of a short loop") {
  for (const auto& [name, step] : steps()) {
    for (const std::int64_t count : {1, 2, 3}) {
      for (const std::int64_t elements : {1, 2, 4}) {
        for (const bool last : {false, true}) {
          CAPTURE(name);
          CAPTURE(count);
          CAPTURE(elements);
          CAPTURE(last);
          if (elements == 1 && std::string(name) == "pairs of neighbours") continue;
          check_step(step, count, elements, last, false, false);
        }
      }
    }
    CAPTURE(name);
    for (const bool last : {false, true}) {
      check_step(step, 3, 4, last, true, false);
      check_step(step, 3, 4, last, false, true);
    }
  }
}
