#include "compiler/ops/special_reference.h"
#include "compiler/ops/numbers.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

namespace kroton::ops::reference {
namespace {

using Wide = long double;
constexpr Wide pi = std::numbers::pi_v<Wide>;
using ops::inf;
using ops::nan;

Wide wide_erfcx(Wide x) {
  if (x < 8) return std::exp(x * x) * std::erfc(x);
  Wide fraction = x;  // x + (1/2) / (x + (2/2) / (x + (3/2) / ...))
  for (int k = 100; k > 0; --k) fraction = x + k / (2 * fraction);
  return 1 / (std::sqrt(pi) * fraction);
}

// The z >= 0 with f(z) = value, for a function that falls.
template <class F>
Wide solve(F f, Wide value) {
  Wide low = 0, high = 40;
  for (int k = 0; k < 1500; ++k) {
    const Wide middle = (low + high) / 2;
    if (middle == low || middle == high) break;
    (f(middle) > value ? low : high) = middle;
  }
  return low;
}

// The z with erfc(z) = tail, which is 1 - x.
double inverse(Wide x, Wide tail) {
  if (std::isnan(x) || x > 1 || x < -1) return nan;
  if (x < 0) return -inverse(-x, 2 - tail);
  if (tail == 0) return inf;
  const Wide z = x < 0.5L ? solve([](Wide y) { return -std::erf(y); }, -x)
                          : solve([](Wide y) { return std::erfc(y); }, tail);
  return static_cast<double>(z);
}

// B2, B4, ... over their factorials (2k)!.
constexpr Wide bernoulli[] = {1.0L / 12,          -1.0L / 720,
                              1.0L / 30240,       -1.0L / 1209600,
                              1.0L / 47900160,    -691.0L / 1307674368000,
                              1.0L / 74724249600, -3617.0L / 10670622842880000};

// The sum of (q + k)^-s by Euler and Maclaurin's formula from the 30th term on.
Wide wide_zeta(Wide s, Wide q) {
  Wide sum = 0;
  for (int k = 0; k < 30; ++k) sum += std::pow(q + k, -s);
  const Wide end = q + 30;
  sum += std::pow(end, 1 - s) / (s - 1) + std::pow(end, -s) / 2;
  Wide factor = s * std::pow(end, -s - 1);
  for (int k = 0; k < 8; ++k) {
    sum += bernoulli[k] * factor;
    factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / (end * end);
  }
  return sum;
}

Wide wide_digamma(Wide x) {
  Wide sum = 0;
  for (; x < 30; x += 1) sum -= 1 / x;
  Wide power = 1 / (x * x), factorial = 1;
  sum += std::log(x) - 1 / (2 * x);
  for (int k = 0; k < 8; ++k) {  // B_2k / (2k x^2k)
    sum -= bernoulli[k] * factorial * power;
    factorial *= (2 * k + 2) * (2 * k + 3);
    power /= x * x;
  }
  return sum;
}

// The n-th derivative of pi cot(pi x), as a polynomial of the cotangent.
Wide cotangent_derivative(int n, Wide x) {
  Wide coefficients[104] = {0, pi}, next[104];
  for (int order = 0; order < n; ++order) {
    for (Wide& c : next) c = 0;
    for (int k = 1; k <= order + 1; ++k) {  // d/dx c^k = -pi k (c^(k-1) + c^(k+1))
      next[k - 1] -= pi * k * coefficients[k];
      next[k + 1] -= pi * k * coefficients[k];
    }
    for (int k = 0; k < 104; ++k) coefficients[k] = next[k];
  }
  const Wide rest = x - std::nearbyint(x);
  const Wide cotangent = std::cos(pi * rest) / std::sin(pi * rest);
  Wide sum = 0;
  for (int k = n + 1; k >= 0; --k) sum = sum * cotangent + coefficients[k];
  return sum;
}

}  // namespace

double erfcx(double x) { return static_cast<double>(wide_erfcx(x)); }
double erfinv(double x) { return inverse(x, 1 - static_cast<Wide>(x)); }
double erfcinv(double x) { return inverse(1 - static_cast<Wide>(x), x); }
double ndtr(double x) {
  return static_cast<double>(std::erfc(-x / std::numbers::sqrt2_v<Wide>) / 2);
}
double log_ndtr(double x) {
  const Wide z = -x / std::numbers::sqrt2_v<Wide>;
  if (x > 0) return static_cast<double>(std::log1p(-std::erfc(-z) / 2));
  return static_cast<double>(std::log(wide_erfcx(z) / 2) - z * z);
}
double ndtri(double p) {
  return static_cast<double>(-std::numbers::sqrt2_v<Wide> *
                             inverse(1 - 2 * static_cast<Wide>(p), 2 * static_cast<Wide>(p)));
}

double gamma(double x) { return static_cast<double>(std::tgamma(static_cast<Wide>(x))); }
double gammaln(double x) { return static_cast<double>(std::lgamma(static_cast<Wide>(x))); }

double polygamma(int n, double x) {
  const bool is_pole = x <= 0 && x == std::floor(x);
  if (is_pole && n == 0) return x == 0 ? std::copysign(inf, -x) : nan;
  if (is_pole && n % 2 == 0) return x == 0 ? -inf : nan;
  if (is_pole) return inf;
  if (std::isnan(x) || x == -inf) return nan;
  if (x == inf) return n == 0 ? inf : 0;
  const auto right = [n](Wide at) -> Wide {
    if (n == 0) return wide_digamma(at);
    return (n % 2 == 0 ? -1 : 1) * std::tgamma(static_cast<Wide>(n) + 1) * wide_zeta(n + 1, at);
  };
  if (x > 0) return static_cast<double>(right(x));
  const Wide reflected = (n % 2 == 0 ? 1 : -1) * right(1 - static_cast<Wide>(x));
  return static_cast<double>(reflected - cotangent_derivative(n, x));
}

double betaln(double a, double b) {
  if (!(a >= 0 && b >= 0)) return nan;
  if (a == 0 || b == 0) return a == inf || b == inf ? nan : inf;
  const Wide wide_a = a, wide_b = b;
  return static_cast<double>(std::lgamma(wide_a) + std::lgamma(wide_b) -
                             std::lgamma(wide_a + wide_b));
}

double zeta(double s, double q) {
  if (!(s >= 1 && q >= 0)) return nan;
  if (s == 1 || q == 0) return inf;
  return static_cast<double>(wide_zeta(s, q));
}

double bessel_i(int order, double x, bool scaled) {
  const Wide a = std::abs(static_cast<Wide>(x));
  Wide sum = 0;
  if (a < 200) {
    Wide term = order == 0 ? 1 : a / 2;
    for (int k = 1; term > sum * 1e-22L; ++k) {
      sum += term;
      term *= a * a / 4 / (static_cast<Wide>(k) * (k + order));
    }
    if (scaled) sum *= std::exp(-a);
  } else {
    Wide term = 1;
    for (int k = 1; k < 30; ++k) {
      sum += term;
      const Wide odd = 2 * k - 1;
      term *= (odd * odd - 4 * order) / (8 * a * k);
    }
    sum /= std::sqrt(2 * pi * a);
    if (!scaled) sum *= std::exp(a);
  }
  return static_cast<double>(order == 1 && std::signbit(x) ? -sum : sum);
}

double bessel_k(int order, double x, bool scaled) {
  if (std::isnan(x) || x < 0) return nan;
  if (x == 0) return inf;
  if (x > 200) {  // the integrand is narrower than steps of the rule below
    const Wide a = x;
    Wide sum = 0, term = 1;
    for (int k = 1; k < 30; ++k) {
      sum += term;
      const Wide odd = 2 * k - 1;
      term *= (4 * order - odd * odd) / (8 * a * k);
    }
    return static_cast<double>(std::sqrt(pi / (2 * a)) * sum * (scaled ? 1 : std::exp(-a)));
  }
  // The integral of e^-x (cosh t - 1) cosh(order t) over t by the trapezoidal rule, which converges
  // as a power of e^(1 / step) for it.
  struct Point {
    Wide half, cosh;
  };
  constexpr Wide step = 1.0L / 64;
  static const std::vector<Point> points = [] {
    std::vector<Point> made;
    for (int k = 1; k < 64 * 60; ++k)
      made.push_back({std::sinh(k * step / 2), std::cosh(k * step)});
    return made;
  }();
  Wide sum = 0.5L;
  for (const auto& [half, cosh] : points) {
    const Wide term = std::exp(-2 * x * half * half) * (order == 0 ? 1 : cosh);
    sum += term;
    if (term < sum * 1e-22L) break;
  }
  return static_cast<double>(step * sum * (scaled ? 1 : std::exp(-static_cast<Wide>(x))));
}

double gammainc(double a, double x, bool upper) {
  if (std::isnan(a) || std::isnan(x) || a < 0 || x < 0) return nan;
  if ((a == 0 && x == 0) || (a == inf && x == inf)) return nan;
  if (a == 0 || x == inf) return upper ? 0 : 1;
  if (a == inf || x == 0) return upper ? 1 : 0;
  const Wide wide_a = a, wide_x = x;
  const Wide power = std::exp(wide_a * std::log(wide_x) - wide_x - std::lgamma(wide_a + 1));
  if (x < a + 1) {
    Wide sum = 0, term = 1;
    for (int k = 1; term > sum * 1e-22L; ++k) {
      sum += term;
      term *= wide_x / (wide_a + k);
    }
    return static_cast<double>(upper ? 1 - power * sum : power * sum);
  }
  // A continued fraction from its beginning: the quotients of neighbouring numerators, and of
  // denominators, until they are the same.
  Wide fraction = wide_x + 1 - wide_a, numerators = fraction, denominators = 0, factor = 0;
  for (int k = 1; k < 2000 && std::abs(factor - 1) > 1e-19L; ++k) {
    const Wide next = wide_x + 1 - wide_a + 2 * k, above_it = -k * (k - wide_a);
    denominators = 1 / (next + above_it * denominators);
    numerators = next + above_it / numerators;
    factor = numerators * denominators;
    fraction *= factor;
  }
  const Wide above = power * wide_a / fraction;
  return static_cast<double>(upper ? above : 1 - above);
}

double betainc(double a, double b, double x) {
  if (!(a > 0 && b > 0 && x >= 0 && x <= 1) || std::fmin(a, b) > 1000) return nan;
  if (x == 0 || x == 1) return x;
  const Wide wide_x = x;
  // Next to a parameter so large the series has no end; x^a is e^-t then, and the other factor a
  // power of t. What is left out is the square of the quotient of the parameters.
  constexpr Wide most = 1e5L;
  if (b > most * (1 + static_cast<Wide>(a))) {
    return gammainc(a, static_cast<double>(-std::log1p(-wide_x) * (b + (a - 1) / 2)), false);
  }
  if (a > most * (1 + static_cast<Wide>(b))) {
    return gammainc(b, static_cast<double>(-std::log(wide_x) * (a + (b - 1) / 2)), true);
  }
  const Wide power = std::exp(
      a * std::log(wide_x) + b * std::log1p(-wide_x) + std::lgamma(static_cast<Wide>(a) + b) -
      std::lgamma(static_cast<Wide>(a)) - std::lgamma(static_cast<Wide>(b)));
  // x^a (1 - x)^b / (a B(a, b)) times the sum of (a + b)_k / (a + 1)_k x^k, on the side on which
  // that converges soon.
  const auto side = [&](Wide p, Wide q, Wide at) {
    Wide sum = 0, term = 1;
    for (int k = 0; term > sum * 1e-22L; ++k) {
      sum += term;
      term *= (p + q + k) / (p + 1 + k) * at;
    }
    return power / p * sum;
  };
  const bool beyond = x * (a + b + 2) > a + 1;
  return static_cast<double>(beyond ? 1 - side(b, a, 1 - wide_x) : side(a, b, wide_x));
}

// The integral of f over [0, 1] by the rule of tanh and sinh, f of a point and of its distance from
// 1; both ends may have singularities.
namespace {
template <class F>
Wide integral(F f) {
  struct Point {
    Wide small;  // the distance from the nearer end
    Wide weight;
  };
  constexpr Wide step = 1.0L / 64;
  static const std::vector<Point> points = [] {
    std::vector<Point> made;
    for (int k = 0; k <= 64 * 6; ++k) {
      const Wide small = 1 / (1 + std::exp(pi * std::sinh(k * step)));
      made.push_back({small, pi * std::cosh(k * step) * small * (1 - small)});
    }
    return made;
  }();
  Wide sum = 0;
  const auto add = [&](Wide term) {
    if (std::isfinite(term)) sum += term;
  };
  for (std::size_t k = points.size(); --k > 0;) {
    const auto& [small, weight] = points[k];
    add(weight * f(small, 1 - small));
  }
  for (const auto& [small, weight] : points) add(weight * f(1 - small, small));
  return sum * step;
}
}  // namespace

// The integral of t^(a - 1) e^-t (log t - digamma(a)) / gamma(a), up to x, or beyond it, where less
// cancels.
double gammainc_by_a(double a, double x) {
  if (std::isnan(a) || std::isnan(x) || a < 0 || x < 0 || (a == 0 && x == 0)) return nan;
  if (x == 0 || x == inf || a == inf) return 0;
  if (a == 0) return static_cast<double>(std::expint(-static_cast<Wide>(x)));
  const Wide wide_a = a, wide_x = x;
  const Wide psi = wide_digamma(wide_a), log_gamma = std::lgamma(wide_a);
  const Wide log_x = std::log(wide_x);
  if (x < a) {  // t = x u^(1 / a): t^(a - 1) dt = x^a / a du
    const Wide scale = wide_a * log_x - log_gamma - std::log(wide_a);
    return static_cast<double>(integral([&](Wide u, Wide) {
      const Wide log_t = log_x + std::log(u) / wide_a;
      return std::exp(scale - std::exp(log_t)) * (log_t - psi);
    }));
  }
  // t = x + r / (1 - r)
  return static_cast<double>(-integral([&](Wide u, Wide rest) {
    const Wide log_t = std::log(wide_x + u / rest);
    return std::exp((wide_a - 1) * log_t - (wide_x + u / rest) - log_gamma) * (log_t - psi) /
           (rest * rest);
  }));
}

double betainc_by(double a, double b, double x, bool by_a) {
  if (!(a > 0 && b > 0 && x >= 0 && x <= 1) || std::fmin(a, b) > 1000) return nan;
  if (x == 0 || x == 1) return 0;
  const Wide wide_a = a, wide_b = b, wide_x = x;
  const Wide log_beta = std::lgamma(wide_a) + std::lgamma(wide_b) - std::lgamma(wide_a + wide_b);
  const Wide psi = wide_digamma(by_a ? wide_a : wide_b) - wide_digamma(wide_a + wide_b);
  // t = y u^(1 / p) below, with the roles exchanged beyond the mean.
  const auto part = [&](Wide p, Wide q, Wide y, bool by_p) {
    const Wide scale = p * std::log(y) - log_beta - std::log(p);
    return integral([&](Wide u, Wide) {
      const Wide log_t = std::log(y) + std::log(u) / p;
      const Wide log_rest = std::log1p(-std::exp(log_t));
      return std::exp(scale + (q - 1) * log_rest) * ((by_p ? log_t : log_rest) - psi);
    });
  };
  const bool beyond = x * (a + b) > a;
  return static_cast<double>(beyond ? -part(wide_b, wide_a, 1 - wide_x, !by_a)
                                    : part(wide_a, wide_b, wide_x, by_a));
}

double zeta_by_s(double s, double q) {
  if (!(s >= 1 && q >= 0)) return nan;
  if (s == 1) return q == 0 ? nan : -inf;
  if (q == 0) return inf;
  if (q == inf) return 0;
  // By Euler and Maclaurin's formula, differentiated.
  const Wide wide_s = s;
  Wide sum = 0;
  for (int k = 0; k < 30; ++k) sum -= std::log(q + k) * std::pow(static_cast<Wide>(q) + k, -wide_s);
  const Wide end = static_cast<Wide>(q) + 30, logarithm = std::log(end);
  const Wide power = std::pow(end, 1 - wide_s) / (wide_s - 1);
  sum -= power * (logarithm + 1 / (wide_s - 1)) + std::pow(end, -wide_s) * logarithm / 2;
  Wide factor = wide_s * std::pow(end, -wide_s - 1), slope = 1 / wide_s - logarithm;
  for (int k = 0; k < 8; ++k) {
    sum += bernoulli[k] * factor * slope;
    factor *= (wide_s + 2 * k + 1) * (wide_s + 2 * k + 2) / (end * end);
    slope += 1 / (wide_s + 2 * k + 1) + 1 / (wide_s + 2 * k + 2);
  }
  return static_cast<double>(sum);
}

namespace {

// The least double x in [low, high] with rises(x), by bisection over the doubles.
template <class F>
double first_of(double low, double high, F rises) {
  while (true) {
    // Between numbers of one sign their bits are in their order.
    const auto a = std::bit_cast<std::int64_t>(low), b = std::bit_cast<std::int64_t>(high);
    const std::int64_t middle = a + (b - a) / 2;
    if (middle == a) return high;
    (rises(std::bit_cast<double>(middle)) ? high : low) = std::bit_cast<double>(middle);
  }
}

}  // namespace

double gammaincinv(double a, double share, bool upper) {
  if (!(a > 0) || !(share >= 0 && share <= 1)) return nan;
  if (share == (upper ? 1 : 0)) return 0;
  if (share == (upper ? 0 : 1)) return inf;
  return first_of(0, 1e308, [&](double x) {
    return upper ? gammainc(a, x, true) <= share : gammainc(a, x, false) >= share;
  });
}

double betaincinv(double a, double b, double p) {
  if (!(a > 0 && b > 0 && p >= 0 && p <= 1) || std::fmin(a, b) > 1000) return nan;
  if (p == 0 || p == 1) return p;
  return first_of(0, 1, [&](double x) { return betainc(a, b, x) >= p; });
}

double exp1(double x) {
  if (x == 0) return inf;
  if (!(x > 0)) return nan;
  // From 100 on libstdc++'s expint has only the first term of this series.
  if (x >= 100) {
    const Wide wide = x;
    Wide sum = 1, term = 1;
    for (int k = 1; k < 40; ++k) sum += term *= -k / wide;
    return static_cast<double>(std::exp(-wide) / wide * sum);
  }
  return static_cast<double>(-std::expint(-static_cast<Wide>(x)));
}

double expi(double x) {
  if (x == 0) return -inf;
  if (std::isnan(x)) return nan;
  return static_cast<double>(std::expint(static_cast<Wide>(x)));
}

}  // namespace kroton::ops::reference
