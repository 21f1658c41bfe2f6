"""What a process warns of and logs: filters of `warnings`, levels and handlers of `logging`.

Filters name classes of warnings, of which some belong to libraries: these go by name, so that no rank imports a library
for the sake of a filter.
"""

from __future__ import annotations

import re
import sys
import warnings as _warnings
from types import ModuleType
from typing import Any

from nblaunch.settings.setting import UNCHANGED, Setting

__all__ = ["SETTINGS"]

# Those of a new interpreter, as (action, message, category, module, line).
_OF_PYTHON = {
    ("default", None, "builtins.DeprecationWarning", "__main__", 0),
    ("ignore", None, "builtins.DeprecationWarning", None, 0),
    ("ignore", None, "builtins.PendingDeprecationWarning", None, 0),
    ("ignore", None, "builtins.ImportWarning", None, 0),
    ("ignore", None, "builtins.ResourceWarning", None, 0),
    # and of a kernel
    ("ignore", (".*Trio's signal handling code might have collided.*", 34), "builtins.RuntimeWarning", None, 0),
    ("error", None, "IPython.core.completer.ProvisionalCompleterWarning", None, 0),
}
_Filter = tuple[str, Any, str, Any, int]
# The filters that were read last by their identities, which tell a list that is the same.
_read_last: tuple[tuple[int, ...], list[Any], list[_Filter]] = ((), [], [])


def _filters(warnings: ModuleType) -> Any:
    global _read_last
    filters = list(warnings.filters)
    marks = tuple(map(id, filters))
    if marks != _read_last[0]:
        # the list keeps the filters, and so their identities
        _read_last = (marks, filters, [one for one in map(_described, filters) if one not in _OF_PYTHON])
    return _read_last[2] or UNCHANGED


def _described(filter_: Any) -> _Filter:
    action, message, category, module, line = filter_
    return action, _text(message), f"{category.__module__}.{category.__qualname__}", _text(module), line


def _text(pattern: Any) -> Any:
    # before Python 3.14 that of the default filter is a text
    if pattern is None or isinstance(pattern, str):
        return pattern
    return pattern.pattern, int(pattern.flags)


def _by_library(described: list[_Filter]) -> dict[str, list[_Filter]]:
    parts: dict[str, list[_Filter]] = {}
    for filter_ in described:
        library = filter_[2].rpartition(".")[0]
        # the classes of warnings of Python itself, and of the notebook, are there
        here = library in ("builtins", "__main__")
        parts.setdefault("warnings" if here else library, []).append(filter_)
    return parts


def _set_filters(_: ModuleType, described: list[_Filter]) -> None:
    warnings: Any = _warnings
    filters = []
    for action, message, category, module, line in described:
        holder, _dot, name = category.rpartition(".")
        kind = getattr(sys.modules.get(holder), name, None)
        if isinstance(kind, type):
            filters.append((action, _pattern(message), kind, _pattern(module), line))
    # those of the interpreter, and of what was imported ahead, stay behind
    warnings.filters[:] = [*filters, *(known for known in warnings.filters if known not in filters)]
    warnings._filters_mutated()


def _pattern(text: Any) -> Any:
    return re.compile(*text) if isinstance(text, tuple) else text


def _logging(logging: ModuleType) -> Any:
    root = logging.root
    found: dict[str, Any] = {}
    if root.level != logging.WARNING or root.handlers:
        found["handlers"] = _handlers(logging, root)
        found["root"] = root.level
    if root.manager.disable:
        found["disable"] = root.manager.disable
    # those of a library, which sets them when it is imported, do no harm when they are set once more
    levels = {name: logger.level for name, logger in list(root.manager.loggerDict.items()) if _has_level(logger)}
    # the kernel's own
    levels.pop("IPKernelApp", None)
    if levels:
        found["levels"] = levels
    return found or UNCHANGED


def _has_level(logger: Any) -> bool:
    # some are places for loggers that do not exist yet
    return bool(getattr(logger, "level", 0))


def _handlers(logging: Any, logger: Any) -> list[dict[str, Any]]:
    found = []
    for handler in logger.handlers:
        formatter = handler.formatter
        described = {"level": handler.level}
        if formatter is not None and type(formatter) is logging.Formatter:
            described["format"] = (formatter._fmt, formatter.datefmt, type(formatter._style).__name__)
        if type(handler) is logging.FileHandler:
            found.append(described | {"file": handler.baseFilename})
        elif isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            found.append(described | {"stdout": handler.stream in (sys.stdout, sys.__stdout__)})
    return found


_STYLES = {"PercentStyle": "%", "StrFormatStyle": "{", "StringTemplateStyle": "$"}


def _set_logging(logging: Any, found: dict[str, Any]) -> None:
    root = logging.root
    logging.disable(found.get("disable", logging.NOTSET))
    root.setLevel(found.get("root", logging.WARNING))
    for name, level in found.get("levels", {}).items():
        logging.getLogger(name).setLevel(level)
    for described in [] if root.handlers else found.get("handlers", []):
        handler = (
            # added to, because all ranks write to it
            logging.FileHandler(described["file"], delay=True)
            if "file" in described
            else logging.StreamHandler(sys.stdout if described["stdout"] else sys.stderr)
        )
        handler.setLevel(described["level"])
        if "format" in described:
            text, dates, style = described["format"]
            handler.setFormatter(logging.Formatter(text, dates, _STYLES.get(style, "%")))
        root.addHandler(handler)


SETTINGS = (
    Setting("warnings", "warnings.filters", _filters, _set_filters, _by_library),
    Setting("logging", "logging", _logging, _set_logging),
)
