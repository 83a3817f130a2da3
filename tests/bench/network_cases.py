"""Convolutions alone and networks of them: layers, the multiply-adds of each, targets."""
import math

from case import Case

# BATCHxCHANNELSxSIZES-FILTERSxWINDOW, and where they are not 1, 0, 1: -sSTRIDE, -pPADDING, -gGROUPS
LAYERS = [
    # of cnn/cifar and cnn/mnist
    "50x3x32x32-20x5x5", "50x20x14x14-40x5x5",
    "128x1x28x28-32x5x5", "128x32x12x12-64x5x5",
    # VGG16
    "8x3x224x224-64x3x3-p1", "2x64x224x224-64x3x3-p1", "8x128x112x112-128x3x3-p1",
    "8x256x56x56-256x3x3-p1", "8x512x28x28-512x3x3-p1", "8x512x14x14-512x3x3-p1",
    # ResNet
    "8x3x224x224-64x7x7-s2-p3", "8x64x56x56-64x3x3-p1", "8x64x56x56-256x1x1", "8x256x56x56-64x1x1",
    "8x128x56x56-128x3x3-s2-p1", "8x512x7x7-512x3x3-p1", "8x1024x14x14-256x1x1",
    "8x256x56x56-512x1x1-s2",
    # by channel, by groups
    "8x96x56x56-96x3x3-p1-g96", "8x96x56x56-96x3x3-s2-p1-g96", "8x128x28x28-128x3x3-p1-g4",
    # one and three dimensions
    "16x64x4096-64x9-p4", "4x16x16x16x16-32x3x3x3-p1",
    # Baidu's DeepBench: speech, characters, faces, pictures
    "4x1x161x700-32x20x5-s2", "4x32x79x341-32x10x5-s2",
    "16x1x48x480-16x3x3-p1", "16x16x24x240-32x3x3-p1", "16x32x12x120-64x3x3-p1",
    "16x64x6x60-128x3x3-p1",
    "8x3x108x108-64x3x3-s2-p1", "8x64x54x54-64x3x3-p1", "8x128x27x27-128x3x3-p1",
    "8x128x14x14-256x3x3-p1", "8x256x7x7-512x3x3-p1",
    "16x192x28x28-32x5x5-p2", "16x512x14x14-48x5x5-p2",
]
# For a first look.
QUICK = ("50x20x14x14-40x5x5", "8x512x14x14-512x3x3-p1", "8x64x56x56-256x1x1",
         "8x128x56x56-128x3x3-s2-p1", "8x96x56x56-96x3x3-s2-p1-g96", "8x128x28x28-128x3x3-p1-g4",
         "16x64x4096-64x9-p4", "4x16x16x16x16-32x3x3x3-p1", "4x32x79x341-32x10x5-s2")


def multiply_adds(layer):
    picture, filters, *options = layer.split("-")
    batch, channels, *sizes = [int(size) for size in picture.split("x")]
    outputs, *windows = [int(size) for size in filters.split("x")]
    given = {option[0]: int(option[1:]) for option in options}
    positions = [(size + 2 * given.get("p", 0) - window) // given.get("s", 1) + 1
                 for size, window in zip(sizes, windows)]
    return (batch * outputs * channels // given.get("g", 1)
            * math.prod(positions) * math.prod(windows))


def layers(quick=False):
    for layer in QUICK if quick else LAYERS:
        flops = 2 * multiply_adds(layer)
        for what in ("forward", "input", "filter"):
            yield Case(f"conv/{layer}/{what}", flops, "GFLOP/s", 1e-9, ("f32", flops),
                       target=[("best", 0.95)])


# Multiply-adds of each layer of a network, for one picture.
def cifar():
    return [multiply_adds("1x3x32x32-20x5x5"), multiply_adds("1x20x14x14-40x5x5"),
            1000 * 1000, 1000 * 1000, 1000 * 10]


def mnist():
    return [multiply_adds("1x1x28x28-32x5x5"), multiply_adds("1x32x12x12-64x5x5"), 1024 * 512,
            512 * 10]


def mobilenet_block():
    return 3 * [multiply_adds("1x24x56x56-144x1x1"), multiply_adds("1x144x56x56-144x3x3-p1-g144"),
                multiply_adds("1x144x56x56-24x1x1")]


def unet_pair():
    return [multiply_adds("1x3x64x64-32x3x3-p1"), multiply_adds("1x32x32x32-64x3x3-p1"),
            multiply_adds("1x64x32x32-128x1x1"),  # the transposed one
            multiply_adds("1x64x64x64-32x3x3-p1")]


def volume():
    return [multiply_adds("1x1x16x16x16-16x3x3x3-p1"), multiply_adds("1x16x8x8x8-32x3x3x3-p1"),
            multiply_adds("1x32x4x4x4-64x3x3x3-p1"), 512 * 10]


def vgg():
    channels, size = 3, 224
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            yield multiply_adds(f"1x{channels}x{size}x{size}-{filters}x3x3-p1")
            channels = filters
        size //= 2
    yield from (512 * 7 * 7 * 4096, 4096 * 4096, 4096 * 1000)


def resnet(depth):
    yield multiply_adds("1x3x224x224-64x7x7-s2-p3")
    channels, size = 64, 56
    for stage, count in enumerate((3, 4, 6, 3) if depth == 50 else (2, 2, 2, 2)):
        width = 64 << stage
        outputs = 4 * width if depth == 50 else width
        for k in range(count):
            stride = 2 if stage > 0 and k == 0 else 1
            if stride > 1 or channels != outputs:
                yield multiply_adds(f"1x{channels}x{size}x{size}-{outputs}x1x1-s{stride}")
            if depth == 50:
                yield multiply_adds(f"1x{channels}x{size}x{size}-{width}x1x1")
                channels = width
            yield multiply_adds(f"1x{channels}x{size}x{size}-{width}x3x3-s{stride}-p1")
            size //= stride
            last = "1x1" if depth == 50 else "3x3-p1"
            yield multiply_adds(f"1x{width}x{size}x{size}-{outputs}x{last}")
            channels = outputs
    yield channels * 1000


def tolerance(name):
    """Two losses are compared, of which the second tells whether gradients are right. The first
    step changes that of a shallow network by a hundredth, that of a deep one by a tenth and more:
    there rounding, which adds up over layers, has more room. The second loss of resnet/50/8 is
    5.55 in f64 after a first of 8.34, and 5.35 to 5.60 in f32, by contender."""
    if name.startswith(("resnet/50", "resnet50")):
        return 5e-2
    return 1e-2 if name.startswith(("vgg", "resnet")) else 2e-3


def network(name, layers, target, training=True):
    batch, layers = int(name.split("/")[-1]), list(layers)
    # Forward and both gradients; the picture's is asked for by nobody.
    flops = 2 * batch * (3 * sum(layers) - layers[0] if training else sum(layers))
    return Case(name, batch, "images/s", 1, ("f32", flops), tolerance=tolerance(name),
                target=target, alone=name.startswith(("vgg", "resnet")))


def networks():
    yield network("cnn/cifar/50", cifar(), [("best", 1.5), ("floor", 0.7)])
    yield network("cnn/mnist/128", mnist(), [("best", 1.2), ("floor", 0.85)])
    yield network("cnn/mobilenet_block/16", mobilenet_block(), [("best", 1)])
    yield network("cnn/unet_pair/4", unet_pair(), [("best", 1)])
    yield network("cnn/volume/4", volume(), [("best", 1)])
    yield network("vgg/forward/1", vgg(), [("best", 1)], training=False)
    yield network("vgg/forward/8", vgg(), [("best", 1)], training=False)
    yield network("vgg/training/8", vgg(), [("best", 1)])
    yield network("resnet/18/8", resnet(18), [("best", 1.2)])
    yield network("resnet/50/8", resnet(50), [("best", 1.2)])
