"""Names of variables that code looks up by their names: ``globals()["k"]``, ``__main__.k``.

Which of a function's texts are meant, its code does not tell. So all that could be one are named here; those that are
variables of the notebook, and can be sent, travel.
"""

from __future__ import annotations

import re
from types import CodeType

from nblaunch.payload.names_in_text import texts_in

__all__ = ["NAMESPACES", "names_looked_up", "names_looked_up_by"]

NAMESPACES = frozenset({"globals", "user_ns", "user_global_ns"})
"""Names that lead to the variables of the notebook from everywhere; in a cell ``locals()`` and ``vars()`` do so too."""

_IMPORTING = frozenset({"modules", "import_module", "__import__"})
# what stands in templates for a variable: of jinja2 and mako, of str.format, of %, and of string.Template
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
_FIELD = re.compile(r"\{\s*([^\W\d]\w*)|%\((\w+)\)|\$\{?([^\W\d]\w*)")


def names_looked_up(text: str) -> list[str]:
    """Return what a text may name, each once: the name that it is, or those in the places of a template.

    Parameters
    ----------
    text : str
        A constant of code that looks variables up by their names.
    """
    if text.isidentifier():
        return [text]
    found = [name for groups in _EXPRESSION.findall(text) for name in _NAME.findall("".join(groups))]
    found += ["".join(groups) for groups in _FIELD.findall(text)]
    return list(dict.fromkeys(found))


def names_looked_up_by(code: CodeType) -> list[str]:
    """Return what a function may look up by its name, each once; nothing if it does not look into namespaces."""
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
    # of what is imported from a module, and of its attributes, code keeps the names
    found = dict(names) if in_main else {}
    for text in texts:
        found |= dict.fromkeys(names_looked_up(text))
    return list(found)
