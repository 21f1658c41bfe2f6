"""The settings of this process that differ from the defaults, and the form in which they are sent."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nblaunch.payload import pack, text_of
from nblaunch.settings.table import LIBRARIES

__all__ = ["Sent", "changed_settings", "pack_settings", "settings_in_words"]

_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Sent:
    """The packed value of a setting that is not plain: no text, number or container of such."""

    data: bytes


def changed_settings() -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return the settings that differ from their library's defaults, by library; and sentences about what stays here.

    Only imported libraries are read, and nothing is imported.
    """
    found: dict[str, dict[str, Any]] = {}
    notices = []
    modules = sys.modules
    for library in LIBRARIES:
        module = modules.get(library.module)
        if module is None:
            continue
        try:
            settings = library.read(module)
        except Exception as error:  # this version keeps them elsewhere, or another thread is importing it just now
            notices.append(_sentence(f"the settings of {library.module} cannot be read here", error))
            continue
        notices += settings.pop("stays", ())
        if settings:
            found[library.module] = settings
    return found, tuple(notices)


def pack_settings(
    found: Mapping[str, Mapping[str, Any]], namespace: dict[str, Any], provided: Mapping[str, object]
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return settings in the form in which they are sent; and sentences about those that cannot be sent."""
    sent: dict[str, dict[str, Any]] = {}
    notices = []
    for library, settings in found.items():
        for name, value in settings.items():
            if not _is_plain(value):
                try:
                    value = Sent(bytes(pack(value, shared_globals=namespace, provided=provided)))
                except Exception as error:
                    notices.append(_sentence(f"the setting {library}.{name} cannot travel to the ranks", error))
                    continue
            sent.setdefault(library, {})[name] = value
    return sent, tuple(notices)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in (tuple, list):
        return all(map(_is_plain, value))
    if kind is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return kind in _PLAIN


def _sentence(what: str, error: Exception) -> str:
    reason = " ".join(text_of(error).split()).rstrip(".") or type(error).__name__
    it = "them" if what.startswith("the settings") else "it"
    return f"{what[0].upper()}{what[1:]} ({reason:.200}): make {it} in a set-up cell (%%multiproc --setup)"


_MAX_VALUE_CHARACTERS = 60


def settings_in_words(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return settings as text: ``torch.default_dtype=float64, sys.recursionlimit=5000``."""
    return ", ".join(
        f"{library}.{name}={_short(value)}" for library, settings in found.items() for name, value in settings.items()
    )


def _short(value: object) -> str:
    try:
        text = value if type(value) is str else repr(value)
    except Exception:  # the __repr__ may be of any class
        text = f"a {type(value).__name__}"
    return text if len(text) <= _MAX_VALUE_CHARACTERS else f"{text[: _MAX_VALUE_CHARACTERS - 1]}…"
