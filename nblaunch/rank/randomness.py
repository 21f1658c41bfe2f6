"""Random state: each rank has its own, fresh or reproducible.

A forked rank has the state of the process that it was forked from, and torch begins with the same constant seed in
every process, so without this all ranks would draw the same numbers. Libraries that a cell imports later are seeded
after their import. Generators that libraries have made for themselves are seeded too: those of SymPy and Faker, and
those of libraries that were imported before a fork. In a run with a seed, NumPy's generators that are made without a
seed are reproducible. `random.Random()`, `random.SystemRandom` and `secrets` are not: they use entropy of the system.
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


# Id of the process that has seeded itself from fresh entropy.
_seeded_freshly = -1


def seed_everything(seed: int | None, rank: int) -> None:
    """Seed `random`, NumPy's global state and torch, now or when they are imported.

    A process that has taken fresh entropy before it became a rank is not seeded again, which would take milliseconds.

    Parameters
    ----------
    seed : int or None
        Seed of the run: each rank gets a state of its own, the same one in every run. None takes fresh entropy.
    rank : int
        Number of the rank.
    """
    global _seeded_freshly
    here = os.getpid()
    if seed is None and _seeded_freshly == here:
        return
    _seeded_freshly = here if seed is None else -1
    entropy = os.urandom(16) if seed is None else f"{seed}:{rank}".encode()
    number = _number(entropy)
    random.seed(number)
    when_imported("numpy.random", lambda module: _seed_numpy(module, number, seed is not None, here), "seed")
    seed_anew(entropy)
    for library, names in _LIBRARY_GENERATORS.items():
        when_imported(library, partial(_seed_generators, names, entropy), "seed")
    when_imported("sympy.core.symbol", partial(_seed_dummies, entropy), "seed")
    when_imported("torch", lambda module: module.manual_seed(number % 2**63), "seed")


def _number(entropy: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(entropy, digest_size=8).digest(), "big")


# By module: the names of generators that the library makes when it is imported.
_LIBRARY_GENERATORS = {"sympy.core.random": ("rng", "_assumptions_rng"), "faker.generator": ("mod_random",)}


def _seed_generators(names: tuple[str, ...], entropy: bytes, module: Any) -> None:
    for name in names:
        generator = getattr(module, name, None)
        if isinstance(generator, random.Random):
            generator.seed(_number(entropy + f":{module.__name__}:{name}".encode()))


def _seed_dummies(entropy: bytes, module: Any) -> None:
    """Let each rank number SymPy's dummy symbols from a random number of its own: equal numbers are equal symbols."""
    if hasattr(module.Dummy, "_base_dummy_index"):
        drawn = random.Random(_number(entropy + b":sympy.Dummy"))
        module.Dummy._base_dummy_index = drawn.randint(10**6, 9 * 10**6)


def _seed_numpy(module: Any, number: int, reproducible: bool, rank_pid: int) -> None:
    """Seed NumPy's global state and, in a run with a seed, the generators that are made without one.

    ``np.random.default_rng()`` takes its seed from `secrets`. In a run with a seed, it gets the next number of a stream
    of the rank instead. Processes that the rank forks keep `secrets`: otherwise all of them would get the same numbers.
    """
    forked = os.getpid() != rank_pid
    if forked and not reproducible:
        return
    module.seed(number % 2**32)
    source: Any = getattr(module, "bit_generator", None)
    if reproducible and not forked and hasattr(source, "randbits"):
        source.randbits = random.Random(number).getrandbits
        os.register_at_fork(after_in_child=lambda: setattr(source, "randbits", secrets.randbits))
