"""`Texts`: which constants and attributes of a cell may name variables, as in ``globals()["limit"]``.

Most cells look up no variable by its name. `texts_of` finds that out by a search of the source, before it walks the
tree.
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from nblaunch.payload.names_in_text import may_mark_names, names_behind_at
from nblaunch.payload.names_looked_up import NAMESPACES, names_looked_up

_OF_A_CELL = frozenset({"locals", "vars"})
_WORDS = NAMESPACES | _OF_A_CELL | {"__main__"}


class Texts(NamedTuple):
    """How texts and attributes of a cell may name variables.

    Attributes
    ----------
    marked : bool
        Whether texts may mark variables with an ``@``: ``"a > @limit"``.
    looked_up : bool
        Whether the cell may look variables up in a namespace: ``globals()["limit"]``.
    mains : frozenset of str
        Names under which the cell has the module ``__main__``.
    """

    marked: bool = False
    looked_up: bool = False
    mains: frozenset[str] = frozenset()

    def names_behind_at(self, text: str) -> list[str]:
        """Return the names that a text marks with an ``@``."""
        return names_behind_at(text) if self.marked else []

    def names_looked_up(self, text: str) -> list[str]:
        """Return the names of global variables that a text may be used to look up."""
        return names_looked_up(text) if self.looked_up else []

    def is_main(self, owner: ast.expr) -> bool:
        """Tell whether an expression stands for the module ``__main__``."""
        match owner:
            case ast.Name():
                return owner.id in self.mains
            case ast.Subscript():
                return _is_main_text(owner.slice)
            case ast.Call():
                return any(map(_is_main_text, owner.args))
        return False


def texts_of(source: str, tree: ast.AST) -> Texts:
    """Find out how texts and attributes of a cell may name variables."""
    marked = may_mark_names(source)
    if not any(word in source for word in _WORDS):
        return Texts(marked)
    looks_up = False
    mains = {"__main__"}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in NAMESPACES or name == "__main__":
                looks_up = True
            case ast.Call(func=ast.Name(id=name), args=[], keywords=[]) if name in _OF_A_CELL:
                looks_up = True
            case ast.Call(args=[first, *_]) if _is_main_text(first):
                looks_up = True
            case ast.Subscript(slice=key) if _is_main_text(key):
                looks_up = True
            case ast.alias(name="__main__"):
                looks_up = True
                mains.add(node.asname or node.name)
    return Texts(marked, looks_up, frozenset(mains))


def _is_main_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == "__main__"
