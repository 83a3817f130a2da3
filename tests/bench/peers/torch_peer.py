"""PyTorch on the CPU as a contender; with the argument "compiled" through torch.compile."""
import contextlib
import sys

import torch
import torch.nn.functional as nn
from serve import THREADS, serve
from workloads import CannotMeasure, Framework, class_numbers, filled, zeros

torch.set_num_threads(THREADS)


def tensor(array):
    return torch.from_numpy(array.copy()) if array.shape else torch.tensor(array.item())


class Torch(Framework):
    exp, log, sin, sqrt, tanh, dot, sigmoid, relu, cross_entropy = map(
        staticmethod, (torch.exp, torch.log, torch.sin, torch.sqrt, torch.tanh, torch.matmul,
                       torch.sigmoid, torch.relu, nn.cross_entropy))

    def maximum(self, x, y):
        return torch.maximum(x, y) if isinstance(y, torch.Tensor) else torch.clamp_min(x, y)

    def sum(self, x, axis=None):
        return torch.sum(x, axis)

    def mean(self, x, axis=None):
        return torch.mean(x, axis, keepdim=axis is not None)

    def softmax(self, m):
        return torch.softmax(m, 1)

    def layernorm(self, m):
        return nn.layer_norm(m, m.shape[1:], eps=1e-5)

    def running_sum(self, x):
        return torch.cumsum(x, 0)

    def scan(self, step, states, rows):
        states, every = tuple(tensor(state) for state in states), []
        for row in rows.unbind():
            states = step(states, row)
            every.append(states[0])
        return torch.stack(every)

    def function(self, f, *arrays):
        arguments = [tensor(a) for a in arrays]

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
        parameters = [tensor(p).requires_grad_() for p in parameters]
        data = [tensor(d) for d in data]
        return self.descent(lambda: loss(parameters, *data), parameters, rate)

    def mlp(self, batch):
        def loss(p, x, labels):
            w1, b1, w2, b2 = p
            hidden = torch.relu(torch.addmm(b1, x, w1))
            return nn.cross_entropy(torch.addmm(b2, hidden, w2), labels)

        return self.training(
            loss, (filled((784, 512), 1, 0.1), zeros(512), filled((512, 10), 2, 0.1), zeros(10)),
            0.01, filled((batch, 784), 3), class_numbers((batch,), 10))

    def module(self, inputs, hidden):
        """torch.nn.LSTM with the weights of the other contenders, and what it trains of them."""
        module = torch.nn.LSTM(inputs, hidden)
        with torch.no_grad():
            module.weight_ih_l0.copy_(tensor(filled((inputs, 4 * hidden), 1, 0.2)).T)
            module.weight_hh_l0.copy_(tensor(filled((hidden, 4 * hidden), 2, 0.2)).T)
            module.bias_ih_l0.zero_()
            module.bias_hh_l0.zero_()
        module.bias_hh_l0.requires_grad_(False)
        return module, [p for p in module.parameters() if p.requires_grad]

    def lstm(self):
        module, parameters = self.module(64, 64)
        x = tensor(filled((100, 64), 3))
        return self.descent(lambda: torch.mean(torch.square(module(x)[0])), parameters, 0.01)

    def characters(self, vocabulary, hidden, batch, steps):
        module, parameters = self.module(vocabulary, hidden)
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
        return super().function(torch.compile(f), *arrays)

    def gradient(self, f):
        return lambda *arguments: torch.func.grad(
            f, argnums=tuple(range(len(arguments))))(*arguments)

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
        if rows.shape[0] > 10000:
            raise CannotMeasure("unrolls loops, 100,000 steps are too many; its scan fails")
        return super().scan(step, states, rows)

    def forget(self):
        from torch._inductor.utils import fresh_cache

        torch._dynamo.reset()
        self.cache.close()
        self.cache.enter_context(fresh_cache())


serve(CompiledTorch() if "compiled" in sys.argv[1:] else Torch())
