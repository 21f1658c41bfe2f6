"""Private memory (USS) of one more process that has imported torch and waits."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

import nblaunch
from benchmarks.contender import Ranks, Sample
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work

__all__ = ["Waiting", "memory_of", "work"]

RANKS = 4
PATIENCE = 90.0  # seconds until all ranks have imported torch

CELL = """
import os, time, torch
open(os.path.join({folder!r}, str(os.getpid())), "w").close()
time.sleep(600)
"""


class Waiting(Ranks):
    """Ranks whose cell has imported torch and waits, by start method; None is the default one."""

    def __init__(self, nprocs: int, start_method: str | None) -> None:
        super().__init__(nprocs)
        self._chosen = {} if start_method is None else {"start_method": start_method}

    def sample(self) -> Sample:
        """Launch, look at the ranks' memory while they wait, and stop them."""
        with tempfile.TemporaryDirectory() as folder:
            cell = CELL.format(folder=folder)
            run = nblaunch.launch(cell, self._nprocs, quiet=True, wait=False, **self._chosen)  # type: ignore[arg-type]
            try:
                deadline = time.monotonic() + PATIENCE
                while len(found := list(Path(folder).iterdir())) < self._nprocs:
                    if time.monotonic() > deadline or run.failures:
                        raise RuntimeError(f"the ranks do not get as far as to wait: {run.summary()}")
                    time.sleep(0.01)
                return memory_of(int(path.name) for path in found)
            finally:
                run.stop()


def memory_of(pids: Iterable[int]) -> Sample:
    """Return the medians of USS, PSS and RSS of these processes, in MB (10⁶ bytes)."""
    each = [psutil.Process(pid).memory_full_info() for pid in pids]
    return {
        name: statistics.median(getattr(memory, kind) for memory in each) / 1e6
        for name, kind in (("value", "uss"), ("PSS", "pss"), ("RSS", "rss"))
    }


def work(quick: bool) -> Work:
    """Describe the work; `quick` measures the default start method and the peers only."""
    label = f"{RANKS} ranks, median of them"
    methods = () if quick else ("zygote", "forkserver", "fork", "spawn")
    entries = (
        Entry(
            NBLAUNCH, "benchmarks.idle_rank:Waiting", "nblaunch", {"nprocs": RANKS, "start_method": None}, ("torch",)
        ),
        *(
            Entry(
                f"{NBLAUNCH}, {method}",
                "benchmarks.idle_rank:Waiting",
                "nblaunch",
                {"nprocs": RANKS, "start_method": method},
                ("torch",),
            )
            for method in methods
        ),
        Entry(
            "ipyparallel engine",
            "benchmarks.peers.ipyparallel:Idle",
            "peer",
            {"engines": RANKS},
            ("torch", "ipyparallel"),
        ),
        Entry("loky worker", "benchmarks.peers.loky:Idle", "peer", {"nprocs": RANKS}, ("torch", "loky")),
    )
    return Work(
        "idle_rank",
        "private memory (USS) of one more rank that has imported torch and waits",
        (Case(label, entries, unit="MB", most_rounds=3),),
        (Target("≤ 12 MB", Ref(label, NBLAUNCH), 12, unit="MB"),),
    )
