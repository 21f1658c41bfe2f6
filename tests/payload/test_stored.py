"""Packed objects in memory files: mapped, writable, gone with the arrays, and refused where there is no memory."""

from __future__ import annotations

import errno
import fcntl
import gc
import mmap
import os
import re
import resource
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from nblaunch.payload import NotEnoughMemory, Stored, mapping, memory, pack, pack_named, store, store_if_large, unpack
from nblaunch.payload.mapping import Piece, map_private, read_aligned

LARGE = 8 << 20


def mapped() -> dict[str, int]:
    """Return kB of each kind that this process has in mappings of stored objects."""
    found: dict[str, int] = {}
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = "memfd:nblaunch-objects" in line
        elif inside and line.endswith(" kB"):
            name, count, _ = line.split()
            found[name] = found.get(name, 0) + int(count)
    return found


def through(value: object) -> Any:
    with store(pack(value)) as stored:
        (parts,) = stored.parts()
    return unpack(parts)


# ---- where the memory is


def test_a_large_array_is_mapped_and_copied_only_where_it_is_written_to() -> None:
    array = through(np.ones(LARGE, np.uint8))
    before = mapped()
    assert before["Size:"] * 1024 >= LARGE
    assert before["Anonymous:"] == 0

    array[5] = 7

    assert array.flags.writeable
    assert 0 < mapped()["Anonymous:"] * 1024 <= mmap.PAGESIZE
    del array
    assert mapped() == {}


def test_two_receivers_share_memory_until_they_write() -> None:
    with store(pack(np.ones(LARGE, np.uint8))) as stored:
        one, other = (unpack(stored.parts()[0]) for _ in range(2))
    one[:10] = 9
    assert other[:10].tolist() == [1] * 10
    assert int(one.sum()) == LARGE + 80


def test_memory_goes_when_the_last_view_does() -> None:
    array = through({"a": np.ones(LARGE, np.uint8), "b": np.ones(LARGE, np.uint8)})
    assert mapped()["Size:"] * 1024 >= 2 * LARGE
    view = array.pop("a")[10:20]
    array.clear()
    assert LARGE <= mapped()["Size:"] * 1024 < 2 * LARGE
    assert view.tolist() == [1] * 10
    del view
    assert mapped() == {}


def test_no_descriptor_stays_with_a_mapping() -> None:
    before = os.listdir("/proc/self/fd")
    arrays = through([np.full(LARGE // 8, i, np.uint8) for i in range(20)])
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert [int(array[-1]) for array in arrays] == list(range(20))


def test_a_forked_child_has_the_arrays_too() -> None:
    array = through(np.ones(LARGE, np.uint8))
    pid = os.fork()
    if pid == 0:
        array[:] = 2
        os._exit(int(array[0]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert array[0] == 1


def test_small_arrays_lie_in_ordinary_memory_aligned_and_writable() -> None:
    arrays = through([np.full(length, 3, np.uint8) for length in (1, 100, 0, 5000, 60_000) * 20])
    assert mapped() == {}
    for array in arrays:
        # the smallest lie where NumPy's own would, and are aligned so
        assert array.size == 0 or array.ctypes.data % (64 if array.size > 1000 else 16) == 0
        array[:] = 4
    assert sum(int(array.sum()) for array in arrays) == 4 * 20 * 65_101


@given(
    st.lists(
        numpy_strategies.arrays(
            numpy_strategies.scalar_dtypes(), numpy_strategies.array_shapes(min_dims=0, min_side=0, max_side=40)
        )
        | st.integers(60_000, 70_000).map(lambda count: np.arange(count, dtype=np.uint8)),
        max_size=6,
    )
)
def test_any_arrays_arrive(values: list[Any]) -> None:
    with store(pack("first"), pack(values), pack(["last"])) as stored:
        first, middle, last = map(unpack, stored.parts())
    assert (first, last) == ("first", ["last"])
    for array, value in zip(middle, values, strict=True):
        # of small ones NumPy may change the order of bytes to that of the machine
        assert array.dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
        assert array.astype(value.dtype).tobytes() == value.tobytes()
        assert array.shape == value.shape


def test_nobody_can_change_what_is_stored() -> None:
    with store(pack(1)) as stored:
        assert stored.is_sealed()
        with pytest.raises(PermissionError):
            os.pwrite(stored.descriptors[0], b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(stored.descriptors[0], 0)


def test_what_is_small_is_not_stored() -> None:
    assert store_if_large(pack(b"x" * 1000)).__class__.__name__ == "Packed"
    with store_if_large(pack(b"x" * LARGE)) as stored:  # type: ignore[union-attr]
        assert isinstance(stored, Stored)


# ---- what is not there


@contextmanager
def file_with(data: bytes, size: int | None = None) -> Iterator[Stored]:
    with Stored(os.memfd_create("other")) as stored:
        os.write(stored.descriptors[0], data)
        if size is not None:
            os.ftruncate(stored.descriptors[0], size)
        yield stored


REAL = bytes(pack([np.arange(40), np.arange(20_000)]))


@given(st.binary(min_size=1, max_size=300))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with file_with(b"\0" + data) as stored, pytest.raises(ValueError, match=r"not a payload|cut short"):
        stored.parts()


@given(st.integers(1, len(REAL) - 64))
def test_a_file_that_was_cut_short_is_refused(length: int) -> None:
    with file_with(REAL[:length]) as stored, pytest.raises(ValueError, match=r"not a payload|cut short"):
        stored.parts()


def test_a_claim_of_many_buffers_takes_no_memory() -> None:
    with (
        file_with(b"NBLP\xff\xff\xff\xff", 1 << 40) as stored,
        pytest.raises(ValueError, match="not a payload"),
    ):
        stored.parts()


def test_other_files_are_not_sealed(tmp_path: Path) -> None:
    for descriptor in (os.open(tmp_path / "f", os.O_CREAT | os.O_RDWR), *os.pipe(), os.memfd_create("x")):
        with Stored(descriptor) as stored:
            assert not stored.is_sealed()


def test_a_file_that_ends_early_is_told() -> None:
    with file_with(b"short") as stored, pytest.raises(OSError, match="the file ends after 5 of 10 bytes"):
        read_aligned([Piece(stored.descriptors[0], 0, 10)])


def test_a_mapping_that_the_system_refuses() -> None:
    with pytest.raises(OSError, match="cannot map 10 bytes"):
        map_private([Piece(-1, 0, 10)])


def test_many_arrays_take_few_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may have 65530 of them, and at the limit it gets no more memory at all."""
    arrays = [np.full(70_000 + number, number, np.uint8) for number in range(50)]

    def present() -> int:
        return Path("/proc/self/maps").read_text().count("memfd:nblaunch-objects")

    each = through(arrays)
    monkeypatch.setattr(mapping, "_MAX_MAPPINGS", len(mapping._present) + 49)
    together = through(arrays)
    monkeypatch.setattr(mapping, "_MAX_MAPPINGS", len(mapping._present) + 50)
    again = through(arrays)
    for found in (each, together, again):
        assert all(np.array_equal(one, other) for one, other in zip(found, arrays, strict=True))
        assert all(one.ctypes.data % 64 == 0 and one.flags.writeable for one in found)
    del each, again, found
    assert present() == 1
    assert len(mapping._present) == 1
    last = together.pop()
    del together
    assert present() == 1
    assert int(last[0]) == 49
    del last
    assert present() == len(mapping._present) == 0


# ---- several files


FILE = 16 << 20


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the threads that write."""
    wrote: list[str] = []
    write = os.writev

    def writev(descriptor: int, views: Sequence[memoryview]) -> int:
        wrote.append(threading.current_thread().name)
        return write(descriptor, views)

    monkeypatch.setattr(os, "writev", writev)
    return wrote


@pytest.mark.parametrize(
    ("size", "most", "files"),
    [
        (2000, 4, 1),
        (FILE - 2000, 4, 1),
        (FILE + 5, 4, 2),
        (2 * FILE + 5, 2, 2),
        (3 * FILE, 1, 1),
        (3 * FILE + 5, 99, 4),
        (5 * FILE + 5, 99, 4),
    ],
)
def test_what_is_very_large_is_written_by_several_threads(writers: list[str], size: int, most: int, files: int) -> None:
    array = np.arange(size, dtype=np.uint8)
    with store(pack(["before", array, "after"]), pack("last"), most_files=most) as stored:
        assert len(stored.descriptors) == files
        assert stored.is_sealed()
        assert stored.size() == pack(["before", array, "after"]).size + pack("last").size
        first, last = stored.parts()
    before, back, after = unpack(first)
    assert (before, after, unpack(last)) == ("before", "after", "last")
    assert back.ctypes.data % 64 == 0
    assert np.array_equal(back, array)
    assert len(set(writers)) == min(files, 2)  # threads beside this one have the same name


def test_an_array_across_files_is_one_private_mapping() -> None:
    with store(pack(np.ones(2 * FILE, np.uint8)), most_files=2) as stored:
        one, other = (unpack(stored.parts()[0]) for _ in range(2))
    assert mapped()["Anonymous:"] == 0
    middle = slice(FILE - 100_000, FILE + 100_000)
    one[middle] = 7
    assert set(other[middle].tolist()) == {1}
    assert int(one[middle].sum()) == 7 * 200_000
    del one, other
    assert mapped() == {}


def test_small_things_across_files_are_read_together() -> None:
    values = [np.full(1000, number % 251, np.uint8) for number in range(20_000)]
    with store(pack(values), most_files=2) as stored:
        assert len(stored.descriptors) == 2
        (parts,) = stored.parts()
    assert all(np.array_equal(one, other) for one, other in zip(unpack(parts), values, strict=True))


def test_a_thread_that_cannot_write_is_told_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.writev
    before = os.listdir("/proc/self/fd")

    def full(descriptor: int, views: Sequence[memoryview]) -> int:
        if threading.current_thread().name == "nblaunch-store":
            raise OSError(errno.ENOSPC, "no space")
        return write(descriptor, views)

    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(NotEnoughMemory, match=r"34 MB of memory .* gave no more \(no space\)"):
        store(pack(np.ones(2 * FILE, np.uint8)), most_files=2)
    assert os.listdir("/proc/self/fd") == before


def test_where_there_are_no_more_threads_one_writes_all(writers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with store(pack(np.ones(2 * FILE, np.uint8)), most_files=2) as stored:
        monkeypatch.undo()
        assert int(unpack(stored.parts()[0]).sum()) == 2 * FILE
    assert set(writers) == {threading.current_thread().name}


def test_a_mapping_across_files_that_the_system_refuses_leaves_nothing() -> None:
    before = Path("/proc/self/maps").read_text().count("\n")
    with store(pack(1)) as stored, pytest.raises(OSError, match="cannot map 4096 bytes"):
        map_private([Piece(stored.descriptors[0], 0, mmap.PAGESIZE), Piece(-1, 0, mmap.PAGESIZE)])
    assert Path("/proc/self/maps").read_text().count("\n") <= before + 1


# ---- no memory


def test_a_short_memory_is_told_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 90 << 20)
    packed = pack_named({"data": np.zeros(40 << 20, np.uint8), "text": "x" * 2000, "model": np.ones(1 << 20)})
    with pytest.raises(NotEnoughMemory) as caught:
        store(packed)
    assert str(caught.value) == (
        "50 MB of memory are needed to send the objects (data 42 MB, model 8.4 MB, text 2.0 kB), but 27 MB are "
        "available. Send less, or save large data to a file and open it on the other side, for example with "
        "numpy.load(path, mmap_mode='r')"
    )


def test_a_system_that_gives_no_more_is_told_and_nothing_is_left() -> None:
    """``RLIMIT_FSIZE`` bounds memory files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = os.listdir("/proc/self/fd")
    packed = pack(np.zeros(LARGE, np.uint8))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, hard))
    try:
        with pytest.raises(NotEnoughMemory, match=r"8.4 MB of memory .* gave no more \(File too large\)\. Send less"):
            store(packed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_system_without_memory_files_is_told(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(OSError, match=r"gives no files in memory \(memfd_create\).* Linux 5\.3 or newer"):
        store(pack(1))
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(OSError, match=r"gives no files in memory"):
        store(pack(1))


def test_other_refusals_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(OSError, match="too many open files"):
        store(pack(1))


def test_available_memory_is_that_of_the_machine_or_less() -> None:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total = sum(int(fields[name].split()[0]) for name in ("MemTotal", "SwapTotal")) * 1024
    assert 0 < memory.available_memory() <= total


def group(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def test_limits_of_control_groups_of_version_2(tmp_path: Path) -> None:
    group(tmp_path / "fs/a/b", {"memory.max": "max", "memory.current": 5, "memory.stat": "anon 1"})
    (tmp_path / "fs/a/memory.max").write_text("1000\n")
    (tmp_path / "fs/a/memory.current").write_text("700\n")
    (tmp_path / "fs/a/memory.stat").write_text("anon 1\ninactive_file 50\n")
    (tmp_path / "self").write_text("0::/a/b\n")
    assert list(memory._control_groups(str(tmp_path / "fs"), str(tmp_path / "self"))) == [350]


def test_limits_of_control_groups_of_version_1(tmp_path: Path) -> None:
    stat = "inactive_file 1\ntotal_inactive_file 10"
    group(
        tmp_path / "fs/memory",
        {"memory.limit_in_bytes": 9223372036854771712, "memory.usage_in_bytes": 5, "memory.stat": stat},
    )
    group(
        tmp_path / "fs/memory/job",
        {"memory.limit_in_bytes": 100, "memory.usage_in_bytes": 130, "memory.stat": stat},
    )
    (tmp_path / "self").write_text("5:cpu:/\n4:freezer,memory:/job\n0::/\n")
    assert list(memory._control_groups(str(tmp_path / "fs"), str(tmp_path / "self"))) == [0]
    assert list(memory._control_groups(str(tmp_path / "fs"), str(tmp_path / "none"))) == []


def test_the_seals_are_those_of_the_system() -> None:
    names = ("F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_WRITE")
    if all(hasattr(fcntl, name) for name in (*names, "F_ADD_SEALS")):
        with store(pack(1)) as stored:
            assert fcntl.fcntl(stored.descriptors[0], fcntl.F_GET_SEALS) == sum(getattr(fcntl, name) for name in names)
    gc.collect()
