"""The limits: what the operating system takes for the bare minimum of a work."""

from __future__ import annotations

import os
import time

from benchmarks.contender import Contender, Ranks, Sample, import_what_a_notebook_has
from benchmarks.programs import fork_and_wait, make_array

__all__ = ["ForkAndExit", "MakeAndWrite", "Write"]


class ForkAndExit(Ranks):
    """Fork children of a process that holds NumPy, torch and IPython; they exit at once; wait for them."""

    def sample(self) -> Sample:
        """Fork, exit, wait."""
        began = time.perf_counter()
        fork_and_wait(self._nprocs)
        return {"value": time.perf_counter() - began}


class Write(Contender):
    """One ``write(2)`` of an array into a fresh memfd; its freeing is told apart, as ``freeing``."""

    def __init__(self, mebibytes: int) -> None:
        self._mebibytes = mebibytes

    def setup(self) -> None:
        """Import NumPy."""
        import_what_a_notebook_has()

    def sample(self) -> Sample:
        """Write."""
        array = make_array(self._mebibytes, 1.0)
        began = time.perf_counter()
        memory = _write_into_memory(memoryview(array).cast("B"))
        written = time.perf_counter()
        os.close(memory)
        return {"value": written - began, "freeing": time.perf_counter() - written}


class MakeAndWrite(Ranks):
    """Forked children make an array each and, with `write`, ``write(2)`` it into a memfd of their own."""

    def __init__(self, nprocs: int, mebibytes: int, write: bool) -> None:
        super().__init__(nprocs, mebibytes)
        self._write = write

    def sample(self) -> Sample:
        """Fork, make, write, exit, wait."""

        def work() -> None:
            array = make_array(self._mebibytes, 1.0)
            if self._write:
                _write_into_memory(memoryview(array).cast("B"))

        began = time.perf_counter()
        fork_and_wait(self._nprocs, work)
        return {"value": time.perf_counter() - began}


def _write_into_memory(data: memoryview) -> int:
    memory = os.memfd_create("benchmark", os.MFD_CLOEXEC)
    # the kernel takes at most 2 GiB at once
    while data:
        data = data[os.write(memory, data) :]
    return memory
