"""Settings of libraries for figures and pictures: matplotlib, Pillow, Plotly."""

from __future__ import annotations

import copy
import functools
import sys
from typing import Any

from nblaunch.settings.library import Library, Remembered, attribute, differing, set_attribute

__all__ = ["FIGURES"]

_matplotlib = Remembered()

# The first element of lists that `rcParamsDefault` shares with `rcParams`: a change in place changes both.
_FIRST = {
    "font.family": "sans-serif", "font.serif": "DejaVu Serif", "font.sans-serif": "DejaVu Sans",
    "font.monospace": "DejaVu Sans Mono", "font.cursive": "Apple Chancery", "font.fantasy": "Chicago",
}  # fmt: skip

# The shell of each process chooses how figures are shown.
_BACKENDS = ("backend", "backend_fallback", "interactive", "toolbar")


def _read_matplotlib(module: Any) -> dict[str, Any]:
    values: Any = module.rcParams
    # Read as a plain dictionary: `rcParams["backend"]` would choose a backend.
    if not dict.__eq__(values, _matplotlib.values):
        default, original = module.rcParamsDefault, module.rcParamsOrig
        _matplotlib.changed = {
            name: value
            for name, value in dict.items(values)
            if name not in _BACKENDS
            # a rank reads the settings file (matplotlibrc) itself
            and (
                value != dict.get(default, name)
                or value != dict.get(original, name)
                or (name in _FIRST and value[:1] != [_FIRST[name]])
            )
        }
        # lists are changed in place, as in rcParams["font.sans-serif"].insert(0, "Arial")
        _matplotlib.values = {
            name: list(value) if isinstance(value, list) else value for name, value in dict.items(values)
        }
        _matplotlib.changed = copy.deepcopy(_matplotlib.changed)
    return {**_matplotlib.changed, **_registered(module)}


def _registered(module: Any) -> dict[str, Any]:
    """Return the colour maps and colour sequences that were registered here."""
    maps, rows = attribute(module, "colormaps"), attribute(module, "color_sequences")
    found: dict[str, Any] = {}
    of_library = attribute(maps, "_builtin_cmaps")
    if of_library is not None and len(maps) != len(of_library):
        # seaborn registers its colour maps when it is imported, also in a rank
        known = {*of_library, *vars(sys.modules.get("seaborn.cm", object))}
        found["colormaps"] = {name: maps[name] for name in maps if name not in known and name[:-2] not in known}
    of_library = attribute(rows, "_BUILTIN_COLOR_SEQUENCES")
    if of_library is not None and len(rows) != len(of_library):
        found["color_sequences"] = {name: rows[name] for name in rows if name not in of_library}
    return {name: registered for name, registered in found.items() if registered}


def _apply_matplotlib(module: Any, name: str, value: Any) -> None:
    if name == "color_sequences":
        for one, colours in value.items():
            module.color_sequences.register(one, colours)
    elif name == "colormaps":
        for one, colours in value.items():
            module.colormaps.unregister(one)
            module.colormaps.register(colours, name=one)
        module.colormaps.register = _making_room(module.colormaps, module.colormaps.register, set(value))
    else:
        module.rcParams.update({name: value})


def _making_room(registry: Any, register: Any, ours: set[str]) -> Any:
    """Return a function that registers colour maps, and lets a library that is imported later replace ours once."""

    @functools.wraps(register)
    def registering(cmap: Any, *, name: str | None = None, force: bool = False) -> None:
        chosen = name or cmap.name
        if chosen in ours:
            ours.discard(chosen)
            registry.unregister(chosen)
        register(cmap, name=name, force=force)

    return registering


def _read_units(module: Any) -> dict[str, Any]:
    """Return the unit converters whose own class, or the class that they convert, is the notebook's."""
    found = {
        kind: converter
        for kind, converter in module.registry.items()
        if "__main__" in (kind.__module__, type(converter).__module__, getattr(converter, "__module__", ""))
    }
    return {"registry": found} if found else {}


_PILLOW = {"Image.MAX_IMAGE_PIXELS": 89478485, "ImageFile.LOAD_TRUNCATED_IMAGES": False, "ImageFile.MAXBLOCK": 65536}


def _read_pillow(name: str) -> Any:
    defaults = {path.rpartition(".")[2]: value for path, value in _PILLOW.items() if path.startswith(f"{name}.")}
    return lambda module: differing(vars(module), defaults)


def _read_plotly(module: Any) -> dict[str, Any]:
    return differing({"templates.default": module.templates.default}, {"templates.default": "plotly"})


FIGURES = (
    Library("matplotlib", _read_matplotlib, _apply_matplotlib),
    Library("matplotlib.units", _read_units, lambda module, _, value: module.registry.update(value)),
    Library("PIL.Image", _read_pillow("Image"), set_attribute),
    Library("PIL.ImageFile", _read_pillow("ImageFile"), set_attribute),
    Library("plotly.io", _read_plotly, set_attribute),
)
"""Settings of the libraries for figures and pictures."""
