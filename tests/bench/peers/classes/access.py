"""Accesses across memory, small inner axes and strides, reshapes between operations."""
from classes import of_one, of_two, program
from workloads import filled

of_one("access/transpose", lambda f, x: f.transpose(x, 1, 0))
of_two("access/add_transposed", lambda f, x, y: x + f.transpose(y, 1, 0))
of_two("access/sum_columns_of_product", lambda f, x, y: f.sum(x * f.transpose(y, 1, 0), 0))
of_two("access/sum_rows_of_product", lambda f, x, y: f.sum(x * f.transpose(y, 1, 0), 1))
of_one("access/softmax_of_transposed", lambda f, x: f.softmax(f.transpose(x, 1, 0)))
for axes in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (1, 0, 3, 2), (3, 2, 1, 0)):
    of_one("access/permute_" + "".join(map(str, axes)),
           lambda f, x, axes=axes: f.transpose(x, *axes))
of_two("access/add_permuted", lambda f, x, y: x + f.transpose(y, 0, 3, 2, 1))
of_one("access/transpose_small", lambda f, x: f.transpose(x, 0, 2, 1))
of_one("access/reversed", lambda f, x: f.reverse(x, 0) + x)

of_one("strides/every_second", lambda f, x: 2 * x[::2] + x[1::2])
of_one("strides/every_second_column", lambda f, x: f.exp(x[:, ::2]))
of_two("strides/small_products", lambda f, x, y: f.dot(x, y))


@program("strides/bodies")
def bodies(f, n, axes):
    def accelerations(places, masses):
        apart = places[None] - places[:, None]
        squares = f.sum(apart * apart, 2) + 0.01
        pull = masses[None] / (squares * f.sqrt(squares))
        return f.sum(apart * pull[:, :, None], 1)

    return f.function(accelerations, filled((n, axes), 0), filled((n,), 1))


def pooled(f, x):
    n, c, h, w = x.shape
    return f.max(f.reshape(x, (n, c, h // 2, 2, w // 2, 2)), (3, 5))


of_one("strides/pooling", pooled)


@program("strides/pooling_gradient")
def pooling_gradient(f, *n):
    def loss(x):
        y = pooled(f, x)
        return f.sum(y * y)

    return f.function(lambda x: f.gradient(loss)(x)[0], filled(n, 0))


@program("strides/rotated_points")
def rotated_points(f, n, _):
    return f.function(lambda x, r: f.dot(x, f.transpose(r, 1, 0)), filled((n, 3), 0),
                      filled((3, 3), 1))


def complex_product(f, x, y):
    a, b, c, d = x[:, 0], x[:, 1], y[:, 0], y[:, 1]
    return f.stack([a * c - b * d, a * d + b * c], 1)


of_two("strides/complex_product", complex_product)


@program("reshapes/dense")
def dense(f, b, t, d, e):
    return f.function(lambda x, w, bias: f.relu(f.dot(x, w) + bias), filled((b, t, d), 0),
                      filled((d, e), 1, 0.1), filled((e,), 2))


def split_heads(f, x, heads):
    b, t, d = x.shape
    return f.transpose(f.reshape(x, (b, t, heads, d // heads)), 0, 2, 1, 3)


def merge_heads(f, x):
    b, h, t, d = x.shape
    return f.reshape(f.transpose(x, 0, 2, 1, 3), (b, t, h * d))


def attention(f, heads):
    def result(x, *w):
        q, k, v = [split_heads(f, f.dot(x, w[i]), heads) for i in range(3)]
        return f.dot(merge_heads(f, f.attend(q, k, v)), w[3])

    return result


def attention_inputs(b, t, d):
    return filled((b, t, d), 0), *[filled((d, d), k, 0.2) for k in range(1, 5)]


@program("reshapes/attention")
def attention_forward(f, b, t, d, heads):
    return f.function(attention(f, heads), *attention_inputs(b, t, d))


@program("reshapes/attention_gradient")
def attention_gradient(f, b, t, d, heads):
    result = attention(f, heads)

    def gradients(x, *w):
        def loss(*w):
            y = result(x, *w)
            return f.sum(y * y)

        return f.gradient(loss)(*w)

    return f.function(gradients, *attention_inputs(b, t, d))


@program("reshapes/split_heads")
def heads_split(f, b, t, d, heads):
    return f.function(lambda x: split_heads(f, x, heads) * 2, filled((b, t, d), 0))


@program("reshapes/merge_heads")
def heads_merged(f, b, t, d, heads):
    return f.function(lambda x: merge_heads(f, x) * 2, filled((b, heads, t, d // heads), 0))


@program("reshapes/jacobian")
def jacobian(f, inputs, hidden, outputs):
    def by_inputs(x, first, second):
        return f.jacobian(lambda x: f.dot(second, f.tanh(f.dot(first, x))))(x)

    return f.function(by_inputs, filled((inputs,), 0), filled((hidden, inputs), 1),
                      filled((outputs, hidden), 2))


@program("reshapes/patches")
def patches(f, images, size, channels, width):
    count = size // 8

    def embedded(x, w):
        cut = f.reshape(x, (images, count, 8, count, 8, channels))
        rows = f.reshape(f.transpose(cut, 0, 1, 3, 2, 4, 5),
                         (images * count * count, 64 * channels))
        return f.dot(rows, w)

    return f.function(embedded, filled((images, size, size, channels), 0),
                      filled((64 * channels, width), 1, 0.1))
