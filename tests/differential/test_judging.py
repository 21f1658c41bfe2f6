"""That the comparison is strict: what differs is told, and cases that prove nothing are not taken for good ones."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from tests.differential.case import parse
from tests.differential.describing import describe
from tests.differential.renaming import with_own_names
from tests.kernel import Kernel


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("case", "objection"),
    [
        ("x = 1\n>>> __import__('os').getpid()", "differs with zygote 1"),
        ("x = 1\n<<< __import__('os').getpid()", "differs with zygote 1"),
        ("x = 1 / 0\n>>> x", "the notebook's cells fail\nZeroDivisionError"),
        ("x = (i for i in [1])\n>>> x", "no value with zygote\nrefused: CaptureError"),
        ("x = 1\n>>> x\n!!! some words", "was not refused"),
        ("x = (i for i in [1])\n>>> x\n!!! other words", "refused in other words than 'other words'"),
        ("import threading\nx = 1\n>>> threading.Lock()", "threading.Lock() says nothing"),
        ("x = 1\n>>> x", ""),
    ],
)
def test_what_is_wrong_is_told(kernel: Kernel, case: str, objection: str) -> None:
    text = f"# ---- one\n{case}\n# ---- another that is right\nz = [1]\n>>> z"
    reply = kernel.run(f"print('\\n'.join(host().compare(parse({text!r}).cases, '', ('zygote',))))").ok()
    assert reply.stdout.startswith("one: ") if objection else not reply.stdout.strip()
    assert objection in reply.stdout and "another" not in reply.stdout


def _shared() -> tuple[list[Any], list[Any]]:
    one = [1]
    return [one, one], [one, [1]]


def _class(**attributes: object) -> Any:
    return type("Made", (), {"__module__": "__main__", **attributes})


DIFFERENT: dict[str, Callable[[], tuple[Any, Any]]] = {
    "which are one": _shared,
    "types": lambda: ([1], [1.0]),
    "signs of zero": lambda: (0.0, -0.0),
    "order of keys": lambda: ({1: 1, 2: 2}, {2: 2, 1: 1}),
    "attributes": lambda: (_class(v=1), _class(v=2)),
    "an attribute fewer": lambda: (_class(v=1), _class()),
    "slots": lambda: (_class(__slots__=("a",)), _class()),
    "attributes of instances": lambda: (_class(), _class()()),
    "defaults": lambda: (lambda a=1: a, lambda a=2: a),
    "exceptions": lambda: (ValueError("a"), ValueError("b")),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_differs_is_described_differently(pair: Callable[[], tuple[Any, Any]]) -> None:
    left, right = pair()
    assert describe(left) != describe(right)


def test_what_is_alike_is_described_alike_whatever_its_address_and_order() -> None:
    kind = _class(v=1)
    assert describe([kind(), {"b", "a", "c"}, object()]) == describe([kind(), {"c", "a", "b"}, object()])
    loop: list[Any] = []
    loop.append(loop)
    assert describe(loop) == "#1 list\n  [0]: #1"


def test_cases_are_read() -> None:
    kind = parse(
        textwrap.dedent("""\
            import os
            # ---- first (python 3.12, needs torch)
            a = 1
            # %% next
            b = 2
            >>> a
            >>> for i in [1]:
            ...     b = i
            <<< b
            # ---- second
            c = 3
            >>> c
            !!! no
            """)
    )
    first, second = kind.cases
    assert kind.imports == "import os"
    assert (first.cells, first.looks, first.backs) == (("a = 1", "b = 2"), ("a", "for i in [1]:\n    b = i"), ("b",))
    assert (first.python, first.needs, second.refused, second.python) == ((3, 12), "torch", "no", (3, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# ---- a\nx = 1", "case 'a': nothing is looked at"),
        ("# ---- a\n>>> 1\nx = 1", "case 'a': 'x = 1' comes after what is looked at"),
        ("# ---- a\n>>> 1\n# ---- a\n>>> 1", r"several cases have one name: \['a', 'a'\]"),
    ],
)
def test_cases_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_each_case_has_names_of_its_own() -> None:
    (case,) = parse("# ---- a\nimport os\nT = make('T')\ndef f(k): return T, k, os\n>>> f(k=1).T").cases
    renamed = with_own_names(case, 7)
    assert renamed.cells == ("import os\nT_7 = make('T_7')\n\ndef f_7(k):\n    return (T_7, k, os)",)
    assert renamed.looks == ("f_7(k=1).T",)
    (case,) = parse("# ---- a\nk = 1\ndef f(k): ...\n>>> k").cases
    with pytest.raises(ValueError, match=r"case 'a': \['k'\] are bound at the top and further in"):
        with_own_names(case, 7)
