"""`CaptureError` says which notebook objects cannot be sent, why, and what to do now; `explain` makes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nblaunch.capture.advice import ADVICE, kind_of_failure
from nblaunch.capture.parts import goes_by_value
from nblaunch.capture.search import Culprit, Search, Why
from nblaunch.exports import exported_by
from nblaunch.payload.made_frames import leave_users_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOTHING_STARTED = "Nothing was started: no rank has run any of the cell."
_MAX_REASON_CHARACTERS = 200
_PART_OF_A_CLASS = re.compile(r"cannot pickle '\w*descriptor' object")


@dataclass(frozen=True)
class Problem:
    """One notebook object that cannot be sent.

    Attributes
    ----------
    name : str
        Its name in the notebook.
    line : int or None
        The first line of the cell that needs it; None if the cell does not name it (``--capture``).
    path : str
        The part that cannot be sent, such as ``config["db"].lock``; `name` itself if no part could be found.
    type_name : str
        The type of that part.
    reason : str
        What pickling it said.
    advice : str
        What to do now.
    via : str
        How `path` is reached where it does not begin with `name`: "train uses the global lock".
    """

    name: str
    line: int | None
    path: str
    type_name: str
    reason: str
    advice: str
    via: str = ""

    def __str__(self) -> str:
        if self.line is None:
            who = f"the captured name '{self.name}' cannot be sent to the ranks"
        else:
            who = f"line {self.line} uses '{self.name}', which cannot be sent to the ranks"
        part = "it" if self.path == self.name and not self.via else self.path
        how = f"{self.via}, and " if self.via else ""
        article = "an" if self.type_name.lstrip("_").lower().startswith(tuple("aeiou")) else "a"
        return f"{who}: {how}{part} is {article} {self.type_name} ({self.reason}). {self.advice}"


@exported_by("nblaunch")
class CaptureError(Exception):
    """Notebook objects that the cell uses cannot be sent to the ranks.

    Parameters
    ----------
    problems : sequence of Problem
        One for each object that cannot be sent. Empty if each can be sent alone, but not all together.

    Attributes
    ----------
    problems : list of Problem
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(list(problems))
        self.problems: list[Problem] = list(problems)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        if not self.problems:
            first = (
                "the notebook objects that the cell uses cannot be sent to the ranks together, though each "
                "can alone: leave some out (--no-capture)."
            )
            return [first, _NOTHING_STARTED]
        blocks = [str(problem) for problem in self.problems]
        if len(blocks) == 1:
            return [*blocks, _NOTHING_STARTED]
        first = f"{len(blocks)} notebook objects that the cell uses cannot be sent to the ranks:"
        return [first, *blocks, _NOTHING_STARTED]

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows, without the frames of nblaunch, which do not help the user."""
        first, *others = self._lines()
        leave_users_frames(self, f"There is no line of a rank to look at: {first}")
        return [f"{type(self).__name__}: {first}", *others]


def explain(captured: Mapping[str, object], lines: Mapping[str, int | None], why: Why) -> CaptureError:
    """Return the error that says which captured objects cannot be pickled, and why.

    Parameters
    ----------
    captured : mapping of str to object
        The objects that failed to be pickled together.
    lines : mapping of str to int or None
        The first line of the cell that needs each; None, or no entry, for names that the cell does not use.
    why : callable
        Tries to pickle one object; returns the exception, or None.

    Returns
    -------
    CaptureError
        To be raised by the caller.
    """
    problems = []
    for name, obj in captured.items():
        error = why(obj)
        if error is None:
            continue
        culprit = Search(why).culprit(name, obj, error)
        problems.append(
            Problem(
                name=name,
                line=lines.get(name),
                path=culprit.place.expression,
                type_name=_type_name(type(culprit.obj)),
                reason=_reason(culprit),
                advice=ADVICE[_kind(culprit)],
                via=", ".join(culprit.place.story),
            )
        )
    return CaptureError(problems)


def _kind(culprit: Culprit) -> str:
    kind = kind_of_failure(culprit.obj, culprit.error)
    return kind if kind != "other" else kind_of_failure(culprit.cause, culprit.error)


def _type_name(cls: type) -> str:
    if cls.__module__ in ("builtins", "__main__"):
        return cls.__qualname__
    # a class that was made by a function is not in its module, so the module would mislead
    return cls.__name__ if goes_by_value(cls) else f"{cls.__module__}.{cls.__qualname__}"


def _reason(culprit: Culprit) -> str:
    """Return the text of the error on one line, or the name of its type if it has no text."""
    try:
        text = " ".join(str(culprit.error).split()).rstrip(".")
    except Exception:  # the exception may be of the user's class, whose __str__ fails
        text = ""
    if _PART_OF_A_CLASS.fullmatch(text) and not isinstance(culprit.cause, type):
        # pickling has failed in the object's class, which is made of C: name the class instead
        text = f"cannot pickle '{_type_name(type(culprit.cause))}' object"
    if len(text) > _MAX_REASON_CHARACTERS:
        text = text[: _MAX_REASON_CHARACTERS - 1] + "…"
    return text or type(culprit.error).__name__
