"""Where the objects that are being rebuilt in this thread find their globals."""

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
    """Rebuild objects with these globals."""
    before = getattr(_receiver, "shared_globals", None), getattr(_receiver, "writes_over", False)
    _receiver.shared_globals, _receiver.writes_over = shared_globals, shared_globals is not None
    try:
        yield
    finally:
        _receiver.shared_globals, _receiver.writes_over = before


def writes_over() -> bool:
    """Tell whether what arrives takes the place of what is here already under the same token.

    So it is in a rank that is a fork of the notebook's process: the methods of a class that it has inherited use the
    globals of the notebook, and those that arrive its own.
    """
    return bool(getattr(_receiver, "writes_over", False))


class _SharedGlobals:
    """Pickles to a call of `globals_here`."""

    def __reduce__(self) -> Any:
        return globals_here, ()


SHARED_GLOBALS = _SharedGlobals()
"""Stands in a stream for the globals that the receiver has of its own."""


def globals_here() -> dict[str, Any]:
    """Return the globals of functions that share them."""
    here: dict[str, Any] | None = _receiver.shared_globals
    # a receiver without a namespace of its own still gets one dictionary for all functions of the payload
    if here is None:
        here = _receiver.shared_globals = {"__builtins__": builtins}
    return here


def provided_here(name: str) -> Any:
    """Return what the receiver has of its own under this name."""
    return globals_here()[name]
