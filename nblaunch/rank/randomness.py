"""Random state: each rank's own, or a reproducible one.

A forked rank has the state of the process it was forked from, and torch starts every process with the same constant
seed, so without this all ranks would draw the same numbers. Libraries that a cell imports later are seeded when their
import is done. So are generators that libraries make for themselves when they are imported: those of SymPy and Faker,
and of whatever was imported before a fork. In a run with a seed NumPy's generators that are made without one are
reproducible too; those of `random.Random`, `random.SystemRandom` and `secrets` take what the system gives, which nobody
can choose.
"""

from __future__ import annotations

import hashlib
import os
import random
import secrets
from functools import partial
from typing import Any

from nblaunch.processes.child.imports import when_imported
from nblaunch.processes.starting.generators import seed_anew

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
    number = _number(entropy)
    here = os.getpid()
    random.seed(number)
    when_imported("numpy.random", lambda module: _seed_numpy(module, number, seed is not None, here), "seed")
    seed_anew(entropy)
    for library, names in _OF_LIBRARIES.items():
        when_imported(library, partial(_seed_generators, names, entropy), "seed")
    when_imported("sympy.core.symbol", partial(_seed_dummies, entropy), "seed")
    when_imported("torch", lambda module: module.manual_seed(number % 2**63), "seed")


def _number(entropy: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(entropy, digest_size=8).digest(), "big")


# What they draw from, by the module: also in a fork of the notebook, and in a run with a seed in all ranks.
_OF_LIBRARIES = {"sympy.core.random": ("rng", "_assumptions_rng"), "faker.generator": ("mod_random",)}


def _seed_generators(names: tuple[str, ...], entropy: bytes, module: Any) -> None:
    for name in names:
        generator = getattr(module, name, None)
        if isinstance(generator, random.Random):
            generator.seed(_number(entropy + f":{module.__name__}:{name}".encode()))


def _seed_dummies(entropy: bytes, module: Any) -> None:
    """Let a rank's dummy symbols differ from those of the others: SymPy numbers them from a number drawn at random."""
    if hasattr(module.Dummy, "_base_dummy_index"):
        drawn = random.Random(_number(entropy + b":sympy.Dummy"))
        module.Dummy._base_dummy_index = drawn.randint(10**6, 9 * 10**6)


def _seed_numpy(module: Any, number: int, reproducible: bool, rank: int) -> None:
    """Seed NumPy's global state; and, in a run with a seed, what ``np.random.default_rng()`` begins with.

    A generator that is made without a seed asks `secrets` for one. In such a run it gets the next number of a stream of
    the rank's own. A process that the rank forks does not, also where it is the first to import this: each would get
    the same.
    """
    forked = os.getpid() != rank
    if forked and not reproducible:
        return
    module.seed(number % 2**32)
    source: Any = getattr(module, "bit_generator", None)
    if reproducible and not forked and hasattr(source, "randbits"):
        source.randbits = random.Random(number).getrandbits
        os.register_at_fork(after_in_child=lambda: setattr(source, "randbits", secrets.randbits))
