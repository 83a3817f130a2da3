"""A table of what the benchmarks and peers.py print, and how many times as long as the best of the
others without TF32 each case takes here (a case in TF32: the best of the others in TF32). Behind it
those that are furthest behind.
   compare.py FILE...
   compare.py --slowest N FILE...    the names of these alone, for counters of their kernels"""
import json
import sys

paths, most = sys.argv[1:], 12
only_names = paths[:1] == ["--slowest"]
if only_names:
    most, paths = int(paths[1]), paths[2:]
rows = {}
for path in paths:
    for line in open(path):
        try:
            result = json.loads(line) if line.startswith("{") else None
        except ValueError:  # who wrote it was ended meanwhile
            continue
        if result:
            rows.setdefault(result["case"], {})[result["who"]] = result
columns = ["kroton", "torch", "torch_compiled", "torch_tf32", "jax"]
behind, lines = [], []
for case, results in rows.items():
    times = {who: result["us"] for who, result in results.items() if "us" in result}
    text = f"{case:35s}"
    for who in columns:
        missing = "error" if who in results else "-"
        text += f"{times[who]:10.1f}" if who in times else f"{missing:>10s}"
    # What kernels of ours take alone is compared with the libraries of others.
    peers = rows.get(case.replace("_own_", "_"), {})
    others = {who: result["us"] for who, result in peers.items()
              if "us" in result and who not in ("kroton", "torch_tf32")}
    if others and "kroton" in times:
        ratio = times["kroton"] / min(others.values())
        behind.append((ratio, case))
        text += f"{ratio:10.2f}"
    lines.append(text)
behind.sort(reverse=True)
if only_names:
    # Without others, those that move the fewest bytes a second.
    alone = sorted((result["kroton"].get("GB/s", 0), case) for case, result in rows.items()
                   if result.get("kroton", {}).get("GB/s", 0) > 0)
    print(" ".join(case for _, case in (behind or alone)[:most]))
else:
    print(f'{"us":35s}' + "".join(f"{who.removeprefix('torch_'):>10s}" for who in columns)
          + f'{"/ best":>10s}')
    print("\n".join(lines))
    if behind:
        print("furthest behind: " + ", ".join(f"{case} {ratio:.2f}" for ratio, case in behind[:most]))
