"""Many small objects, and few large ones that are no arrays: what packing them takes, and sending them to ranks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle

import nblaunch
from benchmarks.contender import Contender, Sample
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work
from nblaunch.payload import pack

__all__ = ["Frame", "Small", "work"]

RANKS = 4
THEIRS = "cloudpickle.dumps"


@dataclass
class Point:
    """A small object."""

    x: int
    y: float
    name: str


def dataclasses(number: int) -> list[Point]:
    """Return objects of three attributes."""
    return [Point(i, i / 2, "a") for i in range(number)]


def arrays(number: int) -> list[Any]:
    """Return arrays of 96 bytes."""
    import numpy

    return [numpy.full(12, i, dtype=float) for i in range(number)]


class Small(Contender):
    """nblaunch and cloudpickle pack the same objects in one process, in turns: one that has grown alike for both."""

    def __init__(self, make: str, number: int) -> None:
        self._objects = globals()[make](number)
        self._turn = False

    def sample(self) -> Sample:
        """Pack the objects in both ways; who comes first changes."""
        ways: dict[str, Callable[[], object]] = {
            "value": lambda: pack(self._objects),
            THEIRS: partial(cloudpickle.dumps, self._objects, protocol=5),
        }
        self._turn = not self._turn
        seconds = {}
        for name in sorted(ways, reverse=self._turn):
            began = time.perf_counter()
            ways[name]()
            seconds[name] = time.perf_counter() - began
        return seconds


class Frame(Contender):
    """One large object of the main module, used by a cell on ranks.

    Parameters
    ----------
    kind : str
        ``"polars"``, ``"arrow"`` (a table of the same column) or ``"bytes"``.
    megabytes : int
        Its size, in 10⁶ bytes.
    """

    def __init__(self, kind: str, megabytes: int) -> None:
        import numpy
        import polars

        values = numpy.arange(megabytes * 1_000_000 // 8, dtype=numpy.int64)
        made: Any = values.tobytes() if kind == "bytes" else polars.DataFrame({"a": values})
        self._expected = len(made)
        vars(sys.modules["__main__"])["large"] = made.to_arrow() if kind == "arrow" else made

    def sample(self) -> Sample:
        """Launch the cell."""
        began = time.perf_counter()
        run = nblaunch.launch("len(large)", RANKS, quiet=True)
        seconds = time.perf_counter() - began
        if run.results != dict.fromkeys(range(RANKS), self._expected):
            raise RuntimeError(f"the lengths are wrong or missing: {run.summary()}")
        return {"value": seconds}


def work(quick: bool) -> Work:
    """Describe the work; `quick` takes few objects."""
    share = 100 if quick else 1
    cases, targets = [], []
    small: tuple[tuple[str, int, tuple[str, ...]], ...] = (
        ("dataclasses", 300_000, ()),
        ("arrays", 100_000, ("numpy",)),
    )
    for make, number, needs in small:
        label = f"{number // share:,} {make}{' of 96 B' if make == 'arrays' else ''}"
        each = {"make": make, "number": number // share}
        cases.append(Case(label, (Entry(NBLAUNCH, "benchmarks.objects:Small", "nblaunch", each, needs),)))
        against = Ref(label, NBLAUNCH, THEIRS)
        targets.append(Target(f"{label}: ≤ 1.15 × cloudpickle", Ref(label, NBLAUNCH), 1.15, against))
    megabytes = 400 // share
    label = f"{megabytes} MB to {RANKS} ranks"
    needs = ("numpy", "polars", "pyarrow")
    kinds = {"frame of Polars": "polars", "table of Arrow": "arrow", "bytes": "bytes"}
    entries = tuple(
        Entry(
            f"{NBLAUNCH}, {name}",
            "benchmarks.objects:Frame",
            "nblaunch",
            {"kind": kind, "megabytes": megabytes},
            needs,
        )
        for name, kind in kinds.items()
    )
    cases.append(Case(label, entries, large=True))
    return Work(
        "objects",
        f"many small objects packed, and large ones that are no arrays sent to {RANKS} ranks",
        tuple(cases),
        tuple(targets),
    )
