"""How sizes read."""

from __future__ import annotations

from typing import Any

import pytest

from nblaunch.wording import in_bytes, in_words, listed


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (1_100_000_000, "1.1 GB"),
        (25 * 10**12, "25 TB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_have_two_or_three_digits(count: int, words: str) -> None:
    assert in_words(count) == words


def test_the_largest_are_named() -> None:
    assert listed({"data": 5}) == "data 5 B"
    assert listed({"a": 1, "data": 1_100_000_000, "model": 12_000_000}) == "data 1.1 GB, model 12 MB, a 1 B"
    many = {f"v{i}": 1000 + i for i in range(30)}
    assert listed(many) == "v29 1.0 kB, v28 1.0 kB, v27 1.0 kB, v26 1.0 kB, 26 more 26 kB"
    assert listed({f"v{i}": i for i in range(5)}) == "v4 4 B, v3 3 B, v2 2 B, v1 1 B, v0 0 B"


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (0, 0),
        (1500, 1500),
        ("0", 0),
        ("1500", 1500),
        ("100B", 100),
        ("500M", 500 << 20),
        ("500 m", 500 << 20),
        ("2G", 2 << 30),
        ("2GiB", 2 << 30),
        ("2gb", 2 * 10**9),
        ("1.5K", 1536),
        ("1T", 1 << 40),
        ("1e9", 10**9),
        ("1.5E6", 1_500_000),
        ("1e+3K", 1000 << 10),
    ],
)
def test_sizes_are_written_as_for_the_gnu_tools(size: int | str, count: int) -> None:
    assert in_bytes(size) == count


NO_SIZES = ["", "G", "-1", "1X", "1 GG", "inf", "1e", "1e-3", "1e999", "1E", "٣", -1, True, 1.5, None]


@pytest.mark.parametrize("size", NO_SIZES)
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="a size is a number of bytes or a text such as 500M or 2G, not "):
        in_bytes(size)
