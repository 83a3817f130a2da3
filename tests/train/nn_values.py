"""Writes nn_values.txt, which test_nn_values.cpp compares with: what layers and losses give, and their
gradients, as PyTorch computes them in double precision.

    python3 nn_values.py > nn_values.txt

It needs PyTorch and scikit-learn (for the two metrics of scores).
"""

import math

import torch
import torch.nn.functional as F
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_score,
    r2_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

torch.set_default_dtype(torch.float64)


def numbers(seed, *shape, shift=0.0):
    count = math.prod(shape)
    values = [((7 * k + 3 * seed) % 11 - 5) / 10 + shift for k in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def show(name, *tensors):
    values = [float(v) for t in tensors for v in torch.as_tensor(t).detach().flatten()]
    print(name, *(repr(v) for v in values))


def with_gradients(name, y, *inputs):
    """y, and the gradients of the sum of its elements times numbers."""
    y = y if isinstance(y, (list, tuple)) else [y]
    cost = sum((t * numbers(9 + k, *t.shape)).sum() for k, t in enumerate(y))
    show(name, *y, *torch.autograd.grad(cost, inputs))


def loss(name, value, *inputs):
    show(name, value, *torch.autograd.grad(value, inputs))


def free(seed, *shape, shift=0.0):
    return numbers(seed, *shape, shift=shift).requires_grad_()


# ---- Activations

scaled = (16 * numbers(1, 11, shift=0.03)).requires_grad_()
for name, y in {
    "relu": F.relu(scaled),
    "relu6": F.relu6(scaled),
    "leaky_relu": F.leaky_relu(scaled),
    "elu": F.elu(scaled),
    "selu": F.selu(scaled),
    "gelu": F.gelu(scaled),
    "gelu_tanh": F.gelu(scaled, approximate="tanh"),
    "silu": F.silu(scaled),
    "mish": F.mish(scaled),
    "hard_sigmoid": (scaled / 6 + 0.5).clamp(0, 1),
    "softsign": F.softsign(scaled),
    "tanh": torch.tanh(scaled),
    "sigmoid": torch.sigmoid(scaled),
    "softplus": F.softplus(scaled),
    "softmax": F.softmax(scaled, 0),
}.items():
    with_gradients(name, y, scaled)

# ---- Normalisation

x, scale, shift = free(1, 2, 4, 3, 2), free(2, 4, shift=1.0), free(3, 4)
with_gradients("group_norm", F.group_norm(x, 2, scale, shift, 1e-5), x, scale, shift)
with_gradients("instance_norm", F.instance_norm(x, weight=scale, bias=shift, eps=1e-5), x, scale, shift)
scale2, shift2 = free(2, 3, 2, shift=1.0), free(3, 3, 2)
with_gradients("layer_norm", F.layer_norm(x, (3, 2), scale2, shift2, 1e-5), x, scale2, shift2)

# ---- Convolutions of single channels

x, depthwise, weight, bias = free(1, 2, 3, 5, 6), free(2, 6, 1, 3, 2), free(3, 4, 6, 1, 1), free(4, 4)
between = F.softplus(F.conv2d(x, depthwise, stride=2, padding=1, groups=3))
with_gradients("separable", F.conv2d(between, weight, bias), x, depthwise, weight, bias)
x, depthwise, bias = free(1, 2, 3, 5), free(2, 6, 1, 3), free(4, 6)
with_gradients("depthwise1d", F.conv1d(x, depthwise, bias, groups=3), x, depthwise, bias)

# ---- Recurrent layers: weights as numbers of these seeds, in PyTorch's shapes.


def set_weights(layer):
    for k, parameter in enumerate(layer.parameters()):
        parameter.data = numbers(20 + k, *parameter.shape) * 2


x = free(1, 3, 5, 2)
for name, kind in (("rnn", torch.nn.RNN), ("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)):
    layer = kind(2, 4, batch_first=True)
    set_weights(layer)
    y, state = layer(x)
    state = state if isinstance(state, tuple) else (state,)
    with_gradients(name, [y, *(s[0] for s in state)], x)
    initial = tuple(free(7 + k, 1, 3, 4) for k in range(len(state)))
    y, state = layer(x, initial if name == "lstm" else initial[0])
    state = state if isinstance(state, tuple) else (state,)
    with_gradients(name + "_from", [y, *(s[0] for s in state)], x, *initial)

# Two layers in two directions of sequences of 5, 3 and 1 steps, the last states.
layer = torch.nn.LSTM(2, 4, batch_first=True, bidirectional=True)
set_weights(layer)
packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3, 1]), batch_first=True)
y, (h, _) = layer(packed)
y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
with_gradients("bidirectional", [h[0], h[1]], x)
show("bidirectional_sequences", y)
layer = torch.nn.GRU(2, 4, num_layers=2, batch_first=True)
set_weights(layer)
y, h = layer(x)
with_gradients("stacked", [y, h[0], h[1]], x)

# ---- Attention: to others under a mask of padding, and to itself, causal.

queries, memory = free(1, 2, 3, 4), free(2, 2, 5, 4)
layer = torch.nn.MultiheadAttention(4, 2, batch_first=True)
matrices = [3 * numbers(30 + k, 4, 4) for k in range(4)]
biases = [numbers(40 + k, 4) for k in range(4)]
layer.in_proj_weight.data = torch.cat([m.T for m in matrices[:3]])
layer.in_proj_bias.data = torch.cat(biases[:3])
layer.out_proj.weight.data, layer.out_proj.bias.data = matrices[3].T.contiguous(), biases[3]
is_padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
y, _ = layer(queries, memory, memory, key_padding_mask=is_padding)
with_gradients("attention_padding", y, queries, memory)
is_later = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
y, _ = layer(memory, memory, memory, attn_mask=is_later, key_padding_mask=is_padding)
with_gradients("attention_causal", y, memory)

# ---- Losses

x, y = free(1, 4, 3), numbers(2, 4, 3)
logits, labels = free(3, 5, 3), torch.tensor([0, 2, 1, 1, 0])
weights = torch.tensor([0.5, 1.0, 2.0])
loss("cross_entropy_smooth", F.cross_entropy(logits, labels, weight=weights, label_smoothing=0.2), logits)
loss(
    "cross_entropy_ignored",
    F.cross_entropy(logits, labels, weight=weights, label_smoothing=0.2, ignore_index=1),
    logits,
)
loss("cross_entropy_plain", F.cross_entropy(logits, labels, label_smoothing=0.2), logits)
p = F.softmax(logits, 1)[torch.arange(5), labels]
loss("focal", ((1 - p) ** 2 * -torch.log(p)).mean(), logits)
positive = torch.sigmoid(x)
target = (y > 0).double()
p = positive * target + (1 - positive) * (1 - target)
alpha = 0.25 * target + 0.75 * (1 - target)
loss("binary_focal", (alpha * (1 - p) ** 2 * -torch.log(p)).mean(), x)
counts = (y > 0).double() * 3
loss("poisson_nll", F.poisson_nll_loss(x, counts), x)
variance = free(5, 4, 3, shift=0.6)
loss("gaussian_nll", F.gaussian_nll_loss(x, y, variance), x, variance)
loss("mean_squared_error", F.mse_loss(x, y), x)
loss("mean_absolute_error", F.l1_loss(x, y), x)
loss("log_cosh", torch.log(torch.cosh(x - y)).mean(), x)
loss("huber", F.huber_loss(x, y, delta=0.3), x)
signs = 2 * target - 1
loss("hinge", (1 - signs * x).clamp(min=0).mean(), x)
loss("squared_hinge", (1 - signs * x).clamp(min=0).square().mean(), x)
classes = F.one_hot(torch.tensor([0, 2, 1, 1]), 3).double()
others = (x - 1e9 * classes).max(1).values
loss("categorical_hinge", (1 + others - (x * classes).sum(1)).clamp(min=0).mean(), x)
q, p = F.log_softmax(x, 1), F.softmax(numbers(6, 4, 3), 1)
loss("kl_divergence", F.kl_div(q, p, reduction="batchmean"), x)
loss("soft_cross_entropy", F.cross_entropy(x, p), x)
loss("binary_cross_entropy", F.binary_cross_entropy_with_logits(x, target), x)
loss("cosine", (1 - F.cosine_similarity(x, y)).mean(), x)
loss("triplet", F.triplet_margin_loss(x, y, numbers(8, 4, 3)), x)

# ---- Connectionist temporal classification: 6 examples of up to 7 steps, 4 classes, labels padded.

logits = free(1, 6, 7, 4, shift=0.2)
labels = torch.tensor([[1, 2, 3], [1, 1, 2], [3, 1, 1], [2, 2, 2], [1, 2, 1], [2, 1, 3]])
steps, lengths = torch.tensor([7, 4, 5, 7, 3, 1]), torch.tensor([3, 3, 1, 0, 2, 1])


def ctc(reduction):
    by_step = F.log_softmax(logits, 2).transpose(0, 1)
    return F.ctc_loss(by_step, labels, steps, lengths, blank=0, reduction=reduction)


show("ctc_each", ctc("none"))
loss("ctc", ctc("sum") / 6, logits)
loss("ctc_per_label", ctc("mean"), logits)
# The second example has no path in 3 steps: 1 1 2 takes 4.
steps[1] = 3
show("ctc_impossible", ctc("none"))
logits2 = free(2, 2, 5, 3)
by_step = F.log_softmax(logits2, 2).transpose(0, 1)
last_blank = F.ctc_loss(
    by_step, torch.tensor([[0, 1], [1, 1]]), torch.tensor([5, 4]), torch.tensor([2, 2]), blank=2, reduction="sum"
)
loss("ctc_last_blank", last_blank / 2, logits2)

# ---- Metrics of scores

scores = numbers(4, 30)
ones = (numbers(5, 30) + numbers(6, 30) / 3 > 0).long()
show("roc_auc", roc_auc_score(ones, scores))
show("average_precision", average_precision_score(ones, scores))

# ---- Metrics of classes and of numbers

logits, labels = numbers(3, 12, 4), torch.tensor([0, 2, 1, 1, 0, 3, 2, 2, 1, 0, 0, 1])
predicted = logits.argmax(1)
show("confusion", confusion_matrix(labels, predicted).flatten())
for name, score in (("precision", precision_score), ("recall", recall_score), ("f1_score", f1_score)):
    show(name, score(labels, predicted, average=None, zero_division=0))
show("top_2", top_k_accuracy_score(labels, logits + 1e-9 * numbers(5, 12, 4), k=2))
show("r_squared", r2_score(numbers(2, 12), numbers(2, 12) + numbers(7, 12) / 2))
