"""Threads whose output belongs to the cell that started them."""

from __future__ import annotations

import contextvars

from nblaunch.cell_threads import cell_thread

CELL = contextvars.ContextVar("CELL", default="none")


def test_a_thread_has_the_context_of_whoever_made_it() -> None:
    seen: list[object] = []
    CELL.set("first")
    thread = cell_thread("named", lambda *args: seen.append((CELL.get(), *args)), 1, 2)
    CELL.set("second")
    thread.start()
    thread.join()
    assert (seen, thread.name, thread.daemon) == ([("first", 1, 2)], "named", True)
