"""`cell_thread`: a thread whose output belongs to the cell that started it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

__all__ = ["cell_thread"]


def cell_thread(name: str, work: Callable[..., object], *args: object) -> threading.Thread:
    """Return a thread, yet to be started, that prints and displays under the cell which runs now.

    That is what the copy of the context is for; it has settings too, such as those of NumPy. The thread is a daemon,
    so that an interpreter can end whose run was never waited for, or that waits for code of the user's which never
    returns.
    """
    return threading.Thread(target=contextvars.copy_context().run, args=(work, *args), name=name, daemon=True)
