"""A cell with ``rank`` as its value on 4 ranks, in a real kernel: from the request to the reply and idle."""

from __future__ import annotations

import time

from benchmarks.contender import Contender, Sample
from benchmarks.work import NBLAUNCH, Case, Entry, Ref, Target, Work
from tests.kernel import Kernel, Reply

__all__ = ["InKernel", "Multiproc", "Ordinary", "work"]

RANKS = 4


class InKernel(Contender):
    """A cell in an ipykernel of its own that has imported torch."""

    preparation = ""
    cell = "1"

    def setup(self) -> None:
        """Start the kernel."""
        self.kernel = Kernel()
        self.kernel.run("import numpy, torch").ok()
        if self.preparation:
            self.kernel.run(self.preparation).ok()

    def sample(self) -> Sample:
        """Run the cell."""
        began = time.perf_counter()
        reply = self.kernel.run(self.cell)
        seconds = time.perf_counter() - began
        self.check(reply.ok())
        return {"value": seconds}

    def check(self, reply: Reply) -> None:
        """See whether the cell has done what it should; not measured."""
        if reply.value != "1":
            raise RuntimeError(f"the cell showed {reply.value!r}")

    def close(self) -> None:
        """End the kernel."""
        self.kernel.close()


class Ordinary(InKernel):
    """A cell that does nothing of note."""


class Multiproc(InKernel):
    """``%%multiproc 4``: fresh ranks."""

    preparation = "%load_ext nblaunch"
    cell = f"%%multiproc {RANKS}\nrank"

    def check(self, reply: Reply) -> None:
        """All ranks have answered."""
        results = self.kernel.value("results")
        if results != {rank: rank for rank in range(RANKS)}:
            raise RuntimeError(f"the results are {results}")


def work(quick: bool) -> Work:
    """Describe the work; it is the same when `quick`."""
    del quick
    label = f"{RANKS} ranks"
    entries = (
        Entry(NBLAUNCH, "benchmarks.cell:Multiproc", "nblaunch", needs=("numpy", "torch")),
        Entry(
            "ipyparallel %%px, warm engines",
            "benchmarks.peers.ipyparallel:Cell",
            arguments={"engines": RANKS},
            needs=("numpy", "torch", "ipyparallel"),
        ),
        Entry(
            "accelerate notebook_launcher",
            "benchmarks.peers.accelerate:Cell",
            arguments={"nprocs": RANKS},
            needs=("numpy", "torch", "accelerate"),
        ),
        Entry("ordinary cell `1`", "benchmarks.cell:Ordinary", "reference", needs=("numpy", "torch")),
    )
    of = Ref(label, NBLAUNCH)
    return Work(
        "cell",
        f"cell `rank` on {RANKS} fresh ranks, torch imported in the notebook, whole cell through a kernel",
        (Case(label, entries),),
        (Target("≤ 0.5 × `%%px` on 4 warm engines", of, 0.5, against=Ref(label, "ipyparallel %%px, warm engines")),),
    )
