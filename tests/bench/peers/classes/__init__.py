"""The programs of ../../classes for the Python peers, written once: what each is called, and a
function of a Framework and the case's sizes that gives what is timed."""
import importlib

import numpy as np
from workloads import filled

FAMILIES = {
    "positions": "reductions", "short": "reductions", "threads": "reductions",
    "access": "access", "strides": "access", "reshapes": "access", "joins": "joins",
    "stored": "pointwise", "pointwise": "pointwise", "gathers": "gathers", "sparse": "gathers",
    "optimisers": "optimisers", "recurrent": "recurrent", "graphs": "graphs",
    "ops": "operations", "linalg": "operations", "jacobian": "operations",
}
PROGRAMS = {}


def program(name):
    """Of a function of a Framework and sizes."""

    def note(make):
        PROGRAMS[name] = make
        return make

    return note


def of_one(name, f):
    """Of f(framework, x), x of the case's sizes."""
    PROGRAMS[name] = lambda framework, *n: framework.function(
        lambda x: f(framework, x), filled(n, 0))


def of_two(name, f):
    PROGRAMS[name] = lambda framework, *n: framework.function(
        lambda x, y: f(framework, x, y), filled(n, 0), filled(n, 1))


def numbers(shape, classes, seed):
    """Below `classes`, in no order: those of Inputs::numbers."""
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    mixed = (i * np.uint64(2654435761) + np.uint64((seed + 1) * 2246822519)) & np.uint64(0xFFFFFFFF)
    return (mixed.astype(np.float64) / 4294967296.0 * classes).astype(np.int64).reshape(shape)


def squares_gradient(f, y, x):
    """Of the sum of the squares of y(x)."""

    def loss(x):
        values = y(x)
        return f.sum(values * values)

    return f.gradient(loss)(x)[0]


def run_of(framework, parts):
    """FAMILY, WHAT, SIZES."""
    importlib.import_module("classes." + FAMILIES[parts[0]])
    return PROGRAMS["/".join(parts[:2])](framework, *[int(size) for size in parts[2].split("x")])
