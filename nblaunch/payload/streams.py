"""Streams: open files are refused; standard streams become the receiver's own; files in memory are copied."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

__all__ = ["reduce_stream"]


def reduce_stream(stream: io.IOBase) -> Any:
    """Return how to rebuild a stream; NotImplemented for cloudpickle's own way.

    Raises
    ------
    pickle.PicklingError
        If it is an open file: cloudpickle would silently send a copy of its contents.
    """
    for name in ("stdin", "stdout", "stderr"):
        if stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
            return getattr, (sys, name)
    if isinstance(stream, (io.StringIO, io.BytesIO)):
        return NotImplemented
    raise pickle.PicklingError(f"cannot pickle the open file '{getattr(stream, 'name', type(stream).__name__)}'")
