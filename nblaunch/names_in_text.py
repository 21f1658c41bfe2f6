"""Names of variables that hide in texts which libraries evaluate: ``df.query("a > @k")``, ``duckdb.sql("from df")``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from types import CodeType

__all__ = ["EVALUATING", "names_in_argument", "names_in_constants"]

# Functions and methods by the last part of their name: how their texts name variables.
_WITH_AT = frozenset({"query", "eval"})  # of pandas
_SQL = frozenset({"sql", "query", "execute"})
_PYTHON = frozenset({"eval", "exec", "evaluate"})  # the last one of numexpr

EVALUATING = _WITH_AT | _SQL | _PYTHON
"""Last parts of the names of functions whose texts are looked into."""

_AT = re.compile(r"@([^\W\d]\w*)")
_TABLE = re.compile(r"\b(?:from|join)\s+([^\W\d]\w*)", re.IGNORECASE)


def names_in_argument(function: str, text: str) -> list[str]:
    """Return what a text that is given to a function may name.

    Parameters
    ----------
    function : str
        Last part of the function's name, one of `EVALUATING`.
    text : str
        A constant argument of a call of it.
    """
    names: list[str] = []
    if function in _WITH_AT:
        names += _AT.findall(text)
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
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def names_in_constants(code: CodeType) -> set[str]:
    """Return what the texts in a function may name, if it calls a function that evaluates texts.

    Python code in texts is left out: which of a function's texts are meant to be evaluated, its code does not tell.
    """
    found: set[str] = set()
    called = {*code.co_names} & (_WITH_AT | _SQL)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= names_in_constants(constant)
        elif called and isinstance(constant, str):
            if called & _WITH_AT:
                found.update(_AT.findall(constant))
            if called & _SQL:
                found.update(_TABLE.findall(constant))
    return found
