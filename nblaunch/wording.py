"""Ranks and sizes in words, sizes as people write them, and the variables that each rank has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = [
    "RANK_NAMES",
    "WORTH_TELLING",
    "count_ranks",
    "in_a_row",
    "in_bytes",
    "in_words",
    "listed",
    "name_ranks",
    "spans",
]

RANK_NAMES = ("rank", "local_rank", "world_size")
"""Variables that every rank has."""


def count_ranks(number: int) -> str:
    """Count ranks in words: ``"1 rank"``, ``"4 ranks"``."""
    return f"{number} rank{'s' if number != 1 else ''}"


def spans(ranks: Iterable[int]) -> str:
    """Return numbers with consecutive ones as a range: ``"0-2, 5"``."""
    found: list[list[int]] = []
    for number in sorted(ranks):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def name_ranks(ranks: Iterable[int]) -> str:
    """Name ranks in words, consecutive ones as a range: ``"ranks 0-2, 5"``."""
    numbers = list(ranks)
    return f"rank{'s' if len(numbers) != 1 else ''} {spans(numbers)}"


def in_a_row(words: Iterable[str]) -> str:
    """Return words as in a sentence: ``"a, b and c"``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


WORTH_TELLING = 1_000_000
"""Bytes sent to each rank, from which on the panel and the record tell the user."""

_UNITS = "KMGTP"
_SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?(?:e\+?[0-9]{{1,2}})?)\s*(?:([{_UNITS}])(iB|B)?|B)?", re.IGNORECASE)


def in_bytes(size: int | str) -> int:
    """Return the number of bytes that a person means, as the GNU tools do: 2G is 2 GiB, and 2GB is two billion bytes.

    1e9 is a billion bytes too.

    Raises
    ------
    ValueError
        If it is no size.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    found = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if found is None:
        raise ValueError(f"a size is a number of bytes or a text such as 500M or 2G, not {size!r}")
    number, unit, suffix = found.groups()
    base = 1000 if suffix and suffix.upper() == "B" else 1024
    return int(float(number) * base ** (_UNITS.index(unit.upper()) + 1)) if unit else int(float(number))


def in_words(count: int) -> str:
    """Return a number of bytes as people write it: two or three digits, decimal units."""
    if count < 1000:
        return f"{count} B"
    size, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if size >= 999.5:
            size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"


def listed(sizes: Mapping[str, int], named: int = 4) -> str:
    """Return ``"data 1.1 GB, model 12 MB, 3 more 4.0 kB"``: the largest by name, the others together."""
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    parts = [f"{name} {in_words(count)}" for name, count in ordered[:named]]
    rest = ordered[named:]
    if len(rest) == 1:
        parts.append(f"{rest[0][0]} {in_words(rest[0][1])}")
    elif rest:
        parts.append(f"{len(rest)} more {in_words(sum(count for _, count in rest))}")
    return ", ".join(parts)
