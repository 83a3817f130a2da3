"""PyTensor in its numba mode as a contender."""
import numpy as np
import pytensor
import pytensor.tensor as pt
from serve import serve
from workloads import Framework

pytensor.config.floatX = "float32"
pytensor.config.mode = "NUMBA"


def variables(arrays):
    return [pt.TensorType(a.dtype.name, shape=(None,) * a.ndim)() for a in arrays]


class PyTensor(Framework):
    exp, log, sin, sqrt, tanh, maximum, dot, sum, sigmoid = map(
        staticmethod, (pt.exp, pt.log, pt.sin, pt.sqrt, pt.tanh, pt.maximum, pt.dot, pt.sum,
                       pt.sigmoid))

    def mean(self, x, axis=None):
        return pt.mean(x, axis=axis, keepdims=axis is not None)

    def relu(self, x):
        return pt.maximum(x, np.float32(0))

    def softmax(self, m):
        return pt.special.softmax(m, axis=1)

    def take(self, table, ids):
        return table[ids]

    def reshape(self, x, shape):
        return x.reshape(shape)

    def cross_entropy(self, logits, labels):
        picked = pt.special.log_softmax(logits, axis=1)[pt.arange(labels.shape[0]), labels]
        return -pt.sum(picked) / pt.cast(labels.shape[0], "float32")

    def scan(self, step, states, rows):
        first = pytensor.scan(
            lambda row, *before: list(step(before, row)), sequences=[rows],
            outputs_info=[pt.as_tensor(state) for state in states], return_updates=False)
        return first[0] if isinstance(first, (list, tuple)) else first

    def function(self, f, *arrays):
        inputs = variables(arrays)
        compiled = pytensor.function(inputs, f(*inputs))
        compiled.trust_input = True
        return lambda: compiled(*arrays)

    def gradient(self, f):
        return lambda *arguments: pytensor.grad(f(*arguments), list(arguments))

    def training(self, loss, parameters, rate, *data):
        inputs, parameters = variables(data), [pytensor.shared(p) for p in parameters]
        value = loss(parameters, *inputs)
        step = pytensor.function(inputs, value, updates=[
            (p, p - np.float32(rate) * g)
            for p, g in zip(parameters, pytensor.grad(value, parameters))])
        step.trust_input = True
        return lambda: float(step(*data))

    def forget(self):
        pytensor.config.numba__cache = False


serve(PyTensor())
