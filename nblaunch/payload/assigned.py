"""How a class computes the hash that it keeps in an attribute, as an expression that needs only the object.

::

    def __init__(self, name, deps):
        self.name = name
        self.deps = tuple(deps)
        key = (name, self.deps)
        self._hash = hash(key)              ─►  hash((self.name, self.deps))

The sender finds the expression in the source of the class, and the receiver computes it. For what it is needed, see
`nblaunch.payload.hashes`.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType

__all__ = ["Recipe", "evaluate", "recipes"]

Recipe = tuple[int, str, str]
"""The function that assigns the attribute (by its class's place in the MRO, and its name), and the expression."""

# Levels of local variables that are replaced by what they were assigned; one may be assigned from itself.
_MAX_DEPTH = 20
# Stands for the expression of a function whose source cannot be read.
_NO_SOURCE = ""
_SETTERS = ("__setattr__", "setattr", "_setattr")
# The variable that holds the object, the name of the attribute, and the value.
_Assigned = tuple[str, str, ast.expr]


def recipes(kind: type, names: set[str]) -> Iterator[Recipe]:
    """Yield what the methods of a class assign to these attributes, if it calls a function with "hash" in its name.

    Other expressions are not computed again: that could draw the next random number, for example, or open a file.
    """
    for place, owner in enumerate(kind.__mro__):
        for key in vars(owner):
            function = _function(kind, place, key)
            if function is None or not names & {*function.__code__.co_names, *_texts(function)}:
                continue
            try:
                tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
            except (OSError, SyntaxError, TypeError, IndexError):
                if any("hash" in name for name in {*function.__code__.co_names} - names):
                    yield place, key, _NO_SOURCE
            else:
                if isinstance(tree, ast.FunctionDef):
                    for text in _assigned_expressions(tree, names, owner.__name__):
                        yield place, key, text


def evaluate(recipe: Recipe, obj: object) -> int:
    """Compute the expression for an object of the class.

    Raises
    ------
    Exception
        Any error of the expression.
    """
    place, key, text = recipe
    function = _function(type(obj), place, key)
    assert function is not None
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    free = {name: cell.cell_contents for name, cell in cells if name != "__class__"}
    compute = eval(f"lambda self{''.join(f', {name}' for name in free)}: {text}", function.__globals__)
    computed: int = compute(obj, *free.values())
    return computed


def _function(kind: type, place: int, key: str) -> FunctionType | None:
    found = vars(kind.__mro__[place]).get(key)
    found = getattr(found, "__func__", found)  # __new__ is a static method
    return found if isinstance(found, FunctionType) else None


def _texts(function: FunctionType) -> set[str]:
    return {one for one in function.__code__.co_consts if isinstance(one, str)}


def _assigned_expressions(function: ast.FunctionDef, names: set[str], owner: str) -> Iterator[str]:
    assigned = list(_assignments(function, owner))
    local = _Local(function, assigned)
    for _, name, value in assigned:
        if name in names and _is_made_by_hashing(value):
            with contextlib.suppress(RecursionError):
                yield ast.unparse(_rewritten(value, local, owner, 0))


def _is_made_by_hashing(expression: ast.expr) -> bool:
    called = [node.func for node in ast.walk(expression) if isinstance(node, ast.Call)]
    return any("hash" in (one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "")) for one in called)


def _assignments(function: ast.FunctionDef, owner: str) -> Iterator[_Assigned]:
    """Yield all assignments to attributes in a function."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value, owner)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from _assigned(node.target, node.value, owner)
        elif isinstance(node, ast.Call):
            yield from _set_by_call(node)


def _assigned(target: ast.expr, value: ast.expr, owner: str) -> Iterator[_Assigned]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, its in zip(target.elts, value.elts, strict=True):
            yield from _assigned(one, its, owner)
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        yield target.value.id, _mangled(target.attr, owner), value
    elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        # self.__dict__["name"] = value
        whose = target.value
        if isinstance(whose, ast.Attribute) and whose.attr == "__dict__" and isinstance(whose.value, ast.Name):
            yield whose.value.id, str(target.slice.value), value


def _set_by_call(call: ast.Call) -> Iterator[_Assigned]:
    """Yield what a call assigns, as ``object.__setattr__(self, "name", value)`` and ``setattr`` do."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called in _SETTERS and len(call.args) in (2, 3):
        *whose, name, value = call.args
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield (whose[0].id if whose and isinstance(whose[0], ast.Name) else ""), name.value, value


def _mangled(name: str, owner: str) -> str:
    private = name.startswith("__") and not name.endswith("__")
    return f"_{owner.lstrip('_')}{name}" if private and owner.strip("_") else name


class _Local:
    """The local variables of a method: which of them are the object, its class, an attribute, or an expression."""

    def __init__(self, function: ast.FunctionDef, assigned: list[_Assigned]) -> None:
        arguments = function.args
        given = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        self.parameters = [one.arg for one in given if one is not None]
        # such as `hash` in def __init__(self, values, hash=hash)
        self.defaults = {one.id for one in (*arguments.defaults, *arguments.kw_defaults) if isinstance(one, ast.Name)}
        makes = function.name == "__new__"
        self.class_of = self.parameters[0] if makes and self.parameters else ""
        # __new__ has the object in a local variable, __init__ in its first parameter
        self.itself = {whose for whose, _, _ in assigned if whose} | set(() if makes else self.parameters[:1])
        self.attributes = {value.id: name for _, name, value in assigned if isinstance(value, ast.Name)}
        self.values: dict[str, ast.expr] = {}
        several: set[str] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                several |= {name} & self.values.keys()
                self.values[name] = node.value
        for name in several:
            del self.values[name]


class _Rewriter(ast.NodeTransformer):
    """Replaces local variables of a method by attributes of the object."""

    def __init__(self, local: _Local, owner: str, bound: set[str], depth: int) -> None:
        self._local = local
        self._owner = owner
        self._bound = bound
        self._depth = depth

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Replace the name of a private attribute (``__x``) by its mangled name."""
        return ast.Attribute(self.visit(node.value), _mangled(node.attr, self._owner), ast.Load())

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace a local variable."""
        local, name = self._local, node.id
        itself = ast.Name("self", ast.Load())
        if name in self._bound:
            return node
        if name in local.itself:
            return itself
        if name == local.class_of:
            return ast.Attribute(itself, "__class__", ast.Load())
        if name in local.attributes:
            return ast.Attribute(itself, local.attributes[name], ast.Load())
        if name in local.values and self._depth < _MAX_DEPTH:
            return _rewritten(local.values[name], local, self._owner, self._depth + 1)
        is_attribute = name in local.parameters and name not in local.defaults
        return ast.Attribute(itself, name, ast.Load()) if is_attribute else node


def _rewritten(expression: ast.expr, local: _Local, owner: str, depth: int) -> ast.expr:
    nodes = list(ast.walk(expression))
    # the variables of comprehensions and lambdas inside the expression
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    copy = ast.parse(ast.unparse(expression), mode="eval").body
    rewritten = _Rewriter(local, owner, bound, depth).visit(copy)
    assert isinstance(rewritten, ast.expr)
    return rewritten
