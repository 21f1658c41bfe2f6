"""The notice for a Python that runs without its global lock (GIL)."""

from __future__ import annotations

import sys

__all__ = ["UNTRIED", "notices", "runs_without_lock"]

UNTRIED = (
    "this Python runs without its global lock (free threading), and nblaunch was never tried so: "
    "if runs go wrong, start it with PYTHON_GIL=1, or use an ordinary Python"
)
"""The notice, which the first run shows."""


def runs_without_lock() -> bool:
    """Tell whether this process has no global lock.

    A free-threaded Python has the lock too, as soon as it has imported a library that needs it.
    """
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is not None and not enabled()


def notices() -> list[str]:
    """Return the notice if this process has no global lock."""
    return [UNTRIED] if runs_without_lock() else []
