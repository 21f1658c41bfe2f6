"""Streams as flags, as text and as mappings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nblaunch.processes.elastic.std import Std, checked_streams, to_map


def test_both_is_out_and_err() -> None:
    assert Std.ALL == Std.OUT | Std.ERR
    assert [int(std) for std in (Std.NONE, Std.OUT, Std.ERR, Std.ALL)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Std.NONE),
        ("1", Std.OUT),
        ("2", Std.ERR),
        (" 3\n", Std.ALL),
        ("0:3", {0: Std.ALL}),
        ("0:3,1:0,2:1,3:2", {0: Std.ALL, 1: Std.NONE, 2: Std.OUT, 3: Std.ERR}),
        ("10:1,128:2", {10: Std.OUT, 128: Std.ERR}),
        (" 0 : 3 , 1 : 0 ", {0: Std.ALL, 1: Std.NONE}),
    ],
)
def test_reading_text(text: str, expected: object) -> None:
    read = Std.from_str(text)
    assert read == expected
    assert all(isinstance(std, Std) for std in (read.values() if isinstance(read, dict) else [read]))


@pytest.mark.parametrize("text", ["", " ", "4", "-1", "out", "0:4", "0:3,", "0:3;1:0", "0:", ":3", "-1:3", "33", "²:1"])
def test_text_that_is_neither_form_is_named_with_both_forms(text: str) -> None:
    with pytest.raises(ValueError, match="streams") as caught:
        Std.from_str(text)
    assert str(caught.value) == (
        f"{text!r} does not say which streams to take: give one of 0 (none), 1 (stdout), 2 (stderr) and 3 "
        "(both) for all ranks, such as '3', or rank:number pairs, such as '0:3,1:0'"
    )


@pytest.mark.parametrize("text", ["0:1,0:1", "1:1,01:2"])
def test_a_rank_named_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="twice") as caught:
        Std.from_str(text)
    assert str(caught.value) == f"{text!r} names rank {text[0]} twice: give each rank once"


def test_spreading_over_all_ranks() -> None:
    assert to_map(Std.OUT, 2) == {0: Std.OUT, 1: Std.OUT}
    assert to_map({1: Std.OUT, 7: Std.ERR}, 2) == {0: Std.NONE, 1: Std.OUT}
    assert to_map(Std.ALL, 0) == {}


def test_plain_integers_are_streams_too() -> None:
    value: Any = 3
    assert to_map(value, 1) == {0: Std.ALL}
    mapping: Any = {0: 1}
    assert to_map(mapping, 1) == {0: Std.OUT}
    assert isinstance(to_map(mapping, 1)[0], Std)


NO_STREAM = "must be a Std (NONE, OUT, ERR, ALL) or a mapping from local rank to Std"


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("3", TypeError, f"tee {NO_STREAM}, and is '3' (str); read text with Std.from_str"),
        (True, TypeError, f"tee {NO_STREAM}, and is True (bool)"),
        ({1: None}, TypeError, f"tee[1] {NO_STREAM}, and is None (NoneType)"),
        (4, ValueError, "tee must be Std.NONE (0), Std.OUT (1), Std.ERR (2) or Std.ALL (3), and is 4"),
        (
            {0: -1},
            ValueError,
            "tee[0] must be Std.NONE (0), Std.OUT (1), Std.ERR (2) or Std.ALL (3), and is -1",
        ),
        ({"0": Std.OUT}, ValueError, "tee: the keys must be local ranks, that is 0, 1, …, and '0' is none"),
        ({-1: Std.OUT}, ValueError, "tee: the keys must be local ranks, that is 0, 1, …, and -1 is none"),
        ({True: Std.OUT}, ValueError, "tee: the keys must be local ranks, that is 0, 1, …, and True is none"),
    ],
)
def test_what_is_no_stream_is_refused_by_name(value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        checked_streams("tee", value)
    assert str(caught.value) == message


texts = st.one_of(
    st.text(max_size=12),
    st.text("0123456789:, \n\t-+²٣x", max_size=12),
    st.lists(
        st.builds("{}:{}".format, st.integers(-2, 12) | st.just("9" * 5000), st.integers(-1, 5)),
        max_size=4,
    ).map(",".join),
)


@settings(max_examples=400)
@given(texts)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = Std.from_str(text)
    except ValueError as error:
        assert str(error).startswith(repr(text))
        assert "does not say which streams to take" in str(error) or "twice: give each rank once" in str(error)
        return
    for rank, std in (read if isinstance(read, dict) else {0: read}).items():
        assert rank >= 0
        assert isinstance(std, Std)
