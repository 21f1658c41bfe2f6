"""The ways to make the process of a rank, by name."""

from __future__ import annotations

from nblaunch.processes.starting.base import StartMethod
from nblaunch.processes.starting.direct import Fork, Spawn
from nblaunch.processes.starting.forkserver_client import Forkserver
from nblaunch.processes.starting.zygotes import Zygote

__all__ = ["START_METHODS", "start_method_named"]

START_METHODS: dict[str, type[StartMethod]] = {
    "zygote": Zygote,
    "forkserver": Forkserver,
    "spawn": Spawn,
    "fork": Fork,
}


def start_method_named(name: str) -> type[StartMethod]:
    """Return a start method.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in START_METHODS:
        raise ValueError(f"unknown start_method {name!r}: choose one of {', '.join(map(repr, START_METHODS))}")
    return START_METHODS[name]
