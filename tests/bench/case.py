"""A line of the table: what is measured, and what it is held to."""


class Case:
    """One line of the table. `work` is done by one call; `unit` is work a second over `scale`, or
    seconds a unit of work times `scale` where lower is better. `target`: all of these conditions,
    and of a list in it one: (what, at least) with `what` one of

      best     ahead of the best peer by that factor
      NAME     ahead of that peer
      floor    that part of the floor
      ours     our value, at most that where lower is better
    """

    def __init__(self, name, work, unit, scale, floor=None, higher=True, tolerance=2e-3, target=(),
                 kind="time", shorter=None, step=None,
                 alone=False):
        self.name = name
        self.bench, self.case = name.split("/", 1)
        # What summaries put together; `classes` has many kinds of programs.
        self.group = "/".join(name.split("/")[:2]) if self.bench == "classes" else self.bench
        self.work, self.unit, self.scale, self.floor = work, unit, scale, floor
        self.higher, self.tolerance, self.target = higher, tolerance, target
        self.kind = kind  # how it is measured: time, start, peak, arena, size, lines
        self.alone = alone  # whether contenders take no turns
        self.step = step  # the name of the case whose peak it is
        self.shorter = shorter  # the name of a case: who is too slow for it is not asked for this

    def value(self, seconds):
        return (self.work / seconds if self.higher else seconds / self.work) * self.scale

    def floor_value(self, rate):
        """Of a floor in FLOP/s, B/s or additions/s."""
        kind, work = self.floor
        return self.value(work / rate)

    def ahead(self, ours, other):
        return ours / other if self.higher else other / ours

    def reached(self, result):
        """How far the target is reached, 1 and more if it is met; None if there is none, or not
        all that it needs was measured."""

        def part(what, least):
            if what == "ours":
                return result["ours"] / least if self.higher else least / result["ours"]
            if what in ("best", "floor"):
                factor = result["vs_best_peer" if what == "best" else "of_floor"]
            else:
                other = result["peers"].get(what)
                factor = self.ahead(result["ours"], other) if other else None
            return None if factor is None else factor / least

        parts = []
        for condition in self.target:
            if isinstance(condition, list):
                known = [p for p in (part(*c) for c in condition) if p is not None]
                parts.append(max(known, default=None))
            else:
                parts.append(part(*condition))
        return min(parts) if parts and None not in parts else None
