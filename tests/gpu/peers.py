"""The cases of benchmarks.cpp and benchmarks_products.cpp in PyTorch (eager, compiled, f32 products
in TF32) and JAX, with the data on the device. Cases with tf32 in their names are in TF32 in all of
them, others in full precision. One JSON object a line: peers.py torch|jax [PART OF A NAME...]"""
import json
import os
import sys
import time

import numpy as np

FRAMEWORK, WANTED = sys.argv[1], sys.argv[2:]
# Arrays of that name are converted on the device: NumPy has no bf16.
NARROW = ("bf16", "f16")
DEADLINE = time.time() + float(os.environ.get("KROTON_PEERS_SECONDS", "85"))
RANDOM = np.random.default_rng(0)


def normal(*shape, scale=1):
    return scale * RANDOM.standard_normal(shape, dtype=np.float32)


def emit(who, case, **result):
    print(json.dumps(dict(who=who, case=case, **result)), flush=True)


def cases(xp):
    """The name, a function, its arrays; and whether derivatives are in it."""
    x, y = normal(10_000_000), normal(10_000_000)
    yield "add_1e7", lambda x, y: x + y, (x, y)
    yield "tanh_1e7", xp.tanh, (x,)
    yield ("mixed_1e7",
           lambda x, y: xp.tanh(x * y + 1) * xp.exp(-x * x) + y / 2 - x * xp.relu(y), (x, y))
    yield "sum_all_1e7", lambda x: x.sum(), (x,)
    yield "argmax_all_1e7", lambda x: x.argmax(), (x,)
    yield "cumsum_1e7", lambda x: xp.cumsum(x, 0), (x,)
    yield "concatenate_1e7", lambda x, y: xp.concatenate((x, y)), (x, y)
    yield "exp_f64_1e6", xp.exp, (RANDOM.standard_normal(1_000_000),)
    yield "transpose_4096", lambda m: xp.contiguous(m.T + 1), (normal(4096, 4096),)
    for r, c in ((1000, 1000), (8, 1_000_000), (8192, 1024)):
        m, by = normal(r, c), f"{r}x{c}"
        scale, shift, weight = normal(c), normal(c), normal(r, c)
        yield f"softmax_{by}", xp.softmax, (m,)
        yield f"log_softmax_{by}", xp.log_softmax, (m,)
        yield f"layernorm_{by}", xp.layer_norm, (m, scale, shift)
        yield (f"layernorm_grad_{by}",
               xp.grad(lambda m, s, h, w: (xp.layer_norm(m, s, h) * w).sum()),
               (m, scale, shift, weight))
        yield f"sum_rows_{by}", lambda m: m.sum(1), (m,)
        yield f"sum_cols_{by}", lambda m: m.sum(0), (m,)
        yield f"argmax_rows_{by}", lambda m: m.argmax(1), (m,)
    yield "sum_cols_1e6x8", lambda m: m.sum(0), (normal(1_000_000, 8),)
    yield "softmax_1e6x10", xp.softmax, (normal(1_000_000, 10),)
    yield "softmax_1e5x60", xp.softmax, (normal(100_000, 60),)
    yield "cumsum_down_10000x256", lambda m: xp.cumsum(m, 0), (normal(10000, 256),)
    table, ids = normal(50000, 256), (np.arange(100000) * 7919 % 50000).astype(np.int64)
    yield "gather_1e5x256", lambda t, i: t[i], (table, ids)
    yield "gather_grad_1e5x256", xp.grad(lambda t, i: (t[i] ** 2).sum()), (table, ids)
    yield "scatter_numbers_1e5", lambda v, i: xp.scatter_add(v, i, 50000), (normal(100000), ids)
    for n in (512, 1024, 4096):
        a, b, bias = normal(n, n), normal(n, n), normal(n)
        yield f"dot_{n}", lambda a, b: a @ b, (a, b)
        yield f"dot_bias_relu_{n}", lambda a, b, c: xp.relu(a @ b + c), (a, b, bias)
    yield "dot_64x16384x64", lambda a, b: a @ b, (normal(64, 16384), normal(16384, 64))
    yield "dot_matrix_vector_4096", lambda a, v: a @ v, (normal(4096, 4096), normal(4096))
    batch = tuple(normal(96, 512, 64) for _ in range(3))
    for kind in ("", "tf32_", "bf16_"):
        yield (f"attention_{kind}96x512x64",
               lambda q, k, v: xp.softmax(q @ xp.swap(k) / 8) @ v, batch)
    square, bias = (normal(4096, 4096), normal(4096, 4096)), normal(4096)
    for kind in ("bf16", "f16", "tf32"):
        yield f"dot_{kind}_4096", lambda a, b: a @ b, square
        yield f"dot_bias_relu_{kind}_4096", lambda a, b, c: xp.relu(a @ b + c), square + (bias,)
    yield "dot_bf16_8x4096x4096", lambda a, b: a @ b, (normal(8, 4096), normal(4096, 4096))
    image, filters = normal(32, 64, 56, 56), normal(64, 64, 3, 3)
    for kind in ("", "tf32_", "bf16_", "f16_"):
        by = f"{kind}32x64x56x56"

        def all_of(f, i):
            return (xp.f32(xp.conv(i, f)) ** 2).sum()

        yield f"conv_{by}", xp.conv, (image, filters)
        yield f"conv_grad_filters_{by}", xp.grad(all_of), (filters, image)
        yield f"conv_grad_image_{by}", xp.grad(lambda i, f: all_of(f, i)), (image, filters)
    yield ("conv_1x1_bf16_32x256x56x56", xp.conv_points,
           (normal(32, 256, 56, 56), normal(64, 256, 1, 1)))
    yield ("conv_depthwise_32x96x56x56", lambda i, f: xp.conv(i, f, 96),
           (normal(32, 96, 56, 56), normal(96, 1, 3, 3)))
    for by, size in (("128", 128), ("4096", 4096), ("tf32_4096", 4096)):

        def loss(w1, b1, w2, b2, x, labels):
            return xp.cross_entropy(xp.relu(x @ w1 + b1) @ w2 + b2, labels)

        parameters = (normal(784, 512, scale=0.05), np.zeros(512, np.float32),
                      normal(512, 10, scale=0.05), np.zeros(10, np.float32))
        yield (f"mlp_{by}", xp.step(loss, 4),
               parameters + (normal(size, 784), np.zeros(size, np.int64)))
    for size, units in ((64, 256), (1, 64)):
        arrays = (normal(units, 4 * units, scale=0.05), normal(100, size, 4 * units))
        by = f"100x{size}x{units}"
        yield f"lstm_{by}", xp.lstm, arrays
        yield f"lstm_grad_{by}", xp.grad(lambda w, x: (xp.lstm(w, x) ** 2).sum()), arrays


def timed(call, wait):
    """Microseconds of a call, the middle one of three rounds of 50 ms."""
    for _ in range(3):
        call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    count = int(min(5000, max(3, 0.05 / max(time.perf_counter() - start, 1e-6))))
    rounds = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(count):
            call()
        wait()
        rounds.append((time.perf_counter() - start) / count * 1e6)
    return round(sorted(rounds)[1], 2)


def measured(xp, passes):
    """Each pass goes over all cases before the next one: what takes long to compile comes last."""
    for who, make, wants in passes:
        RANDOM.bit_generator.state = np.random.default_rng(0).bit_generator.state
        for case, function, arrays in cases(xp):
            if (WANTED and not any(part in case for part in WANTED)) or not wants(case):
                continue
            if time.time() > DEADLINE:
                return
            try:
                kind = next((kind for kind in NARROW if f"_{kind}_" in f"{case}_"), None)
                here = [xp.narrow(xp.place(array), kind) if kind else xp.place(array)
                        for array in arrays]
                call = make(function)
                call = xp.tf32(call) if "tf32" in case else call
                emit(who, case, us=timed(lambda: call(*here), xp.wait))
            except Exception as error:  # one case less
                emit(who, case, error=str(error)[:200])


def torch_cases():
    import torch
    from torch.nn import functional as nn

    class Torch:
        tanh, exp, relu, cumsum = torch.tanh, torch.exp, torch.relu, torch.cumsum
        concatenate, wait = torch.cat, torch.cuda.synchronize
        cross_entropy = staticmethod(nn.cross_entropy)

        place = staticmethod(lambda array: torch.from_numpy(array).cuda())
        softmax = staticmethod(lambda m: torch.softmax(m, -1))
        log_softmax = staticmethod(lambda m: torch.log_softmax(m, -1))
        layer_norm = staticmethod(lambda m, s, h: nn.layer_norm(m, (m.shape[-1],), s, h))
        contiguous = staticmethod(lambda m: m.contiguous())
        swap = staticmethod(lambda m: m.transpose(-1, -2))
        conv = staticmethod(lambda i, f, groups=1: nn.conv2d(i, f, padding=1, groups=groups))
        conv_points = staticmethod(nn.conv2d)
        f32 = staticmethod(lambda a: a.float())
        narrow = staticmethod(lambda a, kind: a.to(dict(bf16=torch.bfloat16, f16=torch.float16)[kind]))

        @staticmethod
        def tf32(function):
            def with_tf32(*arrays):
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
                try:
                    return function(*arrays)
                finally:
                    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

            return with_tf32

        @staticmethod
        def scatter_add(values, ids, size):
            return torch.zeros(size, device="cuda").index_add(0, ids, values)

        @staticmethod
        def grad(function):
            def gradient(first, *others):
                first = first.detach().requires_grad_(True)
                return torch.autograd.grad(function(first, *others), first)[0]

            return gradient

        @staticmethod
        def step(loss, count):
            def step(*arrays):
                parameters = [a.detach().requires_grad_(True) for a in arrays[:count]]
                value = loss(*parameters, *arrays[count:])
                gradients = torch.autograd.grad(value, parameters)
                with torch.no_grad():
                    return (value, *[p - 0.01 * g for p, g in zip(parameters, gradients)])

            return step

        @staticmethod
        def lstm(w, x):
            units = w.shape[0]
            h = c = torch.zeros(x.shape[1], units, device="cuda")
            states = []
            for row in x:
                i, f, u, o = (row + h @ w).chunk(4, -1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
                h = torch.sigmoid(o) * torch.tanh(c)
                states.append(h)
            return torch.stack(states)

    def compiled(function):
        torch._dynamo.reset()
        return torch.compile(function, mode="reduce-overhead")

    def has_products(case):
        return (any(part in case for part in ("dot_", "mlp", "attention", "conv"))
                and not any(kind in case for kind in NARROW + ("tf32",)))

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    measured(Torch, [("torch", lambda function: function, lambda case: True),
                     ("torch_tf32", Torch.tf32, has_products),
                     # A hundred steps written out take a minute.
                     ("torch_compiled", compiled, lambda case: "lstm" not in case)])


def jax_cases():
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_enable_x64", True)
    last = []

    class Jax:
        tanh, exp, relu, cumsum = jnp.tanh, jnp.exp, jax.nn.relu, jnp.cumsum
        concatenate = jnp.concatenate

        place = staticmethod(jax.device_put)
        wait = staticmethod(lambda: jax.block_until_ready(last))
        softmax = staticmethod(lambda m: jax.nn.softmax(m, -1))
        log_softmax = staticmethod(lambda m: jax.nn.log_softmax(m, -1))
        contiguous = staticmethod(lambda m: m)
        swap = staticmethod(lambda m: jnp.swapaxes(m, -1, -2))
        grad = staticmethod(jax.grad)

        @staticmethod
        def layer_norm(m, scale, shift):
            centred = m - m.mean(-1, keepdims=True)
            return centred / jnp.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-5) * scale + shift

        f32 = staticmethod(lambda a: a.astype(jnp.float32))
        narrow = staticmethod(lambda a, kind: a.astype(dict(bf16=jnp.bfloat16, f16=jnp.float16)[kind]))

        @staticmethod
        def conv(image, filters, groups=1):
            return jax.lax.conv_general_dilated(image, filters, (1, 1), "SAME",
                                                feature_group_count=groups)

        @staticmethod
        def conv_points(image, filters):
            return jax.lax.conv(image, filters, (1, 1), "VALID")

        @staticmethod
        def tf32(function):
            def with_tf32(*arrays):
                with jax.default_matmul_precision("tensorfloat32"):
                    return function(*arrays)

            return with_tf32

        @staticmethod
        def scatter_add(values, ids, size):
            return jnp.zeros(size, values.dtype).at[ids].add(values)

        @staticmethod
        def cross_entropy(scores, labels):
            return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1).mean()

        @staticmethod
        def step(loss, count):
            def step(*arrays):
                value, gradients = jax.value_and_grad(loss, tuple(range(count)))(*arrays)
                return (value, *[p - 0.01 * g for p, g in zip(arrays, gradients)])

            return step

        @staticmethod
        def lstm(w, x):
            def step(carry, row):
                h, c = carry
                i, f, u, o = jnp.split(row + h @ w, 4, -1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(u)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            zero = jnp.zeros((x.shape[1], w.shape[0]), jnp.float32)
            return jax.lax.scan(step, (zero, zero), x)[1]

    def jitted(function):
        compiled = jax.jit(function)

        def call(*arrays):
            last[:] = [compiled(*arrays)]

        return call

    measured(Jax, [("jax", jitted, lambda case: True)])


{"torch": torch_cases, "jax": jax_cases}[FRAMEWORK]()
