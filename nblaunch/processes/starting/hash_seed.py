"""One hash seed for all ranks of all runs that this process launches: ``hash(name) % world_size`` means one thing.

Python mixes a seed into the hashes of `str`, `bytes` and what is made of them (tuples, frozen dataclasses, paths,
dates). It takes the seed from the variable ``PYTHONHASHSEED`` when a process begins, or else draws one, and nothing
tells which it has drawn. So:

- A process that was started with ``PYTHONHASHSEED`` has a seed that is known, and its ranks have the same.
- Otherwise one seed is drawn here, once, for all ranks. They agree with each other in every run, with every start
  method that begins with a fresh interpreter, after a restart, and when a zygote is replaced. They cannot agree with
  this process: ``hash("a")`` in the notebook is another number than in its ranks. A kernel that is started with
  ``PYTHONHASHSEED=0``, for example, agrees with them.
- Ranks of start method ``fork`` are copies of this process and have its seed, whatever the variable says.
- What the user sets wins: ``os.environ["PYTHONHASHSEED"]`` in the notebook, and ``--env``.

No seed makes equal what a hash takes from addresses: that of an object without a ``__hash__`` of its own, of a function
or of a class, and of None before Python 3.12. An interpreter with ``-E`` or ``-I`` hands these on to what it starts,
and they make Python ignore the variable; then the ranks of one zygote agree, and no others.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping

__all__ = ["VARIABLE", "own_seed", "with_hash_seed"]

VARIABLE = "PYTHONHASHSEED"
# Seeds are of 32 bits, and 0 means that hashes are not randomised.
_SEEDS = 2**32
# Values that make Python draw a seed, as if there were none.
_NONE_GIVEN = ("", "random")


def with_hash_seed(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the seed that ranks have, unless it names one already."""
    if env.get(VARIABLE, "") in _NONE_GIVEN:
        return {**env, VARIABLE: _seed_of_ranks()}
    return dict(env)


@functools.cache
def own_seed() -> str:
    """Return the seed that this process was started with; an empty text if it has drawn one, which nobody knows."""
    if not sys.flags.hash_randomization:
        return "0"
    if sys.flags.ignore_environment:
        return ""
    # os.environ may have been changed since: that changes what is started from here, but not this process
    with open("/proc/self/environ", "rb") as file:
        variables = file.read().split(b"\0")
    given = [entry.partition(b"=")[2] for entry in variables if entry.startswith(f"{VARIABLE}=".encode())]
    return given[0].decode() if given and given[0].isdigit() else ""


@functools.cache
def _seed_of_ranks() -> str:
    # not of `random`, whose state is the user's
    drawn = 1 + int.from_bytes(os.urandom(8), "big") % (_SEEDS - 1)
    return own_seed() or str(drawn)
