"""Frames and series of Polars travel through Arrow, where that keeps them what they are."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest

from nblaunch.payload import pack, store, unpack

pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")
COUNT = 400_000


def stream_of(value: object) -> int:
    _, stream, *_ = (memoryview(chunk).nbytes for chunk in pack(value).chunks())
    return stream


def again(value: object) -> Any:
    with store(pack(value)) as stored:
        (parts,) = stored.parts()
    return unpack(parts)


@pytest.fixture(scope="module")
def frame() -> Any:
    moment = datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc)
    made = pl.DataFrame(
        {
            "f": np.random.default_rng(1).random(COUNT),
            "i": np.arange(COUNT).astype("i1"),
            "s": ["é", None] * (COUNT // 2),
            "long": ["a text of more than twelve bytes", "b"] * (COUNT // 2),
            "b": [True, None] * (COUNT // 2),
            "day": [moment.date()] * COUNT,
            "moment": [moment] * COUNT,
            "span": [datetime.timedelta(1)] * COUNT,
            "raw": [b"x"] * COUNT,
            "hour": [moment.time()] * COUNT,
        }
    )
    return made.with_columns(
        pl.col("moment").dt.cast_time_unit("ms").alias("ms"),
        pl.col("moment").dt.convert_time_zone("Europe/Paris").alias("there"),
    )


def test_large_ones_take_the_memory_file(frame: Any) -> None:
    back = again(frame)
    assert back.equals(frame)
    assert back.schema == frame.schema
    assert stream_of(frame) < 20_000
    part = frame.slice(7, COUNT - 9)
    assert again(part).equals(part)
    texts = pl.concat([frame["long"], frame["long"]]).rename("named")
    assert again(texts).equals(texts)
    assert again(texts).name == "named"
    assert stream_of(texts) < 20_000


def test_small_ones_and_those_that_arrow_would_change_go_by_polars_own_way(frame: Any) -> None:
    for value in (
        frame.head(10),
        pl.DataFrame({"c": pl.Series(["a", "b"] * 4_000_000, dtype=pl.Categorical)}),
        pl.DataFrame({"c": pl.Series(["a", "b"] * 12_000_000, dtype=pl.Enum(["b", "a"]))}),
        pl.DataFrame({"l": [[1, 2]] * 2_000_000}),
    ):
        back = again(value)
        assert back.equals(value)
        assert back.schema == value.schema
