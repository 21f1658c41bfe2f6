"""Random state: each rank's own, or a reproducible one.

A forked rank has the state of the process it was forked from, and torch starts every process with the same constant
seed, so without this all ranks would draw the same numbers. Libraries that a cell imports later are seeded when their
import is done.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

__all__ = ["seed_everything"]


_with_fresh_entropy = -1  # the process that has seeded itself so


def seed_everything(seed: int | None, rank: int) -> None:
    """Seed `random`, NumPy's global state and torch, now or when they are imported.

    What a process has done for itself while it waited to be a rank is not done again: seeding torch takes milliseconds.

    Parameters
    ----------
    seed : int or None
        Common seed of the run: ranks get different states, the same ones in every run. None takes fresh entropy.
    rank : int
        Number of the rank.
    """
    global _with_fresh_entropy
    if seed is None and _with_fresh_entropy == os.getpid():
        return
    _with_fresh_entropy = os.getpid() if seed is None else -1
    entropy = os.urandom(16) if seed is None else f"{seed}:{rank}".encode()
    number = int.from_bytes(hashlib.blake2b(entropy, digest_size=8).digest(), "big")
    random.seed(number)
    _when_imported("numpy.random", lambda module: module.seed(number % 2**32))
    _when_imported("torch", lambda module: module.manual_seed(number % 2**63))


def _when_imported(name: str, act: Callable[[ModuleType], object]) -> None:
    # one that an earlier call has left, in the process that this one was forked from too
    sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "awaited", None) != name]
    module = sys.modules.get(name)
    if module is not None:
        act(module)
    else:
        sys.meta_path.insert(0, _AfterImport(name, act))


class _AfterImport(importlib.abc.MetaPathFinder):
    """Finds one module as the other finders would, and acts when it has been executed."""

    def __init__(self, name: str, act: Callable[[ModuleType], object]) -> None:
        self.awaited = name
        self._act = act

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.awaited:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            self._act(module)

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
