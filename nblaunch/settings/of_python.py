"""Settings of the standard library, apart from what it logs and warns of."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from nblaunch.settings.setting import UNCHANGED, Setting

__all__ = ["SETTINGS"]

_CATEGORIES = ("LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY")
_CONTEXT = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")


def _unless(default: object, value: Any) -> Any:
    return UNCHANGED if value == default else value


def _decimal_context(decimal: ModuleType) -> Any:
    context, default = decimal.getcontext(), decimal.DefaultContext
    if all(getattr(context, name) == getattr(default, name) for name in _CONTEXT):
        return UNCHANGED
    copy = context.copy()
    copy.clear_flags()
    return copy


def _locale(locale: ModuleType) -> Any:
    found = {name: locale.setlocale(getattr(locale, name)) for name in _CATEGORIES}
    return {name: value for name, value in found.items() if value != "C"} or UNCHANGED


def _set_locale(locale: ModuleType, found: dict[str, str]) -> None:
    for name, value in found.items():
        locale.setlocale(getattr(locale, name), value)


SETTINGS = (
    Setting(
        "sys",
        "sys.recursionlimit",
        lambda sys: _unless(1000, sys.getrecursionlimit()),
        lambda sys, value: sys.setrecursionlimit(value),
    ),
    Setting(
        "sys",
        "sys.int_max_str_digits",
        lambda sys: _unless(4300, getattr(sys, "get_int_max_str_digits", lambda: 4300)()),
        lambda sys, value: sys.set_int_max_str_digits(value),
    ),
    Setting("decimal", "decimal.context", _decimal_context, lambda decimal, value: decimal.setcontext(value)),
    Setting("locale", "locale", _locale, _set_locale),
    Setting(
        "csv",
        "csv.field_size_limit",
        lambda csv: _unless(131072, csv.field_size_limit()),
        lambda csv, value: csv.field_size_limit(value),
    ),
    Setting(
        "socket",
        "socket.defaulttimeout",
        lambda socket: _unless(None, socket.getdefaulttimeout()),
        lambda socket, value: socket.setdefaulttimeout(value),
    ),
    Setting(
        "threading",
        "threading.stack_size",
        lambda threading: _unless(0, threading.stack_size()),
        lambda threading, value: threading.stack_size(value),
    ),
    Setting(
        "multiprocessing",
        "multiprocessing.start_method",
        lambda module: _unless(None, module.get_start_method(allow_none=True)),
        lambda module, value: module.set_start_method(value, force=True),
    ),
)
