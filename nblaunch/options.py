"""`Options`: how a cell or function is to be launched, checked before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nblaunch.processes.start_methods import start_method_named

__all__ = ["PANELS", "Options", "chosen_ranks", "default_panel"]

PANELS = ("live", "text", "none")
"""What a run can be shown as: a widget and its record, plain lines, or nothing."""


def default_panel() -> str:
    """Return what a run is shown as where nobody says: what ``NBLAUNCH_PANEL`` says, or ``"live"``."""
    return os.environ.get("NBLAUNCH_PANEL") or "live"


def chosen_ranks(ranks: Iterable[int] | None) -> frozenset[int] | None:
    """Return the ranks whose outputs are to be shown; None is all.

    Raises
    ------
    TypeError
        If it is no collection.
    """
    try:
        return None if ranks is None else frozenset(ranks)
    except TypeError:
        raise TypeError(f"show_ranks is a collection of numbers of ranks, such as [0, 2], not {ranks!r}") from None


@dataclass(frozen=True)
class Options:
    """What can be chosen about a launch; see `nblaunch.launch` for what each field means.

    Raises
    ------
    ValueError, NotADirectoryError
        If a value makes no sense.
    """

    args: tuple[Any, ...] = ()
    capture: tuple[str, ...] = ()
    no_capture: bool = False
    collect: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    grace: float = 5.0
    on_failure: str = "stop"
    start_method: str = "zygote"
    log_dir: str | None = None
    seed: int | None = None
    threads: int | None = None
    quiet: bool = False
    panel: str = field(default_factory=default_panel)
    show_ranks: frozenset[int] | None = None
    size_notice: float = 1e9

    def __post_init__(self) -> None:
        if self.timeout is not None and not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise ValueError(f"timeout is a number of seconds above 0, not {self.timeout!r}")
        if not (self.grace >= 0 and math.isfinite(self.grace)):
            raise ValueError(f"grace is a number of seconds, 0 or more, not {self.grace!r}")
        if self.on_failure not in ("stop", "continue"):
            raise ValueError(f"on_failure is 'stop' or 'continue', not {self.on_failure!r}")
        if self.panel not in PANELS:
            raise ValueError(f"panel is {', '.join(map(repr, PANELS[:-1]))} or {PANELS[-1]!r}, not {self.panel!r}")
        start_method_named(self.start_method)
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            if name in self.env:
                raise ValueError(f"env sets {name}, which is each rank's own: leave it out")
        for name, value in self.env.items():
            if not name or "=" in name or not (_is_encodable(name) and _is_encodable(value)):
                raise ValueError(
                    f"env sets {name!r} to {value!r:.100}, which no environment can hold: use a name without '=', and "
                    "texts without null characters"
                )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is a number of threads per rank, at least 1, not {self.threads!r}")
        shown: Iterable[object] = self.show_ranks or ()
        for rank in shown:
            if not isinstance(rank, int) or isinstance(rank, bool) or rank < 0:
                raise ValueError(f"show_ranks holds numbers of ranks, 0 or more, not {rank!r}")
        if not self.size_notice >= 0:
            raise ValueError(f"size_notice is a number of bytes, 0 for no notice, not {self.size_notice!r}")
        if self.log_dir is not None and not _is_encodable(self.log_dir):
            raise ValueError(f"log_dir {self.log_dir!r} cannot be the name of a folder")
        if self.log_dir is not None and os.path.exists(self.log_dir) and not os.path.isdir(self.log_dir):
            raise NotADirectoryError(f"log_dir {self.log_dir!r} is a file: name a folder, which may be a new one")


def _is_encodable(text: str) -> bool:
    """Tell whether the system can be given this text."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a character
        return False
