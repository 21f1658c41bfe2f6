"""A large array taken along by a cell's text to every rank; each sums 64 elements from all over it."""

from __future__ import annotations

import sys
import time

import nblaunch
from benchmarks.contender import Ranks, Sample
from benchmarks.programs import MIB, few_elements, make_array
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work

__all__ = ["Captured", "work"]

RANKS = (4, 16)
PEER_RANKS = 4


class Captured(Ranks):
    """`nblaunch.launch` of a cell that uses an array of the main module."""

    def __init__(self, nprocs: int, mebibytes: int) -> None:
        super().__init__(nprocs, mebibytes)
        self._number = 0.0

    def setup(self) -> None:
        """Define what a notebook would."""
        super().setup()
        vars(sys.modules["__main__"])["few_elements"] = few_elements

    def sample(self) -> Sample:
        """Launch the cell and have all sums; the array is another one every time."""
        self._number += 1
        array = make_array(self._mebibytes, self._number)
        vars(sys.modules["__main__"])["array"] = array
        expected = few_elements(array)
        began = time.perf_counter()
        run = nblaunch.launch("few_elements(array)", self._nprocs, quiet=True)
        seconds = time.perf_counter() - began
        del vars(sys.modules["__main__"])["array"]
        if run.results != dict.fromkeys(range(self._nprocs), expected):
            raise RuntimeError(f"the sums are wrong or missing: {run.summary()}")
        return {"value": seconds}


def ours(nprocs: int) -> str:
    """Return how tables call nblaunch with so many ranks."""
    return f"{NBLAUNCH}, {nprocs} ranks"


def work(quick: bool) -> Work:
    """Describe the work; `quick` takes an array of 8 MiB."""
    sizes = (8,) if quick else (256, 1024)
    cases, targets = [], []
    for size in sizes:
        label = f"{size} MiB" if size < 1024 else f"{size // 1024} GiB"
        push = f"ipyparallel push, {PEER_RANKS} warm engines"
        write = "one write(2) by one thread"
        each = {"mebibytes": size}
        entries = (
            *(
                Entry(ours(ranks), "benchmarks.arrays_out:Captured", "nblaunch", {"nprocs": ranks, **each}, ("torch",))
                for ranks in RANKS
            ),
            Entry(
                push,
                "benchmarks.peers.ipyparallel:Push",
                "peer",
                {"engines": PEER_RANKS, **each},
                ("torch", "ipyparallel"),
                # the array, a copy in every engine, and another one each on the way
                memory=(1 + 2 * PEER_RANKS) * size * MIB,
            ),
            Entry(
                f"loky argument, {PEER_RANKS} warm workers",
                "benchmarks.peers.loky:Argument",
                "peer",
                {"nprocs": PEER_RANKS, **each},
                ("torch", "loky"),
                memory=(2 + 2 * PEER_RANKS) * size * MIB,
            ),
            Entry(write, "benchmarks.limits:Write", "reference", each, ("torch",)),
        )
        cases.append(Case(label, entries, large=True))
        for ranks in RANKS:
            of = Ref(label, ours(ranks))
            targets += [
                Target(f"{label}, {ranks} ranks: ≥ 20 × faster than push", of, 20, Ref(label, push), "at least"),
                Target(f"{label}, {ranks} ranks: ≤ 1.5 × one write(2)", of, 1.5, Ref(label, write)),
            ]
        few, many = RANKS
        targets.append(
            Target(
                f"{label}: {many} ranks as fast as {few} (≤ 1.2 ×)",
                Ref(label, ours(many)),
                1.2,
                Ref(label, ours(few)),
            )
        )
    return Work(
        "arrays_out",
        "NumPy array captured by a cell, every rank sums 64 elements of it",
        tuple(cases),
        tuple(targets),
    )
