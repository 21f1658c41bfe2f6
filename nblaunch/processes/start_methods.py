"""The ways to make the process of a rank, by name."""

from __future__ import annotations

from nblaunch.processes.direct_children import Fork, Spawn
from nblaunch.processes.forkserver_client import Forkserver
from nblaunch.processes.starting import StartMethod

__all__ = ["START_METHODS"]

START_METHODS: dict[str, type[StartMethod]] = {"spawn": Spawn, "fork": Fork, "forkserver": Forkserver}
