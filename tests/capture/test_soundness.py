"""Soundness of `names_of`: whatever random programs really read from the notebook is found."""

from __future__ import annotations

import contextlib
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from nblaunch.capture import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ["a", "b", "c", "d", "e", "f"]


class Anything:
    """A notebook value: can be called, added, iterated, entered."""

    def __call__(self, *_: object) -> Anything:
        return Anything()

    def __add__(self, _: object) -> Anything:
        return Anything()

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2))


def _called(function: Callable[[], object]) -> Callable[[], object]:
    function()
    return function


class Stop(BaseException):
    """The program has made too many calls."""


class Notebook(dict[str, object]):
    """Globals that note which notebook values are really read.

    Code whose globals are no plain dict looks them up with `__getitem__`, in functions too. A value that is
    read under its own name and is still the notebook's was needed; what the cell assigned is another object.
    """

    def __init__(self, random: Random) -> None:
        self.original = {name: Anything() for name in NAMES}
        self.read: set[str] = set()
        self._random = random
        self._calls = 0
        tools = {"cond": self._cond, "tick": self._tick, "deco": _called, "new": Anything}
        super().__init__(self.original, suppress=contextlib.suppress, **tools)

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        if value is self.original.get(name, self):
            self.read.add(name)
        return value

    def _cond(self) -> bool:
        self._tick()
        return self._random.random() < 0.5

    def _tick(self) -> bool:
        self._calls += 1
        if self._calls > 60:
            raise Stop
        return True


class Programs:
    """Writes random programs. Most values are fresh ones: a program that reads every name proves nothing."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def block(self, depth: int, where: str = "") -> list[str]:
        count = self._random.randint(1, 4 if depth > 1 else 2)
        return [line for _ in range(count) for line in self.statement(depth, where)]

    def inner(self, depth: int, where: str) -> list[str]:
        return ["    " + line for line in self.block(depth - 1, where)]

    def name(self) -> str:
        return self._random.choice(NAMES)

    def value(self, depth: int = 1) -> str:
        name = self.name()
        if not depth or self._random.random() < 0.5:
            return self._random.choice([name, "new()", "new()", "new()"])
        inner = self.value(depth - 1)
        return self._random.choice(
            [
                f"{name}()",
                f"({name} := {inner})",
                f"(lambda {name}: (tick(), {inner}))",
                f"(lambda: (tick(), {name}))",
                f"(cond() and ({name} := {inner}))",
                f"(({name} := {inner}) if cond() else {inner})",
                f"[{name} for {name} in new() if cond()]",
                f"[({name} := z) for z in {inner} if cond()]",
                f"({inner} + {name})",
            ]
        )

    def statement(self, depth: int, where: str) -> list[str]:
        """Return one statement; `where` holds "l" inside a loop and "d" inside a function."""
        name, other, value = self.name(), self.name(), self.value()
        simple = [
            *[f"{name} = {value}"] * 3,
            *[f"{name}()"] * 2,
            f"{name} += {value}",
            f"{name}: {self._random.choice(['new', other])} = {value}",
            f"del {name}",
            value,
            "if cond(): raise ValueError",
            f"{name}, {other} = {value}, new()",
            *(["if cond(): break", "if cond(): continue", "break"] if "l" in where else []),
            *([f"return {value}"] if "d" in where else []),
        ]
        if not depth or self._random.random() < 0.4:
            return [self._random.choice(simple)]
        kinds = [self.definition, self.definition, self.loop, self.branch, self.guarded]
        return self._random.choice(kinds)(depth, where)

    def branch(self, depth: int, where: str) -> list[str]:
        name, first, second = self.name(), self.inner(depth, where), self.inner(depth, where)
        return self._random.choice(
            [
                ["if cond():", *first],
                ["if cond():", *first, "else:", *second],
                [f"if cond() and ({name} := new()):", *first, "else:", *second],
                ["match new():", f"  case {name} if cond():", *first, "  case _:", *second],
                ["match new():", f"  case ValueError(args={name}):", *first, "  case _ if cond():", *second],
            ]
        )

    def loop(self, depth: int, where: str) -> list[str]:
        name, body, other = self.name(), self.inner(depth, where + "l"), self.inner(depth, where)
        return self._random.choice(
            [
                [f"for {name} in new():", *body],
                [f"for {name} in new():", *body, "else:", *other],
                [f"while cond() and ({name} := new()):", *body],
                [f"while cond() or ({name} := cond()):", *body, "else:", *other],
                ["while True:", "    tick()", *body],
            ]
        )

    def guarded(self, depth: int, where: str) -> list[str]:
        name, body, other = self.name(), self.inner(depth, where), self.inner(depth, where)
        return self._random.choice(
            [
                ["try:", *body, f"except Exception as {name}:", *other],
                ["try:", *body, "except Exception:", *other, "else:", f"    {name} = new()"],
                ["try:", *body, "finally:", *other],
                ["with suppress(Exception):", *body],
            ]
        )

    def definition(self, depth: int, where: str) -> list[str]:
        name, other = self.name(), self.name()
        if self._random.random() < 0.2:
            return [f"class {name}:", *self.inner(depth, "")]
        decorator = self._random.choice(["", "", "@deco"])
        parameter = self._random.choice(["", f"{other}=1"])
        declared = self._random.choice(["", f"    global {self.name()}"])
        return [decorator, f"def {name}({parameter}):", declared, "    tick()", *self.inner(depth, "d")]


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_every_name_that_is_really_read_is_found(random: Random) -> None:
    source = "\n".join(Programs(random).block(3))
    try:
        code = compile(source, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        return  # for example a parameter that is also global
    notebook = Notebook(random)
    with contextlib.suppress(Exception, Stop):
        exec(code, notebook)
    assert notebook.read <= set(names_of(source).read), source


def test_the_notebook_of_the_property_test_sees_reads_in_functions() -> None:
    notebook = Notebook(Random(0))
    exec("a = 1\ndef f(): return a, b\nf()", notebook)
    assert notebook.read == {"b"}
