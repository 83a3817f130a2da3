// Fourier transforms: of lengths of small primes by butterflies (fourier.cpp), of others composed
// of products with small constant matrices, or of a convolution.
#include <kroton/check.h>
#include <kroton/fft.h>

#include <cmath>
#include <numbers>

#include "compiler/ops/fourier.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

// A size of at most this many is one product; larger factors of it are split.
constexpr std::int64_t largest_product = 32;
// Primes of at most this many are one product, too.
constexpr std::int64_t largest_prime = 64;

// cos and sin of 2 pi sign rows[i] columns[j] / n: exact arguments, since what counts is the
// remainder by n.
template <class F>
Complex roots(std::int64_t rows, std::int64_t columns, std::int64_t n, int sign, DType dtype,
              const F& exponent) {
  Array re = Array::zeros({rows, columns}, f64), im = re.copy();
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const double angle =
          2 * std::numbers::pi * static_cast<double>(exponent(i, j) % n) / static_cast<double>(n);
      const auto at = static_cast<std::size_t>(i * columns + j);
      re.data<double>()[at] = std::cos(angle);
      im.data<double>()[at] = sign * std::sin(angle);
    }
  }
  return {constant(re.cast(dtype)), constant(im.cast(dtype))};
}

Complex times(const Complex& x, const Complex& y) {
  if (!x.im) return {x.re * y.re, x.re * y.im};
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}

// Products of matrices: either side may be the constant.
Complex product(const Complex& x, const Complex& y) {
  if (!x.im) return {matmul(x.re, y.re), matmul(x.re, y.im)};
  if (!y.im) return {matmul(x.re, y.re), matmul(x.im, y.re)};
  return {matmul(x.re, y.re) - matmul(x.im, y.im), matmul(x.re, y.im) + matmul(x.im, y.re)};
}

template <class F>
Complex each(const Complex& x, const F& f) {
  return {f(x.re), x.im ? f(x.im) : Tensor()};
}

Complex reshaped(const Complex& x, const Dims& shape) {
  return each(x, [&](const Tensor& t) { return reshape(t, shape); });
}

// The first of the two factors that n, which has no prime above largest_prime, is split into: n for
// what is one product. Two factors of about one size cost least.
std::int64_t first_factor(std::int64_t n) {
  if (n <= largest_product) return n;
  const auto root = static_cast<std::int64_t>(std::sqrt(static_cast<double>(n)));
  for (std::int64_t f = std::min(root, largest_product); f > 1; --f) {
    if (n % f == 0) return f;
  }
  for (std::int64_t f = largest_product + 1; f < n && f <= largest_prime; ++f) {
    if (n % f == 0) return f;
  }
  return n;
}

bool has_large_prime(std::int64_t n) {
  for (std::int64_t p = 2; p * p <= n; ++p) {
    while (n % p == 0) n /= p;
  }
  return n > largest_prime;
}

Dims with_last(const Dims& shape, std::initializer_list<Dim> last) {
  Dims result(shape.begin(), shape.end() - 1);
  result.insert(result.end(), last);
  return result;
}

// Along the last axis, without a factor.
Complex transform(const Complex& x, std::int64_t n, int sign);

Complex by_butterflies(const Complex& x, std::int64_t n, int sign) {
  const Dims with_parts = with_last(x.re.shape(), {1, n});
  const int parts = x.re.rank() - 1;
  const Tensor im = x.im ? x.im : zeros_like(x.re);
  const Tensor both = concatenate({reshape(x.re, with_parts), reshape(im, with_parts)}, parts);
  const Tensor y = ops::fourier(both, sign);
  const auto one = [&](int k) { return reshape(ops::run_of(y, parts, k, 1), x.re.shape()); };
  return {one(0), one(1)};
}

// The transform as a convolution: j k = (j^2 + k^2 - (k - j)^2) / 2.
Complex by_convolution(const Complex& x, std::int64_t n, int sign) {
  const DType dtype = x.re.dtype();
  const auto half_square = [](std::int64_t, std::int64_t j) { return j * j; };  // of 2 n
  const Complex chirp = each(roots(1, n, 2 * n, sign, dtype, half_square),
                             [&](const Tensor& t) { return reshape(t, {n}); });
  std::int64_t m = 1;
  while (m < 2 * n - 1) m *= 2;
  // The other way round: conj(chirp) at the distances 0, 1, ... n - 1, 0, ..., n - 1, ... 1.
  const Complex distances = each(roots(1, m, 2 * n, -sign, dtype,
                                       [&](std::int64_t, std::int64_t j) {
                                         const std::int64_t apart = j < n ? j : m - j;
                                         return apart < n ? apart * apart : 0;
                                       }),
                                 [&](const Tensor& t) { return reshape(t, {m}); });
  const Tensor counts = cast(lt(arange(m), n) | gt(arange(m), m - n), dtype);
  const Complex filter = transform({distances.re * counts, distances.im * counts}, m, -1);
  const Complex modulated = each(times(x, chirp), [&](const Tensor& t) {
    std::vector<std::pair<Dim, Dim>> widths(static_cast<std::size_t>(t.rank()), {0, 0});
    widths.back() = {0, m - n};
    return pad(t, widths);
  });
  const Complex spectrum = times(transform(modulated, m, -1), filter);
  const Complex convolved = each(transform(spectrum, m, 1), [&](const Tensor& t) {
    Dims starts(t.shape().size(), Dim(0)), sizes = t.shape();
    sizes.back() = n;
    return ops::strided_slice(t, starts, sizes, std::vector<std::int64_t>(sizes.size(), 1)) /
           static_cast<double>(m);
  });
  return times(convolved, chirp);
}

Complex transform(const Complex& x, std::int64_t n, int sign) {
  if (n <= 1) return {x.re, x.im ? x.im : zeros_like(x.re)};
  if (ops::has_fourier(n)) return by_butterflies(x, n, sign);
  if (has_large_prime(n)) return by_convolution(x, n, sign);
  const DType dtype = x.re.dtype();
  const auto by = [](std::int64_t i, std::int64_t j) { return i * j; };
  const std::int64_t first = first_factor(n), second = n / first;
  if (second == 1) {
    // A row times a matrix.
    const Complex matrix = roots(n, n, n, sign, dtype, by);
    const Complex row =
        each(x, [&](const Tensor& t) { return reshape(t, with_last(t.shape(), {1, n})); });
    return reshaped(product(x.re.rank() == 1 ? row : x, matrix), x.re.shape());
  }
  // x[j1 second + j2] -> y[k1 + first k2].
  const Complex split = reshaped(x, with_last(x.re.shape(), {first, second}));
  const Complex columns = product(roots(first, first, first, sign, dtype, by), split);
  const Complex turned = times(columns, roots(first, second, n, sign, dtype, by));
  const Complex rows = transform(turned, second, sign);
  return each(rows, [&](const Tensor& t) { return reshape(swapaxes(t, -1, -2), x.re.shape()); });
}

// ---- Along any axis

struct ComplexOperand {
  Complex x;  // with the axis as the last
  int axis;
  std::int64_t n;
};

ComplexOperand complex_operand(const char* name, const Complex& given, int axis) {
  Complex x = given;
  if (!x.re) ops::fail_value(name, "a Tensor is empty: no expression has been assigned to it");
  const auto fail = [&](const std::string& what, bool of_type) {
    const OpRecord op{.name = name};
    const std::vector<Tensor> operands =
        x.im ? std::vector<Tensor>{x.re, x.im} : std::vector<Tensor>{x.re};
    if (of_type) ops::fail_type(op, operands, what);
    ops::fail_shape(op, operands, what);
  };
  if (!is_float(x.re.dtype())) fail("takes floating point only", true);
  if (x.im && x.im.dtype() != x.re.dtype()) fail("both parts have one dtype", true);
  if (x.im && x.im.rank() != x.re.rank()) fail("both parts have one shape", false);
  if (x.re.rank() == 0) fail("takes an axis, not a scalar", false);
  const int at = ops::resolve_axis(axis, x.re.rank(), name);
  const Dim size = x.re.shape(at);
  if (!size.is_constant()) {
    fail("the size of axis " + std::to_string(at) + " is to be known when the expression is made",
         false);
  }
  if (size.is_constant(0)) fail("axis " + std::to_string(at) + " has no elements", false);
  if (x.im) x.im = x.im + zeros_like(x.re);  // of one shape, at the call where sizes are free
  const int last = x.re.rank() - 1;
  return {each(x, [&](const Tensor& t) { return at == last ? t : swapaxes(t, at, last); }), at,
          size.constant()};
}

Tensor with_axis(const Tensor& x, int axis) {
  return axis == x.rank() - 1 ? x : swapaxes(x, axis, x.rank() - 1);
}

Complex with_axis(const Complex& x, int axis) {
  return each(x, [&](const Tensor& t) { return with_axis(t, axis); });
}

// Every step-th element of the last axis from one on.
Tensor part(const Tensor& x, std::int64_t start, std::int64_t count, std::int64_t step = 1) {
  Dims starts(x.shape().size(), Dim(0)), sizes = x.shape();
  std::vector<std::int64_t> steps(sizes.size(), 1);
  starts.back() = start;
  sizes.back() = count;
  steps.back() = step;
  return ops::strided_slice(x, starts, sizes, steps);
}

// Of a real x: where n is even its halves are the parts of one transform of half the size.
Complex of_real(const Tensor& x, std::int64_t n) {
  const std::int64_t count = n / 2 + 1;
  if (n % 2 != 0 || n < 4) {
    return each(transform({x}, n, -1), [&](const Tensor& t) { return part(t, 0, count); });
  }
  const std::int64_t half = n / 2;
  const Complex z = transform({part(x, 0, half, 2), part(x, 1, half, 2)}, half, -1);
  // z[k] for k = 0 ... half, and conj(z[half - k]); z[half] is z[0].
  const auto forward = [&](const Tensor& t) { return concatenate({t, part(t, 0, 1)}, -1); };
  const auto backward = [&](const Tensor& t) { return part(forward(t), half, count, -1); };
  const Tensor zr = forward(z.re), zi = forward(z.im), wr = backward(z.re), wi = -backward(z.im);
  const Complex even{(zr + wr) / 2, (zi + wi) / 2};
  const Complex odd{(zi - wi) / 2, (wr - zr) / 2};
  const Complex root =
      each(roots(1, count, n, -1, x.dtype(), [](std::int64_t, std::int64_t j) { return j; }),
           [&](const Tensor& t) { return reshape(t, {count}); });
  const Complex turned = times(odd, root);
  return {even.re + turned.re, even.im + turned.im};
}

}  // namespace

Complex fft(const Complex& x, int axis, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  const ComplexOperand c = complex_operand("fft", x, axis);
  return with_axis(transform(c.x, c.n, -1), c.axis);
}

Complex ifft(const Complex& y, int axis, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  const ComplexOperand c = complex_operand("ifft", y, axis);
  const auto scale = [&](const Tensor& t) { return t / static_cast<double>(c.n); };
  return with_axis(each(transform(c.x, c.n, 1), scale), c.axis);
}

Complex rfft(const Operand& x, int axis) {
  const LineScope scope(x.line());
  const ComplexOperand c = complex_operand("rfft", {x.tensor()}, axis);
  return with_axis(of_real(c.x.re, c.n), c.axis);
}

Tensor irfft(const Complex& y, std::int64_t n, int axis, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  const ComplexOperand c = complex_operand("irfft", y, axis);
  if (n < 1) ops::fail_value("irfft", "n is " + std::to_string(n));
  if (c.n != n / 2 + 1) {
    ops::fail_shape(
        OpRecord{.name = "irfft"}, {y.re},
        "for " + std::to_string(n) + " elements the axis has " + std::to_string(n / 2 + 1));
  }
  // The other half are the conjugates, in the other order.
  const std::int64_t rest = n - c.n, last = (n - 1) / 2;
  const Tensor imag = c.x.im ? c.x.im : zeros_like(c.x.re);
  const auto whole = [&](const Tensor& t, bool is_imag) {
    if (rest == 0) return t;
    const Tensor mirrored = part(t, last, rest, -1);
    return concatenate({t, is_imag ? -mirrored : mirrored}, -1);
  };
  // What a real x has no use for.
  const Tensor places = arange(c.n);
  const Tensor counts = n % 2 == 0 ? ne(places, 0) & ne(places, n / 2) : ne(places, 0);
  const Complex full{whole(c.x.re, false),
                     whole(where(counts, imag, zeros({}, imag.dtype())), true)};
  return with_axis(transform(full, n, 1).re / static_cast<double>(n), c.axis);
}

Complex fftn(const Complex& x, const std::vector<int>& axes, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  Complex y = x;
  for (const int axis : axes) y = fft(y, axis);
  return y;
}

Complex ifftn(const Complex& y, const std::vector<int>& axes, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  Complex x = y;
  for (const int axis : axes) x = ifft(x, axis);
  return x;
}

Complex rfftn(const Operand& x, const std::vector<int>& axes) {
  const LineScope scope(x.line());
  if (axes.empty()) ops::fail_value("rfftn", "there are no axes");
  Complex y = rfft(x, axes.back());
  for (std::size_t k = axes.size() - 1; k-- > 0;) y = fft(y, axes[k]);
  return y;
}

Tensor irfftn(const Complex& y, std::int64_t n, const std::vector<int>& axes,
              const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  if (axes.empty()) ops::fail_value("irfftn", "there are no axes");
  Complex x = y;
  for (std::size_t k = 0; k + 1 < axes.size(); ++k) x = ifft(x, axes[k]);
  return irfft(x, n, axes.back());
}

Tensor fftfreq(std::int64_t n, double spacing, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  if (n < 1) ops::fail_value("fftfreq", "n is " + std::to_string(n));
  const Tensor k = arange(n);
  return cast(where(k < (n + 1) / 2, k, k - n), dtype) / (static_cast<double>(n) * spacing);
}

Tensor rfftfreq(std::int64_t n, double spacing, DType dtype, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  if (n < 1) ops::fail_value("rfftfreq", "n is " + std::to_string(n));
  return cast(arange(n / 2 + 1), dtype) / (static_cast<double>(n) * spacing);
}

namespace {

Tensor shifted(const char* name, const Operand& x, int axis, bool back) {
  const Tensor t = x.tensor();
  if (t.rank() == 0) ops::fail_shape(OpRecord{.name = name}, {t}, "takes an axis, not a scalar");
  const int at = ops::resolve_axis(axis, t.rank(), name);
  const Dim size = t.shape(at), half = floor_div(size, 2);
  // Where the parts meet: the last n / 2 elements come first, and back the first.
  const Dim first = back ? half : size - half;
  const auto cut = [&](const Dim& start, const Dim& count) {
    Dims starts(t.shape().size(), Dim(0)), sizes = t.shape();
    starts[static_cast<std::size_t>(at)] = start;
    sizes[static_cast<std::size_t>(at)] = count;
    return ops::strided_slice(t, starts, sizes, std::vector<std::int64_t>(sizes.size(), 1));
  };
  return concatenate({cut(first, size - first), cut(0, first)}, at);
}

}  // namespace

Tensor fftshift(const Operand& x, int axis) {
  const LineScope scope(x.line());
  return shifted("fftshift", x, axis, false);
}

Tensor ifftshift(const Operand& x, int axis) {
  const LineScope scope(x.line());
  return shifted("ifftshift", x, axis, true);
}

}  // namespace kroton
