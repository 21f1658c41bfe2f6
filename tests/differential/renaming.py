"""`with_own_names`: many cases live in one notebook, and travel with one launch, because each has names of its own."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from dataclasses import replace

from tests.differential.case import Case

__all__ = ["with_own_names"]


def with_own_names(case: Case, number: int) -> Case:
    """Return the case with the number appended to the names that its cells bind, imports apart.

    A string that is just such a name is changed too, as in ``TypeVar("T")``.

    Raises
    ------
    ValueError
        If a name is bound in a function or class of the case too: it could not be told which is meant.
    """
    texts = [*case.cells, *case.looks]
    names: set[str] = set()
    inner: set[str] = set()
    for text in texts:
        table = symtable.symtable(text, case.name, "exec")
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() and _is_own(symbol)}
        inner |= set(_bound_inside(table))
    if names & inner:
        raise ValueError(f"case {case.name!r}: {sorted(names & inner)} are bound at the top and further in")
    renamed = _Renamed({name: f"{name}_{number}" for name in names})
    return replace(
        case,
        cells=tuple(map(renamed.text, case.cells)),
        looks=tuple(map(renamed.text, case.looks)),
        backs=tuple(map(renamed.text, case.backs)),
    )


def _is_own(symbol: symtable.Symbol) -> bool:
    return not symbol.is_imported() and not symbol.get_name().startswith("__")


def _bound_inside(table: symtable.SymbolTable) -> Iterator[str]:
    for child in table.get_children():
        for symbol in child.get_symbols():
            if (symbol.is_assigned() or symbol.is_parameter()) and not symbol.is_global():
                yield symbol.get_name()
        yield from _bound_inside(child)


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def text(self, source: str) -> str:
        return ast.unparse(self.visit(ast.parse(source)))

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._new(node.id), node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant(self._new(node.value)) if isinstance(node.value, str) else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            node.name = self._new(node.name)
        elif isinstance(node, ast.Global):
            node.names = [self._new(name) for name in node.names]
        elif isinstance(node, ast.ExceptHandler) and node.name:
            node.name = self._new(node.name)
        return node

    def _new(self, name: str) -> str:
        return self._names.get(name, name)
