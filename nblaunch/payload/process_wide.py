"""Objects of which every process has its own, as `os.environ`: a rank gets its own, whatever the variable is called.

``from os import environ`` in the notebook means the environment of whoever reads it. A copy would lack what a rank is
told there, and what is set in it would have no effect.
"""

from __future__ import annotations

import sys
from typing import Any

from nblaunch.payload.module_values import attribute_of

__all__ = ["of_interpreter", "own_of_each_process", "standing_for"]

_NAMES = {
    "os": ("environ", "environb"),
    "sys": ("path", "modules", "meta_path", "path_hooks", "path_importer_cache"),
    "warnings": ("filters",),
    "matplotlib": ("rcParams",),
}


def own_of_each_process() -> dict[int, tuple[str, str]]:
    """Return the module and name of each such object that there is here, by its id."""
    found = {}
    for module, names in _NAMES.items():
        held = vars(sys.modules[module]) if module in sys.modules else {}
        for name in names:
            if name in held:
                found[id(held[name])] = (module, name)
    return found


# Python has no way to make another one of them.
_OF_INTERPRETER = ("version_info", "flags", "float_info", "int_info", "hash_info", "thread_info")


def of_interpreter() -> dict[int, tuple[str, str]]:
    """Return the module and name of what `sys` tells of this interpreter in objects of their own classes, by id."""
    return {id(getattr(sys, name)): ("sys", name) for name in _OF_INTERPRETER}


def standing_for(value: Any, places: dict[int, tuple[str, str]]) -> Any:
    """Return what is pickled for a variable: pickle asks nobody about lists and dictionaries."""
    return _Own(*places[id(value)]) if type(value) in (list, dict) and id(value) in places else value


class _Own:
    def __init__(self, module: str, name: str) -> None:
        self._place = module, name

    def __reduce__(self) -> Any:
        return attribute_of, self._place
