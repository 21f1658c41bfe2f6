"""Names of variables that stand in texts: ``df.query("a > @limit")`` reads the variable ``limit``.

pandas, and all that does as it does, takes such a variable out of the frames that called it. Neither Python's compiler
nor cloudpickle sees that the code needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from types import CodeType

__all__ = ["may_read_texts", "names_behind_at", "names_in_constants"]

# Methods and functions whose texts may name variables, as `df.query` and `pd.eval` do.
_READS_TEXTS = frozenset({"query", "eval"})
# not in an address such as me@example, nor pandas' own complaint of "@@"
_BEHIND_AT = re.compile(r"(?<![\w@.])@\s*([^\W\d]\w*)")


def may_read_texts(source: str) -> bool:
    """Tell whether a cell may call what reads variables that stand in texts."""
    return "@" in source and any(name in source for name in _READS_TEXTS)


def names_behind_at(text: str) -> list[str]:
    """Return the names that a text marks as variables of Python with an ``@``, each once."""
    return list(dict.fromkeys(_BEHIND_AT.findall(text))) if "@" in text else []


def names_in_constants(code: CodeType) -> set[str]:
    """Return the global names that texts in a function's code may stand for, those of the functions in it too.

    Parameters
    ----------
    code : types.CodeType
        Code of a function. It is looked through only where it names what may read texts.
    """
    found: set[str] = set()
    todo = [code]
    reads = False
    for one in todo:
        reads = reads or not _READS_TEXTS.isdisjoint(one.co_names)
        todo += [constant for constant in one.co_consts if type(constant) is CodeType]
    if not reads:
        return found
    for one in todo:
        own = {*one.co_varnames, *one.co_cellvars, *one.co_freevars}
        found |= {name for text in _texts(one.co_consts) for name in names_behind_at(text) if name not in own}
    return found


def _texts(constants: Iterable[object]) -> Iterator[str]:
    for constant in constants:
        if type(constant) is str:
            yield constant
        elif type(constant) is tuple or type(constant) is frozenset:
            yield from _texts(constant)
