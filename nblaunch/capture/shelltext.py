"""`embedded`: the expressions and statements in the strings of magics and shell commands, with the cell's line numbers.

IPython turns ``!ls {path}`` into ``get_ipython().system('ls {path}')``, and expands ``{path}`` and ``$path`` when the
call is made. ``%timeit f(x)`` becomes a call whose string is code.
"""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator


class Expanded(NamedTuple):
    """An expression that IPython evaluates while it expands a string."""

    expression: ast.expr


class Code(NamedTuple):
    """Statements that a magic runs; with `in_function`, as the body of a function, with local variables."""

    body: list[ast.stmt]
    in_function: bool


class Bound(NamedTuple):
    """A name that a magic assigns."""

    name: str


class _CodeMagic(NamedTuple):
    """A magic that runs code: the letters of its options without and with a value, and how it runs the code."""

    flags: str = ""
    valued: str = ""
    in_function: bool = False


CODE_MAGICS = {
    "time": _CodeMagic(),
    "timeit": _CodeMagic("tcqo", "nrpv", in_function=True),
    "prun": _CodeMagic("rq", "DlsT"),
    "debug": _CodeMagic("", "b"),
}
"""Magics whose argument is code; IPython does not expand ``{x}`` and ``$x`` in their line."""

SHELL_MAGICS = frozenset({"!", "sx", "system"})
"""Cell magics whose body IPython expands too."""

OBJECT_MAGICS = frozenset({"pinfo", "pinfo2", "pdef", "pdoc", "pfile", "psource"})
"""Line magics that look at an object: ``x?`` becomes ``%pinfo x``."""

_EXPANDING_CALLS = frozenset({"system", "system_raw", "system_piped", "getoutput"})
_Piece = Expanded | Code | Bound
_Node = TypeVar("_Node", bound=ast.AST)


def transform(cell: str) -> str:
    """Turn a cell in IPython's syntax into Python source, by IPython's default rules.

    This is for callers without a shell; the `transform_cell` of a shell also knows the user's rules.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    transformed: str = TransformerManager().transform_cell(cell)
    return transformed


def embedded(call: ast.Call) -> list[_Piece] | None:
    """Find what IPython evaluates, runs or binds on a call such as ``get_ipython().system('ls {x}')``.

    Parameters
    ----------
    call : ast.Call
        Any call.

    Returns
    -------
    list or None
        Empty for a call whose strings have nothing of the kind; None for a call that is not IPython's.
    """
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"), args=[], keywords=[]), attr=method):
            texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        case _:
            return None
    line = call.lineno
    if method in _EXPANDING_CALLS and len(texts) >= 1:
        return list(_expansions(texts[0], line))
    if method == "run_line_magic" and len(texts) >= 2:
        return list(_line_magic(texts[0], texts[1], line))
    if method == "run_cell_magic" and len(texts) >= 3:
        return list(_cell_magic(texts[0], texts[1], texts[2], line))
    return None


def _line_magic(name: str, text: str, line: int) -> Iterator[_Piece]:
    magic = CODE_MAGICS.get(name)
    if magic is not None:
        yield from _code(_without_options(text, magic), line, magic)
        return
    if name in OBJECT_MAGICS and (found := re.match(r"\s*([^\W\d]\w*)", text)):
        yield from _expansions(f"{{{found[1]}}}", line)
    yield from _expansions(text, line)


def _cell_magic(name: str, text: str, body: str, line: int) -> Iterator[_Piece]:
    magic = CODE_MAGICS.get(name)
    if magic is not None:
        setup = _without_options(text, magic)
        if name == "timeit":  # the line is set-up code in the same function as the body
            yield from _code(f"{setup}\n{body}", line, magic)
        else:
            yield from _code(setup, line, magic)
            yield from _code(body, line + 1, magic)
        return
    yield from _expansions(text, line)
    if name in SHELL_MAGICS:
        yield from _expansions(body, line)
    elif name == "capture":
        yield from _code(body, line + 1, _CodeMagic())
        output = [word for word in text.split() if not word.startswith("--")]
        if output and output[0].isidentifier():
            yield Bound(output[0])


def _without_options(text: str, magic: _CodeMagic) -> str:
    """Return the code that follows the options of a magic's line: ``f(x)`` of ``-n 10 f(x)``."""
    choices = [r"--[a-z][\w-]*", "--"]
    if magic.valued:
        choices.append(rf"-[{magic.flags}]*[{magic.valued}]\s*\S+")
    if magic.flags:
        choices.append(rf"-[{magic.flags}]+")
    return re.sub(rf"\A\s*(?:(?:{'|'.join(choices)})(?:\s+|\Z))*", "", text)


def _code(text: str, line: int, magic: _CodeMagic) -> Iterator[Code]:
    """Yield code as statements, numbered from `line`; nothing if it does not parse."""
    blank = re.match(r"(?:[ \t]*\n)*", text)
    if blank is not None:  # IPython's transformation drops leading blank lines, so they are counted here
        text, line = text[blank.end() :], line + blank[0].count("\n")
    # The code of a magic may contain magics, if IPython is there. IPython reports errors in it, in the rank.
    with suppress(ImportError, SyntaxError):
        text = transform(text)
    try:
        tree = compile(text, "<magic>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):  # ValueError: a null byte, before Python 3.12
        return
    if tree.body:
        yield Code(_moved(tree, line).body, magic.in_function)


def _expansions(text: str, line: int) -> Iterator[Expanded]:
    """Yield the expressions in ``{expr}`` and ``$name``; nothing if IPython would not expand the text."""
    found: list[Expanded] = []
    try:
        for literal, field, spec, _ in Formatter().parse(text):
            fields = _dollar_names(literal)
            if field is not None:
                fields.append(f"{field}:{spec}" if spec else field)
            for source in fields:
                tree = ast.parse(source.strip(), mode="eval")
                found.append(Expanded(_moved(tree, line).body))
    except (
        SyntaxError,
        ValueError,
    ):  # IPython then expands nothing in the text
        return
    yield from found


def _dollar_names(literal: str) -> list[str]:
    """Return the names after dollars, as in ``$a.b``, but not in ``$$a`` and not between single quotes."""
    return [
        found[1]
        for found in re.finditer(r"\$(\$?[\w.]+)", literal)
        if not found[1].startswith("$") and literal.count("'", found.end()) % 2 == 0
    ]


def _moved(tree: _Node, line: int) -> _Node:
    """Return `tree` with the line numbers of the cell instead of its own, which count from 1."""
    return ast.increment_lineno(tree, line - 1)
