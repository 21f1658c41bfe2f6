"""The local variables of a traceback's frames."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from nblaunch.rank.variables import local_variables


def traceback_of(source: str, name: str = "x.py") -> TracebackType | None:
    try:
        exec(compile(source, name, "exec"), {"__name__": "__main__", "unused": 1, "os": os})
    except BaseException as error:
        assert error.__traceback__ is not None
        return error.__traceback__.tb_next
    raise AssertionError


def test_frames_and_variables() -> None:
    source = "def f(n):\n    twice = 2 * n\n    raise ValueError\nseven = 7\nf(seven)"
    assert local_variables(traceback_of(source, "/tmp/1.py"), {"/tmp/1.py": 4}) == (
        "Variables, the innermost frame first:\n"
        "  Cell In[4], line 3, in f\n    n = 7\n    twice = 14\n"
        "  Cell In[4], line 5\n    seven = 7"
    )


def test_what_is_no_variable_is_left_out() -> None:
    assert local_variables(traceback_of("import os\ndef f(): pass\nclass C: pass\nos, f, C\n1 / 0"), {}) == ""


def test_values_that_are_long_or_cannot_be_shown() -> None:
    source = (
        "class Bad:\n    def __repr__(self): raise SystemExit\n"
        "def f():\n    long = 'x' * 10**6\n    many = list(range(10**6))\n    bad = Bad()\n    two = A\n    1 / 0\n"
        "class Two:\n    def __repr__(self): return 'a\\nb'\n"
        "A = Two()\nf()"
    )
    text = local_variables(traceback_of(source), {})
    assert "    bad = <a Bad whose repr failed: SystemExit>" in text
    assert "    two = a b" in text
    assert len(text) < 1000


def test_deep_and_wide_tracebacks_are_bounded() -> None:
    deep = "def f(n):\n    if n: f(n - 1)\n    1 / 0\nf(100)"
    assert local_variables(traceback_of(deep), {}).count("in f") == 12
    many: Any = "def f():\n" + "".join(f"    v{i} = {i}\n" for i in range(60)) + "    1 / 0\nf()"
    assert local_variables(traceback_of(many), {}).splitlines()[-1] == "    … and 20 more"
