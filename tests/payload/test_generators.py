"""What is said of random generators that are sent to ranks."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from nblaunch.payload import pack, pack_named


def told(value: object) -> tuple[str, ...]:
    space: dict[str, Any] = {"__name__": "__main__"}
    return pack_named({"mine": value}, shared_globals=space).notices


def sentence(verb: str, instead: str, what: str = "a random generator") -> tuple[str, ...]:
    first = f"'mine' {verb} {what}, and every rank gets a copy of it, which gives the same numbers in all of them."
    return (f"{first} For numbers that differ, write {instead} in the cell.",)


class Own(random.Random):
    """A generator of the user's."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.random.PCG64(0), sentence("is", "mine.spawn(world_size)[rank]")),
        (np.random.SeedSequence(0), sentence("is", "mine.spawn(world_size)[rank]")),
        (Own(1), sentence("is", "random.Random(seed + rank)")),
        (random.Random(1).random, sentence("holds", "random.Random(seed + rank)")),
        ({"a": np.random.default_rng(0)}, sentence("holds", "generator.spawn(world_size)[rank]")),
        (np.random.default_rng(0).spawn(2), sentence("holds", "mine[rank]")),
        ((random.Random(1), random.Random(2)), sentence("holds", "mine[rank]")),
        ([random.Random(1)], sentence("holds", "random.Random(seed + rank)")),
        (random.random, ()),
        (np.random.mtrand._rand, ()),
    ],
    ids=range(10),
)
def test_what_to_write_instead(value: object, expected: tuple[str, ...]) -> None:
    assert told(value) == expected


def test_nothing_is_said_of_what_comes_back() -> None:
    assert pack(np.random.default_rng(0)).notices == ()


KEYS = """
import json, jax
from nblaunch.payload import pack_named
key = jax.random.key(0)
values = [key, {"k": key}, jax.random.split(key, 2)]
print(json.dumps([pack_named({"mine": value}, shared_globals={}).notices for value in values]))
"""


@pytest.mark.frameworks
def test_a_key_of_jax_is_told() -> None:
    # in a process of its own: JAX starts threads, and warns from then on of every fork
    done = subprocess.run([sys.executable, "-c", KEYS], check=True, capture_output=True, text=True)
    what = "a random key of JAX"
    assert [tuple(notices) for notices in json.loads(done.stdout)] == [
        sentence("is", "jax.random.fold_in(mine, rank)", what),
        sentence("holds", "jax.random.fold_in(key, rank)", what),
        sentence("is", "mine[rank]", what),
    ]
