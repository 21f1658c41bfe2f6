"""Names of variables that code looks up in a namespace: ``globals()["k"]``, ``__main__.k``.

The code of a function does not tell which of its texts are such names. So all texts that could be are returned, and of
these, the variables of the notebook that can be sent are sent.
"""

from __future__ import annotations

import re
from types import CodeType

from nblaunch.payload.names_in_text import texts_in

__all__ = ["NAMESPACES", "names_looked_up", "names_looked_up_by"]

NAMESPACES = frozenset({"globals", "user_ns", "user_global_ns"})
"""Names that lead to the notebook's variables from any code; in a cell, ``locals()`` and ``vars()`` do so too."""

_IMPORTING = frozenset({"modules", "import_module", "__import__"})
# Variables in templates: of jinja2 (expressions); and of str.format, %, string.Template and mako (fields).
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
_FIELD = re.compile(r"\{\s*([^\W\d]\w*)|%\((\w+)\)|\$\{?([^\W\d]\w*)")


def names_looked_up(text: str) -> list[str]:
    """Return the names that a text may mean, each once: the text itself, or the variables of a template.

    Parameters
    ----------
    text : str
        A constant of code that looks into a namespace.
    """
    if text.isidentifier():
        return [text]
    found = [name for groups in _EXPRESSION.findall(text) for name in _NAME.findall("".join(groups))]
    found += ["".join(groups) for groups in _FIELD.findall(text)]
    return list(dict.fromkeys(found))


def names_looked_up_by(code: CodeType) -> list[str]:
    """Return the names that a function may look up in a namespace, each once; none if it uses no namespace."""
    codes = [code]
    names: dict[str, None] = {}
    texts: dict[str, None] = {}
    for one in codes:
        names |= dict.fromkeys(one.co_names)
        texts |= dict.fromkeys(texts_in(one.co_consts))
        codes += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    in_main = "__main__" in names or ("__main__" in texts and not _IMPORTING.isdisjoint(names))
    if not in_main and NAMESPACES.isdisjoint(names):
        return []
    # `co_names` has what code imports from __main__, and attributes of it
    found = dict(names) if in_main else {}
    for text in texts:
        found |= dict.fromkeys(names_looked_up(text))
    return list(found)
