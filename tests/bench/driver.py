"""Measures this project, its peers and the machine's floor in turns; see the script `run`."""
import argparse
import json
import os
import sys
import time

import cases
from contenders import INSTALLED, PEERS, PROGRAMS, Contender, Failure, install

OURS = [str(PROGRAMS / "kroton_bench")]


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--json")
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    chosen = parser.parse_args()
    for peer in filter(None, chosen.peers.split(",")):
        if peer not in PEERS:
            parser.error(f"no peer {peer}; there are {', '.join(PEERS)}")
    if not cases.selected(chosen.names):
        parser.error("nothing has such a name: " + " ".join(chosen.names))
    return chosen


def differ(ours, theirs, tolerance):
    """Where two lists of values differ, as text; None if they agree."""
    if len(ours) != len(theirs):
        return f"{len(ours)} values, {len(theirs)} expected"
    scale = max([abs(v) for v in ours if v is not None], default=0)
    for a, b in zip(ours, theirs):
        if a is None or b is None or abs(a - b) > tolerance * max(scale, 1e-6):
            return f"{b} instead of {a}"
    return None


class Session:
    """The contenders' processes with one number of threads."""

    def __init__(self, commands, threads, log):
        self.threads, self.log, self.commands = threads, log, dict(commands)
        self.running = {}

    def contender(self, name):
        if name not in self.running or not self.running[name].alive():
            self.running[name] = Contender(name, self.commands[name], self.threads, self.log)
        return self.running[name]

    def fail(self, name, case, why):
        if why.startswith(("not measured", "NotMeasured")):
            return
        print(f"bench: {case.name}: {name} left out: {why}", file=sys.stderr, flush=True)
        # A peer that does not even run would cost its start again for each case.
        if name != "ours" and name in self.running and not self.running[name].alive():
            print(f"bench: {name} is left out from here on", file=sys.stderr, flush=True)
            self.commands.pop(name, None)

    def close(self):
        for contender in self.running.values():
            contender.close()


def prepare(session, case):
    """Those that are ready and agree with our values, ours first; without ours none."""
    ready, expected = [], None
    for name in list(session.commands):
        if name == "floor":
            continue
        try:
            contender = session.contender(name)
            contender.ask("prepare " + case.name)
            values = contender.ask("values")
            if name == "ours":
                expected = values
                if not values or any(v is None for v in values):
                    raise Failure(f"values are {values}")
            else:
                difference = differ(expected, values, case.tolerance)
                if difference:
                    raise Failure("other values: " + difference)
            ready.append(name)
        except Failure as failure:
            session.fail(name, case, str(failure))
            if name == "ours":
                return []
    return ready


def measure(session, case, options):
    """Measured values of each contender and of the floor, by rounds."""
    names = prepare(session, case)
    if not names:
        return None
    work = 1.0
    if case.floor:
        floor = session.contender("floor")
        floor.ask("prepare floor/" + case.floor[0])
        work = floor.ask("values")[0]
        names.append("floor")
    values = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in list(values):
            try:
                seconds = session.contender(name).ask(f"time {options.seconds}")
            except Failure as failure:
                session.fail(name, case, str(failure))
                del values[name]
                continue
            values[name].append(case.floor_value(work / seconds) if name == "floor"
                                else case.value(seconds))
            time.sleep(0.002)  # threads that still spin go to sleep
    return values if "ours" in values else None


def measure_memory(session, case):
    """The peaks of processes that have run nothing but the classifier's step."""
    values = {}
    for name, command in session.commands.items():
        if name == "floor":
            continue
        contender = Contender(name, command, session.threads, session.log)
        try:
            contender.ask("prepare mlp/128")
            contender.ask("values")
            values[name] = [contender.ask("peak") * case.scale]
        except Failure as failure:
            session.fail(name, case, str(failure))
        contender.close()
    return values if "ours" in values else None


def best(case, values):
    return max(values) if case.higher else min(values)


def record(case, threads, values):
    """The line of JSON. Each number is the best of the rounds: the one least disturbed by what else
    the machine does. The spread is that of our rounds."""
    peers = {name: best(case, v) for name, v in values.items() if v}
    ours, floor = peers.pop("ours"), peers.pop("floor", None)
    ahead = (lambda other: ours / other) if case.higher else (lambda other: other / ours)
    own = values["ours"]
    return {
        "bench": case.bench, "case": case.case, "threads": threads, "unit": case.unit,
        "better": "higher" if case.higher else "lower", "ours": ours, "peers": peers,
        "floor": floor, "vs_best_peer": ahead(best(case, peers.values())) if peers else None,
        "of_floor": ahead(floor) if floor else None, "spread": (max(own) - min(own)) / ours,
    }


def short(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def row(result):
    peers = sorted(result["peers"].items(), key=lambda p: p[1], reverse=result["better"] == "higher")
    return (f"{result['bench'] + '/' + result['case']:38} {result['threads']} {short(result['ours']):>8} "
            f"{result['unit']:9} {short(result['vs_best_peer']):>6} {short(result['of_floor']):>6} "
            f"{100 * result['spread']:5.0f}%  "
            + ", ".join(f"{name} {short(value)}" for name, value in peers))


def main():
    options = arguments()
    commands = {"ours": OURS}
    for peer in filter(None, options.peers.split(",")):
        try:
            commands[peer] = install(peer)
        except Failure as failure:
            print(f"bench: {peer} is left out: cannot be installed: {failure}")
    commands["floor"] = OURS

    INSTALLED.mkdir(parents=True, exist_ok=True)
    output = open(options.json, "w") if options.json else None
    print(f"load at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; "
          f"{options.rounds} rounds of {options.seconds} s")
    print(f"{'case':38} T {'ours':>8} {'':9} {'x peer':>6} {'floor':>6} spread  peers, best first")
    missed = 0
    with open(INSTALLED / "contenders.log", "w") as log:
        for threads in (int(count) for count in options.threads.split(",")):
            session = Session(commands, threads, log)
            for case in cases.selected(options.names):
                values = (measure_memory(session, case) if case.bench == "memory"
                          else measure(session, case, options))
                if values is None:
                    missed += 1
                    print(f"{case.name:38} {threads} failed")
                    continue
                result = record(case, threads, values)
                print(row(result), flush=True)
                if output:
                    print(json.dumps(result), file=output, flush=True)
            session.close()
    return 1 if missed else 0


sys.exit(main())
