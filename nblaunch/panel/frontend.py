"""How a page's messages reach this process while a cell blocks its main thread. All of ipykernel's private parts.

A message of a widget waits for the main thread, except on ipykernel 7 where the frontend uses subshells. A message on
the control channel never waits. So the page sends everything both ways, and here both are opened; what comes twice is
harmless. On a kernel that offers neither, messages come when the cell has ended, and the interrupt button is what ends
a run.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["answer_on_own_subshell", "has_pages", "hear_control_channel"]

logger = logging.getLogger(__name__)

_REQUEST = "nblaunch_request"
_LISTENERS: weakref.WeakValueDictionary[str, _Listener] = weakref.WeakValueDictionary()


class _Listener:
    """Somebody who hears what pages say to one panel; is deaf when nobody holds it any more."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.hear = hear


def has_pages() -> bool:
    """Tell whether a widget of this process can appear on a page: not in a terminal, a program, or a rank."""
    return _kernel() is not None


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


def _kernel() -> Any:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None)
