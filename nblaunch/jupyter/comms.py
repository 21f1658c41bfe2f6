"""How messages of a page reach the kernel while a cell blocks its main thread, by private parts of ipykernel.

A message of a widget waits for the main thread, unless it is ipykernel 7 and the frontend uses subshells. A message on
the control channel never waits. So the page sends every message both ways, and this module lets both arrive; a message
that arrives twice is harmless. On a kernel with neither way, messages arrive when the cell has ended, and only the
interrupt button ends a run.
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

from nblaunch.jupyter.input_box import current_kernel, current_shell

__all__ = [
    "answer_on_own_subshell",
    "cell_that_a_page_runs",
    "cell_that_runs",
    "draws_unheard",
    "hear_control_channel",
    "keep_busy",
    "peculiarities",
    "print_under_this_cell",
    "under_its_cell",
]

logger: logging.Logger = logging.getLogger(__name__)

# Type of a message on the control channel.
_REQUEST = "nblaunch_request"
# By the token of the panel.
_LISTENERS: weakref.WeakValueDictionary[str, _Listener] = weakref.WeakValueDictionary()


class _Listener:
    """A listener of the control channel for one panel. `_LISTENERS` holds it weakly, so it ends with its last user."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.hear = hear


def draws_unheard() -> bool:
    """Tell whether this is a kernel of VS Code or Voila.

    Their pages show widgets, but their messages arrive only when the cell or the callback of a click has ended.
    """
    is_voila = os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
    return is_voila or "__vsc_ipynb_file__" in getattr(current_shell(), "user_ns", {})


def cell_that_runs() -> tuple[str, int]:
    """Return the frontend's id of the cell that runs now, and its number as in ``In[5]``; empty and 0 if not known."""
    try:
        parent = current_kernel().get_parent("shell")
        cell = parent["metadata"].get("cellId", "")
        number = len(current_shell().history_manager.input_hist_parsed) - 1
    except (AttributeError, KeyError, TypeError):
        return "", 0
    return (cell, number) if isinstance(cell, str) else ("", 0)


def cell_that_a_page_runs() -> tuple[str, str]:
    """Return the ids of the cell that runs now and of its request, if a page has sent the request; else empty texts.

    A page of JupyterLab or Notebook 7 has cleared the outputs of the cell, and shows updates of them. A server that
    runs cells for pages may do neither. Only requests of the page itself have ``deletedCells`` in their metadata.
    """
    try:
        parent = current_kernel().get_parent("shell")
        metadata, request = parent["metadata"], parent["header"]["msg_id"]
    except (AttributeError, KeyError, TypeError):
        return "", ""
    cell = cell_that_runs()[0] if isinstance(metadata, dict) and "deletedCells" in metadata else ""
    return (cell, request) if cell and isinstance(request, str) else ("", "")


def peculiarities() -> list[str]:
    """Return sentences about what is missing or different with these versions and this frontend."""
    shell, kernel = current_shell(), current_kernel()
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
    """Have `hear` called with each message on the control channel for the panel of this token.

    It is called in the kernel's control thread.

    Returns
    -------
    object
        The listener. Messages arrive as long as the caller holds it.
    """
    listener = _Listener(hear)
    _LISTENERS[token] = listener
    handlers = getattr(current_kernel(), "control_handlers", None)
    if isinstance(handlers, dict):
        handlers.setdefault(_REQUEST, _take_request)
    return listener


def answer_on_own_subshell(widget: Any) -> None:
    """Keep ipykernel 7.4 from sending a widget's messages to the main shell, which the cell blocks.

    There a comm handles messages in the subshell from which it was last published, which for a cell is the main one.
    """
    comm: Any = getattr(widget, "comm", None)
    if hasattr(comm, "_reply_subshell_for"):
        with contextlib.suppress(AttributeError):
            comm._reply_subshell_for = lambda data, default: default


def keep_busy() -> Callable[[], None]:
    """Have pages show the kernel as busy until the cell that runs now has ended, also after other messages.

    The kernel publishes "busy" and "idle" for every message, and a page shows the last of these.

    Returns
    -------
    callable
        To be called while a message is handled: after the "idle" of that message, it publishes "busy" for the cell. It
        does nothing when the cell has ended, if no cell runs, or in a kernel that is not ipykernel.
    """
    shell, kernel = current_shell(), current_kernel()
    publish = getattr(kernel, "_publish_status", None)
    if publish is None or not _runs_in_cell():
        return _nothing
    parent = kernel.get_parent("shell")
    if parent.get("content", {}).get("silent"):
        return _nothing  # a silent cell publishes no "idle" at its end
    lock = threading.Lock()
    over = False
    thread = threading.get_ident()

    def end(_result: object) -> None:
        nonlocal over
        if threading.get_ident() != thread:
            return  # another cell has ended, in a subshell
        shell.events.unregister("post_run_cell", end)
        with lock:
            over = True

    def say_busy() -> None:
        # never after the cell's own "idle": the page would show a busy kernel for ever
        with lock, contextlib.suppress(Exception):
            if not over:
                publish("busy", "shell", parent)

    def say_busy_soon() -> None:
        # the kernel publishes "idle" in the same step of the event loop, so before the call that is scheduled here
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(say_busy)

    # not post_execute, which is triggered by each message of a widget too
    shell.events.register("post_run_cell", end)
    return say_busy_soon


# The header of the cell that has launched, for streams of kernels before ipykernel 6.29.
_CELL: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("nblaunch_cell", default=None)


def print_under_this_cell() -> None:
    """Have threads that this one starts from now on print under the cell that runs now.

    The streams of ipykernel 6.29 do so by themselves. Older ones print under the latest cell, whichever thread prints.
    """
    stream: Any = sys.stdout
    _CELL.set(stream.parent_header if _knows_one_cell(stream) else None)


def under_its_cell(stream: TextIO) -> TextIO | _EarlierCellStream:
    """Return a stream that prints under the cell of the current context: this one unless a later cell runs."""
    cell = _CELL.get()
    if cell is None or not _knows_one_cell(stream) or stream.parent_header is cell:  # type: ignore[attr-defined]
        return stream
    return _EarlierCellStream(stream, cell)


def _knows_one_cell(stream: Any) -> bool:
    return all(name in getattr(stream, "__dict__", ()) for name in ("parent_header", "session", "pub_thread", "topic"))


class _EarlierCellStream:
    """Prints under an earlier cell than the one that the kernel's stream prints under."""

    def __init__(self, stream: Any, cell: dict[str, Any]) -> None:
        self._stream = stream
        self._cell = cell

    def write(self, text: str) -> None:
        """Send the text at once, as the stream does when it is flushed."""
        stream = self._stream
        content = {"name": stream.name, "text": text}
        stream.session.send(stream.pub_thread, "stream", content, parent=self._cell, ident=stream.topic)

    def flush(self) -> None:
        """Do nothing: the text was sent by `write`."""


def _nothing() -> None:
    pass


def _runs_in_cell() -> bool:
    """Tell whether a cell has called this, not a thread that it has started or a task that outlives it."""
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
