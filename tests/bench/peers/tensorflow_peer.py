"""TensorFlow on the CPU through tf.function as a contender; with the argument "xla" through XLA."""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from serve import THREADS, serve
from training_data import case
from workloads import Framework

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(1)
XLA = "xla" in sys.argv[1:]


class TensorFlow(Framework):
    exp, log, sin, sqrt, tanh, maximum, sum, reshape, take, sigmoid, relu, softmax = map(
        staticmethod, (tf.exp, tf.math.log, tf.sin, tf.sqrt, tf.tanh, tf.maximum, tf.reduce_sum,
                       tf.reshape, tf.gather, tf.sigmoid, tf.nn.relu, tf.nn.softmax))
    relu6, concatenate = map(staticmethod, (tf.nn.relu6, tf.concat))
    channel_axis = -1

    def training_case(self, parts):
        import keras_training
        return case(lambda name: keras_training.make(name, XLA), parts)

    def mean(self, x, axis=None):
        return tf.reduce_mean(x, axis, keepdims=axis is not None)

    def dot(self, a, b):
        if b.shape.rank == 1:
            return tf.linalg.matvec(a, b)
        return tf.linalg.matvec(b, a, transpose_a=True) if a.shape.rank == 1 else tf.matmul(a, b)

    def cross_entropy(self, logits, labels):
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))

    def padded(self, x, padding):
        axes = x.shape.rank - 2
        return tf.pad(x, [[0, 0], *[[padding, padding]] * axes, [0, 0]]) if padding else x

    def convolution(self, x, filters, bias, stride, padding, groups):
        axes = x.shape.rank - 2
        if stride == 1 and all(2 * padding == size - 1 for size in filters.shape[:axes]):
            kind = "SAME"
        else:
            x, kind = self.padded(x, padding), "VALID"
        if groups > 1 and groups == x.shape[-1] == filters.shape[-1]:
            y = tf.nn.depthwise_conv2d(x, tf.transpose(filters, (0, 1, 3, 2)),
                                       (1, stride, stride, 1), kind)
        else:
            y = tf.nn.convolution(x, filters, (stride,) * axes, kind)
        return y if bias is None else tf.nn.bias_add(y, bias)

    def transposed_convolution(self, x, filters, bias, stride):
        batch, height, width, _ = x.shape
        shape = (batch, height * stride, width * stride, filters.shape[2])
        return tf.nn.bias_add(tf.nn.conv2d_transpose(x, filters, shape, stride, "VALID"), bias)

    def pulled_back(self, f, x, given):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x, output_gradients=given)

    def max_pool(self, x, window, stride, padding=0):
        return tf.nn.max_pool(self.padded(x, padding), window, stride, "VALID")

    def mean_of_positions(self, x):
        return tf.reduce_mean(x, range(1, x.shape.rank - 1))

    def batchnorm(self, x, scale, shift, axis=-1):
        return tf.compat.v1.nn.fused_batch_norm(x, scale, shift, epsilon=1e-5)[0]

    def running_sum(self, x):
        return super().running_sum(x) if XLA else tf.cumsum(x)

    def scan(self, step, states, rows):
        return tf.scan(step, rows, tuple(tf.constant(state) for state in states))[0]

    def function(self, f, *arrays):
        f, arguments = tf.function(f, jit_compile=XLA), [tf.constant(a) for a in arrays]
        return lambda: f(*arguments)

    def gradient(self, f):
        def gradients(*arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                value = f(*arguments)
            return tape.gradient(value, arguments)

        return gradients

    def training(self, loss, parameters, rate, *data):
        parameters = [tf.Variable(p) for p in parameters]
        data = [tf.constant(d) for d in data]

        @tf.function(jit_compile=XLA)
        def step(*d):
            with tf.GradientTape() as tape:
                value = loss(parameters, *d)
            for p, g in zip(parameters, tape.gradient(value, parameters)):
                p.assign_sub(rate * tf.convert_to_tensor(g))  # not sparse
            return value

        return lambda: float(step(*data))

    def forget(self):
        """A new tf.function is traced and compiled anew."""


serve(TensorFlow())
