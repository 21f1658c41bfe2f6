"""Random state: each rank's own, or a reproducible one.

A forked rank has the state of the process it was forked from, and torch starts every process with the same constant
seed, so without this all ranks would draw the same numbers. Libraries that a cell imports later are seeded when their
import is done.
"""

from __future__ import annotations

import hashlib
import os
import random

from nblaunch.rank.imports import when_imported

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
    when_imported("numpy.random", lambda module: module.seed(number % 2**32), "seed")
    when_imported("torch", lambda module: module.manual_seed(number % 2**63), "seed")
