"""The walk over expressions and assignment targets, in the order in which Python evaluates them.

Reads and bindings are reported to a ledger, with what is certainly assigned at that point. Plain expressions are walked
with a stack instead of recursion: a sum of two thousand terms is nested two thousand deep.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nblaunch.capture.deferred import Body, Ledger, Read, Summary
from nblaunch.capture.scopes import (
    Key,
    Scope,
    block_scope,
    class_scope,
    comprehension_scope,
    evaluated_arguments,
    function_scope,
)
from nblaunch.capture.shelltext import Bound, Code, Expanded, embedded
from nblaunch.capture.texts import Texts
from nblaunch.payload.names_in_text import EVALUATING, names_in_argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_TEXTS = Texts()

State = set[Key] | None
"""The names that are certainly assigned; None where the code cannot be reached."""


def copied(state: State) -> State:
    """Return a copy of a state."""
    return None if state is None else set(state)


def joined(*states: State) -> State:
    """Return what is certainly assigned where several branches meet."""
    reached = [state for state in states if state is not None]
    return set.intersection(*reached) if reached else None


def _last_name(function: ast.expr) -> str:
    """Return ``c`` of ``a.b.c``, and of ``c``."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _names_in_texts(call: ast.Call) -> dict[str, bool]:
    """Return the names in the constant texts of a call that evaluates them, and whether as a table only."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    texts = [
        part.value
        for argument in arguments
        for part in ast.walk(argument)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    found: dict[str, bool] = {}
    for text in texts:
        for name, as_table in names_in_argument(_last_name(call.func), text).items():
            found[name] = as_table and found.get(name, True)
    return found


class Expressions(ABC):
    """The walk over expressions; the subclass `nblaunch.capture.flow.Flow` adds statements.

    Parameters
    ----------
    scope : Scope
        Where names are looked up.
    ledger : Ledger
        Where reads are reported.
    annotations : bool
        Whether annotations are evaluated.
    texts : Texts
        How texts may name variables.
    """

    def __init__(self, scope: Scope, ledger: Ledger, *, annotations: bool, texts: Texts = NO_TEXTS) -> None:
        self.scope: Scope = scope
        self.ledger = ledger
        self.annotations = annotations
        self.texts = texts
        self.assigned: State = set()
        self.bound: set[str] = set()  # global names that are bound in any branch
        self.in_loop = False
        self.branches: int = 0  # number of enclosing constructs that may or may not run

    @abstractmethod
    def block(self, body: Sequence[ast.stmt]) -> None:
        """Walk statements."""

    def expr(self, *expressions: ast.AST | None) -> None:
        """Walk expressions, one after the other."""
        todo: list[ast.AST] = [node for node in reversed(expressions) if node is not None]
        while todo:
            node = todo.pop()
            match node:
                case ast.Name():
                    self.load(node.id, node)
                case ast.NamedExpr():
                    self.expr(node.value)
                    self.bind(node.target.id)
                case ast.Lambda():
                    self.expr(*evaluated_arguments(node.args))
                    self.run([self.body(function_scope(node, self.scope), node.body)])
                case ast.BoolOp():
                    self.assigned = joined(*self.condition(node))
                case ast.IfExp():
                    true, false = self.condition(node.test)
                    self.assigned = joined(self._branch(true, node.body), self._branch(false, node.orelse))
                case ast.Compare(comparators=[_, _, *_]):
                    self.expr(node.left, node.comparators[0])
                    self._branch(self.assigned, *node.comparators[1:])
                case ast.Dict():
                    self.expr(*(part for pair in zip(node.keys, node.values, strict=True) for part in pair))
                case ast.Call() if (found := embedded(node)) is not None:
                    self.expr(*node.args)
                    for piece in found:
                        self._embedded(piece)
                case ast.Call() if _last_name(node.func) in EVALUATING:
                    for name, as_table in _names_in_texts(node).items():
                        self.load(name, node, in_text=True, as_table=as_table)
                    todo.extend(reversed(list(ast.iter_child_nodes(node))))
                case ast.Constant(value=str(text)):
                    for name in self.texts.names_behind_at(text):
                        self.load(name, node, in_text=True)
                    for name in self.texts.names_looked_up(text):
                        self.look_up(name, node)
                case ast.Attribute(ctx=ast.Load()) if self.texts.looked_up and self.texts.is_main(node.value):
                    self.look_up(node.attr, node)
                    todo.append(node.value)
                case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                    self._comprehension(node.generators, node.elt)
                case ast.DictComp():
                    self._comprehension(node.generators, node.key, node.value)
                case _:
                    todo.extend(reversed(list(ast.iter_child_nodes(node))))

    def condition(self, test: ast.expr) -> tuple[State, State]:
        """Walk a test; return the state if it is true, and the state if it is false."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            true, false = self.condition(test.operand)
            return false, true
        if not isinstance(test, ast.BoolOp):
            self.expr(test)
            return self.assigned, copied(self.assigned)
        is_and = isinstance(test.op, ast.And)
        left_early: list[State] = []
        for number, value in enumerate(test.values):
            with self.maybe(number > 0):
                true, false = self.condition(value)
            left_early.append(false if is_and else true)
            self.assigned = copied(true if is_and else false)
        early = joined(*left_early)
        return (self.assigned, early) if is_and else (early, self.assigned)

    def target(self, node: ast.expr) -> None:
        """Walk what is assigned to."""
        match node:
            case ast.Name():
                self.bind(node.id)
            case ast.Tuple() | ast.List():
                for element in node.elts:
                    self.target(element)
            case ast.Starred():
                self.target(node.value)
            case _:  # assigning to an attribute or an item reads the object
                self.expr(*ast.iter_child_nodes(node))

    def load(self, name: str, node: ast.AST, *, in_text: bool = False, as_table: bool = False) -> None:
        """Report that a name is read; for `in_text` and `as_table` see `Read`."""
        if self.assigned is None:
            return
        inner = self.scope.class_key(name)
        if inner is not None:
            self.ledger.read_inner(inner, self.assigned, again=self.in_loop)
            if inner in self.assigned:
                return
        key = self.scope.read_key(name)
        if key is not None:
            read = Read(key, getattr(node, "lineno", 1), getattr(node, "col_offset", 0), in_text, as_table)
            self.ledger.read(read, self.assigned, again=self.in_loop)

    def look_up(self, name: str, node: ast.AST) -> None:
        """Report that a global variable may be looked up by its name, even if this scope has that name too."""
        if self.assigned is not None:
            read = Read(name, getattr(node, "lineno", 1), getattr(node, "col_offset", 0), in_text=True)
            self.ledger.read(read, self.assigned, again=self.in_loop)

    def bind(self, name: str) -> Key | None:
        """Note that a name is assigned; return its key, or None for a local variable of a function."""
        key = self.scope.bind_key(name)
        if key is not None and self.assigned is not None:
            self.assigned.add(key)
            if isinstance(key, str):
                self.bound.add(key)
            if not self.branches:
                self.ledger.forget(key)
        return key

    def unbind(self, name: str) -> None:
        """Note that a name is deleted."""
        key = self.scope.bind_key(name)
        if key is not None and self.assigned is not None:
            self.assigned.discard(key)

    def run(self, bodies: Sequence[Body]) -> None:
        """Report that bodies may run from here on."""
        if self.assigned is not None:
            self.ledger.run(bodies, self.assigned)

    def body(self, scope: Scope, code: Sequence[ast.stmt] | ast.expr) -> Body:
        """Return deferred code as a `Body`, not walked yet."""

        def walk() -> list[Read]:
            summary = Summary([])
            inner = type(self)(scope, summary, annotations=self.annotations, texts=self.texts)
            if isinstance(code, ast.expr):
                inner.expr(code)
            else:
                inner.block(code)
            return summary.reads

        return Body(walk)

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """Look names up in another scope for a while."""
        outer, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = outer

    @contextmanager
    def maybe(self, uncertain: bool = True) -> Iterator[None]:
        """Walk code that may or may not run."""
        self.branches += uncertain
        try:
            yield
        finally:
            self.branches -= uncertain

    def _branch(self, state: State, *expressions: ast.AST | None) -> State:
        """Walk expressions from a state, and return the state at their end; the present state stays."""
        kept, self.assigned = copied(self.assigned), copied(state)
        with self.maybe():
            self.expr(*expressions)
        end, self.assigned = self.assigned, kept
        return end

    def _comprehension(self, generators: list[ast.comprehension], *elements: ast.expr) -> None:
        self.expr(generators[0].iter)  # the only part that belongs to the scope outside
        kept = copied(self.assigned)
        with self.inside(comprehension_scope(generators, self.scope)), self.maybe():
            for number, generator in enumerate(generators):
                if number:
                    self.expr(generator.iter)
                self.target(generator.target)
                for test in generator.ifs:
                    self.assigned, _ = self.condition(test)
            self.expr(*elements)
        self.assigned = kept

    def _embedded(self, piece: Expanded | Code | Bound) -> None:
        """Walk an expression or code of a magic or shell command, or a name that it binds."""
        match piece:
            case Expanded():
                self.expr(piece.expression)
            case Bound():
                self.bind(piece.name)
            case Code(in_function=True):
                self.run([self.body(block_scope(piece.body, self.scope), piece.body)])
            case Code() if self.scope.kind == "module":
                self.block(piece.body)
            case Code():
                # IPython runs it by exec() with a copy of the caller's locals: what it assigns does not come back.
                with self.inside(class_scope(piece.body, self.scope)):
                    self.block(piece.body)
