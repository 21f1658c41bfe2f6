"""Settings of `logging`: levels, handlers, formats, the factory of records and the class of loggers.

Handlers are sent if a rank can write their lines itself: to its own standard output or error, or to the end of a file.
Others lead to something in the notebook's process. They stay there, and a notice says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from nblaunch.settings.library import Library

__all__ = ["LOGGING"]

# Loggers of a Jupyter kernel.
_OF_KERNELS = ("IPKernelApp", "traitlets", "tornado", "asyncio", "comm", "parso")
# Levels that torch gives its loggers when it is imported, also in a rank.
_OF_LIBRARIES = {
    "torch": 30, "torch.__trace": 10, "torch.fx.passes.utils.matcher_utils": 30,
    "torch.fx.passes.infra.pass_manager": 30, "c10d-NullHandler-default": 10,
    "strobelight_function_profiler": 20, "strobelight_compile_time_profiler": 20,
}  # fmt: skip
# Modules whose handlers are meant for the notebook's process, so that no notice is needed.
_OF_THIS_PROCESS = ("_pytest.", "ipykernel.", "absl.")

_LEVEL_NAMES = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL", 0: "NOTSET"}

# A handler: where it writes, its level, its format, its filters.
_Described = tuple[tuple[str, ...], int, Any, tuple[Any, ...]]


def _read(module: Any) -> dict[str, Any]:
    root = module.root
    found: dict[str, Any] = {}
    # These two come first: they hold for loggers and records that are made later.
    if module.getLogRecordFactory() is not module.LogRecord:
        found["logRecordFactory"] = module.getLogRecordFactory()
    if module.getLoggerClass() is not module.Logger:
        found["loggerClass"] = module.getLoggerClass()
    if root.level != module.WARNING:
        found["root.level"] = root.level
    if root.manager.disable:
        found["disable"] = root.manager.disable
    if module._warnings_showwarning is not None:
        found["captureWarnings"] = True
    names = {level: name for level, name in module._levelToName.items() if _LEVEL_NAMES.get(level) != name}
    if names:
        found["level_names"] = names
    levels, handlers = {}, {}
    if root.handlers:
        handlers[""] = _described_all("the root logger", root.handlers, found)
    for name, logger in list(root.manager.loggerDict.items()):
        # `logging.PlaceHolder` has neither
        if not getattr(logger, "level", 0) and not getattr(logger, "handlers", None):
            continue
        if name.partition(".")[0] in _OF_KERNELS or _OF_LIBRARIES.get(name) == logger.level:
            continue
        if logger.level:
            levels[name] = logger.level, bool(logger.propagate)
        if logger.handlers and _is_the_users(name):
            handlers[name] = _described_all(f"the logger {name!r}", logger.handlers, found)
            levels.setdefault(name, (logger.level, bool(logger.propagate)))
    if levels:
        found["levels"] = levels
    handlers = {name: described for name, described in handlers.items() if described}
    if handlers:
        found["handlers"] = handlers
    return found


def _is_the_users(name: str) -> bool:
    """Tell whether the notebook has set up a logger; packages set up their own when they are imported."""
    top = name.partition(".")[0]
    return top == "__main__" or (top not in sys.modules and top not in _OF_LIBRARIES)


def _described_all(whose: str, handlers: list[Any], found: dict[str, Any]) -> tuple[_Described, ...]:
    described = []
    for handler in handlers:
        one = _described(handler)
        if one is not None:
            described.append(one)
        elif (
            not f"{type(handler).__module__}.".startswith(_OF_THIS_PROCESS) and type(handler).__name__ != "NullHandler"
        ):
            told = (
                f"The {type(handler).__name__} of {whose} stays in the notebook, so log lines of the ranks do not "
                "reach it: add one in the ranks with a set-up cell (%%multiproc --setup)"
            )
            found["stays"] = (*found.get("stays", ()), told)
    return tuple(described)


def _described(handler: Any) -> _Described | None:
    logging: Any = sys.modules["logging"]
    if type(handler) is logging.FileHandler:
        which: tuple[str, ...] = ("file", handler.baseFilename, handler.encoding or "")
    elif type(handler) is logging.StreamHandler and (name := _stream(handler.stream)):
        which = (name,)
    else:
        return None
    formatter = handler.formatter
    if type(formatter) is logging.Formatter:
        style = next((key for key, (kind, _) in logging._STYLES.items() if type(formatter._style) is kind), "%")
        formatter = (formatter._fmt, formatter.datefmt, style)
    return which, handler.level, formatter, tuple(handler.filters)


def _stream(stream: Any) -> str:
    """Return the name of the standard stream that this is; empty if it is neither."""
    for name in ("stdout", "stderr"):
        # A kernel's streams are called "stdout", those of the process "<stdout>". A fork has replaced both.
        if stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
            return name
        if getattr(stream, "name", "") in (name, f"<{name}>"):
            return name
    return ""


def _apply(module: Any, name: str, value: Any) -> None:
    if name == "root.level":
        module.root.setLevel(value)
    elif name == "logRecordFactory":
        # a fork of the notebook's process has this factory already
        if module.getLogRecordFactory() is module.LogRecord:
            module.setLogRecordFactory(value)
    elif name == "loggerClass":
        if module.getLoggerClass() is module.Logger:
            module.setLoggerClass(value)
    elif name == "disable":
        module.disable(value)
    elif name == "captureWarnings":
        module.captureWarnings(True)
    elif name == "level_names":
        for level, text in value.items():
            module.addLevelName(level, text)
    elif name == "levels":
        for logger, (level, propagates) in value.items():
            module.getLogger(logger).setLevel(level)
            module.getLogger(logger).propagate = propagates
    elif name == "handlers":
        for logger, described in value.items():
            _add_missing(module, module.getLogger(logger), described)


def _add_missing(module: Any, logger: Any, described: tuple[_Described, ...]) -> None:
    here = [_told_apart_by(one) for handler in logger.handlers for one in [_described(handler)] if one is not None]
    for handler in logger.handlers:
        # in a fork, the handlers still write to the streams of the notebook
        name = _stream(handler.stream) if type(handler) is module.StreamHandler else ""
        if name:
            handler.setStream(getattr(sys, name))
    for one in described:
        if _told_apart_by(one) not in here:
            logger.addHandler(_made(module, one))


def _told_apart_by(described: _Described) -> tuple[Any, ...]:
    """Return what equal handlers have in common: a fork already has the handlers that also arrive as copies."""
    which, level, formatter, filters = described
    return (
        which,
        level,
        formatter if isinstance(formatter, tuple) else _kind(formatter),
        [_kind(one) for one in filters],
    )


def _kind(thing: object) -> tuple[str, str]:
    kind = type(thing)
    return kind.__module__, getattr(thing, "__qualname__", kind.__qualname__)


def _made(module: Any, described: _Described) -> Any:
    which, level, formatter, filters = described
    if which[0] == "file":
        # Mode "a", whatever the notebook's handler has: what is in the file must stay.
        handler = module.FileHandler(which[1], "a", encoding=which[2] or None, delay=True)
    else:
        handler = module.StreamHandler(getattr(sys, which[0]))
    handler.setLevel(level)
    if isinstance(formatter, tuple):
        text, date, style = formatter
        formatter = module.Formatter(text, date, style)
    if formatter is not None:
        handler.setFormatter(formatter)
    for one in filters:
        handler.addFilter(one)
    return handler


def _again_after(name: str, value: Any) -> Iterator[str]:
    """Yield the packages that set the levels of their loggers when they are imported."""
    if name == "levels":
        yield from {logger.partition(".")[0] for logger in value}


LOGGING = Library("logging", _read, _apply, _again_after)
"""Levels, handlers and formats of `logging`."""
