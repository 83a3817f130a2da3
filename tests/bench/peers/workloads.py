"""The cases of the Python peers, written once. What differs between frameworks is a Framework."""
import functools

import numpy as np


class CannotMeasure(Exception):
    """Why a framework has no such case."""


@functools.cache  # until a case is made: compiling makes it again and again
def filled(shape, seed, scale=1.0, scattered=False):
    """The elements of bench.h's element(), or its scattered_element()."""
    numbers = np.empty(int(np.prod(shape)), np.float32)
    # By parts: what is computed with takes more memory than the elements.
    for start in range(0, numbers.size, 1 << 16):
        part = numbers[start:start + (1 << 16)]
        i = np.arange(start, start + part.size, dtype=np.uint64)
        bits = (i * np.uint64(2654435761) + np.uint64((seed + 1) * 2246822519)).astype(np.uint32)
        if scattered:
            bits = (bits ^ bits >> np.uint32(16)) * np.uint32(0x7FEB352D)
            bits = (bits ^ bits >> np.uint32(15)) * np.uint32(0x846CA68B)
            bits ^= bits >> np.uint32(16)
        part[:] = (bits / 4294967296.0 - 0.5) * scale
    return numbers.reshape(shape)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def number(value):
    return np.array(value, np.float32)


def class_numbers(shape, classes):
    return (np.arange(int(np.prod(shape))) * 7 % classes).reshape(shape)


def sample(values):
    """Up to 16 elements, evenly spaced, the first and the last among them."""
    values = np.asarray(values).reshape(-1)
    count = min(16, values.size)
    last = count - 1 if count > 1 else 1
    return [float(values[k * (values.size - 1) // last]) for k in range(count)]


class Framework:
    """A peer. It has the operations exp, log, sin, sqrt, tanh, sigmoid, relu, maximum, dot,
    softmax by axis, sum and mean by axis (mean keeps it), cross_entropy, reshape, take; and

      function(f, *arrays)      what calls f, compiled, and gives a tensor or several
      gradient(f)               a function: the gradients of f by all its arguments
      training(loss, parameters, rate, *data)
                                what makes a step of gradient descent and gives the loss
      scan(step, states, rows)  all first states; step(states, row) gives the states after it
      forget()                  drops what is kept of compiled functions

    One that has the programs of classes has the operations that these use besides (sum and max
    keep no axis, var does as mean), and

      value_and_gradient(f, x)  of a scalar function at x
      hessian_product(f, x, v)  the product of its second derivatives at x with v
      jacobian(f)               a function: the derivatives of f, by its only argument
      optimised(kind, loss, parameters, *data)
                                as training, by a step of that kind: sgd, momentum, adam
      constant(array)           what a function may use besides its arguments

    One that has networks has relu6, concatenate and

      channel_axis              of its pictures: 1, or -1
      convolution(x, filters, bias, stride, padding, groups)
                                numbers for all spatial axes; the bias may be None
      transposed_convolution(x, filters, bias, stride)
      pulled_back(f, x, given)  the gradient of f by x, for a given one of its result
      max_pool(x, window, stride, padding=0)
                                of what is nowhere below 0
      mean_of_positions(x)      over all spatial axes
    """

    channel_axis = None

    def picture(self, array):
        """(batch, channels, spatial...) with the channels where its pictures have them."""
        return np.ascontiguousarray(np.moveaxis(array, 1, self.channel_axis))

    def filters(self, array):
        """Filters (out, in, spatial...) as it has them."""
        if self.channel_axis == 1:
            return array
        return np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))

    def flattened(self, array, shape):
        """Weights of elements of pictures (channels, spatial...) in the order of its pictures."""
        rows = np.moveaxis(array.reshape(*shape, -1), 0, self.channel_axis - 1)
        return np.ascontiguousarray(rows).reshape(array.shape)

    def as_picture(self, tensor):
        """What `picture` makes of it, back."""
        return np.moveaxis(np.asarray(tensor), self.channel_axis, 1)

    def as_filters(self, tensor):
        if self.channel_axis == 1:
            return np.asarray(tensor)
        return np.moveaxis(np.asarray(tensor), (-1, -2), (0, 1))

    def convolution_gradient(self, what, x, filters, given, *options):
        """By the input or the filters, for a given gradient of the result."""
        if what == "input":
            return self.pulled_back(
                lambda x: self.convolution(x, filters, None, *options), x, given)
        return self.pulled_back(lambda w: self.convolution(x, w, None, *options), filters, given)

    def dense(self, x, w, b):
        return self.dot(x, w) + b

    def forget(self):
        raise CannotMeasure("compiles nothing")

    def layernorm(self, m, scale=None, shift=None):
        centered = m - self.mean(m, 1)
        result = centered / self.sqrt(self.mean(centered * centered, 1) + 1e-5)
        return result if scale is None else result * scale + shift

    def batchnorm(self, x, scale, shift, axis=1):
        """Normalised by an axis, 1 or -1, over all others."""
        others = tuple(k for k in range(len(x.shape)) if k != axis % len(x.shape))
        along = (-1,) + (1,) * (len(x.shape) - 2 if axis == 1 else 0)
        centered = x - self.mean(x, others)
        result = centered / self.sqrt(self.mean(centered * centered, others) + 1e-5)
        return result * self.reshape(scale, along) + self.reshape(shift, along)

    def attend(self, queries, keys, values):
        scores = self.dot(queries, self.transpose(keys, 0, 1, 3, 2)) / queries.shape[-1]**0.5
        return self.dot(self.softmax(scores), values)

    def descent_step(self, kind, loss, count):
        """A function of a state, which begins with `count` parameters, and data: the state after a
        step of gradient descent, and the loss."""

        def step(state, *data):
            p = list(state[:count])
            value, g = self.value_and_gradient(lambda p: loss(p, *data), p)
            if kind == "momentum":
                velocity = [0.9 * v + dx for v, dx in zip(state[count:], g)]
                return [x - 0.01 * v for x, v in zip(p, velocity)] + velocity, value
            now = state[-1] + 1
            first = [0.9 * m + 0.1 * dx for m, dx in zip(state[count:], g)]
            second = [0.999 * v + 0.001 * dx * dx for v, dx in zip(state[2 * count:], g)]
            rate, share = 0.001 / (1 - 0.9**now), self.sqrt(1 - 0.999**now)
            p = [x - rate * m / (self.sqrt(v) / share + 1e-8)
                 for x, m, v in zip(p, first, second)]
            return [*p, *first, *second, now], value

        return step

    def descent_state(self, kind, parameters):
        """What descent_step starts from."""
        more = [np.zeros_like(p) for p in parameters]
        return [*parameters, *more] + ([*more, number(0)] if kind == "adam" else [])

    def recurrent(self, sizes, gates, step):
        """A training step of a network whose state after a row of x wx is step(row, before, wh)."""
        steps, batch, inputs, hidden = sizes

        def loss(p, x):
            states = self.scan(lambda states, row: (step(row, states[0], p[1]),),
                               (zeros(batch, hidden),), self.dot(x, p[0]))
            return self.mean(states * states)

        return self.training(loss, (filled((inputs, gates * hidden), 0, 0.2),
                                    filled((hidden, gates * hidden), 1, 0.2)), 0.01,
                             filled((steps, batch, inputs), 2))

    def rnn(self, *sizes):
        return self.recurrent(sizes, 1, lambda row, before, w: self.tanh(row + self.dot(before, w)))

    def gru(self, *sizes):
        h = sizes[-1]

        def step(row, before, weights):
            own = self.dot(before, weights)
            reset = self.sigmoid(row[:, :h] + own[:, :h])
            update = self.sigmoid(row[:, h:2 * h] + own[:, h:2 * h])
            fresh = self.tanh(row[:, 2 * h:] + reset * own[:, 2 * h:])
            return (1 - update) * fresh + update * before

        return self.recurrent(sizes, 3, step)

    def running_sum(self, x):
        return self.scan(lambda states, row: (states[0] + row,), (number(0),), x)

    def pendulum(self, u):
        def step(states, push):
            angle, speed = states
            force = push - 9.81 * self.sin(angle) - 0.1 * speed
            speed = speed + 0.01 * force
            return angle + 0.01 * speed, speed

        return self.scan(step, (number(1), number(0)), u)

    def vector_states(self, w, x):
        return self.scan(lambda states, row: (self.tanh(self.dot(w, states[0]) + row),),
                         (zeros(64),), x)

    def lstm_states(self, rows, wh, shape):
        hidden = shape[-1]

        def step(states, row):
            h, c = states
            gates = row + self.dot(h, wh)
            i, f, g, o = [gates[..., k * hidden:(k + 1) * hidden] for k in range(4)]
            c = self.sigmoid(f) * c + self.sigmoid(i) * self.tanh(g)
            return self.sigmoid(o) * self.tanh(c), c

        return self.scan(step, (zeros(*shape), zeros(*shape)), rows)

    def lstm(self):
        def loss(p, x):
            wx, wh, b = p
            states = self.lstm_states(self.dot(x, wx) + b, wh, (64,))
            return self.mean(states * states)

        return self.training(
            loss, (filled((64, 256), 1, 0.2), filled((64, 256), 2, 0.2), zeros(256)), 0.01,
            filled((100, 64), 3))

    def characters(self, vocabulary, hidden, batch, steps):
        def loss(p, ids, after):
            wx, wh, b, wy, by = p
            states = self.lstm_states(self.take(wx, ids) + b, wh, (batch, hidden))
            logits = self.dot(self.reshape(states, (-1, hidden)), wy) + by
            return self.cross_entropy(logits, self.reshape(after, (-1,)))

        parameters = (
            filled((vocabulary, 4 * hidden), 1, 0.2), filled((hidden, 4 * hidden), 2, 0.2),
            zeros(4 * hidden), filled((hidden, vocabulary), 3, 0.2), zeros(vocabulary))
        return self.training(loss, parameters, 0.01, class_numbers((steps, batch), vocabulary),
                             class_numbers((steps, batch), vocabulary - 1))

    def mlp(self, batch):
        def loss(p, x, labels):
            w1, b1, w2, b2 = p
            hidden = self.relu(self.dot(x, w1) + b1)
            return self.cross_entropy(self.dot(hidden, w2) + b2, labels)

        return self.training(
            loss, (filled((784, 512), 1, 0.1), zeros(512), filled((512, 10), 2, 0.1), zeros(10)),
            0.01, filled((batch, 784), 3), class_numbers((batch,), 10))

    def logistic(self):
        def loss(p, x, y):
            w, b = p
            q = 1 / (1 + self.exp(-self.dot(x, w) - b))
            terms = -y * self.log(q) - (1 - y) * self.log(1 - q)
            return self.mean(terms) + 0.01 * self.sum(w * w)

        return self.training(loss, (filled((2,), 1), zeros()), 0.1, filled((25, 2), 3),
                             class_numbers((25,), 2).astype(np.float32))

    def elementwise(self, what, count):
        x, y = filled((count,), 0, 2.0), filled((count,), 1, 2.0)
        if what == "mix":
            return self.function(
                lambda x, y: self.tanh(x * y + 1) * self.exp(-(x * x)) + y / 2
                - x * self.maximum(y, 0), x, y)
        return self.function(
            lambda x: ((((0.5 * x + 0.25) * x + 1.5) * x + 0.75) * x + 1.25) * x + 2.0, x)

    def rows(self, kind, parts):
        m = filled(tuple(int(size) for size in parts[-1].split("x")), 0)
        if kind == "sum":
            return self.function(lambda m: self.sum(m, 1 if parts[1] == "rows" else 0), m)
        return self.function(
            lambda m: self.softmax(m) if kind == "softmax" else self.layernorm(m), m)

    def loop(self, what, gradient):
        f, arguments = {
            "sum": (self.running_sum, [filled((100000,), 0)]),
            "pendulum": (self.pendulum, [filled((100000,), 0)]),
            "vector64": (self.vector_states, [filled((64, 64), 0, 0.3), filled((1000, 64), 1)]),
        }[what]

        def squares(*tensors):
            states = f(*tensors)
            return states * states

        if gradient:
            return self.function(self.gradient(lambda *t: self.sum(squares(*t))), *arguments)
        return self.function(squares if what == "pendulum" else f, *arguments)

    def chain(self, count):
        def f(x):
            y = x
            for k in range(count):
                y = [lambda: y + x, lambda: self.sin(y), lambda: y * 0.5,
                     lambda: self.maximum(y, x)][k % 4]()
            return y

        return self.function(f, filled((16,), 0))

    def compilation(self, what):
        """Building and compiling, each time anew."""
        self.forget()
        makers = {"logistic": self.logistic, "mlp": lambda: self.mlp(128), "lstm": self.lstm,
                  "cifar": lambda: self.network("cnn", "cifar", 50),
                  "resnet50": lambda: self.network("resnet", "50", 1)}

        def run():
            self.forget()
            if what.startswith("chain"):
                return self.chain(int(what[5:]))()
            return makers[what]()()

        return run

    def network(self, kind, what, batch):
        from networks import network

        if self.channel_axis is None:
            raise CannotMeasure("has no networks of convolutions")
        return network(self, kind, what, batch)

    def layer(self, name, what):
        from networks import convolution

        run, ordered = convolution(self, name, what)
        return run, lambda: sample(ordered(run()))

    def program(self, parts):
        """What is timed of classes/FAMILY/WHAT/SIZES, and what gives values to compare."""
        from classes import run_of

        if parts[1] == "compile":
            self.forget()

            def run():
                self.forget()
                return run_of(self, parts[2:])()
        else:
            run = run_of(self, parts[1:])

        def values():
            found = []
            for _ in range(1 if parts[1] == "compile" else 3):
                result = run()
                for part in result if isinstance(result, (list, tuple)) else [result]:
                    found += sample(part)
            return found

        return run, values

    def training_case(self, parts):
        """Whole epochs, with the framework's own layers, optimizers and loaders."""
        raise CannotMeasure("has no trainings")

    def make(self, parts):
        """What is timed, and what gives values to compare."""
        kind = parts[0]
        if kind == "classes":
            return self.program(parts)
        if kind == "train":
            return self.training_case(parts)
        if kind == "conv":
            return self.layer(*parts[1:])
        if kind in ("cnn", "vgg", "resnet"):
            run = self.network(kind, parts[1], int(parts[2]))
            return run, lambda: [value for _ in range(2) for value in sample(run())]
        if kind in ("mlp", "lstm") or parts == ["call", "logistic25"]:
            if kind == "mlp":
                run = self.mlp(int(parts[1]))
            elif kind == "call":
                run = self.logistic()
            elif parts[1] == "h64":
                run = self.lstm()
            else:
                run = self.characters(*[int(size) for size in parts[1].split("x")])
            return run, lambda: [run(), run(), run()]
        if kind == "call":
            run = self.function(lambda a, b: a + b, number(1.5), number(2.25))
        elif kind == "elementwise":
            run = self.elementwise(parts[1], int(parts[2]))
        elif kind in ("softmax", "layernorm", "sum"):
            run = self.rows(kind, parts)
        elif kind == "scan":
            run = self.loop(parts[1], parts[2] == "gradient")
        elif kind == "compile":
            run = self.compilation(parts[1])
        else:
            raise CannotMeasure(f"has no {kind}")

        def values():
            result = run()
            return sample(result[0] if isinstance(result, (list, tuple)) else result)

        return run, values
