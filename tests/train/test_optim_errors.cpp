// What optimizers say of options, parameters and gradients that they do not take.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/optim.h>

#include <cmath>
#include <functional>
#include <regex>
#include <string>

namespace test_optim_errors {

namespace kt = kroton;
namespace optim = kroton::optim;

namespace {

struct Contradicting : optim::Optimizer {
  Contradicting() : Optimizer("contradicting", {}) {}
  kt::Tensor rule(optim::Step& step) override {
    step.update(step.common_state("c"), kt::sum(step.gradient));
    return step.value;
  }
};

// What an error says, without its kind; the place in the program as [].
template <class Error>
std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    static const std::regex place(R"(\[\w+\.cpp:\d+\])");
    return std::regex_replace(std::string(error.what()), place, "[]");
  } catch (const std::exception& error) {
    return std::string("another error: ") + error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("optim: errors of options name the optimizer and the option") {
  const auto message = [](const std::function<void()>& make) {
    return error_of<kt::ValueError>(make);
  };
  CHECK(message([] { optim::Adam({.rate = -0.1}); }) ==
        "adam: rate is -0.1, not a finite number of at least 0");
  CHECK(message([] { optim::Adam({.beta1 = 1}); }) == "adam: beta1 is 1, not in [0, 1)");
  CHECK(message([] { optim::AdamW({.beta2 = -0.5}); }) == "adamw: beta2 is -0.5, not in [0, 1)");
  CHECK(message([] { optim::NAdam({.epsilon = -1}); }) ==
        "nadam: epsilon is -1, not a finite number of at least 0");
  CHECK(message([] { optim::NAdam({.momentum_decay = -1}); }) ==
        "nadam: momentum_decay is -1, not a finite number of at least 0");
  CHECK(message([] { optim::Adamax({.weight_decay = -2}); }) ==
        "adamax: weight_decay is -2, not a finite number of at least 0");
  CHECK(message([] { optim::Lamb({.clip_value = 0}); }) ==
        "lamb: clip_value is 0, not a finite number above 0");
  CHECK(message([] { optim::Lion({.clip_norm = -1}); }) ==
        "lion: clip_norm is -1, not a finite number above 0");
  CHECK(message([] { optim::Sgd({.accumulate = 0}); }) == "sgd: accumulate is 0, below 1");
  CHECK(message([] { optim::Sgd({.momentum = 1}); }) == "sgd: momentum is 1, not in [0, 1)");
  CHECK(message([] { optim::Sgd({.momentum = 0.5, .dampening = 2}); }) ==
        "sgd: dampening is 2, not in [0, 1]");
  CHECK(message([] { optim::Sgd({.nesterov = true}); }) ==
        "sgd: nesterov takes a momentum above 0 and no dampening");
  CHECK(message([] { optim::Adagrad({.rate_decay = -1}); }) ==
        "adagrad: rate_decay is -1, not a finite number of at least 0");
  CHECK(message([] { optim::Adagrad({.initial = -1}); }) ==
        "adagrad: initial is -1, not a finite number of at least 0");
  CHECK(message([] { optim::Adadelta({.rho = 1.5}); }) == "adadelta: rho is 1.5, not in [0, 1]");
  CHECK(message([] { optim::RmsProp({.alpha = 1.5}); }) == "rmsprop: alpha is 1.5, not in [0, 1]");
  CHECK(message([] { optim::RmsProp({.momentum = -1}); }) ==
        "rmsprop: momentum is -1, not in [0, 1)");
  CHECK(message([] { optim::Muon({.iterations = 0}); }) == "muon: iterations is 0, below 1");
  CHECK(message([] { optim::Muon({.epsilon = 0}); }) ==
        "muon: epsilon is 0, not a finite number above 0");
  CHECK(message([] { optim::Muon({.fallback = {.beta1 = 1}}); }) ==
        "muon: the fallback's beta1 is 1, not in [0, 1)");
  const std::string low = "-1, not a finite number of at least 0";
  const std::string no_fraction = "2, not in [0, 1)";
  CHECK(message([] { optim::Adagrad({.epsilon = -1}); }) == "adagrad: epsilon is " + low);
  CHECK(message([] { optim::Adadelta({.epsilon = -1}); }) == "adadelta: epsilon is " + low);
  CHECK(message([] { optim::RmsProp({.epsilon = -1}); }) == "rmsprop: epsilon is " + low);
  CHECK(message([] { optim::Adam({.epsilon = -1}); }) == "adam: epsilon is " + low);
  CHECK(message([] { optim::Adamax({.epsilon = -1}); }) == "adamax: epsilon is " + low);
  CHECK(message([] { optim::Lamb({.epsilon = -1}); }) == "lamb: epsilon is " + low);
  CHECK(message([] { optim::NAdam({.beta1 = 2}); }) == "nadam: beta1 is " + no_fraction);
  CHECK(message([] { optim::Adamax({.beta2 = 2}); }) == "adamax: beta2 is " + no_fraction);
  CHECK(message([] { optim::Lamb({.beta1 = 2}); }) == "lamb: beta1 is " + no_fraction);
  CHECK(message([] { optim::Lion({.beta2 = 2}); }) == "lion: beta2 is " + no_fraction);
  CHECK(message([] { optim::Muon({.momentum = 2}); }) == "muon: momentum is " + no_fraction);
  CHECK(message([] { optim::Muon({.fallback = {.rate = -1}}); }) ==
        "muon: the fallback's rate is " + low);
  CHECK(message([] { optim::Muon({.fallback = {.beta2 = 2}}); }) ==
        "muon: the fallback's beta2 is " + no_fraction);
  CHECK(message([] { optim::Muon({.fallback = {.epsilon = -1}}); }) ==
        "muon: the fallback's epsilon is " + low);
  CHECK(message([] { optim::Sgd({.rate = HUGE_VAL}); }) ==
        "sgd: rate is inf, not a finite number of at least 0");
  CHECK(message([] { optim::Sgd({.rate = NAN}); }) ==
        "sgd: rate is nan, not a finite number of at least 0");
  auto w = kt::shared(1.0, "w");
  CHECK(message([&] { optim::Sgd({.groups = {{.parameters = {w}, .rate = -1}}}); }) ==
        "sgd: a group's rate is -1, not a finite number of at least 0");
  CHECK(message([&] { optim::Sgd({.groups = {{.parameters = {w}, .weight_decay = -1}}}); }) ==
        "sgd: a group's weight_decay is -1, not a finite number of at least 0");
  CHECK(message([&] { optim::Sgd({.groups = {{.parameters = {w}}, {.parameters = {w}}}}); }) ==
        "sgd: groups: the parameter w is listed twice");
  CHECK(message([&] { optim::MovingAverage({w}, 1); }) ==
        "moving_average: decay is 1, not in [0, 1)");
  CHECK(message([&] { optim::MovingAverage({w, w}, 0.5); }) ==
        "moving_average: the parameter w is listed twice");
  CHECK(message([&] { optim::MovingAverage({}, 0.5); }) == "moving_average: no parameters");
}

TEST_CASE("optim: errors of parameters and gradients name both and the line") {
  auto w = kt::shared(kt::Array::zeros({3}), "w");
  auto b = kt::shared(0.0, "b");
  auto ids = kt::shared(kt::Array::zeros({2}, kt::i64), "ids");
  const auto cost = kt::sum(w * w);
  optim::Adam adam;
  CHECK(error_of<kt::ValueError>([&] { (void)adam.minimize(cost, {}); }) ==
        "adam: no parameters  []");
  CHECK(error_of<kt::ValueError>([&] { (void)adam.minimize(cost, {w, w}); }) ==
        "adam: the parameter w is listed twice  []");
  CHECK(error_of<kt::TypeError>([&] { (void)adam.minimize(cost, {w, ids}); }) ==
        "adam: the parameter ids is i64 (2,), not floating  []");
  CHECK(error_of<kt::ValueError>([&] { (void)adam.minimize(cost, {w, b}); }) ==
        "grad: the cost does not depend on b, f32 ()  []");
  CHECK(error_of<kt::ValueError>([&] { (void)adam.updates({w, b}, {w}); }) ==
        "adam: 2 parameters and 1 gradients  []");
  CHECK(error_of<kt::ValueError>([&] { (void)adam.updates({w}, {kt::Tensor()}); }) ==
        "adam: the gradient of w is an empty Tensor  []");
  CHECK(error_of<kt::TypeError>([&] { (void)adam.updates({w}, {kt::zeros({3}, kt::f64)}); }) ==
        "adam: the gradient of w is f64 (3,), the parameter f32 (3,)  []");
  CHECK(error_of<kt::ShapeError>([&] { (void)adam.updates({w}, {kt::zeros({1})}); }) ==
        "adam: the gradient of w is f32 (1,), the parameter f32 (3,)  []");
  CHECK(error_of<kt::ShapeError>([&] { (void)adam.updates({w}, {b}); }) ==
        "adam: the gradient of w is f32 (), the parameter f32 (3,)  []");
  CHECK(adam.state().empty());
  optim::Adam grouped({.groups = {{.parameters = {b}}}});
  CHECK(error_of<kt::ValueError>([&] { (void)grouped.minimize(cost, {w}); }) ==
        "adam: the parameter b of a group is not among the parameters  []");
  optim::Muon muon;
  CHECK(error_of<kt::ShapeError>([&] { (void)muon.minimize(cost, {w}); }) ==
        "muon: the parameter w is f32 (3,), not a matrix: list it in fallback.parameters  []");
  auto v = kt::shared(kt::Array::zeros({3}), "v");
  Contradicting contradicting;
  CHECK(error_of<kt::ValueError>([&] {
          (void)contradicting.minimize(cost + kt::sum(kt::exp(v)), {w, v});
        }) == "contradicting: two different updates of contradicting.c  []");
  CHECK(error_of<kt::TypeError>([&] { optim::MovingAverage({ids}, 0.5); }) ==
        "moving_average: the parameter ids is i64 (2,), not floating");
}

}  // namespace test_optim_errors
