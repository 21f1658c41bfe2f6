"""Names of variables that a rank does not have, but the notebook has, or ranks of earlier cells had.

They are collected before a launch, in some microseconds. A rank that fails reads them (`nblaunch.rank.hints`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nblaunch.launching.source import Notebook
from nblaunch.messages.work import Elsewhere

__all__ = ["cell_that_had", "remember_bound", "variables_elsewhere"]

# For each set of names that a cell has bound in its ranks, joined by blanks: number and hash of the latest such cell. A
# cell that is run a thousand times is here once.
_bound_before: dict[str, tuple[int, int]] = {}


def variables_elsewhere(
    notebook: Notebook, source: str, bound: Iterable[str], remedy: str, no_capture: bool = False
) -> Elsewhere:
    """Return the names of variables that exist elsewhere than in the ranks of a launch.

    Parameters
    ----------
    notebook : Notebook
        The notebook that launches.
    source : str
        The cell; empty for a function.
    bound : iterable of str
        Names that the cell binds itself.
    remedy, no_capture
        See `nblaunch.messages.work.Elsewhere`.
    """
    # copied first, because another thread may assign variables
    names: list[Any] = list(notebook.namespace)
    try:
        joined = " ".join(names)
    except TypeError:  # a key of globals() may be of any type
        joined = " ".join(name for name in names if isinstance(name, str))
    # Without this very cell: a name that it binds in some ranks only is not missing because earlier ranks have ended.
    this = hash(source)
    before = {names: number for names, (number, cell) in _bound_before.items() if cell != this}
    magics = " ".join(notebook.own_magics())
    return Elsewhere(joined, before, " ".join(sorted(bound)), remedy, no_capture, magics)


def remember_bound(bound: str, number: int, source: str) -> None:
    """Remember which names a cell binds in its ranks, where they are lost when the ranks end.

    Parameters
    ----------
    bound : str
        Names joined by blanks.
    number : int
        The cell's number, as in ``In[5]``; 0 if it has none.
    source : str
        The source of the cell.
    """
    if bound:
        _bound_before[bound] = number, hash(source)


def cell_that_had(name: str) -> int | None:
    """Return the number of the latest cell whose ranks had a variable, 0 if it has none; None if no rank had it."""
    return max((number for names, (number, _) in _bound_before.items() if name in names.split()), default=None)
