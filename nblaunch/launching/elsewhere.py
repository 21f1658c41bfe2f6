"""Which variables a rank may miss that exist elsewhere: the notebook's, and those that earlier ranks had.

Names only, gathered before a launch and read in a rank that fails (`nblaunch.rank.hints`): a run that goes well pays
some microseconds for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nblaunch.launching.source import Notebook
from nblaunch.messages.work import Elsewhere

__all__ = ["cell_that_had", "remember_bound", "variables_elsewhere"]

# What cells have bound that were run on ranks in this process, joined by blanks -> the number and source of the latest
# such cell. A cell that is run a thousand times is here once.
_bound_before: dict[str, tuple[int, int]] = {}


def variables_elsewhere(
    notebook: Notebook, source: str, bound: Iterable[str], remedy: str, no_capture: bool = False
) -> Elsewhere:
    """Return the names that the ranks of a launch may miss.

    Parameters
    ----------
    notebook : Notebook
        Where its variables are.
    source : str
        The cell; empty for a function.
    bound : iterable of str
        What the cell binds itself.
    remedy, no_capture
        See `nblaunch.messages.work.Elsewhere`.
    """
    # a copy first: another thread may assign variables
    names: list[Any] = list(notebook.namespace)
    try:
        joined = " ".join(names)
    except TypeError:  # globals() takes any key
        joined = " ".join(name for name in names if isinstance(name, str))
    # a cell that is run again may bind a name in some of its ranks only, which is no matter of earlier ones
    this = hash(source)
    before = {names: number for names, (number, cell) in _bound_before.items() if cell != this}
    magics = " ".join(notebook.own_magics())
    return Elsewhere(joined, before, " ".join(sorted(bound)), remedy, no_capture, magics)


def remember_bound(bound: str, number: int, source: str) -> None:
    """Take note of what a cell binds in its ranks, which have it only as long as they live.

    Parameters
    ----------
    bound : str
        Names joined by blanks.
    number : int
        The cell's, as in ``In[5]``; 0 if it has none.
    source : str
        The cell.
    """
    if bound:
        _bound_before[bound] = number, hash(source)


def cell_that_had(name: str) -> int | None:
    """Return the number of the latest cell whose ranks had a variable, 0 if it has none; None if no rank had it."""
    return max((number for names, (number, _) in _bound_before.items() if name in names.split()), default=None)
