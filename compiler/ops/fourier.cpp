// The discrete Fourier transform of rows whose length is known and a product of small primes.
//
// Stockham's form: each pass takes transforms of a few elements (the radix) that stand apart, turns
// them by roots of unity, and stores them so that the last pass leaves the natural order. The
// elements of a butterfly are in registers, the lanes of vectors run along the row: in the first
// pass over butterflies that stand beside each other, in the later ones over what earlier passes
// have put beside each other. A row goes through all passes while it is in a cache.
#include "compiler/ops/fourier.h"

#include <kroton/check.h>
#include <kroton/ops.h>

#include <cmath>
#include <numbers>

#include "compiler/ops/numbers.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/sort_keys.h"
#include "compiler/ops/tasks.h"

namespace kroton {

namespace {

using loop::Expr;
using loop::Op;
using ops::in;
using ops::whole;

using ops::two_pi;

int sign_of(const Attributes& attributes) { return static_cast<int>(attributes.integers.at(0)); }

// 8, 4 or 2 and odd primes, the product of which is n; none where there is a larger prime.
std::vector<std::int64_t> radices_of(std::int64_t n) {
  std::vector<std::int64_t> radices;
  for (const std::int64_t radix : {8, 4, 2, 3, 5, 7, 11, 13}) {
    for (; n % radix == 0; n /= radix) radices.push_back(radix);
  }
  return n == 1 ? radices : std::vector<std::int64_t>{};
}

struct Number2 {
  Expr re, im;
};
using Numbers2 = std::vector<Number2>;

Number2 operator+(const Number2& a, const Number2& b) { return {a.re + b.re, a.im + b.im}; }
Number2 operator-(const Number2& a, const Number2& b) { return {a.re - b.re, a.im - b.im}; }

// Products of elements in registers, and transforms of a few of them.
class Butterflies {
 public:
  Butterflies(DType dtype, int sign) : dtype_(dtype), sign_(sign) {}

  static Number2 times(const Number2& a, const Number2& w) {
    return {loop::fma(a.re, w.re, negative(a.im * w.im)), loop::fma(a.re, w.im, a.im * w.re)};
  }

  void transform(Numbers2& a) const {
    const auto n = static_cast<std::int64_t>(a.size());
    if (n == 1) return;
    std::int64_t factor = 2;
    while (n % factor != 0) ++factor;
    if (factor == n) return n == 2 ? of_two(a) : of_prime(a);
    const std::int64_t rest = n / factor;
    std::vector<Numbers2> parts(static_cast<std::size_t>(factor));
    for (std::size_t j = 0; j < a.size(); ++j) {
      parts[j % static_cast<std::size_t>(factor)].push_back(a[j]);
    }
    for (Numbers2& part : parts) transform(part);
    for (std::int64_t k = 0; k < rest; ++k) {
      Numbers2 of_k;
      for (std::int64_t j = 0; j < factor; ++j) {
        const auto& part = parts[static_cast<std::size_t>(j)];
        of_k.push_back(turned(part[static_cast<std::size_t>(k)], j * k, n));
      }
      transform(of_k);
      for (std::int64_t l = 0; l < factor; ++l) {
        a[static_cast<std::size_t>(k + rest * l)] = of_k[static_cast<std::size_t>(l)];
      }
    }
  }

 private:
  static Expr negative(const Expr& x) { return loop::unary(Op::neg, x); }
  Expr constant(double value) const { return loop::real(value, dtype_); }

  // By the power k of the n-th root of unity.
  Number2 turned(const Number2& a, std::int64_t k, std::int64_t n) const {
    k %= n;
    if (k == 0) return a;
    if (2 * k == n) return {negative(a.re), negative(a.im)};
    if (4 * k == n || 4 * k == 3 * n) return quarter(a, (4 * k == n) == (sign_ > 0));
    const double angle = two_pi * static_cast<double>(k) / static_cast<double>(n);
    const double re = std::cos(angle), im = sign_ * std::sin(angle);
    if (8 * k % n == 0) {
      // An odd multiple of an eighth: both parts have one size.
      const Expr size = constant(std::numbers::sqrt2 / 2);
      const Number2 both = {(re > 0) == (im > 0) ? a.re - a.im : a.re + a.im,
                            (re > 0) == (im > 0) ? a.re + a.im : a.im - a.re};
      const Number2 scaled = {both.re * size, both.im * size};
      return re > 0 ? scaled : Number2{negative(scaled.re), negative(scaled.im)};
    }
    return times(a, {constant(re), constant(im)});
  }
  // i a, or -i a.
  static Number2 quarter(const Number2& a, bool forward) {
    if (forward) return {negative(a.im), a.re};
    return {a.im, negative(a.re)};
  }

  static void of_two(Numbers2& a) {
    const Number2 sum = a[0] + a[1];
    a[1] = a[0] - a[1];
    a[0] = sum;
  }

  // Elements that stand opposite have conjugate roots: their sums take the cosines, their
  // differences the sines.
  void of_prime(Numbers2& a) const {
    const std::size_t n = a.size(), half = n / 2;
    const Number2 first = a[0];
    Numbers2 sums, differences;
    for (std::size_t j = 1; j <= half; ++j) {
      sums.push_back(a[j] + a[n - j]);
      differences.push_back(a[j] - a[n - j]);
      a[0] = a[0] + sums.back();
    }
    for (std::size_t k = 1; k <= half; ++k) {
      Number2 even = first, odd;
      for (std::size_t j = 1; j <= half; ++j) {
        const double angle = two_pi * static_cast<double>(j * k % n) / static_cast<double>(n);
        const Expr cosine = constant(std::cos(angle)), sine = constant(sign_ * std::sin(angle));
        const Number2 &sum = sums[j - 1], &difference = differences[j - 1];
        even = {loop::fma(sum.re, cosine, even.re), loop::fma(sum.im, cosine, even.im)};
        odd = j == 1 ? Number2{difference.re * sine, difference.im * sine}
                     : Number2{loop::fma(difference.re, sine, odd.re),
                               loop::fma(difference.im, sine, odd.im)};
      }
      const Number2 turned = quarter(odd, true);
      a[k] = even + turned;
      a[n - k] = even - turned;
    }
  }

  DType dtype_;
  int sign_;
};

// The powers of roots by which pass after pass turns its results but the first, for each position
// in the order p = 0, 1, ...: real parts, then imaginary parts.
Tensor table_of(std::int64_t n, int sign, DType dtype) {
  std::vector<double> re, im;
  std::int64_t length = n;
  for (const std::int64_t radix : radices_of(n)) {
    const std::int64_t rest = length / radix;
    for (std::int64_t k = 1; k < radix && rest > 1; ++k) {
      for (std::int64_t p = 0; p < rest; ++p) {
        const double angle =
            two_pi * static_cast<double>(p * k % length) / static_cast<double>(length);
        re.push_back(std::cos(angle));
        im.push_back(sign * std::sin(angle));
      }
    }
    length = rest;
  }
  re.insert(re.end(), im.begin(), im.end());
  if (re.empty()) re = {0, 0};
  return constant(Array::from(re).cast(dtype));
}

class Passes {
 public:
  explicit Passes(WriteContext& context)
      : context_(context),
        shape_(context.type().shape),
        size_(shape_.back().constant()),
        radices_(radices_of(size_)),
        half_of_table_(context.input_type(1).shape[0].constant() / 2),
        butterflies_(context.type().dtype, sign_of(context.attributes())) {}

  void run() {
    Dims rows(shape_.begin(), shape_.end() - 2);
    if (context_.is_for_gpu()) return run_pass_by_pass(rows);
    const bool has_rows = !rows.empty();
    const Dim count = has_rows ? rows.back() : Dim(1);
    if (has_rows) rows.pop_back();
    const ops::Tasks tasks(context_, rows, count);
    make_planes([&](const Dims& part) { return tasks.scratch(context_.type().dtype, part); });
    tasks.run(nullptr, [&](const Index& task, const Index& outer, const Expr& number) {
      const Index row = has_rows ? in(outer, number) : Index{};
      all_passes([&](const Dims& extents, const auto& body) {
        context_.independent_nest(extents, [&](const Index& at) { body(task, row, at); });
      });
    });
  }

 private:
  using Nest = std::function<void(
      const Dims& extents,
      const std::function<void(const Index& place, const Index& row, const Index& at)>& body)>;

  // Each pass over all rows: many iterations that do not depend on each other.
  void run_pass_by_pass(const Dims& rows) {
    make_planes([&](const Dims& part) {
      Dims all = rows;
      all.insert(all.end(), part.begin(), part.end());
      return context_.scratch(context_.type().dtype, all);
    });
    all_passes([&](const Dims& extents, const auto& body) {
      Dims all = rows;
      all.insert(all.end(), extents.begin(), extents.end());
      context_.independent_nest(all, [&](const Index& index) {
        const auto inner = index.begin() + static_cast<std::ptrdiff_t>(rows.size());
        const Index row(index.begin(), inner);
        body(row, row, Index(inner, index.end()));
      });
    });
  }

  void make_planes(const std::function<WriteContext::Scratch(const Dims& part)>& make) {
    if (radices_.size() > 1) from_ = make({2, size_});
    if (radices_.size() > 2) to_ = make({2, size_});
  }

  void all_passes(const Nest& nest) {
    std::int64_t length = size_, apart = 1, table = 0;
    for (std::size_t k = 0; k < radices_.size(); ++k) {
      const bool is_first = k == 0, is_last = k + 1 == radices_.size();
      const std::int64_t radix = radices_[k], rest = length / radix;
      // The first pass stores where the second one loads.
      if (k > 1) std::swap(from_, to_);
      nest({rest, apart}, [&](const Index& place, const Index& row, const Index& at) {
        const Expr &p = at[0], &q = at[1];
        const auto load = [&](int part, const Expr& i) {
          return is_first ? context_.input(0, in(row, whole(part), i))
                          : context_.stored(from_, in(place, whole(part), i));
        };
        const auto store = [&](int part, const Expr& i, const Expr& value) {
          if (is_last) {
            context_.store(in(row, whole(part), i), value);
          } else {
            context_.store(is_first ? from_ : to_, in(place, whole(part), i), value);
          }
        };
        Numbers2 numbers;
        for (std::int64_t j = 0; j < radix; ++j) {
          const Expr i = (p + whole(rest * j)) * whole(apart) + q;
          numbers.push_back({load(0, i), load(1, i)});
        }
        butterflies_.transform(numbers);
        for (int part = 0; part < 2; ++part) {
          for (std::int64_t j = 0; j < radix; ++j) {
            Number2 number = numbers[static_cast<std::size_t>(j)];
            if (j > 0 && rest > 1) {
              const Expr root = p + whole(table + (j - 1) * rest);
              number = Butterflies::times(
                  number,
                  {context_.input(1, {root}), context_.input(1, {root + whole(half_of_table_)})});
            }
            store(part, (p * whole(radix) + whole(j)) * whole(apart) + q,
                  part == 0 ? number.re : number.im);
          }
        }
      });
      if (rest > 1) table += (radix - 1) * rest;
      length = rest;
      apart *= radix;
    }
  }

  WriteContext& context_;
  const Dims shape_;
  const std::int64_t size_;
  const std::vector<std::int64_t> radices_;
  const std::int64_t half_of_table_;
  const Butterflies butterflies_;
  WriteContext::Scratch from_, to_;
};

TensorType fourier_type(TypeContext& context) { return context.input(0); }

void fourier_reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  const auto n = static_cast<std::size_t>(x.shape.back());
  const int sign = sign_of(c.attributes);
  for (std::size_t row = 0; row + 2 * n <= x.data.size(); row += 2 * n) {
    for (std::size_t k = 0; k < n; ++k) {
      double re = 0, im = 0;
      for (std::size_t j = 0; j < n; ++j) {
        const double angle =
            sign * two_pi * static_cast<double>(j * k % n) / static_cast<double>(n);
        const double a = x.data[row + j], b = x.data[row + n + j];
        re += a * std::cos(angle) - b * std::sin(angle);
        im += a * std::sin(angle) + b * std::cos(angle);
      }
      c.output.data[row + k] = re;
      c.output.data[row + n + k] = im;
    }
  }
}

std::vector<Sample> fourier_samples() {
  std::vector<Sample> samples;
  const auto add = [&](DType dtype, std::int64_t rows, std::int64_t n, int sign) {
    samples.push_back(
        {{ops::spread(dtype, {rows, 2, n}, -1, 1)},
         [=](std::span<const Tensor> x) { return ops::fourier(reshape(x[0], {-1, 2, n}), sign); },
         true});
  };
  for (const DType dtype : {DType::f32, DType::f64}) {
    add(dtype, 0, 4, -1);
    add(dtype, 1, 3, 1);
    add(dtype, 3, 16, -1);
    add(dtype, 17, 6, 1);
    add(dtype, 3, 30, -1);
    add(dtype, 1, 77, 1);
  }
  // In f32 what cancels in a long row has few digits left to compare.
  add(DType::f64, 2, 128, -1);
  return samples;
}

// The op on another x.
Tensor fourier_of(const Tensor& y, const Tensor& x, int sign) {
  return ops::fourier(x, sign * sign_of(y.node().attributes));
}

}  // namespace

// y = the discrete Fourier transform, with no factor, of the rows of x, (..., 2, n): real parts,
// then imaginary ones; n is known and a product of primes up to 13. Operand 1: its roots of unity.
// vjp: dx = the transform of dy with the opposite sign
constinit const OpRecord fourier_op = {
    .name = "fourier",
    .kind = OpKind::write,
    .arity = 2,
    .cost = 20,
    .infer = fourier_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> std::vector<Tensor> {
      return {fourier_of(y, g, -1), Tensor()};
    },
    .jvp = [](const Tensor& y, std::span<const Tensor> tangents) -> Tensor {
      return fourier_of(y, tangents[0], 1);
    },
    .write = [](WriteContext& context) { Passes(context).run(); },
    .reference = fourier_reference,
    .batch = [](std::span<const Tensor> operands, const std::vector<bool>& mapped,
                const Attributes& attributes, const Dim&) -> Tensor {
      if (mapped[1]) return {};  // the roots are constants
      return ops::apply(fourier_op, {operands[0], operands[1]}, attributes);
    },
    .samples = fourier_samples};

bool ops::has_fourier(std::int64_t n) { return n > 1 && !radices_of(n).empty(); }

Tensor ops::fourier(const Tensor& x, int sign) {
  Attributes attributes;
  attributes.integers = {sign};
  const std::int64_t n = x.shape(x.rank() - 1).constant();
  return apply(fourier_op, {x, table_of(n, sign, x.dtype())}, std::move(attributes));
}

}  // namespace kroton
