#include "tests/frontend/empty_uses.h"

#include <kroton/kroton.h>

namespace empty_test {
namespace {

using namespace kroton;  // NOLINT: tests

using Unary = Tensor (*)(const Operand&);
using Binary = Tensor (*)(const Operand&, const Operand&);
using Predicate = Mask (*)(const Operand&);
using Reduction = Tensor (*)(const Operand&, const Axes&, KeepDims);

const Tensor x = matrix("x");
const Tensor v = vector("v");
const Tensor n = vector("n", i64);

class List {
 public:
  template <class F>
  void one(const std::string& name, F f) {
    uses_.push_back({name, f});
  }
  void each(std::initializer_list<std::pair<const char*, Unary>> functions) {
    for (const auto& [name, f] : functions) one(name, [g = f](const Tensor& e) { g(e); });
  }
  void each(std::initializer_list<std::pair<const char*, Binary>> functions, const Tensor& other) {
    for (const auto& [name, f] : functions) {
      one(name, [g = f, other](const Tensor& e) { g(e, other); });
      one(name, [g = f, other](const Tensor& e) { g(other, e); });
    }
  }
  void each(std::initializer_list<std::pair<const char*, Reduction>> functions) {
    for (const auto& [name, f] : functions)
      one(name, [g = f](const Tensor& e) { g(e, {}, false); });
  }
  std::vector<Use> uses() { return std::move(uses_); }

 private:
  std::vector<Use> uses_;
};

void add_elementwise(List& list) {
  list.each({{"tan", tan},
             {"sinh", sinh},
             {"cosh", cosh},
             {"asinh", asinh},
             {"acosh", acosh},
             {"atanh", atanh},
             {"exp2", exp2},
             {"log2", log2},
             {"log10", log10},
             {"cbrt", cbrt},
             {"rsqrt", rsqrt},
             {"deg2rad", deg2rad},
             {"rad2deg", rad2deg},
             {"trunc", trunc},
             {"round", round},
             {"frac", frac},
             {"bitwise_not", bitwise_not},
             {"bitwise_count", bitwise_count},
             {"log1pexp", log1pexp},
             {"log1mexp", log1mexp},
             {"sinc", sinc},
             {"hard_swish", hard_swish},
             {"tanhshrink", tanhshrink},
             {"logsigmoid", logsigmoid},
             {"erfc", erfc},
             {"erfcx", erfcx},
             {"erfinv", erfinv},
             {"erfcinv", erfcinv},
             {"ndtr", ndtr},
             {"log_ndtr", log_ndtr},
             {"ndtri", ndtri},
             {"gamma", gamma},
             {"gammaln", gammaln},
             {"lgamma", lgamma},
             {"digamma", digamma},
             {"psi", psi},
             {"trigamma", trigamma},
             {"zeta", zeta},
             {"j0", j0},
             {"j1", j1},
             {"y0", y0},
             {"y1", y1},
             {"i0", i0},
             {"i1", i1},
             {"i0e", i0e},
             {"i1e", i1e},
             {"k0", k0},
             {"k1", k1},
             {"k0e", k0e},
             {"k1e", k1e},
             {"exp1", exp1},
             {"expi", expi}});
  const std::pair<const char*, Predicate> predicates[] = {
      {"isnan", isnan}, {"isinf", isinf}, {"isfinite", isfinite}, {"signbit", signbit}};
  for (const auto& [name, f] : predicates) list.one(name, [g = f](const Tensor& e) { g(e); });
  list.each({{"hypot", hypot},
             {"float_power", float_power},
             {"fmod", fmod},
             {"remainder", remainder},
             {"copysign", copysign},
             {"nextafter", nextafter},
             {"fmax", fmax},
             {"fmin", fmin},
             {"heaviside", heaviside},
             {"logaddexp", logaddexp},
             {"logaddexp2", logaddexp2},
             {"xlogy", xlogy},
             {"xlog1py", xlog1py},
             {"gammainc", gammainc},
             {"gammaincc", gammaincc},
             {"gammaincinv", gammaincinv},
             {"gammainccinv", gammainccinv},
             {"betaln", betaln},
             {"beta", beta},
             {"zeta", zeta}},
            v);
  list.each({{"bitwise_and", bitwise_and},
             {"bitwise_or", bitwise_or},
             {"bitwise_xor", bitwise_xor},
             {"left_shift", left_shift},
             {"right_shift", right_shift},
             {"gcd", gcd},
             {"lcm", lcm},
             {"integer_power", integer_power}},
            n);
  list.one("nan_to_num", [](const Tensor& e) { nan_to_num(e); });
  list.one("smoothstep", [](const Tensor& e) { smoothstep(e, 1, v); });
  list.one("smoothstep", [](const Tensor& e) { smoothstep(0, 1, e); });
  list.one("celu", [](const Tensor& e) { celu(e); });
  list.one("hardtanh", [](const Tensor& e) { hardtanh(e); });
  list.one("hardshrink", [](const Tensor& e) { hardshrink(e); });
  list.one("softshrink", [](const Tensor& e) { softshrink(e); });
  list.one("squareplus", [](const Tensor& e) { squareplus(e); });
  list.one("threshold", [](const Tensor& e) { threshold(e, 1, 0); });
  list.one("betainc", [](const Tensor& e) { betainc(e, v, v); });
  list.one("betainc", [](const Tensor& e) { betainc(v, v, e); });
  list.one("betaincinv", [](const Tensor& e) { betaincinv(e, v, v); });
  list.one("betaincinv", [](const Tensor& e) { betaincinv(v, v, e); });
  list.one("polygamma", [](const Tensor& e) { polygamma(2, e); });
}

void add_indexing(List& list) {
  list.one("cumprod", [](const Tensor& e) { cumprod(e, 0); });
  list.one("cummax", [](const Tensor& e) { cummax(e, 0); });
  list.one("cummin", [](const Tensor& e) { cummin(e, 0); });
  list.one("logcumsumexp", [](const Tensor& e) { logcumsumexp(e, 0); });
  list.one("linear_recurrence", [](const Tensor& e) { linear_recurrence(e, v, 0); });
  list.one("linear_recurrence", [](const Tensor& e) { linear_recurrence(v, e, 0); });
  using Update = Tensor (*)(const Operand&, const Operand&, const Operand&, int);
  const std::pair<const char*, Update> updates[] = {
      {"set_at", set_at}, {"mul_at", mul_at}, {"max_at", max_at}, {"min_at", min_at}};
  for (const auto& [name, f] : updates) {
    list.one(name, [g = f](const Tensor& e) { g(e, v, n, 0); });
    list.one(name, [g = f](const Tensor& e) { g(v, e, n, 0); });
    list.one(name, [g = f](const Tensor& e) { g(v, v, e, 0); });
  }
  list.one("take_along_axis", [](const Tensor& e) { take_along_axis(e, n, 0); });
  list.one("take_along_axis", [](const Tensor& e) { take_along_axis(v, e, 0); });
  const std::pair<const char*, Update> along[] = {{"put_along_axis", put_along_axis},
                                                  {"add_along_axis", add_along_axis}};
  for (const auto& [name, f] : along) {
    list.one(name, [g = f](const Tensor& e) { g(e, n, v, 0); });
    list.one(name, [g = f](const Tensor& e) { g(v, e, v, 0); });
    list.one(name, [g = f](const Tensor& e) { g(v, n, e, 0); });
  }
  list.one("ravel_multi_index", [](const Tensor& e) { ravel_multi_index({n, e}, {3, 4}); });
}

void add_numeric(List& list) {
  list.one("diff", [](const Tensor& e) { diff(e); });
  list.one("gradient", [](const Tensor& e) { gradient(e); });
  list.one("trapezoid", [](const Tensor& e) { trapezoid(e); });
  list.one("trapezoid", [](const Tensor& e) { trapezoid(v, e); });
  list.one("cumulative_trapezoid", [](const Tensor& e) { cumulative_trapezoid(e); });
  list.one("interp", [](const Tensor& e) { interp(e, v, v); });
  list.one("interp", [](const Tensor& e) { interp(v, e, v); });
  list.one("interp", [](const Tensor& e) { interp(v, v, e); });
  list.one("cross", [](const Tensor& e) { cross(e, v); });
  list.one("convolve", [](const Tensor& e) { convolve(e, v); });
  list.one("correlate", [](const Tensor& e) { correlate(v, e); });
}

void add_rearranging(List& list) {
  list.one("flip", [](const Tensor& e) { flip(e); });
  list.each({{"fliplr", fliplr},
             {"flipud", flipud},
             {"atleast_1d", atleast_1d},
             {"atleast_2d", atleast_2d},
             {"atleast_3d", atleast_3d}});
  list.one("rot90", [](const Tensor& e) { rot90(e); });
  list.one("repeat", [](const Tensor& e) { repeat(e, 2); });
  list.one("repeat", [](const Tensor& e) { repeat(e, {1, 2}, 0); });
  list.one("tile", [](const Tensor& e) { tile(e, {2}); });
  list.one("moveaxis", [](const Tensor& e) { moveaxis(e, 0, 1); });
  list.one("moveaxis", [](const Tensor& e) { moveaxis(e, std::vector<int>{0}, {1}); });
  list.one("hstack", [](const Tensor& e) { hstack({v, e}); });
  list.one("vstack", [](const Tensor& e) { vstack({v, e}); });
  list.one("dstack", [](const Tensor& e) { dstack({v, e}); });
  list.one("column_stack", [](const Tensor& e) { column_stack({v, e}); });
  list.one("diagonal", [](const Tensor& e) { diagonal(e); });
  list.one("diag", [](const Tensor& e) { diag(e); });
  list.one("trace", [](const Tensor& e) { trace(e); });
  list.one("tril", [](const Tensor& e) { tril(e); });
  list.one("triu", [](const Tensor& e) { triu(e); });
  list.one("linspace", [](const Tensor& e) { linspace(e, 1); });
  list.one("logspace", [](const Tensor& e) { logspace(0, e); });
  list.one("geomspace", [](const Tensor& e) { geomspace(e, 1); });
}

void add_sorting(List& list) {
  list.one("sort", [](const Tensor& e) { sort(e); });
  list.one("argsort", [](const Tensor& e) { argsort(e); });
  list.one("argtopk", [](const Tensor& e) { argtopk(e, 1); });
  list.one("partition", [](const Tensor& e) { partition(e, 1); });
  list.one("argpartition", [](const Tensor& e) { argpartition(e, 1); });
  list.one("quantile", [](const Tensor& e) { quantile(e, 0.5); });
  list.one("quantile", [](const Tensor& e) { quantile(v, e); });
  list.one("percentile", [](const Tensor& e) { percentile(e, 50); });
  list.one("median", [](const Tensor& e) { median(e); });
  list.one("nanquantile", [](const Tensor& e) { nanquantile(e, 0.5); });
  list.one("nanmedian", [](const Tensor& e) { nanmedian(e); });
  list.one("searchsorted", [](const Tensor& e) { searchsorted(e, v); });
  list.one("searchsorted", [](const Tensor& e) { searchsorted(v, e); });
  list.one("digitize", [](const Tensor& e) { digitize(e, v); });
  list.one("bincount", [](const Tensor& e) { bincount(e, 3); });
  list.one("bincount", [](const Tensor& e) { bincount(n, 3, e); });
  list.one("histogram", [](const Tensor& e) { histogram(e, v); });
  list.one("histogram", [](const Tensor& e) { histogram(e, 3, 0, 1); });
  list.one("histogram_bin_edges", [](const Tensor& e) { histogram_bin_edges(e, 3); });
}

void add_statistics(List& list) {
  list.each({{"ptp", ptp},
             {"count_nonzero", count_nonzero},
             {"nansum", nansum},
             {"nanprod", nanprod},
             {"nanmean", nanmean},
             {"nanmax", nanmax},
             {"nanmin", nanmin}});
  list.one("var", [](const Tensor& e) { var(e, {}, false, 1); });
  list.one("stddev", [](const Tensor& e) { stddev(e, {}, false, 1); });
  list.one("vector_norm", [](const Tensor& e) { vector_norm(e); });
  list.one("argmax_over", [](const Tensor& e) { argmax_over(e, {0}); });
  list.one("argmin_over", [](const Tensor& e) { argmin_over(e, {0}); });
  list.one("average", [](const Tensor& e) { average(e, v); });
  list.one("average", [](const Tensor& e) { average(v, e); });
  list.one("cov", [](const Tensor& e) { cov(e); });
  list.one("corrcoef", [](const Tensor& e) { corrcoef(e); });
  list.one("nanvar", [](const Tensor& e) { nanvar(e); });
  list.one("nanstd", [](const Tensor& e) { nanstd(e); });
  list.one("nanargmax", [](const Tensor& e) { nanargmax(e); });
  list.one("nanargmin", [](const Tensor& e) { nanargmin(e); });
  list.one("nancumsum", [](const Tensor& e) { nancumsum(e, 0); });
  list.one("nancumprod", [](const Tensor& e) { nancumprod(e, 0); });
}

}  // namespace

std::vector<Use> uses_by_numpys_names() {
  List list;
  add_elementwise(list);
  add_indexing(list);
  add_numeric(list);
  add_rearranging(list);
  add_sorting(list);
  add_statistics(list);
  return list.uses();
}

}  // namespace empty_test
