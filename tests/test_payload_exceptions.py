"""Exceptions in payloads: with traceback, cause, notes and groups, or a stand-in that says why there is only that."""

from __future__ import annotations

import linecache
import sys
import threading
import traceback
from typing import Any

import pytest

from nblaunch.payload import ExceptionStandIn, pack, pack_exception, unpack
from tests.test_payload import cells

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


def again(error: BaseException) -> Any:
    """Send an exception on its way and return what arrives."""
    return unpack(bytearray(bytes(pack_exception(error))))


def raised(source: str, **names: Any) -> BaseException:
    """Run the source of a cell that raises, and return what it raised."""
    space: dict[str, Any] = {"__name__": "__main__", **names}
    try:
        exec(compile(source, "<the cell>", "exec"), space)
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom"),
        ValueError(),
        KeyError("k"),
        OSError(2, "No such file", "/nowhere"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(5),
        ImportError("no", name="n", path="p"),
        AttributeError("no", name="n"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_of_python_arrive(error: BaseException) -> None:
    arrived = again(error)
    assert type(arrived) is type(error)
    assert arrived.args == error.args
    assert str(arrived) == str(error)
    for name in ("filename", "code", "value", "name", "path"):
        assert getattr(arrived, name, None) == getattr(error, name, None)


def test_constructors_that_take_something_else_than_args() -> None:
    space = cells(
        "class Two(Exception):\n"
        "    def __init__(self, code, *, where):\n"
        "        super().__init__(f'{code} at {where}')\n"
        "        self.code, self.where = code, where\n"
    )
    arrived = again(space["Two"](7, where="here"))
    assert type(arrived) is space["Two"]
    assert (str(arrived), arrived.code, arrived.where) == ("7 at here", 7, "here")


def test_tracebacks_keep_files_lines_and_names() -> None:
    error = raised("def inner(n):\n    return 1 / n\n\ndef outer():\n    inner(0)\nouter()")

    frames = traceback.extract_tb(again(error).__traceback__)

    ours = [(frame.filename, frame.name, frame.lineno) for frame in frames][-3:]
    assert ours == [("<the cell>", "<module>", 6), ("<the cell>", "outer", 5), ("<the cell>", "inner", 2)]


def test_a_traceback_can_be_shown_and_raised_again() -> None:
    arrived = again(raised("\n\n1 / 0"))
    linecache.cache["<the cell>"] = (8, None, ["\n", "\n", "1 / 0\n"], "<the cell>")
    try:
        with pytest.raises(ZeroDivisionError) as again_raised:
            raise arrived
        text = "".join(traceback.format_exception(again_raised.value))
    finally:
        del linecache.cache["<the cell>"]
    assert 'File "<the cell>", line 3, in <module>' in text
    assert "1 / 0" in text


def test_causes_contexts_and_notes_arrive_with_their_tracebacks() -> None:
    error = raised(
        "try:\n"
        "    try:\n"
        "        1 / 0\n"
        "    except ZeroDivisionError as error:\n"
        "        raise KeyError('second') from error\n"
        "except KeyError:\n"
        "    problem = ValueError('third')\n"
        "    problem.__notes__ = ['a note']\n"
        "    raise problem\n"
    )

    arrived = again(error)

    assert arrived.__notes__ == ["a note"]
    second = arrived.__context__
    assert (type(second), second.args) == (KeyError, ("second",))
    assert second.__suppress_context__
    first = second.__cause__
    assert isinstance(first, ZeroDivisionError)
    assert [traceback.extract_tb(e.__traceback__)[-1].lineno for e in (first, second, arrived)] == [3, 5, 9]


def test_suppressed_context_stays_suppressed() -> None:
    error = raised("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError('x') from None")
    assert again(error).__suppress_context__


def test_groups_arrive_with_their_members() -> None:
    members = [raised("1 / 0"), BaseExceptionGroup("inner", [raised("\nint('x')")])]
    error = raised("raise problem", problem=BaseExceptionGroup("outer", members))

    arrived = again(error)

    assert isinstance(arrived, ExceptionGroup)
    assert arrived.message == "outer"
    zero, inner = arrived.exceptions
    assert isinstance(zero, ZeroDivisionError)
    assert traceback.extract_tb(zero.__traceback__)[-1].lineno == 1
    assert isinstance(inner, ExceptionGroup)
    assert traceback.extract_tb(inner.exceptions[0].__traceback__)[-1].lineno == 2


def test_groups_of_base_exceptions_arrive() -> None:
    arrived = again(BaseExceptionGroup("all", [KeyboardInterrupt(), ValueError("x")]))
    assert [type(member) for member in arrived.exceptions] == [KeyboardInterrupt, ValueError]


def test_an_exception_with_something_that_cannot_travel_gets_a_stand_in() -> None:
    error = raised("problem = RuntimeError('boom')\nproblem.lock = lock\nraise problem", lock=threading.Lock())

    arrived = again(error)

    assert isinstance(arrived, ExceptionStandIn)
    assert (arrived.type_name, arrived.text) == ("RuntimeError", "boom")
    assert "lock" in arrived.why
    assert str(arrived).startswith("RuntimeError: boom (the exception object itself could not be sent: TypeError: ")
    assert traceback.extract_tb(arrived.__traceback__)[-1].lineno == 3


def test_an_exception_that_cannot_be_built_again_gets_a_stand_in() -> None:
    space = cells("class Odd(Exception):\n    def __reduce__(self):\n        return int, ('not a number',)\n")
    arrived = again(space["Odd"]("text"))
    assert isinstance(arrived, ExceptionStandIn)
    assert (arrived.type_name, arrived.text) == ("Odd", "text")


def test_an_exception_whose_text_fails_gets_through() -> None:
    space = cells("class Mute(Exception):\n    def __str__(self): raise RuntimeError('no words')")
    arrived = again(space["Mute"]())
    assert type(arrived) is space["Mute"]
    space = cells(
        "class Mute(Exception):\n"
        "    def __str__(self): raise RuntimeError('no words')\n"
        "    def __reduce__(self): raise TypeError('not this one')\n"
    )
    arrived = again(space["Mute"]())
    assert isinstance(arrived, ExceptionStandIn)
    assert "its __str__ failed" in arrived.text


def test_a_cause_that_cannot_travel_does_not_hide_the_exception() -> None:
    cause = RuntimeError("cause")
    cause.lock = threading.Lock()  # type: ignore[attr-defined]
    error = raised("raise ValueError('boom') from cause", cause=cause)
    arrived = again(error)
    assert isinstance(arrived, ExceptionStandIn)
    assert arrived.type_name == "ValueError"


def test_an_endless_recursion_arrives_in_short_form() -> None:
    error = raised("def f(n): return f(n + 1)\nf(0)")
    packed = pack_exception(error)
    arrived = unpack(bytes(packed))
    assert isinstance(arrived, RecursionError)
    frames = traceback.extract_tb(arrived.__traceback__)
    assert 10 < len(frames) <= 200
    assert frames[-1].name == "f"
    assert packed.size < 100_000


def test_a_circle_of_exceptions_arrives() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__context__, two.__cause__ = two, one
    arrived = again(one)
    # a stand-in would do as well; hanging or crashing would not
    assert "one" in str(arrived)


def test_a_stand_in_can_travel_itself() -> None:
    arrived = again(ExceptionStandIn("T", "text", "why"))
    assert str(arrived) == "T: text (the exception object itself could not be sent: why)"
    assert (arrived.type_name, arrived.text, arrived.why) == ("T", "text", "why")


def test_tracebacks_travel_alone_too() -> None:
    error = raised("\n1 / 0")
    tb = unpack(bytes(pack(error.__traceback__)))
    assert traceback.extract_tb(tb)[-1].lineno == 2


def test_lines_far_behind_the_beginning_of_a_function() -> None:
    body = "\n".join("    x = 1" for _ in range(300))
    error = raised(f"def long():\n{body}\n    1 / 0\nlong()")
    tb = again(error).__traceback__
    while tb.tb_next is not None:
        tb = tb.tb_next
    assert (tb.tb_lineno, tb.tb_frame.f_code.co_firstlineno) == (302, 1)
