"""Plain objects: what they are, and that nothing else gets through, in either direction."""

from __future__ import annotations

import math
import os
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


def as_bytes(value: object) -> bytearray:
    return bytearray(bytes(Packed(pickle.dumps(value), [], set())))


def test_there_and_back() -> None:
    assert unpack_plain(bytearray(bytes(pack_plain(PLAIN)))) == PLAIN


def test_out_of_a_memory_file() -> None:
    with store(pack_plain(PLAIN)) as stored:
        (parts,) = stored.parts()
    assert unpack_plain(parts) == PLAIN


class _Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("/nonexistent/made-by-a-pickle",)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (_Runs(), "mkdir"),
        ({1: 2}, "a key of plain objects is a int"),
        ([(1,)], "have no tuple"),
        ({"a": b"x"}, "have no bytes"),
        ([{1}], "have no set"),
        ([math.nan], "have no nan"),
        ([-math.inf], "have no -inf"),
    ],
)
def test_anything_else_is_refused(value: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        unpack_plain(as_bytes(value))
    with pytest.raises(ValueError, match="plain objects"):
        pack_plain(value)


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
        unpack_plain(as_bytes(endless))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"garbage",
        bytes(pack_plain({}))[:65],
        bytes(Packed(b"", [], set())),
        bytes(Packed(b"\x80\x05garbage.", [], set())),
        bytes(Packed(b"(lp0\n0.", [], set())),
        bytes(Packed(b"\x80\x04\x8c\xff", [], set())),
        bytes(Packed(b"cos\nsystem\n.", [], set())),
        bytes(Packed(b"Pid\n.", [], set())),
    ],
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="no plain objects"):
        unpack_plain(bytearray(garbage))


def test_buffers_out_of_band_are_refused() -> None:
    packed = pack({"data": pickle.PickleBuffer(bytearray(b"x"))})
    with pytest.raises(ValueError, match="plain objects"):
        unpack_plain(bytearray(bytes(packed)))
