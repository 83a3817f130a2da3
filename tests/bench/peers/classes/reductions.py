"""Positions of extremes, short rows and few columns, reductions that threads have to share."""
from classes import of_one, program
from workloads import filled

for name in ("argmax_rows", "argmax_rows_free", "argmax_middle"):
    of_one("positions/" + name, lambda f, x: f.argmax(x, 1))
of_one("positions/argmin_rows", lambda f, x: f.argmin(x, 1))
of_one("positions/argmax_columns", lambda f, x: f.argmax(x, 0))
of_one("positions/argmax_all", lambda f, x: f.argmax(f.reshape(x, (-1,)), 0))

for suffix in ("", "_free"):
    of_one("short/max_rows" + suffix, lambda f, x: f.max(x, 1))
    of_one("short/sum_rows" + suffix, lambda f, x: f.sum(x, 1))
    of_one("short/softmax_rows" + suffix, lambda f, x: f.softmax(x))
    of_one("short/sum_columns" + suffix, lambda f, x: f.sum(x, 0))
of_one("short/log_sum_exp_rows", lambda f, x: f.logsumexp(x, 1))
of_one("short/unit_rows", lambda f, x: x / f.sqrt(f.sum(x * x, 1, True) + 0.01))
of_one("short/max_columns", lambda f, x: f.max(x, 0))
of_one("short/running_sum_rows", lambda f, x: f.cumsum(x, 1))
of_one("short/running_sum_columns", lambda f, x: f.cumsum(x, 0))

of_one("threads/sum_middle", lambda f, x: f.sum(x, 1))
of_one("threads/sum_outer_and_inner", lambda f, x: f.sum(x, (0, 2)))
of_one("threads/mean_and_variance_of_channels",
       lambda f, x: f.stack([f.mean(x, (0, 2, 3)), f.var(x, (0, 2, 3))], 0))
of_one("threads/softmax_columns", lambda f, x: f.softmax(x, 0))
of_one("threads/sum_all", lambda f, x: f.sum(x * x))


def logistic_loss(f, w, x, y):
    z = f.dot(x, w)
    return f.mean(f.softplus(z) - y * z)


@program("threads/logistic_gradient")
def logistic_gradient(f, n, d):
    return f.function(
        lambda w, x, y: f.gradient(lambda w: logistic_loss(f, w, x, y))(w)[0],
        filled((d,), 0), filled((n, d), 1), filled((n,), 2))


@program("threads/logistic_hessian_product")
def logistic_hessian_product(f, n, d):
    return f.function(
        lambda w, x, y, v: f.hessian_product(lambda w: logistic_loss(f, w, x, y), w, v),
        filled((d,), 0), filled((n, d), 1), filled((n,), 2), filled((d,), 3))


@program("threads/nearest_centres")
def nearest_centres(f, n, d, k):
    def step(x, centres, ones):
        apart = x[:, None] - centres[None]
        nearest = f.argmin(f.sum(apart * apart, 2), 1)
        counts = f.scatter_add(ones, nearest, (k,))
        return f.scatter_add(x, nearest, (k, d)) / f.maximum(counts, 1)[:, None]

    return f.function(step, filled((n, d), 0), filled((k, d), 1), filled((n,), 2, 0) + 1)


@program("threads/batch_of_one")
def batch_of_one(f, n):
    return f.function(f.dot, filled((1, n, n), 0), filled((1, n, n), 1))
