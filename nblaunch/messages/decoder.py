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
"""The class of each message, by what its header says."""


def decode(rank: int, kind: str, body: Body) -> Message | None:
    """Return the message; for one that makes no sense, log a warning and return None. It never raises an error.

    Parameters
    ----------
    rank : int
        The sender.
    kind : str
        What the header of the message says.
    body : bytearray or Parts
        The rest of the message.
    """
    message_type = KINDS.get(kind)
    if message_type is None:
        logger.warning("rank %d sent a message of a kind that there is not: %.100r", rank, kind)
        return None
    try:
        return message_type.read(body)
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        message = message_type.unreadable(why(error))
        if message is None:
            # The error is logged as text: a log record with the exception would keep its frames, and so the run, alive.
            logger.warning("rank %d %s what makes no sense: %s", rank, message_type.VERB, why(error))
        return message
