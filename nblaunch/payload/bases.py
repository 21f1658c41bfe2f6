"""Where a class and its bases come from, by name, whatever their metaclass makes of such questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["names_of_bases"]

_MRO, _NAME, _MODULE = (vars(type)[name] for name in ("__mro__", "__name__", "__module__"))


def names_of_bases(kind: type) -> Iterator[tuple[str, str]]:
    """Yield module and name of a class and of each of its bases, the nearest first."""
    for base in _MRO.__get__(kind):
        # a property of its instances may have that name
        module: Any = _MODULE.__get__(base)
        yield module if isinstance(module, str) else "", _NAME.__get__(base)
