"""What can be done about a name that a rank does not find, although the notebook, or ranks before, had it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nblaunch.payload import relatives, text_of, traceback_of
from nblaunch.rank.work import Work

__all__ = ["add_hint"]

# How libraries say that a name leads nowhere; those of databases have the name in other words.
_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        r"(?:name|variable) '(\w+)' is not defined",
        r"Can't get attribute '(\w+)' on <module '__m",
        r"not found as __main__\.(\w+)",
        r"Table with name (\w+) does not exist",
        r"relation '(\w+)' was not found",
    )
]
# Libraries that look for a variable of the caller and then say that a key is missing.
_LOOK_FOR_VARIABLES = ("numexpr",)


def add_hint(error: BaseException, work: Work) -> None:
    """Add a note to an exception, if it is about a variable of the notebook that did not travel."""
    for name in _missing_names(error):
        if name in work.left_behind.split(" "):
            note = (
                f"'{name}' is a variable of the notebook that the cell does not name: add --capture {name} to the "
                "%%multiproc line, and it is sent."
            )
        elif name in work.earlier.split(" "):
            note = (
                f"Ranks of an earlier cell had a variable '{name}', and each run has new ranks. End that cell with "
                f"{name}, so that results has it, or bring it back with --out job --collect {name}; what all ranks "
                "need alike can be assigned in an ordinary cell."
            )
        else:
            continue
        notes = list(getattr(error, "__notes__", ()))
        # add_note() is newer than Python 3.10
        error.__notes__ = [*notes, note]
        return


def _missing_names(error: BaseException) -> Iterator[str]:
    for one in relatives(error):
        if isinstance(one, NameError):
            yield str(getattr(one, "name", ""))
        elif isinstance(one, KeyError) and _came_from(one, _LOOK_FOR_VARIABLES):
            yield str(one.args[0]) if one.args else ""
        text = text_of(one)
        for pattern in _PATTERNS:
            found = pattern.search(text[:10_000])
            if found is not None:
                yield found[1]


def _came_from(error: BaseException, packages: tuple[str, ...]) -> bool:
    step = traceback_of(error)
    module = ""
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        step = step.tb_next
    return module.partition(".")[0] in packages
