"""Lines that several ranks wrote alike, shown once with the ranks named; ``folding.js`` does the same live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nblaunch.wording import spans

__all__ = ["Group", "fold", "prefix"]

# How many groups back a line may still join one.
_REACH = 200

Shown = TypeVar("Shown")


@dataclass
class Group(Generic[Shown]):
    """A line and the ranks that wrote it."""

    ranks: list[int]
    stream: int
    text: str
    line: Shown = field(repr=False)


def fold(lines: Iterable[tuple[int, int, str, Shown]]) -> list[Group[Shown]]:
    """Fold lines, given as rank, stream, text, and the object that shows the text.

    A line joins the latest group of the same text and stream that its rank is not in, at most 200 groups back; else it
    begins a new group. So the order of each rank's lines is nearly kept, and a line that all ranks write is there once.
    """
    groups: list[Group[Shown]] = []
    # the ranks of each group, as sets because they are searched for every line
    members: list[set[int]] = []
    # the groups of each stream and text, in order
    latest: dict[tuple[int, str], list[int]] = {}
    # A range of positions in such a list where the rank is in each group. Without it, a line that a rank repeats
    # thousands of times would have hundreds of groups looked through each time.
    full: dict[tuple[int, int, str], tuple[int, int]] = {}
    for rank, stream, text, line in lines:
        alike = latest.setdefault((stream, text), [])
        begin, end = full.get((rank, stream, text), (0, 0))
        position = len(alike) - 1
        while position >= 0 and len(groups) - alike[position] <= _REACH:
            if begin <= position < end:
                position = begin - 1
            elif rank in members[alike[position]]:
                position -= 1
            else:
                break
        if position >= 0 and len(groups) - alike[position] <= _REACH:
            groups[alike[position]].ranks.append(rank)
            members[alike[position]].add(rank)
        else:
            position += 1
            alike.append(len(groups))
            members.append({rank})
            groups.append(Group([rank], stream, text, line))
        if len(alike) > 1:
            full[rank, stream, text] = (begin if position == end else position, len(alike))
    return groups


def prefix(ranks: Iterable[int]) -> str:
    """Return what stands before a line of these ranks: ``"[0-3, 5] "``."""
    return f"[{spans(ranks)}] "
