"""What the driver shows of what it measured: the table, who was left out, the targets."""
import collections
import json

import cases

HEADER = (f"{'case':38} T {'ours':>8} {'':9} {'x peer':>6} {'floor':>6} spread target "
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
    return (f"{case.name:38} {result['threads']} {short(result['ours']):>8} {case.unit:9} "
            f"{short(result['vs_best_peer']):>6} {short(result['of_floor']):>6} "
            f"{100 * result['spread']:5.0f}% {target(case, result):>6} "
            + ", ".join(f"{name} {short(value)}" for name, value in peers))


def left_out(results):
    """Each reason once, with the cases it holds for."""
    reasons = collections.defaultdict(dict)
    for case, result in results:
        for name, why in result["left_out"].items():
            reasons[name, why][case.name] = None
    for (name, why), names in sorted(reasons.items()):
        print(f"  {name}: {why}: {shortened(list(names))}")


def shortened(names):
    """As a list that names benches instead of all their cases."""
    every = collections.Counter(case.bench for case in cases.selected(()))
    found = collections.Counter(name.split("/")[0] for name in names)
    return " ".join(dict.fromkeys(
        bench if found[bench] == every[bench] else name
        for name, bench in ((name, name.split("/")[0]) for name in names)))


def targets(results):
    benches = collections.defaultdict(list)
    for case, result in results:
        if case.target:
            benches[case.bench, result["threads"]].append((case, result))
    for (bench, threads), found in sorted(benches.items(), key=lambda b: b[0][1]):
        met = [case for case, result in found if (result["target"] or 0) >= 1]
        text = f"  {bench:12} {threads} "
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
            text += f"\n                   {case.name} {target(case, result)}"
        print(text)


def growth(results):
    """The time of a chain's compilation for each of its operations."""
    for threads in sorted({result["threads"] for _, result in results}):
        chains = [(int(case.case[5:]), result) for case, result in results
                  if case.name.startswith("compile/chain") and result["threads"] == threads]
        for name in ("ours", "jax"):
            values = [(count, result["ours"] if name == "ours" else result["peers"].get(name))
                      for count, result in chains]
            if len(values) > 1:
                print(f"  {name:12} {threads} " + ", ".join(
                    f"{count}: {short(value and value / count)}" for count, value in values))


def show(files, wanted):
    """What was measured before, as a table; what a later file has replaces that of an earlier."""
    found = {}
    for file in files:
        with open(file) as lines:
            for result in map(json.loads, lines):
                found[result["bench"] + "/" + result["case"], result["threads"]] = result
    results = []
    for threads in sorted({threads for _, threads in found}):
        for case in wanted:
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
    if any(case.name.startswith("compile/chain") for case, _ in results):
        print("compile/chain, ms an operation, by operations:")
        growth(results)
