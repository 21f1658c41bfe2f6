"""`decode`: the only place that makes a message out of the bytes that a rank has sent."""

from __future__ import annotations

import logging

from nblaunch.messages.displays import Display
from nblaunch.messages.imports import HeavyImports
from nblaunch.messages.message import Body, Message
from nblaunch.messages.questions import DebuggerLeft, Question, QuestionTakenBack
from nblaunch.messages.reports import ErrorReport, HeldReport
from nblaunch.messages.values import Value
from nblaunch.payload import why

__all__ = ["KINDS", "decode"]

logger: logging.Logger = logging.getLogger(__name__)

KINDS: dict[str, type[Message]] = {
    each.KIND: each
    for each in (Value, ErrorReport, HeldReport, Display, Question, QuestionTakenBack, DebuggerLeft, HeavyImports)
}
"""The classes of all messages, by what their headers say."""


def decode(rank: int, kind: str, body: Body) -> Message | None:
    """Return the message, or None, and a warning in the log, if it makes no sense; for garbage it never raises.

    Parameters
    ----------
    rank : int
        Who has sent it.
    kind : str
        What its header says.
    body : bytearray or Parts
        The rest.
    """
    made = KINDS.get(kind)
    if made is None:
        logger.warning("rank %d sent a message of a kind that there is not: %.100r", rank, kind)
        return None
    try:
        return made.read(body)
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        message = made.unreadable(why(error))
        if message is None:
            # as text: who keeps log records would keep the run with the exception's frames
            logger.warning("rank %d %s what makes no sense: %s", rank, made.VERB, why(error))
        return message
