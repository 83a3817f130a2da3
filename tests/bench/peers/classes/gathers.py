"""Gathers, scatters, and updates of few rows."""
from classes import numbers, program
from workloads import class_numbers, filled


@program("gathers/take_rows")
def take_rows(f, rows, width, count):
    return f.function(f.take, filled((rows, width), 0), numbers((count,), rows, 1))


@program("gathers/take_rows_gradient")
def take_rows_gradient(f, rows, width, count):
    def gradient(table, ids, weights):
        return f.gradient(lambda table: f.sum(f.take(table, ids) * weights))(table)[0]

    return f.function(gradient, filled((rows, width), 0), numbers((count,), rows, 1),
                      filled((count, width), 2))


@program("gathers/take_columns")
def take_columns(f, rows, width, count):
    return f.function(lambda table, ids: table[:, ids], filled((rows, width), 0),
                      numbers((count,), width, 1))


@program("gathers/scatter")
def scatter(f, rows, width, count):
    return f.function(lambda values, ids: f.scatter_add(values, ids, (rows, width)),
                      filled((count, width), 0), numbers((count,), rows, 1))


@program("gathers/histogram")
def histogram(f, places, count):
    return f.function(lambda weights, ids: f.scatter_add(weights, ids, (places,)),
                      filled((count,), 0), numbers((count,), places, 1))


@program("gathers/pick")
def pick(f, n, classes):
    return f.function(lambda x, labels: f.pick(f.log_softmax(x), labels), filled((n, classes), 0),
                      class_numbers((n,), classes))


@program("gathers/interpolation")
def interpolation(f, nodes, n):
    def between(table, x):
        at = (x + 0.5) * (nodes - 2)
        node = f.floor(at)
        part, index = at - node, f.integers(node)
        return f.take(table, index) * (1 - part) + f.take(table, index + 1) * part

    return f.function(between, filled((nodes,), 0), filled((n,), 1))


def residuals(f, cameras, points, camera_ids, point_ids, seen):
    camera, point = f.take(cameras, camera_ids), f.take(points, point_ids)
    c, (x, y, z) = [camera[:, k] for k in range(9)], [point[:, k] for k in range(3)]
    square = c[0] * c[0] + c[1] * c[1] + c[2] * c[2] + 1e-4
    angle = f.sqrt(square)
    cosine, sine = f.cos(angle), f.sin(angle) / angle
    along = (c[0] * x + c[1] * y + c[2] * z) * (1 - cosine) / square

    def turned(p, a, cross):
        return p * cosine + cross * sine + a * along

    px = turned(x, c[0], c[1] * z - c[2] * y) + c[3]
    py = turned(y, c[1], c[2] * x - c[0] * z) + c[4]
    pz = turned(z, c[2], c[0] * y - c[1] * x) + c[5] + 5
    u, v = px / pz, py / pz
    radius = u * u + v * v
    scale = (c[6] + 2) * (1 + radius * (c[7] + c[8] * radius))
    return f.stack([scale * u, scale * v], 1) - seen


def bundle_inputs(cameras, points, n):
    return (filled((cameras, 9), 0), filled((points, 3), 1), numbers((n,), cameras, 2),
            numbers((n,), points, 3), filled((n, 2), 4))


@program("gathers/bundle")
def bundle(f, *n):
    return f.function(lambda *inputs: residuals(f, *inputs), *bundle_inputs(*n))


@program("gathers/bundle_gradient")
def bundle_gradient(f, *n):
    def gradients(cameras, points, *rest):
        def loss(cameras, points):
            r = residuals(f, cameras, points, *rest)
            return f.sum(r * r)

        return f.gradient(loss)(cameras, points)

    return f.function(gradients, *bundle_inputs(*n))


@program("gathers/message_passing")
def message_passing(f, nodes, width, edges):
    return f.function(
        lambda x, start, end: f.scatter_add(f.relu(f.take(x, start)), end, (nodes, width)),
        filled((nodes, width), 0), numbers((edges,), nodes, 1), numbers((edges,), nodes, 2))


def embedding(kind):
    @program("sparse/embedding_" + kind)
    def step(f, rows, width, count):
        def loss(p, ids, wanted):
            table, weights = p
            missed = f.dot(f.tanh(f.take(table, ids)), weights) - wanted
            return f.mean(missed * missed)

        return f.optimised(kind, loss, (filled((rows, width), 0), filled((width,), 1)),
                           numbers((count,), rows, 2), filled((count,), 3))


for name in ("sgd", "momentum", "adam"):
    embedding(name)
