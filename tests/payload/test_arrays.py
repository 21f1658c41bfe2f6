"""NumPy, pandas, Arrow and SciPy: what is large stays out of the stream, and arrives as what it was."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from nblaunch.payload import pack, store, unpack

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Arrow says about its own imports
    import pyarrow as pa

COUNT = 20_000
SMALL = 4_000


def sizes(value: object) -> tuple[int, int]:
    """Return how many bytes travel in the stream and out of it."""
    header, stream, *others = (memoryview(chunk).nbytes for chunk in pack(value).chunks())
    assert header < SMALL
    return stream, sum(others)


def again(value: object) -> Any:
    with store(pack(value)) as stored:
        (parts,) = stored.parts()
    return unpack(parts)


NUMBERS = np.arange(COUNT, dtype=float)
RECORDS = np.zeros(COUNT, dtype=[("a", int), ("when", "M8[s]")])
ARRAYS: dict[str, Any] = {
    "every second": NUMBERS[::2],
    "reversed": NUMBERS[::-1],
    "axes swapped": NUMBERS.reshape(20, 10, 100).swapaxes(1, 2),
    "Fortran order": np.asfortranarray(NUMBERS.reshape(100, -1)),
    "dates": NUMBERS.astype("M8[s]"),
    "dates in Fortran order": np.asfortranarray(NUMBERS.astype("M8[ns]").reshape(100, -1)),
    "every third difference": NUMBERS.astype("m8[ms]")[::3],
    "records with dates": RECORDS,
    "one field of records": RECORDS["a"],
    "recarray": RECORDS.view(np.recarray),
    "matrix": np.arange(COUNT).reshape(100, -1).view(np.matrix),
    "strings": np.array(["some text"] * COUNT)[::2],
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_of_every_kind(array: Any) -> None:
    stream, outside = sizes(array)
    assert stream < SMALL
    assert array.nbytes <= outside < array.nbytes + 128  # filling between them

    arrived = again(array)

    assert type(arrived) is type(array)
    assert arrived.dtype == array.dtype
    assert np.array_equal(arrived, array)
    assert arrived.flags.writeable
    assert arrived.flags.c_contiguous == (array.flags.c_contiguous or not array.flags.f_contiguous)


def test_what_is_repeated_is_sent_once_and_stays_read_only() -> None:
    array = np.broadcast_to(np.arange(3.0)[:, None], (3, 10**6))

    assert sum(sizes(array)) < SMALL
    arrived = again(array)

    assert arrived.shape == array.shape and arrived.strides == array.strides and not arrived.flags.writeable
    assert arrived[:, 5].tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [6, COUNT])
def test_what_nobody_may_write_to_stays_so(count: int) -> None:
    numbers = np.arange(count, dtype=float)
    arrays = [numbers.copy(), numbers[::2], numbers[::-1], numbers.astype("M8[s]"), numbers.reshape(2, -1).T]
    arrays.append(numbers.reshape(2, -1).view(np.matrix))
    for array in arrays:
        array.flags.writeable = False

        arrived = again(array)

        assert type(arrived) is type(array) and np.array_equal(arrived, array)
        assert not arrived.flags.writeable


def test_a_hard_mask_stays_hard() -> None:
    arrived = again(np.ma.array([1, 2], mask=[True, False], hard_mask=True))
    arrived[:] = 5
    assert arrived.hardmask and arrived.tolist() == [None, 5]


@given(
    st.sampled_from(["f4", ">i8", "M8[s]", "m8[D]", "S5", "U3", "c16", "?"]),
    numpy_strategies.array_shapes(max_dims=3, min_side=8, max_side=30),
    st.data(),
)
def test_any_slice_arrives(kind: str, shape: tuple[int, ...], data: st.DataObject) -> None:
    array = np.arange(np.prod(shape)).astype(kind).reshape(shape)
    part = np.asarray(array[data.draw(numpy_strategies.basic_indices(shape))])
    arrived = again(part)
    # of small ones NumPy changes the order of bytes to that of the machine
    assert (arrived.dtype.newbyteorder("="), arrived.shape) == (part.dtype.newbyteorder("="), part.shape)
    assert arrived.astype(part.dtype).tobytes() == part.tobytes()


def test_masked_arrays_keep_mask_fill_value_and_hardness() -> None:
    array = np.ma.MaskedArray(NUMBERS, mask=NUMBERS > 5, fill_value=-1.0, hard_mask=True)
    assert sizes(array)[0] < SMALL
    arrived = again(array)
    assert np.array_equal(arrived.mask, array.mask)
    assert np.array_equal(arrived.data, array.data)
    assert (arrived.fill_value, arrived.hardmask, arrived.count()) == (-1.0, True, 6)
    arrived[0] = 9
    assert again(np.ma.MaskedArray(NUMBERS)).mask is np.ma.nomask


class Tagged(np.ndarray[Any, Any]):
    """A subclass that looks at what NumPy tells it."""

    seen: object = "nothing"

    def __array_finalize__(self, base: object) -> None:
        self.seen = base


class Own(np.ndarray[Any, Any]):
    """A subclass with a pickling of its own."""

    def __reduce__(self) -> Any:
        return str, ("its own way",)


def test_subclasses() -> None:
    arrived = again(NUMBERS.view(Tagged))
    assert type(arrived) is Tagged
    # which NumPy itself leaves out
    assert np.shares_memory(arrived.seen, arrived)
    assert sizes(NUMBERS.view(Tagged))[0] < SMALL
    assert again(NUMBERS.view(Own)) == "its own way"


def test_a_part_of_a_mapped_file_travels_as_a_copy(tmp_path: Path) -> None:
    array = np.memmap(tmp_path / "data", np.uint8, "w+", shape=(COUNT,))
    array[:] = 5
    part = array[100:10_000]
    assert sizes(part)[0] < SMALL
    arrived = again(part)
    arrived[:] = 6
    assert array[100] == 5
    assert len(arrived) == 9_900


def test_objects_and_small_arrays_take_the_usual_way() -> None:
    mixed = np.array([None, "text", 3] * 1000, dtype=object)
    assert again(mixed).tolist() == mixed.tolist()
    assert again(NUMBERS[:20:2]).tolist() == NUMBERS[:20:2].tolist()
    if hasattr(np.dtypes, "StringDType"):  # from NumPy 2 on
        assert again(np.array(["text"] * 3000, dtype=np.dtypes.StringDType()))[5] == "text"


def test_arrays_that_are_one_stay_one() -> None:
    part = NUMBERS[::2]
    first, second = again([part, part])
    assert first is second


def test_data_frames() -> None:
    when = pd.date_range("2020", periods=COUNT, freq="s")
    frame = pd.DataFrame(
        {
            "x": NUMBERS,
            "i": np.arange(COUNT),
            "when": when,
            "there": when.tz_localize("UTC"),
            "took": pd.to_timedelta(np.arange(COUNT), unit="s"),
            "kind": pd.Categorical(["a", "b"] * (COUNT // 2)),
            "maybe": pd.array([1, None] * (COUNT // 2), dtype="Int64"),
            "text": pd.array(["some", "text"] * (COUNT // 2), dtype="string[pyarrow]"),
        }
    )
    assert sizes(frame)[0] < SMALL
    arrived = again(frame)
    pd.testing.assert_frame_equal(arrived, frame)
    arrived.loc[0, "x"] = 7.0
    arrived.loc[0, "when"] = pd.Timestamp("1999")
    arrived.loc[0, "maybe"] = 8
    assert (arrived.loc[0, "x"], arrived.loc[0, "when"].year, arrived.loc[0, "maybe"]) == (7.0, 1999, 8)
    pd.testing.assert_frame_equal(again(frame.set_index(["i", "kind"])), frame.set_index(["i", "kind"]))
    assert sum(sizes(frame[:10])) < 10_000


def test_arrow() -> None:
    numbers, text = pa.array(np.arange(COUNT)), pa.array(["text", None] * (COUNT // 2))
    table = pa.table({"n": numbers, "t": text, "d": text.dictionary_encode()}, metadata={"from": "here"})
    for value in (numbers, table, table.to_batches()[0], pa.chunked_array([numbers, numbers])):
        stream, outside = sizes(value)
        assert stream < SMALL
        assert outside > value.nbytes / 2
        arrived = again(value)
        assert arrived.equals(value)
        assert type(arrived) is type(value)
        part = value.slice(7, 20)
        assert sum(sizes(part)) < SMALL
        assert again(part).equals(part)
    assert again(table.slice(3, 4)).schema.metadata == {b"from": b"here"}
    assert again(table.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_sparse_matrices(form: str) -> None:
    matrix = scipy.sparse.random(300, 300, 0.2, format=form)
    assert sizes(matrix)[0] < SMALL
    arrived = again(matrix)
    assert (arrived != matrix).nnz == 0
    arrived.data[0] = 5
