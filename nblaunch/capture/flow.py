"""The walk over statements, in the order in which they run.

Reads and bindings are reported to a ledger, each with what is *certainly* assigned at that point. Where branches meet,
that is what each of them has assigned; a branch that ends in ``raise``, ``return``, ``continue`` or ``break`` does not
reach that point.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, cast

from nblaunch.capture.expressions import NO_TEXTS, Expressions, State, copied, joined
from nblaunch.capture.scopes import Scope, class_scope, evaluated_arguments, function_scope, imported_name
from nblaunch.capture.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nblaunch.capture.deferred import Body, Ledger

PASSIVE_DECORATORS = frozenset(
    {
        *("property", "cached_property", "staticmethod", "classmethod", "abstractmethod"),
        *("override", "overload", "final", "wraps", "cache", "lru_cache", "total_ordering"),
        *("contextmanager", "asynccontextmanager", "dataclass"),
    }
)
"""Decorators that do not run what they decorate, by the last part of their name."""

SWALLOWING = frozenset(
    {
        *("suppress", "ExitStack", "AsyncExitStack", "CancelScope", "move_on_after", "move_on_at"),
        *("raises", "assertRaises", "assertRaisesRegex", "subTest"),
    }
)
"""Context managers that may end their body early without an exception, by the last part of their name."""


class Flow(Expressions):
    """The walk over statements and expressions. `assigned` is what is certainly assigned at the current point."""

    def __init__(self, scope: Scope, ledger: Ledger, *, annotations: bool, texts: Texts = NO_TEXTS) -> None:
        super().__init__(scope, ledger, annotations=annotations, texts=texts)
        self._breaks: list[list[State]] = []  # for each enclosing loop, the states at its ``break``
        self._methods: list[Body] | None = None  # collected while a class body runs

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Walk statements, up to one after which no code can be reached."""
        for statement in body:
            if self.assigned is None:
                return
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign():
                self.expr(node.value)
                for target in node.targets:
                    self.target(target)
            case ast.AugAssign():
                if isinstance(node.target, ast.Name):
                    self.load(node.target.id, node.target)
                    self.expr(node.value)
                    self.bind(node.target.id)
                else:
                    self.expr(*ast.iter_child_nodes(node.target), node.value)
            case ast.AnnAssign():
                self._annotated(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node)
            case ast.ClassDef():
                self._class(node)
            case ast.If():
                self._if(node)
            case ast.For() | ast.AsyncFor() | ast.While():
                self._loop(node)
            case ast.With() | ast.AsyncWith():
                self._with(node)
            case ast.Match():
                self._match(node)
            case ast.Import() | ast.ImportFrom():
                if isinstance(node, ast.ImportFrom) and node.module == "__main__":
                    for alias in node.names:
                        self.look_up(alias.name, node)
                for name in map(imported_name, node.names):
                    if name is not None:
                        self.bind(name)
            case ast.Delete():
                for target in node.targets:
                    self._delete(target)
            case ast.Assert():
                holds, fails = self.condition(node.test)
                self._branch(fails, node.msg)
                self.assigned = holds
            case ast.Return() | ast.Raise():
                self.expr(*ast.iter_child_nodes(node))
                self.assigned = None
            case ast.Break():
                self._breaks[-1].append(self.assigned)
                self.assigned = None
            case ast.Continue():
                self.assigned = None
            case _ if type(node).__name__ in ("Try", "TryStar"):  # TryStar: Python 3.11
                self._try(cast("ast.Try", node))
            case _ if type(node).__name__ == "TypeAlias":  # Python 3.12
                self._type_alias(node)
            case _:
                self.expr(node)

    def _annotated(self, node: ast.AnnAssign) -> None:
        self.expr(node.value)
        if node.value is not None:
            self.target(node.target)
        elif not isinstance(node.target, ast.Name):
            self.expr(*ast.iter_child_nodes(node.target))
        if self.annotations and self.scope.kind != "function":
            self.expr(node.annotation)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.expr(*node.decorator_list, *evaluated_arguments(node.args))
        with self.inside(self._type_parameters(node)):
            if self.annotations:
                every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                extra = (node.args.vararg, node.args.kwarg)
                self.expr(*(a.annotation for a in (*every, *extra) if a is not None), node.returns)
            body = self.body(function_scope(node, self.scope), node.body)
        self._define(node.name, [body], at_once=_may_run(node.decorator_list))

    def _class(self, node: ast.ClassDef) -> None:
        self.expr(*node.decorator_list)
        outer_methods, self._methods = self._methods, []
        outer_breaks, self._breaks = self._breaks, []
        with self.inside(self._type_parameters(node)):
            self.expr(*node.bases, *node.keywords)
            with self.inside(class_scope(node.body, self.scope, node.name)):
                self.block(node.body)
        self._breaks = outer_breaks
        methods, self._methods = self._methods, outer_methods
        # A metaclass or the hook that takes a class's keywords may call methods of the class.
        self._define(node.name, methods, at_once=bool(node.keywords) or _may_run(node.decorator_list))

    def _define(self, name: str, bodies: Collection[Body], *, at_once: bool) -> None:
        """Bind a name to deferred bodies."""
        if self.assigned is None:
            return
        if at_once:  # before the name is bound: a decorator that calls the function finds the name's old value
            self.ledger.run(bodies, self.assigned)
        key = self.bind(name)
        if key is None:
            self.ledger.run(bodies, self.assigned)
        elif not at_once:
            self.ledger.define(key, bodies, self.assigned)
            if self._methods is not None:
                self._methods.extend(bodies)

    def _type_parameters(self, node: ast.AST) -> Scope:
        """Walk the type parameters (Python 3.12) and return the scope that holds them."""
        parameters: list[ast.AST] = getattr(node, "type_params", [])
        if not parameters:
            return self.scope
        names = {self.scope.mangled(parameter.name) for parameter in parameters}  # type: ignore[attr-defined]
        scope = Scope("function", self.scope, names, private=self.scope.private)
        with self.inside(scope):
            self.expr(*parameters)
        return scope

    def _type_alias(self, node: ast.AST) -> None:
        with self.inside(self._type_parameters(node)):
            value: ast.expr = node.value  # type: ignore[attr-defined]
            body = self.body(Scope("function", self.scope, private=self.scope.private), value)
        self._define(node.name.id, [body], at_once=False)  # type: ignore[attr-defined]

    def _if(self, node: ast.If) -> None:
        ends: list[State] = []
        with self.maybe():
            while True:
                self.assigned, otherwise = self.condition(node.test)
                self.block(node.body)
                ends.append(self.assigned)
                self.assigned = otherwise
                match node.orelse:
                    case [ast.If() as node]:
                        continue  # without recursion: each elif of a chain is nested in the one before
                self.block(node.orelse)
                break
        self.assigned = joined(*ends, self.assigned)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        around = self.in_loop
        if not isinstance(node, ast.While):
            self.expr(node.iter)
        self.in_loop: bool = True
        with self.maybe():
            after: State
            if isinstance(node, ast.While):
                endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
                self.assigned, after = self.condition(node.test)
                after = None if endless else after
            else:
                after = copied(self.assigned)
                self.target(node.target)
            self._breaks.append([])
            self.block(node.body)
            breaks = self._breaks.pop()
            self.assigned = after
            self.block(node.orelse)
        self.assigned = joined(self.assigned, *breaks)
        self.in_loop = around

    def _try(self, node: ast.Try) -> None:
        before = copied(self.assigned)
        with self.maybe():
            self.block(node.body)
            self.block(node.orelse)
            ends = [self.assigned]
            for handler in node.handlers:
                self.assigned = copied(before)
                self.expr(handler.type)
                if handler.name is not None:
                    self.bind(handler.name)
                self.block(handler.body)
                if handler.name is not None:
                    self.unbind(handler.name)
                ends.append(self.assigned)
            # once as after an exception that goes on, and once as after an ordinary end
            for self.assigned in (before, joined(*ends)):
                self.block(node.finalbody)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.expr(item.context_expr)
            if item.optional_vars is not None:
                self.target(item.optional_vars)
        entered = copied(self.assigned)
        swallows = any(_last_name(item.context_expr) in SWALLOWING for item in node.items)
        with self.maybe(swallows):
            self.block(node.body)
        if self.assigned is None:
            self.assigned = entered  # any context manager may catch what its body raises
        elif swallows:
            self.assigned = joined(entered, self.assigned)

    def _match(self, node: ast.Match) -> None:
        self.expr(node.subject)
        ends: list[State] = []
        with self.maybe():
            for case in node.cases:
                unmatched = copied(self.assigned)
                names: list[str | None] = []
                for part in ast.walk(case.pattern):  # names are bound once the whole pattern has matched
                    match part:
                        case ast.MatchValue():
                            self.expr(part.value)
                        case ast.MatchClass():
                            self.expr(part.cls)
                        case ast.MatchMapping():
                            self.expr(*part.keys)
                            names.append(part.rest)
                        case ast.MatchAs() | ast.MatchStar():
                            names.append(part.name)
                for name in names:
                    if name is not None:
                        self.bind(name)
                if case.guard is not None:
                    self.assigned, _ = self.condition(case.guard)
                self.block(case.body)
                ends.append(self.assigned)
                always = case.guard is None and _matches_all(case.pattern)
                self.assigned = None if always else unmatched
        self.assigned = joined(*ends, self.assigned)

    def _delete(self, target: ast.expr) -> None:
        match target:
            case ast.Name():
                self.load(target.id, target)
                self.unbind(target.id)
            case ast.Tuple() | ast.List():
                for element in target.elts:
                    self._delete(element)
            case _:
                self.expr(*ast.iter_child_nodes(target))


def _last_name(expression: ast.expr) -> str:
    """Return ``c`` for ``c``, ``a.b.c`` and calls of them, "" for anything else."""
    if isinstance(expression, ast.Call):
        expression = expression.func
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""


def _may_run(decorators: list[ast.expr]) -> bool:
    return any(_last_name(decorator) not in PASSIVE_DECORATORS for decorator in decorators)


def _matches_all(pattern: ast.pattern) -> bool:
    if isinstance(pattern, ast.MatchOr):
        return _matches_all(pattern.patterns[-1])
    return isinstance(pattern, ast.MatchAs) and (pattern.pattern is None or _matches_all(pattern.pattern))
