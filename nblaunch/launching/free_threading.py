"""Whether this Python runs without its global lock, and what is said then."""

from __future__ import annotations

import sys

__all__ = ["UNTRIED", "notices", "runs_without_lock"]

UNTRIED = (
    "this Python runs without its global lock (free threading), and nblaunch was never tried so: "
    "if runs go wrong, start it with PYTHON_GIL=1, or use an ordinary Python"
)
"""What a first run is told without the lock."""


def runs_without_lock() -> bool:
    """Tell whether threads of this process run at the same time.

    A Python that is built for it has the lock all the same as soon as it imports a library that needs it.
    """
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is not None and not enabled()


def notices() -> list[str]:
    """Return what has to be said about it: mostly nothing."""
    return [UNTRIED] if runs_without_lock() else []
