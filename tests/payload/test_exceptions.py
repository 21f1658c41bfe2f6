"""Exceptions in payloads: with traceback, cause, notes and groups, or a stand-in that says why there is only that."""

from __future__ import annotations

import linecache
import sys
import threading
import traceback
from typing import Any

import pytest

from nblaunch.payload import ExceptionStandIn, pack, pack_exception, unpack
from tests.payload.test_payload import cells

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
    assert (type(arrived), str(arrived)) == (ValueError, "boom")
    stand_in = arrived.__cause__
    assert isinstance(stand_in, ExceptionStandIn)
    assert (stand_in.type_name, stand_in.text) == ("RuntimeError", "cause")


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
    assert (str(arrived), str(arrived.__context__)) == ("one", "two")
    assert arrived.__context__.__cause__ is arrived


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


# ---- classes of all kinds


@pytest.mark.parametrize(
    ("definition", "made", "parts"),
    [
        (
            "def __new__(cls, a, b): return super().__new__(cls, a)\n    def __init__(self, a, b): self.b = b",
            "1, 2",
            "b",
        ),
        ("def __new__(cls, *, b): return super().__new__(cls)\n    def __init__(self, *, b): self.b = b", "b=2", "b"),
        ("__slots__ = ('x', 'y')\n    def __init__(self, x): super().__init__('text'); self.x = x", "5", "x"),
        ("def __init__(self, a, b): self.a = b", "1, 2", "a"),
        (
            (
                "def __init__(self, x): super().__init__(x); self.x = x\n"
                "    def __getstate__(self): return [self.x + 1]\n"
                "    def __setstate__(self, state): self.x = state[0] - 1"
            ),
            "7",
            "x",
        ),
        (
            (
                "def __init__(self, x): super().__init__(x); self.x = x\n"
                "    def __reduce__(self): return Odd, (self.x,), {'more': 1}"
            ),
            "7",
            "x",
        ),
        ("def __setattr__(self, name, value): raise TypeError('frozen')", "'text'", "args"),
        ("__hash__ = None\n    def __eq__(self, other): raise RuntimeError('not this')", "'text'", "args"),
        ("def __bool__(self): raise RuntimeError('neither')", "'text'", "args"),
        ("__context__ = __cause__ = __traceback__ = property(lambda self: 1 / 0)", "'text'", "args"),
        ("__notes__ = property(lambda self: 1 / 0)", "'text'", "args"),
        ("__dict__ = property(lambda self: 1 / 0)", "'text'", "args"),
    ],
)
def test_whatever_a_class_makes_of_itself(definition: str, made: str, parts: str) -> None:
    space = cells(f"class Odd(Exception):\n    {definition}\n")
    error = raised(f"raise Odd({made})", Odd=space["Odd"])
    arrived = again(error)
    assert type(arrived) is space["Odd"]
    assert str(arrived) == str(error)
    assert getattr(arrived, parts) == getattr(error, parts)
    tb = vars(BaseException)["__traceback__"].__get__(arrived)
    assert traceback.extract_tb(tb)[-1].filename == "<the cell>"


@pytest.mark.parametrize(
    "definition",
    [
        "def __getattribute__(self, name): raise RuntimeError(name)",
        "def __str__(self): raise SystemExit(3)",
        "def __str__(self): return 5",
        "def __str__(self): raise self\n    def __repr__(self): raise self",
    ],
)
def test_classes_of_which_nothing_can_be_read(definition: str) -> None:
    space = cells(f"class Odd(Exception):\n    {definition}\n")
    arrived = again(space["Odd"]("text"))
    assert type(arrived) is space["Odd"]
    assert vars(BaseException)["args"].__get__(arrived) == ("text",)


@pytest.mark.parametrize(
    "definition",
    [
        "def __reduce__(self): raise SystemExit(1)",
        "def __reduce_ex__(self, protocol): raise ValueError('never')",
        "def __reduce__(self): return 'a name'",
        "def __getstate__(self): raise ValueError('never')",
        "def __setstate__(self, state): raise ValueError('never')",
        "def __reduce__(self): return Exception.__new__, (Exception,), {'x': __import__('threading').Lock()}",
        "__class__ = property(lambda self: 1 / 0)",
    ],
)
def test_a_stand_in_has_all_but_the_object(definition: str) -> None:
    space = cells(f"class Odd(Exception):\n    {definition}\n")
    error = raised("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise Odd('text')", Odd=space["Odd"])
    error.__notes__ = ["a note"]
    arrived = again(error)
    assert isinstance(arrived, ExceptionStandIn)
    assert (arrived.type_name, arrived.text) == ("Odd", "text")
    assert type(arrived.__context__) is ZeroDivisionError
    assert arrived.__notes__ == ["a note"]
    assert traceback.extract_tb(arrived.__traceback__)[-1].lineno == 4


def test_fields_of_pythons_own_exceptions() -> None:
    error = SyntaxError("bad", ("file", 1, 2, "text"))
    error.lineno = 7
    arrived = again(error)
    assert (arrived.lineno, arrived.filename, arrived.text, str(arrived)) == (7, "file", "text", str(error))
    blocked = BlockingIOError(11, "again", 5)
    assert again(blocked).characters_written == 5
    assert str(again(OSError(2, "nope"))) == "[Errno 2] nope"
    two = OSError(2, "nope", "one", None, "two")
    assert str(again(two)) == str(two)
    arrived = again(AttributeError("no", name="n", obj=threading.Lock()))
    assert (arrived.name, arrived.obj) == ("n", None)


def test_circles_through_the_exception_itself() -> None:
    error = ValueError("one")
    error.args = ("one", error)
    error.me = [error]  # type: ignore[attr-defined]
    error.__cause__ = error
    arrived = again(error)
    assert arrived.args[1] is arrived
    assert arrived.me == [arrived]
    assert arrived.__cause__ is arrived


def test_groups_with_constructors_of_their_own() -> None:
    space = cells(
        "import sys\n"
        "if sys.version_info < (3, 11): from exceptiongroup import ExceptionGroup\n"
        "class Coded(ExceptionGroup):\n"
        "    def __new__(cls, code, inner):\n"
        "        made = super().__new__(cls, f'code {code}', inner)\n"
        "        made.code = code\n"
        "        return made\n"
        "    def __init__(self, code, inner): pass\n"
    )
    arrived = again(space["Coded"](7, [ValueError("x")]))
    assert type(arrived) is space["Coded"]
    assert (arrived.message, arrived.code, str(arrived.exceptions)) == ("code 7", 7, "(ValueError('x'),)")


def test_a_member_that_cannot_travel_is_replaced_alone() -> None:
    bad = KeyError("bad")
    bad.lock = threading.Lock()  # type: ignore[attr-defined]
    arrived = again(ExceptionGroup("both", [bad, ExceptionGroup("inner", [ValueError("good"), bad])]))
    assert isinstance(arrived, ExceptionGroup)
    stand_in, inner = arrived.exceptions
    assert isinstance(stand_in, ExceptionStandIn)
    assert isinstance(inner, ExceptionGroup)
    assert (stand_in.type_name, stand_in.text) == ("KeyError", "'bad'")
    assert [type(one) for one in inner.exceptions] == [ValueError, ExceptionStandIn]


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_a_chain_that_is_too_long_keeps_its_near_end(link: str) -> None:
    chain: BaseException | None = None
    for number in range(3000):
        error = ValueError(number)
        setattr(error, link, chain)
        chain = error
    assert chain is not None
    arrived = again(chain)
    assert (type(arrived), arrived.args) == (ValueError, (2999,))
    length = 0
    while arrived is not None:
        last, arrived, length = arrived, getattr(arrived, link), length + 1
    if sys.version_info >= (3, 14) and length == 3000:
        return  # there is more room for calls of C there: all of it has arrived
    assert 50 < length < 100
    assert isinstance(last, ExceptionStandIn)
    assert last.why == "it is too far down the chain"


def test_groups_in_groups_without_end() -> None:
    group: Exception = ValueError("x")
    for number in range(900):
        group = ExceptionGroup(str(number), [group])
    arrived = again(group)
    assert type(arrived) is ExceptionGroup
    assert arrived.message == "899"


def test_reasons_are_not_longer_than_can_be_read() -> None:
    space = cells("class Odd(Exception):\n    def __reduce__(self): raise ValueError('a' * 1_000_000)\n")
    arrived = again(space["Odd"]("x" * 1_000_000))
    assert len(arrived.text) == 1_000_000
    assert len(arrived.why) < 2000
