"""torch's elastic multiprocessing: `start_processes` and `wait`, with a period that does not dominate."""

from __future__ import annotations

import signal
import tempfile
import time
from typing import Any

from benchmarks.contender import Ranks, Sample
from benchmarks.death import last_moment, wait_and_die
from benchmarks.programs import trivial

__all__ = ["Death", "Fork", "Spawn"]

PERIOD = 0.005  # seconds between its looks; 1 by default


class _Elastic(Ranks):
    start_method = ""

    def setup(self) -> None:
        """Import torch."""
        super().setup()
        import torch.distributed.elastic.multiprocessing  # noqa: F401

    def start(self, function: Any, args: dict[int, tuple[Any, ...]], logs: str) -> Any:
        """Start processes."""
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

        return start_processes(
            "bench",
            function,
            args,
            {rank: {} for rank in args},
            DefaultLogsSpecs(log_dir=logs),
            start_method=self.start_method,
        )

    def sample(self) -> Sample:
        """Start, wait, and have all values."""
        with tempfile.TemporaryDirectory() as logs:
            began = time.perf_counter()
            result = self.start(trivial, dict.fromkeys(range(self._nprocs), ()), logs).wait(period=PERIOD)
            seconds = time.perf_counter() - began
        if len(set(result.return_values.values())) != self._nprocs:
            raise RuntimeError(f"not every rank has answered: {result}")
        return {"value": seconds}


class Fork(_Elastic):
    """Forks of this process, which holds torch."""

    start_method = "fork"


class Spawn(_Elastic):
    """Fresh interpreters, the default, which import torch again."""

    start_method = "spawn"


class Death(_Elastic):
    """One rank dies while the others sleep: until `wait` returns."""

    start_method = "fork"

    def sample(self) -> Sample:
        """Start, and wait for the failure."""
        with tempfile.TemporaryDirectory() as logs, tempfile.TemporaryDirectory() as folder:
            args = {rank: (rank, self._nprocs, folder) for rank in range(self._nprocs)}
            result = self.start(wait_and_die, args, logs).wait(period=PERIOD)
            seconds = time.monotonic() - last_moment(folder)
        if not result.failures or result.failures[0].exitcode != -signal.SIGKILL:
            raise RuntimeError(f"it saw {result}")
        return {"value": seconds}
