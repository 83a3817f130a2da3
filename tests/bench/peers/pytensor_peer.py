"""PyTensor in its numba mode as a contender."""
import numpy as np
import pytensor
import pytensor.tensor as pt
from serve import NotMeasured, class_numbers, filled, sample, serve

pytensor.config.floatX = "float32"
pytensor.config.mode = "NUMBA"


def repeated(inputs, output, *arguments):
    f = pytensor.function(inputs, output)
    f.trust_input = True
    arguments = [np.asarray(a) for a in arguments]

    def run():
        return f(*arguments)

    return run, lambda: sample(run())


def trained(inputs, loss, parameters, rate, *data):
    gradients = pytensor.grad(loss, parameters)
    f = pytensor.function(inputs, loss, updates=[
        (p, p - np.float32(rate) * g) for p, g in zip(parameters, gradients)])
    f.trust_input = True

    def run():
        return float(f(*data))

    return run, lambda: [run(), run(), run()]


def mlp(batch):
    x, labels = pt.fmatrix("x"), pt.lvector("labels")
    w1 = pytensor.shared(filled((784, 512), 1, 0.1))
    b1 = pytensor.shared(filled((512,), 0, 0))
    w2 = pytensor.shared(filled((512, 10), 2, 0.1))
    b2 = pytensor.shared(filled((10,), 0, 0))
    logits = pt.dot(pt.maximum(pt.dot(x, w1) + b1, np.float32(0)), w2) + b2
    picked = pt.special.log_softmax(logits, axis=1)[pt.arange(labels.shape[0]), labels]
    loss = -pt.sum(picked) / pt.cast(labels.shape[0], "float32")
    return trained([x, labels], loss, [w1, b1, w2, b2], 0.01, filled((batch, 784), 3),
                   class_numbers((batch,), 10))


def logistic():
    x, y = pt.fmatrix("x"), pt.fvector("y")
    w, b = pytensor.shared(filled((2,), 1)), pytensor.shared(np.zeros((), np.float32))
    one = np.float32(1)
    q = one / (one + pt.exp(-pt.dot(x, w) - b))
    terms = -y * pt.log(q) - (one - y) * pt.log(one - q)
    loss = pt.sum(terms) / np.float32(25) + np.float32(0.01) * pt.sum(w * w)
    return trained([x, y], loss, [w, b], 0.1, filled((25, 2), 3),
                   class_numbers((25,), 2).astype("float32"))


def scans(parts):
    gradient = parts[2] == "gradient"
    if parts[1] == "sum":
        x = pt.fvector("x")
        y = pytensor.scan(lambda row, total: total + row, sequences=[x],
                          outputs_info=[pt.zeros((), dtype="float32")], return_updates=False)
        return repeated([x], pytensor.grad(pt.sum(y * y), x) if gradient else y,
                        filled((100000,), 0))
    if parts[1] == "pendulum":
        u = pt.fvector("u")

        def step(push, angle, speed):
            force = push - np.float32(9.81) * pt.sin(angle) - np.float32(0.1) * speed
            speed = speed + np.float32(0.01) * force
            return angle + np.float32(0.01) * speed, speed

        angles, _ = pytensor.scan(step, sequences=[u], return_updates=False, outputs_info=[
            pt.ones((), dtype="float32"), pt.zeros((), dtype="float32")])
        squares = angles * angles
        return repeated([u], pytensor.grad(pt.sum(squares), u) if gradient else squares,
                        filled((100000,), 0))
    raise NotMeasured("/".join(parts))


def make(parts):
    kind = parts[0]
    if kind == "mlp":
        return mlp(int(parts[1]))
    if kind == "call":
        if parts[1] == "logistic25":
            return logistic()
        a, b = pt.fscalar("a"), pt.fscalar("b")
        return repeated([a, b], a + b, np.array(1.5, np.float32), np.array(2.25, np.float32))
    if kind == "elementwise":
        x, y = pt.fvector("x"), pt.fvector("y")
        xs, ys = filled((int(parts[2]),), 0, 2), filled((int(parts[2]),), 1, 2)
        f = np.float32
        if parts[1] == "mix":
            return repeated([x, y], pt.tanh(x * y + f(1)) * pt.exp(-(x * x)) + y / f(2)
                            - x * pt.maximum(y, f(0)), xs, ys)
        return repeated([x], ((((f(0.5) * x + f(0.25)) * x + f(1.5)) * x + f(0.75)) * x
                              + f(1.25)) * x + f(2.0), xs)
    if kind in ("softmax", "sum"):
        m = pt.fmatrix("m")
        ms = filled([int(size) for size in parts[-1].split("x")], 0)
        if kind == "sum":
            return repeated([m], pt.sum(m, axis=1 if parts[1] == "rows" else 0), ms)
        return repeated([m], pt.special.softmax(m, axis=1), ms)
    if kind == "scan":
        return scans(parts)
    raise NotMeasured("/".join(parts))


serve(make)
