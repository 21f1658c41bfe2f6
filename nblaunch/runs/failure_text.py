"""The text of a run's failure: ranks that failed alike are told of together, and the root cause comes last."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nblaunch.payload import encodable, shortened, type_name
from nblaunch.stacks.folding import Stacks
from nblaunch.wording import count_ranks, name_ranks

if TYPE_CHECKING:
    from nblaunch.runs.failures import RankFailure
    from nblaunch.runs.run import Run

__all__ = [
    "colours_are_wanted",
    "details",
    "failure_in_words",
    "headline",
    "no_line",
    "no_variables",
    "place_of",
]

# Of a longer traceback of the root cause, the middle is left out.
_MAX_TRACEBACK_CHARACTERS = 40_000
# Ranks that failed at the same line as the root cause with another text, which are told one by one.
_MAX_ALIKE = 6
_PDB = "A debugger in the rank itself, at the line where it raises, comes with --pdb (pdb=True)"


def no_line(run: Run, root: RankFailure | None) -> str:
    """Say why a debugger finds no line to look at."""
    what = headline(run) if root is None else f"rank {root.rank}: {root.summary()}"
    return f"There is no line of a rank to look at ({what}). {_PDB}"


def no_variables(root: RankFailure) -> str:
    """Say why a debugger finds no variables at the line of a rank."""
    return f"the variables of rank {root.rank} have ended with it. {_PDB}"


def failure_in_words(run: Run, title: str, bound: str = "") -> str:
    """Say what a run has failed of, as its exception would, where nobody waits for the run.

    The text is empty if no rank has failed by itself.

    Parameters
    ----------
    run : Run
        The run.
    title : str
        What has run, as in ``"%%multiproc 4"``.
    bound : str
        Names of the variables that hold its results and failures; may be empty.
    """
    if run.defect:
        return encodable(f"{title}: {run.defect}")
    if run.status not in ("failed", "timed out") and run.root_cause is None:
        return ""
    see = f" (see {bound})" if bound else ""
    coloured = _shell() is not None and colours_are_wanted()
    return encodable("\n\n".join([f"{title}: {run.summary()}{see}", *details(run, coloured)]))


def details(run: Run, coloured: bool) -> list[str]:
    """Return the paragraphs below the headline: the other ranks, what failed before, the logs, the root cause."""
    root = run.root_cause
    parts = _others(run)
    if run.refused:
        parts.append(f"{run.refused[0].upper()}{run.refused[1:]}")
    parts.append(_where_the_others_were(run))
    if run.earlier:
        parts.append("\n".join(["What had failed before:", *(f"  {line}" for line in run.earlier)]))
    if not run.logs.temporary:
        parts.append(f"Logs: {run.logs.path}")
    # the root cause is last, because pytest and many logs show the last line only
    parts.append("" if root is None else _root_text(root, coloured))
    return [part for part in parts if part]


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def colours_are_wanted() -> bool:
    """Tell whether the notebook shows colours."""
    return str(getattr(_shell(), "colors", "")).lower() != "nocolor"


def headline(run: Run) -> str:
    """Say how many ranks have failed, and which results there are."""
    failed = [failure for failure in run.failures.values() if not failure.collateral]
    total = count_ranks(run.nprocs)
    if run.status == "timed out":
        late = sum(failure.is_timeout() for failure in failed)
        text = f"the run was ended by its timeout; {late} of {total} had not finished"
        if len(failed) > late:
            text += f", {len(failed) - late} had failed before"
    elif run.status in ("interrupted", "stopped") and not failed:
        text = f"the run was {run.status} before {len(run.failures)} of {total} had finished"
    else:
        text = f"{len(failed)} of {total} failed"
    if run.results:
        text += f"; {'the result' if len(run.results) == 1 else 'results'} of {name_ranks(run.results)} kept"
    return text


def _root_text(root: RankFailure, coloured: bool) -> str:
    if root.is_timeout():
        return ""
    lines = [f"Rank {root.rank} failed first:"]
    trace = (root.coloured if coloured else "") or root.traceback
    if root.exception is not None and trace:
        lines += [root.lingered] if root.lingered else []
        lines.append(shortened(trace.rstrip(), _MAX_TRACEBACK_CHARACTERS))
        return "\n".join(lines)
    if trace:
        lines.append(trace.rstrip())
    if root.stderr_tail:
        lines.append("  The last lines of its stderr:")
        lines += [f"  | {line}" for line in root.stderr_tail.splitlines()]
    lines.append(f"  {root.summary()}")
    return "\n".join(lines)


def _others(run: Run) -> list[str]:
    root = run.root_cause
    own = [failure for failure in run.failures.values() if not failure.collateral]
    lines = []
    while own:
        first = own[0]
        alike = [failure for failure in own if failure.same_as(first)]
        own = [failure for failure in own if not failure.same_as(first)]
        if first.is_timeout():
            lines.append(f"{_who_was(alike)} still running")
        elif root is not None and first.same_as(root):
            lines += _like_root(alike, root)
        else:
            who = name_ranks(failure.rank for failure in alike)
            lines.append(f"{who}: {first.summary()}{place_of(first)}")
        lines += [
            f"rank {failure.rank}: {failure.lingered}" for failure in alike if failure.lingered and failure is not root
        ]
    collateral = [failure for failure in run.failures.values() if failure.collateral]
    if collateral:
        why = "with the run" if root is None else "because of that"
        lines.append(f"{_who_was(collateral)} ended {why}")
    return ["\n".join(lines)] if lines else []


def _where_the_others_were(run: Run) -> str:
    """Say where the ranks were that did not fail by themselves: that shows what they waited for."""
    victims = [failure for failure in run.failures.values() if failure.collateral or failure.is_timeout()]
    stacks = {failure.rank: failure.stack for failure in victims if failure.stack is not None}
    if not stacks:
        return ""
    root = run.root_cause
    if root is None or root.is_timeout():
        title = "Where they were then:"
    else:
        one = len(stacks) == 1
        title = f"Where {'it was' if one else 'they were'} when rank {root.rank} failed:"
    return "\n".join([title, *(f"  {line}" for line in Stacks(stacks).lines())])


def _like_root(alike: Sequence[RankFailure], root: RankFailure) -> list[str]:
    def reads_alike(failure: RankFailure) -> bool:
        # without an exception the texts differ by process ids only
        return root.exception is None or failure.summary() == root.summary()

    same = [failure.rank for failure in alike if failure is not root and reads_alike(failure)]
    others = [failure for failure in alike if not reads_alike(failure)]
    lines = [f"{name_ranks(same)}: the same as rank {root.rank}"] if same else []
    lines += [f"rank {failure.rank}: {failure.summary()} (from the same line)" for failure in others[:_MAX_ALIKE]]
    if others[_MAX_ALIKE:] and root.exception is not None:
        more = name_ranks(failure.rank for failure in others[_MAX_ALIKE:])
        lines.append(f"{more}: {type_name(root.exception)} from the same line")
    return lines


def place_of(failure: RankFailure) -> str:
    """Return the line of a cell where it failed, in brackets behind a space; empty if there is none."""
    places = re.findall(r"Cell In\[\d+\], line \d+", failure.traceback)
    return f" ({places[-1]})" if places else ""


def _who_was(failures: Sequence[RankFailure]) -> str:
    return f"{name_ranks(failure.rank for failure in failures)} {'was' if len(failures) == 1 else 'were'}"
