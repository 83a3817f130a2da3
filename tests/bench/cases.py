"""What is measured: names, the work of one call, units, floors."""


class Case:
    """One line of the table. `work` is done by one call; `unit` is work a second over `scale`, or
    seconds a unit of work times `scale` where lower is better."""

    def __init__(self, name, work, unit, scale, floor, higher=True, tolerance=2e-3):
        self.name = name
        self.bench, self.case = name.split("/", 1)
        self.work, self.unit, self.scale, self.floor = work, unit, scale, floor
        self.higher, self.tolerance = higher, tolerance

    def value(self, seconds):
        return (self.work / seconds if self.higher else seconds / self.work) * self.scale

    def floor_value(self, rate):
        """Of a floor in FLOP/s, B/s or additions/s."""
        if self.floor is None:
            return None
        kind, work = self.floor
        return self.value(work / rate)


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
                           (dtype, flops))


def mlp():
    for batch in (128, 1, 16, 1024):
        # Forward, both gradients of weights, one gradient of a hidden layer.
        flops = 2.0 * batch * (2 * 784 * 512 + 3 * 512 * 10)
        yield Case(f"mlp/{batch}", batch, "images/s", 1, ("f32", flops))


def call():
    yield Case("call/add", 1, "ns", 1e9, None, higher=False)
    yield Case("call/logistic25", 1, "us", 1e6, None, higher=False)


def elementwise():
    for kind, size in (("mix", 12.0), ("polynomial", 8.0)):
        for count in (1000, 100000, 10000000):
            for result in ("given", "fresh"):
                work = size * count
                yield Case(f"elementwise/{kind}/{count}/{result}", work, "GB/s", 1e-9,
                           ("triad", work) if count == 10000000 else None)


def rows(name, parts, written):
    for shape in ((1000, 1000), (8, 1000000)):
        size = shape[0] * shape[1]
        work = 4.0 * size * (2 if written else 1)
        # A megabyte or four stay in a cache.
        yield Case(f"{name}/{parts}{shape[0]}x{shape[1]}", work, "GB/s", 1e-9,
                   ("triad", work) if size > 4000000 else None)


def softmax():
    yield from rows("softmax", "", True)


def layernorm():
    yield from rows("layernorm", "", True)


def sums():
    yield from rows("sum", "rows/", False)
    yield from rows("sum", "columns/", False)


def scan():
    for kind, steps, floor in (("sum", 100000, ("add", 100000)), ("pendulum", 100000, None),
                               ("vector64", 1000, ("f32", 1000 * 2.0 * 64 * 64))):
        for what in ("forward", "gradient"):
            if kind == "vector64" and what == "gradient":
                floor = ("f32", 3 * 1000 * 2.0 * 64 * 64)
            yield Case(f"scan/{kind}/{what}", steps, "ns/step", 1e9, floor, higher=False,
                       tolerance=2e-2)


def lstm():
    flops = 3 * 100 * 2.0 * 2 * 64 * 256
    yield Case("lstm/h64", 100, "us/step", 1e6, ("f32", flops), higher=False)
    for v, h, b, t in ((65, 128, 50, 50), (65, 256, 32, 50)):
        flops = 3 * b * t * 2.0 * (h * 4 * h + h * v)
        yield Case(f"lstm/{v}x{h}x{b}x{t}", b * t, "tokens/s", 1, ("f32", flops))


def compile_times():
    for what in ("logistic", "mlp", "lstm", "chain128", "chain1000"):
        # Values of a long chain of sines differ in the last digits.
        yield Case(f"compile/{what}", 1, "ms", 1e3, None, higher=False)


def memory():
    # Not a time: the peak of a process that has run the case.
    yield Case("memory/mlp", 1, "MiB", 2.0**-20, None, higher=False)


GROUPS = (gemm, mlp, call, elementwise, softmax, layernorm, sums, scan, lstm, compile_times, memory)


def selected(names):
    """Those whose name, or the beginning of it up to a slash, is among `names`; all without."""
    return [case for group in GROUPS for case in group()
            if not names or any((case.name + "/").startswith(name.rstrip("/") + "/")
                                for name in names)]
