"""Trainings in JAX with optax: functions of a tree of parameters, one jitted step."""
import sys
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from training_data import (GPT_BATCH, GPT_BATCHES, GPT_HEADS, GPT_LAYERS, GPT_STEPS, GPT_WIDTH,
                           PHOTO_BATCH, TEXT_BATCH, TEXT_STEPS, TEXT_UNITS, VGG, Training, alone,
                           cifar, digits, photograph, photographs, shifted, text)


class Initial:
    """Parameters that models start from."""

    def __init__(self):
        self.key = jax.random.PRNGKey(1)

    def weights(self, shape, inputs):
        self.key, key = jax.random.split(self.key)
        return jax.random.normal(key, shape) * np.sqrt(2 / inputs)

    def dense(self, inputs, outputs):
        return {"w": self.weights((inputs, outputs), inputs), "b": jnp.zeros(outputs)}

    def conv(self, inputs, outputs, window):
        return {"w": self.weights((outputs, inputs, window, window), inputs * window * window),
                "b": jnp.zeros(outputs)}

    def norm(self):
        return {"scale": jnp.ones(GPT_WIDTH), "shift": jnp.zeros(GPT_WIDTH)}


def dense(p, x):
    return x @ p["w"] + p["b"]


def conv(p, x, padding="VALID"):
    return lax.conv_general_dilated(x, p["w"], (1, 1), padding) + p["b"][:, None, None]


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def dropout(x, rate, key):
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def training(parameters, model, optimizer, batches):
    """model(parameters, x, key) gives logits; batches() those of an epoch."""
    state = [parameters, optimizer.init(parameters), jax.random.PRNGKey(2)]

    @jax.jit
    def step(parameters, of_optimizer, key, x, labels):
        key, dropped = jax.random.split(key)

        def loss_of(parameters):
            logits = model(parameters, x, dropped)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, (logits.argmax(-1) == labels).mean()

        (loss, right), gradient = jax.value_and_grad(loss_of, has_aux=True)(parameters)
        changes, of_optimizer = optimizer.update(gradient, of_optimizer, parameters)
        return optax.apply_updates(parameters, changes), of_optimizer, key, loss, right

    def epoch():
        losses = right = count = 0
        for x, labels in islice(batches(), Training.limit):
            *state[:], loss, accuracy = step(*state, x, labels)
            losses += float(loss) * len(x)
            right += float(accuracy) * len(x)
            count += len(x)
        return losses / count, right / count

    return Training(epoch)


def shuffled(x, labels, size, change=lambda x: x, drop_last=False):
    random = np.random.default_rng(1)

    def batches():
        order = random.permutation(len(x))
        last = len(x) - len(x) % size if drop_last else len(x)
        for start in range(0, last, size):
            rows = order[start:start + size]
            yield change(x[rows]), labels[rows]

    return batches


def unit(batch):
    return batch.astype(np.float32) / 255


def mnist_mlp():
    initial = Initial()
    parameters = [initial.dense(784, 512), initial.dense(512, 512), initial.dense(512, 10)]

    def model(p, x, key):
        first, second = jax.random.split(key)
        x = dropout(jax.nn.relu(dense(p[0], x.reshape(-1, 784))), 0.2, first)
        x = dropout(jax.nn.relu(dense(p[1], x)), 0.2, second)
        return dense(p[2], x)

    return training(parameters, model, optax.adam(1e-3), shuffled(*digits(), 128, unit))


def mnist_cnn():
    initial = Initial()
    parameters = [initial.conv(1, 32, 3), initial.conv(32, 64, 3), initial.dense(1600, 10)]

    def model(p, x, key):
        x = pool(jax.nn.relu(conv(p[0], x)))
        x = pool(jax.nn.relu(conv(p[1], x)))
        return dense(p[2], dropout(x.reshape(len(x), -1), 0.5, key))

    pictures, labels = digits()
    return training(parameters, model, optax.adam(1e-3),
                    shuffled(pictures[:, None], labels, 128, unit))


def cifar_cnn():
    initial = Initial()
    parameters = [initial.conv(3, 20, 5), initial.conv(20, 40, 5), initial.dense(1000, 1000),
                  initial.dense(1000, 1000), initial.dense(1000, 10)]

    def model(p, x, key):
        first, second = jax.random.split(key)
        x = pool(jax.nn.relu(conv(p[0], x)))
        x = pool(jax.nn.relu(conv(p[1], x)))
        x = dropout(jax.nn.relu(dense(p[2], x.reshape(len(x), -1))), 0.5, first)
        x = dropout(jax.nn.relu(dense(p[3], x)), 0.5, second)
        return dense(p[4], x)

    random = np.random.default_rng(1)
    return training(parameters, model, optax.sgd(0.01),
                    shuffled(*cifar(), 50, lambda batch: unit(shifted(batch, random))))


def char_lstm():
    numbers, characters = text()
    initial = Initial()
    gates = 4 * TEXT_UNITS
    parameters = {"table": initial.weights((characters, 64), 64), "x": initial.dense(64, gates),
                  "h": initial.weights((TEXT_UNITS, gates), TEXT_UNITS),
                  "out": initial.dense(TEXT_UNITS, characters)}

    def model(p, x, _):
        rows = dense(p["x"], p["table"][x])

        def step(state, row):
            h, c = state
            i, f, g, o = jnp.split(row + h @ p["h"], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((len(x), TEXT_UNITS))
        _, states = lax.scan(step, (zeros, zeros), rows.transpose(1, 0, 2))
        return dense(p["out"], states.transpose(1, 0, 2))

    count = (len(numbers) - 1) // TEXT_STEPS
    x = numbers[:count * TEXT_STEPS].reshape(count, TEXT_STEPS)
    labels = numbers[1:count * TEXT_STEPS + 1].reshape(count, TEXT_STEPS)
    return training(parameters, model, optax.adam(2e-3),
                    shuffled(x, labels, TEXT_BATCH, drop_last=True))


def gpt():
    numbers, characters = text()
    initial = Initial()
    parameters = {
        "characters": initial.weights((characters, GPT_WIDTH), 5000),
        "places": initial.weights((GPT_STEPS, GPT_WIDTH), 5000),
        "norm": initial.norm(),
        "blocks": [{"first": initial.norm(), "second": initial.norm(),
                    "queries": initial.dense(GPT_WIDTH, 3 * GPT_WIDTH),
                    "out": initial.dense(GPT_WIDTH, GPT_WIDTH),
                    "wide": initial.dense(GPT_WIDTH, 4 * GPT_WIDTH),
                    "narrow": initial.dense(4 * GPT_WIDTH, GPT_WIDTH)}
                   for _ in range(GPT_LAYERS)]}

    def norm(p, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] \
            + p["shift"]

    def block(p, x):
        b, t, c = x.shape
        q, k, v = jnp.split(dense(p["queries"], norm(p["first"], x)).reshape(
            b, t, 3 * GPT_HEADS, c // GPT_HEADS), 3, 2)
        seen = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + dense(p["out"], seen.reshape(b, t, c))
        return x + dense(p["narrow"], jax.nn.gelu(dense(p["wide"], norm(p["second"], x))))

    def model(p, x, _):
        x = p["characters"][x] + p["places"]
        for part in p["blocks"]:
            x = block(part, x)
        return norm(p["norm"], x) @ p["characters"].T

    random = np.random.default_rng(1)

    def batches():
        for _ in range(GPT_BATCHES):
            starts = random.integers(0, len(numbers) - GPT_STEPS, GPT_BATCH)
            rows = numbers[starts[:, None] + np.arange(GPT_STEPS + 1)]
            yield rows[:, :-1], rows[:, 1:]

    return training(parameters, model, optax.adamw(1e-3, weight_decay=0.1), batches)


def vgg_folder():
    files, classes = photographs()
    initial, features, channels = Initial(), [], 3
    for size in VGG:
        if size != "pool":
            features.append(initial.conv(channels, size, 3))
            channels = size
    head = [initial.dense(25088, 256), initial.dense(256, classes)]

    @jax.jit
    def featured(x):
        number = 0
        for size in VGG:
            if size == "pool":
                x = pool(x)
            else:
                x = jax.nn.relu(conv(features[number], x, "SAME"))
                number += 1
        return x.reshape(len(x), -1)

    def model(p, x, key):
        return dense(p[1], dropout(jax.nn.relu(dense(p[0], x)), 0.5, key))

    random = np.random.default_rng(1)

    def batches():
        order = random.permutation(len(files))
        for start in range(0, len(files), PHOTO_BATCH):
            rows = [files[k] for k in order[start:start + PHOTO_BATCH]]
            x = np.stack([photograph(path) for path, _ in rows])
            mirrored = random.random(len(rows)) < 0.5
            x[mirrored] = x[mirrored, :, :, ::-1]
            yield featured(x), np.array([label for _, label in rows])

    return training(head, model, optax.adam(1e-4), batches)


def make(name):
    return {"mnist_mlp": mnist_mlp, "mnist_cnn": mnist_cnn, "cifar": cifar_cnn,
            "char_lstm": char_lstm, "gpt": gpt, "vgg_folder": vgg_folder}[name]()


if __name__ == "__main__":
    alone(make, sys.argv[1])
