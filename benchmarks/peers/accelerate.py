"""accelerate's `notebook_launcher`, which forks and returns nothing: its ranks leave marks in a file."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.cell import InKernel
from benchmarks.contender import Ranks, Sample
from benchmarks.programs import leave_mark
from tests.kernel import Reply

__all__ = ["Cell", "Launch"]


class Launch(Ranks):
    """A trivial function from a plain program."""

    def setup(self) -> None:
        """Import it."""
        super().setup()
        import accelerate  # noqa: F401

    def sample(self) -> Sample:
        """Launch and wait."""
        from accelerate import notebook_launcher

        with tempfile.TemporaryDirectory() as folder:
            marks = Path(folder, "marks")
            began = time.perf_counter()
            # port 0: any free one
            notebook_launcher(leave_mark, (str(marks),), num_processes=self._nprocs, use_port="0")
            seconds = time.perf_counter() - began
            _check_marks(marks, self._nprocs)
        return {"value": seconds}


class Cell(InKernel):
    """A cell that launches a function of the notebook."""

    preparation = """
from accelerate import notebook_launcher
from benchmarks.programs import leave_mark
def function():
    leave_mark("marks")
"""

    def __init__(self, nprocs: int) -> None:
        self.cell = f"notebook_launcher(function, num_processes={nprocs}, use_port='0')"
        self._nprocs = nprocs

    def check(self, reply: Reply) -> None:
        """All ranks have left their marks."""
        marks = self.kernel.place / "work" / "marks"
        _check_marks(marks, self._nprocs)
        marks.unlink()


def _check_marks(marks: Path, nprocs: int) -> None:
    if len(set(marks.read_text().split())) != nprocs:
        raise RuntimeError(f"not every rank has run: {marks.read_text()!r}")
