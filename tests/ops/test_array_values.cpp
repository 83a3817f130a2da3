// Sorts, running operations, indexing, statistics and rearrangement against what NumPy gives:
// array_values.txt, which array_values.py makes.
#include <doctest/doctest.h>
#include <kroton/cumulative.h>
#include <kroton/indexing.h>
#include <kroton/kroton.h>
#include <kroton/numeric.h>
#include <kroton/rearrange.h>
#include <kroton/sort.h>
#include <kroton/statistics.h>

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "compiler/ir/leaf.h"
#include "tests/tools/op_tools.h"
#include "tests/tools/places.h"

using namespace op_test;  // NOLINT: tests

namespace {

using Shape64 = std::vector<std::int64_t>;
using Tensors = std::vector<Tensor>;

std::int64_t count_of(const Shape64& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

// As `numbers` of array_values.py.
ReferenceValue numbers(DType dtype, char kind, std::int64_t seed, const Shape64& shape) {
  ReferenceValue result{dtype, shape, {}};
  for (std::int64_t k = 0; k < count_of(shape); ++k) {
    const bool ties = kind == 't' || kind == 'n';
    double value = ties ? static_cast<double>((7 * k + 3 * seed) % 11 - 5) / 2
                        : static_cast<double>((37 * k + 11 * seed) % 101 - 50) / 8;
    if (kind == 'p') value = std::abs(value) + 0.5;
    if (is_integer(dtype)) value = std::floor(value * 2);
    if (dtype == DType::boolean) value = value > 0 ? 1 : 0;
    if (kind == 'n' && (k + seed) % 4 == 1) value = std::nan("");
    if (dtype == DType::f64 || dtype == DType::f32) {
      result.data.emplace_back(value);
    } else {
      result.data.emplace_back(static_cast<std::int64_t>(value));
    }
  }
  return result;
}

Tensor constant(const ReferenceValue& value) { return Operand(to_array(value)).tensor(); }
Tensor doubles(char kind, std::int64_t seed, const Shape64& shape) {
  return constant(numbers(DType::f64, kind, seed, shape));
}

struct Arguments {
  std::vector<std::string> texts;

  bool is_none(std::size_t k) const { return texts.at(k) == "none"; }
  double real(std::size_t k) const { return std::stod(texts.at(k)); }
  int number(std::size_t k) const { return std::stoi(texts.at(k)); }
  bool flag(std::size_t k) const { return number(k) != 0; }
  std::optional<int> axis(std::size_t k) const {
    return is_none(k) ? std::nullopt : std::optional(number(k));
  }
  Axes axes(std::size_t k) const { return is_none(k) ? Axes() : Axes(number(k)); }
};

struct Values {
  std::string function;
  DType dtype = DType::f64;
  char kind = 'd';
  std::int64_t seed = 0;
  Shape64 shape;
  Arguments arguments;
  std::vector<std::pair<Shape64, std::vector<double>>> results;
};

std::vector<std::string> split_text(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

Shape64 shape_of(const std::string& text) {
  Shape64 shape;
  if (text == "-") return shape;
  for (const std::string& part : split_text(text, 'x')) shape.push_back(std::stoll(part));
  return shape;
}

std::vector<Values> read_values() {
  std::vector<Values> result;
  std::ifstream file(places::source_dir() + "/tests/ops/array_values.txt");
  for (std::string line; std::getline(file, line);) {
    Values values;
    const std::vector<std::string> parts = split_text(line, '|');
    std::istringstream head(parts.at(0));
    std::string dtype, shape, arguments;
    head >> values.function >> dtype >> values.kind >> values.seed >> shape >> arguments;
    values.dtype = dtype == "boolean" ? DType::boolean
                   : dtype == "i32"   ? DType::i32
                   : dtype == "i64"   ? DType::i64
                   : dtype == "f32"   ? DType::f32
                                      : DType::f64;
    values.shape = shape_of(shape);
    if (arguments != "-") values.arguments.texts = split_text(arguments, ',');
    for (std::size_t k = 1; k < parts.size(); ++k) {
      std::istringstream body(parts[k]);
      std::string of_result, number;
      body >> of_result;
      auto& [result_shape, data] = values.results.emplace_back();
      result_shape = shape_of(of_result);
      while (body >> number) data.push_back(std::stod(number));
    }
    result.push_back(std::move(values));
  }
  return result;
}

// The items that a text stands for: "1:", "-1", "t0", separated by _.
std::vector<IndexItem> items(const std::string& text) {
  const auto tensor_of = [](Shape64 shape, std::vector<Number> data) {
    return constant({DType::i64, std::move(shape), std::move(data)});
  };
  const Tensor tensors[] = {tensor_of({3}, {1, 0, -1}), tensor_of({2, 2}, {0, 1, 1, -2}),
                            tensor_of({}, {1}), tensor_of({3}, {2, 2, 0}),
                            tensor_of({2, 1}, {1, 0})};
  std::vector<IndexItem> result;
  for (const std::string& part : split_text(text, '_')) {
    if (part[0] == 't') {
      result.emplace_back(tensors[part[1] - '0']);
    } else if (part == ":") {
      result.emplace_back(all);
    } else if (part.find(':') != std::string::npos) {
      std::vector<std::string> bounds = split_text(part, ':');
      bounds.resize(3);
      const auto bound = [&](std::size_t k) {
        return bounds[k].empty() ? SliceBound(end) : SliceBound(std::stoll(bounds[k]));
      };
      result.emplace_back(slice(bound(0), bound(1), bounds[2].empty() ? 1 : std::stoll(bounds[2])));
    } else {
      result.emplace_back(std::stoll(part));
    }
  }
  return result;
}

using Case1 = std::function<Tensors(const Tensor& x, const Arguments& a, const Values& v)>;
using One = std::function<Tensor(const Tensor& x, const Arguments& a)>;

const std::map<std::string, Case1>& functions() {
  static const std::map<std::string, Case1> all_functions = [] {
    std::map<std::string, Case1> f;
    const auto one = [&](const std::string& name, One g) {
      f[name] = [g](const Tensor& x, const Arguments& a, const Values&) -> Tensors {
        return {g(x, a)};
      };
    };
    const auto several = [&](const std::string& name, auto g) {
      f[name] = [g](const Tensor& x, const Arguments& a, const Values&) -> Tensors {
        return g(x, a);
      };
    };
    using T = const Tensor&;
    using A = const Arguments&;
    // Running operations, sorts.
    one("cumsum", [](T x, A a) { return cumsum(x, a.number(0)); });
    one("cumprod", [](T x, A a) { return cumprod(x, a.number(0)); });
    one("cummax", [](T x, A a) { return cummax(x, a.number(0)); });
    one("cummin", [](T x, A a) { return cummin(x, a.number(0)); });
    one("logcumsumexp", [](T x, A a) { return logcumsumexp(x, a.number(0)); });
    one("logcumsumexp_reverse", [](T x, A a) { return logcumsumexp(x, a.number(0), true); });
    one("sort", [](T x, A a) { return kroton::sort(x, a.number(0)); });
    one("argsort", [](T x, A a) { return argsort(x, a.number(0)); });
    several("topk", [](T x, A a) -> Tensors {
      const auto [values, positions] = topk(x, a.number(0), a.number(1));
      return {values, positions};
    });
    one("partition", [](T x, A a) { return kroton::partition(x, a.number(0), a.number(1)); });
    one("median", [](T x, A a) { return median(x, a.axis(0), a.flag(1)); });
    one("nanmedian", [](T x, A a) { return nanmedian(x, a.axis(0), a.flag(1)); });
    one("quantile", [](T x, A a) { return quantile(x, a.real(0), a.axis(1)); });
    one("nanquantile", [](T x, A a) { return nanquantile(x, a.real(0), a.axis(1)); });
    one("percentile", [](T x, A a) { return percentile(x, a.real(0), a.axis(1)); });
    one("quantiles",
        [](T x, A a) { return quantile(x, Array::from({{0.1, 0.5, 0.75}}), a.axis(0)); });
    one("quantile_method", [](T x, A a) {
      return quantile(x, a.real(0), a.axis(1), false, static_cast<QuantileMethod>(a.number(2)));
    });
    // What is looked for has another seed.
    f["searchsorted"] = [](T x, A a, const Values& v) -> Tensors {
      return {searchsorted(kroton::sort(x), constant(numbers(v.dtype, 't', 7, {3, 5})), a.flag(0))};
    };
    f["digitize"] = [](T x, A a, const Values& v) -> Tensors {
      return {digitize(constant(numbers(v.dtype, 't', 7, {3, 5})), kroton::sort(x), a.flag(0))};
    };
    one("bincount", [](T x, A) { return bincount(abs(x), 12)(slice(0, 7)); });
    f["bincount_weights"] = [](T x, A, const Values& v) -> Tensors {
      return {bincount(abs(x), 12, doubles('d', 9, v.shape))(slice(0, 7))};
    };
    one("histogram_edges", [](T x, A) {
      return histogram(x, Operand(Array::from({-3, -1.5, 0, 0.25, 2.5})).tensor());
    });
    one("histogram_range",
        [](T x, A a) { return histogram(x, a.number(0), a.real(1), a.real(2)); });
    several("histogram", [](T x, A a) -> Tensors {
      return {histogram(x, a.number(0)), histogram_bin_edges(x, a.number(0))};
    });
    // Indexing.
    one("index", [](T x, A a) { return index(x, items(a.texts[0])); });
    using Bring = Tensor (ElementsOf::*)(const Operand&) const;
    for (const auto& [name, bring] : {std::pair<const char*, Bring>{"set", &ElementsOf::set},
                                      {"add", &ElementsOf::add},
                                      {"mul", &ElementsOf::mul},
                                      {"max", &ElementsOf::max},
                                      {"min", &ElementsOf::min}}) {
      one(name, [g = bring](T x, A a) {
        const ElementsOf elements(x, items(a.texts[0]));
        Shape64 shape;
        for (const Dim& size : elements.get().shape()) {
          shape.push_back(size.evaluate([&](const DimAtom& atom) -> std::int64_t {
            for (int axis = 0; axis < 3; ++axis) {
              const DimAtomRef own = x.shape(axis).as_variable();
              if (own && own->identity == atom.identity) return 3 + axis;
            }
            return -1;
          }));
        }
        return (elements.*g)(doubles('d', 12, shape));
      });
    }
    one("set_one", [](T x, A a) { return ElementsOf(x, items(a.texts[0])).set(2); });
    const auto along = [](T x, int axis, const Values& v) {
      const int at_axis = axis < 0 ? axis + x.rank() : axis;
      const std::int64_t size = v.shape[static_cast<std::size_t>(at_axis)];
      return constant(numbers(DType::i64, 't', 14, v.shape)) % Operand(size);
    };
    f["take_along_axis"] = [along](T x, A a, const Values& v) -> Tensors {
      return {take_along_axis(x, along(x, a.number(0), v), a.number(0))};
    };
    f["put_along_axis"] = [along](T x, A a, const Values& v) -> Tensors {
      return {put_along_axis(x, along(x, a.number(0), v), 7.5, a.number(0))};
    };
    // Statistics.
    one("nansum", [](T x, A a) { return nansum(x, a.axes(0), a.flag(1)); });
    one("nanprod", [](T x, A a) { return nanprod(x, a.axes(0), a.flag(1)); });
    one("nanmean", [](T x, A a) { return nanmean(x, a.axes(0), a.flag(1)); });
    one("nanmax", [](T x, A a) { return nanmax(x, a.axes(0), a.flag(1)); });
    one("nanmin", [](T x, A a) { return nanmin(x, a.axes(0), a.flag(1)); });
    one("nanvar", [](T x, A a) { return nanvar(x, a.axes(0), false, a.real(1)); });
    one("nanstd", [](T x, A a) { return nanstd(x, a.axes(0), false, a.real(1)); });
    one("var", [](T x, A a) { return var(x, a.axes(0), false, a.real(1)); });
    one("stddev", [](T x, A a) { return stddev(x, a.axes(0), false, a.real(1)); });
    one("ptp", [](T x, A a) { return ptp(x, a.axes(0)); });
    one("vector_norm", [](T x, A a) { return vector_norm(x, a.axes(0), false, a.real(1)); });
    one("count_nonzero", [](T x, A a) { return count_nonzero(x, a.axes(0)); });
    f["average"] = [](T x, A a, const Values& v) -> Tensors {
      return {average(x, doubles('p', 17, v.shape), a.axis(0))};
    };
    one("cov", [](T x, A a) { return cov(x, a.flag(0), a.real(1)); });
    one("corrcoef", [](T x, A) { return corrcoef(x); });
    const auto axes_list = [](A a) {
      std::vector<int> axes;
      for (std::size_t k = 0; k < a.texts.size(); ++k) axes.push_back(a.number(k));
      return axes;
    };
    one("argmax_over", [=](T x, A a) { return argmax_over(x, axes_list(a)); });
    one("argmin_over", [=](T x, A a) { return argmin_over(x, axes_list(a)); });
    // Differences, integrals, interpolation.
    const auto points = [](int axis, const Values& v) {
      const auto rank = static_cast<int>(v.shape.size());
      const std::int64_t size = v.shape[static_cast<std::size_t>(axis < 0 ? axis + rank : axis)];
      return cumsum(doubles('p', 20, {size}), 0);
    };
    one("diff", [](T x, A a) { return diff(x, a.number(0), a.number(1)); });
    one("gradient", [](T x, A a) { return gradient(x, 0.5, a.number(0)); });
    f["gradient_points"] = [=](T x, A a, const Values& v) -> Tensors {
      return {gradient(x, points(a.number(0), v), a.number(0))};
    };
    one("trapezoid", [](T x, A a) { return trapezoid(x, 0.5, a.number(0)); });
    f["trapezoid_points"] = [=](T x, A a, const Values& v) -> Tensors {
      return {trapezoid(x, points(a.number(0), v), a.number(0))};
    };
    one("cumulative_trapezoid", [](T x, A a) { return cumulative_trapezoid(x, 0.5, a.number(0)); });
    const auto knots = [](A a) {
      return std::pair(cumsum(doubles('p', 21, {a.number(0)}), 0) - 4,
                       doubles('d', 22, {a.number(0)}));
    };
    one("interp", [=](T x, A a) { return interp(x, knots(a).first, knots(a).second); });
    one("interp_ends", [=](T x, A a) { return interp(x, knots(a).first, knots(a).second, -1, 9); });
    f["cross"] = [](T x, A a, const Values& v) -> Tensors {
      return {cross(x, doubles('d', 25, v.shape), a.number(0))};
    };
    one("convolve", [](T x, A a) {
      return convolve(x, doubles('d', 27, {a.number(0)}), static_cast<ConvolveMode>(a.number(1)));
    });
    one("correlate", [](T x, A a) {
      return correlate(x, doubles('d', 27, {a.number(0)}), static_cast<ConvolveMode>(a.number(1)));
    });
    // Rearranging.
    one("flip", [](T x, A a) { return flip(x, a.axes(0)); });
    one("fliplr", [](T x, A) { return fliplr(x); });
    one("flipud", [](T x, A) { return flipud(x); });
    one("rot90", [](T x, A a) { return rot90(x, a.number(0)); });
    one("atleast_2d", [](T x, A) { return atleast_2d(x); });
    one("atleast_3d", [](T x, A) { return atleast_3d(x); });
    one("repeat", [](T x, A a) { return repeat(x, a.number(0), a.axis(1)); });
    f["repeat_counts"] = [](T x, A a, const Values& v) -> Tensors {
      const int axis = a.number(0) < 0 ? a.number(0) + x.rank() : a.number(0);
      std::vector<std::int64_t> counts;
      for (std::int64_t i = 0; i < v.shape[static_cast<std::size_t>(axis)]; ++i) {
        counts.push_back(i % 3);
      }
      return {repeat(x, counts, axis)};
    };
    one("tile", [](T x, A a) {
      Dims counts;
      for (std::size_t k = 0; k < a.texts.size(); ++k) counts.emplace_back(a.number(k));
      return tile(x, counts);
    });
    one("moveaxis", [](T x, A a) { return moveaxis(x, a.number(0), a.number(1)); });
    several("array_split", [](T x, A a) { return array_split(x, a.number(0), a.number(1)); });
    several("split_at",
            [](T x, A a) { return split(x, std::vector<std::int64_t>{1, 2, -1}, a.number(0)); });
    several("split", [](T x, A a) { return split(x, a.number(0), -1); });
    one("hstack", [](T x, A) { return hstack({x, x + 1}); });
    one("vstack", [](T x, A) { return vstack({x, x + 1}); });
    one("dstack", [](T x, A) { return dstack({x, x + 1}); });
    one("column_stack", [](T x, A) { return column_stack({x, x + 1}); });
    one("diag", [](T x, A a) { return diag(x, a.number(0)); });
    one("tril", [](T x, A a) { return tril(x, a.number(0)); });
    one("triu", [](T x, A a) { return triu(x, a.number(0)); });
    one("diagonal", [](T x, A a) { return diagonal(x, a.number(0), a.number(1), a.number(2)); });
    one("trace", [](T x, A a) { return trace(x, a.number(0)); });
    one("tri", [](T, A a) { return tri(a.number(0), a.number(1), a.number(2)); });
    one("eye", [](T, A a) { return eye(a.number(0), a.number(1), a.number(2)); });
    several("tril_indices", [](T, A a) -> Tensors {
      const auto [rows, columns] = tril_indices(a.number(0), a.number(2), a.number(1));
      return {Operand(rows).tensor(), Operand(columns).tensor()};
    });
    several("triu_indices", [](T, A a) -> Tensors {
      const auto [rows, columns] = triu_indices(a.number(0), a.number(2), a.number(1));
      return {Operand(rows).tensor(), Operand(columns).tensor()};
    });
    const auto f64 = [](double value) { return Operand(value).tensor(DType::f64); };
    one("linspace",
        [=](T, A a) { return linspace(f64(a.real(0)), f64(a.real(1)), a.number(2), a.flag(3)); });
    one("logspace",
        [=](T, A a) { return logspace(f64(a.real(0)), f64(a.real(1)), a.number(2), a.flag(3)); });
    one("geomspace",
        [=](T, A a) { return geomspace(f64(a.real(0)), f64(a.real(1)), a.number(2), a.flag(3)); });
    several("meshgrid",
            [](T x, A a) { return meshgrid({x, doubles('d', 30, {2}), x}, a.flag(0)); });
    several("unravel_index",
            [](T, A) { return unravel_index(Array::from({0, 5, 23, 7}, {2, 2}), {2, 3, 4}); });
    one("ravel_multi_index", [](T, A) {
      return ravel_multi_index(unravel_index(Array::from({0, 5, 23, 7}, {2, 2}), {2, 3, 4}),
                               {2, 3, 4});
    });
    one("pad", [](T x, A a) {
      const std::vector<std::pair<Dim, Dim>> widths(static_cast<std::size_t>(x.rank()), {2, 1});
      return pad(x, widths, static_cast<PadMode>(a.number(0)), 4);
    });
    return f;
  }();
  return all_functions;
}

void compare(const Values& values, std::size_t k, const std::vector<double>& found,
             const Shape64& shape, double epsilon) {
  const auto& [expected_shape, expected] = values.results[k];
  CAPTURE(k);
  CHECK(shape == expected_shape);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    const double scale = std::max({1.0, std::abs(expected[i])});
    const bool is_equal = found[i] == expected[i] ||
                          (found[i] != found[i] && expected[i] != expected[i]) ||
                          std::abs(found[i] - expected[i]) <= epsilon * scale;
    if (!is_equal) CHECK(found[i] == expected[i]);
  }
}

double epsilon_of(const Values& values, const Tensor& y) {
  const bool is_narrow = y.dtype() == DType::f32 || values.dtype == DType::f32;
  return is_narrow ? 1e-5 : 1e-12;
}

// Evaluates the case by the reference interpreter: of known sizes and of free ones.
void check_meaning(const Values& values, const Case1& function) {
  const ReferenceValue x = numbers(values.dtype, values.kind, values.seed, values.shape);
  for (const bool free_sizes : {false, true}) {
    CAPTURE(free_sizes);
    Dims shape;
    for (const std::int64_t size : values.shape) {
      shape.push_back(free_sizes && size != 1 ? Dim::fresh("n") : Dim(size));
    }
    const Tensor input = make_input("x", {values.dtype, shape}, {__FILE__, __LINE__});
    const Tensors results = function(input, values.arguments, values);
    REQUIRE(results.size() == values.results.size());
    const auto found = evaluate(results, {{&input.node(), x}});
    for (std::size_t k = 0; k < found.size(); ++k) {
      const std::vector<double> data(found[k].data.begin(), found[k].data.end());
      compare(values, k, data, found[k].shape, epsilon_of(values, results[k]));
    }
  }
}

// The same by a compiled function of free sizes.
void check_compiled(const Values& values, const Case1& function) {
  Dims shape;
  for (const std::int64_t size : values.shape) {
    shape.push_back(size != 1 ? Dim::fresh("n") : Dim(size));
  }
  const Tensor input = tensor("x", shape, values.dtype);
  const Tensors results = function(input, values.arguments, values);
  const auto f = kroton::function({input}, results, {.on_unused_input = UnusedInput::ignore});
  const std::vector<Array> found =
      f(to_array(numbers(values.dtype, values.kind, values.seed, values.shape)));
  for (std::size_t k = 0; k < results.size(); ++k) {
    const ReferenceValue value = from_array(found[k]);
    const std::vector<double> data(value.data.begin(), value.data.end());
    compare(values, k, data, value.shape, epsilon_of(values, results[k]));
  }
}

// Gradients of the first and the second order against finite differences.
void check_gradients(const Values& values, const Case1& function) {
  Dims shape(values.shape.begin(), values.shape.end());
  const Tensor input = tensor("x", shape, DType::f64);
  Tensor cost;
  int number = 0;
  for (const Tensor& y : function(input, values.arguments, values)) {
    if (!is_float(y.dtype())) continue;
    const Tensor weights = 1 + cast(flatten(arange(element_count(y.shape()))) % 5 + ++number, f64);
    const Tensor term = sum(flatten(y) * weights);
    cost = cost ? cost + term : term;
  }
  if (!cost) return;
  const std::vector<std::pair<Tensor, Array>> at = {
      {input, to_array(numbers(values.dtype, values.kind, values.seed, values.shape))}};
  verify_grad(cost, at);
  const Tensor slope = grad(cost, input);
  verify_grad(sum(slope * square(input)), at);
}

// Every case of these functions.
void check_all(const std::set<std::string>& names) {
  static const std::vector<Values> all_values = read_values();
  REQUIRE(all_values.size() > 4000);
  std::set<std::string> compiled, differentiated, seen;
  for (const Values& values : all_values) {
    if (!names.contains(values.function)) continue;
    seen.insert(values.function);
    CAPTURE(values.function);
    CAPTURE(values.seed);
    CAPTURE(values.kind);
    std::string arguments;
    for (const std::string& text : values.arguments.texts) arguments += text + " ";
    CAPTURE(arguments);
    CAPTURE(std::string(name_of(values.dtype)));
    CAPTURE(to_string(Dims(values.shape.begin(), values.shape.end())));
    const Case1& function = functions().at(values.function);
    check_meaning(values, function);
    const bool is_long = count_of(values.shape) > 100;
    const bool counts = count_of(values.shape) > 2 || values.shape == Shape64{1};
    if (counts && compiled.insert(values.function + (is_long ? " long" : "")).second) {
      check_compiled(values, function);
    }
    const bool is_smooth = values.dtype == DType::f64 && values.kind == 'd';
    if (is_smooth && counts && !is_long && values.shape.size() > 1 &&
        differentiated.insert(values.function).second) {
      check_gradients(values, function);
    }
  }
  CHECK(seen == names);
}

}  // namespace

TEST_CASE("array values: running operations") {
  check_all({"cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "logcumsumexp_reverse"});
}

TEST_CASE("array values: sorts") { check_all({"sort", "argsort", "topk", "partition"}); }

TEST_CASE("array values: quantiles") {
  check_all({"median", "nanmedian", "quantile", "nanquantile", "percentile", "quantiles",
             "quantile_method"});
}

TEST_CASE("array values: searches and counts") {
  check_all({"searchsorted", "digitize", "bincount", "bincount_weights", "histogram_edges",
             "histogram_range", "histogram"});
}

TEST_CASE("array values: indexing") {
  check_all(
      {"index", "set", "set_one", "add", "mul", "max", "min", "take_along_axis", "put_along_axis"});
}

TEST_CASE("array values: statistics") {
  check_all({"nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nanvar", "nanstd", "var",
             "stddev", "ptp", "vector_norm", "count_nonzero", "average", "cov", "corrcoef",
             "argmax_over", "argmin_over"});
}

TEST_CASE("array values: differences and integrals and interpolation") {
  check_all({"diff", "gradient", "gradient_points", "trapezoid", "trapezoid_points",
             "cumulative_trapezoid", "interp", "interp_ends", "cross", "convolve", "correlate"});
}

TEST_CASE("array values: rearranged") {
  check_all({"flip",         "fliplr",       "flipud",        "rot90",
             "atleast_2d",   "atleast_3d",   "repeat",        "repeat_counts",
             "tile",         "moveaxis",     "array_split",   "split_at",
             "split",        "hstack",       "vstack",        "dstack",
             "column_stack", "diag",         "tril",          "triu",
             "diagonal",     "trace",        "tri",           "eye",
             "tril_indices", "triu_indices", "linspace",      "logspace",
             "geomspace",    "meshgrid",     "unravel_index", "ravel_multi_index",
             "pad"});
}
