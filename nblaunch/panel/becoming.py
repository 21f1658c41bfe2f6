"""What became of a rank, in a few words for the table of the record."""

from __future__ import annotations

from nblaunch.panel.state import RankState, RunState

__all__ = ["became", "in_short"]

_PLACES = ("Cell ", "File ", "line ")


def became(rank: RankState, state: RunState, number: int) -> str:
    """Say how a rank ended, as in ``"failed"``, or ``"was at line 6, ended"`` for a rank that did not fail itself.

    Parameters
    ----------
    rank : RankState
        The rank.
    state : RunState
        Its run; if no rank of it has failed, somebody has stopped it.
    number : int
        Number of the cell that has run.
    """
    if rank.state != "stopped":
        return rank.state
    place = rank.where.replace(f"Cell In[{number}], line", "line")
    if place.startswith(_PLACES):
        return f"was at {place}, ended"
    if any(f", {begin}" in place for begin in _PLACES):
        # the place begins with the function that it had called there
        return f"was {place}, ended"
    return "ended" if state.root is not None else rank.state


def in_short(rank: RankState) -> str:
    """Return the type of a rank's exception, or how its process ended; empty if it has not failed."""
    return rank.why.partition(":")[0] if rank.state == "failed" else ""
