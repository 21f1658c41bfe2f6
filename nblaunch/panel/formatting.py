"""`formatted`: the representations of one value, as the notebook's own display formatter makes them.

::

    value ─► formatted ─┬─► Bundle with text, HTML, images …: all that the notebook makes of it
                        └─► a line, if code of the value's class raises

That code is the user's, so it may raise, never return, or make a text of a gigabyte. The caller limits the time, and
large texts and containers are not asked for their text.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from nblaunch.panel.places import PLAIN, Bundle
from nblaunch.payload import why
from nblaunch.rank.displays import as_plain
from nblaunch.runs.short_reprs import failed_repr, short_repr

__all__ = ["formatted"]

_PNG = "image/png"

# Of a value with more characters of text the repr is not made, because that takes several times as much memory.
_MAX_TEXT_CHARACTERS = 200_000
# Items of a container, and levels of nesting, that are looked at for that; IPython shows as many items.
_MAX_ITEMS = 1000
_MAX_DEPTH = 3
_TEXTS = (str, bytes, bytearray)
_CONTAINERS = (list, tuple, set, frozenset)


def formatted(shell: Any, value: object) -> list[Bundle]:
    """Return what a notebook shows of a value: one output, or several if it displays itself in several steps.

    Parameters
    ----------
    shell : InteractiveShell
        Its formatters are asked.
    value : object
        The value; if its own code raises, a line says so.
    """
    if _is_large(value):
        return [Bundle({PLAIN: short_repr(value)}, {})]
    asked = _Asked(shell.display_formatter)
    shown = _displays_itself(shell, asked, value)
    if shown:
        return shown
    data, metadata = asked.bundle(value)
    if not data:
        data = {PLAIN: failed_repr(value, asked.errors[0]) if asked.errors else short_repr(value)}
    elif asked.errors:
        # a notebook would show the whole traceback
        note = f"(a part of it cannot be shown: {why(asked.errors[0])})"
        data = {PLAIN: f"{data.get(PLAIN, '')}\n{note}".lstrip()}
    return [Bundle(as_plain(data), as_plain(metadata))]


class _Asked:
    """Asks the formatters of a notebook one by one; what they raise is kept, and not printed."""

    def __init__(self, formatter: Any) -> None:
        self._formatter = formatter
        self.errors: list[BaseException] = []

    def displays_itself(self, value: object) -> bool:
        return bool(self._call(self._formatter.ipython_display_formatter, value))

    def bundle(self, value: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata as `DisplayFormatter.format` does."""
        data, metadata = _pair(self._call(self._formatter.mimebundle_formatter, value, include=None, exclude=None))
        data, metadata = dict(data or {}), dict(metadata or {})
        for mime, formatter in self._formatter.formatters.items():
            # a formatter that was registered for this type counts more than the object's own representation
            if mime in data and not _knows(formatter, value):
                continue
            made, about = _pair(self._call(formatter, value))
            if made is not None:
                data[mime] = made
            if about:
                metadata[mime] = about
        if not data.keys() - {PLAIN} and _is_figure(value):
            # matplotlib registers its formatter only when the notebook itself draws a figure
            figure = self._figure(value)
            if figure:
                data[_PNG] = figure
        return data, metadata

    def _figure(self, value: object) -> object:
        from IPython.core.pylabtools import print_figure

        try:
            return print_figure(value, "png", base64=True)
        except BaseException as error:
            self._keep(error)
            return None

    def _call(self, formatter: Any, value: object, **options: object) -> Any:
        # unwrapped, because IPython's decorator would print a traceback
        call: Callable[..., Any] = inspect.unwrap(type(formatter).__call__)
        try:
            return call(formatter, value, **options)
        except NotImplementedError:  # the object has no such representation
            return None
        except BaseException as error:
            self._keep(error)
            return None

    def _keep(self, error: BaseException) -> None:
        # a person's interrupt comes in the main thread; in another one the value's own code has raised it
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise error
        self.errors.append(error)


def _is_figure(value: object) -> bool:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


def _pair(made: Any) -> tuple[Any, Any]:
    return made if isinstance(made, tuple) and len(made) == 2 else (made, None)


def _knows(formatter: Any, value: object) -> bool:
    try:
        formatter.lookup(value)
    except KeyError:
        return False
    return True


def _displays_itself(shell: Any, asked: _Asked, value: object) -> list[Bundle]:
    """Return what an object displays in ``_ipython_display_``, which publishes its outputs itself."""
    shown: list[Bundle] = []

    def catch(message: dict[str, Any]) -> None:
        if message["msg_type"] == "display_data":
            shown.append(Bundle(as_plain(message["content"]["data"]), as_plain(message["content"]["metadata"])))

    publisher = shell.display_pub
    # a hook is for this thread only; without hooks, what the object publishes could not be caught
    if not hasattr(publisher, "register_hook"):
        return []
    publisher.register_hook(catch)
    try:
        return shown if asked.displays_itself(value) else []
    finally:
        publisher.unregister_hook(catch)


def _is_large(value: object) -> bool:
    left = _MAX_TEXT_CHARACTERS
    for size in _sizes(value, _MAX_DEPTH):
        left -= size
        if left < 0:
            return True
    return False


def _sizes(value: object, depth: int) -> Iterator[int]:
    """Yield the lengths of the texts in a value of Python's built-in types; other types are not looked into."""
    kind = type(value)
    if kind in _TEXTS:
        yield len(value)  # type: ignore[arg-type]
    elif depth and kind is dict:
        for key, inner in islice(value.items(), _MAX_ITEMS):  # type: ignore[attr-defined]
            yield from _sizes(key, 0)
            yield from _sizes(inner, depth - 1)
    elif depth and kind in _CONTAINERS:
        for inner in islice(value, _MAX_ITEMS):  # type: ignore[call-overload]
            yield from _sizes(inner, depth - 1)
