"""`Asking`: the questions that a rank waits with, in words for the panel.

::

    Asked, Answered, QuestionWithdrawn, SessionEnded ─► Asking ─► RankState ─► tiles, lines and header of the panel
"""

from __future__ import annotations

from nblaunch.events import Answered, Asked, QuestionKind, QuestionWithdrawn, SessionEnded

__all__ = ["Asking"]

# Of a longer prompt only the beginning is shown.
_MAX_PROMPT_CHARACTERS = 100
# Questions and debuggers that are noted: a rank may ask without end.
_MAX_QUESTIONS = 1000


class Asking:
    """The open questions of one rank; feed it the events about them with `note`, one thread at a time.

    Attributes
    ----------
    what : str
        What the rank does, as in ``"asks"`` or ``"waits in its debugger"``; empty if it asks nothing. It is in its
        debugger from the first command until the debugger is left, also between two commands.
    about : str
        The rest of that sentence, as in ``": name?"`` or ``", Cell In[2], line 3"``; may be empty.
    wanted : bool
        Whether a person can answer the rank.
    """

    def __init__(self) -> None:
        self.what: str = ""
        self.about: str = ""
        self.wanted: bool = False
        # requests for a line, by the number of the question, with `what` and `about`
        self._lines: dict[int, tuple[str, str]] = {}
        # the debugger session of each question for a command, by its number
        self._commands: dict[int, int] = {}
        # numbers of questions that a rank waits with after its debugger was left
        self._left: set[int] = set()
        # sessions of debuggers, with `what` and `about` of the last command
        self._sessions: dict[int, tuple[str, str]] = {}

    def note(self, event: Asked | Answered | QuestionWithdrawn | SessionEnded) -> None:
        """Take an event of this rank."""
        if isinstance(event, Asked):
            if len(self._lines) + len(self._commands) + len(self._left) + len(self._sessions) >= _MAX_QUESTIONS:
                return
            self._take(event)
        elif isinstance(event, SessionEnded):
            self._sessions.pop(event.session, None)
        else:
            self._lines.pop(event.number, None)
            self._left.discard(event.number)
            session = self._commands.pop(event.number, 0)
            if isinstance(event, QuestionWithdrawn):
                self._sessions.pop(session, None)
        self._say()

    def forget(self) -> None:
        """Take note that the rank waits for nobody any more."""
        for known in (self._lines, self._commands, self._left, self._sessions):
            known.clear()
        self._say()

    def _take(self, question: Asked) -> None:
        if question.kind in (QuestionKind.LINE, QuestionKind.PASSWORD):
            self._lines[question.number] = _line(question)
        elif question.kind in (QuestionKind.LEFT, QuestionKind.QUIT):
            self._sessions.pop(question.session, None)
            if question.kind == QuestionKind.LEFT:
                self._left.add(question.number)
        else:
            self._commands[question.number] = question.session
            self._sessions[question.session] = _at_debugger(question)

    def _say(self) -> None:
        # a debugger comes first, because it keeps the input box until it is left
        shown = next(iter(self._sessions.values()), None) or next(iter(self._lines.values()), None)
        self.wanted = shown is not None
        others = ("waits until the debuggers of other ranks are left", "") if self._left else ("", "")
        self.what, self.about = shown or others


def _at_debugger(asked: Asked) -> tuple[str, str]:
    where = _in_one_line(asked.where)
    what = "waits at its failure" if asked.kind == QuestionKind.HELD else "waits in its debugger"
    return what, f", {where}" if where else ""


def _line(asked: Asked) -> tuple[str, str]:
    # prompts begin with the rank for the input box; here the rank is shown anyway
    prompt = _in_one_line(asked.prompt.removeprefix(f"rank {asked.rank}: "))
    return ("asks", f": {prompt}") if prompt else ("asks for a line", "")


def _in_one_line(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text[:1000]).split())
    return line if len(line) <= _MAX_PROMPT_CHARACTERS else f"{line[:_MAX_PROMPT_CHARACTERS]}…"
