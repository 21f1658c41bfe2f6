"""How a page's messages reach this process while a cell blocks its main thread. All of ipykernel's private parts.

A message of a widget waits for the main thread, except on ipykernel 7 where the frontend uses subshells. A message on
the control channel never waits. So the page sends everything both ways, and here both are opened; what comes twice is
harmless. On a kernel that offers neither, messages come when the cell has ended, and the interrupt button is what ends
a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, TextIO

__all__ = [
    "answer_on_own_subshell",
    "cell_that_a_page_runs",
    "cell_that_runs",
    "draws_unheard",
    "has_pages",
    "hear_control_channel",
    "keep_busy",
    "peculiarities",
    "print_under_this_cell",
    "under_its_cell",
]

logger: logging.Logger = logging.getLogger(__name__)

_REQUEST = "nblaunch_request"
_LISTENERS: weakref.WeakValueDictionary[str, _Listener] = weakref.WeakValueDictionary()


class _Listener:
    """A weakly held listener of the control channel: it hears what pages say to one panel while somebody holds it."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.hear = hear


def has_pages() -> bool:
    """Tell whether a widget of this process can appear on a page: not in a terminal, a program, or a rank."""
    return _kernel() is not None


def draws_unheard() -> bool:
    """Tell whether this is a kernel of VS Code or Voila.

    Their pages show widgets, and are heard only when the cell, or what a click has begun, has ended.
    """
    is_voila = os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
    return is_voila or "__vsc_ipynb_file__" in getattr(_shell(), "user_ns", {})


def cell_that_runs() -> tuple[str, int]:
    """Return the id that the frontend gives the cell that runs now, and the cell's number; empty and 0 if not known."""
    try:
        parent = _kernel().get_parent("shell")
        cell = parent["metadata"].get("cellId", "")
        number = len(_shell().history_manager.input_hist_parsed) - 1
    except (AttributeError, KeyError, TypeError):
        return "", 0
    return (cell, number) if isinstance(cell, str) else ("", 0)


def cell_that_a_page_runs() -> tuple[str, str]:
    """Return the ids of the cell that runs now, and of the request to run it, if a page has sent it itself; else empty.

    A page of JupyterLab or Notebook 7 shows changes of outputs, and has emptied those of the cell. Servers that run
    cells for pages may do neither. The name that tells is in the metadata of what JupyterLab's own executor sends.
    """
    try:
        parent = _kernel().get_parent("shell")
        metadata, request = parent["metadata"], parent["header"]["msg_id"]
    except (AttributeError, KeyError, TypeError):
        return "", ""
    cell = cell_that_runs()[0] if isinstance(metadata, dict) and "deletedCells" in metadata else ""
    return (cell, request) if cell and isinstance(request, str) else ("", "")


def peculiarities() -> list[str]:
    """Return what is left out, or done in another way, because of the versions and the frontend that are here."""
    shell, kernel = _shell(), _kernel()
    found = []
    if kernel is not None and not isinstance(getattr(kernel, "control_handlers", None), dict):
        found.append(
            "this kernel has no control channel: what is clicked in the panel is heard when the cell has ended, and "
            "the interrupt button stops a run"
        )
    if "google.colab" in sys.modules:
        found.append(
            "Google Colab's pages are not heard while a cell runs, and lose binary buffers: after five seconds lines "
            "are printed, the record comes at the end, and the interrupt button stops a run"
        )
    if shell is not None and not hasattr(shell.compile, "_filename_map"):
        found.append(
            "this IPython keeps no table of its cells: tracebacks of ranks name a cell by its text, of several alike "
            "the last"
        )
    return found


def hear_control_channel(token: str, hear: Callable[[dict[str, Any]], None]) -> object:
    """Have messages for the panel of this token handed on, in the kernel's control thread.

    Returns
    -------
    object
        To be kept as long as messages shall come.
    """
    listener = _Listener(hear)
    _LISTENERS[token] = listener
    handlers = getattr(_kernel(), "control_handlers", None)
    if isinstance(handlers, dict):
        handlers.setdefault(_REQUEST, _take_request)
    return listener


def answer_on_own_subshell(widget: Any) -> None:
    """Keep ipykernel 7.4 from sending a widget's messages to the shell that the cell blocks.

    There a comm answers to the subshell that it was last published from, which for a cell is the main one.
    """
    comm: Any = getattr(widget, "comm", None)
    if hasattr(comm, "_reply_subshell_for"):
        with contextlib.suppress(AttributeError):
            comm._reply_subshell_for = lambda data, default: default


def keep_busy() -> Callable[[], None]:
    """Have pages show that the kernel is busy while the cell that runs now goes on, whatever messages come meanwhile.

    The kernel says "busy" and "idle" for every message, and a page shows what was said last.

    Returns
    -------
    callable
        To be called while a message is taken: behind the "idle" of that message the kernel says "busy" once more in the
        name of the cell. Does nothing when the cell has ended, where no cell runs, or on a kernel that is too unlike.
    """
    shell, kernel = _shell(), _kernel()
    publish = getattr(kernel, "_publish_status", None)
    if publish is None or not _runs_in_cell():
        return _nothing
    parent = kernel.get_parent("shell")
    if parent.get("content", {}).get("silent"):
        return _nothing  # its end is not told of
    lock = threading.Lock()
    over = False
    thread = threading.get_ident()

    def end(_result: object) -> None:
        nonlocal over
        if threading.get_ident() != thread:
            return  # a cell of a subshell
        shell.events.unregister("post_run_cell", end)
        with lock:
            over = True

    def say_busy() -> None:
        # not between the end of the cell and its own "idle": that would be taken back for ever
        with lock, contextlib.suppress(Exception):
            if not over:
                publish("busy", "shell", parent)

    def soon() -> None:
        # the "idle" comes without a pause when the message has been taken, and so before anything else in this loop
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(say_busy)

    # not post_execute, which each message of a widget triggers too
    shell.events.register("post_run_cell", end)
    return soon


# What the streams of an old kernel say of the cell that has launched.
_CELL: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("nblaunch_cell", default=None)


def print_under_this_cell() -> None:
    """Have what the threads that are made from now on print appear under the cell that runs now.

    From ipykernel 6.29 on its streams see to that by themselves. Earlier ones know one cell for all threads: the last.
    """
    stream: Any = sys.stdout
    _CELL.set(stream.parent_header if _knows_one_cell(stream) else None)


def under_its_cell(stream: TextIO) -> TextIO | _Elsewhere:
    """Return what prints under the cell of the present context, if another one runs by now; otherwise the stream."""
    cell = _CELL.get()
    if cell is None or not _knows_one_cell(stream) or stream.parent_header is cell:  # type: ignore[attr-defined]
        return stream
    return _Elsewhere(stream, cell)


def _knows_one_cell(stream: Any) -> bool:
    return all(name in getattr(stream, "__dict__", ()) for name in ("parent_header", "session", "pub_thread", "topic"))


class _Elsewhere:
    """Prints under a cell that has ended, with which the kernel's stream has done."""

    def __init__(self, stream: Any, cell: dict[str, Any]) -> None:
        self._stream = stream
        self._cell = cell

    def write(self, text: str) -> None:
        """Do what the stream does when it is flushed."""
        stream = self._stream
        content = {"name": stream.name, "text": text}
        stream.session.send(stream.pub_thread, "stream", content, parent=self._cell, ident=stream.topic)

    def flush(self) -> None:
        """Do nothing: it is sent already."""


def _nothing() -> None:
    pass


def _runs_in_cell() -> bool:
    """Tell whether a cell is what has called: not a thread of its own, nor a task that goes on after its cell."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "run_cell_async" and frame.f_code.co_filename.endswith("interactiveshell.py"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


async def _take_request(stream: object, ident: object, parent: dict[str, Any]) -> None:
    try:
        content = parent["content"]
        listener = _LISTENERS.get(content["widget"])
    except (KeyError, TypeError):
        return
    if listener is not None:
        try:
            listener.hear(content)
        except Exception:
            logger.exception("a message of a panel's page could not be taken")


def _shell() -> Any:
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def _kernel() -> Any:
    return getattr(_shell(), "kernel", None)
