"""Writes ``static/messages.d.ts``: the messages of `nblaunch.panel.page_messages`, as types for TypeScript.

``python -m tests.javascript.shapes``, after a message was changed. A test tells where the file is not up to date.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from nblaunch.panel.joining import STATIC
from nblaunch.panel.page_messages import FROM_PAGES, TO_PAGES, Placed, SaidPerhaps

PATH = STATIC / "messages.d.ts"
NAMES = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
HEAD = """// The messages between a panel and its pages, for TypeScript. page_messages.py explains them: change them
// there, and make this file anew with `python -m tests.javascript.shapes`.
"""


def declarations() -> str:
    """Return the file."""
    found: dict[str, str] = {}
    # each message has that besides its own
    envelope = get_type_hints(SaidPerhaps)
    found["Envelope"] = _type("Envelope", SaidPerhaps, envelope)
    for message in FROM_PAGES:
        own = {name: kind for name, kind in get_type_hints(message).items() if name not in envelope}
        found[message.__name__] = _type(message.__name__, message, own)
    for message in (Placed, *TO_PAGES):
        _declare(message, found)
    unions = [
        f"export type Word = {' | '.join(message.__name__ for message in FROM_PAGES)};\n",
        "export type FromPage = Envelope & Word;\n",
        f"export type ToPage = {' | '.join(message.__name__ for message in TO_PAGES)};\n",
    ]
    return "\n".join([HEAD, *found.values(), *unions])


def _declare(shape: Any, found: dict[str, str]) -> None:
    """Put a message behind those that are in it."""
    if is_typeddict(shape):
        hints = get_type_hints(shape)
        for kind in hints.values():
            _declare(kind, found)
        found.setdefault(shape.__name__, _type(shape.__name__, shape, hints))
    for part in get_args(shape):
        if get_origin(shape) is not Literal:
            _declare(part, found)


def _type(name: str, shape: Any, hints: dict[str, Any]) -> str:
    fields = (
        f"  {field}{'' if field in shape.__required_keys__ else '?'}: {_name(kind)};\n" for field, kind in hints.items()
    )
    return f"export type {name} = {{\n{''.join(fields)}}};\n"


def _name(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        return str(kind.__name__)
    if origin is Literal:
        return " | ".join(f'"{part}"' for part in parts)
    if origin in (Union, UnionType):
        return " | ".join(map(_name, parts))
    if origin is list:
        return f"{_name(parts[0])}[]"
    if origin is tuple:
        return f"[{', '.join(map(_name, parts))}]"
    if origin is dict:
        return f"Record<string, {_name(parts[1])}>"
    return NAMES[kind]


if __name__ == "__main__":
    PATH.write_text(declarations(), encoding="utf-8")
