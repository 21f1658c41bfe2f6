"""Notes on exceptions about a variable or magic that the rank does not have, but the notebook or earlier ranks had.

A variable of the notebook is sent when the cell names it. A text may refer to it instead: ``eval("k")``, SQL, a
formula, or a pickle of an object whose class is a variable. Then some library raises, and the missing name is in the
text of its exception. `Elsewhere` tells whether the notebook has a variable of this name.

The note is added in the rank, so that all readers of the exception see it: the traceback in the panel and the record,
the debugger, ``failure.exception`` and the error file.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from nblaunch.messages.work import Elsewhere, Work
from nblaunch.payload import add_notes, relatives, text_of, traceback_of
from nblaunch.payload.names_looked_up import NAMESPACES

__all__ = ["add_hints"]

# Texts of exceptions about a missing name, by various libraries. A match counts only if a variable of that name exists
# elsewhere, so a pattern may be wide, but it must not match the name of a column, a key or a file.
_MISSING_NAME = re.compile(
    r"""
      \b(?:name|variable)\s ['"`](\w+)['"`] \s is\ not\ (?:defined|present)   # Python, pandas, patsy, numba
    | [`'"](\w+)[`'"] \s is\ (?:undefined|not\ present\ in\ the\ dataset\ or)  # jinja2, formulaic
    | \bundefined\ (?:value|variable|name|symbol)\ ['"`]?(\w+)                # torch.jit
    # DuckDB, Polars; not the text of SQLite, which cannot query variables
    | \b(?:table|view|relation)\ (?:with\ name\ )?['"`]?(\w+)['"`]?\ (?:does\ not\ exist|was\ not\ found|not\ found)
    | attribute\ ['"]([\w.]+)['"]\ on\ <module\ ['"]__main__                   # pickle
    | module\ ['"]__main__['"]\ has\ no\ attribute\ ['"](\w+)
    | cannot\ import\ name\ ['"](\w+)['"]\ from\ ['"]__main__['"]
    | attribute\ lookup\ ([\w.]+)\ on\ __main__\ failed
    | not\ found\ as\ __main__\.(\w+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MISSING_MAGIC = re.compile(r"magic (?:function )?`(%%?)([^`\s]+)` not found")
# Names in code that looks variables up by name: in a cell, and in a library that reads the frames of its callers.
_LOOKUPS_IN_CELLS = NAMESPACES | {"locals", "vars"}
_LOOKUPS_IN_LIBRARIES = frozenset({"_getframe", "currentframe"})
_MAX_TEXT_CHARACTERS = 20_000


def add_hints(error: BaseException, work: Work, namespace: Mapping[str, Any]) -> list[str]:
    """Add a note to an exception for each missing name that exists elsewhere, and return the notes.

    Parameters
    ----------
    error : BaseException
        The exception that has ended the cell.
    work : Work
        What was sent to the rank, and the names that exist elsewhere.
    namespace : mapping of str to object
        The rank's own variables.
    """
    found = list(_hints(error, work, namespace))
    if found:
        add_notes(error, found)
    return found


def _hints(error: BaseException, work: Work, namespace: Mapping[str, Any]) -> Iterator[str]:
    elsewhere = work.elsewhere
    notebook = set(elsewhere.notebook.split())
    # names that the rank has or had, and names that have their note
    known = {*namespace, *work.lines}
    for one in relatives(error):
        for name in _missing_names(one):
            if name in known or name.startswith("_") or _is_of_a_file(one, name, namespace):
                continue
            known.add(name)
            if name in notebook:
                yield _in_the_notebook(name, elsewhere)
            elif elsewhere.remedy != "function":
                cells = [number for names, number in elsewhere.ranks.items() if name in names.split()]
                if cells:
                    yield _in_earlier_ranks(name, max(cells), elsewhere)
        if type(one).__name__ == "UsageError":
            for mark, name in _MISSING_MAGIC.findall(text_of(one)):
                if name in elsewhere.magics.split():
                    yield (
                        f"'{mark}{name}' is a magic of the notebook, and magics are not sent to the ranks: define or "
                        "load it in a cell that begins with %%multiproc --setup"
                    )


def _missing_names(error: BaseException) -> Iterator[str]:
    if issubclass(type(error), UnboundLocalError):
        return  # the name is local to a function, so variables of the same name do not matter
    if issubclass(type(error), KeyError):
        args = vars(BaseException)["args"].__get__(error)
        if len(args) == 1 and type(args[0]) is str and _looks_variables_up(error):
            yield args[0]
        # the text is read too, because some libraries derive their exceptions from KeyError
    for groups in _MISSING_NAME.findall(text_of(error)[:_MAX_TEXT_CHARACTERS]):
        yield "".join(groups).partition(".")[0]


def _frames(error: BaseException) -> Iterator[FrameType]:
    step = traceback_of(error)
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


def _looks_variables_up(error: BaseException) -> bool:
    """Tell whether a missing key is the name of a variable, as in ``globals()["k"]``, by the code that has raised."""
    return any(
        not (_LOOKUPS_IN_LIBRARIES if _is_of_a_module(frame) else _LOOKUPS_IN_CELLS).isdisjoint(frame.f_code.co_names)
        for frame in _frames(error)
    )


def _is_of_a_file(error: BaseException, name: str, namespace: Mapping[str, Any]) -> bool:
    """Tell whether code of a file has raised because a variable is missing in that file's own globals."""
    frames = list(_frames(error))
    if not issubclass(type(error), NameError) or not frames or frames[-1].f_globals is namespace:
        return False
    code = frames[-1].f_code
    return name in code.co_names and os.path.isfile(code.co_filename)


def _is_of_a_module(frame: FrameType) -> bool:
    """Tell whether a frame runs code of a module that was imported."""
    name = frame.f_globals.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) and name != "__main__" else None
    return module is not None and getattr(module, "__file__", None) == frame.f_code.co_filename


def _in_the_notebook(name: str, elsewhere: Elsewhere) -> str:
    if elsewhere.no_capture:
        who = f"'{name}' is a variable of the notebook, which --no-capture has left there"
    else:
        what = "function" if elsewhere.remedy == "function" else "cell"
        who = f"'{name}' is a variable of the notebook that the {what} does not name, so the ranks do not have it"
    return f"{who}: {_how_to_take(name, elsewhere.remedy)}"


def _how_to_take(name: str, remedy: str) -> str:
    if remedy == "line":
        return f"add --capture {name} to the %%multiproc line"
    if remedy == "launch":
        return f"add capture=[{name!r}] to launch(...)"
    return "name it in the function, or pass it in args"


def _in_earlier_ranks(name: str, number: int, elsewhere: Elsewhere) -> str:
    cell = f"cell In[{number}]" if number else "an earlier cell"
    if elsewhere.remedy == "line":
        back = f"end that cell with {name}, which puts it into results, or add --out run --collect {name} to its line"
    else:
        back = (
            f"end that cell with {name}, which puts it into run.results, or add collect=[{name!r}] to its launch(...)"
        )
    return (
        f"'{name}' was a variable of the ranks of {cell}, which have ended: each run has new ranks. To have what they "
        f"computed, {back}. What all ranks are to have alike, assign in an ordinary cell"
    )
