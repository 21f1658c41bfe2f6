"""A trivial function on more and more ranks: total, per rank, and a straight line through the medians."""

from __future__ import annotations

from benchmarks.work import NBLAUNCH, Case, Entry, Figures, Ref, Target, Work

__all__ = ["work"]

FIT = "line"


def work(quick: bool) -> Work:
    """Describe the work; `quick` stops at 4 ranks."""
    numbers = (2, 4) if quick else (4, 16, 64, 256)
    peers = "benchmarks.peers"

    def entries(nprocs: int) -> tuple[Entry, ...]:
        each = {"nprocs": nprocs}
        return (
            Entry(NBLAUNCH, "benchmarks.function:Launch", "nblaunch", each, ("torch",)),
            Entry("stdlib forkserver, preloaded", f"{peers}.stdlib:Forkserver", "peer", each, ("torch",)),
            Entry("torch elastic, fork", f"{peers}.torch_elastic:Fork", "peer", each, ("torch",)),
            Entry("limit: fork, exit, wait", "benchmarks.limits:ForkAndExit", "limit", each, ("torch",)),
        )

    def derive(figures: Figures) -> None:
        for entry in entries(1):
            medians = {number: figures.median(Ref(_label(number), entry.name)) for number in numbers}
            known = {number: seconds for number, seconds in medians.items() if seconds is not None}
            if len(known) < 2:
                continue
            slope, start, straight = line(known)
            for figure, number in (("ms a rank", slope * 1e3), ("ms at 0 ranks", start * 1e3), ("R²", straight)):
                figures.derived[Ref(FIT, entry.name, figure)] = number
        for outcome in figures.outcomes.get(_label(numbers[-1]), []):
            if outcome.samples or outcome.problem:
                figures.derived[Ref(FIT, outcome.entry.name, "failed")] = float(bool(outcome.problem))

    return Work(
        "scaling",
        "trivial function on more and more fresh ranks",
        tuple(Case(_label(number), entries(number)) for number in numbers),
        (
            Target("≤ 6 ms a rank (slope)", Ref(FIT, NBLAUNCH, "ms a rank"), 6, unit="ms"),
            Target("linear: R² ≥ 0.99", Ref(FIT, NBLAUNCH, "R²"), 0.99, sense="at least", unit=""),
            Target(f"no failed launch at {numbers[-1]} ranks", Ref(FIT, NBLAUNCH, "failed"), 0, unit="failed"),
        ),
        derive,
    )


def _label(number: int) -> str:
    return f"{number} ranks"


def line(points: dict[int, float]) -> tuple[float, float, float]:
    """Return slope, intercept and R² of the straight line with the least squares."""
    n = len(points)
    middle_x, middle_y = sum(points) / n, sum(points.values()) / n
    across = sum((x - middle_x) * (y - middle_y) for x, y in points.items())
    width = sum((x - middle_x) ** 2 for x in points)
    height = sum((y - middle_y) ** 2 for y in points.values())
    slope = across / width
    return slope, middle_y - slope * middle_x, across**2 / (width * height) if height else 1.0
