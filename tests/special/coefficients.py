"""The polynomials of the special functions, as compiler/ops/special_coefficients.h.

    python3 tests/special/coefficients.py | clang-format > compiler/ops/special_coefficients.h

needs mpmath. Each is the Chebyshev interpolant of a function on an interval, cut where what is left
out is below 2e-17 of its largest value (4e-9 in those for f32), in powers of t, which runs over
[-1, 1] as the function's argument does over the interval.
"""
import sys
from fractions import Fraction

from mpmath import (besseli, besselj, besselk, bessely, cos, e1, ei, erfc, euler, exp, expm1,
                    findroot, fsum, gamma, inf, ldexp, log, loggamma, mp, mpf, pi, psi, sqrt)

mp.dps = 50
NODES = 72


def polynomial(f, a, b, tolerance=mpf(2) ** -56):
    a, b = mpf(a), mpf(b)
    angles = [pi * (k + mpf(1) / 2) / NODES for k in range(NODES)]
    values = [f((a + b) / 2 + (b - a) / 2 * cos(u)) for u in angles]
    series = [fsum(v * cos(j * u) for v, u in zip(values, angles)) * (2 if j else 1) / NODES
              for j in range(NODES)]
    largest = max(abs(v) for v in values)
    rest, degree = mpf(0), NODES - 1
    while degree > 0 and rest + abs(series[degree]) < tolerance * largest:
        rest += abs(series[degree])
        degree -= 1
    if degree > 50:
        raise ValueError("no polynomial of a low degree")
    # Powers of t, by the recurrence of the Chebyshev polynomials.
    before, now = [mpf(1)], [mpf(0), mpf(1)]
    powers = [mpf(0)] * (degree + 1)
    for j in range(degree + 1):
        for k, c in enumerate(before):
            powers[k] += series[j] * c
        after = [mpf(0)] + [2 * c for c in now]
        for k, c in enumerate(before):
            after[k] -= c
        before, now = now, after
    # What roundings do to it in f64, relative to the largest value.
    worst = mpf(0)
    for v, u in zip(values, angles):
        total = 0.0
        for c in reversed(powers):
            total = total * float(cos(u)) + float(c)
        worst = max(worst, abs(total - v) / abs(v))
    return powers, worst


def emit(name, what, f, a, b, tolerance=mpf(2) ** -56):
    powers, worst = polynomial(f, a, b, tolerance)
    print(f"{name}: degree {len(powers) - 1}, {float(worst):.1e}", file=sys.stderr, flush=True)
    print(f"// {what}")
    print(f"inline constexpr std::initializer_list<double> {name} = {{")
    print(",\n".join("    " + repr(float(c)) for c in powers))
    print("};\n")


def emit_both(name, what, f, a, b):
    emit(name, what, f, a, b)
    emit(name + "_f32", "The same for f32.", f, a, b, mpf(2) ** -28)


def temme(most_k, most_eta, least_a):
    """The series in eta that Temme's expansion of the incomplete gamma function has for each power of
    1 / a, for |eta| <= most_eta and a >= least_a. With mu = x / a - 1 and eta^2 / 2 = mu - log(1 + mu):
    C_0 = 1 / mu - 1 / eta, C_k = (d C_(k-1) / d eta) / eta + gamma_k / mu, without a pole at 0."""
    count = 70
    mu = [Fraction(0), Fraction(1)]  # by mu d mu / d eta = eta (1 + mu)
    for n in range(2, count + 1):
        rest = sum(mu[i] * (n + 1 - i) * mu[n + 1 - i] for i in range(2, n))
        mu.append((mu[n - 1] - rest) / (n + 1))
    inverse = [Fraction(1)]  # eta / mu
    for n in range(1, count):
        inverse.append(-sum(mu[i + 1] * inverse[n - i] for i in range(1, n + 1)))
    series = [inverse[n + 1] for n in range(count - 1)]
    for k in range(most_k + 1):
        degree = max(n for n, c in enumerate(series)
                     if abs(float(c)) * most_eta ** n / least_a ** k > 2e-18)
        yield series[:degree + 1]
        pole = -series[1]
        series = [(n + 2) * series[n + 2] + pole * inverse[n + 1] for n in range(len(series) - 2)]


def erfcx(x):
    return exp(x * x) * erfc(x)


def erfcx_of_t(t):
    x = 3 * (1 + t) / (1 - t)
    return (1 + 2 * x) * erfcx(x)


def erfinv_ratio(w):
    """erfinv(x) / x for w = -log(1 - x^2)."""
    x = sqrt(-expm1(-w))
    tail = exp(-w) / (1 + x)  # 1 - x
    z = findroot(lambda z: log(erfc(z)) - log(tail), sqrt(w) + mpf(1) / 10)
    return z / x


def correction(x):
    """What Stirling's formula leaves of the logarithm of gamma."""
    return loggamma(x) - ((x - mpf(1) / 2) * log(x) - x + log(2 * pi) / 2)


DIGAMMA_ROOT = findroot(lambda x: psi(0, x), 1.4616)
ROOT = findroot(ei, 0.3725)


def phase(x, order):
    """P and Q with J = sqrt(2 / (pi x)) (P cos(u) - Q sin(u)), u = x - (order / 2 + 1 / 4) pi."""
    u = x - (mpf(order) / 2 + mpf(1) / 4) * pi
    j, y = besselj(order, x), bessely(order, x)
    scale = sqrt(pi * x / 2)
    from mpmath import sin
    return scale * (j * cos(u) + y * sin(u)), scale * (y * cos(u) - j * sin(u))


def main():
    print("""// Polynomials of the special functions, made by tests/special/coefficients.py.
#pragma once
#include <initializer_list>

namespace kroton::ops::coefficients {
""")
    emit_both("erfcx", "(1 + 2 x) erfcx(x) for t = (x - 3) / (x + 3).", erfcx_of_t, -1, 1)
    emit("erfinv_center", "erfinv(x) / x for w = -log(1 - x^2) in [0, 6.25].", erfinv_ratio, 0,
         "6.25")
    emit("erfinv_middle", "The same for sqrt(w) in [2.5, 5].", lambda s: erfinv_ratio(s * s),
         "2.5", 5)
    emit("erfinv_tail", "erfinv(x) / (x sqrt(w)) for 1 / sqrt(w) in [0.036, 0.2].",
         lambda z: erfinv_ratio(1 / z ** 2) * z, "0.036", "0.2")
    emit_both("lgamma", "log(gamma(x)) / (x - 2) for x in [1.5, 2.5].",
         lambda x: loggamma(x) / (x - 2), "1.5", "2.5")
    emit("gamma", "gamma(x) for x in [1.5, 2.5].", gamma, "1.5", "2.5")
    emit_both("stirling", "What Stirling's formula leaves of log(gamma(x)), times x, for 1 / x^2 in "
         "[0, 1/64].", lambda z: correction(1 / sqrt(z)) / sqrt(z), 0, mpf(1) / 64)
    emit("stirling_factor", "gamma(x) over Stirling's formula for 1 / x in [0, 1/8].",
         lambda u: exp(correction(1 / u)), 0, mpf(1) / 8)
    emit("digamma", "digamma(x) / (x - its root) for x in [1, 2].",
         lambda x: psi(0, x) / (x - DIGAMMA_ROOT), 1, 2)
    emit("digamma_tail", "(log(x) - 1 / (2 x) - digamma(x)) x^2 for 1 / x^2 in [0, 1/64].",
         lambda z: (-log(z) / 2 - sqrt(z) / 2 - psi(0, 1 / sqrt(z))) / z, 0,
         mpf(1) / 64)
    for order in (0, 1):
        emit(f"j{order}", f"J{order}(x){' / x' if order else ''} for x^2 in [0, 64].",
             lambda z: besselj(order, sqrt(z)) / sqrt(z) ** order, 0, 64)
        rest = (lambda z: bessely(0, sqrt(z)) - 2 / pi * log(sqrt(z)) * besselj(0, sqrt(z))) \
            if order == 0 else \
            (lambda z: (bessely(1, sqrt(z)) - 2 / pi * (log(sqrt(z)) * besselj(1, sqrt(z)) -
                                                       1 / sqrt(z))) / sqrt(z))
        emit(f"y{order}", "Y0(x) - 2 / pi log(x) J0(x)" if order == 0 else
             "(Y1(x) - 2 / pi (log(x) J1(x) - 1 / x)) / x", rest, 0, 64)
        emit(f"phase_p{order}", f"P of J{order}, for (8 / x)^2 in [0, 1].",
             lambda z: phase(8 / sqrt(z), order)[0], 0, 1)
        emit(f"phase_q{order}", f"Q of J{order} times x / 8, for (8 / x)^2 in [0, 1].",
             lambda z: phase(8 / sqrt(z), order)[1] / sqrt(z), 0, 1)
        emit(f"i{order}", f"exp(-x) I{order}(x){' / x' if order else ''} for x in [0, 8].",
             lambda x: exp(-x) * besseli(order, x) / x ** order, 0, 8)
        emit(f"i{order}_tail", f"sqrt(x) exp(-x) I{order}(x) for 8 / x in [0, 1].",
             lambda u: sqrt(8 / u) * exp(-8 / u) * besseli(order, 8 / u), 0, 1)
    for order in (0, 1):
        sign = 1 if order == 0 else -1
        emit(f"k{order}", f"K{order}(x) {'+' if order == 0 else '-'} log(x / 2) I{order}(x)"
             f"{'' if order == 0 else ' - 1 / x, over x,'} for x^2 in [0, 4].",
             lambda z: (besselk(order, sqrt(z)) + sign * log(sqrt(z) / 2) * besseli(order, sqrt(z)) -
                        order / sqrt(z)) / sqrt(z) ** order, 0, 4)
        emit(f"i{order}_near", f"I{order}(x){' / x' if order else ''} for x^2 in [0, 4].",
             lambda z: besseli(order, sqrt(z)) / sqrt(z) ** order, 0, 4)
        emit(f"k{order}_tail", f"sqrt(x) exp(x) K{order}(x) for t = (x - 6) / (x + 6) from x = 2 on.",
             lambda t: sqrt(6 * (1 + t) / (1 - t)) * exp(6 * (1 + t) / (1 - t)) *
             besselk(order, 6 * (1 + t) / (1 - t)), "-0.5", 1)
    emit("exp1", "E1(x) + log(x) for x in [0, 1].", lambda x: e1(x) + log(x), 0, 1)
    emit("exp1_tail", "(x + 1) exp(x) E1(x) for 1 - 12 / (x + 5) from x = 1 on.",
         lambda u: (12 / (1 - u) - 4) * exp(12 / (1 - u) - 5) * e1(12 / (1 - u) - 5), -1, 1)
    emit("expi", "(Ei(x) - log(x / root)) / (x - root) for x in [0, 6].",
         lambda x: (ei(x) - log(x / ROOT)) / (x - ROOT), 0, 6)
    emit("expi_middle", "x exp(-x) Ei(x) for x in [6, 12].", lambda x: x * exp(-x) * ei(x), 6, 12)
    emit("expi_far", "The same for x in [12, 24].", lambda x: x * exp(-x) * ei(x), 12, 24)
    emit("expi_tail", "The same for 24 / x in [0, 1].",
         lambda u: 24 / u * exp(-24 / u) * ei(24 / u), 0, 1)
    emit("log1p_rest", "(x - log(1 + x)) / x^2 for x in [-0.4, 0.4].",
         lambda x: (x - log(1 + x)) / x ** 2, "-0.4", "0.4")
    print("// Temme's expansion of the incomplete gamma function: a series in eta for each power of "
          "1 / a.")
    print("inline constexpr std::initializer_list<double> temme[] = {")
    for series in temme(9, 0.4709, 20):
        print("    {" + ",\n     ".join(repr(float(c)) for c in series) + "},")
    print("};\n")
    print("}  // namespace kroton::ops::coefficients")


main()
