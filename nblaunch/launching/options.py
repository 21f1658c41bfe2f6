"""`Options`: the options of one run, checked before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nblaunch.launching.option_table import OPTIONS, Kind, Option
from nblaunch.processes.starting.start_methods import start_method_named
from nblaunch.wording import in_bytes

__all__ = ["Options"]


def _default_panel() -> str:
    """Return the default of ``panel``: the environment variable ``NBLAUNCH_PANEL``, or ``"live"``."""
    return os.environ.get("NBLAUNCH_PANEL") or "live"


def _chosen_ranks(ranks: Iterable[int] | None) -> frozenset[int] | None:
    """Return ``show_ranks`` as a set; None means all ranks, and what is no collection raises `TypeError`."""
    try:
        return None if ranks is None else frozenset(ranks)
    except TypeError:
        raise TypeError(f"show_ranks is a collection of numbers of ranks, such as [0, 2], not {ranks!r}") from None


def _arguments(args: Iterable[Any]) -> tuple[Any, ...]:
    try:
        return tuple(args)
    except TypeError:
        raise TypeError(f"args are the arguments of the function, such as (3,), not {args!r}") from None


def _names_of_variables(option: str, names: Iterable[str]) -> tuple[str, ...]:
    # a text would be taken for names of one letter
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{option} is a collection of names of variables, such as ['loss'], not {names!r}")
    return tuple(names)


_DEFAULTS: dict[str, Any] = {option.name: option.default for option in OPTIONS}
_NAMES = tuple(option.name for option in OPTIONS if option.goes_to == "Options")
_CHECKED = tuple(option for option in OPTIONS if option.takes)


def _is_size(value: Any) -> bool:
    try:
        in_bytes(value)
    except ValueError:
        return False
    return True


# Checks of values that are not the default.
_CHECKS: dict[Kind, Callable[[Any], bool]] = {
    Kind.DURATION: lambda value: value >= 0 and math.isfinite(value),
    Kind.POSITIVE_DURATION: lambda value: value > 0 and math.isfinite(value),
    Kind.COUNT: lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    Kind.AT_LEAST_ONE: lambda value: value >= 1,
    Kind.SIZE: _is_size,
    Kind.BYTES: lambda value: value >= 0,
}


def _makes_sense(option: Option, value: Any) -> bool:
    if option.kind is Kind.CHOICE:
        return value in option.choices
    try:
        return _CHECKS[option.kind](value)
    except TypeError:  # a text instead of a number
        return False


# How fields of `Options` are made from the values that are given.
_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "args": _arguments,
    "capture": lambda names: _names_of_variables("capture", names),
    "collect": lambda names: _names_of_variables("collect", names),
    "env": lambda env: dict(env or ()),
    # a value that is no size is left for `_CHECKS` to refuse
    "max_log": lambda size: in_bytes(size) if _is_size(size) else size,
    "panel": lambda panel: _default_panel() if panel is None else panel,
    "show_ranks": _chosen_ranks,
}


@dataclass(frozen=True)
class Options:
    """The options of a run; `nblaunch.launch` says what each field means.

    Raises
    ------
    ValueError, NotADirectoryError
        If a value makes no sense.
    """

    args: tuple[Any, ...] = ()
    capture: tuple[str, ...] = ()
    no_capture: bool = _DEFAULTS["no_capture"]
    collect: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = _DEFAULTS["timeout"]
    grace: float = _DEFAULTS["grace"]
    on_failure: str = _DEFAULTS["on_failure"]
    stall: float = _DEFAULTS["stall"]
    straggler: float = _DEFAULTS["straggler"]
    max_restarts: int = _DEFAULTS["max_restarts"]
    start_method: str = _DEFAULTS["start_method"]
    log_dir: str | None = _DEFAULTS["log_dir"]
    max_log: int = _DEFAULTS["max_log"]
    seed: int | None = _DEFAULTS["seed"]
    threads: int | None = _DEFAULTS["threads"]
    show_locals: bool = _DEFAULTS["show_locals"]
    quiet: bool = _DEFAULTS["quiet"]
    panel: str = field(default_factory=_default_panel)
    show_ranks: frozenset[int] | None = _DEFAULTS["show_ranks"]
    size_notice: float = _DEFAULTS["size_notice"]
    pdb: bool = _DEFAULTS["pdb"]
    hold: float = _DEFAULTS["hold"]
    settings: bool = _DEFAULTS["settings"]
    show_values: bool = _DEFAULTS["show_values"]

    @classmethod
    def of(cls, chosen: Mapping[str, Any]) -> Options:
        """Make options from arguments of `nblaunch.launch`, or from what a line and ``%config`` choose, by name.

        Options that are missing have their defaults. Names of other options are ignored.
        """
        given = {name: chosen[name] for name in _NAMES if name in chosen}
        for name, convert in _CONVERTERS.items():
            if name in given:
                given[name] = convert(given[name])
        return cls(**given)

    def __post_init__(self) -> None:
        for option in _CHECKED:
            value = getattr(self, option.name)
            if value is option.default:
                continue
            if not _makes_sense(option, value):
                raise ValueError(f"{option.name} is {option.takes}, not {value!r}")
        start_method_named(self.start_method)
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            if name in self.env:
                raise ValueError(f"env sets {name}, which is each rank's own: leave it out")
        for name, value in self.env.items():
            if not (_is_encodable(name) and _is_encodable(value)) or not name or "=" in name:
                raise ValueError(
                    f"env sets {name!r} to {value!r:.100}, which no environment can hold: use a name without '=', and "
                    "texts without null characters"
                )
        shown: Iterable[object] = self.show_ranks or ()
        for rank in shown:
            if not isinstance(rank, int) or isinstance(rank, bool) or rank < 0:
                raise ValueError(f"show_ranks holds numbers of ranks, 0 or more, not {rank!r}")
        if self.log_dir is not None and not _is_encodable(self.log_dir):
            raise ValueError(f"log_dir {self.log_dir!r} cannot be the name of a folder")
        if self.log_dir is not None and os.path.exists(self.log_dir) and not os.path.isdir(self.log_dir):
            raise NotADirectoryError(f"log_dir {self.log_dir!r} is a file: name a folder, which may be a new one")


def _is_encodable(text: str) -> bool:
    """Tell whether a text can be a file name or environment variable of the system."""
    try:
        return b"\0" not in os.fsencode(text)
    except (TypeError, UnicodeEncodeError):  # a number; a lone surrogate, half of a character
        return False
