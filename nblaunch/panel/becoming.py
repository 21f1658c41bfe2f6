"""What became of a rank, in few words: what a record says of each, where an exception tells the rest."""

from __future__ import annotations

from nblaunch.panel.state import RankState, RunState

__all__ = ["became", "in_short"]

_PLACES = ("Cell ", "File ", "line ")


def became(rank: RankState, state: RunState, number: int) -> str:
    """Say how a rank ended: ``"failed"``, or ``"was at line 6, ended"`` of one whose fault it is not.

    Parameters
    ----------
    rank : RankState
        The rank.
    state : RunState
        Its run: where no rank has failed, somebody has stopped it.
    number : int
        Of the cell that has run.
    """
    if rank.state != "stopped":
        return rank.state
    place = rank.where.replace(f"Cell In[{number}], line", "line")
    if place.startswith(_PLACES):
        return f"was at {place}, ended"
    if any(f", {begin}" in place for begin in _PLACES):
        # what it had called there
        return f"was {place}, ended"
    return "ended" if state.root is not None else rank.state


def in_short(rank: RankState) -> str:
    """Say what a rank has failed of: the type of its exception, or how its process ended; empty of others."""
    return rank.why.partition(":")[0] if rank.state == "failed" else ""
