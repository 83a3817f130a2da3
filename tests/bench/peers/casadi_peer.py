"""CasADi as a contender for derivatives, in f64: its virtual machine, or with the argument "c" the C
code that it generates, compiled with -O3. Results keep CasADi's sparsity."""
import contextlib
import subprocess
import sys
import tempfile

import casadi as ca
import numpy as np
from serve import serve
from workloads import CannotMeasure, filled, sample


def layers(outputs, hidden, inputs):
    x, v, w = ca.MX.sym("x", inputs), ca.MX.sym("v", hidden, inputs), ca.MX.sym("w", outputs, hidden)
    y = ca.tanh(w @ ca.tanh(v @ x))
    return [x, v, w], ca.jacobian(y, x), [(inputs,), (hidden, inputs), (outputs, hidden)]


def peaks(points, count):
    p, at = ca.SX.sym("p", 3 * count), ca.SX.sym("at")
    apart = (at - p[1::3]) / (p[2::3] + 1)
    model = ca.sum1(p[0::3] * ca.exp(-apart * apart))
    of_one = ca.Function("of_one", [at, p], [ca.jacobian(model, p)])
    all_p, all_at = ca.MX.sym("p", 3 * count), ca.MX.sym("at", 1, points)
    rows = of_one.map(points)(all_at, ca.repmat(all_p, 1, points))
    # Side by side, a block for each point.
    return [all_p, all_at], rows, [(3 * count,), (1, points)]


def logistic_hessian(examples, features):
    w, x = ca.MX.sym("w", features), ca.MX.sym("x", examples, features)
    loss = ca.sum1(ca.log1p(ca.exp(x @ w)))
    return [w, x], ca.hessian(loss, w)[0], [(features,), (examples, features)]


def rosenbrock_hessian(n):
    x = ca.SX.sym("x", n)
    a, b = x[1:] - x[:-1] * x[:-1], 1 - x[:-1]
    return [x], ca.hessian(ca.sum1(100 * a * a + b * b), x)[0], [(n,)]


PROBLEMS = {f.__name__: f for f in (layers, peaks, logistic_hessian, rosenbrock_hessian)}


def compiled(function):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        function.generate("derivative.c")
        subprocess.run(["gcc", "-O3", "-march=native", "-fPIC", "-shared", "derivative.c", "-o",
                        "derivative.so", "-lm"], check=True)
        return ca.external("derivative", folder + "/derivative.so")


class CasADi:
    def __init__(self, in_c):
        self.in_c = in_c

    def make(self, parts):
        if parts[1] != "jacobian":
            raise CannotMeasure("has derivatives only")
        inputs, output, shapes = PROBLEMS[parts[2]](*[int(n) for n in parts[3].split("x")])
        function = ca.Function("derivative", inputs, [output])
        pattern = function.sparsity_out(0)
        if self.in_c:
            function = compiled(function)
        arguments = [np.ravel(filled(shape, k).astype(np.float64), "F")
                     for k, shape in enumerate(shapes)]
        result = np.zeros(pattern.nnz())
        buffer, run = function.buffer()
        for k, argument in enumerate(arguments):
            buffer.set_arg(k, memoryview(argument))
        buffer.set_res(0, memoryview(result))

        def values():
            found = []
            for _ in range(3):
                run()
                dense = np.array(ca.DM(pattern, result).full())
                found += sample(dense)
            return found

        # What the buffer refers to lives as long.
        values.held = arguments, buffer, function
        return run, values


serve(CasADi(sys.argv[1:] == ["c"]))
