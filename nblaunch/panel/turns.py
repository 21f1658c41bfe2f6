"""`in_turns`: the order in which lines are shown that several ranks wrote at the same time.

::

    rank 0: epoch 0, loss 3, epoch 1, loss 2        epoch 0 (both), loss 3 (0), loss 4 (1),
    rank 1: epoch 0, loss 4, epoch 1, loss 1   ─►   epoch 1 (both), loss 2 (0), loss 1 (1)

A line that several ranks wrote comes when each of them has come to it. Between two such lines, the lines that differ
are shown rank by rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

__all__ = ["in_turns"]

Item = TypeVar("Item")


def in_turns(ranks: Sequence[Sequence[tuple[Hashable, Item]]]) -> list[Item]:
    """Merge what ranks wrote into one sequence, in which each rank's items keep their order.

    Parameters
    ----------
    ranks : sequence of sequence of (key, item)
        What each rank wrote. Items of the same key are alike: the first one of a rank belongs to the first one of
        another rank, the second to the second, and so on.
    """
    lines = [_numbered(rank) for rank in ranks]
    # The ranks that wrote each line, and those of them that may not have come to it yet, the lowest rank last.
    writers: dict[Hashable, set[int]] = {}
    missing: dict[Hashable, list[int]] = {}
    for rank in reversed(range(len(lines))):
        for line, _ in lines[rank]:
            writers.setdefault(line, set()).add(rank)
            missing.setdefault(line, []).append(rank)
    at = [0] * len(lines)
    found: list[Item] = []

    def comes_to(rank: int) -> Hashable:
        return lines[rank][at[rank]][0] if at[rank] < len(lines[rank]) else None

    def take(rank: int) -> None:
        found.append(lines[rank][at[rank]][1])
        at[rank] += 1

    for first in range(len(lines)):
        # A stack of ranks, each with the line up to which it goes on: there the rank before it in the stack waits.
        going: dict[int, Hashable] = {first: None}
        while going:
            rank, goal = next(reversed(going.items()))
            line = comes_to(rank)
            if line == goal:
                del going[rank]
                continue
            late = missing[line]
            while late and (comes_to(late[-1]) == line or late[-1] not in writers[line]):
                late.pop()
            if not late:
                for one in sorted(writers[line]):
                    take(one)
            elif late[-1] in going:
                # Two ranks wrote such lines in different orders, and would wait for each other: this one does not wait.
                writers[line].remove(rank)
                take(rank)
            else:
                going[late[-1]] = line
    return found


def _numbered(rank: Sequence[tuple[Hashable, Item]]) -> list[tuple[Hashable, Item]]:
    """Return items with unique keys: each key is numbered, as it may occur several times."""
    seen: Counter[Hashable] = Counter()
    found: list[tuple[Hashable, Item]] = []
    for key, item in rank:
        found.append(((key, seen[key]), item))
        seen[key] += 1
    return found
