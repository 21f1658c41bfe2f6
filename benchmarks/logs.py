"""One rank writing lines, in a real kernel that shows them, beside the same program writing to a file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from benchmarks import programs
from benchmarks.cell import InKernel
from benchmarks.contender import Contender, Sample
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work

__all__ = ["IntoFile", "Rank", "work"]

PROGRAM = """
import sys
from benchmarks.programs import write_lines
sys.stdout.reconfigure(line_buffering=True)
print(write_lines({total}), file=sys.stderr)
"""

IN_IPYTHON = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from benchmarks.programs import write_lines
sys.stdout.reconfigure(line_buffering=True)
shell = InteractiveShell.instance()
shell.user_ns.update(write_lines=write_lines, sys=sys)
shell.run_cell("print(write_lines({total}), file=sys.stderr)").raise_error()
"""


class Rank(InKernel):
    """A rank, which writes to its log file while the notebook follows it."""

    preparation = "%load_ext nblaunch"

    def __init__(self, total: int) -> None:
        self.cell = f"%%multiproc 1\nfrom benchmarks.programs import write_lines\nwrite_lines({total})"
        self._total = total

    def sample(self) -> Sample:
        """Run the cell; what counts is the time between the program's first and last write."""
        began = time.perf_counter()
        self.kernel.run(self.cell).ok()
        whole = time.perf_counter() - began
        seconds = float(self.kernel.value("results[0]"))
        # the logs of a run are kept until the next: see to it that they are not removed while somebody else measures
        self.kernel.run("%%multiproc 1\n0").ok()
        return {"value": seconds, "whole cell": whole, "MB/s": self._total / seconds / 1e6}


class IntoFile(Contender):
    """The same program, by itself, with its output in a file of the same file system."""

    def __init__(self, total: int, in_ipython: bool = False) -> None:
        source = IN_IPYTHON if in_ipython else PROGRAM
        self._program, self._total = source.format(total=total), total

    def sample(self) -> Sample:
        """Run it."""
        with tempfile.NamedTemporaryFile() as file:
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", self._program], stdout=file, stderr=subprocess.PIPE, text=True, check=True
            )
            whole = time.perf_counter() - began
        seconds = float(done.stderr)
        return {"value": seconds, "whole program": whole, "MB/s": self._total / seconds / 1e6}


def work(quick: bool) -> Work:
    """Describe the work; `quick` writes 16 MiB."""
    total = (16 if quick else 1024) * programs.MIB
    size = "16 MiB" if quick else "1 GiB"
    label = f"{size} line by line"
    each = {"total": total}
    limit = "limit: program > file"
    entries = (
        Entry(NBLAUNCH, "benchmarks.logs:Rank", "nblaunch", each, ("torch",)),
        Entry(limit, "benchmarks.logs:IntoFile", "limit", each),
        Entry(
            "IPython cell, no nblaunch > file", "benchmarks.logs:IntoFile", "reference", {**each, "in_ipython": True}
        ),
    )
    into_file = Target(
        f"{label}: ≥ 0.9 × the throughput into a file", Ref(label, NBLAUNCH), 0.9, Ref(label, limit), "at least"
    )
    return Work("logs", "one rank writing lines of 128 bytes", (Case(label, entries),), (into_file,))
