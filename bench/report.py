"""The figures as text of at most 80 columns: medians, with the least and the most in brackets."""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from statistics import median

from bench.fleet import Cost
from bench.growth import Growth


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def spread(values: Sequence[float]) -> str:
    """`median (least-most)`."""
    return f"{_short(median(values))} ({_short(min(values))}-{_short(max(values))})"


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


class Comparison:
    """One load's rounds on both sides, each pair done one after the other."""

    def __init__(self, title: str, *, chain: bool = False) -> None:
        self.title = title
        self._chain = chain
        self._ours: list[Cost] = []
        self._queue: list[Cost] = []

    def add(self, ours: Cost, queue: Cost) -> None:
        self._ours.append(ours)
        self._queue.append(queue)

    def lines(self) -> list[str]:
        head = _row("", "Galerne", "work queue", "ratio")
        rows = [self._row("tasks/s", lambda cost: cost.rate)]
        if self._chain:
            rows.append(self._row("ms a hop", lambda cost: cost.hop))
        rows.append(self._row("CPU s/1,000 tasks", lambda cost: cost.cpu_per_thousand))
        return ["", self.title, head, *rows, *self._shares()]

    def _row(self, name: str, figure: Callable[[Cost], float]) -> str:
        ours = [figure(cost) for cost in self._ours]
        queue = [figure(cost) for cost in self._queue]
        ratios = [one / other for one, other in zip(ours, queue, strict=True)]
        return _row(name, spread(ours), spread(queue), spread(ratios))

    def _shares(self) -> list[str]:
        """CPU seconds for 1,000 tasks by process, medians of the rounds."""
        return [
            _row(f"  {name}", _share(self._ours, name), _share(self._queue, name), "")
            for name in dict.fromkeys([*self._ours[0].cpu, *self._queue[0].cpu])
        ]


def _share(costs: list[Cost], name: str) -> str:
    if name not in costs[0].cpu:
        return ""
    return _short(median(cost.cpu[name] / cost.tasks * 1000 for cost in costs))


def _row(name: str, ours: str, queue: str, ratio: str) -> str:
    return f"  {name:<18}{ours:<22}{queue:<22}{ratio}".rstrip()


def growth_lines(form: str, rows: Sequence[Growth]) -> list[str]:
    """A shape's decisions, a line a size: times a fact, and what the answer is given."""
    head = f"{'tasks':>7}{'median µs':>12}{'mean µs':>10}{'longest ms':>13}{'answer bytes':>15}"
    lines = [f"  {form:<7}{head}"]
    for row in rows:
        times = f"{row.median_us:>12.1f}{row.mean_us:>10.1f}{row.longest_ms:>13.2f}"
        lines.append(f"  {'':<7}{row.size:>7,}{times}{row.answer_bytes:>15,}")
    return lines


def memory_lines(points: Sequence[tuple[int, int]]) -> list[str]:
    """Jobs done and the resident bytes then, a line a point."""
    return [f"  {jobs:>9,} jobs{resident / 2**20:>10.1f} MiB" for jobs, resident in points]
