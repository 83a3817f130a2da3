"""JAX on the CPU as a contender."""
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from serve import NotMeasured, class_numbers, filled, sample, serve


def repeated(f, *arguments):
    f = jax.jit(f)
    arguments = [jnp.asarray(a) for a in arguments]
    return (
        lambda: jax.block_until_ready(f(*arguments)),
        lambda: sample(jax.tree.leaves(f(*arguments))[0]),
    )


def trained(loss, parameters, rate, *data):
    """Gradient descent; the parameters stay where they are."""

    def step(p, *d):
        value, g = jax.value_and_grad(loss)(p, *d)
        return jax.tree.map(lambda x, dx: x - rate * dx, p, g), value

    step = jax.jit(step, donate_argnums=0)
    state = [jax.tree.map(jnp.array, parameters)]
    data = [jnp.asarray(d) for d in data]

    def run():
        state[0], value = step(state[0], *data)
        return float(value)

    return run, lambda: [run(), run(), run()]


def cross_entropy(logits, labels):
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -jnp.mean(picked)


def mlp_loss(p, x, labels):
    w1, b1, w2, b2 = p
    return cross_entropy(jax.nn.relu(x @ w1 + b1) @ w2 + b2, labels)


def mlp(batch):
    zeros = np.zeros
    parameters = (
        filled((784, 512), 1, 0.1), zeros(512, np.float32),
        filled((512, 10), 2, 0.1), zeros(10, np.float32),
    )
    return mlp_loss, parameters, 0.01, filled((batch, 784), 3), class_numbers(batch, 10)


def logistic_loss(p, x, y):
    w, b = p
    q = 1 / (1 + jnp.exp(-(x @ w) - b))
    return jnp.mean(-y * jnp.log(q) - (1 - y) * jnp.log(1 - q)) + 0.01 * jnp.sum(w * w)


def logistic():
    parameters = (filled((2,), 1), np.zeros((), np.float32))
    return (logistic_loss, parameters, 0.1, filled((25, 2), 3),
            class_numbers(25, 2).astype(np.float32))


def lstm_states(rows, wh, state):
    def step(carry, row):
        h, c = carry
        i, f, g, o = jnp.split(row + h @ wh, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros(state, jnp.float32)
    return lax.scan(step, (zeros, zeros), rows)[1]


def lstm_loss(p, x):
    wx, wh, b = p
    return jnp.mean(jnp.square(lstm_states(x @ wx + b, wh, (64,))))


def lstm():
    parameters = (filled((64, 256), 1, 0.2), filled((64, 256), 2, 0.2), np.zeros(256, np.float32))
    return lstm_loss, parameters, 0.01, filled((100, 64), 3)


def characters(vocabulary, hidden, batch, steps):
    def loss(p, ids, after):
        wx, wh, b, wy, by = p
        states = lstm_states(wx[ids] + b, wh, (batch, hidden))
        return cross_entropy(states.reshape(-1, hidden) @ wy + by, after.reshape(-1))

    parameters = (
        filled((vocabulary, 4 * hidden), 1, 0.2), filled((hidden, 4 * hidden), 2, 0.2),
        np.zeros(4 * hidden, np.float32), filled((hidden, vocabulary), 3, 0.2),
        np.zeros(vocabulary, np.float32),
    )
    return (loss, parameters, 0.01, class_numbers((steps, batch), vocabulary),
            class_numbers((steps, batch), vocabulary - 1))


def mix(x, y):
    return jnp.tanh(x * y + 1) * jnp.exp(-(x * x)) + y / 2 - x * jnp.maximum(y, 0)


def polynomial(x):
    return ((((0.5 * x + 0.25) * x + 1.5) * x + 0.75) * x + 1.25) * x + 2.0


def layernorm(m):
    centered = m - jnp.mean(m, 1, keepdims=True)
    return centered / jnp.sqrt(jnp.mean(centered * centered, 1, keepdims=True) + 1e-5)


def running_sum(x):
    def step(total, row):
        return total + row, total + row

    return lax.scan(step, jnp.float32(0), x)[1]


def pendulum(u):
    def step(carry, push):
        angle, speed = carry
        force = push - 9.81 * jnp.sin(angle) - 0.1 * speed
        speed = speed + 0.01 * force
        angle = angle + 0.01 * speed
        return (angle, speed), angle

    return lax.scan(step, (jnp.float32(1), jnp.float32(0)), u)[1] ** 2


def vector_states(w, x):
    def step(state, row):
        state = jnp.tanh(w @ state + row)
        return state, state

    return lax.scan(step, jnp.zeros(64, jnp.float32), x)[1]


def chain(count):
    def f(x):
        y = x
        for k in range(count):
            y = [lambda: y + x, lambda: jnp.sin(y), lambda: y * 0.5,
                 lambda: jnp.maximum(y, x)][k % 4]()
        return y

    return f


def compiled(what):
    """Tracing and compiling, each time anew."""
    if what.startswith("chain"):
        f, arguments = chain(int(what[5:])), [jnp.asarray(filled((16,), 0))]
    else:
        loss, parameters, rate, *data = {"logistic": logistic, "mlp": lambda: mlp(128),
                                         "lstm": lstm}[what]()

        def f(p, *d):
            value, g = jax.value_and_grad(loss)(p, *d)
            return value, jax.tree.map(lambda x, dx: x - rate * dx, p, g)

        arguments = [jax.tree.map(jnp.asarray, parameters), *[jnp.asarray(d) for d in data]]

    def run():
        jax.clear_caches()
        return jax.tree.leaves(jax.block_until_ready(jax.jit(f)(*arguments)))[0]

    return run, lambda: sample(run())


def make(parts):
    kind = parts[0]
    if kind == "mlp":
        return trained(*mlp(int(parts[1])))
    if kind == "call":
        if parts[1] == "logistic25":
            return trained(*logistic())
        return repeated(lambda a, b: a + b, np.float32(1.5), np.float32(2.25))
    if kind == "elementwise":
        x, y = filled((int(parts[2]),), 0, 2), filled((int(parts[2]),), 1, 2)
        return repeated(mix, x, y) if parts[1] == "mix" else repeated(polynomial, x)
    if kind in ("softmax", "layernorm", "sum"):
        m = filled([int(size) for size in parts[-1].split("x")], 0)
        if kind == "sum":
            return repeated(lambda m: jnp.sum(m, 1 if parts[1] == "rows" else 0), m)
        return repeated(jax.nn.softmax if kind == "softmax" else layernorm, m)
    if kind == "scan":
        gradient = parts[2] == "gradient"
        if parts[1] == "sum":
            x = filled((100000,), 0)
            cost = jax.grad(lambda x: jnp.sum(jnp.square(running_sum(x))))
            return repeated(cost if gradient else running_sum, x)
        if parts[1] == "pendulum":
            u = filled((100000,), 0)
            cost = jax.grad(lambda u: jnp.sum(pendulum(u)))
            return repeated(cost if gradient else pendulum, u)
        w, x = filled((64, 64), 0, 0.3), filled((1000, 64), 1)
        cost = jax.grad(lambda w, x: jnp.sum(jnp.square(vector_states(w, x))), argnums=(0, 1))
        return repeated(cost if gradient else vector_states, w, x)
    if kind == "lstm":
        if parts[1] == "h64":
            return trained(*lstm())
        return trained(*characters(*[int(size) for size in parts[1].split("x")]))
    if kind == "compile":
        return compiled(parts[1])
    raise NotMeasured(kind)


serve(make)
