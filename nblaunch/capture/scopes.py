"""`Scope`: which variable a name means in a part of the cell (a function, a class body, a comprehension).

It turns a name into a `Key`: a string for a global variable, a pair for a variable of a class body, or None for a local
variable, which the notebook cannot have. The standard library's `symtable` cannot be used: its tables do not say which
AST node they belong to, and it does not know code inside magics.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Key = str | tuple[int, str]
Comprehension: tuple[type[ast.expr], ...] = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NAMED = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.ExceptHandler, ast.MatchAs, ast.MatchStar),
)
_serials = count()


@dataclass(eq=False)
class Scope:
    """One namespace of the cell.

    Attributes
    ----------
    kind : {"module", "class", "function", "comprehension"}
        "class" also stands for code that runs with a mapping of locals of its own, such as the code of a magic.
    bound : set of str
        The names that a function or comprehension binds itself.
    to_global, to_outer : set of str
        The names in its ``global`` and ``nonlocal`` declarations.
    private : str
        Name of the class whose private names (``__x``) are mangled here, or "".
    serial : int
        Distinguishes the keys of class bodies. An `id` would not do, because it may be used again.
    """

    kind: Literal["module", "class", "function", "comprehension"]
    parent: Scope | None = None
    bound: set[str] = field(default_factory=set)
    to_global: set[str] = field(default_factory=set)
    to_outer: set[str] = field(default_factory=set)
    private: str = ""
    serial: int = field(default_factory=lambda: next(_serials))

    def mangled(self, name: str) -> str:
        """Return `name` as the compiler stores it: ``__x`` inside ``class C`` is ``_C__x``."""
        owner = self.private.lstrip("_")
        if not owner or not name.startswith("__") or name.endswith("__") or "." in name:
            return name
        return f"_{owner}{name}"

    def class_key(self, name: str) -> Key | None:
        """Return the key of `name` in this class body, or None if it cannot live there."""
        name = self.mangled(name)
        if self.kind != "class" or name in self.to_global or name in self.to_outer:
            return None
        return (self.serial, name)

    def read_key(self, name: str) -> str | None:
        """Return the global name that reading `name` outside class bodies means, or None for a local variable."""
        name = self.mangled(name)
        scope: Scope | None = self
        inside_function = False
        while scope is not None and scope.kind != "module":
            if name in scope.to_global:
                return name
            if scope.kind == "class":
                # Only `__class__`, which `super()` needs, is visible to the functions of a class.
                if inside_function and name == "__class__":
                    return None
            elif name in scope.bound and name not in scope.to_outer:
                return None
            inside_function = inside_function or scope.kind == "function"
            scope = scope.parent
        return name

    def bind_key(self, name: str) -> Key | None:
        """Return the key that binding `name` here writes to, or None for a local variable of a function."""
        scope = self
        while scope.kind == "comprehension" and scope.parent is not None:
            if scope.mangled(name) in scope.bound:
                return None
            scope = scope.parent  # ``:=`` in a comprehension binds in the scope around it
        if scope.kind == "class":
            return scope.class_key(name) or (self.mangled(name) if name in scope.to_global else None)
        if scope.kind == "function" and scope.mangled(name) not in scope.to_global:
            return None
        return scope.mangled(name)


def function_scope(node: Function, parent: Scope) -> Scope:
    """Return the scope of the body of a function or lambda."""
    arguments = node.args
    scope = Scope("function", parent, private=parent.private)
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        scope.bound.add(scope.mangled(argument.arg))
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            scope.bound.add(scope.mangled(extra.arg))
    _declare(scope, [node.body] if isinstance(node, ast.Lambda) else node.body)
    return scope


def block_scope(body: list[ast.stmt], parent: Scope) -> Scope:
    """Return the scope of statements that run as the body of a function without parameters."""
    scope = Scope("function", parent, private=parent.private)
    _declare(scope, body)
    return scope


def class_scope(body: list[ast.stmt], parent: Scope, private: str = "") -> Scope:
    """Return the scope of a class body (or of code run with a mapping of locals)."""
    scope = Scope("class", parent, private=private or parent.private)
    _declare(scope, body)
    scope.bound.clear()  # a read falls through to the outer names wherever the class has not assigned it
    return scope


def comprehension_scope(generators: list[ast.comprehension], parent: Scope) -> Scope:
    """Return the scope of a comprehension: only its targets belong to it."""
    targets = [name for generator in generators for name in ast.walk(generator.target)]
    names = {node.id for node in targets if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return Scope("comprehension", parent, {parent.mangled(name) for name in names}, private=parent.private)


def _declare(scope: Scope, body: Iterable[ast.AST]) -> None:
    """Fill in what the statements of `scope` bind and declare, without entering inner scopes."""
    for node, in_comprehension in _own_nodes(body):
        names: Iterable[str | None] = ()
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load) and not in_comprehension:
                names = (node.id,)
        elif isinstance(node, ast.NamedExpr):
            names = (node.target.id,)
        elif isinstance(node, _NAMED):
            names = (node.name,)
        elif isinstance(node, ast.MatchMapping):
            names = (node.rest,)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [imported_name(alias) for alias in node.names]
        elif isinstance(node, ast.Global):
            scope.to_global.update(map(scope.mangled, node.names))
        elif isinstance(node, ast.Nonlocal):
            scope.to_outer.update(map(scope.mangled, node.names))
        scope.bound.update(scope.mangled(name) for name in names if name is not None)
    scope.bound -= scope.to_global | scope.to_outer


def imported_name(alias: ast.alias) -> str | None:
    """Return the name that a part of an import binds; None for ``*``, whose names are not known."""
    if alias.name == "*":
        return None
    return alias.asname or alias.name.partition(".")[0]


def _own_nodes(body: Iterable[ast.AST]) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the nodes of one scope, and for each whether it is inside a comprehension."""
    todo = [(node, False) for node in body]
    while todo:
        node, in_comprehension = todo.pop()
        yield node, in_comprehension
        inner: Iterable[ast.AST]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = [*node.decorator_list, *evaluated_arguments(node.args)]
        elif isinstance(node, ast.ClassDef):
            inner = [*node.decorator_list, *node.bases, *node.keywords]
        elif isinstance(node, ast.Lambda):
            inner = evaluated_arguments(node.args)
        else:
            inner = ast.iter_child_nodes(node)
        in_comprehension = in_comprehension or isinstance(node, Comprehension)
        todo.extend((child, in_comprehension) for child in inner)


def evaluated_arguments(arguments: ast.arguments) -> list[ast.expr]:
    """Return the defaults of a function: the part of its arguments that is evaluated with its definition."""
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]
