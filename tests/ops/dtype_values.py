# Writes dtype_values.txt: NumPy's promotion, conversions and arithmetic of every dtype; ml_dtypes has
# bfloat16.   python3 tests/ops/dtype_values.py > tests/ops/dtype_values.txt
import warnings
from fractions import Fraction

import ml_dtypes
import numpy as np

warnings.simplefilter("ignore")
dtypes = {"boolean": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
          "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
          "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64}
names = {np.dtype(t): name for name, t in dtypes.items()}
floats = ["f16", "bf16", "f32", "f64"]
integers = [n for n in dtypes if n[0] in "iu"]


def text(x):
    if isinstance(x, (bool, np.bool_)):
        return str(int(x))
    if isinstance(x, (int, np.integer)):
        return str(int(x))
    return float(x).hex()


def info(name):
    return ml_dtypes.finfo(dtypes[name])


def rounded(x, name):  # a Fraction as the nearest number of a dtype of 16 bits, of two the even one
    digits, lowest = {"f16": (11, -24), "bf16": (8, -133)}[name]
    if x == 0:
        return 0.0
    exponent = 0
    size = abs(x)
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while size < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - digits + 1, lowest)
    whole = size / unit
    count = whole.numerator // whole.denominator
    rest = whole - count
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and count % 2 == 1):
        count += 1
    size = count * unit
    if size > Fraction(float(info(name).max)):
        return float("inf") if x > 0 else float("-inf")
    return float(size) if x > 0 else -float(size)


def converted(value, source, target):
    if target == "boolean":
        return np.bool_(value != 0)
    if source in floats and target in integers:
        if np.isnan(value):
            return 0
        value = float(value)
        low, high = int(np.iinfo(dtypes[target]).min), int(np.iinfo(dtypes[target]).max)
        return low if value <= low else high if value >= high else int(value)
    if source == "f64" and target in ("f16", "bf16"):
        x = float(value)
        if x != x or x in (float("inf"), float("-inf")):
            return x
        result = rounded(Fraction(x), target)
        return -0.0 if result == 0 and str(x)[0] == "-" else result
    if source not in floats and target in ("f16", "bf16"):
        return np.float32(value).astype(dtypes[target])
    return np.asarray(value, dtypes[source]).astype(dtypes[target])[()]


def samples(name):
    t = dtypes[name]
    if name == "boolean":
        return [np.bool_(False), np.bool_(True)]
    if name in integers:
        low, high = int(np.iinfo(t).min), int(np.iinfo(t).max)
        near = [low, low + 1, high, high - 1, high // 2, 0, 1, 2, 3, 7, 100, 255, 256, 257, 300, 2049,
                2051, 4097, 65519, 65520, 65536, 16777217, 16777219, 2**31, 2**32 + 5, 2**53 + 1,
                2**62 + 2**54 + 1, 2**63 - 1, 2**63]
        near += [-x for x in near]
        return [t(x) for x in dict.fromkeys(near) if low <= x <= high]
    i = info(name)
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, 0.1, -0.9, 3.7, 127.5, 128.0, -128.5, 255.5, 256.0,
              1 + 2.0**-8, 1 + 2.0**-9, 1 + 3 * 2.0**-9, 1 + 2.0**-11, 1 + 3 * 2.0**-11,
              1 + 2.0**-9 + 2.0**-40, 1 + 2.0**-11 + 2.0**-45, 1 + 2.0**-9 - 2.0**-45,
              2.0**-14, 2.0**-15 * 1.25, 2.0**-24, 2.0**-25, 2.0**-25 * 1.25, 2.0**-26, 2.0**-133,
              2.0**-134, 2.0**-134 * 1.5, -(2.0**-140), 65503.0, 65504.0, 65519.0, 65520.0, -65536.0,
              1e10, -1e20, 3.38e38, 3.395e38, 3.4e38, 2.0**31, 2.0**32, 2.0**63, 2.0**64, -(2.0**63),
              -(2.0**70), float("inf"), float("-inf"), float("nan"), float(i.max), float(i.min),
              float(i.smallest_subnormal), float(i.tiny)]
    kept, seen = [], set()
    for v in values:
        x = np.asarray(v, np.float64).astype(t)[()]
        if text(x) not in seen:
            seen.add(text(x))
            kept.append(x)
    return kept


def line(*words):
    print(" ".join(str(w) for w in words))


for a in dtypes:
    for b in dtypes:
        try:
            line("promote", a, b, names[np.promote_types(dtypes[a], dtypes[b])])
        except (TypeError, np.exceptions.DTypePromotionError):
            line("promote", a, b, "none")

for source in dtypes:
    given = samples(source)
    for target in dtypes:
        line("cast", source, target, len(given), *[text(x) for x in given],
             *[text(converted(x, source, target)) for x in given])

functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "floor_div": np.floor_divide,
             "mod": np.remainder, "maximum": np.maximum, "minimum": np.minimum, "fmod": np.fmod,
             "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
             "div": np.divide, "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or,
             "bitwise_xor": np.bitwise_xor, "gcd": np.gcd}
of_floats = {"add", "sub", "mul", "div", "maximum", "minimum", "eq", "ne", "lt", "le", "floor_div",
             "mod"}
for name in integers + floats:
    t = dtypes[name]
    if name in integers:
        some = [x for x in samples(name) if abs(int(x)) < 400 or x in (np.iinfo(t).min, np.iinfo(t).max)]
    else:
        some = [t(x) for x in (0.0, -0.0, 1.0, -1.5, 0.1, 3.7, -100.0, 250.0, 6e-8, 1e-5, 1e4, 6e4,
                               float("inf"), float("nan"))]
    pairs = [(x, y) for k, x in enumerate(some) for y in some[k % 3::3]]
    x = np.array([p[0] for p in pairs], t)
    y = np.array([p[1] for p in pairs], t)
    for function in functions:
        if name in floats and function not in of_floats or name in integers and function == "div":
            continue
        if function in ("floor_div", "mod") and name in floats:
            # Exact rests as NumPy has them; by infinities and zeros conventions differ.
            use = np.isfinite(x.astype(np.float64)) & np.isfinite(y.astype(np.float64)) & (y != 0)
            use &= (np.abs(x.astype(np.float64) / y.astype(np.float64)) < 200)
        elif function == "gcd":  # of the lowest number it is not one of the dtype
            use = ((x != np.iinfo(t).min) & (y != np.iinfo(t).min)) | (np.iinfo(t).min == 0)
        else:
            use = np.ones(len(x), bool)
        z = functions[function](x[use], y[use])
        line("op", function, name, use.sum(), *[text(v) for v in x[use]], *[text(v) for v in y[use]],
             *[text(v) for v in z])
    if name in integers:
        for function, of in (("sum", np.sum), ("prod", np.prod), ("cumsum", np.cumsum)):
            result = np.atleast_1d(of(x))
            line("reduce", function, name, names[result.dtype], len(x), *[text(v) for v in x],
                 len(result), *[text(v) for v in result])
