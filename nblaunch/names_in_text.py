"""Names of variables that hide in texts which libraries evaluate: ``df.query("a > @k")``, ``duckdb.sql("from df")``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from types import CodeType

__all__ = ["EVALUATING", "may_mark_names", "names_behind_at", "names_in_argument", "names_in_constants"]

# Functions and methods by the last part of their name: how their texts name variables.
_WITH_AT = frozenset({"query", "eval"})  # of pandas, and of what does as it does
_SQL = frozenset({"sql", "query", "execute"})
_PYTHON = frozenset({"eval", "exec", "evaluate"})  # the last one of numexpr

EVALUATING = _SQL | _PYTHON
"""Last parts of the names of functions whose own texts are looked into for tables and for Python."""

# not in an address such as me@example
_AT = re.compile(r"(?<![\w@.])@\s*([^\W\d]\w*)")
_TABLE = re.compile(r"\b(?:from|join)\s+([^\W\d]\w*)", re.IGNORECASE)


def may_mark_names(source: str) -> bool:
    """Tell whether a cell may call what takes variables out of texts that mark them with an ``@``."""
    return "@" in source and any(name in source for name in _WITH_AT)


def names_behind_at(text: str) -> list[str]:
    """Return the names that a text marks as variables of Python with an ``@``, each once."""
    return list(dict.fromkeys(_AT.findall(text))) if "@" in text else []


def names_in_argument(function: str, text: str) -> list[str]:
    """Return what a text that is given to a function may name, besides what it marks with an ``@``.

    Parameters
    ----------
    function : str
        Last part of the function's name, one of `EVALUATING`.
    text : str
        A constant argument of a call of it.
    """
    names: list[str] = []
    if function in _SQL:
        names += _TABLE.findall(text)
    if function in _PYTHON:
        names += _names_in_python(text)
    return list(dict.fromkeys(names))


def _names_in_python(text: str) -> Iterable[str]:
    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError):
        return ()
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [node.id for node in names if isinstance(node.ctx, ast.Load)]


def names_in_constants(code: CodeType) -> set[str]:
    """Return the global names that the texts in a function may stand for, if it calls what evaluates texts.

    Python code in texts is left out: which of a function's texts are meant to be evaluated, its code does not tell.
    """
    codes = [code]
    called: set[str] = set()
    for one in codes:
        called |= {*one.co_names} & (_WITH_AT | _SQL)
        codes += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    found: set[str] = set()
    for one in codes if called else ():
        own = {*one.co_varnames, *one.co_cellvars, *one.co_freevars}
        for text in _texts(one.co_consts):
            names = names_behind_at(text) if called & _WITH_AT else []
            names += _TABLE.findall(text) if called & _SQL else []
            found.update(name for name in names if name not in own)
    return found


def _texts(constants: Iterable[object]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            yield from _texts(constant)
