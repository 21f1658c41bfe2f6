"""`cell_thread`: a thread whose output belongs to the cell that started it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

__all__ = ["cell_thread"]


def cell_thread(name: str, work: Callable[..., object], *args: object) -> threading.Thread:
    """Return an unstarted thread that prints and displays under the cell which runs now.

    It runs in a copy of the present context, which tells ipykernel the cell and holds settings such as NumPy's. The
    thread is a daemon: the interpreter can end while the thread waits for a run, or for user code that never returns.
    """
    return threading.Thread(target=contextvars.copy_context().run, args=(work, *args), name=name, daemon=True)
