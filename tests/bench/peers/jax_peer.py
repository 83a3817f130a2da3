"""JAX on the CPU as a contender."""
import jax
import jax.numpy as jnp
from jax import lax
from serve import serve
from workloads import Framework


class Jax(Framework):
    exp, log, sin, sqrt, tanh, maximum, dot, sum, reshape, sigmoid, relu, softmax = map(
        staticmethod, (jnp.exp, jnp.log, jnp.sin, jnp.sqrt, jnp.tanh, jnp.maximum, jnp.matmul,
                       jnp.sum, jnp.reshape, jax.nn.sigmoid, jax.nn.relu, jax.nn.softmax))

    def mean(self, x, axis=None):
        return jnp.mean(x, axis, keepdims=axis is not None)

    def take(self, table, ids):
        return table[ids]

    def cross_entropy(self, logits, labels):
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -jnp.mean(picked)

    def scan(self, step, states, rows):
        def body(carry, row):
            carry = step(carry, row)
            return carry, carry[0]

        return lax.scan(body, tuple(jnp.asarray(state) for state in states), rows)[1]

    def function(self, f, *arrays):
        f, arguments = jax.jit(f), [jnp.asarray(a) for a in arrays]
        return lambda: jax.block_until_ready(f(*arguments))

    def gradient(self, f):
        return lambda *arguments: jax.grad(f, argnums=tuple(range(len(arguments))))(*arguments)

    def training(self, loss, parameters, rate, *data):
        def step(p, *d):
            value, g = jax.value_and_grad(loss)(p, *d)
            return [x - rate * dx for x, dx in zip(p, g)], value

        step = jax.jit(step, donate_argnums=0)  # the parameters stay where they are
        state, data = [jnp.array(p) for p in parameters], [jnp.asarray(d) for d in data]

        def run():
            nonlocal state
            state, value = step(state, *data)
            return float(value)

        return run

    def forget(self):
        jax.clear_caches()


serve(Jax())
