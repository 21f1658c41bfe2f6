"""Module and name of a class and its bases, read without the metaclass, which may answer anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["names_of_bases"]

_MRO, _NAME, _MODULE = (vars(type)[name] for name in ("__mro__", "__name__", "__module__"))


def names_of_bases(kind: type) -> Iterator[tuple[str, str]]:
    """Yield module and name of a class and of each of its bases, the nearest first."""
    for base in _MRO.__get__(kind):
        # not a text if the class has a property of this name for its instances
        module: Any = _MODULE.__get__(base)
        yield module if isinstance(module, str) else "", _NAME.__get__(base)
