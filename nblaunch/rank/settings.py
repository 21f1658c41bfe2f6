"""Settings of libraries that the notebook has changed, made in a rank as soon as the library is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

from nblaunch.payload import unpack, why
from nblaunch.processes.child.imports import when_imported
from nblaunch.settings import LIBRARIES, Library, Sent

__all__ = ["apply_settings"]


def apply_settings(sent: Mapping[str, Mapping[str, Any]], namespace: dict[str, Any]) -> None:
    """Make the settings that `nblaunch.settings.pack_settings` has packed, now or when their libraries are imported.

    The namespace becomes the globals of the notebook's functions among the values.
    """
    if not sent:
        return
    for library in LIBRARIES:
        settings = sent.get(library.module)
        if settings:
            when_imported(library.module, partial(_apply_all, library, settings, namespace), "settings")


def _apply_all(library: Library, settings: Mapping[str, Any], namespace: dict[str, Any], module: ModuleType) -> None:
    for name, value in settings.items():
        try:
            if isinstance(value, Sent):
                value = unpack(bytearray(value.data), shared_globals=namespace)
        except Exception as error:
            _report(library, name, error)
            continue
        _apply(library, name, value, module)
        # an import of these changes the setting, or makes it possible
        for other in library.again_after(name, value):
            if other not in sys.modules:
                when_imported(other, partial(_apply, library, name, value, module), f"settings of {library.module}")


def _apply(library: Library, name: str, value: Any, module: ModuleType, _: ModuleType | None = None) -> None:
    try:
        library.apply(module, name, value)
    except Exception as error:
        _report(library, name, error)


def _report(library: Library, name: str, error: Exception) -> None:
    sys.stderr.write(
        f"nblaunch: the notebook's setting {library.module}.{name} cannot be made in this rank ({why(error)}); "
        "--no-settings leaves all of them out\n"
    )
