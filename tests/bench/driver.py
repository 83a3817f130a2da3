"""Measures this project, its peers and the machine's floor in turns; see the script `run`."""
import argparse
import contextlib
import json
import os
import sys
import time

import cases
import lines
import report
from contenders import (BUILD, INSTALLED, PEERS, PROGRAMS, SHIPPED, Contender, Failure, TooSlow,
                        competes, install, lacks, shipped_bytes, stripped_bytes)

START_LIMIT = 120  # seconds; the first start of a framework reads gigabytes
OWN_LIMIT = 600
OURS = [str(PROGRAMS / "kroton_bench")]
TRAINING_PROGRAM = BUILD / "default" / "examples" / "aot"


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads")
    parser.add_argument("--json")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--show", nargs="+", metavar="FILE")
    chosen = parser.parse_args()
    if chosen.processor_time:
        os.environ["BENCH_PROCESSOR_TIME"] = "1"  # of all contenders
    chosen.names = chosen.names or (cases.QUICK if chosen.quick else ())
    chosen.seconds = chosen.seconds or (0.05 if chosen.quick else 0.1)
    chosen.rounds = chosen.rounds or (2 if chosen.quick else 3)
    chosen.peers = [peer for peer in chosen.peers.split(",") if peer]
    for peer in chosen.peers:
        if peer not in PEERS:
            parser.error(f"no peer {peer}; there are {', '.join(PEERS)}")
    for name in chosen.names:
        if not cases.selected([name], chosen.quick):
            parser.error(f"nothing has the name {name}")
    available = len(os.sched_getaffinity(0))
    try:
        chosen.threads = ([int(count) for count in chosen.threads.split(",")] if chosen.threads
                          else [1, 2][:available])
    except ValueError:
        parser.error("--threads: numbers with commas between them")
    if not all(1 <= count <= available for count in chosen.threads):
        parser.error(f"--threads: from 1 to {available}, the processors that this process may use")
    return chosen


def differ(ours, theirs, tolerance):
    """Where two lists of values differ, as text; None if they agree."""
    if len(ours) != len(theirs):
        return f"{len(ours)} values, {len(theirs)} expected"
    scale = max([abs(v) for v in ours if v is not None], default=0)
    for a, b in zip(ours, theirs):
        # Also where b is no number.
        if a is None or b is None or not abs(a - b) <= tolerance * max(scale, 1e-6):
            return f"{b} instead of {a}"
    return None


class Contest:
    """The contenders' processes with one number of threads, and who is left out of which case.

    `absent` tells why a peer does not run at all, `slow` (by peer and case) why it is not asked
    again: both are those of all contests."""

    def __init__(self, commands, absent, slow, threads, options, log):
        self.commands, self.absent, self.slow = dict(commands), absent, slow
        self.threads, self.options, self.log = threads, options, log
        self.running = {}
        self.left_out = {}  # of the case at hand: name to reason

    def contender(self, name):
        if name not in self.running or not self.running[name].alive():
            self.running[name] = self.started(name)
        return self.running[name]

    def started(self, name):
        """A new process. Who does not start once is left out from then on."""
        contender = Contender(name, self.commands[name], self.threads, self.log)
        try:
            contender.ask("peak", max(self.options.limit, START_LIMIT))
        except Failure as failure:
            print(f"bench: {name} does not start and is left out: {failure}; see {self.log.name}",
                  file=sys.stderr, flush=True)
            self.absent[name] = f"does not start: {failure}"
            self.commands.pop(name)
            raise
        return contender

    def limit(self, name):
        # Our own programs are waited for, to see how long they take.
        return OWN_LIMIT if name in ("ours", "floor") else self.options.limit

    def ask(self, name, command):
        return self.contender(name).ask(command, self.limit(name))

    def fail(self, name, case, failure):
        if name in self.absent:
            return
        self.left_out[name] = str(failure)
        if name in ("ours", "floor"):
            print(f"bench: {case.name}: {name} failed: {failure}", file=sys.stderr, flush=True)
        elif isinstance(failure, TooSlow):
            self.slow[name, case.name] = str(failure)

    def refuse(self, name, case):
        """Fails where it is known that there is no such case, or that it would take too long."""
        if reason := lacks(name, case.bench):
            raise Failure(reason)
        if (name, case.name) in self.slow:
            raise Failure(self.slow[name, case.name] + " before")
        if (name, case.shorter) in self.slow:
            self.slow[name, case.name] = f"too slow for {case.shorter}"
            raise Failure(self.slow[name, case.name])

    def forget(self):
        """Who waits for its next case holds no memory for the one before."""
        for contender in self.running.values():
            if contender.alive():
                with contextlib.suppress(Failure):
                    contender.ask("forget", self.options.limit)

    def close(self):
        for contender in self.running.values():
            contender.close()


def entrants(contest, case):
    """Ours first."""
    return [name for name in contest.commands
            if name == "ours" or name != "floor" and competes(name, case.group)]


def prepare(contest, case, names, expected=None):
    """Those of `names` that are ready and agree with our values, which are given or those of the
    first of them, and these values; none without ours."""
    ready = []
    for name in names:
        try:
            contest.refuse(name, case)
            contest.ask(name, "prepare " + case.name)
            values = contest.ask(name, "values")
            if name == "ours":
                expected = values
                if not values or any(v is None for v in values):
                    raise Failure(f"values are {values}")
            elif difference := differ(expected, values, case.tolerance):
                raise Failure("other values: " + difference)
            ready.append(name)
        except Failure as failure:
            contest.fail(name, case, failure)
            if name == "ours":
                break
    return ready, expected


def measure_turns(contest, case, names):
    """Measured values of each and of the floor, by rounds; processors they used."""
    options, work = contest.options, 1.0
    if case.floor:
        try:
            contest.ask("floor", "prepare floor/" + case.floor[0])
            work = contest.ask("floor", "values")[0]
            names.append("floor")
        except Failure as failure:
            contest.fail("floor", case, failure)
    values = {name: [] for name in names}
    taken = {name: [0.0, 0.0] for name in names}  # seconds, processor seconds
    for _ in range(options.rounds):
        for name in list(values):
            # One round of a peer that takes so long says enough.
            if name != "ours" and taken[name][0] > 20 * options.seconds:
                continue
            try:
                contender = contest.contender(name)
                start, before = time.perf_counter(), contender.processor_seconds()
                seconds = contest.ask(name, f"time {options.seconds}")
                taken[name][0] += time.perf_counter() - start
                taken[name][1] += contender.processor_seconds() - before
            except Failure as failure:
                contest.fail(name, case, failure)
                del values[name]
                continue
            values[name].append(case.floor_value(work / seconds) if name == "floor"
                                else case.value(seconds))
            time.sleep(0.002)  # threads that still spin go to sleep
    processors = {name: used / passed for name, (passed, used) in taken.items() if name in values}
    return values, processors


def measure_time(contest, case):
    """In turns."""
    names, _ = prepare(contest, case, entrants(contest, case))
    if not names:
        return None, {}
    return measure_turns(contest, case, names)


def measure_alone(contest, case):
    """The same one after the other, each in a process that ends: together they need more memory
    than most machines have."""
    values, processors, expected = {}, {}, None
    for name in entrants(contest, case):
        ready, expected = prepare(contest, case, [name], expected)
        if ready:
            measured, used = measure_turns(contest, case, ready)
            for who, rounds in measured.items():
                values.setdefault(who, []).extend(rounds)  # the floor's are those of all
            processors.update(used)
        elif name == "ours":
            return None, {}
        if name in contest.running:
            contest.running.pop(name).close()
    return values, processors


def measure_peak(contest, case):
    """The peaks of processes that have run nothing but one step."""
    values, expected = {}, None
    for name in entrants(contest, case):
        contender = None
        try:
            contender = contest.started(name)
            contender.ask("prepare " + case.step, contest.limit(name))
            found = contender.ask("values", contest.limit(name))
            expected = expected or found
            if difference := differ(expected, found, case.tolerance):
                raise Failure("other values: " + difference)
            values[name] = [contender.ask("peak", contest.limit(name)) * case.scale]
        except Failure as failure:
            contest.fail(name, case, failure)
        if contender:
            contender.close()
    return values, {}


def measure_start(contest, case):
    """From the start of a process until it has taken a step."""
    values, expected = {}, None
    for name in entrants(contest, case):
        contender = None
        try:
            start = time.perf_counter()
            contender = contest.started(name)
            contender.ask("prepare " + case.name, contest.limit(name))
            found = contender.ask("values", contest.limit(name))
            taken = time.perf_counter() - start
            expected = expected or found
            if difference := differ(expected, found, case.tolerance):
                raise Failure("other values: " + difference)
            values[name] = [case.value(taken)]
        except Failure as failure:
            contest.fail(name, case, failure)
        if contender:
            contender.close()
    return values, {}


def measure_arena(contest, case):
    """Not against peers, but the sum of all intermediates."""
    try:
        contest.ask("ours", "prepare " + case.name)
        arena, intermediates = contest.ask("ours", "values")
        return {"ours": [arena * case.scale], "intermediates": [intermediates * case.scale]}, {}
    except Failure as failure:
        contest.fail("ours", case, failure)
        return None, {}


def measure_size(contest, case):
    """A program that trains, against the libraries that one of a peer brings along."""
    values = {}
    try:
        values["ours"] = [stripped_bytes(TRAINING_PROGRAM) * case.scale]
    except (Failure, OSError) as failure:
        contest.fail("ours", case, failure)
    for name in contest.commands:
        try:
            if name in SHIPPED:
                values[name] = [shipped_bytes(name) * case.scale]
        except Failure as failure:
            contest.fail(name, case, failure)
    return values, {}


def measure_lines(contest, case):
    """Of the programs that the other cases of this training run."""
    training = case.case.split("/")[0]
    found = {name: lines.count(name, training)
             for name in contest.commands if name in lines.FILES}
    return {name: [number] for name, number in found.items() if number}, {}


MEASURES = {"time": measure_time, "start": measure_start, "peak": measure_peak,
            "arena": measure_arena, "size": measure_size, "lines": measure_lines}
# What threads do not change.
WITHOUT_THREADS = ("size", "lines")


def main():
    options = arguments()
    if options.show:
        report.show(options.show, options.names)
        return 0
    start = time.monotonic()
    selected = cases.selected(options.names, options.quick)
    commands, absent = {"ours": OURS}, {}
    for peer in options.peers:
        benches = {case.bench for case in selected if competes(peer, case.group)}
        if not benches:
            continue
        try:
            # Who has none of the cases is named, but need not be here.
            has_none = all(lacks(peer, bench) for bench in benches)
            commands[peer] = [] if has_none else install(peer)
        except Failure as failure:
            absent[peer] = f"cannot be installed: {failure}"
            print(f"bench: {peer} is left out: {absent[peer]}", file=sys.stderr, flush=True)
    commands["floor"] = OURS

    INSTALLED.mkdir(parents=True, exist_ok=True)
    output = open(options.json, "w") if options.json else None
    print(f"load at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; "
          f"{options.rounds} rounds of {options.seconds} s")
    print(report.HEADER)
    results, slow, missed = [], {}, 0
    with open(INSTALLED / "contenders.log", "w") as log:
        for threads in options.threads:
            there = {name: command for name, command in commands.items() if name not in absent}
            contest = Contest(there, absent, slow, threads, options, log)
            for case in selected:
                if case.kind in WITHOUT_THREADS and threads != options.threads[0]:
                    continue
                contest.left_out = {}
                measure = measure_alone if case.alone else MEASURES[case.kind]
                values, processors = measure(contest, case)
                contest.forget()
                contest.left_out.update((name, why) for name, why in absent.items()
                                        if competes(name, case.group))
                if not values or "ours" not in values:
                    missed += 1
                    print(f"{case.name:{report.WIDTH}} {threads} failed")
                    continue
                result = report.record(case, threads, values, processors, contest.left_out)
                results.append((case, result))
                print(report.row(case, result), flush=True)
                if output:
                    print(json.dumps(result), file=output, flush=True)
            contest.close()
    report.summary(results)
    print(f"this took {(time.monotonic() - start) / 60:.0f} minutes")
    return 1 if missed else 0


sys.exit(main())
