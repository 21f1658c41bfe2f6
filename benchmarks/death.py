"""One of 4 ranks dies while the others sleep: from its last moment until the error is in the caller's hands."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.cell import InKernel
from benchmarks.contender import Sample
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work

__all__ = ["DyingRank", "FailingCell", "last_moment", "wait_and_die", "work"]

RANKS = 4
SETTLE = 0.2  # seconds that nblaunch waits, after a first failure, for others that fail for the same reason


def wait_and_die(rank: int, world_size: int, folder: str) -> None:
    """Sleep, or, as rank 0, wait until all others do and die of SIGKILL; its last moment is left in a file."""
    if rank != 0:
        Path(folder, str(rank)).touch()
        time.sleep(600)
    while len(os.listdir(folder)) < world_size - 1:
        time.sleep(0.01)
    time.sleep(0.1)  # from the file to the sleep
    Path(folder, "died").write_text(repr(time.monotonic()))
    os.kill(os.getpid(), 9)


def last_moment(folder: str) -> float:
    """Return when rank 0 died, by the clock that all processes share."""
    return float(Path(folder, "died").read_text())


class DyingRank(InKernel):
    """A cell one of whose ranks dies."""

    preparation = "%load_ext nblaunch\nfrom benchmarks.death import wait_and_die"

    def sample(self) -> Sample:
        """Run the cell until its error has come."""
        with tempfile.TemporaryDirectory() as folder:
            reply = self.kernel.run(f"%%multiproc {RANKS}\nwait_and_die(rank, world_size, {folder!r})")
            seconds = time.monotonic() - last_moment(folder)
        causes = self.kernel.value("[rank for rank, failure in failures.items() if not failure.collateral]")
        if reply.status != "error" or causes != [0]:
            raise RuntimeError(f"the cell ended as {reply.status}, with failures of {causes}: {reply.traceback}")
        return {"value": seconds, "without settle": seconds - SETTLE}


class FailingCell(InKernel):
    """An ordinary cell that raises: what a kernel takes to show an error."""

    def sample(self) -> Sample:
        """Run it."""
        began = time.perf_counter()
        reply = self.kernel.run("1 / 0")
        seconds = time.perf_counter() - began
        if reply.ename != "ZeroDivisionError":
            raise RuntimeError(f"the cell ended as {reply.status}")
        return {"value": seconds}


def work(quick: bool) -> Work:
    """Describe the work; it is the same when `quick`."""
    del quick
    label = f"{RANKS} ranks"
    entries = (
        Entry(NBLAUNCH, "benchmarks.death:DyingRank", "nblaunch", needs=("torch",)),
        Entry(
            "torch elastic, fork (library call)",
            "benchmarks.peers.torch_elastic:Death",
            "peer",
            {"nprocs": RANKS},
            ("torch",),
        ),
        Entry("ordinary cell `1 / 0`", "benchmarks.death:FailingCell", "reference", needs=("torch",)),
    )
    return Work(
        "death",
        "one rank dies of SIGKILL while the others sleep: from its death to the reply of the cell",
        (Case(label, entries),),
        (
            Target(
                "< 50 ms plus the settle window of 0.2 s",
                Ref(label, NBLAUNCH, "without settle"),
                0.05,
                unit="s",
            ),
        ),
    )
