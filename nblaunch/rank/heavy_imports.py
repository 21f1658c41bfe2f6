"""Which modules a rank has imported that took long: the zygote imports them ahead for the next run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Set as AbstractSet

__all__ = ["heavy_imports"]

# Modules that come with one import; those of fewer take some ten milliseconds.
_MANY = 20


def heavy_imports(before: AbstractSet[str]) -> list[str]:
    """Return the names that have brought many modules along.

    ``torch.optim.SGD(...)`` imports ``torch._dynamo``, and with it several hundred modules: that name is returned.

    Parameters
    ----------
    before : set of str
        The modules that there were.
    """
    counts = Counter(_first_new_part(name, before) for name in list(sys.modules) if name not in before)
    return [name for name, count in counts.items() if count >= _MANY]


def _first_new_part(name: str, before: AbstractSet[str]) -> str:
    parts = name.split(".")
    return next(part for part in (".".join(parts[: i + 1]) for i in range(len(parts))) if part not in before)
