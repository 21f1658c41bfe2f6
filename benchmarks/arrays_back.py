"""A large array that is made in each of 4 ranks and returned to the caller."""

from __future__ import annotations

import time

import nblaunch
from benchmarks.contender import Ranks, Sample
from benchmarks.programs import make_array_and_tell
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work

__all__ = ["Returned", "work"]

RANKS = 4


class Returned(Ranks):
    """`nblaunch.launch` of a function that returns an array."""

    def __init__(self, nprocs: int, mebibytes: int) -> None:
        super().__init__(nprocs, mebibytes)
        self._number = 0.0

    def sample(self) -> Sample:
        """Launch and have all arrays; reading them through, which is not part of the work, is told apart."""
        self._number += 1
        began = time.monotonic()
        run = nblaunch.launch(make_array_and_tell, self._nprocs, args=(self._mebibytes, self._number), quiet=True)
        ended = time.monotonic()
        run.raise_for_failures()
        seconds, back = ended - began, ended - max(made for _, made in run.results.values())
        began = time.perf_counter()
        means = {rank: float(array.mean()) for rank, (array, _) in run.results.items()}
        reading = time.perf_counter() - began
        if means != dict.fromkeys(range(self._nprocs), self._number):
            raise RuntimeError(f"the arrays are wrong or missing: {means}")
        return {"value": seconds, "back": back, "reading": reading}


def work(quick: bool) -> Work:
    """Describe the work; `quick` takes arrays of 8 MiB."""
    size = 8 if quick else 256
    label = f"{size} MiB from each of {RANKS} ranks"
    each = {"nprocs": RANKS, "mebibytes": size}
    pull, writes = "ipyparallel, warm engines", "limit: fork, make, write(2), exit"
    entries = (
        Entry(NBLAUNCH, "benchmarks.arrays_back:Returned", "nblaunch", each, ("torch",)),
        Entry(
            pull,
            "benchmarks.peers.ipyparallel:Pull",
            "peer",
            {"engines": RANKS, "mebibytes": size},
            ("torch", "ipyparallel"),
        ),
        Entry("loky, warm workers", "benchmarks.peers.loky:Result", "peer", each, ("torch", "loky")),
        Entry(writes, "benchmarks.limits:MakeAndWrite", "limit", {**each, "write": True}, ("torch",)),
        Entry(
            "making only: fork, make, exit",
            "benchmarks.limits:MakeAndWrite",
            "reference",
            {**each, "write": False},
            ("torch",),
        ),
    )
    of = Ref(label, NBLAUNCH)
    return Work(
        "arrays_back",
        "NumPy array made in every rank and returned (making included, except in the pull)",
        (Case(label, entries, large=True),),
        (
            Target(
                "≥ 10 × faster than the pull, making included here only", of, 10, Ref(label, pull, "pull"), "at least"
            ),
            Target(
                "≥ 10 × faster than the pull, from the last array made to the end",
                Ref(label, NBLAUNCH, "back"),
                10,
                Ref(label, pull, "pull"),
                "at least",
            ),
            Target("≤ 1.5 × fork, make and write", of, 1.5, Ref(label, writes)),
        ),
    )
