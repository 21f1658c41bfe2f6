"""Names of variables that hide in texts which libraries evaluate: ``df.query("a > @k")``, ``duckdb.sql("from df")``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from types import CodeType
from typing import Any

__all__ = ["EVALUATING", "is_meant", "names_in_argument", "names_in_constants"]

# Functions and methods by the last part of their name: how their texts name variables.
_WITH_AT = frozenset({"query", "eval"})  # of pandas
_SQL = frozenset({"sql", "query", "execute"})
_PYTHON = frozenset({"eval", "exec", "evaluate"})  # the last one of numexpr

EVALUATING = _WITH_AT | _SQL | _PYTHON
"""Last parts of the names of functions whose texts are looked into."""

# not in an address such as me@example
_AT = re.compile(r"(?<![\w@.])@([^\W\d]\w*)")
_TABLE = re.compile(r"\b(?:from|join)\s+([^\W\d]\w*)", re.IGNORECASE)
# Classes, and classes derived from such, by the last part of their name: what libraries read as a table.
_TABLES = frozenset(
    {"DataFrame", "LazyFrame", "Series", "Table", "RecordBatch", "RecordBatchReader", "Dataset", "ndarray"}
)


def is_meant(value: Any, *, as_table: bool) -> bool:
    """Tell whether a text may mean a variable: a table of a database may have the name of one that is no table."""
    return not as_table or any(base.__name__ in _TABLES for base in type.mro(type(value)))


def names_in_argument(function: str, text: str) -> dict[str, bool]:
    """Return what a text that is given to a function may name, and whether as a table only.

    Parameters
    ----------
    function : str
        Last part of the function's name, one of `EVALUATING`.
    text : str
        A constant argument of a call of it.
    """
    found: dict[str, bool] = {}
    if function in _SQL:
        found |= dict.fromkeys(_TABLE.findall(text), True)
    if function in _WITH_AT:
        found |= dict.fromkeys(_AT.findall(text), False)
    if function in _PYTHON:
        found |= dict.fromkeys(_names_in_python(text), False)
    return found


def _names_in_python(text: str) -> Iterable[str]:
    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def names_in_constants(code: CodeType) -> dict[str, bool]:
    """Return what the texts in a function may name, if it calls a function that evaluates texts; see `is_meant`.

    Python code in texts is left out: which of a function's texts are meant to be evaluated, its code does not tell.
    """
    found: dict[str, bool] = {}
    called = {*code.co_names} & (_WITH_AT | _SQL)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= {
                name: as_table and found.get(name, True) for name, as_table in names_in_constants(constant).items()
            }
        elif called and isinstance(constant, str):
            if called & _SQL:
                found |= {name: found.get(name, True) for name in _TABLE.findall(constant)}
            if called & _WITH_AT:
                found |= dict.fromkeys(_AT.findall(constant), False)
    return found
