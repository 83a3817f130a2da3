"""Values and gradients of products and linear algebra, from PyTorch.

    python3 tests/ops/linalg_values.py > tests/ops/linalg_values.txt

needs torch. Operands are small whole numbers in f64. A line has the function, its argument or -,
the operands' shapes (s: a scalar), and for the result and the gradient of each operand two sums over
the elements, weighted by their positions. The gradient is that of such a sum. test_linalg_values.cpp
makes the same operands and compares.
"""
import random
import warnings

import numpy
import torch

from convolution_values import operand

warnings.filterwarnings("ignore")


def sums(t):
    flat = t.detach().contiguous().reshape(-1).double().numpy()
    i = numpy.arange(flat.size)
    return [float(numpy.sum(flat * (i % 11 - 5))), float(numpy.sum(flat * (i % 17 + 1)))]


def weighted(t):
    flat = t.reshape(-1)
    return (flat * (torch.arange(flat.numel()) % 7 - 2.5)).sum()


def eye(x):
    return torch.eye(x.shape[-1], dtype=x.dtype)


T = lambda x: x.transpose(-1, -2)


def regular(x):
    """Diagonally dominant, not symmetric; square."""
    return x + (3 * x.shape[-1] + 1) * eye(x)


def definite(x):
    return x @ T(x) / 4 + eye(x)


def spread(x):
    """Symmetric, eigenvalues apart."""
    n = x.shape[-1]
    return (x + T(x)) / (8 * n + 1) + torch.diag(torch.arange(n, dtype=x.dtype))


def apart(x):
    """Singular values apart."""
    m, n = x.shape[-2:]
    d = torch.zeros(m, n, dtype=x.dtype)
    for k in range(min(m, n)):
        d[k, k] = k + 1
    return x / (8 * (m + n)) + d


def eigh_part(x):
    w, v = torch.linalg.eigh(spread(x))
    return (v * torch.cos(w).unsqueeze(-2)) @ T(v) + (v * v)


def svd_part(x):
    u, s, vh = torch.linalg.svd(apart(x), full_matrices=False)
    return (u * torch.sin(s).unsqueeze(-2)) @ vh + (u * s.unsqueeze(-2)) @ T(u).sum(-1, keepdim=True)


def qr_part(x):
    q, r = torch.linalg.qr(apart(x))
    return (q * q).sum() + (r * r).reshape(-1)


def lu_part(x):
    return torch.linalg.lu_factor(regular(x).flip(-2))[0]


def triangular(variant):
    lower, transposed = variant // 2 == 1, variant % 2 == 1

    def solve(x, b):
        a = regular(x)
        a = torch.tril(a) if lower else torch.triu(a)
        return torch.linalg.solve_triangular(T(a) if transposed else a, b,
                                             upper=lower == transposed)

    return solve


SQUARE = {
    "cholesky": lambda x: torch.linalg.cholesky(definite(x)),
    "inv": lambda x: torch.linalg.inv(regular(x)),
    "det": lambda x: torch.linalg.det(regular(x) / (3 * x.shape[-1] + 1)),
    "logabsdet": lambda x: torch.linalg.slogdet(regular(x).flip(-1))[1],
    "sign": lambda x: torch.linalg.slogdet(regular(x).flip(-1))[0],
    "logdet": lambda x: torch.logdet(definite(x)),
    "lu": lu_part,
    "eigh": eigh_part,
    "eigvalsh": lambda x: torch.linalg.eigvalsh(spread(x)),
    "expm": lambda x: torch.linalg.matrix_exp(x / 4),
    "matrix_power3": lambda x: torch.linalg.matrix_power(x, 3),
    "matrix_power0": lambda x: torch.linalg.matrix_power(x, 0),
    "matrix_power-2": lambda x: torch.linalg.matrix_power(regular(x), -2),
    "norm1": lambda x: torch.linalg.matrix_norm(regular(x), 1),
    "norminf": lambda x: torch.linalg.matrix_norm(regular(x), float("inf")),
    "cond": lambda x: torch.linalg.cond(apart(x)),
    "cond1": lambda x: torch.linalg.cond(regular(x), 1),
    "trace": lambda x: torch.diagonal(x, dim1=-2, dim2=-1).sum(-1),
}
ANY = {
    "qr": qr_part,
    "svd": svd_part,
    "svdvals": lambda x: torch.linalg.svdvals(apart(x)),
    "pinv": lambda x: torch.linalg.pinv(apart(x)),
    "rank": lambda x: torch.linalg.matrix_rank(x).double(),
    "fro": lambda x: torch.linalg.matrix_norm(apart(x), "fro"),
    "nuc": lambda x: torch.linalg.matrix_norm(apart(x), "nuc"),
    "two": lambda x: torch.linalg.matrix_norm(apart(x), 2),
}


def emit(name, argument, shapes, function):
    xs = [operand(s, k + 1).requires_grad_() for k, s in enumerate(shapes)]
    try:
        y = function(*xs)
        grads = torch.autograd.grad(weighted(y), xs, allow_unused=True) if y.requires_grad else [
            None] * len(xs)
    except (RuntimeError, IndexError):
        return
    results = [y] + [torch.zeros_like(x) if g is None else g for g, x in zip(grads, xs)]
    numbers = [n for r in results for n in sums(r)]
    if not all(numpy.isfinite(numbers)):
        return
    text = lambda s: ",".join(map(str, s)) if s else "s"
    print(name, argument, ";".join(map(text, shapes)), " ".join(map(repr, numbers)))


def random_einsum(draw):
    letters = draw.sample("ijkLmn", draw.randint(1, 5))
    sizes = {c: draw.choice([0, 1, 2, 2, 3, 3, 4, 5]) for c in letters}
    if draw.random() < 0.8:
        sizes = {c: max(1, n) for c, n in sizes.items()}
    ellipsis = [draw.choice([1, 2, 3]) for _ in range(draw.randint(0, 2))] if draw.random() < 0.3 else None
    terms, shapes, used = [], [], []
    for _ in range(draw.choice([1, 2, 2, 2, 3, 3, 4, 5])):
        own = [draw.choice(letters) for _ in range(draw.randint(0, 3))]
        if draw.random() < 0.8:
            own = list(dict.fromkeys(own))
        used += own
        term, shape = "".join(own), [sizes[c] for c in own]
        if ellipsis is not None and draw.random() < 0.7:
            at = draw.randint(0, len(own))
            own_sizes = [n if draw.random() < 0.8 else 1 for n in ellipsis]
            own_sizes = own_sizes[draw.randint(0, len(own_sizes)):] if draw.random() < 0.3 else own_sizes
            term = term[:at] + "..." + term[at:]
            shape = shape[:at] + own_sizes + shape[at:]
        terms.append(term)
        shapes.append(shape)
    text = ",".join(terms)
    if draw.random() < 0.8:
        result = [c for c in dict.fromkeys(used) if draw.random() < 0.6]
        draw.shuffle(result)
        if "..." in text:
            result.insert(draw.randint(0, len(result)), "...")
        text += "->" + "".join(result)
    return text, shapes


def main():
    draw = random.Random(1)
    torch.set_default_dtype(torch.float64)
    for _ in range(240):
        text, shapes = random_einsum(draw)
        emit("einsum", text or "->", shapes, lambda *xs: torch.einsum(text, *xs))
    for axes, a, b in [(0, [2, 3], [3]), (1, [2, 3], [3, 4]), (2, [5, 2, 3], [2, 3, 4]), (2, [2, 3], [2, 3]),
                       (1, [2, 0], [0, 3])]:
        emit("tensordot", axes, [a, b], lambda x, y: torch.tensordot(x, y, axes))
    for left, right, a, b in [([0], [1], [3, 2], [4, 3]), ([2, 0], [0, 2], [2, 5, 3], [3, 4, 2]),
                              ([-1], [0], [2, 3], [3, 2]), ([1, 0], [1, 2], [2, 3], [4, 3, 2])]:
        text = "/".join(",".join(map(str, x)) for x in (left, right))
        emit("tensordot_lists", text, [a, b], lambda x, y: torch.tensordot(x, y, (left, right)))
    for a, b in [([3], [3]), ([2, 3], [3]), ([2, 3], [4, 5, 3]), ([], [2, 3])]:
        emit("inner", "-", [a, b], torch.inner)
    for a, b in [([3], [4]), ([2, 3], [3, 2]), ([2], [3, 4]), ([2, 1, 3], [4, 2]), ([0, 2], [2, 3]), ([], [2])]:
        emit("kron", "-", [a, b], torch.kron)
    emit("vdot", "-", [[5], [5]], torch.vdot)
    for shapes in [[[2, 3], [3, 4]], [[3], [3, 4], [4]], [[2, 3], [3, 5], [5, 2]], [[3], [3, 5], [5, 2]],
                   [[4, 2], [2, 5], [5, 3], [3, 1], [1, 6]], [[2, 3]] + 9 * [[3, 3]]]:
        emit("multi_dot", "-", shapes, lambda *xs: torch.linalg.multi_dot(xs))
    for a, b, c in [([4, 2], [5, 2, 3], [4, 3]), ([2], [5, 2, 3], [3]), ([2, 4, 2], [1, 2, 3], [2, 4, 3])]:
        emit("bilinear", "-", [a, b, c],
             lambda x, w, z: torch.einsum("...i,kij,...j->...k", x, w, z))
    turn = 0
    for n in [0, 1, 2, 3, 5, 12, 13, 17]:
        def batch():
            nonlocal turn
            turn += 1
            return [[], [3], [2, 2]][turn % 3]

        # The largest that are written out element by element take a second each to compile.
        few = n == 12
        for name, f in SQUARE.items():
            if few and name in ["matrix_power-2", "cond1", "expm", "logabsdet", "norm1", "norminf"]:
                continue
            emit(name, "-", [batch() + [n, n]], f)
        for m in [n + 2, max(n - 1, 0)]:
            for name, f in ANY.items():
                emit(name, "-", [batch() + [n, m]], f)
            b = batch()
            emit("lstsq", "-", [b + [n, m], b + [n, 2]], lambda x, y: torch.linalg.pinv(apart(x)) @ y)
        for columns in [1] if few else [1, 3, 14]:
            b = batch()
            shapes = [b + [n, n], b + [n, columns]]
            emit("solve", "-", shapes, lambda x, y: torch.linalg.solve(regular(x), y))
            emit("solve_definite", "-", shapes, lambda x, y: torch.linalg.solve(definite(x), y))
        for variant in [1] if few else range(4):
            b = batch()
            emit("solve_triangular", variant, [b + [n, n], b + [n, 2]], triangular(variant))
        emit("solve_vector", "-", [batch() + [n, n], [n]],
             lambda x, b: torch.linalg.solve(regular(x), b.unsqueeze(-1)).squeeze(-1))
        emit("tridiagonal", "-", 4 * [batch() + [n]], tridiagonal)
    for n in [1, 3, 5, 13]:
        for lower, upper in [(0, 0), (1, 2), (2, 1), (3, 0)]:
            b = batch()
            emit("solve_banded", f"{lower},{upper}", [b + [lower + upper + 1, n], b + [n, 2]],
                 banded(lower, upper))
    for m, n in [(1, 2), (2, 3), (3, 3), (4, 9), (3, 14)]:
        emit("null_projection", m, [batch() + [m, n]], null_projection)


def banded(lower, upper):
    """Of the diagonals as scipy.linalg.solve_banded takes them."""

    def solve(ab, b):
        n = ab.shape[-1]
        matrix = 9 * torch.eye(n, dtype=ab.dtype)
        for row in range(lower + upper + 1):
            below = row - upper
            if abs(below) < n:
                elements = ab[..., row, :n - below] if below >= 0 else ab[..., row, -below:]
                matrix = matrix + torch.diag_embed(elements, -below)
        return torch.linalg.solve(matrix, b)

    return solve


def null_projection(x):
    a = apart(x)
    return torch.eye(x.shape[-1], dtype=x.dtype) - torch.linalg.pinv(a) @ a


def tridiagonal(a, d, c, b):
    n = d.shape[-1]
    matrix = torch.diag_embed(d + 9)
    if n > 1:
        matrix = matrix + torch.diag_embed(a[..., 1:], -1) + torch.diag_embed(c[..., :-1], 1)
    return torch.linalg.solve(matrix, b.unsqueeze(-1)).squeeze(-1)


if __name__ == "__main__":
    main()
