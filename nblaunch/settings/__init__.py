"""Settings of libraries that the notebook has changed: they change numbers, or lose output, where they are missing.

::

    libraries of the notebook ─► changed_settings ─► values by name ─► choose_settings ─► libraries of a rank

A setting that has the value which a new process gives it does not travel. Nothing is imported to read one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from nblaunch.settings import of_learning, of_messages, of_numbers, of_python
from nblaunch.settings.setting import UNCHANGED, Setting

__all__ = ["changed_settings", "choose_settings"]

_SETTINGS: dict[str, Setting] = {
    setting.name: setting for part in (of_python, of_messages, of_numbers, of_learning) for setting in part.SETTINGS
}


def changed_settings() -> dict[str, Any]:
    """Return the settings of this process that differ from those of a new one, by name.

    Of one that cannot be read, because a library is another version than known here, nothing is told.
    """
    found = {}
    for name, setting in _SETTINGS.items():
        module = sys.modules.get(setting.module)
        if module is None:
            continue
        try:
            value = setting.read(module)
        except Exception:  # a library in another version, or only half imported
            continue
        if value is not UNCHANGED:
            found[name] = value
    return found


def choose_settings(
    values: Mapping[str, Any],
    when_imported: Callable[[str, Callable[[ModuleType], object], str], None],
    failed: Callable[[str, Exception], None],
) -> None:
    """Choose settings in this process, each as soon as its library is imported.

    Parameters
    ----------
    values : mapping of str to object
        What `changed_settings` returned elsewhere.
    when_imported : callable
        Gets the name of a module, what is to be done with it, and what for.
    failed : callable
        Gets the name of a setting that cannot be chosen, and why.
    """
    for name, value in values.items():
        setting = _SETTINGS[name]
        parts = {setting.module: value} if setting.parts is None else setting.parts(value)
        for module, part in parts.items():
            when_imported(module, _chooser(setting, part, failed), name)


def _chooser(setting: Setting, value: Any, failed: Callable[[str, Exception], None]) -> Callable[[ModuleType], object]:
    def choose(module: ModuleType) -> None:
        try:
            setting.choose(module, value)
        except Exception as error:  # a library may refuse
            failed(setting.name, error)

    return choose
