"""``python -m benchmarks.against REV``: this tree beside another revision, in turns, as ratios with their spread.

::

    git archive REV nblaunch ─► folder ─► kernel that imports nblaunch from there ─┐ in turns,
    this tree ───────────────────────────► kernel that imports it from here ───────┴─► ratio of each pair ─► table

Both kernels live at the same time and never work at the same time. What the machine does meanwhile concerns both of a
pair alike, so the median of the ratios of pairs says more than the ratio of two medians.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.document import summary
from tests.kernel import Kernel

__all__ = ["WORKS", "Measured", "compare", "main", "table"]

ROOT = Path(__file__).parents[1]
# Seconds between two samples, in which ranks for the next cell are made ahead.
PAUSE = 0.5


@dataclass(frozen=True)
class Work:
    """A cell that is measured from the request to its reply and idle.

    Attributes
    ----------
    cell : str
        Its source.
    before : str
        What is run once, ahead of all samples.
    """

    cell: str
    before: str = ""


WORKS = {
    "cell": Work("%%multiproc 4\nrank"),
    "cell without a panel": Work("%%multiproc 4 --no-panel\nrank"),
    "function": Work("launch(abs, 4, args=(1,), panel='none')", "from nblaunch import launch"),
    "100 small objects": Work(
        "%%multiproc 4\nlen(things)", "things = [{'name': str(i), 'values': [*range(i)]} for i in range(100)]"
    ),
    "array of 64 MiB to 4 ranks": Work("%%multiproc 4\nbig.nbytes", "import numpy\nbig = numpy.ones(1 << 23)"),
    "array of 16 MiB from each of 4": Work("%%multiproc 4\nimport numpy\nnumpy.ones(1 << 21);", "import numpy"),
    "10,000 lines from each of 4": Work("%%multiproc 4\nfor i in range(10_000): print('line', i)"),
    "a failure": Work("%%multiproc 4 --no-raise\nif rank == 2: raise ValueError(rank)"),
}


@dataclass(frozen=True)
class Measured:
    """Seconds of one work.

    Attributes
    ----------
    name : str
        Which work.
    here, there : list of float
        Of this tree, and of the other revision; samples of one round belong together.
    """

    name: str
    here: list[float]
    there: list[float]

    @property
    def ratios(self) -> list[float]:
        """Of each pair, what this tree takes to what the other revision takes."""
        return [one / other for one, other in zip(self.here, self.there, strict=True)]


def compare(revision: str, names: list[str], rounds: int) -> list[Measured]:
    """Measure works with this tree and with another revision, in turns.

    Parameters
    ----------
    revision : str
        What git knows it by.
    names : list of str
        Which of `WORKS`.
    rounds : int
        Samples of each.

    Raises
    ------
    subprocess.CalledProcessError
        If git does not know the revision.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        _write_package(revision, Path(folder))
        for name in names:
            work = WORKS[name]
            with ExitStack() as stack:
                kernels = [stack.enter_context(_kernel(str(place), work)) for place in (ROOT, folder)]
                samples: list[list[float]] = [[], []]
                # the first round only warms up
                for number in range(rounds + 1):
                    # who begins changes, because the second one finds a machine that is awake
                    for side in (0, 1) if number % 2 else (1, 0):
                        seconds = _sample(kernels[side], work.cell)
                        if number:
                            samples[side].append(seconds)
            found.append(Measured(name, *samples))
    return found


def _write_package(revision: str, folder: Path) -> None:
    git = ["git", "-C", str(ROOT), "archive", "--format=tar", revision, "nblaunch"]
    with tarfile.open(fileobj=io.BytesIO(subprocess.run(git, check=True, capture_output=True).stdout)) as archive:
        archive.extractall(folder, filter="data")


@contextmanager
def _kernel(place: str, work: Work) -> Iterator[Kernel]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = place if before is None else os.pathsep.join([place, before])
    try:
        kernel = Kernel("live")
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    with kernel:
        kernel.run("%load_ext nblaunch").ok()
        imported = str(kernel.value("__import__('nblaunch').__file__"))
        if not imported.startswith(place):
            raise RuntimeError(f"the kernel for {place} has imported {imported}")
        if work.before:
            kernel.run(work.before).ok()
        yield kernel


def _sample(kernel: Kernel, cell: str) -> float:
    time.sleep(PAUSE)
    began = time.perf_counter()
    reply = kernel.run(cell)
    seconds = time.perf_counter() - began
    reply.ok()
    return seconds


def table(measured: list[Measured], revision: str) -> str:
    """Return the ratios as a table in Markdown; below 1 this tree is faster."""
    where = machine.describe()
    on = f"{where['cores']} cores, {where['processor']}, {where['kernel']}, {where['python']}"
    lines = [
        f"This tree beside {revision}, in turns, on {on}.",
        "",
        "| work | ratio of a pair, median | middle half | here | there | pairs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in measured:
        ratios, here, there = (summary(samples) for samples in (one.ratios, one.here, one.there))
        if ratios is None or here is None or there is None:
            raise ValueError(f"there are no samples of {one.name!r}")
        lines.append(
            f"| {one.name} | {ratios['median']:.3f} | {ratios['quartile_1']:.3f} – {ratios['quartile_3']:.3f} | "
            f"{here['median'] * 1e3:.1f} ms | {there['median'] * 1e3:.1f} ms | {ratios['number']} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__.split("\n")[0])
    parser.add_argument("revision", help="what git knows the other revision by")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="samples of each work (default: 20)")
    parser.add_argument("--only", action="append", choices=tuple(WORKS), help="may be repeated (default: all)")
    chosen = parser.parse_args()
    try:
        measured = compare(chosen.revision, chosen.only or list(WORKS), chosen.rounds)
    except subprocess.CalledProcessError as error:
        parser.error(f"git does not give {chosen.revision!r}: {error.stderr.decode(errors='replace').strip()}")
    sys.stdout.write(table(measured, chosen.revision))


if __name__ == "__main__":
    main()
