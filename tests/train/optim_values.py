"""Writes optim_values.txt, which test_optim.cpp compares with: the parameters of a toy cost after 1,
2, 10 and 50 steps of every optimizer, and the rates of some schedules.

    python3 optim_values.py > optim_values.txt

It needs PyTorch; the values do not depend on its version as far as the rules do not. PyTorch has no
Lamb and no Lion, and its Muon works in bfloat16: these follow the formulas of the papers, below.
"""

import math

import torch

torch.set_default_dtype(torch.float64)


def numbers(seed, *shape):
    count = math.prod(shape)
    values = [((7 * k + 3 * seed) % 11 - 5) / 10 for k in range(count)]
    return torch.tensor(values).reshape(shape)


A, C, D = numbers(4, 2, 3), numbers(5, 2, 2), numbers(6, 4) + 0.6


def parameters():
    """Two matrices, one wide and one tall, and a vector."""
    return [p.requires_grad_() for p in (numbers(1, 2, 3), numbers(2, 3, 2), numbers(3, 4))]


def cost(u, t, v):
    fit = ((u @ t - C) ** 2).sum() / 2
    return fit + (A * torch.sin(u)).sum() + (D * torch.nn.functional.softplus(v)).sum() + (v**4).sum() / 10


def show(name, step, values):
    print(name, step, *(repr(float(x)) for x in values))


def run(name, optimizer, params, before_step=lambda: None):
    for step in range(1, 51):
        for p in params:
            p.grad = None
        cost(*params).backward()
        before_step()
        optimizer.step()
        if step in (1, 2, 10, 50):
            show(name, step, torch.cat([p.detach().flatten() for p in params]))


class ByFormula:
    """An optimizer of PyTorch's kind: `rule` changes a parameter in place."""

    def __init__(self, params, rule):
        self.params, self.rule, self.count = params, rule, 0
        self.states = [{} for _ in params]

    @torch.no_grad()
    def step(self):
        self.count += 1
        for p, state in zip(self.params, self.states):
            self.rule(p, p.grad, state, self.count)


def adam_direction(g, state, t, beta1, beta2, epsilon):
    state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g * g
    m, v = state["m"] / (1 - beta1**t), state["v"] / (1 - beta2**t)
    return m / (v.sqrt() + epsilon)


def lamb(rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-6, decay=0.0):
    def rule(p, g, state, t):
        r = adam_direction(g, state, t, beta1, beta2, epsilon) + decay * p
        trust = p.norm() / r.norm() if p.norm() > 0 and r.norm() > 0 else 1.0
        p -= rate * trust * r

    return rule


def lion(rate=1e-4, beta1=0.9, beta2=0.99, decay=0.0):
    def rule(p, g, state, t):
        m = state.get("m", torch.zeros_like(p))
        update = (beta1 * m + (1 - beta1) * g).sign() + decay * p
        p -= rate * update
        state["m"] = beta2 * m + (1 - beta2) * g

    return rule


def muon(rate=1e-3, momentum=0.95, nesterov=True, decay=0.1, iterations=5, rms=False, fallback_rate=1.0):
    a, b, c = 3.4445, -4.7750, 2.0315

    def rule(p, g, state, t):
        if p.dim() != 2:
            p *= 1 - rate * fallback_rate * decay
            p -= rate * fallback_rate * adam_direction(g, state, t, 0.9, 0.999, 1e-8)
            return
        state["m"] = momentum * state.get("m", 0) + (1 - momentum) * g
        d = (1 - momentum) * g + momentum * state["m"] if nesterov else state["m"]
        x = d / max(float(d.norm()), 1e-7)
        for _ in range(iterations):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        rows, columns = p.shape
        scale = 0.2 * math.sqrt(max(rows, columns)) if rms else math.sqrt(max(1, rows / columns))
        p *= 1 - rate * decay
        p -= rate * scale * x

    return rule


TORCH = [
    ("sgd", torch.optim.SGD, {}),
    ("sgd_momentum", torch.optim.SGD, dict(lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.02)),
    ("sgd_nesterov", torch.optim.SGD, dict(lr=0.05, momentum=0.8, nesterov=True)),
    ("adagrad", torch.optim.Adagrad, {}),
    ("adagrad_options", torch.optim.Adagrad,
     dict(lr=0.2, lr_decay=0.1, weight_decay=0.01, initial_accumulator_value=0.1, eps=1e-6)),
    ("adadelta", torch.optim.Adadelta, {}),
    ("adadelta_options", torch.optim.Adadelta, dict(lr=2.0, rho=0.8, eps=1e-4, weight_decay=0.03)),
    ("rmsprop", torch.optim.RMSprop, {}),
    ("rmsprop_options", torch.optim.RMSprop,
     dict(lr=0.005, alpha=0.9, eps=1e-6, weight_decay=0.01, momentum=0.5)),
    ("rmsprop_centered", torch.optim.RMSprop, dict(lr=0.005, eps=1e-4, centered=True, momentum=0.3)),
    ("adam", torch.optim.Adam, {}),
    ("adam_options", torch.optim.Adam, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05)),
    ("adam_amsgrad", torch.optim.Adam, dict(lr=0.05, betas=(0.5, 0.6), amsgrad=True)),
    ("adamw", torch.optim.AdamW, {}),
    ("adamw_options", torch.optim.AdamW, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)),
    ("nadam", torch.optim.NAdam, {}),
    ("nadam_options", torch.optim.NAdam,
     dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05, momentum_decay=0.1)),
    ("adamax", torch.optim.Adamax, {}),
    ("adamax_options", torch.optim.Adamax, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05)),
]

for name, kind, options in TORCH:
    params = parameters()
    run(name, kind(params, **options), params)

for name, rule in [
    ("lamb", lamb()),
    ("lamb_options", lamb(0.02, 0.8, 0.95, 1e-4, 0.1)),
    ("lion", lion()),
    ("lion_options", lion(0.003, 0.8, 0.9, 0.2)),
    ("muon", muon()),
    ("muon_options", muon(0.02, 0.9, False, 0.0, 3, True, 0.5)),
]:
    params = parameters()
    run(name, ByFormula(params, rule), params)

params = parameters()
run("clip_norm", torch.optim.Adam(params, lr=0.01, eps=0.01), params,
    lambda: torch.nn.utils.clip_grad_norm_(params, 0.5))

params = parameters()
run("clip_value", torch.optim.SGD(params, lr=0.1, momentum=0.5), params,
    lambda: torch.nn.utils.clip_grad_value_(params, 0.25))

params = parameters()
run("groups", torch.optim.AdamW([{"params": params[:2]},
                                 {"params": params[2:], "weight_decay": 0.0, "lr": 0.005}],
                                lr=0.01, weight_decay=0.2), params)


def rates(name, make, count, rate):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = make(optimizer)
    values = []
    for _ in range(count):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    show(name, count, values)


S = torch.optim.lr_scheduler
rates("rate_step_decay", lambda o: S.StepLR(o, 3, 0.5), 10, 0.1)
rates("rate_exponential", lambda o: S.ExponentialLR(o, 0.9), 10, 0.1)
rates("rate_polynomial", lambda o: S.PolynomialLR(o, 8, 2.0), 10, 0.1)
rates("rate_cosine", lambda o: S.CosineAnnealingLR(o, 8, 0.01), 9, 0.1)
rates("rate_restarts", lambda o: S.CosineAnnealingWarmRestarts(o, 4, 1, 0.01), 14, 0.1)
rates("rate_restarts_growing", lambda o: S.CosineAnnealingWarmRestarts(o, 2, 2, 0.01), 16, 0.1)
rates("rate_one_cycle", lambda o: S.OneCycleLR(o, 0.1, total_steps=12, cycle_momentum=False), 11, 0.1)
rates("rate_one_cycle_linear",
      lambda o: S.OneCycleLR(o, 0.1, total_steps=12, pct_start=0.5, anneal_strategy="linear",
                             div_factor=10, final_div_factor=100, cycle_momentum=False), 11, 0.1)
rates("rate_warm_up",
      lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.2, total_iters=4), S.ExponentialLR(o, 0.9)], [4]),
      9, 0.1)
