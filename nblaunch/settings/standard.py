"""Settings of the standard library, but for warnings and logging."""

from __future__ import annotations

import os
from typing import Any

from nblaunch.settings.library import Library, differing

__all__ = ["STANDARD"]


def _read_sys(module: Any) -> dict[str, Any]:
    found = {"recursionlimit": module.getrecursionlimit()}
    if hasattr(module, "get_int_max_str_digits"):  # Python 3.10.7
        found["int_max_str_digits"] = module.get_int_max_str_digits()
    return differing(found, {"recursionlimit": 1000, "int_max_str_digits": 4300})


def _apply_sys(module: Any, name: str, value: int) -> None:
    (module.setrecursionlimit if name == "recursionlimit" else module.set_int_max_str_digits)(value)


def _read_threading(module: Any) -> dict[str, Any]:
    return differing({"stack_size": module.stack_size()}, {"stack_size": 0})


_DECIMAL: dict[str, Any] = {
    "prec": 28, "rounding": "ROUND_HALF_EVEN", "Emin": -999999, "Emax": 999999, "capitals": 1, "clamp": 0,
}  # fmt: skip
_TRAPS = ["DivisionByZero", "InvalidOperation", "Overflow"]
# The contexts that others are copied from: their defaults, and their default traps.
_TEMPLATES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "DefaultContext": (_DECIMAL, _TRAPS),
    "BasicContext": (
        {**_DECIMAL, "prec": 9, "rounding": "ROUND_HALF_UP"},
        sorted([*_TRAPS, "Clamped", "Underflow"]),
    ),
    "ExtendedContext": ({**_DECIMAL, "prec": 9}, []),
}


def _read_decimal(module: Any) -> dict[str, Any]:
    found = _read_context(module.getcontext(), "", _DECIMAL, _TRAPS)
    for name, (values, trapped) in _TEMPLATES.items():
        found |= _read_context(getattr(module, name), f"{name}.", values, trapped)
    return found


def _read_context(context: Any, before: str, defaults: dict[str, Any], trapped: list[str]) -> dict[str, Any]:
    found = {
        before + name: getattr(context, name) for name, value in defaults.items() if getattr(context, name) != value
    }
    traps = sorted(signal.__name__ for signal, raises in context.traps.items() if raises)
    return found if traps == trapped else found | {f"{before}traps": traps}


def _apply_decimal(module: Any, name: str, value: Any) -> None:
    template, _, name = name.rpartition(".")
    context = getattr(module, template) if template else module.getcontext()
    if name == "traps":
        for signal in context.traps:
            context.traps[signal] = signal.__name__ in value
    else:
        setattr(context, name, value)


_CATEGORIES = ("LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")


def _read_locale(module: Any) -> dict[str, Any]:
    found = {name: module.setlocale(getattr(module, name)) for name in _CATEGORIES if hasattr(module, name)}
    # Python sets LC_CTYPE when it starts, in a rank as here. So it is sent only beside another category.
    characters = found.pop("LC_CTYPE", "C")
    changed = {name: value for name, value in found.items() if value != "C"}
    return {"LC_CTYPE": characters, **changed} if changed else {}


def _apply_locale(module: Any, name: str, value: str) -> None:
    module.setlocale(getattr(module, name), value)


def _read_time(module: Any) -> dict[str, Any]:
    return {"tzname": module.tzname} if "TZ" in os.environ else {}


def _apply_time(module: Any, _: str, value: tuple[str, str]) -> None:
    # a rank that was forked before TZ was set has read the old value
    if module.tzname != value:
        module.tzset()


def _read_csv(module: Any) -> dict[str, Any]:
    return differing({"field_size_limit": module.field_size_limit()}, {"field_size_limit": 131072})


def _read_calendar(module: Any) -> dict[str, Any]:
    return differing({"firstweekday": int(module.firstweekday())}, {"firstweekday": 0})


def _read_socket(module: Any) -> dict[str, Any]:
    return differing({"defaulttimeout": module.getdefaulttimeout()}, {"defaulttimeout": None})


def _read_multiprocessing(module: Any) -> dict[str, Any]:
    method = module.get_start_method(allow_none=True)
    # a mere question of some library fixes the method at the system's default
    return {} if method in (None, module.get_all_start_methods()[0]) else {"start_method": method}


_XML = {
    "http://www.w3.org/XML/1998/namespace": "xml", "http://www.w3.org/1999/xhtml": "html",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf", "http://schemas.xmlsoap.org/wsdl/": "wsdl",
    "http://www.w3.org/2001/XMLSchema": "xs", "http://www.w3.org/2001/XMLSchema-instance": "xsi",
    "http://purl.org/dc/elements/1.1/": "dc",
}  # fmt: skip


def _read_xml(module: Any) -> dict[str, Any]:
    known = module._namespace_map
    if known == _XML:
        return {}
    found = {uri: prefix for uri, prefix in known.items() if _XML.get(uri) != prefix}
    return {"namespaces": found} if found else {}


def _apply_xml(module: Any, _: str, value: dict[str, str]) -> None:
    for uri, prefix in value.items():
        module.register_namespace(prefix, uri)


STANDARD = (
    Library("sys", _read_sys, _apply_sys),
    Library("threading", _read_threading, lambda module, _, value: module.stack_size(value)),
    Library("decimal", _read_decimal, _apply_decimal),
    Library("locale", _read_locale, _apply_locale),
    Library("time", _read_time, _apply_time),
    Library("csv", _read_csv, lambda module, _, value: module.field_size_limit(value)),
    Library("calendar", _read_calendar, lambda module, _, value: module.setfirstweekday(value)),
    Library(
        "multiprocessing",
        _read_multiprocessing,
        lambda module, _, value: module.set_start_method(value, force=True),
    ),
    Library("xml.etree.ElementTree", _read_xml, _apply_xml),
    Library("socket", _read_socket, lambda module, _, value: module.setdefaulttimeout(value)),
)
"""Settings of the standard library, but for warnings and logging."""
