"""loky's reusable process pools: new for each call, or warm. Tasks go to whichever worker is free."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.contender import Ranks, Sample
from benchmarks.idle_rank import PATIENCE, memory_of
from benchmarks.programs import few_elements, import_torch, make_array, trivial

__all__ = ["Argument", "Cold", "Idle", "Result", "Warm"]


def _new_pool(workers: int) -> Any:
    """Make a pool; its workers start with the first tasks."""
    from loky import ProcessPoolExecutor

    return ProcessPoolExecutor(workers)


class _Pool(Ranks):
    def setup(self) -> None:
        """Start the pool."""
        super().setup()
        self.pool = _new_pool(self._nprocs)
        for task in [self.pool.submit(trivial) for _ in range(self._nprocs)]:
            task.result()

    def close(self) -> None:
        """Stop the pool."""
        self.pool.shutdown(wait=True, kill_workers=True)


class Cold(Ranks):
    """A pool of its own for a call per worker, shut down after."""

    def sample(self) -> Sample:
        """Make a pool, use it, shut it down."""
        began = time.perf_counter()
        pool = _new_pool(self._nprocs)
        for task in [pool.submit(trivial) for _ in range(self._nprocs)]:
            task.result()
        pool.shutdown(wait=True)
        return {"value": time.perf_counter() - began}


class Warm(_Pool):
    """A call per worker in a pool that runs already."""

    def sample(self) -> Sample:
        """Call."""
        began = time.perf_counter()
        for task in [self.pool.submit(trivial) for _ in range(self._nprocs)]:
            task.result()
        return {"value": time.perf_counter() - began}


class Argument(_Pool):
    """A large array as an argument, to a task per worker."""

    def sample(self) -> Sample:
        """Send, and have all sums."""
        array = make_array(self._mebibytes, 1.0)
        expected = few_elements(array)
        began = time.perf_counter()
        tasks = [self.pool.submit(few_elements, array) for _ in range(self._nprocs)]
        sums = [task.result() for task in tasks]
        seconds = time.perf_counter() - began
        if sums != [expected] * self._nprocs:
            raise RuntimeError(f"the sums are wrong: {sums}")
        return {"value": seconds}


class Result(_Pool):
    """A large array as the result of a task per worker; making it is included."""

    def sample(self) -> Sample:
        """Have all arrays."""
        began = time.perf_counter()
        tasks = [self.pool.submit(make_array, self._mebibytes, 1.0) for _ in range(self._nprocs)]
        arrays = [task.result() for task in tasks]
        seconds = time.perf_counter() - began
        if [float(array.mean()) for array in arrays] != [1.0] * self._nprocs:
            raise RuntimeError("the arrays are wrong")
        return {"value": seconds}


class Idle(_Pool):
    """Workers that have imported torch and wait for tasks."""

    def setup(self) -> None:
        """Have every worker import torch."""
        super().setup()
        deadline = time.monotonic() + PATIENCE
        self._workers: set[int] = set()
        while len(self._workers) < self._nprocs:
            tasks = [self.pool.submit(import_torch) for _ in range(self._nprocs)]
            self._workers |= {task.result() for task in tasks}
            if time.monotonic() > deadline:
                raise RuntimeError("some workers never get a task")

    def sample(self) -> Sample:
        """Look at their memory."""
        return memory_of(self._workers)
