"""A table of what benchmarks.cpp and peers.py print, and how many times as long as the best of the
others without TF32 each case takes here: compare.py FILE..."""
import json
import sys

rows = {}
for path in sys.argv[1:]:
    for line in open(path):
        if line.startswith("{"):
            result = json.loads(line)
            rows.setdefault(result["case"], {})[result["who"]] = result
columns = ["kroton", "torch", "torch_compiled", "torch_tf32", "jax"]
print(f'{"us":29s}' + "".join(f"{who.removeprefix('torch_'):>9s}" for who in columns) + f'{"/ best":>9s}')
for case, results in rows.items():
    times = {who: result["us"] for who, result in results.items() if "us" in result}
    text = f"{case:29s}"
    for who in columns:
        missing = "error" if who in results else "-"
        text += f"{times[who]:9.1f}" if who in times else f"{missing:>9s}"
    others = [us for who, us in times.items() if who not in ("kroton", "torch_tf32")]
    if others and "kroton" in times:
        text += f'{times["kroton"] / min(others):9.2f}'
    print(text)
