"""What a rank's exception is told about a variable or a magic that it misses and that exists, or existed, elsewhere.

A variable of the notebook travels when the cell names it. It may be meant by a text instead: ``eval("k")``, SQL,
formulas, a pickle of an object of its class. Whichever library then raises, and however deep, the name that it misses
stands in the exception; whether the notebook has such a variable, `Elsewhere` knows.

This is done in the rank, where the exception is still what it was, and where a note reaches all who read it: the
traceback in the panel and the record, the debugger, ``failure.exception``, the error file.
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

# How exceptions read that miss a name, whoever raised them. They are met with names of variables only, so a pattern may
# be wide; but not so wide that it takes a column, a key or a file for a variable.
_MISSES = re.compile(
    r"""
      \b(?:name|variable)\s ['"`](\w+)['"`] \s is\ not\ (?:defined|present)   # Python, pandas, patsy, numba
    | [`'"](\w+)[`'"] \s is\ (?:undefined|not\ present\ in\ the\ dataset\ or)  # jinja2, formulaic
    | \bundefined\ (?:value|variable|name|symbol)\ ['"`]?(\w+)                # torch.jit
    # DuckDB, Polars; not what SQLite says, which knows its own tables only
    | \b(?:table|view|relation)\ (?:with\ name\ )?['"`]?(\w+)['"`]?\ (?:does\ not\ exist|was\ not\ found|not\ found)
    | attribute\ ['"]([\w.]+)['"]\ on\ <module\ ['"]__main__                   # pickle
    | module\ ['"]__main__['"]\ has\ no\ attribute\ ['"](\w+)
    | cannot\ import\ name\ ['"](\w+)['"]\ from\ ['"]__main__['"]
    | attribute\ lookup\ ([\w.]+)\ on\ __main__\ failed
    | not\ found\ as\ __main__\.(\w+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MISSES_MAGIC = re.compile(r"magic (?:function )?`(%%?)([^`\s]+)` not found")
# Names in code that looks variables up by their names: in a cell, and in a library that looks into those who call it.
_OF_A_CELL = NAMESPACES | {"locals", "vars"}
_OF_A_LIBRARY = frozenset({"_getframe", "currentframe"})
_MAX_TEXT_CHARACTERS = 20_000


def add_hints(error: BaseException, work: Work, namespace: Mapping[str, Any]) -> list[str]:
    """Add a note to an exception for each variable that it misses, and return the notes.

    Parameters
    ----------
    error : BaseException
        As it has ended the cell.
    work : Work
        What has arrived, and what exists elsewhere.
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
    # what the rank has, or has had
    known = {*namespace, *work.lines}
    for one in relatives(error):
        for name in _missed_names(one):
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
            for mark, name in _MISSES_MAGIC.findall(text_of(one)):
                if name in elsewhere.magics.split():
                    yield (
                        f"'{mark}{name}' is a magic of the notebook, and magics are not sent to the ranks: define or "
                        "load it in a cell that begins with %%multiproc --setup"
                    )


def _missed_names(error: BaseException) -> Iterator[str]:
    if issubclass(type(error), UnboundLocalError):
        return  # of a function, whatever is called alike elsewhere
    if issubclass(type(error), KeyError):
        args = vars(BaseException)["args"].__get__(error)
        if len(args) == 1 and type(args[0]) is str and _looks_variables_up(error):
            yield args[0]
        # and on: some libraries derive theirs from KeyError
    for groups in _MISSES.findall(text_of(error)[:_MAX_TEXT_CHARACTERS]):
        yield "".join(groups).partition(".")[0]


def _frames(error: BaseException) -> Iterator[FrameType]:
    step = traceback_of(error)
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


def _looks_variables_up(error: BaseException) -> bool:
    """Tell whether a key is the name of a variable: ``globals()["k"]``, or a library that asks its callers' frames."""
    return any(
        not (_OF_A_LIBRARY if _module_of(frame) else _OF_A_CELL).isdisjoint(frame.f_code.co_names)
        for frame in _frames(error)
    )


def _is_of_a_file(error: BaseException, name: str, namespace: Mapping[str, Any]) -> bool:
    """Tell whether the code that raised is a file's, with variables of its own, and names what these lack."""
    frames = list(_frames(error))
    if not issubclass(type(error), NameError) or not frames or frames[-1].f_globals is namespace:
        return False
    code = frames[-1].f_code
    return name in code.co_names and os.path.isfile(code.co_filename)


def _module_of(frame: FrameType) -> bool:
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
