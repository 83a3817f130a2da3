"""JAX on the CPU as a contender."""
import jax
import jax.numpy as jnp
import jax.scipy.special
from jax import lax
from serve import serve
from training_data import case
from workloads import Framework


class Jax(Framework):
    exp, log, sin, sqrt, tanh, maximum, dot, reshape, sigmoid, relu, softmax = map(
        staticmethod, (jnp.exp, jnp.log, jnp.sin, jnp.sqrt, jnp.tanh, jnp.maximum, jnp.matmul,
                       jnp.reshape, jax.nn.sigmoid, jax.nn.relu, jax.nn.softmax))
    cos, atan2, abs, log1p, floor, where, argmax, argmin, max, cumsum = map(
        staticmethod, (jnp.cos, jnp.atan2, jnp.abs, jnp.log1p, jnp.floor, jnp.where, jnp.argmax,
                       jnp.argmin, jnp.max, jnp.cumsum))
    concatenate, stack, pad, reverse, constant, jacobian = map(
        staticmethod, (jnp.concatenate, jnp.stack, jnp.pad, jnp.flip, jnp.asarray, jax.jacrev))
    erf, logsumexp, log_softmax, softplus, relu6 = map(
        staticmethod, (jax.scipy.special.erf, jax.scipy.special.logsumexp, jax.nn.log_softmax,
                       jax.nn.softplus, jax.nn.relu6))
    sort, argsort, cumprod, einsum, inv, eigvalsh, solve, cholesky = map(
        staticmethod, (jnp.sort, jnp.argsort, jnp.cumprod, jnp.einsum, jnp.linalg.inv,
                       jnp.linalg.eigvalsh, jnp.linalg.solve, jnp.linalg.cholesky))
    erfc, gammaln, gammainc = map(
        staticmethod, (jax.scipy.special.erfc, jax.scipy.special.gammaln,
                       jax.scipy.special.gammainc))
    forward_jacobian, hessian = staticmethod(jax.jacfwd), staticmethod(jax.hessian)
    channel_axis = -1  # what XLA brings convolutions to

    def training_case(self, parts):
        import jax_training
        return case(jax_training.make, parts)

    def topk(self, x, k):
        return lax.top_k(x, k)[0]

    def median(self, x):
        return jnp.median(x, -1)

    def cummax(self, x, axis):
        return lax.cummax(x, axis)

    def rfft_power(self, x):
        y = jnp.fft.rfft(x)
        return y.real * y.real + y.imag * y.imag

    def swapped(self, x):
        return jnp.swapaxes(x, -1, -2)

    def logabsdet(self, x):
        return jnp.linalg.slogdet(x)[1]

    def sum(self, x, axis=None, keep=False):
        return jnp.sum(x, axis, keepdims=keep)

    def var(self, x, axis):
        return jnp.var(x, axis, keepdims=True)

    def transpose(self, x, *axes):
        return jnp.transpose(x, axes)

    def integers(self, x):
        return x.astype(jnp.int32)

    def pick(self, x, labels):
        return jnp.take_along_axis(x, labels[:, None], axis=1)[:, 0]

    def scatter_add(self, values, ids, shape):
        return jnp.zeros(shape, values.dtype).at[ids].add(values)

    def mean(self, x, axis=None):
        return jnp.mean(x, axis, keepdims=axis is not None)

    def take(self, table, ids):
        return table[ids]

    def cross_entropy(self, logits, labels):
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -jnp.mean(picked)

    def layout(self, x):
        """Of x, filters and result, for functions of lax."""
        axes = "DHW"[5 - x.ndim:]
        return "N" + axes + "C", axes + "IO", "N" + axes + "C"

    def convolution(self, x, filters, bias, stride, padding, groups):
        axes = x.ndim - 2
        y = lax.conv_general_dilated(x, filters, (stride,) * axes, ((padding, padding),) * axes,
                                     dimension_numbers=self.layout(x), feature_group_count=groups)
        return y if bias is None else y + bias

    def transposed_convolution(self, x, filters, bias, stride):
        return bias + lax.conv_transpose(x, filters, (stride,) * (x.ndim - 2), "VALID",
                                         dimension_numbers=self.layout(x), transpose_kernel=True)

    def pulled_back(self, f, x, given):
        return jax.vjp(f, x)[1](given)[0]

    def max_pool(self, x, window, stride, padding=0):
        def of_axes(value, rest):
            return (rest, *[value] * (x.ndim - 2), rest)

        return lax.reduce_window(x, -jnp.inf, lax.max, of_axes(window, 1), of_axes(stride, 1),
                                 of_axes((padding, padding), (0, 0)))

    def mean_of_positions(self, x):
        return jnp.mean(x, range(1, x.ndim - 1))

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

    def value_and_gradient(self, f, x):
        return jax.value_and_grad(f)(x)

    def hessian_product(self, f, x, v):
        return jax.jvp(jax.grad(f), (x,), (v,))[1]

    def optimised(self, kind, loss, parameters, *data):
        if kind == "sgd":
            return self.training(loss, parameters, 0.01, *data)
        step = jax.jit(self.descent_step(kind, loss, len(parameters)), donate_argnums=0)
        state = [jnp.array(x) for x in self.descent_state(kind, parameters)]
        data = [jnp.asarray(d) for d in data]

        def run():
            nonlocal state
            state, value = step(state, *data)
            return float(value)

        return run

    def forget(self):
        jax.clear_caches()


serve(Jax())
