"""Programs that are measured for the time to compile them, too."""
from classes import program
from workloads import filled


@program("graphs/product")
def product(f, n):
    return f.function(f.dot, filled((n, n), 0), filled((n, n), 1))


@program("graphs/hand")
def hand(f, bones, points):
    def loss(angles, base, seen):
        found, turn = [], None
        for k in range(bones):
            a, b, c = angles[3 * k], angles[3 * k + 1], angles[3 * k + 2]
            cosine, sine = f.cos(a), f.sin(a)
            own = f.reshape(f.stack([cosine, -sine, b, sine, cosine, c, -b, -c, f.cos(b)], 0),
                            (3, 3))
            turn = own if k % 4 == 0 else f.dot(turn, own)
            found.append(f.dot(turn, base[k]))
        missed = f.stack(found, 0) - seen
        return f.sum(missed * missed)

    def both(angles, base, seen):
        return f.value_and_gradient(lambda angles: loss(angles, base, seen), angles)

    return f.function(both, filled((3 * bones,), 0), filled((bones, 3, points), 1),
                      filled((bones, 3, points), 2))


@program("graphs/autoencoder")
def autoencoder(f, batch, inputs, hidden, code):
    def loss(p, x, noise):
        w1, b1, wm, wv, w3, b3, w4, b4 = p
        x = x + 0.5
        inner = f.relu(f.dot(x, w1) + b1)
        mean, logarithm = f.dot(inner, wm), f.dot(inner, wv)
        drawn = mean + f.exp(0.5 * logarithm) * noise
        logits = f.dot(f.relu(f.dot(drawn, w3) + b3), w4) + b4
        apart = 0.5 * f.sum(f.exp(logarithm) + mean * mean - 1 - logarithm)
        return f.mean(f.sum(f.softplus(logits) - x * logits, 1)) + apart / batch

    shapes = ((inputs, hidden), (hidden,), (hidden, code), (hidden, code), (code, hidden),
              (hidden,), (hidden, inputs), (inputs,))
    return f.training(loss, [filled(shape, k, 0.1) for k, shape in enumerate(shapes)], 0.01,
                      filled((batch, inputs), 8), filled((batch, code), 9))


@program("graphs/constant")
def constant(f, n):
    table = f.constant(filled((n,), 7))
    return f.function(lambda x: f.sum(x * table), filled((n,), 0))


@program("graphs/layers")
def layers(f, count):
    def loss(w, y):
        for k in range(count):
            z = f.tanh(f.dot(y, w) + 0.01 * k)
            y = f.concatenate([z[:, 4:], z[:, :4]], 1) - f.mean(z, 1)
        return f.sum(y * y)

    return f.function(lambda w, x: f.gradient(lambda w: loss(w, x))(w)[0],
                      filled((16, 16), 0, 0.9), filled((8, 16), 1))
