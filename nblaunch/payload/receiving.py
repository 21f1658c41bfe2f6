"""The globals for objects that are being rebuilt in this thread."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["SHARED_GLOBALS", "globals_here", "provided_here", "receiving", "writes_over"]

_receiver = threading.local()


@contextmanager
def receiving(shared_globals: dict[str, Any] | None) -> Iterator[None]:
    """Rebuild objects in this block with these globals."""
    before = getattr(_receiver, "shared_globals", None), getattr(_receiver, "writes_over", False)
    _receiver.shared_globals, _receiver.writes_over = shared_globals, shared_globals is not None
    try:
        yield
    finally:
        _receiver.shared_globals, _receiver.writes_over = before


def writes_over() -> bool:
    """Tell whether an object that arrives replaces the object with the same token in this process.

    It does in ranks, because a rank may be a fork of the notebook's process: the methods of a class that it has
    inherited use the notebook's globals, and only those that arrive use its own.
    """
    return bool(getattr(_receiver, "writes_over", False))


class _SharedGlobals:
    """Is pickled as a call of `globals_here`."""

    def __reduce__(self) -> Any:
        return globals_here, ()


SHARED_GLOBALS = _SharedGlobals()
"""Is pickled in place of globals, and becomes the receiver's own."""


def globals_here() -> dict[str, Any]:
    """Return the shared globals in this process."""
    here: dict[str, Any] | None = _receiver.shared_globals
    # a receiver that has given none gets one new dictionary for all functions of the payload
    if here is None:
        here = _receiver.shared_globals = {"__builtins__": builtins}
    return here


def provided_here(name: str) -> Any:
    """Return the receiver's own object with this name."""
    return globals_here()[name]
