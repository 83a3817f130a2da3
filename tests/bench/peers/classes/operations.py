"""Order, running products, special functions, transforms; linear algebra; Jacobians, Hessians."""
import numpy as np
from classes import numbers, program
from workloads import filled


def mixed(shape, seed=0):
    return (numbers(shape, 1 << 24, seed) / (1 << 24)).astype(np.float32)


def of_mixed(name, f):
    @program("ops/" + name)
    def make(framework, *n):
        return framework.function(lambda x: f(framework, x), mixed(n))


of_mixed("sort", lambda f, x: f.sort(x))
of_mixed("argsort", lambda f, x: f.argsort(x))
of_mixed("topk", lambda f, x: f.topk(x, 5))
of_mixed("median", lambda f, x: f.median(x))
of_mixed("cumprod", lambda f, x: f.cumprod(x + 0.5, -1))
of_mixed("cummax", lambda f, x: f.cummax(x, 0))
of_mixed("erfc", lambda f, x: f.erfc(3 * x))
of_mixed("gammaln", lambda f, x: f.gammaln(5 * x + 0.5))
of_mixed("bessel_j0", lambda f, x: f.bessel_j0(20 * x))
of_mixed("gammainc", lambda f, x: f.gammainc(x * 0 + 2.5, 5 * x))


@program("ops/rfft_power")
def rfft_power(f, rows, n):
    return f.function(lambda x: f.rfft_power(x), filled((rows, n), 0))


def of_matrices(name, g, more=()):
    @program("linalg/" + name)
    def make(f, count, n):
        def of(x, *rest):
            a = f.dot(x, f.swapped(x)) + f.constant(np.eye(n, dtype=np.float32))
            return g(f, a, *rest)

        shapes = [(count, n, columns) for columns in more]
        return f.function(of, filled((count, n, n), 0),
                          *(filled(shape, k + 1) for k, shape in enumerate(shapes)))


of_matrices("cholesky", lambda f, a: f.cholesky(a))
of_matrices("solve", lambda f, a, b: f.solve(a, b), (1,))
of_matrices("inv", lambda f, a: f.inv(a))
of_matrices("eigvalsh", lambda f, a: f.eigvalsh(a))


@program("linalg/logdet_gradient")
def logdet_gradient(f, count, n):
    def loss(x):
        a = f.dot(x, f.swapped(x)) + f.constant(np.eye(n, dtype=np.float32))
        return f.sum(f.logabsdet(a))

    return f.function(lambda x: f.gradient(loss)(x)[0], filled((count, n, n), 0))


@program("linalg/products")
def products(f, count, n):
    return f.function(lambda a, b, c: f.einsum("bij,bjk,bkl->bil", a, b, c),
                      *(filled((count, n, n), k) for k in range(3)))


@program("jacobian/layers")
def layers(f, outputs, hidden, inputs):
    def jacobian(x, v, w):
        return f.jacobian(lambda x: f.tanh(f.dot(w, f.tanh(f.dot(v, x)))))(x)

    return f.function(jacobian, filled((inputs,), 0), filled((hidden, inputs), 1),
                      filled((outputs, hidden), 2))


@program("jacobian/peaks")
def peaks(f, points, count):
    def jacobian(p, at):
        def model(p):
            apart = (at - p[:, 1:2]) / (p[:, 2:3] + 1)
            return f.sum(p[:, 0:1] * f.exp(-apart * apart), 0)

        return f.forward_jacobian(model)(p)

    return f.function(jacobian, filled((count, 3), 0), filled((points,), 1))


@program("jacobian/logistic_hessian")
def logistic_hessian(f, examples, features):
    def hessian(w, x):
        return f.hessian(lambda w: f.sum(f.softplus(f.dot(x, w))))(w)

    return f.function(hessian, filled((features,), 0), filled((examples, features), 1))


@program("jacobian/rosenbrock_hessian")
def rosenbrock_hessian(f, n):
    def cost(x):
        a = x[1:] - x[:-1] * x[:-1]
        b = 1 - x[:-1]
        return f.sum(100 * a * a + b * b)

    return f.function(lambda x: f.hessian(cost)(x), filled((n,), 0))
