"""`Options`: how a cell or function is to be launched, checked before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nblaunch.processes.starting.start_methods import start_method_named
from nblaunch.wording import in_bytes

__all__ = ["MAX_LOG", "PANELS", "Options", "chosen_ranks", "default_panel", "log_size"]

MAX_LOG = 1 << 30
"""Bytes of a log that are kept where nobody says how many."""

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


def log_size(size: int | str) -> int:
    """Return the bytes of a log that are to be kept; 0 is all.

    Raises
    ------
    ValueError
        If it is no size.
    """
    try:
        return in_bytes(size)
    except ValueError:
        raise ValueError(f"max_log is a size such as 500M or 2G, or 0 for no limit, not {size!r}") from None


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
    stall: float = 60.0
    straggler: float = 60.0
    max_restarts: int = 0
    start_method: str = "zygote"
    log_dir: str | None = None
    max_log: int = MAX_LOG
    seed: int | None = None
    threads: int | None = None
    show_locals: bool = False
    quiet: bool = False
    panel: str = field(default_factory=default_panel)
    show_ranks: frozenset[int] | None = None
    size_notice: float = 1e9
    pdb: bool = False
    hold: float = 600.0
    settings: bool = True
    show_values: bool = False

    def __post_init__(self) -> None:
        if self.timeout is not None and not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise ValueError(f"timeout is a number of seconds above 0, not {self.timeout!r}")
        if not (self.grace >= 0 and math.isfinite(self.grace)):
            raise ValueError(f"grace is a number of seconds, 0 or more, not {self.grace!r}")
        for name in ("stall", "straggler"):
            seconds = getattr(self, name)
            if not (seconds >= 0 and math.isfinite(seconds)):
                raise ValueError(f"{name} is a number of seconds, 0 for never, not {seconds!r}")
        restarts: object = self.max_restarts
        if not isinstance(restarts, int) or isinstance(restarts, bool) or restarts < 0:
            raise ValueError(f"max_restarts is a whole number, 0 or more, not {self.max_restarts!r}")
        if self.on_failure not in ("stop", "continue"):
            raise ValueError(f"on_failure is 'stop' or 'continue', not {self.on_failure!r}")
        if self.panel not in PANELS:
            raise ValueError(f"panel is {', '.join(map(repr, PANELS[:-1]))} or {PANELS[-1]!r}, not {self.panel!r}")
        log_size(self.max_log)
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
        if not (self.hold > 0 and math.isfinite(self.hold)):
            raise ValueError(f"hold is a number of seconds above 0, not {self.hold!r}")
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
