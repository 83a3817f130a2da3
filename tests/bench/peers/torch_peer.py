"""PyTorch on the CPU as a contender; with the argument "compiled" through torch.compile."""
import sys

import torch
import torch.nn.functional as nn
from serve import THREADS, NotMeasured, class_numbers, filled, sample, serve

COMPILED = "compiled" in sys.argv[1:]
torch.set_num_threads(THREADS)


def tensor(array):
    return torch.from_numpy(array.copy()) if array.shape else torch.tensor(array.item())


def compiled(f):
    return torch.compile(f) if COMPILED else f


def repeated(f, *arguments):
    f = compiled(f)
    arguments = [tensor(a) for a in arguments]

    def run():
        with torch.no_grad():
            return f(*arguments)

    return run, lambda: sample(run())


def differentiated(f, *arguments):
    arguments = [tensor(a).requires_grad_() for a in arguments]

    def run():
        return torch.autograd.grad(f(*arguments), arguments)

    return run, lambda: sample(run()[0])


def trained(loss, parameters, rate, *data):
    parameters = [tensor(p).requires_grad_() for p in parameters]
    data = [tensor(d) for d in data]
    loss = compiled(loss)

    def run():
        value = loss(parameters, *data)
        gradients = torch.autograd.grad(value, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-rate)
        return value.item()

    return run, lambda: [run(), run(), run()]


def zeros(*shape):
    return filled(shape, 0, 0)


def mlp(batch):
    def loss(p, x, labels):
        w1, b1, w2, b2 = p
        return nn.cross_entropy(torch.addmm(b2, torch.relu(torch.addmm(b1, x, w1)), w2), labels)

    parameters = filled((784, 512), 1, 0.1), zeros(512), filled((512, 10), 2, 0.1), zeros(10)
    return trained(loss, parameters, 0.01, filled((batch, 784), 3), class_numbers((batch,), 10))


def logistic():
    def loss(p, x, y):
        w, b = p
        q = 1 / (1 + torch.exp(-(x @ w) - b))
        return torch.mean(-y * torch.log(q) - (1 - y) * torch.log(1 - q)) + 0.01 * torch.sum(w * w)

    return trained(loss, (filled((2,), 1), zeros()), 0.1, filled((25, 2), 3),
                   class_numbers((25,), 2).astype("float32"))


def lstm_module(inputs, hidden):
    """torch.nn.LSTM with the weights of the other contenders."""
    module = torch.nn.LSTM(inputs, hidden)
    with torch.no_grad():
        module.weight_ih_l0.copy_(tensor(filled((inputs, 4 * hidden), 1, 0.2)).T)
        module.weight_hh_l0.copy_(tensor(filled((hidden, 4 * hidden), 2, 0.2)).T)
        module.bias_ih_l0.zero_()
        module.bias_hh_l0.zero_()
    module.bias_hh_l0.requires_grad_(False)
    return module


def descended(loss, parameters, rate):
    parameters = [p for p in parameters if p.requires_grad]

    def run():
        value = loss()
        gradients = torch.autograd.grad(value, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-rate)
        return value.item()

    return run, lambda: [run(), run(), run()]


def lstm():
    module, x = lstm_module(64, 64), tensor(filled((100, 64), 3))
    return descended(lambda: torch.mean(torch.square(module(x)[0])), module.parameters(), 0.01)


def characters(vocabulary, hidden, batch, steps):
    module = lstm_module(vocabulary, hidden)
    wy = tensor(filled((hidden, vocabulary), 3, 0.2)).requires_grad_()
    by = tensor(zeros(vocabulary)).requires_grad_()
    ids = tensor(class_numbers((steps, batch), vocabulary))
    after = tensor(class_numbers((steps, batch), vocabulary - 1)).reshape(-1)

    def loss():
        states = module(nn.one_hot(ids, vocabulary).to(torch.float32))[0]
        return nn.cross_entropy(states.reshape(-1, hidden) @ wy + by, after)

    return descended(loss, [*module.parameters(), wy, by], 0.01)


def mix(x, y):
    return torch.tanh(x * y + 1) * torch.exp(-(x * x)) + y / 2 - x * torch.clamp_min(y, 0)


def polynomial(x):
    return ((((0.5 * x + 0.25) * x + 1.5) * x + 0.75) * x + 1.25) * x + 2.0


def vector_states(w, x):
    state, states = torch.zeros(64), []
    for row in x:
        state = torch.tanh(w @ state + row)
        states.append(state)
    return torch.stack(states)


def make(parts):
    kind = parts[0]
    if kind == "mlp":
        return mlp(int(parts[1]))
    if kind == "call":
        if parts[1] == "logistic25":
            return logistic()
        return repeated(lambda a, b: a + b, filled((), 0, 0) + 1.5, filled((), 0, 0) + 2.25)
    if kind == "elementwise":
        x, y = filled((int(parts[2]),), 0, 2), filled((int(parts[2]),), 1, 2)
        return repeated(mix, x, y) if parts[1] == "mix" else repeated(polynomial, x)
    if kind in ("softmax", "layernorm", "sum"):
        m = filled([int(size) for size in parts[-1].split("x")], 0)
        if kind == "sum":
            return repeated(lambda m: torch.sum(m, 1 if parts[1] == "rows" else 0), m)
        if kind == "softmax":
            return repeated(lambda m: torch.softmax(m, 1), m)
        return repeated(lambda m: nn.layer_norm(m, m.shape[1:], eps=1e-5), m)
    if COMPILED:
        raise NotMeasured(f"{kind}, compiled")
    if kind == "scan" and parts[1] == "vector64":
        w, x = filled((64, 64), 0, 0.3), filled((1000, 64), 1)
        if parts[2] == "gradient":
            return differentiated(lambda w, x: torch.sum(torch.square(vector_states(w, x))), w, x)
        return repeated(vector_states, w, x)
    if kind == "scan" and parts[1] == "sum" and parts[2] == "forward":
        return repeated(lambda x: torch.cumsum(x, 0), filled((100000,), 0))
    if kind == "lstm":
        return (lstm() if parts[1] == "h64"
                else characters(*[int(size) for size in parts[1].split("x")]))
    raise NotMeasured("/".join(parts))


serve(make)
