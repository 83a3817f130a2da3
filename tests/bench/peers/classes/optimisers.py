"""Optimisers that keep a state of the parameters' size."""
from classes import program
from workloads import class_numbers, filled


def programs(kind):
    @program("optimisers/" + kind)
    def alone(f, n):
        def loss(p, wanted):
            missed = p[0] - wanted
            return 0.5 * f.sum(missed * missed)

        return f.optimised(kind, loss, (filled((n,), 0),), filled((n,), 1))

    @program(f"optimisers/{kind}_classifier")
    def classifier(f, batch, inputs, hidden, classes):
        def loss(p, x, labels):
            w1, b1, w2, b2 = p
            return f.cross_entropy(f.dot(f.relu(f.dot(x, w1) + b1), w2) + b2, labels)

        parameters = (filled((inputs, hidden), 0, 0.1), filled((hidden,), 1, 0.1),
                      filled((hidden, classes), 2, 0.1), filled((classes,), 3, 0.1))
        return f.optimised(kind, loss, parameters, filled((batch, inputs), 4),
                           class_numbers((batch,), classes))


for name in ("sgd", "momentum", "adam"):
    programs(name)
