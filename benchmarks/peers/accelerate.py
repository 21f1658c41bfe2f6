"""accelerate's `notebook_launcher`, which forks and returns nothing."""

from __future__ import annotations

import time

from benchmarks.cell import InKernel
from benchmarks.contender import Contender, Sample, import_what_a_notebook_has
from benchmarks.programs import trivial

__all__ = ["Cell", "Launch"]


class Launch(Contender):
    """A trivial function from a plain program."""

    def __init__(self, nprocs: int) -> None:
        self._nprocs = nprocs

    def setup(self) -> None:
        """Import it."""
        import_what_a_notebook_has()
        import accelerate  # noqa: F401

    def sample(self) -> Sample:
        """Launch and wait."""
        from accelerate import notebook_launcher

        began = time.perf_counter()
        # port 0: any free one
        notebook_launcher(trivial, num_processes=self._nprocs, use_port="0")
        return {"value": time.perf_counter() - began}


class Cell(InKernel):
    """A cell that launches a function of the notebook."""

    preparation = "from accelerate import notebook_launcher\ndef function():\n    return 1"

    def __init__(self, nprocs: int) -> None:
        self.cell = f"notebook_launcher(function, num_processes={nprocs}, use_port='0')"
