"""`HeavyImports`: the modules that took a rank long to import; see `nblaunch.rank.heavy_imports`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nblaunch.events import Imported
from nblaunch.messages.message import Body, Message
from nblaunch.payload import Packed, pack_plain, unpack_plain

__all__ = ["HeavyImports"]


@dataclass(frozen=True)
class HeavyImports(Message):
    """Names of imported modules, each of which has imported many others."""

    KIND: ClassVar[str] = "imported"
    VERB: ClassVar[str] = "imported"

    modules: tuple[str, ...]

    def pack(self) -> Packed:
        """Return the names as plain objects."""
        return pack_plain(list(self.modules))

    @classmethod
    def read(cls, body: Body) -> HeavyImports:
        """Read the names."""
        modules = unpack_plain(body)
        if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
            raise TypeError("these are no names of modules")
        return cls(tuple(modules))

    def event(self, rank: int, at: float) -> Imported:
        """Return the event with these names."""
        return Imported(rank, self.modules, at)
