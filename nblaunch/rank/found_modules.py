"""Imports of modules that the notebook has imported, from files where ``sys.path`` would not find them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ["find_modules_at"]


def find_modules_at(places: Mapping[str, str]) -> None:
    """Have top-level modules imported from these places, even if ``sys.path`` leads to others of the same names.

    The place of a module is its file. That of a package is its ``__init__.py``, or its folder if there is no such file.
    """
    if places:
        sys.meta_path.insert(0, _PlaceFinder(dict(places)))


class _PlaceFinder(MetaPathFinder):
    def __init__(self, places: dict[str, str]) -> None:
        self._places = places

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = self._places.get(fullname)
        if place is None:
            return None
        if Path(place).is_dir():
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [place]
            return spec
        locations = [str(Path(place).parent)] if Path(place).name.startswith("__init__.") else None
        return spec_from_file_location(fullname, place, submodule_search_locations=locations)
