"""Modules that took a rank long to import. The next zygote, from which ranks are forked, imports them ahead."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Set as AbstractSet

__all__ = ["heavy_imports"]

# Modules that an import brings with it; an import of fewer modules takes some ten milliseconds at most.
_MIN_MODULES = 20


def heavy_imports(before: AbstractSet[str]) -> list[str]:
    """Return the modules whose import, since there were those named in `before`, has brought many others with it.

    For example ``torch.optim.SGD(...)`` imports ``torch._dynamo`` and with it several hundred modules, so that
    ``"torch._dynamo"`` is returned.
    """
    counts = Counter(_first_new_part(name, before) for name in list(sys.modules) if name not in before)
    return [name for name, count in counts.items() if count >= _MIN_MODULES]


def _first_new_part(name: str, before: AbstractSet[str]) -> str:
    parts = name.split(".")
    return next(part for part in (".".join(parts[: i + 1]) for i in range(len(parts))) if part not in before)
