"""Programs drawn at random, compared in batches; one that differs is shown whole."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.differential.case import Case
from tests.differential.drawing import IMPORTS, programs
from tests.differential.host import METHODS
from tests.kernel import Kernel

__all__ = ["compare_at_random"]

_BATCH = 50


def compare_at_random(kernel: Kernel, examples: int, number: int) -> list[str]:
    """Compare programs in a kernel with ranks of every start method.

    Parameters
    ----------
    kernel : Kernel
        In which ``tests.differential`` can be imported.
    examples : int
        How many programs.
    number : int
        Seed of what is drawn.

    Returns
    -------
    list of str
        What differs, each with its program.
    """
    problems: list[str] = []

    @seed(number)
    @settings(
        max_examples=-(-examples // _BATCH),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(programs(), min_size=_BATCH, max_size=_BATCH))
    def compare(cases: list[Case]) -> None:
        named = [replace(case, name=f"program {i}") for i, case in enumerate(cases)]
        text = "\n".join(case.text() for case in named)
        reply = kernel.run(
            f"for _problem in host().compare(parse({IMPORTS + chr(10) + text!r}).cases, {IMPORTS!r}, {METHODS!r}):\n"
            "    print(_problem, end='\\n\\0')"
        ).ok()
        for problem in filter(str.strip, reply.stdout.split("\0")):
            which = int(problem.strip().split(":")[0].removeprefix("program "))
            problems.append(f"{problem.strip()}\n{named[which].text()}")

    compare()
    return problems
