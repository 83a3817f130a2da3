"""TensorFlow on the CPU, through tf.function, as a contender."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from serve import THREADS, NotMeasured, class_numbers, filled, sample, serve

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(1)


def repeated(f, *arguments):
    f = tf.function(f)
    arguments = [tf.constant(a) for a in arguments]

    def run():
        return f(*arguments).numpy()  # waits for the result

    return run, lambda: sample(run())


def trained(loss, parameters, rate, *data):
    parameters = [tf.Variable(p) for p in parameters]
    data = [tf.constant(d) for d in data]

    @tf.function
    def step(*d):
        with tf.GradientTape() as tape:
            value = loss(parameters, *d)
        for p, g in zip(parameters, tape.gradient(value, parameters)):
            p.assign_sub(rate * g)
        return value

    def run():
        return step(*data).numpy()

    return run, lambda: [run(), run(), run()]


def mlp(batch):
    def loss(p, x, labels):
        w1, b1, w2, b2 = p
        logits = tf.nn.bias_add(tf.nn.relu(tf.nn.bias_add(x @ w1, b1)) @ w2, b2)
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))

    parameters = (filled((784, 512), 1, 0.1), filled((512,), 0, 0), filled((512, 10), 2, 0.1),
                  filled((10,), 0, 0))
    return trained(loss, parameters, 0.01, filled((batch, 784), 3), class_numbers((batch,), 10))


def logistic():
    def loss(p, x, y):
        w, b = p
        q = 1 / (1 + tf.exp(-tf.linalg.matvec(x, w) - b))
        return (tf.reduce_mean(-y * tf.math.log(q) - (1 - y) * tf.math.log(1 - q))
                + 0.01 * tf.reduce_sum(w * w))

    return trained(loss, (filled((2,), 1), filled((), 0, 0)), 0.1, filled((25, 2), 3),
                   class_numbers((25,), 2).astype("float32"))


def mix(x, y):
    return tf.tanh(x * y + 1) * tf.exp(-(x * x)) + y / 2 - x * tf.maximum(y, 0)


def polynomial(x):
    return ((((0.5 * x + 0.25) * x + 1.5) * x + 0.75) * x + 1.25) * x + 2.0


def layernorm(m):
    centered = m - tf.reduce_mean(m, 1, keepdims=True)
    return centered / tf.sqrt(tf.reduce_mean(centered * centered, 1, keepdims=True) + 1e-5)


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
            return repeated(lambda m: tf.reduce_sum(m, 1 if parts[1] == "rows" else 0), m)
        return repeated(tf.nn.softmax if kind == "softmax" else layernorm, m)
    raise NotMeasured("/".join(parts))


serve(make)
