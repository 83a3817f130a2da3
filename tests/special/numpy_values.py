"""Values of the elementwise functions at special numbers and on integers, from NumPy, and of the
special functions at special numbers, from SciPy.

    python3 tests/special/numpy_values.py > tests/special/numpy_values.txt

needs numpy and scipy. A block begins with a function's name, the dtype of its operands, their number
and how far a value may be off, relative to it; its lines have the operands and the value. NaN meets
NaN, and zeros have their signs where nothing may be off.
"""
import itertools
import random

import numpy
import scipy.special

numpy.seterr(all="ignore")
rng = random.Random(3)
INF, NAN = float("inf"), float("nan")
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 7.25, 1e30, -1e-30, INF, -INF, NAN]


def text(x):
    return repr(x.item() if hasattr(x, "item") else x).replace("True", "1").replace("False", "0")


def block(name, dtype, f, operands, tolerance=0):
    count = len(operands[0])
    print(name, dtype, count, tolerance)
    kind = {"f32": numpy.float32, "f64": numpy.float64, "i32": numpy.int32, "i64": numpy.int64}[dtype]
    for line in operands:
        arguments = [numpy.array([x], dtype=kind) for x in line]
        print(*[text(a[0]) for a in arguments], text(f(*arguments)[0]))


def floats_of_one():
    more = NUMBERS + [rng.uniform(-9, 9) for _ in range(40)]
    return [(x,) for x in more]


def floats_of_two():
    return list(itertools.product(NUMBERS, NUMBERS)) + \
        [(rng.uniform(-9, 9), rng.uniform(-4, 4)) for _ in range(40)]


def whole(low, high, count):
    return [rng.randint(low, high) for _ in range(count)]


for dtype in ("f32", "f64"):
    one, two = floats_of_one(), floats_of_two()
    for name, f in {
        "trunc": numpy.trunc, "round": numpy.round, "isnan": numpy.isnan, "isinf": numpy.isinf,
        "isfinite": numpy.isfinite, "signbit": numpy.signbit, "nan_to_num": numpy.nan_to_num,
        "exp2": numpy.exp2, "log2": numpy.log2, "log10": numpy.log10,
    }.items():
        exact = name[:3] not in ("exp", "log")
        block(name, dtype, f, one, 0 if exact else 4e-7 if dtype == "f32" else 1e-15)
    for name, f in {
        "fmod": numpy.fmod, "remainder": numpy.remainder, "copysign": numpy.copysign,
        "nextafter": numpy.nextafter, "fmax": numpy.fmax, "fmin": numpy.fmin,
        "heaviside": numpy.heaviside,
    }.items():
        chosen = two
        if name in ("fmax", "fmin"):  # which zero is larger is open
            chosen = [(x, y) for x, y in two if not x == y == 0]
        if name in ("remainder", "fmod"):
            chosen = [(x, y) for x, y in two if not abs(x) >= 1e30 or not abs(y) <= 1e-30]
        block(name, dtype, f, chosen)
    near = 1e-6 if dtype == "f32" else 1e-14
    block("hypot", dtype, numpy.hypot, two, near)
    block("logaddexp", dtype, numpy.logaddexp, two, near)
    block("logaddexp2", dtype, numpy.logaddexp2, two, near)
    block("xlogy", dtype, scipy.special.xlogy, two, near)
    block("xlog1py", dtype, scipy.special.xlog1py, two, near)
    for name in ("tan", "sinh", "cosh", "cbrt"):
        block(name, dtype, getattr(numpy, name), [(x,) for (x,) in one if not 1e29 < abs(x) < INF or name == "cbrt"], near)
    for name, numpy_name in {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}.items():
        block(name, dtype, getattr(numpy, numpy_name), one, near)

for dtype, bits in (("i32", 31), ("i64", 63)):
    low, high = -2 ** bits, 2 ** bits - 1
    special = [0, 1, -1, 2, -7, 12, high, low, low + 1, 0x5a5a5a5]
    pairs = list(itertools.product(special, special)) + \
        list(zip(whole(low, high, 40), whole(low, high, 40))) + \
        list(zip(whole(-999, 999, 40), whole(-999, 999, 40)))
    one = [(x,) for x in special + whole(low, high, 40)]
    shifts = [(x, n) for x in special for n in (0, 1, 5, bits - 1, bits, bits + 1, 100, -1)]
    for name, f in {"bitwise_and": numpy.bitwise_and, "bitwise_or": numpy.bitwise_or,
                    "bitwise_xor": numpy.bitwise_xor, "gcd": numpy.gcd, "fmod": numpy.fmod,
                    "remainder": numpy.remainder}.items():
        block(name, dtype, f, pairs)
    block("lcm", dtype, numpy.lcm, [(x, y) for x, y in pairs if max(abs(x), abs(y)) < 2 ** 15])
    block("bitwise_not", dtype, numpy.invert, one)
    block("bitwise_count", dtype, numpy.bitwise_count, one)
    block("left_shift", dtype, numpy.left_shift, shifts)
    block("right_shift", dtype, numpy.right_shift, shifts)
    block("integer_power", dtype, numpy.power,
          [(x, n) for x in special for n in (0, 1, 2, 3, 10, 31, 100)])

special = scipy.special
POINTS = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 0.5, -0.5, 10.0, -10.5, 50.0, 1e300, 5e-324, INF, -INF,
          NAN]
# Left out: where SciPy's answer is an accident of its formula, not the function's limit.
LEFT_OUT = {"gammaln": [-INF], "j1": [], "i0": [INF, -INF], "i1": [INF, -INF, 5e-324], "digamma": [-INF],
            "y0": [1e300], "y1": [1e300, 5e-324], "j0": [1e300], "exp1": [], "k0e": [5e-324], "k1e": [5e-324], "sinc": [INF, -INF, 1e300, 1.0, -1.0, 2.0, -2.0, 3.0, 10.0, 50.0],
            "i1e": [5e-324],
            "trigamma": [-INF, 5e-324, 1e300], "zeta": [0.0, -0.0, -1.0, -2.0, 0.5, -0.5, -10.5, 5e-324, -INF]}
LEFT_OUT["j1"] = [1e300]
for name, f in {
    "erfc": special.erfc, "erfcx": special.erfcx, "erfinv": special.erfinv,
    "erfcinv": special.erfcinv, "ndtr": special.ndtr, "log_ndtr": special.log_ndtr,
    "ndtri": special.ndtri, "gammaln": special.gammaln, "gamma": special.gamma,
    "digamma": special.digamma, "trigamma": lambda x: special.polygamma(1, x), "zeta": special.zeta,
    "j0": special.j0, "j1": special.j1, "y0": special.y0, "y1": special.y1, "i0": special.i0,
    "i1": special.i1, "i0e": special.i0e, "i1e": special.i1e, "exp1": special.exp1, "k0": special.k0,
    "k1": special.k1, "k0e": special.k0e, "k1e": special.k1e,
    "expi": special.expi, "sinc": numpy.sinc, "log1mexp": lambda x: numpy.where(x > 0.7, numpy.log1p(-numpy.exp(-x)),
                                                             numpy.log(-numpy.expm1(-x))),
}.items():
    points = [(x,) for x in POINTS if x not in LEFT_OUT.get(name, [])]
    block(name, "f64", f, points, 1e-12)

EDGES = [0.0, 1e-300, 1e-5, 0.5, 1.0, 2.5, 8.0, 30.0, 1e3, -1.0, INF, NAN]
for name, f in {"gammainc": special.gammainc, "gammaincc": special.gammaincc}.items():
    pairs = [(a, x) for a in EDGES for x in EDGES]
    # SciPy's answers beside 1e-300 have the errors of a logarithm of it.
    block(name, "f64", f, [(a, x) for a, x in pairs if 1e-300 not in (a, x)], 3e-12)
block("betaln", "f64", special.betaln,
      [(a, b) for a in EDGES for b in EDGES if min(a, b) > 0 and max(a, b) < INF], 1e-11)
