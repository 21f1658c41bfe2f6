"""Which warnings are shown, in the order in which `warnings` looks at its filters."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from nblaunch.settings.library import Library

__all__ = ["FILTERS"]

# A filter: action, message, category, module, line. A category is named, as "module:name", unless it is the notebook's.
_Described = tuple[str, Any, Any, Any, int]

# What Python itself begins with.
_OF_PYTHON: tuple[_Described, ...] = (
    ("default", None, "builtins:DeprecationWarning", "__main__", 0),
    ("ignore", None, "builtins:DeprecationWarning", None, 0),
    ("ignore", None, "builtins:PendingDeprecationWarning", None, 0),
    ("ignore", None, "builtins:ImportWarning", None, 0),
    ("ignore", None, "builtins:ResourceWarning", None, 0),
)

# What libraries add when they are imported, in a rank too.
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

# Beginnings of messages that kernels and shells filter for themselves.
_OF_SHELLS = (".*Trio's signal handling code", "To exit: use")

# the filters that were described last: looking at all of them again takes longer than seeing that they are the same
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
    # a class of the notebook's may be of a kind that cannot be looked up
    return not isinstance(described[2], str) or described not in _OF_LIBRARIES


def _apply(module: Any, _: str, value: tuple[_Described, ...]) -> None:
    if _described(module.filters) == value:
        return
    own = {_pattern(part): part for entry in module.filters for part in (entry[1], entry[3]) if part is not None}
    kept = [entry for entry in module.filters if _is_a_shells(entry)]
    module.filters[:] = kept + [entry for described in value if (entry := _built(described, own)) is not None]
    # what else looks at the filters keeps what it has seen until it is told
    getattr(module, "_filters_mutated", lambda: None)()


def _built(described: _Described, own: dict[Any, Any]) -> Any:
    """Return a filter; None if the library whose warnings it is about is not there yet."""
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
    """Yield the modules whose warnings filters are about, and those that put filters of their own before the others."""
    yield from {described[2].partition(":")[0] for described in value if isinstance(described[2], str)}
    yield from ("numpy", "pandas", "scipy.special", "sklearn", "sympy", "torch")


FILTERS = Library("warnings", _read, _apply, _again_after)
"""The filters of `warnings`."""
