"""What a rank waits for somebody to answer, in words, out of the events.

::

    Asked, Answered, Unasked, SessionEnded ─► Asking ─► RankState ─► tiles, lines and header of the panel
"""

from __future__ import annotations

from nblaunch.events import Answered, Asked, SessionEnded, Unasked

__all__ = ["Asking"]

# Characters of a prompt: it is the user's, and has one line here.
_LONGEST = 100


class Asking:
    """The open questions of one rank; feed it the events about them with `note`.

    Attributes
    ----------
    what : str
        What the rank does, as in ``"asks"`` or ``"waits in its debugger"``; empty if it asks nobody. A debugger counts
        from its first command until it is left, and not only between two commands.
    about : str
        What comes behind that, as in ``": name?"`` or ``", Cell In[2], line 3"``; may be empty.
    wanted : bool
        Whether somebody can do something about that.
    """

    def __init__(self) -> None:
        self.what = self.about = ""
        self.wanted = False
        self._open: dict[int, Asked] = {}
        # sessions of debuggers, and where each was last
        self._sessions: dict[int, tuple[str, str]] = {}

    def note(self, event: Asked | Answered | Unasked | SessionEnded) -> None:
        """Take an event of this rank."""
        if isinstance(event, Asked):
            self._open[event.number] = event
            if event.kind in ("left", "quit"):
                self._sessions.pop(event.session, None)
            elif event.session:
                self._sessions[event.session] = _at_debugger(event)
        elif isinstance(event, SessionEnded):
            self._sessions.pop(event.session, None)
        else:
            question = self._open.pop(event.number, None)
            if question is not None and isinstance(event, Unasked):
                self._sessions.pop(question.session, None)
        self._say()

    def forget(self) -> None:
        """Take note that the rank waits for nobody any more."""
        self._open.clear()
        self._sessions.clear()
        self._say()

    def _say(self) -> None:
        lines = [_question(asked) for asked in self._open.values() if asked.kind in ("input", "password")]
        debuggers = list(self._sessions.values())
        self.wanted = bool(lines or debuggers)
        # a debugger keeps the box until it is left
        self.what, self.about = next(iter(debuggers + lines), ("", ""))
        if not self.wanted and any(asked.kind == "left" for asked in self._open.values()):
            self.what = "waits until the debuggers of other ranks are left"


def _at_debugger(asked: Asked) -> tuple[str, str]:
    where = _in_one_line(asked.where)
    return "waits at its failure" if asked.kind == "held" else "waits in its debugger", f", {where}" if where else ""


def _question(asked: Asked) -> tuple[str, str]:
    # the box says which rank asks, because it has no other place for that
    prompt = _in_one_line(asked.prompt.removeprefix(f"rank {asked.rank}: "))
    return ("asks", f": {prompt}") if prompt else ("asks for a line", "")


def _in_one_line(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text[:1000]).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
