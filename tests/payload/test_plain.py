"""Plain objects: what they are, and that nothing else gets through, in either direction."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from nblaunch.payload import Packed, pack, pack_plain, store, unpack_plain

PLAIN: dict[str, Any] = {
    "text": "grüß dich \ud800",
    "numbers": [0, -(2**70), 1.5, True, None],
    "nested": {"a": {"b": [{}, []]}},
    "long": "x" * 300_000,
}


def as_bytes(text: str) -> bytearray:
    return bytearray(bytes(Packed(text.encode(), [], set())))


def test_there_and_back() -> None:
    assert unpack_plain(bytearray(bytes(pack_plain(PLAIN)))) == PLAIN


def test_out_of_a_memory_file() -> None:
    with store(pack_plain(PLAIN)) as stored:
        (parts,) = stored.parts()
    assert unpack_plain(parts) == PLAIN


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (object(), "have no object"),
        ({1: 2}, "a key of plain objects is a int"),
        ([(1,)], "have no tuple"),
        ({"a": b"x"}, "have no bytes"),
        ([{1}], "have no set"),
        ([math.nan], "have no nan"),
        ([-math.inf], "have no -inf"),
    ],
)
def test_anything_else_is_not_packed(value: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        pack_plain(value)


@pytest.mark.parametrize(("text", "what"), [("[NaN]", "have no nan"), ('{"a": -Infinity}', "have no -inf")])
def test_numbers_that_json_does_not_have_are_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        unpack_plain(as_bytes(text))


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(99):
        deep = [deep]
    assert unpack_plain(bytearray(bytes(pack_plain(deep)))) == deep
    with pytest.raises(ValueError, match="too deep"):
        pack_plain([deep])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="too deep"):
        pack_plain(endless)
    with pytest.raises(ValueError, match="too deep"):
        unpack_plain(as_bytes("[" * 101 + "]" * 101))
    with pytest.raises(ValueError, match="no plain objects: RecursionError"):
        unpack_plain(as_bytes("[" * 1_000_000))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"garbage",
        bytes(pack_plain({}))[:65],
        bytes(Packed(b"", [], set())),
        bytes(Packed(b"\xff\xfe", [], set())),
        bytes(Packed(b"[1, 2", [], set())),
        bytes(Packed(b"[1] [2]", [], set())),
        bytes(Packed(b"9" * 5000, [], set())),
        # as a pickle, these 11 bytes would have memory of 2 GB taken
        bytes(Packed(b"\x80\x05r\xff\xff\xff\x0fN.", [], set())),
        bytes(Packed(pickle.dumps({"a": 1}), [], set())),
    ],
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="no plain objects"):
        unpack_plain(bytearray(garbage))


def test_buffers_out_of_band_are_refused() -> None:
    packed = pack({"data": pickle.PickleBuffer(bytearray(b"x"))})
    with pytest.raises(ValueError, match="plain objects"):
        unpack_plain(bytearray(bytes(packed)))
