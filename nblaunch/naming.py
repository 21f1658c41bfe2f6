"""How ranks are counted and named in words."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["count_ranks", "name_ranks"]


def count_ranks(number: int) -> str:
    """Count ranks in words: ``"1 rank"``, ``"4 ranks"``."""
    return f"{number} rank{'s' if number != 1 else ''}"


def name_ranks(ranks: Iterable[int]) -> str:
    """Name ranks in words, runs of them folded: ``"ranks 0-2, 5"``."""
    numbers = sorted(ranks)
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
    return f"rank{'s' if len(numbers) != 1 else ''} {text}"
