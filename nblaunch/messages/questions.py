"""What a rank asks the user: `Question`; `QuestionTakenBack`, if it needs no answer any more; and `DebuggerLeft`.

A question has a number, which its answer repeats; see `nblaunch.processes.wire`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from nblaunch.events import Asked, QuestionKind, QuestionWithdrawn, SessionEnded
from nblaunch.messages.message import Body, Message, pack_fields, read_fields, require_types
from nblaunch.payload import Packed

__all__ = ["DebuggerLeft", "Question", "QuestionTakenBack"]

# An answer has eight bytes for the number of its question.
_NUMBERS = range(1 << 64)
# Characters of a question that are shown.
_MAX_QUESTION_CHARACTERS = 200_000


@dataclass(frozen=True)
class Question(Message):
    """A rank waits for an answer; for the fields see `nblaunch.events.Asked`. The channel sets the number."""

    KIND: ClassVar[str] = "ask"
    VERB: ClassVar[str] = "asked"

    kind: QuestionKind
    prompt: str
    text: str = field(default="", repr=False)
    where: str = ""
    session: int = 0
    number: int = 0

    def pack(self) -> Packed:
        """Return the fields as plain objects."""
        return pack_fields(self)

    @classmethod
    def read(cls, body: Body) -> Question:
        """Read the fields."""
        fields = read_fields(body)
        question = cls(QuestionKind(fields.pop("kind")), **fields)
        require_types(question, prompt=str, text=str, where=str, session=int)
        _require_number(question, question.number)
        return question

    def event(self, rank: int, at: float) -> Asked:
        """Return the event, with the end of each text that is too long."""
        prompt, text, where = (each[-_MAX_QUESTION_CHARACTERS:] for each in (self.prompt, self.text, self.where))
        return Asked(rank, self.number, self.kind, prompt, text, where, self.session, at)


@dataclass(frozen=True)
class QuestionTakenBack(Message):
    """A rank does not wait for the answer to the question with this number any more."""

    KIND: ClassVar[str] = "unask"
    VERB: ClassVar[str] = "asked"

    number: int

    def pack(self) -> Packed:
        """Return the number as a plain object."""
        return pack_fields(self)

    @classmethod
    def read(cls, body: Body) -> QuestionTakenBack:
        """Read the number."""
        taken_back = cls(**read_fields(body))
        _require_number(taken_back, taken_back.number)
        return taken_back

    def event(self, rank: int, at: float) -> QuestionWithdrawn:
        """Return the event that the question needs no answer any more."""
        return QuestionWithdrawn(rank, self.number, at)


@dataclass(frozen=True)
class DebuggerLeft(Message):
    """The debugger of a rank was left; for the fields see `nblaunch.events.SessionEnded`."""

    KIND: ClassVar[str] = "session_ended"
    VERB: ClassVar[str] = "asked"

    session: int
    text: str = field(repr=False)
    quit: bool

    def pack(self) -> Packed:
        """Return the fields as plain objects."""
        return pack_fields(self)

    @classmethod
    def read(cls, body: Body) -> DebuggerLeft:
        """Read the fields."""
        left = cls(**read_fields(body))
        require_types(left, session=int, text=str, quit=bool)
        return left

    def event(self, rank: int, at: float) -> SessionEnded:
        """Return the event that the debugger was left, with the end of a text that is too long."""
        return SessionEnded(rank, self.session, self.text[-_MAX_QUESTION_CHARACTERS:], self.quit, at)


def _require_number(message: Message, number: int) -> None:
    require_types(message, number=int)
    if number not in _NUMBERS:
        raise ValueError(f"{number!r:.100} is not the number of a question")
