"""A trivial function on 4 fresh ranks, called from a plain program that has imported torch."""

from __future__ import annotations

import tempfile
import time

import nblaunch
from benchmarks.contender import Ranks, Sample
from benchmarks.programs import trivial
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work
from nblaunch.processes import DefaultLogsSpecs, start_processes

__all__ = ["Launch", "StartProcesses", "work"]

RANKS = 4


class Launch(Ranks):
    """`nblaunch.launch` of a trivial function."""

    def sample(self) -> Sample:
        """Launch, and have all values."""
        began = time.perf_counter()
        run = nblaunch.launch(trivial, self._nprocs, quiet=True)
        seconds = time.perf_counter() - began
        if len(set(run.results.values())) != self._nprocs:
            raise RuntimeError(f"not every rank has answered: {run.summary()}")
        return {"value": seconds}


class StartProcesses(Ranks):
    """`nblaunch.processes.start_processes`, which has torch elastic's interface."""

    def sample(self) -> Sample:
        """Start, wait, and have all values."""
        ranks = range(self._nprocs)
        with tempfile.TemporaryDirectory() as logs:
            began = time.perf_counter()
            context = start_processes(
                "trivial",
                trivial,
                dict.fromkeys(ranks, ()),
                {rank: {} for rank in ranks},
                DefaultLogsSpecs(log_dir=logs),
            )
            result = context.wait()
            seconds = time.perf_counter() - began
        if result is None or len(set(result.return_values.values())) != self._nprocs:
            raise RuntimeError(f"not every rank has answered: {result}")
        return {"value": seconds}


def work(quick: bool) -> Work:
    """Describe the work; `quick` leaves out the peers that take seconds."""
    label = f"{RANKS} ranks"
    nprocs = {"nprocs": RANKS}
    torch = ("numpy", "torch")
    peers = "benchmarks.peers"
    entries = [
        Entry(NBLAUNCH, "benchmarks.function:Launch", "nblaunch", nprocs, torch),
        Entry("nblaunch start_processes", "benchmarks.function:StartProcesses", "nblaunch", nprocs, torch),
        Entry("stdlib forkserver, preloaded", f"{peers}.stdlib:Forkserver", "peer", nprocs, torch),
        Entry("torch elastic, fork", f"{peers}.torch_elastic:Fork", "peer", nprocs, torch),
        Entry("torch elastic, spawn", f"{peers}.torch_elastic:Spawn", "peer", nprocs, torch),
        Entry("accelerate notebook_launcher", f"{peers}.accelerate:Launch", "peer", nprocs, (*torch, "accelerate")),
        Entry("loky, new pool", f"{peers}.loky:Cold", "peer", nprocs, (*torch, "loky")),
        Entry("loky, warm pool", f"{peers}.loky:Warm", "peer", nprocs, (*torch, "loky")),
        Entry(
            "ipyparallel apply_sync, warm engines",
            f"{peers}.ipyparallel:Apply",
            "peer",
            {"engines": RANKS},
            (*torch, "ipyparallel"),
        ),
        Entry("limit: fork, exit, wait", "benchmarks.limits:ForkAndExit", "limit", nprocs, torch),
    ]
    if quick:
        entries = [entry for entry in entries if entry.name != "torch elastic, spawn"]
    of = Ref(label, NBLAUNCH)
    return Work(
        "function",
        f"trivial function on {RANKS} fresh ranks, from a plain program that has imported torch",
        (Case(label, tuple(entries)),),
        (
            Target("≤ 0.5 × stdlib forkserver, preloaded", of, 0.5, Ref(label, "stdlib forkserver, preloaded")),
            Target("≥ 100 × faster than torch elastic, spawn", of, 100, Ref(label, "torch elastic, spawn"), "at least"),
            Target("≤ 2 × fork, exit and wait of 4 children", of, 2, Ref(label, "limit: fork, exit, wait")),
        ),
    )
