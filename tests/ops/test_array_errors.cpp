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

namespace test_array_errors {

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
      {"argtopk", [](E e) { argtopk(e, 2); }},
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
  for (const char* name :
       {"sort.h", "cumulative.h", "indexing.h", "statistics.h", "numeric.h", "rearrange.h"}) {
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

namespace {

const Tensor five = tensor("five", {5});
const Tensor table = tensor("table", {3, 5});
const Tensor flags = vector("flags", boolean);

struct Mistake {
  std::string error;
  std::function<void()> make;
};

void check_mistakes(const std::vector<Mistake>& mistakes,
                    std::string (*text_of)(const std::function<void()>&)) {
  for (const Mistake& mistake : mistakes) {
    CAPTURE(mistake.error);
    CHECK(text_of(mistake.make) == mistake.error + "  [here]");
  }
}

}  // namespace

TEST_CASE("array functions: wrong arguments are told where they are written") {
  check_mistakes(
      {{"sort: axis 1 is out of range for rank 1", [] { kroton::sort(v, 1); }},
       {"topk: k is -1", [] { topk(five, -1); }},
       {"argtopk: k is -1", [] { argtopk(five, -1); }},
       {"partition: position 5 is out of range for axis 0 of size 5",
        [] { kroton::partition(five, 5); }},
       {"argpartition: position -6 is out of range for axis 0 of size 5",
        [] { argpartition(five, -6); }},
       {"histogram: the number of bins is 0", [] { histogram(v, 0); }},
       {"vector_norm: the order is NaN", [] { vector_norm(v, {}, false, std::nan("")); }},
       {"diff: n is -1", [] { diff(v, -1); }},
       {"rot90: both axes are axis 1", [] { rot90(x, 1, {1, -1}); }},
       {"diagonal: both axes are axis 1", [] { diagonal(x, 0, 1, -1); }},
       {"repeat: there are 2 counts for axis 0 of size 5", [] { repeat(five, {1, 2}, 0); }},
       {"repeat: the count is -1", [] { repeat(five, -1); }},
       {"tile: a count is -1", [] { tile(v, {-1}); }},
       {"moveaxis: an axis is named twice", [] { moveaxis(x, {0, 0}, {0, 1}); }},
       {"moveaxis: 1 axes are to be moved to 2 places", [] { moveaxis(x, {0}, {0, 1}); }},
       {"split: axis 0 of size 5 has no 2 parts of equal size; array_split makes unequal ones",
        [] { split(five, 2); }},
       {"array_split: the number of sections is 0", [] { array_split(five, 0); }},
       {"hstack: there are no tensors", [] { hstack({}); }},
       {"ravel_multi_index: there are 1 tensors of indices for a shape of 2 axes",
        [] { ravel_multi_index({ids}, {2, 3}); }}},
      [](const std::function<void()>& make) { return value_error(make); });
}

TEST_CASE("array functions: wrong shapes are told with the operands") {
  const Tensor scalar = kroton::scalar("s");
  check_mistakes(
      {{"sort: a scalar has no axis to sort along: s is f32 ()", [=] { kroton::sort(scalar); }},
       {"argsort: a scalar has no axis to sort along: s is f32 ()", [=] { argsort(scalar); }},
       {"topk: axis 0 has 5 elements, fewer than k, 6: five is f32 (5,)", [] { topk(five, 6); }},
       {"median: axis 0 has no elements: e is f32 (0,)", [] { median(tensor("e", {0})); }},
       {"set: the values do not broadcast to (5,): table is f32 (3, 5), w is f32 (4, 5)",
        [] { kroton::at(table, 0).set(tensor("w", {4, 5})); }},
       {"index: sizes differ: i is i64 (3,), j is i64 (4,)",
        [] { table(tensor("i", {3}, i64), tensor("j", {4}, i64)); }},
       {"take_along_axis: the indices must have the rank of x: table is f32 (3, 5), i is i64 (3,)",
        [] { take_along_axis(table, tensor("i", {3}, i64), 0); }},
       {"take_along_axis: sizes differ on axis 0: table is f32 (3, 5), i is i64 (2, 5)",
        [] { take_along_axis(table, tensor("i", {2, 5}, i64), 1); }},
       {"gradient: axis 0 has 1 elements, fewer than 2: o is f32 (1,)",
        [] { gradient(tensor("o", {1})); }},
       {"gradient: there are not as many coordinates as points: five is f32 (5,), p is f32 (4,)",
        [] { gradient(five, tensor("p", {4})); }},
       {"interp: there are 4 and 5 points: x is f32 (2,), five is f32 (5,), p is f32 (4,)",
        [] { interp(tensor("x", {2}), five, tensor("p", {4})); }},
       {"cross: vectors of 3 elements are taken: five is f32 (5,), five is f32 (5,)",
        [] { cross(five, five); }},
       {"tril: takes matrices, of two axes or more: five is f32 (5,)", [] { tril(five); }},
       {"cov: takes a vector or a matrix: t is f32 (2, 2, 2)",
        [] { cov(tensor("t", {2, 2, 2})); }}},
      [](const std::function<void()>& make) { return shape_error(make); });
}

TEST_CASE("array functions: wrong dtypes are told with the operands") {
  const Tensor row = tensor("row", {5}, boolean), numbers = tensor("numbers", {5}, i64);
  check_mistakes(
      {{"index: a boolean tensor selects a number of elements that is known only after the call "
        "has "
        "counted them; use where(mask, a, b), or sums of it: five is f32 (5,), row is boolean (5,)",
        [=] { five(row); }},
       {"index: indices must be integers: five is f32 (5,), five is f32 (5,)", [] { five(five); }},
       {"set: x and the values must have one dtype: five is f32 (5,), numbers is i64 (5,)",
        [=] { kroton::at(five, all).set(numbers); }},
       {"add: takes numbers only: row is boolean (5,), row is boolean (5,)",
        [=] { kroton::at(row, all).add(row); }},
       {"mul_at: takes numbers only: row is boolean (5,), numbers is i64 (5,), row is boolean (5,)",
        [=] { mul_at(row, row, numbers); }},
       {"bincount: takes integers: five is f32 (5,)", [] { bincount(five, 3); }},
       {"cummax: takes numbers only: row is boolean (5,)", [=] { cummax(row, 0); }},
       {"logcumsumexp: takes floating point only: numbers is i64 (5,)",
        [=] { logcumsumexp(numbers, 0); }},
       {"vector_norm: takes floating point only: numbers is i64 (5,)",
        [=] { vector_norm(numbers); }},
       {"convolve: takes floating point only: numbers is i64 (5,), numbers is i64 (5,)",
        [=] { convolve(numbers, numbers); }}},
      [](const std::function<void()>& make) { return type_error(make); });
}

TEST_CASE("array functions: what only a call can know") {
  const Array some = Array::from({1.0F, 2, 3, 4, 5});
  const Array outside = Array::from<std::int64_t>({0, 7});
  const auto shapes = [&](const std::string& error, const Tensor& y) {
    const auto f = function({v}, y);
    CHECK(shape_error([&] { f(some); }) == error + "  [here]");
  };
  shapes("function: topk: axis 0 has 5 elements, fewer than k, 6", topk(v, 6).first);
  shapes("function: partition: position -6 is out of range for axis 0, whose size is 5",
         kroton::partition(v, -6));
  shapes("function: repeat: there are 2 counts for axis 0 of another size", repeat(v, {1, 2}, 0));
  shapes("function: repeat: there are 6 counts for axis 0 of another size",
         repeat(v, {1, 2, 3, 4, 5, 6}, 0));
  const auto indices = [&](const std::string& error, const Tensor& y) {
    const auto f = function({v, ids}, y, {.on_unused_input = UnusedInput::ignore});
    CHECK(value_error([&] { f(some, outside); }) == error + "  [here]");
  };
  indices("function: bincount: index 7 is out of range for axis 0, whose size is 3",
          bincount(ids, 3));
  indices("function: bincount: index -1 is out of range for axis 0, whose size is 9",
          bincount(ids - 1, 9));
  indices("function: set_at: index 7 is out of range for axis 0, whose size is 5",
          kroton::at(v, ids).set(1.0F));
  indices("function: take_along_axis: index 7 is out of range for axis 0, whose size is 5",
          take_along_axis(v, ids, 0));
  indices("function: unravel_index: index 7 is out of range for axis 0, whose size is 6",
          unravel_index(ids, {2, 3})[0]);
  indices("function: index: index 7 is out of range for axis 1, whose size is 5",
          broadcast_to(v, {9, v.shape(0)})(ids, ids));
}

}  // namespace test_array_errors
