"""How a class computes the hash that it assigns to an attribute, as an expression of nothing but the object.

::

    def __init__(self, name, deps):
        self.name = name
        self.deps = tuple(deps)
        key = (name, self.deps)
        self._hash = hash(key)              ─►  hash((self.name, self.deps))

It is found in the source, in the process that has the source, and can be computed wherever the class is.
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
"""Which function of a class assigns it (by the place of its owner in the MRO, and its name there), and what."""

# Local variables that are made of others, before this is given up: one may be made of itself.
_DEEPEST = 20
# An expression that cannot be computed: something is assigned, but nobody can tell what.
_NO_SOURCE = ""
_SETTERS = ("__setattr__", "setattr", "_setattr")
_Assigned = tuple[str, str, ast.expr]


def recipes(kind: type, names: set[str]) -> Iterator[Recipe]:
    """Give what the methods of a class assign to these attributes, if it is made with anything named like a hash.

    Nothing else: to compute it once more could draw the next number, for example, or open a file.
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
    """Compute an expression for an object of the class.

    Raises
    ------
    Exception
        Whatever that raises.
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
    """Give what is assigned to attributes: the variable that holds the object, the attribute's name, and the value."""
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
    """Give what ``object.__setattr__(self, "name", value)``, ``setattr`` and ``super().__setattr__`` assign."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called in _SETTERS and len(call.args) in (2, 3):
        *whose, name, value = call.args
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield (whose[0].id if whose and isinstance(whose[0], ast.Name) else ""), name.value, value


def _mangled(name: str, owner: str) -> str:
    private = name.startswith("__") and not name.endswith("__")
    return f"_{owner.lstrip('_')}{name}" if private and owner.strip("_") else name


class _Local:
    """What the local variables of a method are, in terms of the object's attributes."""

    def __init__(self, function: ast.FunctionDef, assigned: list[_Assigned]) -> None:
        arguments = function.args
        given = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        self.parameters = [one.arg for one in given if one is not None]
        # def __init__(self, values, hash=hash)
        self.defaults = {one.id for one in (*arguments.defaults, *arguments.kw_defaults) if isinstance(one, ast.Name)}
        makes = function.name == "__new__"
        self.class_of = self.parameters[0] if makes and self.parameters else ""
        # __new__ has the object in a variable of its own
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
    """Puts what the object knows in the place of what only the method knows."""

    def __init__(self, local: _Local, owner: str, bound: set[str], depth: int) -> None:
        self._local = local
        self._owner = owner
        self._bound = bound
        self._depth = depth

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Write the names of private attributes out."""
        return ast.Attribute(self.visit(node.value), _mangled(node.attr, self._owner), ast.Load())

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace a variable of the method."""
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
        if name in local.values and self._depth < _DEEPEST:
            return _rewritten(local.values[name], local, self._owner, self._depth + 1)
        is_attribute = name in local.parameters and name not in local.defaults
        return ast.Attribute(itself, name, ast.Load()) if is_attribute else node


def _rewritten(expression: ast.expr, local: _Local, owner: str, depth: int) -> ast.expr:
    nodes = list(ast.walk(expression))
    # those of comprehensions and lambdas are their own
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    copy = ast.parse(ast.unparse(expression), mode="eval").body
    rewritten = _Rewriter(local, owner, bound, depth).visit(copy)
    assert isinstance(rewritten, ast.expr)
    return rewritten
