"""Values and gradients of pooling, patches, resizing, padding and normalisation, from PyTorch.

    python3 tests/ops/window_values.py > tests/ops/window_values.txt

needs torch. Operands are small whole numbers in f64 with many ties. A line has the operation, its
numbers, the shape of x, and for the result and the gradient of x the shape and two sums over the
elements, weighted by their positions. test_windows.cpp makes the same operands and compares.
"""
import random

import numpy
import torch
import torch.nn.functional as F

from convolution_values import operand, text


def sums(t):
    flat = t.detach().contiguous().reshape(-1).numpy()
    i = numpy.arange(flat.size)
    return [float(numpy.sum(flat * (i % 11 - 5))), float(numpy.sum(flat * (i % 17 + 1)))]


def pool_numbers(draw, axes):
    window = [draw.choice([1, 2, 2, 3, 3, 5]) for _ in range(axes)]
    stride = [draw.choice([1, 2, 3]) for _ in range(axes)]
    padding = [draw.randrange(k // 2 + 1) for k in window]
    dilation = [draw.choice([1, 1, 2]) for _ in range(axes)]
    return window, stride, padding, dilation


MAX = [F.max_pool1d, F.max_pool2d, F.max_pool3d]
AVG = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d]
LINEAR = ["linear", "bilinear", "trilinear"]


def evaluate(name, n, x):
    axes = x.dim() - 2
    at = lambda k: n[k * axes:(k + 1) * axes]  # the k-th list of numbers, one for each axis
    if name == "max_pool":
        return MAX[axes - 1](x, at(0), at(1), at(2), at(3), ceil_mode=bool(n[-1]))
    if name == "avg_pool":
        return AVG[axes - 1](x, at(0), at(1), at(2), ceil_mode=bool(n[-2]),
                             count_include_pad=bool(n[-1]))
    if name == "nearest":
        return F.interpolate(x, n, mode="nearest")
    if name in ("linear", "aligned"):
        return F.interpolate(x, n, mode=LINEAR[axes - 1], align_corners=name == "aligned")
    if name == "upsample":
        return F.interpolate(x, scale_factor=[float(k) for k in n], mode="nearest")
    if name == "patches":
        y = F.unfold(x, at(0), stride=at(1), padding=at(2), dilation=at(3))
        size = [(s + 2 * p - (k - 1) * d - 1) // t + 1 for s, k, t, p, d in
                zip(x.shape[2:], at(0), at(1), at(2), at(3))]
        return y.reshape([x.shape[0], x.shape[1]] + at(0) + size)
    if name in ("constant", "reflect", "edge", "wrap"):
        mode = {"edge": "replicate", "wrap": "circular"}.get(name, name)
        pads = [p for pair in reversed(list(zip(n[::2], n[1::2]))) for p in pair]
        return F.pad(x, pads, mode=mode, **({"value": 2.5} if name == "constant" else {}))
    if name == "roll":
        return torch.roll(x, n[0], n[1])
    c = x.shape[1]
    scale, shift = operand([c], 4) + 0.5, operand([c], 5)
    if name == "batch_norm":
        return F.batch_norm(x, None, None, scale, shift, training=True, eps=1e-3)
    if name == "batch_norm_inference":
        return F.batch_norm(x, operand([c], 6), operand([c], 7).abs() + 0.5, scale, shift)
    if name == "running":  # the running statistics after a batch, one after the other
        mean, variance = operand([c], 6), operand([c], 7).abs() + 0.5
        F.batch_norm(x.detach(), mean, variance, training=True, momentum=0.3)
        return torch.cat([mean, variance]) + 0 * x.sum()
    if name == "layer_norm":
        shape = list(x.shape[-n[0]:])
        return F.layer_norm(x, shape, operand(shape, 4) + 0.5, operand(shape, 5))
    if name == "group_norm":
        return F.group_norm(x, n[0], scale, shift)
    if name == "local_response_norm":
        return F.local_response_norm(x, n[0], alpha=0.3, beta=0.75, k=2.0)
    raise ValueError(name)


def cases():
    draw = random.Random(5)
    shape = lambda axes, least=1: [draw.choice([1, 2, 3]), draw.choice([1, 3, 4])] + [
        draw.randrange(least, [0, 18, 12, 8][axes]) for _ in range(axes)]
    for k in range(120):
        axes = draw.choice([1, 2, 2, 2, 3])
        window, stride, padding, dilation = pool_numbers(draw, axes)
        x = shape(axes)
        if any(s + 2 * p < (w - 1) * d + 1
               for s, w, p, d in zip(x[2:], window, padding, dilation)):
            continue
        numbers = window + stride + padding
        if k % 2:
            ceil = draw.randrange(2)  # not both: PyTorch writes past its arrays
            yield "max_pool", numbers + ([1] * axes if ceil else dilation) + [ceil], x
        elif all(s + 2 * p >= w for s, w, p in zip(x[2:], window, padding)):
            yield "avg_pool", numbers + [draw.randrange(2), draw.randrange(2)], x
        if axes == 2:
            yield "patches", numbers + dilation, x
    for k in range(40):
        axes = draw.choice([1, 2, 2, 3])
        x = shape(axes)
        sizes = [draw.randrange(1, 14) for _ in range(axes)]
        yield draw.choice(["nearest", "linear", "aligned"]), sizes, x
        yield "upsample", [draw.randrange(1, 4) for _ in range(axes)], x
    for k in range(40):
        axes = draw.choice([1, 2, 2, 3])
        x = shape(axes, 4)
        name = draw.choice(["constant", "reflect", "edge", "wrap"])
        yield name, [draw.randrange(4) for _ in range(2 * axes)], x
        yield "roll", [draw.randrange(-30, 30), draw.randrange(2 + axes)], x
    for k in range(12):
        x = [draw.choice([2, 3, 5]), 4] + shape(draw.choice([1, 2, 3]), 2)[2:]
        for name, numbers in (("batch_norm", []), ("batch_norm_inference", []), ("running", []),
                              ("layer_norm", [draw.randrange(1, len(x))]),
                              ("group_norm", [draw.choice([1, 2, 4])]),
                              ("local_response_norm", [draw.choice([1, 2, 3, 5])])):
            yield name, numbers, x


def line(name, numbers, shape):
    x = operand(shape, 1).requires_grad_()
    y = evaluate(name, numbers, x)
    (y * operand(list(y.shape), 3)).sum().backward()
    fields = [name, text(numbers) or "-", text(shape)]
    for tensor in (y, x.grad):
        fields += [text(tensor.shape), text(repr(s) for s in sums(tensor))]
    return " ".join(fields)


if __name__ == "__main__":
    for case in cases():
        print(line(*case))
