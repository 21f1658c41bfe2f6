"""How sizes in bytes read, and how people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["WORTH_TELLING", "in_bytes", "in_words", "listed"]

WORTH_TELLING = 1_000_000
"""Bytes sent to each rank from which on a person is told."""

_UNITS = "KMGTP"
_SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?)\s*(?:([{_UNITS}])(iB|B)?|B)?", re.IGNORECASE)


def in_bytes(size: int | str) -> int:
    """Return the number of bytes that a person means, as the GNU tools do: 2G is 2 GiB, and 2GB is two billion bytes.

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
