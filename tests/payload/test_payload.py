"""`nblaunch.payload`: what goes in comes out again, and what is not a payload is refused."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import sys
import threading
import typing
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nblaunch import payload
from nblaunch.payload import Packed, pack, pack_named, received_classes, split, store, unpack
from tests.processes import targets

LARGE = 1 << 20


def cells(source: str, name: str = "<a cell>") -> dict[str, Any]:
    """Run source as the cell of a notebook, and return the notebook's namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), namespace)
    return namespace


def again(value: object, **options: Any) -> Any:
    """Send a value on its way and return what arrives."""
    return unpack(bytearray(bytes(pack(value, **options))))


# ---- what comes out


@pytest.mark.parametrize(
    "value",
    [None, 0, -1.5, "ü\udc80", b"", (), [], {"a": {1, 2}}, range(3), slice(1, 2), ..., int, len, os.path, 10**400],
    ids=repr,
)
def test_plain_values_arrive_as_they_are(value: object) -> None:
    assert again(value) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    )
)
def test_any_nesting_arrives(value: object) -> None:
    assert again(value) == value


def test_objects_that_are_one_stay_one() -> None:
    array = np.zeros(3)
    circle: list[Any] = [array, array]
    circle.append(circle)

    arrived = again(circle)

    assert arrived[0] is arrived[1]
    assert arrived[2] is arrived


def test_functions_closures_and_recursion_arrive() -> None:
    space = cells(
        "def adder(n):\n"
        "    def add(x): return x + n\n"
        "    return add\n"
        "add = adder(5)\n"
        "double = lambda x: 2 * x\n"
        "def factorial(n): return 1 if n < 2 else n * factorial(n - 1)\n"
        "def even(n): return n == 0 or odd(n - 1)\n"
        "def odd(n): return n != 0 and even(n - 1)\n"
    )

    add, double, factorial, even = again([space[name] for name in ("add", "double", "factorial", "even")])

    assert (add(1), double(4), factorial(10), even(11)) == (6, 8, 3628800, False)


def test_classes_arrive_with_dataclass_enum_properties_and_bases() -> None:
    space = cells(
        "import dataclasses, enum\n"
        "class Base:\n"
        "    def who(self): return type(self).__name__\n"
        "class Colour(enum.Enum):\n"
        "    RED = 1\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Point(Base):\n"
        "    x: int\n"
        "    colour: Colour = Colour.RED\n"
        "    @property\n"
        "    def twice(self): return 2 * self.x\n"
    )

    point, colours, cls = again((space["Point"](3), space["Colour"], space["Point"]))

    assert (point.who(), point.twice, point == cls(3)) == ("Point", 6, True)
    assert point.colour is colours.RED


# ---- the form of the bytes


def test_large_buffers_stay_out_of_the_stream_and_are_not_copied() -> None:
    array = np.arange(LARGE, dtype=np.uint8)

    packed = pack({"array": array, "again": array[: LARGE // 2]})

    chunks = list(packed.chunks())
    views = [chunk for chunk in chunks if isinstance(chunk, memoryview)]
    assert [view.nbytes for view in views] == [LARGE]
    assert all(np.shares_memory(np.frombuffer(view, np.uint8), array) for view in views)
    assert sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes)) < 1000


@pytest.mark.parametrize("lengths", [(), (1,), (63, 64, 65), (0, 1), (LARGE, 3)])
def test_size_is_that_of_what_is_written(lengths: tuple[int, ...]) -> None:
    packed = pack([np.ones(length, np.uint8) for length in lengths])

    with store(packed) as stored:
        assert os.pread(stored.descriptors[0], packed.size + 1, 0) == bytes(packed)

    assert packed.size == len(bytes(packed))
    assert packed.size % 64 == 0


def test_arrays_lie_aligned_and_writable_in_a_private_mapping() -> None:
    arrays = [np.full(length, 7, np.uint8) for length in (1, 100, 5000, LARGE)]
    with store(pack("something before"), pack(arrays)) as stored:
        arrived = unpack(stored.parts()[1])

        for array, original in zip(arrived, arrays, strict=True):
            assert np.array_equal(array, original)
            # small ones lie in the memory of the process, where NumPy's own are aligned so
            assert array.ctypes.data % (64 if array.nbytes > 1000 else 16) == 0
            array[:] = 0  # writable, and neither the file nor the sender's array changes
        assert arrays[1][0] == 7
        assert unpack(stored.parts()[1])[1][0] == 7


def test_arrays_of_read_only_bytes_are_read_only() -> None:
    assert not unpack(bytes(pack(np.zeros(300)))).flags.writeable
    assert again(np.zeros(3)).flags.writeable


def test_arrays_of_every_order_arrive() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    for value in (array, array.T, array[:, ::2], np.asfortranarray(array), array[:0], np.array(3.5)):
        assert np.array_equal(again(value), value)


def test_several_payloads_written_one_behind_the_other_are_split() -> None:
    values = [1, np.arange(1000), {"a": np.ones(300)}]
    written = bytearray(b"".join(bytes(pack(value)) for value in values))

    parts = split(written)

    assert [len(part) for part in parts] == [1, 2, 2]
    assert unpack(parts[0]) == 1
    assert np.array_equal(unpack(parts[1]), values[1])  # type: ignore[arg-type]
    assert split(b"") == []


# ---- what is not a payload

REAL = bytes(pack({"text": "x" * 50, "array": np.arange(40), "other": np.ones(7)}))
HEADER = 64


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a payload|cut short"):
        unpack(b"\0" + data)


def test_the_mark_alone_is_refused() -> None:
    for data in (b"NBLP", b"NBLP\0\0\0\0", b"NBLP\xff\xff\xff\xff", b""):
        with pytest.raises(ValueError, match=r"not a payload|cut short"):
            unpack(data)


@given(st.integers(0, len(REAL) - 1))
def test_a_payload_that_was_cut_short_is_refused(length: int) -> None:
    try:
        arrived = unpack(REAL[:length])
    except ValueError as error:
        assert "payload" in str(error)
    else:
        # only bytes that fill up the last block were missing
        assert len(REAL) - length < 64
        assert np.array_equal(arrived["other"], np.ones(7))


@given(st.integers(4, 31), st.integers(0, 255))
def test_a_spoilt_header_never_harms(position: int, byte: int) -> None:
    spoilt = bytearray(REAL)
    spoilt[position] = byte
    try:
        arrived = unpack(spoilt)
    except (ValueError, pickle.UnpicklingError, EOFError):
        return
    assert arrived["text"] == "x" * 50


# ---- functions of a notebook


def test_filenames_are_those_of_all_functions_inside() -> None:
    space = cells("def inner(): return 1", "<cell 1>")
    exec(compile("def outer(): return inner()\nclass C:\n    def m(self): return outer()", "<cell 2>", "exec"), space)

    assert pack(space["inner"], shared_globals=space).filenames >= {"<cell 1>"}
    assert "<cell 2>" not in pack(space["inner"], shared_globals=space).filenames
    for shared in (None, space):
        assert pack(space["C"](), shared_globals=shared).filenames >= {"<cell 1>", "<cell 2>"}
    assert pack([1, "text"]).filenames == set()


def test_functions_share_the_globals_of_the_receiver() -> None:
    space = cells(
        "lr = 0.1\n"
        "def step(): return lr\n"
        "class Model:\n"
        "    def step(self): return lr\n"
        "def make():\n"
        "    return lambda: lr\n"
        "nested = make()\n"
    )
    here: dict[str, Any] = {}

    step, model, nested = unpack(
        bytes(pack([space["step"], space["Model"](), space["nested"]], shared_globals=space)), shared_globals=here
    )

    # what the functions use came along
    assert (step(), model.step(), nested(), here["lr"]) == (0.1, 0.1, 0.1, 0.1)
    here["lr"] = 7
    assert (step(), model.step(), nested()) == (7, 7, 7)
    assert step.__globals__ is here
    assert space["lr"] == 0.1


def test_functions_of_other_globals_keep_their_own() -> None:
    space, other = cells("lr = 0.1\ndef step(): return lr"), cells("lr = 0.2\ndef step(): return lr")
    here: dict[str, Any] = {}

    one, two = unpack(bytes(pack([space["step"], other["step"]], shared_globals=space)), shared_globals=here)

    here["lr"] = 0.5

    assert (one(), two()) == (0.5, 0.2)


def test_a_receiver_without_a_namespace_gives_all_functions_one() -> None:
    space = cells("def put(value):\n    global kept\n    kept = value\ndef get(): return kept")

    put, get = again([space["put"], space["get"]], shared_globals=space)
    put(3)

    assert get() == 3
    assert put.__globals__ is get.__globals__
    assert "kept" not in space


def test_a_payload_inside_a_payload_leaves_the_outer_globals_alone() -> None:
    space = cells("def step(): return lr")
    inner = bytes(pack(cells("def step(): return 1")["step"]))
    here: dict[str, Any] = {"lr": 2}

    class Opens:
        def __reduce__(self) -> Any:
            return unpack, (inner,)

    first, _, second = unpack(
        bytes(pack([space["step"], Opens(), cells("x = 1")], shared_globals=space)), shared_globals=here
    )
    assert (first(), second["x"]) == (2, 1)
    assert first.__globals__ is here


def test_what_the_receiver_has_itself_does_not_travel() -> None:
    lock = threading.Lock()
    other = threading.Lock()

    found = unpack(bytes(pack({"a": [lock]}, provided={"get_lock": lock})), shared_globals={"get_lock": other})

    assert found["a"][0] is other


# ---- classes that come home


def test_an_instance_comes_home_as_one_of_the_very_class() -> None:
    space = cells("class C:\n    level = 1\n    def secret_method(self): return self.level")
    pack(space["C"])  # it was sent
    known = received_classes()

    returned = bytes(pack([space["C"](), space["C"]], home_classes=known))

    assert b"secret_method" not in returned
    space["C"].level = 2
    instance, cls = unpack(returned)
    assert type(instance) is cls is space["C"]
    assert instance.secret_method() == 2


def test_a_class_that_is_new_to_the_receiver_travels_itself() -> None:
    known = received_classes()
    space = cells("class New:\n    def secret_method(self): return 1")

    assert b"secret_method" in bytes(pack(space["New"](), home_classes=known))


def test_nothing_of_what_was_packed_is_kept() -> None:
    space = cells("class C: pass\nclass Refused:\n    def __reduce__(self): raise ValueError('not me')")
    ends = []
    for held in ([space["C"](), np.zeros(LARGE)], [space["C"](), space["Refused"]()]):
        ends += [weakref.ref(one) for one in held]
        gc.disable()  # which nobody is to wait for
        try:
            for way in (pack, lambda value: pack_named({"value": value})):
                with contextlib.suppress(ValueError):
                    way(held)
            held.clear()
            assert [end() for end in ends] == [None] * len(ends)
        finally:
            gc.enable()


def test_a_class_that_the_notebook_has_dropped_meanwhile() -> None:
    space = cells("class C: pass")
    pack(space["C"])
    returned = bytes(pack(space["C"](), home_classes=received_classes()))
    space.clear()
    gc.collect()

    with pytest.raises(pickle.UnpicklingError, match="was removed from the notebook while the ranks ran"):
        unpack(returned)


# ---- what must not travel


def test_the_standard_streams_are_those_of_the_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("stdin", "stdout", "stderr")
    for name in names:
        monkeypatch.setattr(sys, name, io.StringIO())
    data = bytes(pack([sys.stdin, sys.stdout, sys.stderr]))
    mine = [io.StringIO(), io.StringIO(), io.StringIO()]
    for name, stream in zip(names, mine, strict=True):
        monkeypatch.setattr(sys, name, stream)
    assert all(arrived is stream for arrived, stream in zip(unpack(data), mine, strict=True))


def test_open_files_are_refused_and_files_in_memory_travel(tmp_path: Path) -> None:
    for mode in ("w", "wb"):
        with (
            open(tmp_path / "f", mode) as file,
            pytest.raises(pickle.PicklingError, match=r"cannot pickle the open file '.*/f'"),
        ):
            pack({"f": file})
    assert again(io.StringIO("text")).getvalue() == "text"
    assert again(io.BytesIO(b"bytes")).getvalue() == b"bytes"


def test_widgets_are_refused() -> None:
    kind = type("IntSlider", (type("Widget", (), {"__module__": "ipywidgets.widgets.widget"}),), {})
    with pytest.raises(pickle.PicklingError, match="cannot pickle the widget 'IntSlider': it lives in the notebook"):
        pack([kind()])


def test_locks_and_generators_are_refused() -> None:
    for thing in (threading.Lock(), (i for i in "a"), sys._getframe()):
        with pytest.raises((TypeError, pickle.PicklingError), match="pickle"):
            pack(thing)


def test_functions_of_an_importable_main_module_go_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    space = cells("def work(): return 'sent'\nclass C:\n    class D: pass\ndef hidden(): return 1")
    monkeypatch.setattr(main, "work", space["work"], raising=False)
    monkeypatch.setattr(main, "C", space["C"], raising=False)

    assert b"sent" in bytes(pack(space["work"]))
    data = bytes(pack([space["work"], space["C"].D], main_by_reference=True))
    assert b"sent" not in data
    assert unpack(data) == [space["work"], space["C"].D]
    assert again(space["hidden"], main_by_reference=True)() == 1  # not to be found by its name


def test_what_is_named_in_another_module_is_found_there_for_a_main_module_too() -> None:
    # the first pickles as a bare name, as torch.float32 does
    for thing in (targets.ONLY_ONE, targets.cached, targets.ANY_ONE, typing.AnyStr):
        assert again(thing, main_by_reference=True) is thing
        assert b"nblaunch" not in bytes(pack(thing, main_by_reference=True)), "it goes by value"


def test_a_failed_pack_keeps_nothing_of_the_object() -> None:
    freed = threading.Event()

    class Watched:
        def __del__(self) -> None:
            freed.set()

    things: list[Any] = [Watched(), threading.Lock()]
    with pytest.raises(TypeError):
        pack(things)
    things.clear()
    gc.collect()
    assert freed.is_set()


def test_public_names() -> None:
    assert all(hasattr(payload, name) for name in payload.__all__)
    assert isinstance(pack(1), Packed)
