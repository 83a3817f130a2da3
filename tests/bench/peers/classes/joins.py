"""Pads, concatenations, slices, and the gradients of slices."""
from classes import of_one, of_two, squares_gradient


def padded(f, x):
    return f.pad(x, ((1, 1), (1, 1)))


def shifted(x, i, j):
    """The part of x that a stencil of 3 x 3 sees at (i, j)."""
    h, w = x.shape
    return x[i:h - 2 + i, j:w - 2 + j]


def blur(f, x):
    terms = [shifted(x, i, j) * ((2 if i == 1 else 1) * (2 if j == 1 else 1) / 16.0)
             for i in range(3) for j in range(3)]
    return sum(terms[1:], terms[0])


def heat(f, u):
    for _ in range(4):
        middle = shifted(u, 1, 1)
        around = shifted(u, 0, 1) + shifted(u, 2, 1) + shifted(u, 1, 0) + shifted(u, 1, 2)
        u = padded(f, middle + 0.1 * (around - 4 * middle))
    return u


def differences(f, x):
    corner = x[:-1, :-1]
    return f.stack([x[1:, :-1] - corner, x[:-1, 1:] - corner], 0)


def total_variation_gradient(f, x):
    def loss(x):
        d = differences(f, x)
        return f.sum(f.sqrt(f.sum(d * d, 0) + 0.01))

    return f.gradient(loss)(x)[0]


def by_columns(f, x, y):
    return f.concatenate([x, y], 1)


def growth(f, x):
    prey, hunters = x[:, :1], x[:, 1:]
    return by_columns(f, prey * (1 - hunters), hunters * (prey - 1))


def runge_kutta(f, x):
    h = 0.05
    k1 = growth(f, x)
    k2 = growth(f, x + h / 2 * k1)
    k3 = growth(f, x + h / 2 * k2)
    k4 = growth(f, x + h * k3)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


of_one("joins/pad", padded)
of_one("joins/pad_of_pad", lambda f, x: padded(f, 2 * padded(f, x)))
of_two("joins/pad_product", lambda f, x, y: padded(f, x) * padded(f, y))
of_two("joins/concatenate_rows", lambda f, x, y: f.concatenate([x, f.tanh(y)], 0))
of_two("joins/concatenate_columns", lambda f, x, y: by_columns(f, x, f.relu(y)))
of_two("joins/interleave", lambda f, x, y: f.stack([x, y], 1))
of_two("joins/concatenated_twice", lambda f, x, y: by_columns(
    f, by_columns(f, x, y), by_columns(f, y, x * y)))
of_one("joins/rotated", lambda f, x: x - f.concatenate([x[1:], x[:1]], 0))
of_one("joins/slice_gradient",
       lambda f, x: squares_gradient(f, lambda x: shifted(x, 1, 1), x))
of_one("joins/differences", differences)
of_one("joins/total_variation_gradient", total_variation_gradient)
for name, step in (("blur", blur), ("heat", heat), ("runge_kutta", runge_kutta)):
    of_one("joins/" + name, step)
    of_one(f"joins/{name}_gradient", lambda f, x, step=step: squares_gradient(
        f, lambda x: step(f, x), x))
