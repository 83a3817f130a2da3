// What is wrong in a call of the functions of sort.h, cumulative.h, indexing.h, statistics.h,
// numeric.h and rearrange.h, and what errors say of it.
#include <doctest/doctest.h>
#include <kroton/cumulative.h>
#include <kroton/indexing.h>
#include <kroton/kroton.h>
#include <kroton/numeric.h>
#include <kroton/rearrange.h>
#include <kroton/sort.h>
#include <kroton/statistics.h>

#include <fstream>
#include <functional>
#include <regex>
#include <set>

#include "tests/tools/compiled_tools.h"
#include "tests/tools/error_text.h"
#include "tests/tools/places.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

const Tensor x = matrix("x");
const Tensor v = vector("v");
const Tensor ids = vector("ids", i64);

struct Use {
  std::string name;
  std::function<void(const Tensor&)> use;
};

const std::vector<Use>& uses() {
  using E = const Tensor&;
  static const std::vector<Use> all_uses = {
      {"cumprod", [](E e) { cumprod(e, 0); }},
      {"cummax", [](E e) { cummax(e, 0); }},
      {"cummin", [](E e) { cummin(e, 0); }},
      {"logcumsumexp", [](E e) { logcumsumexp(e, 0); }},
      {"linear_recurrence", [](E e) { linear_recurrence(e, v, 0); }},
      {"linear_recurrence", [](E e) { linear_recurrence(v, e, 0); }},
      {"sort", [](E e) { kroton::sort(e); }},
      {"argsort", [](E e) { argsort(e); }},
      {"topk", [](E e) { topk(e, 2); }},
      {"partition", [](E e) { kroton::partition(e, 1); }},
      {"argpartition", [](E e) { argpartition(e, 1); }},
      {"quantile", [](E e) { quantile(e, 0.5); }},
      {"quantile", [](E e) { quantile(x, e); }},
      {"percentile", [](E e) { percentile(e, 50.0); }},
      {"nanquantile", [](E e) { nanquantile(e, 0.5); }},
      {"median", [](E e) { median(e); }},
      {"nanmedian", [](E e) { nanmedian(e, 0); }},
      {"searchsorted", [](E e) { searchsorted(e, v); }},
      {"searchsorted", [](E e) { searchsorted(v, e); }},
      {"digitize", [](E e) { digitize(e, v); }},
      {"bincount", [](E e) { bincount(e, 3); }},
      {"bincount", [](E e) { bincount(ids, 3, e); }},
      {"histogram", [](E e) { histogram(e, 3); }},
      {"histogram", [](E e) { histogram(v, e); }},
      {"histogram_bin_edges", [](E e) { histogram_bin_edges(e, 3); }},
      {"set", [](E e) { kroton::at(e, 0).set(1); }},
      {"set", [](E e) { kroton::at(x, 0).set(e); }},
      {"add", [](E e) { kroton::at(x, e).add(1); }},
      {"mul", [](E e) { kroton::at(x, 0).mul(e); }},
      {"max", [](E e) { kroton::at(x, ids).max(e); }},
      {"min", [](E e) { kroton::at(x, 0).min(e); }},
      {"set_at", [](E e) { set_at(e, v, ids); }},
      {"set_at", [](E e) { set_at(v, e, ids); }},
      {"set_at", [](E e) { set_at(v, v, e); }},
      {"mul_at", [](E e) { mul_at(e, v, ids); }},
      {"max_at", [](E e) { max_at(e, v, ids); }},
      {"min_at", [](E e) { min_at(e, v, ids); }},
      {"take_along_axis", [](E e) { take_along_axis(e, ids, 0); }},
      {"take_along_axis", [](E e) { take_along_axis(v, e, 0); }},
      {"put_along_axis", [](E e) { put_along_axis(v, ids, e, 0); }},
      {"add_along_axis", [](E e) { add_along_axis(e, ids, v, 0); }},
      {"unravel_index", [](E e) { unravel_index(e, {3}); }},
      {"ravel_multi_index", [](E e) { ravel_multi_index({e}, {3}); }},
      {"var", [](E e) { var(e, {}, false, 1); }},
      {"stddev", [](E e) { stddev(e, {}, false, 1); }},
      {"ptp", [](E e) { ptp(e); }},
      {"vector_norm", [](E e) { vector_norm(e); }},
      {"count_nonzero", [](E e) { count_nonzero(e); }},
      {"argmax_over", [](E e) { argmax_over(e, {0}); }},
      {"argmin_over", [](E e) { argmin_over(e, {0}); }},
      {"average", [](E e) { average(e, v); }},
      {"average", [](E e) { average(v, e); }},
      {"cov", [](E e) { cov(e); }},
      {"corrcoef", [](E e) { corrcoef(e); }},
      {"nansum", [](E e) { nansum(e); }},
      {"nanprod", [](E e) { nanprod(e); }},
      {"nanmean", [](E e) { nanmean(e); }},
      {"nanvar", [](E e) { nanvar(e); }},
      {"nanstd", [](E e) { nanstd(e); }},
      {"nanmax", [](E e) { nanmax(e); }},
      {"nanmin", [](E e) { nanmin(e); }},
      {"nanargmax", [](E e) { nanargmax(e); }},
      {"nanargmin", [](E e) { nanargmin(e); }},
      {"nancumsum", [](E e) { nancumsum(e, 0); }},
      {"nancumprod", [](E e) { nancumprod(e, 0); }},
      {"diff", [](E e) { diff(e); }},
      {"gradient", [](E e) { gradient(e); }},
      {"gradient", [](E e) { gradient(x, e); }},
      {"trapezoid", [](E e) { trapezoid(e); }},
      {"cumulative_trapezoid", [](E e) { cumulative_trapezoid(e); }},
      {"interp", [](E e) { interp(e, v, v); }},
      {"interp", [](E e) { interp(x, e, v); }},
      {"interp", [](E e) { interp(x, v, e); }},
      {"cross", [](E e) { cross(e, v); }},
      {"cross", [](E e) { cross(v, e); }},
      {"convolve", [](E e) { convolve(e, v); }},
      {"correlate", [](E e) { correlate(v, e); }},
      {"flip", [](E e) { flip(e); }},
      {"fliplr", [](E e) { fliplr(e); }},
      {"flipud", [](E e) { flipud(e); }},
      {"rot90", [](E e) { rot90(e); }},
      {"repeat", [](E e) { repeat(e, 2); }},
      {"repeat", [](E e) { repeat(e, {1, 2}, 0); }},
      {"tile", [](E e) { tile(e, {2}); }},
      {"moveaxis", [](E e) { moveaxis(e, 0, 1); }},
      {"atleast_1d", [](E e) { atleast_1d(e); }},
      {"atleast_2d", [](E e) { atleast_2d(e); }},
      {"atleast_3d", [](E e) { atleast_3d(e); }},
      {"split", [](E e) { split(e, 2); }},
      {"split", [](E e) { split(e, std::vector<std::int64_t>{1}); }},
      {"array_split", [](E e) { array_split(e, 2); }},
      {"hstack", [](E e) { hstack({v, e}); }},
      {"vstack", [](E e) { vstack({v, e}); }},
      {"dstack", [](E e) { dstack({v, e}); }},
      {"column_stack", [](E e) { column_stack({v, e}); }},
      {"diagonal", [](E e) { diagonal(e); }},
      {"diag", [](E e) { diag(e); }},
      {"trace", [](E e) { trace(e); }},
      {"tril", [](E e) { tril(e); }},
      {"triu", [](E e) { triu(e); }},
      {"linspace", [](E e) { linspace(e, 1); }},
      {"linspace", [](E e) { linspace(1, e); }},
      {"logspace", [](E e) { logspace(e, 1); }},
      {"geomspace", [](E e) { geomspace(e, 1); }},
      {"meshgrid", [](E e) { meshgrid({v, e}); }}};
  return all_uses;
}

}  // namespace

TEST_CASE("array functions: an empty Tensor is named with the function and the line") {
  for (const Use& use : uses()) {
    CAPTURE(use.name);
    const std::string message = value_error([&] { use.use(Tensor()); });
    CAPTURE(message);
    CHECK(message.starts_with(use.name + ": "));
    CHECK(message.find("empty") != std::string::npos);
    CHECK(message.ends_with("  [here]"));
  }
}

TEST_CASE("array functions: each is tried with an empty Tensor") {
  std::set<std::string> tested{"tri", "eye", "identity"};  // take none
  for (const Use& use : uses()) tested.insert(use.name);
  const std::regex declaration(
      R"(^ *(Tensor|std::vector<Tensor>|std::pair<Tensor, Tensor>) (\w+)\()");
  int found = 0;
  for (const char* name : {"sort.h", "cumulative.h", "indexing.h", "statistics.h", "numeric.h",
                           "rearrange.h"}) {
    std::ifstream header(places::source_dir() + "/compiler/include/kroton/" + name);
    for (std::string line; std::getline(header, line);) {
      std::smatch match;
      if (!std::regex_search(line, match, declaration) || match[2] == "get") continue;
      ++found;
      CAPTURE(match[2].str());
      CHECK(tested.contains(match[2]));
    }
  }
  CHECK(found > 80);
}
