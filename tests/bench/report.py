"""What the driver shows of what it measured: the table, who was left out, the targets."""
import collections
import json
import math

import cases

WIDTH = 44
BEHIND = 0.95  # of the best peer: who is below is named
# What is compiled in more and more copies of the same.
GROWING = ("compile/chain", "classes/compile/graphs/layers/")
HEADER = (f"{'case':{WIDTH}} T {'ours':>8} {'':9} {'x peer':>6} {'floor':>6} spread target "
          "peers, best first")


def best(case, values):
    return max(values) if case.higher else min(values)


def record(case, threads, values, processors, left_out):
    """The line of JSON. Each number is the best of the rounds: the one least disturbed by what else
    the machine does. The spread is that of our rounds."""
    peers = {name: best(case, v) for name, v in values.items() if v}
    ours, floor = peers.pop("ours"), peers.pop("floor", None)
    own = values["ours"]
    result = {
        "bench": case.bench, "case": case.case, "threads": threads, "unit": case.unit,
        "better": "higher" if case.higher else "lower", "ours": ours, "peers": peers,
        "floor": floor,
        "vs_best_peer": case.ahead(ours, best(case, peers.values())) if peers else None,
        "of_floor": case.ahead(ours, floor) if floor else None,
        "spread": (max(own) - min(own)) / ours,
    }
    result["target"] = case.reached(result)
    result["processors"] = processors
    result["left_out"] = left_out
    return result


def short(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def target(case, result):
    if not case.target:
        return "-"
    reached = result["target"]
    if reached is None:
        return "?"
    return "met" if reached >= 1 else f"{100 * reached:.0f} %"


def row(case, result):
    peers = sorted(result["peers"].items(), key=lambda p: p[1], reverse=case.higher)
    return (f"{case.name:{WIDTH}} {result['threads']} {short(result['ours']):>8} {case.unit:9} "
            f"{short(result['vs_best_peer']):>6} {short(result['of_floor']):>6} "
            f"{100 * result['spread']:5.0f}% {target(case, result):>6} "
            + ", ".join(f"{name} {short(value)}" for name, value in peers))


def left_out(results):
    """Each reason once, with the cases it holds for."""
    reasons = collections.defaultdict(dict)
    for case, result in results:
        for name, why in result["left_out"].items():
            reasons[name, why][case.name] = None
    measured = {case.name for case, _ in results}
    for (name, why), names in sorted(reasons.items()):
        print(f"  {name}: {why}: {shortened(list(names), measured)}")


def shortened(names, measured):
    """As a list that has the common beginning of `measured` cases instead of them, where it holds
    for all of them."""

    def beginnings(name):
        parts = name.split("/")
        return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]

    every = collections.Counter(part for name in measured for part in beginnings(name))
    found = collections.Counter(part for name in names for part in beginnings(name))
    # A name that begins others is itself where they are not all there.
    return " ".join(dict.fromkeys(
        next((part for part in beginnings(name) if found[part] == every[part]), name)
        for name in names))


def targets(results):
    benches = collections.defaultdict(list)
    for case, result in results:
        if case.target:
            benches[case.group, result["threads"]].append((case, result))
    for (bench, threads), found in sorted(benches.items(), key=lambda b: b[0][1]):
        met = [case for case, result in found if (result["target"] or 0) >= 1]
        text = f"  {bench:18} {threads} "
        text += "met" if len(met) == len(found) else f"{len(met)} of {len(found)}"
        shown = [(case, result) for case, result in found if (result["target"] or 0) < 1]
        if bench in cases.NEVER_UNDER:
            # Most must meet their target; the rest may come close to it.
            what, least = cases.NEVER_UNDER[bench]
            shown = [(case, result) for case, result in shown
                     if result["vs_best_peer"] is None or result["vs_best_peer"] < least]
            verdict = "met" if 2 * len(met) > len(found) and not shown else "missed"
            text += f", so {verdict}: most, and none under {least} of the best peer"
        for case, result in shown:
            text += f"\n                         {case.name} {target(case, result)}"
        print(text)


def behind(results):
    """Every timed case in which a peer is ahead, the worst first, and the mean over all."""
    for threads in sorted({result["threads"] for _, result in results}):
        found = sorted(
            ((result["vs_best_peer"], case, result) for case, result in results
             if case.kind == "time" and result["vs_best_peer"] and result["threads"] == threads),
            key=lambda f: f[0])
        if not found:
            continue
        mean = math.exp(sum(math.log(factor) for factor, _, _ in found) / len(found))
        below = [f for f in found if f[0] < BEHIND]
        print(f"below {BEHIND} of the best peer with {threads} "
              f"{'thread' if threads == 1 else 'threads'}: {len(below)} of {len(found)} cases; "
              f"geometric mean of all {mean:.2f}")
        for factor, case, result in below:
            peers = result["peers"]
            first = (max if case.higher else min)(peers, key=peers.get)
            print(f"  {factor:6.3f} {case.name:{WIDTH}} {short(result['ours'])} {case.unit}, "
                  f"{first} {short(peers[first])}")


def growth(results):
    """The time to compile a chain, for each of its operations or layers."""
    lines = []
    for threads, chain in sorted({(result["threads"], chain) for case, result in results
                                  for chain in GROWING if case.name.startswith(chain)}):
        chains = [(int(case.name[len(chain):]), result) for case, result in results
                  if case.name.startswith(chain) and result["threads"] == threads]
        for name in ("ours", "jax"):
            values = [(count, result["ours"] if name == "ours" else result["peers"].get(name))
                      for count, result in chains]
            if len(values) > 1:
                lines.append(f"  {name:5} {threads} {chain}: " + ", ".join(
                    f"{count}: {short(value and value / count)}" for count, value in values))
    if lines:
        print("ms to compile an operation, a layer, by their number:", *lines, sep="\n")


def show(files, names):
    """What was measured before, as a table; what a later file has replaces that of an earlier."""
    wanted = {case.name: case for quick in (True, False) for case in cases.selected(names, quick)}
    found = {}
    for file in files:
        with open(file) as lines:
            for result in map(json.loads, lines):
                found[result["bench"] + "/" + result["case"], result["threads"]] = result
    results = []
    for threads in sorted({threads for _, threads in found}):
        for case in wanted.values():
            if result := found.get((case.name, threads)):
                result["target"] = case.reached(result)
                results.append((case, result))
    print(HEADER)
    for case, result in results:
        print(row(case, result))
    summary(results)


def summary(results):
    if any(result["left_out"] for _, result in results):
        print("left out:")
        left_out(results)
    if any(case.target for case, _ in results):
        print("targets:")
        targets(results)
    growth(results)
    behind(results)
