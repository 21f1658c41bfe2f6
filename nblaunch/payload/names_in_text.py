"""Names of variables in texts that libraries evaluate: ``df.query("a > @k")``, ``duckdb.sql("from df")``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any

__all__ = [
    "EVALUATING",
    "is_meant",
    "may_mark_names",
    "names_behind_at",
    "names_in_annotations",
    "names_in_argument",
    "names_in_constants",
    "texts_in",
]

# Functions and methods, by the last part of their name, whose texts name variables: with an @, as tables, in Python.
_WITH_AT = frozenset({"query", "eval"})  # of pandas and libraries like it
_SQL = frozenset({"sql", "query", "execute"})
_PYTHON = frozenset({"eval", "exec", "evaluate"})  # numexpr has the last one

EVALUATING = _SQL | _PYTHON
"""Functions, by the last part of their name, whose texts are searched for tables and for Python."""

# no match in an address such as me@example
_AT = re.compile(r"(?<![\w@.])@\s*([^\W\d]\w*)")
_TABLE = re.compile(r"\b(?:from|join)\s+([^\W\d]\w*)", re.IGNORECASE)
# Classes, by the last part of their name, whose instances can be a table in SQL; subclasses count too.
_TABLES = frozenset(
    {"DataFrame", "LazyFrame", "Series", "Table", "RecordBatch", "RecordBatchReader", "Dataset", "ndarray"}
)


def is_meant(value: Any, *, as_table: bool) -> bool:
    """Tell whether a text may mean a variable; with `as_table`, only if its value can be a table in SQL."""
    return not as_table or any(base.__name__ in _TABLES for base in type.mro(type(value)))


def may_mark_names(source: str) -> bool:
    """Tell whether a cell may call a function whose texts mark variables with an ``@``."""
    return "@" in source and any(name in source for name in _WITH_AT)


def names_behind_at(text: str) -> list[str]:
    """Return the names that a text marks as variables of Python with an ``@``, each once."""
    return list(dict.fromkeys(_AT.findall(text))) if "@" in text else []


def names_in_argument(function: str, text: str) -> dict[str, bool]:
    """Return the names that a text argument of a function may mean without an ``@``, and whether as a table only.

    Parameters
    ----------
    function : str
        Last part of the function's name, one of `EVALUATING`.
    text : str
        A constant argument of a call of the function.
    """
    found: dict[str, bool] = {}
    if function in _SQL:
        found |= dict.fromkeys(_TABLE.findall(text), True)
    if function in _PYTHON:
        found |= dict.fromkeys(_names_in_python(text), False)
    return found


def _names_in_python(text: str) -> Iterable[str]:
    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError):
        return ()
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [node.id for node in names if isinstance(node.ctx, ast.Load)]


def names_in_annotations(annotations: Mapping[str, Any]) -> list[str]:
    """Return the names in annotations that are texts, such as those after ``from __future__ import annotations``."""
    texts = [text for text in annotations.values() if isinstance(text, str)]
    return list(dict.fromkeys(name for text in texts for name in _names_in_python(text)))


def names_in_constants(code: CodeType) -> dict[str, bool]:
    """Return the globals that texts in a function may mean, if it calls one that evaluates texts; see `is_meant`.

    Python in texts is left out, because the code of a function does not tell which of its texts are evaluated.
    """
    codes = [code]
    called: set[str] = set()
    for one in codes:
        called |= {*one.co_names} & (_WITH_AT | _SQL)
        codes += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    found: dict[str, bool] = {}
    for one in codes if called else ():
        own = {*one.co_varnames, *one.co_cellvars, *one.co_freevars}
        for text in texts_in(one.co_consts):
            if called & _SQL:
                found |= {name: found.get(name, True) for name in _TABLE.findall(text) if name not in own}
            if called & _WITH_AT:
                found |= {name: False for name in names_behind_at(text) if name not in own}
    return found


def texts_in(constants: Iterable[object]) -> Iterator[str]:
    """Yield the texts among the constants of code, also those in tuples and sets."""
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            yield from texts_in(constant)
