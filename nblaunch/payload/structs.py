"""Classes of `msgspec.Struct`: they must be made with their annotations, defaults and options, which C code reads.

All other attributes of such a class are set afterwards, as with other classes.
"""

from __future__ import annotations

import sys
from types import MemberDescriptorType
from typing import Any

__all__ = ["is_struct", "make_struct", "take_out_layout"]

_OPTIONS = (
    *("frozen", "eq", "order", "array_like", "gc", "weakref", "dict", "cache_hash", "tag", "tag_field"),
    *("repr_omit_defaults", "omit_defaults", "forbid_unknown_fields"),
)
_KEYWORDS = "__struct_config__"


def is_struct(metaclass: type) -> bool:
    """Tell whether classes of a metaclass are structs of msgspec."""
    return any(base.__module__ == "msgspec._core" for base in type.mro(metaclass))


def take_out_layout(kind: Any, own: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that a struct must be made with; remove slots and their descriptors from `own`."""
    annotations = own.get("__annotations__", {})
    every: tuple[str, ...] = kind.__struct_fields__
    fields = [name for name in every if name in annotations]
    config = kind.__struct_config__
    keywords = {name: value for name in _OPTIONS if (value := getattr(config, name, None)) is not None}
    keywords["rename"] = dict(zip(every, kind.__struct_encode_fields__, strict=True))
    keywords["kw_only"] = any(name not in kind.__match_args__ for name in fields)
    for name, thing in list(own.items()):
        if name == "__slots__" or (isinstance(thing, MemberDescriptorType) and thing.__objclass__ is kind):
            del own[name]
    born_with: dict[str, Any] = {"__annotations__": {name: annotations[name] for name in fields}, _KEYWORDS: keywords}
    if "__post_init__" in own:
        born_with["__post_init__"] = None
    defaults: tuple[Any, ...] = kind.__struct_defaults__
    with_default = dict(zip(every[len(every) - len(defaults) :], defaults, strict=True))
    return born_with | {name: _default(with_default[name]) for name in fields if name in with_default}


def _default(value: Any) -> Any:
    # msgspec's own object for a default factory cannot be pickled
    factory = getattr(value, "factory", None) if type(value).__module__ == "msgspec._core" else None
    if factory is not None:
        return _Default(factory)
    return _Nothing() if value is sys.modules["msgspec"].NODEFAULT else value


class _Nothing:
    """A field without a default, among others that have one."""


class _Default:
    def __init__(self, factory: Any) -> None:
        self.factory = factory


def make_struct(metaclass: Any, name: str, bases: tuple[type, ...], born_with: dict[str, Any]) -> type:
    """Return a struct with its layout, and without its other attributes."""
    msgspec = sys.modules["msgspec"]
    keywords = born_with.pop(_KEYWORDS)
    made: list[type] = []
    for key, value in list(born_with.items()):
        if isinstance(value, _Default):
            born_with[key] = msgspec.field(default_factory=value.factory)
        elif isinstance(value, _Nothing):
            del born_with[key]
    if "__post_init__" in born_with:
        # msgspec looks for it once, now; the real one is set later, because it may refer to the class
        born_with["__post_init__"] = lambda self: vars(made[0])["__post_init__"](self)
    made.append(metaclass(name, bases, born_with, **keywords))
    return made[0]
