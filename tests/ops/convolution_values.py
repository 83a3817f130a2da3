"""Values of convolutions, their transposes and the gradients of both, from PyTorch.

    python3 tests/ops/convolution_values.py > tests/ops/convolution_values.txt

needs torch. Operands are small whole numbers, so that every sum is exact: a line of the output has
the call and, for the result and each gradient, its shape and two sums over its elements, weighted
by the elements' positions. test_convolution.cpp makes the same operands and compares.
"""
import math
import random

import numpy
import torch
import torch.nn.functional as F


def operand(shape, seed):
    count = int(numpy.prod(shape))
    i = numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(seed * 7919)
    mixed = (i * numpy.uint64(2654435761)) % numpy.uint64(2**32)
    values = (mixed >> numpy.uint64(16)) % numpy.uint64(7)
    return torch.tensor(values.astype(numpy.float64) - 3).reshape(shape)


def sums(t):
    flat = t.detach().contiguous().reshape(-1).numpy()
    i = numpy.arange(flat.size)
    return [int(numpy.sum(flat * (i % 11 - 5))), int(numpy.sum(flat * (i % 17 + 1)))]


def widths(case):
    """(before, after) for each spatial axis."""
    result = []
    for axis, size in enumerate(case["size"]):
        reach = (case["window"][axis] - 1) * case["dilation"][axis] + 1
        stride = case["stride"][axis]
        if case["padding"] == "valid":
            result.append((0, 0))
        elif case["padding"] == "full":
            result.append((reach - 1, reach - 1))
        elif case["padding"] == "same":
            positions = math.ceil(size / stride)
            needed = max((positions - 1) * stride + reach - size, 0)
            result.append((needed // 2, needed - needed // 2))
        else:
            result.append(case["padding"][axis])
    return result


def evaluate(case):
    axes = len(case["size"])
    x = operand([case["n"], case["c"]] + case["size"], 1).requires_grad_()
    groups = case["groups"]
    if case["transposed"]:
        w = operand([case["c"], case["o"] // groups] + case["window"], 2).requires_grad_()
    else:
        w = operand([case["o"], case["c"] // groups] + case["window"], 2).requires_grad_()
    if case["last"]:  # the elements of x are numbered with the channels last
        shape = [case["n"]] + case["size"] + [case["c"]]
        x = operand(shape, 1).requires_grad_()
    seen = x.movedim(-1, 1) if case["last"] else x
    filters = w.flip(list(range(2, 2 + axes))) if case["flip"] else w
    if case["transposed"]:
        f = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][axes - 1]
        pads = [before for before, _ in widths(case)]
        y = f(seen, filters, stride=case["stride"], padding=pads, dilation=case["dilation"],
              groups=groups, output_padding=case["more"])
    else:
        f = [F.conv1d, F.conv2d, F.conv3d][axes - 1]
        pads = [p for pair in reversed(widths(case)) for p in pair]
        y = f(F.pad(seen, pads), filters, stride=case["stride"], dilation=case["dilation"],
              groups=groups)
    if case["last"]:
        y = y.movedim(1, -1)
    y = y.contiguous()
    (y * operand(list(y.shape), 3)).sum().backward()
    return [y, x.grad, w.grad]


def text(numbers):
    return ",".join(str(n) for n in numbers)


def line(case):
    padding = case["padding"]
    if not isinstance(padding, str):
        padding = ";".join(text(pair) for pair in padding)
    fields = ["transposed" if case["transposed"] else "conv",
              "last" if case["last"] else "first", "flip" if case["flip"] else "as_is",
              text([case["n"], case["c"], case["o"], case["groups"]]), text(case["size"]),
              text(case["window"]), text(case["stride"]), text(case["dilation"]), padding,
              text(case["more"])]
    for tensor in evaluate(case):
        fields += [text(tensor.shape), text(sums(tensor))]
    return " ".join(fields)


def cases():
    draw = random.Random(13)
    settings = []
    for axes, count in ((1, 30), (2, 70), (3, 20)):
        for _ in range(count):
            transposed = draw.random() < 0.25
            setting = {"transposed": transposed, "last": draw.random() < 0.3,
                       "flip": draw.random() < 0.1,
                       "window": [draw.choice([1, 2, 3, 3, 3, 5]) for _ in range(axes)],
                       "stride": [draw.choice([1, 1, 1, 2, 3]) for _ in range(axes)],
                       "dilation": [draw.choice([1, 1, 1, 2, 3]) for _ in range(axes)],
                       "kind": draw.choice(["plain", "plain", "plain", "groups", "depthwise"])}
            if draw.random() < 0.3:  # what networks are made of
                setting["window"] = [draw.choice([1, 3, 5])] * axes
                setting["stride"] = [draw.choice([1, 2])] * axes
                setting["dilation"] = [1] * axes
            if transposed:
                p = [draw.randrange(2) for _ in range(axes)]
                setting["padding"] = draw.choice(["valid", [(k, k) for k in p]])
                setting["more"] = [draw.randrange(s) for s in setting["stride"]]
            else:
                given = [(draw.randrange(4), draw.randrange(4)) for _ in range(axes)]
                setting["padding"] = draw.choice(["valid", "same", "full", given])
                setting["more"] = [0] * axes
            settings.append(setting)
    for setting in settings:
        axes = len(setting["window"])
        made = 0
        while made < 6:
            case = dict(setting)
            limit = {1: 40, 2: 17, 3: 7}[axes]
            case["size"] = [draw.choice([1, 3, 5, 7, draw.randrange(1, limit)])
                            for _ in range(axes)]
            case["n"] = draw.choice([1, 2, 3, 17, 50] if axes < 3 else [1, 2, 3])
            c, o = (draw.choice([1, 3, 4, 20, 40] if axes < 3 else [1, 2, 3, 8]) for _ in "co")
            case["groups"] = 1
            if case["kind"] == "groups":
                c, o, case["groups"] = 4 * c if c < 9 else c, 4 * o if o < 9 else o, 4
            elif case["kind"] == "depthwise":
                c, o, case["groups"] = c, c * draw.choice([1, 2]), c
            if axes == 3 and c * o > 256:
                continue
            case["c"], case["o"] = c, o
            if not case["transposed"]:
                fits = all(size + sum(pad) >= (k - 1) * d + 1 for size, pad, k, d in
                           zip(case["size"], widths(case), case["window"], case["dilation"]))
            else:
                fits = all((size - 1) * s + (k - 1) * d + 1 - sum(pad) > 0 for size, s, pad, k, d in
                           zip(case["size"], case["stride"], widths(case), case["window"],
                               case["dilation"]))
            work = case["n"] * c * o // case["groups"] * math.prod(case["window"]) * math.prod(
                size + sum(pad) for size, pad in zip(case["size"], widths(case)))
            if fits and work < 3e6:
                made += 1
                yield case


if __name__ == "__main__":
    for case in cases():
        print(line(case))
