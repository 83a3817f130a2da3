"""Values of the elementwise and special functions, from mpmath.

    python3 tests/special/values.py > tests/special/values.txt
    python3 tests/special/values.py 4000            # that many points of each function and dtype

needs mpmath. A function's block begins with its name, the number of operands, and the bounds in ulp
that test_special_values.cpp holds it to in f32 and f64. A line has the operands, the value rounded
to f64, what that leaves in thousandths of its last place, and, for functions with zeros that a
rounded argument blurs, the size that the error is measured by. Half of the operands are numbers of
f32; those serve both dtypes.
"""
import math
import random
import struct
import sys

import mpmath as mp

mp.mp.dps = 40
COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 60
rng = random.Random(5)


def to_f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def draw(segment):
    kind, low, high = segment
    if kind == "u":
        return rng.uniform(low, high)
    return math.exp(rng.uniform(math.log(low), math.log(high))) if low > 0 else \
        -math.exp(rng.uniform(math.log(-high), math.log(-low)))


U = lambda a, b: ("u", a, b)
L = lambda a, b: ("l", a, b)
TINY32, TINY64 = L(1e-37, 1e-3), L(1e-300, 1e-3)
SIGNED_TINY = [L(1e-37, 1e-3), L(-1e-3, -1e-37)]


def sinc(x):
    return mp.sinpi(x) / (mp.pi * x) if x else mp.mpf(1)


def log_ndtr(x):
    return mp.log1p(-mp.erfc(x / mp.sqrt(2)) / 2) if x > 0 else mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)


def inverse_of(f, guess, slope):
    """The root of f(z) = 0 by Newton's method."""
    z = mp.mpf(guess)
    for _ in range(60):
        step = f(z) / slope(z)
        z -= step
        if abs(step) <= abs(z) * mp.mpf(10) ** -32:
            break
    return z


def erfcinv(y):
    if y > 1:
        return -erfcinv(2 - y)
    if y > mp.mpf("0.1"):
        return mp.erfinv(1 - y)
    guess = mp.sqrt(-mp.log(y * mp.sqrt(mp.pi) * mp.sqrt(-mp.log(y))))
    # Of the logarithm, which is nearly a parabola.
    return inverse_of(lambda z: mp.log(mp.erfc(z)) - mp.log(y), guess,
                      lambda z: -2 / mp.sqrt(mp.pi) * mp.exp(-z * z) / mp.erfc(z))


def erfinv(x):
    return mp.erfinv(x) if abs(x) < 0.9 else mp.sign(x) * erfcinv(1 - abs(x))


def amplitude(x):
    return mp.sqrt(2 / (mp.pi * abs(x))) if abs(x) > 1 else mp.mpf(0)


def one(x):
    return mp.mpf(1)


def near_poles(f):
    """The size that values left of 0 are measured by: there f has zeros between its poles."""
    return lambda x: max(abs(f(x)), mp.mpf(1)) if x < 0 else mp.mpf(0)


def sum_size(*sizes):
    return lambda *x: sum(abs(s(*x)) for s in sizes)


# name: function, f32 bound, f64 bound, segments for f32, segments for f64, size or None
UNARY = {
    "tan": (mp.tan, 5, 5, [U(-10, 10), L(1e-30, 1e5)], [U(-10, 10), L(1e-300, 1e12)], None),
    "sinh": (mp.sinh, 5, 5, [U(-3, 3), U(-89, 89), TINY32], [U(-3, 3), U(-710, 710), TINY64], None),
    "cosh": (mp.cosh, 5, 5, [U(-3, 3), U(-89, 89), TINY32], [U(-3, 3), U(-710, 710), TINY64], None),
    "asinh": (mp.asinh, 5, 5, [U(-3, 3), L(1e-37, 1e38)], [U(-3, 3), L(1e-300, 1e308)], None),
    "acosh": (mp.acosh, 5, 5, [U(1, 3), L(1, 1e38)], [U(1, 3), L(1, 1e308)], None),
    "atanh": (mp.atanh, 5, 5, [U(-1, 1), TINY32], [U(-1, 1), TINY64], None),
    "exp2": (lambda x: mp.mpf(2) ** x, 5, 5, [U(-4, 4), U(-150, 129)], [U(-4, 4), U(-1080, 1025)],
             None),
    "log2": (lambda x: mp.log(x, 2), 5, 5, [U(0.5, 2), L(1e-37, 1e38)], [U(0.5, 2), L(1e-300, 1e308)],
             None),
    "log10": (mp.log10, 5, 5, [U(0.5, 2), L(1e-37, 1e38)], [U(0.5, 2), L(1e-300, 1e308)], None),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), 5, 5, [U(-9, 9), L(1e-37, 1e38)],
             [U(-9, 9), L(1e-300, 1e308)], None),
    "rsqrt": (lambda x: 1 / mp.sqrt(x), 2, 2, [U(0, 9), L(1e-37, 1e38)], [U(0, 9), L(1e-300, 1e308)],
              None),
    "log1mexp": (lambda x: mp.log1p(-mp.exp(-x)) if x > 1 else mp.log(-mp.expm1(-x)), 5, 5, [U(0, 3), L(1e-30, 80)],
                 [U(0, 3), L(1e-300, 700)], None),
    "sinc": (sinc, 5, 5, [U(-5, 5), L(1e-30, 1e5)], [U(-5, 5), L(1e-300, 1e12)], None),
    "logsigmoid": (lambda x: -mp.log1p(mp.exp(-x)), 5, 5, [U(-20, 20)], [U(-20, 20), U(-700, 700)],
                   None),
    "erfc": (mp.erfc, 4, 8, [U(-3, 3), U(2, 10)], [U(-3, 3), U(2, 27.2)], None),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x) if x < 25 else
              mp.hyperu(0.5, 0.5, x * x) / mp.sqrt(mp.pi), 4, 8, [U(-9, 9), L(1, 1e30)],
              [U(-26, 9), L(1, 1e30)], None),
    "erfinv": (erfinv, 1, 8, [U(-1, 1), TINY32], [U(-1, 1), U(0.999999999, 1), TINY64], None),
    "erfcinv": (erfcinv, 1, 8, [U(0, 2), TINY32], [U(0, 2), TINY64], None),
    "ndtr": (mp.ncdf, 4, 8, [U(-3, 3), U(-14, 6)], [U(-3, 3), U(-38, 8)], None),
    "log_ndtr": (log_ndtr, 1, 8, [U(-3, 6), L(-1e5, -1)], [U(-3, 8), L(-1e5, -1)], None),
    "ndtri": (lambda p: -mp.sqrt(2) * erfcinv(2 * p), 1, 8, [U(0, 1), TINY32], [U(0, 1), TINY64], None),
    "gammaln": (lambda x: mp.loggamma(x).real, 4, 8,
                [U(0, 9), U(0.9, 1.1), U(1.9, 2.1), L(1e-37, 1e30), U(-20, 0)],
                [U(0, 9), U(0.9, 1.1), U(1.9, 2.1), L(1e-300, 1e300), U(-20, 0)],
                near_poles(lambda x: mp.loggamma(x).real)),
    "gamma": (mp.gamma, 1, 20, [U(0, 9), U(-30, 35), L(1e-37, 1)], [U(0, 9), U(-170, 171), L(1e-300, 1)],
              None),
    "digamma": (mp.digamma, 1, 8, [U(0, 12), U(1.4, 1.5), L(1e-37, 1e30), U(-20, 0)],
                [U(0, 12), U(1.4, 1.5), L(1e-150, 1e150), U(-20, 0)],
                lambda x: max(abs(mp.digamma(x)), mp.pi * abs(mp.cot(mp.pi * x)), 1) if x < 0
                else mp.mpf(0)),
    "trigamma": (lambda x: mp.psi(1, x), 1, 8, [U(0, 12), L(1e-15, 1e15), U(-20, 0)],
                 [U(0, 12), L(1e-150, 1e150), U(-20, 0)],
                 lambda x: (mp.pi / mp.sin(mp.pi * x)) ** 2 + mp.pi ** 2 if x < 0 else mp.mpf(0)),
    "polygamma3": (lambda x: mp.psi(3, x), 1, 16, [U(0.1, 12), L(1e-8, 1e8)], [U(0.1, 12), L(1e-50, 1e50)],
                   None),
    "zeta": (mp.zeta, 1, 8, [U(1, 3), L(1.1, 100)], [U(1, 3), L(1.1, 100)], None),
    "j0": (lambda x: mp.besselj(0, x), 1, 16, [U(-9, 9), L(1e-30, 1e4)], [U(-9, 9), L(1e-300, 1e4)],
           amplitude),
    "j1": (lambda x: mp.besselj(1, x), 1, 16, [U(-9, 9), L(1e-30, 1e4)], [U(-9, 9), L(1e-300, 1e4)],
           amplitude),
    "y0": (lambda x: mp.bessely(0, x), 1, 16, [U(0, 9), L(1e-30, 1e4)], [U(0, 9), L(1e-300, 1e4)],
           lambda x: amplitude(x) if x > 1 else mp.mpf(1)),
    "y1": (lambda x: mp.bessely(1, x), 1, 16, [U(0, 9), L(1e-30, 1e4)], [U(0, 9), L(1e-300, 1e4)],
           lambda x: amplitude(x) if x > 1 else mp.mpf(1)),
    "i0": (lambda x: mp.besseli(0, x), 1, 8, [U(-9, 9), U(0, 91)], [U(-9, 9), U(0, 713)], None),
    "i1": (lambda x: mp.besseli(1, x), 1, 8, [U(-9, 9), U(0, 91), TINY32], [U(-9, 9), U(0, 713), TINY64],
           None),
    "i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), 1, 8, [U(-9, 9), L(1, 1e4)],
            [U(-9, 9), L(1, 1e4)], None),
    "i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), 1, 8, [U(-9, 9), L(1, 1e4), TINY32],
            [U(-9, 9), L(1, 1e4), TINY64], None),
    "k0": (lambda x: mp.besselk(0, x), 1, 8, [U(0, 3), U(1, 85), TINY32], [U(0, 3), U(1, 735), TINY64],
           None),
    "k1": (lambda x: mp.besselk(1, x), 1, 8, [U(0, 3), U(1, 85), L(1e-36, 1)],
           [U(0, 3), U(1, 735), TINY64], None),
    "k0e": (lambda x: mp.exp(x) * mp.besselk(0, x), 1, 8, [U(0, 3), L(1, 1e4)],
            [U(0, 3), L(1, 1e4), TINY64], None),
    "k1e": (lambda x: mp.exp(x) * mp.besselk(1, x), 1, 8, [U(0, 3), L(1, 1e4)],
            [U(0, 3), L(1, 1e4), TINY64], None),
    "exp1": (mp.e1, 1, 8, [U(0, 3), U(2, 88), TINY32], [U(0, 3), U(2, 740), TINY64], None),
    "expi": (mp.ei, 1, 8, [U(-3, 30), U(0.3, 0.5), U(-80, 90), TINY32],
             [U(-3, 30), U(0.3, 0.5), U(-740, 715), TINY64], None),
}


def hurwitz(s, q):
    with mp.workdps(150):  # mpmath's error is absolute
        return mp.zeta(s, q)


def betaln(a, b):
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def incomplete(a, x, upper):
    """By the series, or by the continued fraction with Lentz's method."""
    with mp.workdps(40):
        power = mp.exp(a * mp.log(x) - x - mp.loggamma(a + 1))
        small = mp.mpf(10) ** -38
        if x < a + 1 or x < 2:
            total, term, k = mp.mpf(0), mp.mpf(1), 0
            while term > small * total:
                total += term
                k += 1
                term *= x / (a + k)
            lower = power * total
            return 1 - lower if upper else lower
        d = 1 / (x + 1 - a)
        c, h, k = mp.mpf(10) ** 300, d, 0
        while True:
            k += 1
            n, b = -k * (k - a), x + 1 - a + 2 * k
            d = 1 / (n * d + b)
            c = b + n / c
            h *= d * c
            if abs(d * c - 1) < small:
                break
        above = power * a * h
        return above if upper else 1 - above


def logaddexp(x, y, base):
    big, small = max(x, y), min(x, y)
    return big + mp.log1p(base ** (small - big)) / mp.log(base)


# name: function, bounds, segments of the first operand, of the second, size or None
BINARY = {
    "hypot": (mp.hypot, 5, 5, [U(-5, 5), L(1e-30, 1e30)], [U(-5, 5), L(1e-30, 1e30)], None),
    "logaddexp": (lambda x, y: logaddexp(x, y, mp.e), 5, 5, [U(-5, 5), U(-200, 200)],
                  [U(-5, 5), U(-200, 200)], lambda x, y: max(abs(x), abs(y))),
    "logaddexp2": (lambda x, y: logaddexp(x, y, mp.mpf(2)), 5, 5, [U(-5, 5), U(-200, 200)],
                   [U(-5, 5), U(-200, 200)], lambda x, y: max(abs(x), abs(y))),
    "xlogy": (lambda x, y: x * mp.log(y) if x else mp.mpf(0), 5, 5, [U(-5, 5)], [L(1e-30, 1e30)], None),
    "xlog1py": (lambda x, y: x * mp.log1p(y) if x else mp.mpf(0), 5, 5, [U(-5, 5)],
                [U(-0.99, 5), L(1e-30, 1e30)], None),
    "hurwitz": (hurwitz, 1, 40, [U(1, 3), L(1.1, 40)], [L(0.01, 1e3)], None),
    "betaln": (betaln, 1, 16, [U(0, 20), L(1e-3, 1e6)], [U(0, 20), L(1e-3, 1e6)],
               lambda a, b: max(abs(betaln(a, b)), mp.mpf(1))),
    "beta": (mp.beta, 1, 500, [U(0, 20), L(1e-3, 30)], [U(0, 20), L(1e-3, 30)], None),
}


def near_a():
    """a, and an x about which there is something to say."""
    a = math.exp(rng.uniform(math.log(1e-3), math.log(2e4)))
    return [a, max(a * (1 + rng.gauss(0, 1) * rng.choice([3, 1]) / math.sqrt(a)), a * rng.uniform(0.01, 1))
            if rng.random() < 0.8 else a * rng.uniform(0.1, 3)]


def near_mean():
    """a and b, of which one is at most 1000, and an x about which there is something to say."""
    a, b = (math.exp(rng.uniform(math.log(0.01), math.log(1000))) for _ in range(2))
    if rng.random() < 0.2:
        a *= 30
    mean, width = a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b)
    x = mean + width * rng.gauss(0, 2) if rng.random() < 0.7 else rng.random()
    return [a, b, x] if 0 < x < 1 else [a, b, mean]


def betainc(a, b, x):
    """x^a (1 - x)^b / (a B(a, b)) times the sum of (a + b)_k / (a + 1)_k x^k, or 1 minus that of the
    other side."""
    if x * (a + b + 2) > a + 1:
        return 1 - betainc_below(b, a, 1 - x)
    return betainc_below(a, b, x)


def betainc_below(a, b, x):
    power = mp.exp(a * mp.log(x) + b * mp.log1p(-x) - betaln(a, b)) / a
    total, term, k = mp.mpf(0), mp.mpf(1), 0
    while term > mp.mpf(10) ** -38 * total:
        total += term
        term *= (a + b + k) / (a + 1 + k) * x
        k += 1
    return power * total


def slope(f, x):
    """The derivative of a function that is known to 40 digits."""
    h = x * mp.mpf(10) ** -11
    return (f(x + h) - f(x - h)) / (2 * h)


def gammainc_by_a(a, x):
    upper = x > a
    return slope(lambda p: incomplete(p, x, upper), a) * (-1 if upper else 1)


def betainc_by(a, b, x, by_a):
    if x * (a + b + 2) > a + 1:
        return -betainc_by(b, a, 1 - x, not by_a)
    return slope(lambda p: betainc_below(p, b, x), a) if by_a else \
        slope(lambda p: betainc_below(a, p, x), b)


def root_of(log_share, target, log_slope, low, high):
    """The u with log_share(u) = log(target), which rises, by bisection and then Newton's method."""
    wanted = mp.log(target)
    for _ in range(24):
        middle = (low + high) / 2
        if log_share(middle) < wanted:
            low = middle
        else:
            high = middle
    u = low  # from there a concave function has no overshoot
    for _ in range(12):
        value = log_share(u)
        step = (value - wanted) / mp.exp(log_slope(u) - value)
        u -= step
        if abs(step) < mp.mpf(10) ** -30:
            break
    return u


def gammaincinv(a, p, upper=False):
    """By the share below, as a function of log(x)."""
    share = 1 - p if upper else p
    lowest = (mp.log(share) + mp.loggamma(a + 1)) / a  # x^a / gamma(a + 1) is above the share
    return mp.exp(root_of(lambda u: mp.log(incomplete(a, mp.exp(u), False)), share,
                          lambda u: a * u - mp.exp(u) - mp.loggamma(a),
                          lowest, max(lowest, mp.log(a + 60 * mp.sqrt(a) + 800))))


def betaincinv(a, b, p):
    """By the share below, as a function of log(x / (1 - x))."""
    def x(u):
        return 1 / (1 + mp.exp(-u))

    def log_slope(u):
        return a * mp.log(x(u)) + b * mp.log1p(-x(u)) - betaln(a, b)

    span = 40 + 800 / min(a, b)
    return x(root_of(lambda u: mp.log(betainc(a, b, x(u))), p, log_slope, -span, mp.mpf(40)))


def with_share(operands):
    """The parameters, and a share in place of x, in a tail now and then."""
    share = rng.random() if rng.random() < 0.7 else math.exp(rng.uniform(math.log(1e-30), 0))
    return operands[:-1] + [share]


def of_beta():
    return with_share([math.exp(rng.uniform(math.log(0.05), math.log(900))) for _ in range(3)])


TUPLES = {
    "gammainc": (lambda a, x: incomplete(a, x, False), 1, 2000, near_a),
    "gammaincc": (lambda a, x: incomplete(a, x, True), 1, 2000, near_a),
    "betainc": (betainc, 1, 20000, near_mean),
    "gammaincinv": (gammaincinv, 1, 2000, lambda: with_share(near_a())),
    "gammainccinv": (lambda a, q: gammaincinv(a, q, True), 1, 2000, lambda: with_share(near_a())),
    "betaincinv": (betaincinv, 1, 2000, of_beta),
    "gammainc_by_a": (gammainc_by_a, 1, 2000, near_a),
    "betainc_by_a": (lambda a, b, x: betainc_by(a, b, x, True), 1, 200000, near_mean),
    "betainc_by_b": (lambda a, b, x: betainc_by(a, b, x, False), 1, 200000, near_mean),
    "zeta_by_s": (lambda s, q: slope(lambda p: hurwitz(p, q), s), 1, 40,
                  lambda: [rng.uniform(1.05, 30), math.exp(rng.uniform(-4, 6))]),
}


def line(f, operands, size):
    exact = mp.mpf(f(*[mp.mpf(x) for x in operands]))
    rounded = float(exact)
    rest = 0
    if math.isfinite(rounded):
        rest = int(mp.nint(1000 * (exact - mp.mpf(rounded)) / mp.mpf(math.ulp(rounded))))
    parts = [repr(x) for x in operands] + [repr(rounded), str(rest)]
    if size is not None:
        parts.append("%.3g" % float(size(*[mp.mpf(x) for x in operands])))
    return " ".join(parts)


def main():
    for name, (f, bound32, bound64, segments32, segments64, size) in UNARY.items():
        print(name, 1, bound32, bound64)
        for k in range(COUNT):
            print(line(f, [to_f32(draw(segments32[k % len(segments32)]))], size))
        for k in range(COUNT):
            print(line(f, [draw(segments64[k % len(segments64)])], size))
    for name, (f, bound32, bound64, first, second, size) in BINARY.items():
        print(name, 2, bound32, bound64)
        for k in range(2 * COUNT):
            x, y = draw(rng.choice(first)), draw(rng.choice(second))
            operands = [to_f32(x), to_f32(y)] if k < COUNT else [x, y]
            print(line(f, operands, size))
    for name, (f, bound32, bound64, draw_operands) in TUPLES.items():
        print(name, len(draw_operands()), bound32, bound64)
        for k in range(2 * COUNT):
            operands = draw_operands()
            print(line(f, [to_f32(x) for x in operands] if k < COUNT else operands, None))


main()
