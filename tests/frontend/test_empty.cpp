// An empty Tensor, an axis or an element that is not there: a ValueError with the operation and the
// user's line, from each public function.
#include <doctest/doctest.h>
#include <kroton/banded.h>
#include <kroton/collectives.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <regex>
#include <set>
#include <sstream>

#include "tests/frontend/empty_uses.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/error_text.h"
#include "tests/tools/places.h"

namespace test_empty {

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

using empty_test::Use;

using Unary = Tensor (*)(const Operand&);
using Binary = Tensor (*)(const Operand&, const Operand&);
using Comparison = Mask (*)(const Operand&, const Operand&);
using Reduction = Tensor (*)(const Operand&, const Axes&, KeepDims);

const Tensor x = matrix("x");
const Tensor v = vector("v");
const Tensor mask = vector("mask", boolean);

const Tensor signal = tensor("signal", {2, 3, 17});
const Tensor filters = tensor("filters", {4, 3, 3});

// Of convolution.h, pooling.h and normalization.h.
void add_window_uses(std::vector<Use>& uses) {
  using Conv = Tensor (*)(const Operand&, const Operand&, const ConvolutionOptions&);
  using Transposed = Tensor (*)(const Operand&, const Operand&, const ConvTransposeOptions&);
  const std::pair<const char*, Conv> convolutions[] = {
      {"conv1d", conv1d}, {"conv2d", conv2d}, {"conv3d", conv3d}};
  for (const auto& [name, f] : convolutions) {
    uses.push_back({name, [g = f](const Tensor& e) { g(e, filters, {}); }});
    uses.push_back({name, [g = f](const Tensor& e) { g(signal, e, {}); }});
  }
  const std::pair<const char*, Transposed> transposed[] = {{"conv_transpose1d", conv_transpose1d},
                                                           {"conv_transpose2d", conv_transpose2d},
                                                           {"conv_transpose3d", conv_transpose3d}};
  for (const auto& [name, f] : transposed) {
    uses.push_back({name, [g = f](const Tensor& e) { g(e, filters, {}); }});
    uses.push_back({name, [g = f](const Tensor& e) { g(signal, e, {}); }});
  }
  const auto use = [&](const char* name, std::function<void(const Tensor&)> f) {
    uses.push_back({name, std::move(f)});
  };
  use("max_pool", [](const Tensor& e) { max_pool(e, 2); });
  use("avg_pool", [](const Tensor& e) { avg_pool(e, 2); });
  use("global_max_pool", [](const Tensor& e) { global_max_pool(e); });
  use("global_avg_pool", [](const Tensor& e) { global_avg_pool(e); });
  use("images_to_patches", [](const Tensor& e) { images_to_patches(e, 2); });
  use("patches_to_images", [](const Tensor& e) { patches_to_images(e, {4}); });
  use("resize", [](const Tensor& e) { resize(e, {4}); });
  use("upsample", [](const Tensor& e) { upsample(e, 2); });
  const Tensor each = tensor("each", {3});
  use("batch_norm", [=](const Tensor& e) { batch_norm(e, each, each); });
  use("batch_norm", [=](const Tensor& e) { batch_norm(signal, e, each); });
  use("batch_norm", [=](const Tensor& e) { batch_norm(signal, each, e); });
  use("batch_norm_inference",
      [=](const Tensor& e) { batch_norm_inference(signal, each, each, each, e); });
  use("batch_norm_inference",
      [=](const Tensor& e) { batch_norm_inference(e, each, each, each, each); });
  use("running_statistics",
      [=](const Tensor& e) { running_statistics(e, each, batch_norm(signal, each, each)); });
  use("running_statistics",
      [=](const Tensor& e) { running_statistics(each, e, batch_norm(signal, each, each)); });
  use("layer_norm", [=](const Tensor& e) { layer_norm(e, each, each); });
  use("group_norm", [=](const Tensor& e) { group_norm(e, 1, each, each); });
  use("group_norm", [=](const Tensor& e) { group_norm(signal, 1, each, e); });
  use("local_response_norm", [](const Tensor& e) { local_response_norm(e); });
}

// Of check.h, products.h and linalg.h.
void add_linalg_uses(std::vector<Use>& uses) {
  const auto use = [&](const char* name, std::function<void(const Tensor&)> f) {
    uses.push_back({name, std::move(f)});
  };
  use("check", [](const Tensor& e) { check(e, x, "message"); });
  use("check", [](const Tensor& e) { check(mask, e, "message"); });
  use("einsum", [](const Tensor& e) { einsum("ij,jk->ik", e, x); });
  use("einsum", [](const Tensor& e) { einsum("ij,jk->ik", x, e); });
  use("tensordot", [](const Tensor& e) { tensordot(e, x, 1); });
  use("tensordot", [](const Tensor& e) { tensordot(x, e, {0}, {0}); });
  use("multi_dot", [](const Tensor& e) { multi_dot({x, e}); });
  use("matrix_power", [](const Tensor& e) { matrix_power(e, 2); });
  use("bilinear", [](const Tensor& e) { bilinear(e, e, e); });
  use("lstsq", [](const Tensor& e) { lstsq(e, v); });
  use("solve", [](const Tensor& e) { solve(e, v); });
  use("solve", [](const Tensor& e) { solve(x, e); });
  use("solve_tridiagonal", [](const Tensor& e) { solve_tridiagonal(v, v, v, e); });
  use("solve_banded", [](const Tensor& e) { solve_banded({1, 1}, e, v); });
  use("solve_banded", [](const Tensor& e) { solve_banded({1, 1}, e, e); });
  use("null_space", [](const Tensor& e) { null_space(e, 1); });
  use("solve_tridiagonal", [](const Tensor& e) { solve_tridiagonal(e, v, v, v); });
  use("slogdet", [](const Tensor& e) { slogdet(e); });
  use("lu", [](const Tensor& e) { lu(e); });
  use("qr", [](const Tensor& e) { qr(e); });
  use("eigh", [](const Tensor& e) { eigh(e); });
  use("eigvals", [](const Tensor& e) { eigvals(e); });
  use("svd", [](const Tensor& e) { svd(e); });
  use("pinv", [](const Tensor& e) { pinv(e); });
  use("matrix_rank", [](const Tensor& e) { matrix_rank(e); });
  use("matrix_norm", [](const Tensor& e) { matrix_norm(e); });
  use("cond", [](const Tensor& e) { cond(e); });
  use("block_diag", [](const Tensor& e) { block_diag({x, e}); });
  use("toeplitz", [](const Tensor& e) { toeplitz(e, v); });
  use("vander", [](const Tensor& e) { vander(e, 2); });
  const std::pair<const char*, Unary> unary[] = {
      {"inv", inv},         {"det", det},   {"logdet", logdet}, {"eigvalsh", eigvalsh},
      {"svdvals", svdvals}, {"expm", expm}, {"sqrtm", sqrtm}};
  for (const auto& [name, f] : unary) use(name, [g = f](const Tensor& e) { g(e); });
  const std::pair<const char*, Binary> binary[] = {
      {"inner", inner}, {"vdot", vdot}, {"kron", kron}};
  for (const auto& [name, f] : binary) {
    use(name, [g = f](const Tensor& e) { g(e, x); });
    use(name, [g = f](const Tensor& e) { g(x, e); });
  }
}

// Every function of the headers of operations, with an empty Tensor at each place in turn.
// Of collectives.h.
void add_collective_uses(std::vector<Use>& uses) {
  static const DeviceGroup group = devices(cpu(), 2);
  const auto use = [&](const char* name, std::function<void(const Tensor&)> f) {
    uses.push_back({name, std::move(f)});
  };
  use("all_reduce", [](const Tensor& e) { all_reduce(e, group); });
  use("reduce_scatter", [](const Tensor& e) { reduce_scatter(e, group); });
  use("all_gather", [](const Tensor& e) { all_gather(e, group); });
  use("broadcast", [](const Tensor& e) { broadcast(e, group); });
  use("reduce_to_root", [](const Tensor& e) { reduce_to_root(e, group); });
  use("replicated", [](const Tensor& e) { replicated(e, group); });
  use("data_parallel_loss", [](const Tensor& e) { data_parallel_loss(e, x, group); });
  use("data_parallel_loss", [](const Tensor& e) { data_parallel_loss(sum(x), e, group); });
  use("data_parallel_measures", [](const Tensor& e) { data_parallel_measures({e}, x, group); });
}

std::vector<Use> uses_in_operations() {
  std::vector<Use> uses = empty_test::uses_by_numpys_names();
  add_collective_uses(uses);
  const auto add_use = [&](const std::string& name, std::function<void(const Tensor&)> use) {
    uses.push_back({name, std::move(use)});
  };
  const std::pair<const char*, Unary> unary[] = {{"neg", neg},
                                                 {"cholesky", cholesky},
                                                 {"abs", abs},
                                                 {"sign", sign},
                                                 {"square", square},
                                                 {"relu", relu},
                                                 {"exp", exp},
                                                 {"expm1", expm1},
                                                 {"log", log},
                                                 {"log1p", log1p},
                                                 {"tanh", tanh},
                                                 {"sigmoid", sigmoid},
                                                 {"softplus", softplus},
                                                 {"erf", erf},
                                                 {"sqrt", sqrt},
                                                 {"sin", sin},
                                                 {"cos", cos},
                                                 {"atan", atan},
                                                 {"asin", asin},
                                                 {"acos", acos},
                                                 {"reciprocal", reciprocal},
                                                 {"floor", floor},
                                                 {"ceil", ceil},
                                                 {"stop_gradient", stop_gradient},
                                                 {"flatten", flatten},
                                                 {"zeros_like", zeros_like},
                                                 {"ones_like", ones_like}};
  for (const auto& [name, f] : unary) add_use(name, [g = f](const Tensor& e) { g(e); });
  const std::pair<const char*, Binary> binary[] = {
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div},
      {"mod", mod},
      {"floor_div", floor_div},
      {"pow", pow},
      {"atan2", atan2},
      {"maximum", maximum},
      {"minimum", minimum},
      {"dot", dot},
      {"matmul", matmul},
      {"outer", outer},
      {"take", [](const Operand& a, const Operand& b) { return take(a, b); }},
      {"pick", pick},
      {"solve_triangular",
       [](const Operand& a, const Operand& b) { return solve_triangular(a, b); }},
      {"full_like", full_like},
      {"softmax_cross_entropy", softmax_cross_entropy}};
  for (const auto& [name, f] : binary) {
    add_use(name, [g = f](const Tensor& e) { g(e, x); });
    add_use(name, [g = f](const Tensor& e) { g(v, e); });
    add_use(name, [g = f](const Tensor& e) { g(e, e); });
  }
  const std::pair<const char*, Comparison> comparisons[] = {{"eq", eq},
                                                            {"ne", ne},
                                                            {"lt", lt},
                                                            {"le", le},
                                                            {"gt", gt},
                                                            {"ge", ge},
                                                            {"logical_and", logical_and},
                                                            {"logical_or", logical_or},
                                                            {"logical_xor", logical_xor}};
  for (const auto& [name, f] : comparisons) {
    add_use(name, [g = f](const Tensor& e) { g(e, mask); });
    add_use(name, [g = f](const Tensor& e) { g(mask, e); });
    add_use(name, [g = f](const Tensor& e) { g(e, 1); });
  }
  add_use("logical_not", [](const Tensor& e) { logical_not(e); });
  const std::pair<const char*, Reduction> reductions[] = {
      {"sum", sum}, {"prod", prod}, {"mean", mean},           {"var", var}, {"stddev", stddev},
      {"max", max}, {"min", min},   {"logsumexp", logsumexp}, {"any", any}, {"all", all}};
  for (const auto& [name, f] : reductions) {
    add_use(name, [g = f](const Tensor& e) { g(e, {}, false); });
    add_use(name, [g = f](const Tensor& e) { g(e, 0, true); });
  }
  add_use("cumsum", [](const Tensor& e) { cumsum(e, 0); });
  add_use("argmax", [](const Tensor& e) { argmax(e); });
  add_use("argmin", [](const Tensor& e) { argmin(e, 0); });
  add_use("clip", [](const Tensor& e) { clip(e, 0, 1); });
  add_use("clip", [](const Tensor& e) { clip(x, e, 1); });
  add_use("clip", [](const Tensor& e) { clip(x, 0, e); });
  add_use("where", [](const Tensor& e) { where(e, v, v); });
  add_use("where", [](const Tensor& e) { where(mask, e, v); });
  add_use("where", [](const Tensor& e) { where(mask, 1, e); });
  add_use("ifelse", [](const Tensor& e) { ifelse(e, v, v); });
  add_use("ifelse", [](const Tensor& e) { ifelse(any(mask), e, v); });
  add_use("ifelse", [](const Tensor& e) { ifelse(any(mask), 1, e); });
  add_use("cast", [](const Tensor& e) { cast(e, f64); });
  const Shared count = shared(0.0, "count");
  add_use("with_update", [=](const Tensor& e) { with_update(e, count, 1); });
  add_use("with_update", [=](const Tensor& e) { with_update(x, count, e); });
  add_use("print", [](const Tensor& e) { print(e); });
  add_use("print", [](const Tensor& e) { print(e, "message"); });
  add_use("broadcast_to", [](const Tensor& e) { broadcast_to(e, {3}); });
  add_use("reshape", [](const Tensor& e) { reshape(e, {3}); });
  add_use("flatten", [](const Tensor& e) { flatten(e, 1); });
  add_use("transpose", [](const Tensor& e) { transpose(e); });
  add_use("swapaxes", [](const Tensor& e) { swapaxes(e, 0, 1); });
  add_use("expand_dims", [](const Tensor& e) { expand_dims(e, 0); });
  add_use("squeeze", [](const Tensor& e) { squeeze(e); });
  add_use("concatenate", [](const Tensor& e) { concatenate({e, v}); });
  add_use("concatenate", [](const Tensor& e) { concatenate({v, e}); });
  add_use("stack", [](const Tensor& e) { stack({e, v}); });
  add_use("stack", [](const Tensor& e) { stack({v, e}); });
  add_use("pad", [](const Tensor& e) { pad(e, {{1, 1}}); });
  add_use("pad", [](const Tensor& e) { pad(e, {{1, 1}}, PadMode::edge); });
  add_use("pad", [](const Tensor& e) { pad(v, {{1, 1}}, PadMode::constant, e); });
  add_use("roll", [](const Tensor& e) { roll(e, 1, 0); });
  add_window_uses(uses);
  add_linalg_uses(uses);
  add_use("full", [](const Tensor& e) { full({3}, e); });
  add_use("scatter_add", [](const Tensor& e) { scatter_add(e, v, {3}); });
  add_use("scatter_add", [](const Tensor& e) { scatter_add(v, e, {3}); });
  add_use("add_at", [](const Tensor& e) { add_at(e, v, v); });
  add_use("add_at", [](const Tensor& e) { add_at(v, e, v); });
  add_use("add_at", [](const Tensor& e) { add_at(v, v, e); });
  add_use("one_hot", [](const Tensor& e) { one_hot(e, 10); });
  add_use("softmax", [](const Tensor& e) { softmax(e); });
  add_use("log_softmax", [](const Tensor& e) { log_softmax(e); });
  // Operators and indices.
  add_use("add", [](const Tensor& e) { e + x; });
  add_use("add", [](const Tensor& e) { x + e; });
  add_use("mul", [](const Tensor& e) { 2 * e; });
  add_use("neg", [](const Tensor& e) { -e; });
  add_use("bitwise_not", [](const Tensor& e) { ~e; });
  add_use("lt", [](const Tensor& e) { static_cast<void>(e < 1); });
  add_use("index", [](const Tensor& e) { e[0]; });
  add_use("index", [](const Tensor& e) { x[e]; });
  add_use("index", [](const Tensor& e) { e(all, 0); });
  add_use("index", [](const Tensor& e) { x(all, e); });
  add_use("index", [](const Tensor& e) { e(slice(1, end)); });
  return uses;
}

// What is asked of a Tensor itself, gradients, scans, functions.
std::vector<Use> other_uses() {
  const Shared w = shared(Array::zeros({3}), "w");
  const Tensor cost = sum(x);
  return {
      {"rank", [](const Tensor& e) { (void)e.rank(); }},
      {"dtype", [](const Tensor& e) { (void)e.dtype(); }},
      {"type", [](const Tensor& e) { (void)e.type(); }},
      {"shape", [](const Tensor& e) { (void)e.shape(); }},
      {"shape", [](const Tensor& e) { (void)e.shape(0); }},
      {"shape", [](const Tensor& e) { (void)Tensor(e).shape(0); }},
      {"line", [](const Tensor& e) { (void)e.line(); }},
      {"name", [](const Tensor& e) { (void)e.name(); }},
      {"node", [](const Tensor& e) { (void)e.node(); }},
      {"operand", [](const Tensor& e) { (void)Operand(e).tensor(); }},
      {"grad", [](const Tensor& e) { grad(e, x); }},
      {"grad", [=](const Tensor& e) { grad(cost, e); }},
      {"grad", [=](const Tensor& e) { grad(cost, x, e); }},
      {"grad", [=](const Tensor& e) { grad(cost, x, {.consider_constant = {e}}); }},
      {"grad", [](const Tensor& e) { grad(Tensor(), x, {.known_grads = {{e, v}}}); }},
      {"grad", [](const Tensor& e) { grad(Tensor(), x, {.known_grads = {{x, e}}}); }},
      {"vjp", [](const Tensor& e) { vjp({e}, {x}, {x}); }},
      {"vjp", [](const Tensor& e) { vjp({x}, {e}, {x}); }},
      {"vjp", [](const Tensor& e) { vjp({x}, {x}, {e}); }},
      {"verify_grad", [](const Tensor& e) { verify_grad(e, {}); }},
      {"verify_grad", [=](const Tensor& e) { verify_grad(cost, {{e, Array()}}); }},
      {"scan", [](const Tensor& e) { scan([](Tensor r) { return r; }, {.sequences = {e}}); }},
      {"scan",
       [](const Tensor& e) {
         scan([](Tensor s) { return s; }, {.outputs_info = {e}, .n_steps = 2});
       }},
      {"scan", [](const Tensor& e) { scan([&](Tensor) { return e; }, {.sequences = {x}}); }},
      {"scan",
       [](const Tensor& e) {
         scan([](Tensor r, Tensor) { return r; }, {.sequences = {x}, .non_sequences = {e}});
       }},
      {"scan",
       [](const Tensor& e) {
         scan([](Tensor s) { return s; }, {.outputs_info = {0.0}, .n_steps = e});
       }},
      {"scan", [](const Tensor& e) { map([](Tensor r) { return r; }, {e}); }},
      {"scan", [](const Tensor& e) { foldl([](Tensor r, Tensor s) { return r + s; }, {x}, e); }},
      {"scan", [](const Tensor& e) { foldr([](Tensor r, Tensor s) { return r + s; }, {e}, 0.0); }},
      {"function", [](const Tensor& e) { function({e}, x); }},
      {"function", [](const Tensor& e) { function({x}, e); }},
      {"function", [](const Tensor& e) { function({x}, {x, e}); }},
      {"function", [](const Tensor& e) { function({x}, std::vector<Tensor>{e}); }},
      {"function", [=](const Tensor& e) { function({x}, {.updates = {{w, e}}}); }},
      {"function", [](const Tensor& e) { function({x}, x, {.givens = {{e, x}}}); }},
      {"function", [](const Tensor& e) { function({x}, x, {.givens = {{x, e}}}); }},
      {"function", [](const Tensor& e) { aot::write({x}, e, {.name = "f"}); }},
  };
}

void check_use(const Use& use) {
  CAPTURE(use.name);
  const std::string message = value_error([&] { use.use(Tensor()); });
  CAPTURE(message);
  CHECK(message.starts_with(use.name + ": "));
  CHECK(message.find("empty") != std::string::npos);
  CHECK(message.ends_with("  [here]"));
}

}  // namespace

TEST_CASE("empty Tensor: every operation") {
  for (const Use& use : uses_in_operations()) check_use(use);
  CHECK(value_error([] { x + Tensor(); }) ==
        "add: a Tensor is empty: no expression has been assigned to it  [here]");
  Tensor p;
  CHECK(value_error([&] { p = p * x; }) ==
        "mul: a Tensor is empty: no expression has been assigned to it  [here]");
}

TEST_CASE("empty Tensor: what is asked of it, gradients, scans, functions") {
  for (const Use& use : other_uses()) check_use(use);
}

TEST_CASE("empty Tensor: the list of operations is complete") {
  std::set<std::string> tested{"arange",   "iota", "size_of_dim", "zeros",   "ones",
                               "constant", "tri",  "eye",         "identity"};  // take none
  for (const Use& use : uses_in_operations()) tested.insert(use.name);
  const std::regex declaration(
      R"(^(Tensor|Mask|BatchNorm|RunningStatistics|SignAndLog|Lu|Qr|Eigh|Eigenvalues|Svd) (\w+)\()");
  int found = 0;
  for (const char* name :
       {"ops.h", "convolution.h", "pooling.h", "normalization.h", "check.h", "products.h",
        "linalg.h", "elementwise.h", "special.h", "cumulative.h", "indexing.h", "numeric.h",
        "rearrange.h", "sort.h", "statistics.h", "collectives.h"}) {
    std::ifstream header(places::source_dir() + "/compiler/include/kroton/" + name);
    for (std::string line; std::getline(header, line);) {
      std::smatch match;
      if (!std::regex_search(line, match, declaration) || match[2] == "operator") continue;
      ++found;
      CAPTURE(match[2].str());
      CHECK(tested.contains(match[2]));
    }
  }
  CHECK(found > 250);
}

TEST_CASE("handles that are moved from") {
  Tensor a = vector("a");
  const Tensor b = std::move(a);
  CHECK(value_error([&] { (void)a.rank(); }) ==  // NOLINT: that is the test
        "rank: a Tensor is empty: no expression has been assigned to it  [here]");
  // Those of these stay what they were.
  Shared w = shared(0.5, "w");
  const Shared w2 = std::move(w);
  CHECK(w.get_value().item<float>() == 0.5F);  // NOLINT
  Dim n = dim("n") + 1;
  const Dim m = std::move(n);
  CHECK(n == m);  // NOLINT
  auto f = function({b}, b + 1);
  const auto g = std::move(f);
  CHECK(f(Array::ones({2})).size() == 2);  // NOLINT
  CHECK(g(Array::ones({2})).size() == 2);
  CHECK(value_error([] { Function<1>(nullptr); }) == "function: there is no compiled function");
  Array c = Array::ones({2});
  const Array d = std::move(c);
  CHECK(c.size() == 0);  // NOLINT
  CHECK(value_error([&] { (void)c(0); }) ==
        "index: index 0 is out of range for axis 0, whose size is 0");
  CHECK(value_error([&] { (void)c.item<float>(); }) ==
        "item: expected an array of one element, got shape (0,)");
  CHECK(array_equal(function({b}, b)(c), Array()));
}

TEST_CASE("an axis that is not there") {
  const Tensor t = tensor("t", {dim("n"), 3, 5});
  CHECK(t.shape(-1) == Dim(5));
  CHECK(t.shape(-3) == dim("n"));
  CHECK(value_error([&] { (void)t.shape(3); }) ==
        "shape: axis 3 is out of range for rank 3: t is f32 (n, 3, 5)  [here]");
  CHECK(value_error([&] { (void)t.shape(-4); }) ==
        "shape: axis -4 is out of range for rank 3: t is f32 (n, 3, 5)  [here]");
  CHECK(value_error([&] { (void)(t + 1).shape(7); }) ==
        "shape: axis 7 is out of range for rank 3: add is f32 (n, 3, 5)  [here]");
  CHECK(value_error([&] { (void)t.shape()[3]; }) ==
        "shape: axis 3 is out of range for (n, 3, 5), which has rank 3");
  CHECK(value_error([&] { (void)sum(t).shape(0); }) ==
        "shape: axis 0 is out of range for rank 0: sum is f32 ()  [here]");
  const Shape shape{2, 3};
  CHECK(shape[-1] == 3);
  CHECK(value_error([&] { (void)shape[2]; }) ==
        "shape: axis 2 is out of range for (2, 3), which has rank 2");
  CHECK(value_error([&] { (void)Shape()[0]; }) ==
        "shape: axis 0 is out of range for (), which has rank 0");
  CHECK(value_error([&] { (void)dim("n").constant(); }) ==
        "constant: the size n is not known before the call");
}

TEST_CASE("what a temporary gives outlives it") {
  const Tensor t = tensor("t", {3, 5});
  std::int64_t count = 1;
  for (const Dim& size : (t + 1).shape()) count *= size.constant();
  const Dim& columns = (t * 2).shape(1);
  CHECK(columns == Dim(5));
  for (const std::int64_t size : Array::zeros({3, 5}).shape()) count -= size;
  CHECK(count == 7);
  const auto f = function({t}, t + 1, {.name = "f"});
  float total = 0;
  for (const float value : f(Array::ones({3, 5})).data<float>()) total += value;
  CHECK(total == 30);
  const auto values = f(Array::zeros({3, 5})).data<float>();
  CHECK(values.size() == 15);
  CHECK(values[14] == 1);
  CHECK(value_error([&] { (void)values[15]; }) == "data: element 15 of 15");
  const std::span<const float> span = values;
  CHECK(span[3] == 1);
  const std::string& name = function({t}, t, {.name = "short_lived_function"}).name();
  CHECK(name == "short_lived_function");
  std::vector<Argument> arguments;
  arguments.emplace_back(Array::ones({3, 5}));
  CHECK(f.call(arguments).data<float>()[0] == 2);
  std::int64_t rows = 0;
  for (const auto batch : data::Batches(10, 4, 1).next_epoch()) rows += std::ssize(batch);
  CHECK(rows == 10);
}

}  // namespace test_empty
