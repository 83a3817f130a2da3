"""The cases of ../conv_layers.cpp and ../networks.cpp for the Python peers, written once."""
import math

import numpy as np
from workloads import class_numbers, filled, zeros


def layer_of(name):
    """The shapes of a case's picture, filters and result; stride, padding and groups."""
    picture, filters, *options = name.split("-")
    picture, filters = ([int(size) for size in part.split("x")] for part in (picture, filters))
    given = {option[0]: int(option[1:]) for option in options}
    stride, padding, groups = given.get("s", 1), given.get("p", 0), given.get("g", 1)
    positions = [(size + 2 * padding - window) // stride + 1
                 for size, window in zip(picture[2:], filters[1:])]
    return (tuple(picture), (filters[0], picture[1] // groups, *filters[1:]),
            (picture[0], filters[0], *positions), (stride, padding, groups))


def convolution(f, layer, what):
    """What is timed, and what puts its result into the order of the others."""
    picture, filters, result, options = layer_of(layer)
    x, w = f.picture(filled(picture, 0)), f.filters(filled(filters, 1))
    if what == "forward":
        run = f.function(lambda x, w: f.convolution(x, w, None, *options), x, w)
    else:
        run = f.function(lambda x, w, given: f.convolution_gradient(what, x, w, given, *options),
                         x, w, f.picture(filled(result, 2)))
    return run, f.as_filters if what == "filter" else f.as_picture


class Network:
    """Layers, functions of all weights and of a picture, and the weights that they were given, the
    first of which has the number `first` among all inputs."""

    def __init__(self, framework, first):
        self.f, self.number, self.weights = framework, first, []

    def kept(self, array):
        self.weights.append(array)
        return len(self.weights) - 1

    def filled(self, shape, inputs):
        """Values stay of the same size from layer to layer."""
        self.number += 1
        return filled(shape, self.number - 1, math.sqrt(24 / inputs), scattered=True)

    def filters(self, *shape, inputs=None):
        array = self.filled(shape, inputs or math.prod(shape[1:]))
        return self.kept(self.f.filters(array))

    def convolution(self, inputs, outputs, window, stride=1, padding=0, groups=1, biased=True,
                    axes=2):
        w = self.filters(outputs, inputs // groups, *[window] * axes)
        b = self.kept(zeros(outputs)) if biased else None
        return lambda p, x: self.f.convolution(x, p[w], p[b] if biased else None, stride, padding,
                                               groups)

    def transposed_convolution(self, inputs, outputs):
        """Twice as high and as wide."""
        w = self.filters(inputs, outputs, 2, 2, inputs=4 * inputs)
        b = self.kept(zeros(outputs))
        return lambda p, x: self.f.transposed_convolution(x, p[w], p[b], 2)

    def normalized(self, inputs, outputs, window, *options):
        """After a convolution."""
        convolution = self.convolution(inputs, outputs, window, *options, biased=False)
        scale, shift = self.kept(np.ones(outputs, np.float32)), self.kept(zeros(outputs))
        return lambda p, x: self.f.batchnorm(convolution(p, x), p[scale], p[shift],
                                             self.f.channel_axis)

    def dense(self, inputs, outputs):
        """`inputs` is a number, or channels and spatial sizes of what is flattened."""
        shape = inputs if isinstance(inputs, tuple) else (inputs,)
        array = self.filled((math.prod(shape), outputs), math.prod(shape))
        w, b = self.kept(self.f.flattened(array, shape)), self.kept(zeros(outputs))

        def layer(p, x):
            return self.f.dense(self.f.reshape(x, (x.shape[0], -1)), p[w], p[b])

        return layer

    def relu(self, layer):
        return lambda p, x: self.f.relu(layer(p, x))

    def pooled(self, layer):
        """The largest of 2 elements along each spatial axis, after relu."""
        return lambda p, x: self.f.max_pool(self.f.relu(layer(p, x)), 2, 2)

    def classifying(self, net, picture, classes):
        """A training step."""
        return self.f.training(
            lambda p, x, labels: self.f.cross_entropy(net(p, x), labels), self.weights, 0.01,
            self.f.picture(filled(picture, 0)), class_numbers((picture[0],), classes))

    def imitating(self, net, picture, result):
        def loss(p, x, wanted):
            missed = net(p, x) - wanted
            return self.f.mean(missed * missed)

        return self.f.training(loss, self.weights, 0.01, self.f.picture(filled(picture, 0)),
                               self.f.picture(filled(result, self.number)))


def chain(*layers):
    def net(p, x):
        for layer in layers:
            x = layer(p, x)
        return x

    return net


def cifar(f, batch):
    n = Network(f, 1)
    net = chain(n.pooled(n.convolution(3, 20, 5)), n.pooled(n.convolution(20, 40, 5)),
                n.relu(n.dense((40, 5, 5), 1000)), n.relu(n.dense(1000, 1000)), n.dense(1000, 10))
    return n.classifying(net, (batch, 3, 32, 32), 10)


def mnist(f, batch):
    n = Network(f, 1)
    net = chain(n.pooled(n.convolution(1, 32, 5)), n.pooled(n.convolution(32, 64, 5)),
                n.relu(n.dense((64, 4, 4), 512)), n.dense(512, 10))
    return n.classifying(net, (batch, 1, 28, 28), 10)


def mobilenet_block(f, batch):
    """Three of MobileNetV2's inverted residuals."""
    n = Network(f, 1)

    def block():
        wide, deep = n.normalized(24, 144, 1), n.normalized(144, 144, 3, 1, 1, 144)
        narrow = n.normalized(144, 24, 1)
        return lambda p, x: x + narrow(p, f.relu6(deep(p, f.relu6(wide(p, x)))))

    net, shape = chain(block(), block(), block()), (batch, 24, 56, 56)
    return n.imitating(net, shape, shape)


def unet_pair(f, batch):
    """One way down and up again."""
    n = Network(f, 1)
    first = n.relu(n.convolution(3, 32, 3, padding=1))
    second = n.relu(n.convolution(32, 64, 3, padding=1))
    up, last = n.transposed_convolution(64, 32), n.relu(n.convolution(64, 32, 3, padding=1))

    def net(p, x):
        fine = first(p, x)
        wide = up(p, second(p, f.max_pool(fine, 2, 2)))
        return last(p, f.concatenate((fine, wide), f.channel_axis))

    return n.imitating(net, (batch, 3, 64, 64), (batch, 32, 64, 64))


def volume(f, batch):
    n = Network(f, 1)
    layers = [n.pooled(n.convolution(inputs, outputs, 3, padding=1, axes=3))
              for inputs, outputs in ((1, 16), (16, 32), (32, 64))]
    return n.classifying(chain(*layers, n.dense((64, 2, 2, 2), 10)), (batch, 1, 16, 16, 16), 10)


def vgg(f, what, batch):
    n, layers, channels = Network(f, 1), [], 3
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for k in range(count):
            kind = n.relu if k < count - 1 else n.pooled
            layers.append(kind(n.convolution(channels, filters, 3, padding=1)))
            channels = filters
    net = chain(*layers, n.relu(n.dense((512, 7, 7), 4096)), n.relu(n.dense(4096, 4096)),
                n.dense(4096, 1000))
    shape = (batch, 3, 224, 224)
    if what == "training":
        return n.classifying(net, shape, 1000)
    return f.function(lambda x, *p: net(p, x), f.picture(filled(shape, 0)), *n.weights)


def residual(n, inputs, bottleneck, width, stride):
    """Of two convolutions, or of three where results have four times the channels."""
    outputs = 4 * width if bottleneck else width
    layers = ([n.relu(n.normalized(inputs, width, 1)),
               n.relu(n.normalized(width, width, 3, stride, 1)), n.normalized(width, outputs, 1)]
              if bottleneck else
              [n.relu(n.normalized(inputs, width, 3, stride, 1)),
               n.normalized(width, outputs, 3, 1, 1)])
    inner = chain(*layers)
    same = stride == 1 and inputs == outputs
    around = (lambda p, x: x) if same else n.normalized(inputs, outputs, 1, stride)
    return lambda p, x: n.f.relu(inner(p, x) + around(p, x))


def resnet(f, depth, batch):
    bottleneck = depth == 50
    n = Network(f, 1)
    layers = [n.relu(n.normalized(3, 64, 7, 2, 3)), lambda p, x: f.max_pool(x, 3, 2, 1)]
    channels = 64
    for stage, count in enumerate((3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)):
        for k in range(count):
            stride = 2 if stage > 0 and k == 0 else 1
            layers.append(residual(n, channels, bottleneck, 64 << stage, stride))
            channels = (256 if bottleneck else 64) << stage
    net = chain(*layers, lambda p, x: f.mean_of_positions(x), n.dense(channels, 1000))
    return n.classifying(net, (batch, 3, 224, 224), 1000)


def network(f, kind, what, batch):
    """What is timed of cnn/WHAT/BATCH, vgg/WHAT/BATCH, resnet/DEPTH/BATCH."""
    if kind == "vgg":
        return vgg(f, what, batch)
    if kind == "resnet":
        return resnet(f, int(what), batch)
    return {"cifar": cifar, "mnist": mnist, "mobilenet_block": mobilenet_block,
            "unet_pair": unet_pair, "volume": volume}[what](f, batch)
