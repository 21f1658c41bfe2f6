"""Random generators that libraries make while they are imported before a fork: all forks would draw the same from them.

Of those that begin with entropy of the system nobody expects anything but that, so that each fork may seed them anew.
One that a library has seeded itself gives what the library wants it to give, and is left alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import sys
import weakref
from collections.abc import Iterator
from typing import Any

__all__ = ["remembering", "seed_anew"]

# By the module that has made them and how many it had made before, which is the same in every process.
_remembered: dict[tuple[str, int], weakref.ref[random.Random]] = {}
# How many each module has made, also before this process was forked from another zygote.
_made: dict[str, int] = {}


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Remember which generators are made from entropy of the system in the meantime."""
    seed = random.Random.seed

    @functools.wraps(seed)
    def noting(generator: random.Random, a: Any = None, *args: Any, **keywords: Any) -> None:
        seed(generator, a, *args, **keywords)
        known = next((place for place, one in _remembered.items() if one() is generator), None)
        if a is not None and known is not None:
            del _remembered[known]
        elif a is None and known is None:
            module = _who_asks()
            _made[module] = _made.get(module, 0) + 1
            _remembered[module, _made[module]] = weakref.ref(generator)

    random.Random.seed = noting  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        random.Random.seed = seed  # type: ignore[method-assign]


def _who_asks() -> str:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (__name__, "random"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


def seed_anew(entropy: bytes) -> None:
    """Seed the generators that are remembered, each with another number that depends on this entropy alone."""
    for (module, number), reference in _remembered.items():
        generator = reference()
        if generator is not None:
            seed = hashlib.blake2b(entropy + f":{module}:{number}".encode(), digest_size=8).digest()
            # a class of the library's may not take one
            with contextlib.suppress(Exception):
                generator.seed(int.from_bytes(seed, "big"))
