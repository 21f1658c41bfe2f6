"""How ranks are counted and named in words, and the variables that name them in their own code."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["RANK_NAMES", "count_ranks", "in_a_row", "name_ranks", "spans"]

RANK_NAMES = ("rank", "local_rank", "world_size")
"""Variables that every rank has."""


def count_ranks(number: int) -> str:
    """Count ranks in words: ``"1 rank"``, ``"4 ranks"``."""
    return f"{number} rank{'s' if number != 1 else ''}"


def spans(ranks: Iterable[int]) -> str:
    """Return numbers with runs of them folded: ``"0-2, 5"``."""
    found: list[list[int]] = []
    for number in sorted(ranks):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def name_ranks(ranks: Iterable[int]) -> str:
    """Name ranks in words, runs of them folded: ``"ranks 0-2, 5"``."""
    numbers = list(ranks)
    return f"rank{'s' if len(numbers) != 1 else ''} {spans(numbers)}"


def in_a_row(words: Iterable[str]) -> str:
    """Return words as in a sentence: ``"a, b and c"``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
