"""Values and gradients of sparse matrices, from SciPy and PyTorch.

    python3 tests/ops/sparse_values.py > tests/ops/sparse_values.txt

needs scipy and torch. Elements in the order of coordinates, several at one place among them, and
operands are small whole numbers in f64. A line has the function, rows, columns, the number of
elements and the width of the dense operand (-1: a vector), and two sums over the elements, weighted
by their positions, of the result, of the gradient by the values and of that by the dense operand.
The gradient is that of such a sum. test_sparse.cpp makes the same operands and compares.
"""
import numpy
import scipy.sparse
import torch

from convolution_values import operand
from linalg_values import sums, weighted


def places(count, size, seed):
    return [(k * 2654435761 + seed * 40503) % 2**32 // 2**16 % size for k in range(count)]


def matrix(rows, columns, count, seed):
    """A torch matrix of values that have gradients, its pattern, and SciPy's."""
    i, j = places(count, rows, seed), places(count, columns, seed + 1)
    values = operand([count], seed + 2).requires_grad_()
    flat = torch.tensor([a * columns + b for a, b in zip(i, j)], dtype=torch.int64)
    dense = torch.zeros(rows * columns, dtype=torch.float64).index_add(0, flat, values)
    pattern = torch.zeros(rows * columns, dtype=torch.bool)
    pattern[flat] = True
    peer = scipy.sparse.coo_array((values.detach().numpy(), (i, j)), shape=(rows, columns)).tocsr()
    return values, dense.reshape(rows, columns), pattern.reshape(rows, columns), peer


def vectors(size, width, seed):
    return operand([size] if width < 0 else [size, width], seed).requires_grad_()


def softmax(a, pattern):
    return torch.where(pattern, torch.softmax(torch.where(pattern, a, -torch.inf), 1), 0.0)


def case(name, rows, columns, count, width):
    values, a, pattern, peer = matrix(rows, columns, count, 1)
    x = None
    if name == "dot":
        x = vectors(columns, width, 9)
        y, check = a @ x, peer @ x.detach().numpy()
    elif name == "left":
        x = vectors(rows, width, 9)
        y = x @ a if width < 0 else x.T @ a
        check = x.detach().numpy().T @ peer
    elif name == "transposed":
        x = vectors(rows, width, 9)
        y, check = a.T @ x, peer.T.tocsr() @ x.detach().numpy()
    elif name == "to_dense":
        y, check = a, peer.toarray()
    elif name in ("sum", "sum0", "sum1"):
        axis = None if name == "sum" else int(name[3])
        y, check = (a.sum() if axis is None else a.sum(axis)), peer.sum(axis=axis)
    elif name == "diagonal":
        y, check = torch.diagonal(a), peer.diagonal()
    elif name == "scale_rows":
        x = vectors(rows, -1, 9)
        y, check = x[:, None] * a, (scipy.sparse.diags_array(x.detach().numpy()) @ peer).toarray()
    elif name == "scale_columns":
        x = vectors(columns, -1, 9)
        y, check = a * x, (peer @ scipy.sparse.diags_array(x.detach().numpy())).toarray()
    elif name == "add":
        x, b, _, other = matrix(rows, columns, count // 2, 5)
        y, check = a + b, (peer + other).toarray()
    elif name == "product":
        x, b, _, other = matrix(columns, rows + 2, count, 5)
        y, check = a @ b, (peer @ other).toarray()
    elif name == "sampled":
        x = vectors(columns, width, 9)
        left = operand([rows, width], 8)
        y = torch.where(pattern, left @ x.T, 0.0)
        check = (left.numpy() @ x.detach().numpy().T) * pattern.numpy()
    elif name == "softmax":
        y, check = softmax(a / 3, pattern), None
    if check is not None:
        numpy.testing.assert_allclose(numpy.asarray(check), y.detach().numpy(), rtol=1e-12, atol=1e-12)
    wrt = [values] if x is None else [values, x]
    gradients = torch.autograd.grad(weighted(y), wrt, allow_unused=True)
    numbers = sums(y)
    for of, g in zip(wrt, gradients):
        numbers += sums(torch.zeros_like(of) if g is None else g)
    print(name, rows, columns, count, width, *[repr(v) for v in numbers])


SHAPES = [(1, 1, 1), (1, 1, 3), (3, 1, 2), (1, 17, 5), (3, 17, 9), (17, 3, 40), (17, 17, 60), (5, 4, 0),
          (40, 60, 300), (0, 3, 0), (3, 0, 0)]
for name in ("dot", "left", "transposed"):
    for shape in SHAPES:
        for width in (-1, 0, 1, 3, 17):
            case(name, *shape, width)
for name in ("to_dense", "sum", "sum0", "sum1", "diagonal", "scale_rows", "scale_columns", "add",
             "product", "softmax"):
    for shape in SHAPES:
        if name != "softmax" or shape[1] > 0:
            case(name, *shape, -1)
for shape in SHAPES:
    for width in (0, 1, 3, 17):
        case("sampled", *shape, width)
