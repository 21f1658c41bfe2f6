"""What cloudpickle would refuse or copy."""

from __future__ import annotations

from functools import cached_property, singledispatch, singledispatchmethod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nblaunch.payload import pack, unpack

SOURCE = """
class Circle:
    def __init__(self, radius): self.radius = radius
    @cached_property
    def area(self): return 3 * self.radius ** 2
    @singledispatchmethod
    def grow(self, by): return 'unknown'
    @grow.register
    def _(self, by: int): return self.radius + by

@singledispatch
def describe(thing): return 'a thing'
@describe.register
def _(thing: int): return 'a number'
@describe.register(list)
def _(thing): return 'a list of ' + describe(thing[0])
"""


@pytest.fixture
def notebook() -> dict[str, Any]:
    # as in a notebook: a main module that cannot be imported elsewhere
    space = ModuleType("__main__").__dict__
    space.update(cached_property=cached_property, singledispatch=singledispatch)
    space.update(singledispatchmethod=singledispatchmethod)
    exec(SOURCE, space)
    return space


def again(thing: object, space: dict[str, Any]) -> Any:
    return unpack(bytearray(bytes(pack(thing, shared_globals=space))), shared_globals={"__name__": "__main__"})


def test_cached_properties(notebook: dict[str, Any]) -> None:
    circle = again(notebook["Circle"](2), notebook)
    assert circle.area == 12
    assert circle.__dict__["area"] == 12
    assert circle.grow(1) == 3
    assert circle.grow("x") == "unknown"


def test_a_method_that_dispatches_takes_no_object_along_that_it_was_called_of(notebook: dict[str, Any]) -> None:
    used = notebook["Circle"](2)
    used.data = bytes(1 << 20)
    used.cannot_travel = (letter for letter in "")
    assert used.grow(1) == 3
    assert pack(notebook["Circle"], shared_globals=notebook).size < 1 << 16
    circle = again(notebook["Circle"], notebook)(5)
    assert [circle.grow(1), circle.grow("x"), circle.grow(2)] == [6, "unknown", 7]


def test_functions_that_dispatch(notebook: dict[str, Any]) -> None:
    describe = again(notebook["describe"], notebook)
    assert [describe(thing) for thing in (1, [1], "x")] == ["a number", "a list of a number", "a thing"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_maps_of_files_stay_maps(tmp_path: Path, order: Any) -> None:
    path = tmp_path / "array"
    array = np.memmap(path, dtype="f4", mode="w+", shape=(3, 4), offset=64, order=order)
    array[:] = np.arange(12).reshape(3, 4)
    packed = pack(array)
    assert packed.size < 4096
    arrived = unpack(bytearray(bytes(packed)))
    assert isinstance(arrived, np.memmap)
    assert np.array_equal(arrived, array)
    arrived[2, 3] = 99
    assert array[2, 3] == 99
    assert unpack(bytearray(bytes(pack(array[1:])))).tolist() == array[1:].tolist()


def test_code_keeps_the_name_of_its_file() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("def outer():\n    def inner(): pass\n    return inner", "/tmp/ipykernel_7/1.py", "exec"), namespace)
    outer = unpack(bytes(pack(namespace["outer"])))
    assert outer.__code__.co_filename == "/tmp/ipykernel_7/1.py"
    assert outer().__code__.co_filename == "/tmp/ipykernel_7/1.py"
