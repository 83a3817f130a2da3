"""What bench.h and serve.cpp are to the C++ contenders: commands on stdin, answers on stdout."""
import json
import os
import resource
import sys
import time

import numpy as np

THREADS = int(os.environ.get("KROTON_THREADS", "1"))


def filled(shape, seed, scale=1.0, dtype=np.float32):
    """The elements of bench.h's element()."""
    size = int(np.prod(shape))
    i = np.arange(size, dtype=np.uint64)
    mixed = (i * np.uint64(2654435761) + np.uint64((seed + 1) * 2246822519)) & np.uint64(0xFFFFFFFF)
    return ((mixed.astype(np.float64) / 4294967296.0 - 0.5) * scale).astype(dtype).reshape(shape)


def class_numbers(shape, classes):
    return (np.arange(int(np.prod(shape))) * 7 % classes).reshape(shape)


def sample(values):
    """Up to 16 elements, evenly spaced, the first and the last among them."""
    values = np.asarray(values).reshape(-1)
    count = min(16, values.size)
    last = count - 1 if count > 1 else 1
    return [float(values[k * (values.size - 1) // last]) for k in range(count)]


class NotMeasured(Exception):
    pass


def seconds_of(run, count):
    start = time.perf_counter()
    for _ in range(count):
        run()
    return time.perf_counter() - start


def time_of(run, seconds):
    """Seconds a call: the fastest of five batches that last so long together."""
    count = 1
    taken = seconds_of(run, 1)
    batch = seconds / 5
    while taken < batch / 2:
        count = max(count + 1, int(count * min(batch / max(taken, 1e-9), 10)))
        taken = seconds_of(run, count)
    best, total = taken / count, taken
    for _ in range(4):
        if total >= seconds:
            break
        taken = seconds_of(run, count)
        total += taken
        best = min(best, taken / count)
    return best


def serve(make):
    """`make(parts)` makes a case ready: it returns what is timed and what gives the values."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    case = None
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            reply = None
            if command == "prepare":
                case = None
                case = make(arguments[0].split("/"))
            elif command == "peak":
                reply = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            elif command == "values":
                reply = [float(value) for value in case[1]()]
            elif command == "time":
                reply = time_of(case[0], float(arguments[0]))
            else:
                raise ValueError(f"unknown command {command}")
        except Exception as error:  # the driver says which case failed, and goes on
            reply = {"error": f"{type(error).__name__}: {error}"[:400]}
        print(json.dumps(reply), file=answers, flush=True)
