"""Exceptions of every kind on their way back from real ranks: as objects, with a traceback that can be read."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest

from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.payload import ExceptionStandIn
from nblaunch.runs.failures import RankFailure, RanksFailed, without_escapes
from nblaunch.runs.run import Run

NEW_GROUPS = sys.version_info >= (3, 11)


def run_cell(source: str, nprocs: int = 1, **options: Any) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), panel="none", **options)


def failure_of(source: str, **options: Any) -> RankFailure:
    run = run_cell(source, **options)
    assert run.status == "failed"
    text = "\n".join(RanksFailed(run)._render_traceback_())
    assert "Rank 0 failed first:\n" in text
    assert repr(run.failures)
    return run.failures[0]


def last_line(error: BaseException) -> int | None:
    return traceback.extract_tb(vars(BaseException)["__traceback__"].__get__(error))[-1].lineno


ODD = "class Odd(Exception):\n    {}\nraise Odd{}"


@pytest.mark.parametrize(
    ("definition", "made", "text"),
    [
        ("def __init__(self, a, b, *, c): super().__init__(a)", "(1, 2, c=3)", "1"),
        ("def __new__(cls, a, b): return super().__new__(cls, a)", "(1, 3)", "(1, 3)"),
        ("def __init__(self, a): raise NameError('again')", ".__new__(Odd, 'text')", "text"),
        ("__slots__ = ('x',)", "('text')", "text"),
        ("def __setattr__(self, *_): raise TypeError('frozen')", "('text')", "text"),
        ("__notes__ = property(lambda self: 1 / 0)", "('text')", "text"),
        ("__cause__ = __context__ = property(lambda self: 1 / 0)", "('text')", "text"),
        ("__traceback__ = property(lambda self: 1 / 0)", "('text')", "text"),
        ("def __bool__(self): raise RuntimeError('neither')", "('text')", "text"),
        ("def _render_traceback_(self): raise RuntimeError('not shown')", "('text')", "text"),
        ("def __str__(self): return type('S', (str,), {})('derived')", "('text')", "derived"),
    ],
)
def test_classes_that_make_something_of_themselves(definition: str, made: str, text: str) -> None:
    failure = failure_of(ODD.format(definition, made))
    error = failure.exception
    assert error is not None
    assert (type(error).__name__, str(error)) == ("Odd", text)
    assert last_line(error) == 3
    assert failure.exitcode == 1
    assert failure.summary() == f"Odd: {text}"
    assert "line 3" in failure.traceback
    assert "nblaunch" not in failure.traceback


@pytest.mark.parametrize(
    "definition",
    [
        "def __str__(self): raise RuntimeError('no words')",
        "def __str__(self): raise SystemExit(3)",
        "def __str__(self): return 5",
        "def __str__(self): raise self\n    def __repr__(self): raise self",
        "def __getattribute__(self, name): raise RuntimeError(name)",
    ],
)
def test_exceptions_of_which_nothing_can_be_read(definition: str) -> None:
    failure = failure_of(ODD.format(definition, "('text')"))
    error = failure.exception
    assert error is not None
    assert type(error).__name__ == "Odd"
    assert vars(BaseException)["args"].__get__(error) == ("text",)
    assert failure.exitcode == 1
    assert failure.summary() in ("Odd: <str() of this exception failed>", "Odd: text")


@pytest.mark.parametrize(
    "definition",
    [
        "def __reduce__(self): raise SystemExit(1)",
        "__class__ = property(lambda self: 1 / 0)",
        "lock = __import__('threading').Lock()",
    ],
)
def test_stand_ins_name_the_type_and_keep_the_text(definition: str) -> None:
    failure = failure_of(ODD.format(definition, "('text')"))
    error = failure.exception
    assert isinstance(error, ExceptionStandIn)
    assert (error.type_name, error.text, failure.summary()) == ("Odd", "text", "Odd: text")
    assert last_line(error) == 3
    assert failure.exitcode == 1


def test_a_metaclass_that_has_no_name() -> None:
    failure = failure_of(
        "class Meta(type):\n    __name__ = property(lambda cls: 1 / 0)\n"
        "class Odd(Exception, metaclass=Meta): pass\nraise Odd('text')"
    )
    assert isinstance(failure.exception, ExceptionStandIn)
    assert (failure.exception.type_name, failure.exception.text) == ("Odd", "text")


@pytest.mark.parametrize(
    ("raising", "kind", "exitcode"),
    [
        ("raise SystemExit('words')", SystemExit, 1),
        ("raise SystemExit(7)", SystemExit, 7),
        ("raise KeyboardInterrupt", KeyboardInterrupt, -2),
        ("raise GeneratorExit('text')", GeneratorExit, 1),
    ],
)
def test_exceptions_that_end_programs(raising: str, kind: type[BaseException], exitcode: int) -> None:
    failure = failure_of(raising)
    assert (type(failure.exception), failure.exitcode) == (kind, exitcode)


def test_a_chain_in_a_circle() -> None:
    failure = failure_of("a, b = ValueError('a'), KeyError('b')\na.__cause__, b.__context__ = b, a\nraise a")
    error = failure.exception
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, KeyError)
    assert error.__cause__.__context__ is error


def test_a_chain_with_a_link_that_cannot_travel() -> None:
    failure = failure_of(
        "import threading\nfirst = KeyError('first')\nfirst.lock = threading.Lock()\n"
        "try:\n    raise first\nexcept KeyError:\n    raise ValueError('second')"
    )
    assert type(failure.exception) is ValueError
    context = failure.exception.__context__
    assert isinstance(context, ExceptionStandIn)
    assert (context.type_name, context.text, last_line(context)) == ("KeyError", "'first'", 5)


def test_a_chain_of_thousands() -> None:
    failure = failure_of(
        "error = None\nfor i in range(3000):\n    error, last = ValueError(i), error\n    error.__context__ = last\n"
        "raise error"
    )
    assert isinstance(failure.exception, ValueError)
    assert failure.exception.args == (2999,)
    assert len(failure.traceback) < 10_000


@pytest.mark.skipif(not NEW_GROUPS, reason="Python 3.11 has groups")
def test_groups_with_members_of_all_kinds() -> None:
    failure = failure_of(
        "import threading\nbad = KeyError('bad')\nbad.lock = threading.Lock()\n"
        "class Mine(ExceptionGroup):\n"
        "    def __new__(cls, code, inner):\n"
        "        made = super().__new__(cls, f'code {code}', inner)\n"
        "        made.code = code\n"
        "        return made\n"
        "    def __init__(self, code, inner): pass\n"
        "raise BaseExceptionGroup('all', [SystemExit(3), Mine(5, [bad, ValueError('good')])])"
    )
    error: Any = failure.exception
    leaving, mine = error.exceptions
    assert (type(leaving), leaving.code) == (SystemExit, 3)
    assert (type(mine).__name__, mine.code, mine.message) == ("Mine", 5, "code 5")
    assert [type(one).__name__ for one in mine.exceptions] == ["ExceptionStandIn", "ValueError"]
    assert failure.summary() == "BaseExceptionGroup: all (2 sub-exceptions)"


def test_a_message_of_many_megabytes_is_shown_in_part() -> None:
    run = run_cell("raise ValueError('begins ' + 'x' * 20_000_000 + ' ends')")
    failure = run.failures[0]
    assert len(str(failure.exception)) == 20_000_012
    assert len(failure.summary()) < 400
    text = without_escapes("\n".join(RanksFailed(run)._render_traceback_()))
    assert "ValueError: begins xxx" in text
    assert "xxx ends" in text
    assert len(text) < 50_000


def test_half_characters_do_not_hinder() -> None:
    failure = failure_of("raise ValueError('half \\ud800')")
    assert str(failure.exception) == "half \ud800"
    assert failure.summary().encode() == b"ValueError: half ?"


def test_functions_raise_the_same() -> None:
    class Mine(Exception):
        def __init__(self, code: int, *, where: str) -> None:
            super().__init__(f"{code} at {where}")
            self.code, self.where = code, where

    def fail() -> None:
        raise Mine(7, where="here")

    failure = launch(fail, 1, panel="none").failures[0]
    assert isinstance(failure.exception, Mine)
    assert (failure.exception.code, failure.exception.where) == (7, "here")


def test_a_rank_that_cannot_rebuild_here_what_it_could_there() -> None:
    failure = failure_of(
        "import os\nhome = os.getpid()\n"
        "def build(): return ValueError('there') if os.getpid() == home else 1 / 0\n"
        "class Odd(Exception):\n    def __reduce__(self): return build, ()\nraise Odd('text')"
    )
    assert isinstance(failure.exception, ExceptionStandIn)
    assert (failure.exception.type_name, failure.exception.text) == ("Odd", "text")
    assert failure.exception.why == "ZeroDivisionError: division by zero"
