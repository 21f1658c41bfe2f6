"""What a first and a second cell cost after the usual imports, in a kernel that has just started.

::

    %load_ext nblaunch ─► the imports ─► first cell ─► second cell ─► third cell      (at once, as with Run All)
                                         the sample    "second"       "third"
"""

from __future__ import annotations

import os
import time

from benchmarks.contender import Contender, Sample
from benchmarks.table import DERIVED
from benchmarks.work import NBLAUNCH, Case, Entry, Figures, Ref, Target, Work
from tests.kernel import Kernel

__all__ = ["Fresh", "Once", "against", "work"]

RANKS = 4
ONCE = "in the notebook itself"
BEYOND = "s beyond"
# What a notebook imports, what its cells then do in every rank, and what has to be installed.
PROGRAMS = {
    "torch with an optimizer": (
        "import torch",
        (
            "model = torch.nn.Linear(4, 1)\n"
            "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
            "model(torch.ones(1, 4)).sum().backward()\n"
            "optimizer.step()"
        ),
        ("torch",),
    ),
    "sklearn": (
        "from sklearn.ensemble import RandomForestClassifier",
        "RandomForestClassifier(n_estimators=2).fit([[0.0], [1.0]], [0, 1])",
        ("sklearn",),
    ),
    "matplotlib": (
        "import matplotlib.pyplot as plt",
        "figure, axes = plt.subplots()\naxes.plot([rank, 1])\nplt.close(figure)",
        ("matplotlib",),
    ),
    "lightning": (
        "import lightning",
        "lightning.Trainer(max_epochs=1, logger=False, accelerator='cpu', enable_progress_bar=False)",
        ("lightning",),
    ),
    "statsmodels with polars": (
        "import polars, statsmodels.api as sm",
        "sm.OLS([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).fit().params\npolars.DataFrame({'a': [rank]})",
        ("statsmodels", "polars"),
    ),
}


class Fresh(Contender):
    """A kernel of its own for each sample.

    Parameters
    ----------
    program : str
        One of `PROGRAMS`.
    checkout : str
        Folder of the sources that the kernel imports nblaunch from; empty for these.
    """

    def __init__(self, program: str, checkout: str = "") -> None:
        self._imports, self._cell, _ = PROGRAMS[program]
        self._checkout = checkout
        if checkout:
            os.environ["PYTHONPATH"] = os.pathsep.join([checkout, os.environ["PYTHONPATH"]])

    def sample(self) -> Sample:
        """Start a kernel and run its first cells on ranks."""
        with Kernel() as kernel:
            kernel.run("%load_ext nblaunch").ok()
            place = kernel.value("__import__('nblaunch').__file__")
            if not place.startswith(self._checkout):
                raise RuntimeError(f"the kernel has nblaunch from {place}")
            importing = _seconds(kernel, self._imports)
            first, second, third = (_seconds(kernel, f"%%multiproc {RANKS}\n{self._cell}") for _ in range(3))
        return {"value": first, "second": second, "third": third, "import in the notebook": importing}


class Once(Contender):
    """The imports and the cell in the notebook itself, in a kernel of its own for each sample: all is imported once."""

    def __init__(self, program: str) -> None:
        self._imports, self._cell, _ = PROGRAMS[program]

    def sample(self) -> Sample:
        """Start a kernel and run both."""
        with Kernel() as kernel:
            kernel.run("rank = 0").ok()
            return {"value": sum(_seconds(kernel, cell) for cell in (self._imports, self._cell))}


def _seconds(kernel: Kernel, cell: str) -> float:
    began = time.perf_counter()
    kernel.run(cell).ok()
    return time.perf_counter() - began


def work(quick: bool) -> Work:
    """Describe the work; `quick` takes one program."""
    return against("", quick)


def against(checkout: str, quick: bool = False) -> Work:
    """Describe the work, with another version of nblaunch from a folder of its sources beside this one."""
    programs = list(PROGRAMS)[: 1 if quick else None]
    cases = []
    for program in programs:
        needs = PROGRAMS[program][2]
        each = {"program": program}
        entries = [
            Entry(NBLAUNCH, "benchmarks.imports:Fresh", "nblaunch", each, needs),
            Entry(ONCE, "benchmarks.imports:Once", "reference", each, needs),
        ]
        if checkout:
            before = {**each, "checkout": checkout}
            entries.append(Entry("nblaunch before", "benchmarks.imports:Fresh", "reference", before, needs))
        cases.append(Case(program, tuple(entries), most_rounds=5))

    def derive(figures: Figures) -> None:
        for program in programs:
            first, once = (figures.median(Ref(program, name)) for name in (NBLAUNCH, ONCE))
            if first is not None and once is not None:
                figures.derived[Ref(DERIVED, program, BEYOND)] = first - once

    return Work(
        "imports",
        f"first and later cells on {RANKS} ranks at once after the usual imports, in a kernel that has just started",
        tuple(cases),
        tuple(
            Target(
                f"{program}: first cell < 0.5 s beyond what it imports once",
                Ref(DERIVED, program, BEYOND),
                0.5,
                unit="s",
            )
            for program in programs
        ),
        derive,
    )
