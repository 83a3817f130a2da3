"""What bench.h and serve.cpp are to the C++ contenders: commands on stdin, answers on stdout."""
import json
import os
import resource
import sys
import time

from workloads import CannotMeasure, filled

THREADS = int(os.environ.get("KROTON_THREADS", "1"))
# Processor time of all threads instead of the time that passes, where a machine is shared.
CLOCK = time.process_time if "BENCH_PROCESSOR_TIME" in os.environ else time.perf_counter


def seconds_of(run, count):
    start = CLOCK()
    for _ in range(count):
        run()
    return CLOCK() - start


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


def serve(framework):
    """`framework` is a Framework of workloads.py."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    case = None
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            reply = None
            if command in ("prepare", "forget"):
                case = None
                if command == "prepare":
                    case = framework.make(arguments[0].split("/"))
                filled.cache_clear()
            elif command == "peak":
                reply = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            elif command == "values":
                reply = [float(value) for value in case[1]()]
            elif command == "time":
                reply = time_of(case[0], float(arguments[0]))
            else:
                raise ValueError(f"unknown command {command}")
        except CannotMeasure as error:
            reply = {"error": str(error)}
        except Exception as error:  # the driver says which case failed, and goes on
            text = " ".join(str(error).split())
            reply = {"error": f"{type(error).__name__}: {text}"[:400]}
        print(json.dumps(reply), file=answers, flush=True)
