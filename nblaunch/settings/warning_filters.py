"""Settings of `warnings`: which warnings are shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from nblaunch.settings.library import Library

__all__ = ["FILTERS"]

# A filter: action, message, category, module, line. A category of the notebook is the class itself, others are named:
# "module:name".
_Described = tuple[str, Any, Any, Any, int]

# The filters that Python begins with.
_OF_PYTHON: tuple[_Described, ...] = (
    ("default", None, "builtins:DeprecationWarning", "__main__", 0),
    ("ignore", None, "builtins:DeprecationWarning", None, 0),
    ("ignore", None, "builtins:PendingDeprecationWarning", None, 0),
    ("ignore", None, "builtins:ImportWarning", None, 0),
    ("ignore", None, "builtins:ResourceWarning", None, 0),
)

# Filters that libraries add when they are imported, also in a rank.
_OF_LIBRARIES: frozenset[_Described] = frozenset(
    {
        ("ignore", ("numpy.dtype size changed", 34), "builtins:Warning", None, 0),
        ("ignore", ("numpy.ufunc size changed", 34), "builtins:Warning", None, 0),
        ("ignore", ("numpy.ndarray size changed", 34), "builtins:Warning", None, 0),
        ("always", None, "numpy.exceptions:RankWarning", None, 0),
        ("always", None, "numpy:RankWarning", None, 0),
        ("always", None, "scipy.special._sf_error:SpecialFunctionWarning", None, 0),
        ("ignore", ("the matrix subclass is not the recommended way", 34), "builtins:Warning", None, 0),
        ("ignore", ("torch::jit::fuser::cuda", 34), "builtins:Warning", None, 0),
        ("ignore", None, "torch.jit._trace:TracerWarning", ("torch.(?!jit)", 32), 0),
        ("once", None, "sympy.utilities.exceptions:SymPyDeprecationWarning", None, 0),
        ("always", None, "builtins:DeprecationWarning", (r"^sklearn\.", 32), 0),
    }
)

# Beginnings of the messages in filters that kernels and shells add.
_OF_SHELLS = (".*Trio's signal handling code", "To exit: use")

# The filters at the last reading: to compare them is faster than to describe all of them again.
_last: list[Any] = []
_described_last: tuple[_Described, ...] = ()


def _is_a_shells(entry: Any) -> bool:
    message = getattr(entry[1], "pattern", entry[1]) or ""
    return message.startswith(_OF_SHELLS) or entry[2].__module__.startswith("IPython.")


def _category(kind: type) -> Any:
    module = sys.modules.get(kind.__module__)
    named = kind.__module__ != "__main__" and getattr(module, kind.__qualname__, None) is kind
    return f"{kind.__module__}:{kind.__qualname__}" if named else kind


def _pattern(pattern: Any) -> Any:
    return (pattern.pattern, pattern.flags) if isinstance(pattern, re.Pattern) else pattern


def _described(filters: list[Any]) -> tuple[_Described, ...]:
    global _last, _described_last
    if filters != _last:
        _last = list(filters)
        _described_last = tuple(
            (entry[0], _pattern(entry[1]), _category(entry[2]), _pattern(entry[3]), entry[4])
            for entry in filters
            if not _is_a_shells(entry)
        )
    return _described_last


def _read(module: Any) -> dict[str, Any]:
    found = _described(module.filters)
    if found == _OF_PYTHON or tuple(one for one in found if _is_chosen(one)) == _OF_PYTHON:
        return {}
    return {"filters": found}


def _is_chosen(described: _Described) -> bool:
    # a class of the notebook may be unhashable, so it is not looked up
    return not isinstance(described[2], str) or described not in _OF_LIBRARIES


def _apply(module: Any, _: str, value: tuple[_Described, ...]) -> None:
    if _described(module.filters) == value:
        return
    own = {_pattern(part): part for entry in module.filters for part in (entry[1], entry[3]) if part is not None}
    kept = [entry for entry in module.filters if _is_a_shells(entry)]
    module.filters[:] = kept + [entry for described in value if (entry := _built(described, own)) is not None]
    # `warnings` caches which warnings it has shown, until it is told that the filters have changed
    getattr(module, "_filters_mutated", lambda: None)()


def _built(described: _Described, own: dict[Any, Any]) -> Any:
    """Return a filter for `warnings.filters`; None if the library of its category is not imported yet."""
    action, message, category, module, line = described
    if isinstance(category, str):
        place, _, name = category.partition(":")
        found: Any = sys.modules.get(place)
        category = getattr(found, name, None)
        if category is None:
            return None
    message, module = (
        part if part in own or not isinstance(part, tuple) else re.compile(*part) for part in (message, module)
    )
    return action, own.get(message, message), category, own.get(module, module), line


def _again_after(_: str, value: tuple[_Described, ...]) -> Iterator[str]:
    """Yield the modules of the categories, and those that put filters of their own before the others."""
    yield from {described[2].partition(":")[0] for described in value if isinstance(described[2], str)}
    yield from ("numpy", "pandas", "scipy.special", "sklearn", "sympy", "torch")


FILTERS = Library("warnings", _read, _apply, _again_after)
"""The filters of `warnings`."""
