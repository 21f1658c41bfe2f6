"""Soundness of `names_read`: whatever random programs really read from the notebook is found."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from nblaunch.capture import names_read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn, SearchStrategy

NAMES = ["a", "b", "c", "f", "g"]


class Anything:
    """A notebook value: can be called, added, iterated, entered."""

    def __call__(self, *_: object) -> Anything:
        return Anything()

    def __add__(self, _: object) -> Anything:
        return Anything()

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2))


class Stop(BaseException):
    """The program has made too many calls."""


class Notebook(dict[str, object]):
    """Globals that note which notebook values are really read.

    Code whose globals are no plain dict looks them up with `__getitem__`, in functions too. A value that is
    read under its own name and is still the notebook's was needed; what the cell assigned is another object.
    """

    def __init__(self, choices: list[bool]) -> None:
        self.original = {name: Anything() for name in NAMES}
        self.read: set[str] = set()
        self._choices = iter(choices)
        self._calls = 0
        tools = {"cond": self._cond, "tick": self._tick, "deco": lambda function: function() and function}
        super().__init__(self.original, suppress=contextlib.suppress, **tools)

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        if value is self.original.get(name, self):
            self.read.add(name)
        return value

    def _cond(self) -> bool:
        self._tick()
        return next(self._choices, False)

    def _tick(self) -> bool:
        self._calls += 1
        if self._calls > 60:
            raise Stop
        return True


names = st.sampled_from(NAMES)


def expressions(depth: int) -> SearchStrategy[str]:
    if not depth:
        return names
    inner = expressions(depth - 1)
    return st.one_of(
        names,
        names.map("{}()".format),
        st.builds("({} := {})".format, names, inner),
        st.builds("(lambda {}: (tick(), {}))".format, names, inner),
        st.builds("(cond() and {})".format, inner),
        st.builds("({} if cond() else {})".format, inner, inner),
        st.builds("[{} for {} in (1, 2) if cond()]".format, names, names),
        st.builds("[{} for z in {}]".format, inner, names),
        st.builds("({} + {})".format, inner, inner),
    )


def indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


@st.composite
def blocks(draw: DrawFn, depth: int, where: str) -> list[str]:
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3 if depth else 2))):
        lines += draw(statements(depth, where))
    return lines


@st.composite
def statements(draw: DrawFn, depth: int, where: str) -> list[str]:
    """One statement; `where` holds the letters "l" inside a loop, "d" inside a function."""
    name, other, value = draw(names), draw(names), draw(expressions(2))
    simple = [
        [f"{name} = {value}"],
        [f"{name} += {other}"],
        [f"{name}: {other} = {value}"],
        [f"del {name}"],
        [value],
        [f"{name}()"],
        [f"import sys as {name}"],
        [f"if cond(): raise ValueError({other})"],
        [f"{name}, {other} = {value}, 1"],
    ]
    if "l" in where:
        simple += [["if cond(): break"], ["if cond(): continue"], ["break"]]
    if "d" in where:
        simple += [[f"return {value}"]]
    kinds = ["if", "for", "while", "forever", "try", "finally", "suppress", "def", "class", "match"]
    kind = draw(st.sampled_from(kinds)) if depth and draw(st.booleans()) else "simple"
    if kind == "simple":
        return list(draw(st.sampled_from(simple)))
    inner = blocks(depth - 1, where)
    looped = blocks(depth - 1, where + "l")
    if kind == "if":
        return ["if cond():", *indented(draw(inner)), "else:", *indented(draw(inner))]
    if kind == "for":
        return [f"for {name} in {other}:", *indented(draw(looped)), "else:", *indented(draw(inner))]
    if kind == "while":
        return [f"while cond() and ({name} := {other}):", *indented(draw(looped))]
    if kind == "forever":
        return ["while True:", "    tick()", *indented(draw(looped))]
    if kind == "try":
        handler = indented(draw(inner))
        return [
            "try:",
            *indented(draw(inner)),
            f"except Exception as {name}:",
            *handler,
            "else:",
            f"    {value}",
        ]
    if kind == "finally":
        return ["try:", *indented(draw(inner)), "finally:", *indented(draw(inner))]
    if kind == "suppress":
        return ["with suppress(Exception):", *indented(draw(inner))]
    if kind == "match":
        first = [f"    case {name} if cond():", *indented(indented(draw(inner)))]
        return [f"match {other}:", *first, "    case _:", *indented(indented(draw(inner)))]
    body = indented(draw(blocks(depth - 1, "d" if kind == "def" else "")))
    if kind == "class":
        return [f"class {name}:", *body]
    declared = draw(st.sampled_from([[], [f"    global {other}"]]))
    parameter = draw(st.sampled_from(["", *(n + "=1" for n in NAMES if n != other)]))
    decorator = draw(st.sampled_from([[], [], ["@deco"]]))
    return [*decorator, f"def {name}({parameter}):", *declared, "    tick()", *body]


@settings(max_examples=100, deadline=None)
@given(blocks(3, ""), st.lists(st.booleans(), max_size=30))
def test_every_name_that_is_really_read_is_found(lines: list[str], choices: list[bool]) -> None:
    source = "\n".join(lines)
    try:
        code = compile(source, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        return  # for example a parameter that is also global
    notebook = Notebook(choices)
    with contextlib.suppress(Exception, Stop):
        exec(code, notebook)
    assert notebook.read <= set(names_read(source)), source


def test_the_notebook_of_the_property_test_sees_reads_in_functions() -> None:
    notebook = Notebook([])
    exec("a = 1\ndef f(): return a, b\nf()", notebook)
    assert notebook.read == {"b"}
