"""Values and gradients of elementwise and special functions and activations, from PyTorch in f64.

    python3 tests/special/gradient_values.py > tests/special/gradient_values.txt

needs torch. A block begins with a name and the number of operands; its lines have the operands, the
value, and the gradient by each operand. Kinks where PyTorch decides otherwise than the comments of
elementwise.h say are left out.
"""
import math
import random

import torch
import torch.nn.functional as F

rng = random.Random(2)
S = torch.special
INF, NAN = math.inf, math.nan


def block(name, f, points):
    count = len(points[0])
    print(name, count)
    for point in points:
        operands = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point]
        y = f(*operands)
        gradients = torch.autograd.grad(y, operands, allow_unused=True)
        numbers = [0.0 if g is None else g.item() for g in gradients]
        print(*[repr(float(x)) for x in point], repr(y.item()), *[repr(x) for x in numbers])


def some(low, high, *more, count=20):
    return [(x,) for x in more] + [(rng.uniform(low, high),) for _ in range(count)]


def pairs(a, b, *more, count=30):
    return list(more) + [(rng.uniform(*a), rng.uniform(*b)) for _ in range(count)]


SIDES = [0.0, 0.5, -0.5, 1.0, -1.0, 20.0, -20.0]
block("celu", F.celu, some(-4, 4, *SIDES))
block("celu half", lambda x: F.celu(x, 0.5), some(-4, 4, *SIDES))
block("hard_swish", F.hardswish, some(-5, 5, 0.0, 2.9, -2.9, 20.0))
block("hardtanh", F.hardtanh, some(-3, 3, 0.0, 20.0))
block("hardtanh 2", lambda x: F.hardtanh(x, -2, 0.5), some(-3, 3, 0.0, 20.0))
block("hardshrink", F.hardshrink, some(-2, 2, 0.0, 0.5, -0.5, 20.0))
block("softshrink", F.softshrink, some(-2, 2, 0.0, 0.5, -0.5, 20.0))
block("tanhshrink", F.tanhshrink, some(-4, 4, 0.0, 20.0, -20.0))
block("logsigmoid", F.logsigmoid, some(-4, 4, 0.0, 800.0, -800.0))
block("threshold", lambda x: F.threshold(x, 0.5, -7), some(-2, 2, 0.5))
for name in ("tan", "sinh", "cosh", "asinh", "exp2", "expm1", "frac", "rsqrt", "log2", "log10"):
    low, high = (0.1, 5) if name in ("rsqrt", "log2", "log10") else (-1.5, 1.5)
    block(name, getattr(torch, name), some(low, high, 1.0))
block("acosh", torch.acosh, some(1.1, 9))
block("atanh", torch.atanh, some(-0.99, 0.99, 0.0))
block("sinc", torch.sinc, some(-4, 4, 0.0))
for name, low, high in (("erfc", -4, 5), ("erfcx", -4, 9), ("erfinv", -0.99, 0.99), ("ndtr", -6, 6),
                        ("log_ndtr", -12, 6), ("ndtri", 0.01, 0.99), ("gammaln", 0.1, 20),
                        ("digamma", 0.1, 20), ("i0", -6, 6), ("i1", -6, 6), ("i0e", 0.1, 9),
                        ("i1e", 0.1, 9)):
    block(name, getattr(S, name), some(low, high))
for n in (1, 2, 3):
    block(f"polygamma {n}", lambda x, n=n: S.polygamma(n, x), some(0.1, 9))
ANY = (-5, 5)
block("hypot", torch.hypot, pairs(ANY, ANY, (3.0, 0.0)))
block("logaddexp", torch.logaddexp, pairs(ANY, ANY, (1.0, 1.0), (-INF, 2.0)))
block("logaddexp2", torch.logaddexp2, pairs(ANY, ANY, (1.0, 1.0)))
block("xlogy", torch.xlogy, pairs(ANY, (0.1, 5), (0.0, 2.0)))
block("xlog1py", S.xlog1py, pairs(ANY, (-0.9, 5), (0.0, 2.0)))
block("copysign", torch.copysign, pairs(ANY, ANY, (0.0, 1.0), (2.0, -0.0)))
block("fmod", torch.fmod, pairs(ANY, ANY))
block("remainder", torch.remainder, pairs(ANY, ANY))
block("fmax", torch.fmax, pairs(ANY, ANY, (NAN, 1.0), (2.0, NAN)))
block("fmin", torch.fmin, pairs(ANY, ANY, (NAN, 1.0), (2.0, NAN)))
