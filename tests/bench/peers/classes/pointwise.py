"""Long elementwise expressions, and cheap values that several readers might have stored for them."""
from classes import of_one, of_two, program
from workloads import filled


def polynomial(f, x):
    y = 1.0 / 21
    for k in range(20, 0, -1):
        y = y * x + 1.0 / k
    return y


def black_scholes(f, x, y):
    def normal(x):
        return 0.5 * (1 + f.erf(x * 0.7071067811865476))

    strike, deviation = 1 + x, 0.3 * f.sqrt(y + 1)
    d1 = (-f.log(strike) + 0.02) / deviation + 0.5 * deviation
    return normal(d1) - strike * 0.98 * normal(d1 - deviation)


def gelu(f, x):
    return 0.5 * x * (1 + f.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def continued_fraction(f, x):
    y = 8 + x
    for k in range(7, 0, -1):
        y = k + x / y
    return y


of_one("pointwise/polynomial20", polynomial)
of_one("pointwise/polynomial20_contracted", polynomial)
of_two("pointwise/black_scholes", black_scholes)
of_two("pointwise/log_add",
       lambda f, x, y: f.maximum(x, y) + f.log1p(f.exp(-f.abs(x - y))))
of_two("pointwise/gelu_gradient",
       lambda f, x, y: f.gradient(lambda x: f.sum(gelu(f, x) * y))(x)[0])
of_one("pointwise/pieces", lambda f, x: f.where(
    x < -0.25, -x - 0.25, f.where(x > 0.25, x * x, x * (1 - x))))
of_two("pointwise/polar",
       lambda f, x, y: f.sqrt(x * x + y * y + 1) * f.cos(f.atan2(y, x + 1)))
of_one("pointwise/continued_fraction", continued_fraction)

of_one("stored/divided_by_columns", lambda f, x: x / (f.sum(f.abs(x), 0) + 1))
of_one("stored/divided_by_rows", lambda f, x: x / (f.sum(f.abs(x), 1, True) + 1))
of_one("stored/outer_sum",
       lambda f, x: f.tanh(f.sum(x, 1, True)) * x + f.exp(f.mean(x, 0)))


def normalised(name, normalise):
    @program("stored/" + name)
    def forward(f, *n):
        return f.function(lambda x, scale, shift: f.relu(normalise(f, x, scale, shift)),
                          filled(n, 0), filled(n[1:2], 1), filled(n[1:2], 2))

    @program(f"stored/{name}_gradient")
    def gradient(f, *n):
        def gradients(x, scale, shift, weights):
            return f.gradient(lambda x, scale, shift: f.sum(
                f.relu(normalise(f, x, scale, shift)) * weights))(x, scale, shift)

        return f.function(gradients, filled(n, 0), filled(n[1:2], 1), filled(n[1:2], 2),
                          filled(n, 3))


normalised("batch_norm", lambda f, x, scale, shift: f.batchnorm(x, scale, shift))
normalised("image_norm", lambda f, x, scale, shift: f.batchnorm(x, scale, shift))
normalised("layer_norm", lambda f, x, scale, shift: f.layernorm(x, scale, shift))


@program("stored/pairwise_distances")
def pairwise_distances(f, n, m, d):
    def distances(x, y):
        apart = x[:, None] - y[None]
        return f.sqrt(f.sum(apart * apart, 2) + 0.01)

    return f.function(distances, filled((n, d), 0), filled((m, d), 1))
