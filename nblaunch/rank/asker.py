"""`Asker`: sends a rank's questions to the notebook and waits for the answers."""

from __future__ import annotations

import os

from nblaunch.events import QuestionKind
from nblaunch.messages.questions import DebuggerLeft, Question
from nblaunch.payload import encodable, unpack_plain
from nblaunch.processes.child.channel import Channel, in_whole

__all__ = ["PACKAGE", "Asker", "become_asker", "current_asker"]

PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
"""The folder of nblaunch: a frame whose file lies in it is none of the user's."""

# Characters of each text in a question. Of a longer one the end is kept, because a debugger's latest output is there.
_MAX_QUESTION_CHARACTERS = 50_000


class Asker:
    """Asks the notebook on behalf of one rank.

    Parameters
    ----------
    rank : int
        The number of the rank.
    channel : Channel
        The connection to the notebook.
    no_input_reason : str
        Why nobody can answer there; empty if somebody can.
    hold : float
        Seconds that a rank which has raised waits for somebody to debug it; 0 does not wait.
    """

    def __init__(self, rank: int, channel: Channel, no_input_reason: str = "", hold: float = 0.0) -> None:
        self.rank = rank
        self.no_input_reason = no_input_reason
        self.hold = hold
        self._channel = channel
        self._owner = os.getpid()

    def belongs_here(self) -> bool:
        """Tell whether this process is the rank itself, not one that the rank has forked."""
        return os.getpid() == self._owner

    def ask(
        self,
        kind: QuestionKind,
        prompt: str,
        text: str = "",
        where: str = "",
        session: int = 0,
        timeout: float | None = None,
    ) -> str:
        """Ask, and return the answer, a line; `nblaunch.events.Asked` says what the arguments mean.

        Raises
        ------
        EOFError
            If the person who was asked has ended the input, or the connection to the notebook is lost.
        TimeoutError
            If there is no answer within `timeout` seconds.
        """
        question = Question(kind, _cut(prompt), _cut(text), _cut(where), session)
        try:
            answer = unpack_plain(self._channel.ask(question, timeout))
        except TimeoutError:
            raise
        except OSError as error:
            raise EOFError(f"rank {self.rank} cannot ask any more: {error}") from None
        line = answer.get("line")
        if not isinstance(line, str):
            raise EOFError("EOF when reading a line")
        return line

    def end_session(self, session: int, text: str, *, quits: bool) -> None:
        """Tell the notebook that a debugger was left; `quits` if by a command that ends the rank."""
        left = DebuggerLeft(session, _cut(text), quits)
        in_whole(lambda: self._channel.tell(left))


_ASKER: Asker | None = None


def become_asker(asker: Asker) -> None:
    """Use this asker for all questions of this process from now on."""
    global _ASKER
    _ASKER = asker


def current_asker() -> Asker:
    """Return the asker of this rank."""
    assert _ASKER is not None
    return _ASKER


def _cut(text: str) -> str:
    text = encodable(text)
    return text if len(text) <= _MAX_QUESTION_CHARACTERS else f"…{text[-_MAX_QUESTION_CHARACTERS:]}"
