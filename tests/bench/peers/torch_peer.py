"""PyTorch on the CPU as a contender; with the argument "compiled" through torch.compile, with
"channels_last" with pictures stored that way."""
import contextlib
import sys

import torch
import torch.nn.functional as nn
from serve import THREADS, serve
from training_data import case
from workloads import CannotMeasure, Framework, class_numbers, filled, zeros

torch.set_num_threads(THREADS)


def tensor(array):
    return torch.from_numpy(array.copy()) if array.shape else torch.tensor(array.item())


def row_major(f):
    """Gives what others give: elements in the order of the axes, not another view of some."""

    def stored(*arguments):
        result = f(*arguments)
        if isinstance(result, (list, tuple)):
            return [part.contiguous() for part in result]
        return result.contiguous()

    return stored


class Torch(Framework):
    exp, log, sin, sqrt, tanh, dot, sigmoid, relu, cross_entropy = map(
        staticmethod, (torch.exp, torch.log, torch.sin, torch.sqrt, torch.tanh, torch.matmul,
                       torch.sigmoid, torch.relu, nn.cross_entropy))

    cos, atan2, abs, log1p, floor, where, argmax, argmin, cumsum, logsumexp, erf = map(
        staticmethod, (torch.cos, torch.atan2, torch.abs, torch.log1p, torch.floor, torch.where,
                       torch.argmax, torch.argmin, torch.cumsum, torch.logsumexp, torch.erf))
    concatenate, stack, reshape, max, softplus, constant, relu6 = map(
        staticmethod, (torch.cat, torch.stack, torch.reshape, torch.amax, nn.softplus, tensor,
                       nn.relu6))
    tensor, ordered = staticmethod(tensor), staticmethod(row_major)
    cumprod, erfc, gammaln, bessel_j0, gammainc, argsort, einsum, inv, eigvalsh, solve = map(
        staticmethod, (torch.cumprod, torch.special.erfc, torch.special.gammaln,
                       torch.special.bessel_j0, torch.special.gammainc, torch.argsort,
                       torch.einsum, torch.linalg.inv, torch.linalg.eigvalsh, torch.linalg.solve))
    channel_axis = 1

    def training_case(self, parts):
        import torch_training
        return case(torch_training.make, parts)

    def sort(self, x):
        return torch.sort(x)[0]

    def topk(self, x, k):
        return torch.topk(x, k)[0]

    def median(self, x):
        """The mean of the two in the middle, as elsewhere."""
        return torch.quantile(x, 0.5, -1)

    def cummax(self, x, axis):
        return torch.cummax(x, axis)[0]

    def rfft_power(self, x):
        y = torch.fft.rfft(x)
        return y.real * y.real + y.imag * y.imag

    def swapped(self, x):
        return x.mT

    def cholesky(self, x):
        return torch.linalg.cholesky(x)

    def logabsdet(self, x):
        return torch.linalg.slogdet(x)[1]

    def forward_jacobian(self, f):
        return torch.func.jacfwd(f)

    def hessian(self, f):
        return torch.func.hessian(f)

    def maximum(self, x, y):
        return torch.maximum(x, y) if isinstance(y, torch.Tensor) else torch.clamp_min(x, y)

    def sum(self, x, axis=None, keep=False):
        return torch.sum(x) if axis is None else torch.sum(x, axis, keepdim=keep)

    def var(self, x, axis):
        return torch.var(x, axis, correction=0, keepdim=True)

    def transpose(self, x, *axes):
        return x.permute(axes)

    def reverse(self, x, axis):
        return torch.flip(x, (axis,))

    def pad(self, x, widths):
        return nn.pad(x, [width for pair in reversed(widths) for width in pair])

    def integers(self, x):
        return x.to(torch.int64)

    def take(self, table, ids):
        return nn.embedding(ids, table) if table.ndim == 2 else table[ids]

    def pick(self, x, labels):
        return torch.gather(x, 1, labels[:, None])[:, 0]

    def scatter_add(self, values, ids, shape):
        return torch.zeros(shape, dtype=values.dtype).index_add(0, ids, values)

    def log_softmax(self, x):
        return torch.log_softmax(x, -1)

    def mean(self, x, axis=None):
        return torch.mean(x, axis, keepdim=axis is not None)

    def softmax(self, m, axis=-1):
        return torch.softmax(m, axis)

    def layernorm(self, m, scale=None, shift=None):
        return nn.layer_norm(m, m.shape[1:], scale, shift, eps=1e-5)

    def batchnorm(self, x, scale, shift, axis=1):
        return nn.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)

    def convolution(self, x, filters, bias, stride, padding, groups):
        kind = (nn.conv1d, nn.conv2d, nn.conv3d)[x.ndim - 3]
        return kind(x, filters, bias, stride, padding, groups=groups)

    def convolution_gradient(self, what, x, filters, given, stride, padding, groups):
        """By what autograd calls, without the convolution itself."""
        axes = x.ndim - 2
        by_input = what == "input"
        return torch.ops.aten.convolution_backward(
            given, x, filters, None, [stride] * axes, [padding] * axes, [1] * axes, False,
            [0] * axes, groups, [by_input, not by_input, False])[0 if by_input else 1]

    def transposed_convolution(self, x, filters, bias, stride):
        return nn.conv_transpose2d(x, filters, bias, stride)

    def max_pool(self, x, window, stride, padding=0):
        return (nn.max_pool2d if x.ndim == 4 else nn.max_pool3d)(x, window, stride, padding)

    def mean_of_positions(self, x):
        return torch.mean(x, tuple(range(2, x.ndim)))

    def dense(self, x, w, b):
        return torch.addmm(b, x, w)

    def attend(self, queries, keys, values):
        return nn.scaled_dot_product_attention(queries, keys, values)

    def running_sum(self, x):
        return torch.cumsum(x, 0)

    def scan(self, step, states, rows):
        states, every = tuple(tensor(state) for state in states), []
        for row in rows.unbind():
            states = step(states, row)
            every.append(states[0])
        return torch.stack(every)

    def function(self, f, *arrays):
        f, arguments = self.ordered(f), [self.tensor(a) for a in arrays]

        def run():
            with torch.no_grad():
                return f(*arguments)

        return run

    def gradient(self, f):
        def gradients(*arguments):
            with torch.enable_grad():
                arguments = [a.detach().requires_grad_() for a in arguments]
                return torch.autograd.grad(f(*arguments), arguments)

        return gradients

    def value_and_gradient(self, f, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = f(x)
            return value.detach(), torch.autograd.grad(value, x)[0]

    def hessian_product(self, f, x, v):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            first = torch.autograd.grad(f(x), x, create_graph=True)[0]
            return torch.autograd.grad(first, x, v)[0]

    def jacobian(self, f):
        return torch.func.jacrev(f)

    def descent(self, loss, parameters, rate):
        """Of tensors that `loss`, a function of nothing, depends on."""

        def run():
            value = loss()
            gradients = torch.autograd.grad(value, parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-rate)
            return value.item()

        return run

    def training(self, loss, parameters, rate, *data):
        parameters = [self.tensor(p).requires_grad_() for p in parameters]
        data = [self.tensor(d) for d in data]
        return self.descent(lambda: loss(parameters, *data), parameters, rate)

    def optimised(self, kind, loss, parameters, *data):
        parameters = [tensor(p).requires_grad_() for p in parameters]
        data = [tensor(d) for d in data]
        optimiser = (torch.optim.Adam(parameters, 0.001, fused=True) if kind == "adam" else
                     torch.optim.SGD(parameters, 0.01, 0.9 if kind == "momentum" else 0,
                                     fused=True))

        def run():
            optimiser.zero_grad()
            value = loss(parameters, *data)
            value.backward()
            optimiser.step()
            return value.item()

        return run

    def mlp(self, batch):
        def loss(p, x, labels):
            w1, b1, w2, b2 = p
            hidden = torch.relu(torch.addmm(b1, x, w1))
            return nn.cross_entropy(torch.addmm(b2, hidden, w2), labels)

        return self.training(
            loss, (filled((784, 512), 1, 0.1), zeros(512), filled((512, 10), 2, 0.1), zeros(10)),
            0.01, filled((batch, 784), 3), class_numbers((batch,), 10))

    def module(self, kind, gates, inputs, hidden, seed, biases=1):
        """torch.nn.LSTM, GRU or RNN with the weights of the other contenders, and what it trains
        of them."""
        module = kind(inputs, hidden, bias=biases > 0)
        with torch.no_grad():
            module.weight_ih_l0.copy_(tensor(filled((inputs, gates * hidden), seed, 0.2)).T)
            module.weight_hh_l0.copy_(tensor(filled((hidden, gates * hidden), seed + 1, 0.2)).T)
            if biases:
                module.bias_ih_l0.zero_()
                module.bias_hh_l0.zero_()
                module.bias_hh_l0.requires_grad_(False)
        return module, [p for p in module.parameters() if p.requires_grad]

    def without_bias(self, kind, gates, steps, batch, inputs, hidden):
        module, parameters = self.module(kind, gates, inputs, hidden, 0, 0)
        x = tensor(filled((steps, batch, inputs), 2))
        return self.descent(lambda: torch.mean(torch.square(module(x)[0])), parameters, 0.01)

    def rnn(self, *sizes):
        return self.without_bias(torch.nn.RNN, 1, *sizes)

    def gru(self, *sizes):
        return self.without_bias(torch.nn.GRU, 3, *sizes)

    def lstm(self):
        module, parameters = self.module(torch.nn.LSTM, 4, 64, 64, 1)
        x = tensor(filled((100, 64), 3))
        return self.descent(lambda: torch.mean(torch.square(module(x)[0])), parameters, 0.01)

    def characters(self, vocabulary, hidden, batch, steps):
        module, parameters = self.module(torch.nn.LSTM, 4, vocabulary, hidden, 1)
        wy = tensor(filled((hidden, vocabulary), 3, 0.2)).requires_grad_()
        by = tensor(zeros(vocabulary)).requires_grad_()
        ids = tensor(class_numbers((steps, batch), vocabulary))
        after = tensor(class_numbers((steps, batch), vocabulary - 1)).reshape(-1)

        def loss():
            states = module(nn.one_hot(ids, vocabulary).to(torch.float32))[0]
            return nn.cross_entropy(torch.addmm(by, states.reshape(-1, hidden), wy), after)

        return self.descent(loss, [*parameters, wy, by], 0.01)


class CompiledTorch(Torch):
    """Gradients are taken inside of what is compiled, as far as that can be."""

    def __init__(self):
        self.cache = contextlib.ExitStack()

    def function(self, f, *arrays):
        return super().function(torch.compile(row_major(f)), *arrays)

    def gradient(self, f):
        return lambda *arguments: torch.func.grad(
            f, argnums=tuple(range(len(arguments))))(*arguments)

    def value_and_gradient(self, f, x):
        gradient, value = torch.func.grad_and_value(f)(x)
        return value, gradient

    def hessian_product(self, f, x, v):
        return torch.func.jvp(torch.func.grad(f), (x,), (v,))[1]

    def optimised(self, kind, loss, parameters, *data):
        if kind == "sgd":
            return self.training(loss, parameters, 0.01, *data)
        step = self.descent_step(kind, loss, len(parameters))
        state, data = [tensor(x) for x in self.descent_state(kind, parameters)], list(
            map(tensor, data))

        @torch.compile
        def replace(state, *d):
            after, value = step(state, *d)
            for x, new in zip(state, after):
                x.copy_(new)
            return value

        def run():
            with torch.no_grad():
                return replace(state, *data).item()

        return run

    def make(self, parts):
        # Functions whose code is shared by cases would be given up as changing too often.
        torch._dynamo.reset()
        return super().make(parts)

    def descent(self, loss, parameters, rate):
        return super().descent(torch.compile(loss), parameters, rate)

    def training(self, loss, parameters, rate, *data):
        state, data = [tensor(p) for p in parameters], [tensor(d) for d in data]

        @torch.compile
        def step(p, *d):
            gradients, value = torch.func.grad_and_value(loss)(p, *d)
            for x, g in zip(p, gradients):
                x.add_(g, alpha=-rate)
            return value

        def run():
            with torch.no_grad():
                return step(state, *data).item()

        return run

    def scan(self, step, states, rows):
        if rows.shape[0] > 500:
            raise CannotMeasure(f"unrolls loops, {rows.shape[0]} steps are too many; its scan fails")
        return super().scan(step, states, rows)

    def forget(self):
        from torch._inductor.utils import fresh_cache

        torch._dynamo.reset()
        self.cache.close()
        self.cache.enter_context(fresh_cache())


class ChannelsLastTorch(Torch):
    """Pictures and filters are stored with their channels last; the axes are the same."""

    ordered = staticmethod(lambda f: f)

    def tensor(self, array):
        stored = {4: torch.channels_last, 5: torch.channels_last_3d}
        x = tensor(array)
        return x.to(memory_format=stored[x.ndim]) if x.ndim in stored else x


KINDS = {"compiled": CompiledTorch, "channels_last": ChannelsLastTorch}
serve(KINDS.get("".join(sys.argv[1:]), Torch)())
