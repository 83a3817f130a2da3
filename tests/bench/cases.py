"""What is measured: names, the work of one call, units, floors, targets."""
import class_cases
import network_cases
from case import Case

# Where not all cases of a bench have to meet their target: most have to, and none may be below.
NEVER_UNDER = {"gemm": ("best", 0.85), "conv": ("best", 0.8)}

# M x N x K: squares, the classifier's products, an LSTM's step and its weights' gradient, others.
PRODUCTS = [(64, 64, 64), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (128, 512, 784),
            (784, 512, 128), (32, 1024, 256), (256, 1024, 1600), (128, 256, 1024),
            (4096, 64, 4096), (1, 1024, 1024)]


def gemm():
    for dtype in ("f32", "f64"):
        for m, n, k in PRODUCTS:
            for turned in ("NN", "NT", "TN", "TT"):
                flops = 2.0 * m * n * k
                yield Case(f"gemm/{dtype}/{turned}/{m}x{n}x{k}", flops, "GFLOP/s", 1e-9,
                           (dtype, flops), target=[("best", 0.95)])


def mlp():
    for batch in (128, 1, 16, 1024):
        # Forward, both gradients of weights, one gradient of a hidden layer.
        flops = 2.0 * batch * (2 * 784 * 512 + 3 * 512 * 10)
        target = [("best", 1.2), ("floor", 0.75)] if batch == 128 else [("best", 1.2)]
        yield Case(f"mlp/{batch}", batch, "images/s", 1, ("f32", flops), target=target)


def call():
    yield Case("call/add", 1, "ns", 1e9, higher=False, target=[("ours", 100), ("best", 1)])
    yield Case("call/logistic25", 1, "us", 1e6, higher=False, target=[("ours", 5), ("best", 1)])


def elementwise():
    for kind, size in (("mix", 12.0), ("polynomial", 8.0)):
        for count in (1000, 100000, 10000000):
            for result in ("given", "fresh"):
                work, large = size * count, count == 10000000
                target = [("best", 3 if large else 1)]
                if large and result == "given":
                    target.append(("floor", 0.75))
                yield Case(f"elementwise/{kind}/{count}/{result}", work, "GB/s", 1e-9,
                           ("triad", work) if large else None, target=target)


def rows(name, parts, written):
    for shape in ((1000, 1000), (8, 1000000)):
        work = 4.0 * shape[0] * shape[1] * (2 if written else 1)
        yield Case(f"{name}/{parts}{shape[0]}x{shape[1]}", work, "GB/s", 1e-9, ("triad", work),
                   target=[[("floor", 0.8), ("best", 1.5)]])


def softmax():
    yield from rows("softmax", "", True)


def layernorm():
    yield from rows("layernorm", "", True)


def sums():
    yield from rows("sum", "rows/", False)
    yield from rows("sum", "columns/", False)


def scan():
    flops = 1000 * 2.0 * 64 * 64
    for kind, steps, floors, target in (
            ("sum", 100000, [("add", 100000), None], ("jax", 1)),
            ("pendulum", 100000, [None, None], ("jax", 1)),
            ("vector64", 1000, [("f32", flops), ("f32", 3 * flops)], ("best", 1.5))):
        for what, floor in zip(("forward", "gradient"), floors):
            yield Case(f"scan/{kind}/{what}", steps, "ns/step", 1e9, floor, higher=False,
                       tolerance=2e-2, target=[target])


def published():
    for name, sizes in (("gmm", ("1000x2x5", "1000x10x25", "1000x32x50")),
                        ("ba", ("49x7776x31843",)), ("hand", ("500", "10000")),
                        ("lstm", ("2x1024x14", "4x4096x14"))):
        for size in sizes:
            for what in ("value", "derivative"):
                yield Case(f"published/{name}/{what}/{size}", 1, "us", 1e6, higher=False,
                           tolerance=1e-9, target=[("by_hand", 1.5)])


def lstm():
    flops = 3 * 100 * 2.0 * 2 * 64 * 256
    yield Case("lstm/h64", 100, "us/step", 1e6, ("f32", flops), higher=False,
               target=[("ours", 4), ("best", 1)])
    for v, h, b, t in ((65, 128, 50, 50), (65, 256, 32, 50)):
        flops = 3 * b * t * 2.0 * (h * 4 * h + h * v)
        yield Case(f"lstm/{v}x{h}x{b}x{t}", b * t, "tokens/s", 1, ("f32", flops),
                   target=[("best", 1.2)])


def compile_times():
    for what, most in (("logistic", 40), ("mlp", 120), ("lstm", 200)):
        yield Case(f"compile/{what}", 1, "ms", 1e3, higher=False,
                   target=[("ours", most), ("jax", 2)])
    for what, most in (("cifar", 400), ("resnet50", 3000)):
        yield Case(f"compile/{what}", 1, "ms", 1e3, higher=False,
                   tolerance=network_cases.tolerance(what), target=[("ours", most), ("jax", 3)])
    shorter = None
    for count, target in ((128, [("ours", 60), ("jax", 2)]), (1000, [("ours", 350), ("jax", 2)]),
                          (3000, []), (10000, [])):
        case = Case(f"compile/chain{count}", 1, "ms", 1e3, higher=False, target=target,
                    shorter=shorter)
        shorter = case.name
        yield case


def memory():
    for what, step, most in (("mlp", "mlp/128", 0.5), ("cifar", "cnn/cifar/50", 0.6),
                             ("vgg", "vgg/training/8", 0.6), ("resnet50", "resnet/50/8", 0.6)):
        yield Case("memory/" + what, 1, "MiB", 2.0**-20, higher=False, kind="peak", step=step,
                   tolerance=network_cases.tolerance(step), target=[("best", 1 / most)])
    yield Case("memory/mlp/arena", 1, "KiB", 2.0**-10, higher=False, kind="arena")


TRAININGS = ("mnist_mlp", "mnist_cnn", "cifar", "char_lstm", "gpt", "vgg_folder")


def trainings():
    # Losses of other random numbers: they are near each other.
    for what in TRAININGS:
        yield Case(f"train/{what}", 1, "s/epoch", 1, higher=False, tolerance=0.4,
                   target=[("best", 1)])
    for what in TRAININGS:
        yield Case(f"train/{what}/first", 1, "s", 1, higher=False, tolerance=0.6, kind="start",
                   target=[("best", 1)])
    for what in TRAININGS:
        yield Case(f"train/{what}/memory", 1, "MiB", 2.0**-20, higher=False, kind="peak",
                   step=f"train/{what}", tolerance=0.4, target=[("best", 1)])
    for what in TRAININGS:
        yield Case(f"train/{what}/lines", 1, "lines", 1, higher=False, kind="lines")


def size():
    yield Case("size/training", 1, "KiB", 2.0**-10, higher=False, kind="size")


GROUPS = (gemm, mlp, call, elementwise, softmax, layernorm, sums, scan, lstm, published, compile_times,
          memory, size, trainings, network_cases.layers, network_cases.networks, class_cases.cases)
WITH_QUICK_SIZES = (network_cases.layers, class_cases.cases)
# One of each kind, for a first look.
QUICK = ("gemm/f32/NN", "gemm/f32/TN/128x256x1024", "gemm/f64/NN/512x512x512", "mlp", "call",
         "elementwise/mix", "softmax", "layernorm", "sum", "scan", "lstm", "compile/logistic",
         "compile/mlp", "compile/lstm", "compile/chain1000", "memory/mlp", "size", "conv", "cnn")


def every(quick=False):
    """With `quick` those of classes are smaller, and layers fewer."""
    for group in GROUPS:
        yield from group(quick) if group in WITH_QUICK_SIZES else group()


def selected(names, quick=False):
    """Those whose name, or the beginning of it up to a slash, is among `names`; all without."""
    return [case for case in every(quick)
            if not names or any((case.name + "/").startswith(name.rstrip("/") + "/")
                                for name in names)]
