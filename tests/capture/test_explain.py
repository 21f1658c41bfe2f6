"""Why a notebook object cannot be sent to the ranks, and what the user is told."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import dataclasses
import functools
import io
import pickle
import re
import socket
import sqlite3
import sys
import textwrap
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle
import pyarrow
import pytest

from nblaunch.capture import CaptureError, Problem, explain
from nblaunch.capture.advice import ADVICE, kind_of
from nblaunch.capture.search import MAX_TRIALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# --- where the trouble sits ---


def why(obj: object) -> BaseException | None:
    try:
        cloudpickle.dumps(obj, protocol=5)
    except Exception as error:  # whatever pickling raises is the answer
        return error
    return None


def problem(name: str, obj: object) -> Problem:
    (found,) = explain({name: obj}, {name: 3}, why).problems
    return found


def iter_nothing() -> Iterator[int]:
    yield from ()


LOCK = threading.Lock()


class Plain:
    def __init__(self, lock: object = LOCK) -> None:
        self.lock = lock


class Slotted:
    __slots__ = ("__hidden", "free")

    def __init__(self) -> None:
        self.__hidden = LOCK


class Chosen:
    """Pickles only one of its two bad attributes."""

    def __init__(self) -> None:
        self.left_out = LOCK
        self.kept = iter_nothing()

    def __getstate__(self) -> dict[str, object]:
        return {"kept": self.kept}


class OtherState(Plain):
    def __getstate__(self) -> Any:
        return [self.lock]


class FailingState(Plain):
    def __getstate__(self) -> Any:
        raise OSError("no state today")


class Walker(Plain):
    def __next__(self) -> int:
        return 1


class Hostile:
    """Cannot be looked at, let alone pickled."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("hands off")


class Rebuilt:
    def __reduce__(self) -> Any:
        return Rebuilt, (1, [LOCK])


class Refuses:
    def __reduce__(self) -> Any:
        raise ValueError("not me")


@dataclasses.dataclass
class Record:
    x: object
    y: int = 1


class Point(NamedTuple):
    x: object
    y: object


def namespace(source: str, **values: object) -> dict[str, Any]:
    """Run a cell as a notebook would, so that its functions are pickled by value."""
    space: dict[str, Any] = {"__name__": "__main__", "LOCK": LOCK, **values}
    exec(textwrap.dedent(source), space)
    return space


PLACES = {
    'it["db"].lock': {"db": Plain()},
    "it[3]": [1, 2, 3, LOCK],
    "it[1][0]": ([], (LOCK,)),
    "it.lock": Plain(),
    "it._Slotted__hidden": Slotted(),
    "it.kept": Chosen(),
    "it.__getstate__()[0]": OtherState(),
    "it.x[1]": Record({1: LOCK}),
    "it.y": Point(1, LOCK),
    "it.func.__self__": functools.partial(LOCK.acquire),
    "it.args[1]": functools.partial(print, 1, LOCK),
    'it.keywords["file"]': functools.partial(print, file=LOCK),
    "it.__self__.lock": Plain().__init__,  # type: ignore[misc]
    "it.__self__": LOCK.acquire,
    "it.args[0]": ValueError(LOCK),
    "it[0]": collections.deque([LOCK]),
    "it[(1, None)]": collections.OrderedDict({(1, None): LOCK}),
    "it.lock.lock": Walker(Plain()),
}


@pytest.mark.parametrize("path", PLACES)
def test_path_to_the_guilty_part(path: str) -> None:
    found = problem("it", PLACES[path])
    assert (found.path, found.via) == (path, "")
    assert found.type_name == ("generator" if path == "it.kept" else "_thread.lock")


@pytest.mark.parametrize(
    ("source", "via", "path"),
    [
        ("def it(): return LOCK", "it uses the global LOCK", "LOCK"),
        ("it = lambda: [LOCK for _ in ()]", "it uses the global LOCK", "LOCK"),
        ("table = {1: LOCK}\ndef it(): return table", "it uses the global table", "table[1]"),
        ("def f(): return LOCK\ndef it(): f()", "it uses the global f, f uses the global LOCK", "LOCK"),
        ("def it(a, b=LOCK): ...", "it has a default for b", "that default"),
        ("def it(*, k=[LOCK]): ...", "it has a default for k", "that default[0]"),
        (
            """
            def outer(h, g=1):
                def inner(): return h, g, later
                if 0: later = 1
                return inner
            it = outer(LOCK)""",
            "it closes over h",
            "h",
        ),
        ("class it:\n    def go(self): return LOCK", "it.go uses the global LOCK", "LOCK"),
        ("class it:\n  @property\n  def go(self): return LOCK", "it.go.fget uses the global LOCK", "LOCK"),
        ("class it:\n  @staticmethod\n  def go(): return LOCK", "it.go.__func__ uses the global LOCK", "LOCK"),
        ("class it:\n    lock = LOCK", "", "it.lock"),
        ("class B:\n    lock = LOCK\nclass it(B): ...", "it derives from B", "B.lock"),
        ("class C:\n    lock = LOCK\nit = C()", "it is an instance of C", "C.lock"),
    ],
)  # fmt: skip
def test_what_functions_and_classes_use(source: str, via: str, path: str) -> None:
    found = problem("it", namespace(source)["it"])
    assert (found.via, found.path, found.type_name) == (via, path, "_thread.lock")


def test_an_attribute_is_not_a_global() -> None:
    function = namespace("def it(o, p=LOCK): return o.lock", lock=LOCK)["it"]
    assert problem("it", function).via == "it has a default for p"


def test_keys_and_elements() -> None:
    key = problem("it", {(1, Plain()): 2})
    assert key.via.startswith("it has the key (1, <") and key.path == "that key[1].lock"
    element = problem("it", {LOCK})
    assert element.via.startswith("it has the element <") and element.path == "that element"


def test_arrays_of_objects() -> None:
    np = pytest.importorskip("numpy")
    array = np.array([[1, 2, 3], [4, LOCK, 6]], dtype=object)
    assert problem("it", array).path == "it[1, 1]"
    assert problem("it", [np.zeros(3), array[1]]).path == "it[1][1]"


def test_parts_without_an_expression() -> None:
    found = problem("it", Rebuilt())
    assert (found.via, found.path) == ("it has a part deep inside", "that part")
    assert found.type_name == "_thread.lock"


def test_cycles() -> None:
    a: list[object] = [1]
    b: dict[str, object] = {"a": a}
    a += [b, LOCK]
    assert problem("it", a).path == "it[2]"
    assert problem("it", b).path == 'it["a"][2]'


def test_a_failing_state_is_the_objects_own_fault() -> None:
    found = problem("it", [FailingState(None)])
    assert (found.path, found.reason) == ("it[0]", "no state today")


def test_objects_that_cannot_be_looked_at() -> None:
    found = problem("it", [Hostile()])
    assert (found.path, found.reason) == ("it[0]", "hands off")


def test_long_lists_are_halved() -> None:
    numbers: list[object] = list(range(1_000_000))
    numbers[777_777] = LOCK
    assert problem("it", numbers).path == "it[777777]"
    objects: list[object] = [Plain(None) for _ in range(5_000)]
    objects[4_000] = Plain()
    trials = 0

    def counted(obj: object) -> BaseException | None:
        nonlocal trials
        trials += 1
        return why(obj)

    (found,) = explain({"it": objects}, {}, counted).problems
    assert found.path == "it[4000].lock"
    assert trials < 30


def test_the_search_is_bounded() -> None:
    trials = 0

    def never(obj: object) -> BaseException:
        nonlocal trials
        trials += 1
        return ValueError("no")

    class Endless:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(name)

        def __getstate__(self) -> dict[str, object]:
            return {"next": Endless(), "other": [Endless()]}

    (found,) = explain({"it": Endless()}, {}, never).problems
    assert found.path.startswith("it.next.next")
    assert trials <= MAX_TRIALS + 1


def test_a_spent_search_names_what_it_is_sure_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nblaunch.capture.search.MAX_TRIALS", 2)
    assert problem("it", {"a": [[Refuses()]]}).path == 'it["a"]'
    # what an error names by its type is found all the same
    assert problem("it", {"a": [[LOCK]]}).path == 'it["a"][0][0]'


def test_parts_that_fail_only_together() -> None:
    def pair(obj: object) -> BaseException | None:
        return ValueError("two of them") if isinstance(obj, list) and len(obj) > 1 else None

    (found,) = explain({"it": [Plain(), Plain()]}, {}, pair).problems
    assert (found.path, found.reason) == ("it", "two of them")


def test_too_deep_to_blame_a_part() -> None:
    deep: list[object] = []
    for _ in range(50_000):
        deep = [deep]
    found = problem("it", deep)
    while deep:
        deep = deep.pop()  # type: ignore[assignment]
    assert (found.path, found.advice) == ("it", ADVICE["deep"])


# --- what to do ---


def made(name: str, module: str, *bases: type) -> Any:
    """Return an object of a class that calls itself ``module.name``."""
    return type(name, bases, {"__module__": module})()


async def answer() -> None: ...


def kinds() -> Iterator[tuple[str, object]]:
    yield from (("lock", one) for one in (LOCK, threading.RLock(), threading.Event(), threading.Thread()))
    yield from (("lock", one) for one in (threading.Condition(), threading.Semaphore(), threading.local()))
    yield "file", sys.__stdout__
    yield "file", io.BufferedReader(io.BytesIO())
    yield "iterator", iter_nothing()
    yield "iterator", zip([1], [2], strict=True)
    yield "module", types.ModuleType("nowhere")
    yield "weakref", weakref.ref(Plain())
    yield "frame", sys._getframe()
    yield "widget", made("Mine", "__main__", type(made("IntSlider", "ipywidgets.widgets.widget_int")))
    yield "shell", made("Shell", "here", type(made("InteractiveShell", "IPython.core.interactiveshell")))
    yield "cuda", made("Stream", "torch.cuda.streams")
    yield "cuda", made("ndarray", "cupy._core")
    yield "process", made("Pool", "multiprocessing.pool")
    yield "queue", made("Queue", "queue")
    yield "jitclass", made("Bag", "numba.experimental.jitclass.boxing")
    yield "match", re.match("a(b)", "ab")
    yield "c", ctypes.pointer(ctypes.c_int(3))
    yield "c", ctypes.CFUNCTYPE(ctypes.c_int)(int)
    yield "xml", made("HtmlElement", "lxml.html", type(made("_Element", "lxml.etree")))
    yield "file", pyarrow.BufferReader(b"")
    yield "iterator", pyarrow.table({"a": [1]}).to_reader()
    yield "script", made("TopLevelTracedModule", "torch.jit._trace", type(made("ScriptModule", "torch.jit._script")))
    yield "other", Plain()
    yield "other", Walker()
    yield "other", Hostile()


def test_kinds() -> None:
    for kind, obj in kinds():
        assert kind_of(obj) == kind, type(obj)


def test_rows_of_a_database() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        assert problem("rows", database.execute("select 1").fetchall()).advice == "Send tuple(x) or dict(x) instead."


def test_kinds_of_things_that_must_be_closed() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database, socket.socket() as plug:
        assert kind_of(database) == kind_of(plug) == "file"
        assert problem("db", [database]).advice == ADVICE["file"]
    loop = asyncio.new_event_loop()
    coroutine = answer()
    assert kind_of(loop) == kind_of(coroutine) == "async"
    coroutine.close()
    loop.close()


def test_tensors_on_a_gpu() -> None:
    tensor = made("Tensor", "torch")
    assert kind_of(tensor) == "other"
    type(tensor).is_cuda = True
    assert kind_of(tensor) == "cuda"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA error: out of memory"), "cuda"),
        (MemoryError(), "memory"),
        (RecursionError("too deep"), "deep"),
        (TypeError("no"), "other"),
    ],
)
def test_advice_from_the_error(error: Exception, kind: str) -> None:
    (found,) = explain({"it": object()}, {}, lambda _: error).problems
    assert found.advice == ADVICE[kind]


# --- how it reads ---


def test_message_for_one_name() -> None:
    error = explain({"config": {"db": Plain()}, "fine": 1}, {"config": 3, "fine": 4}, why)
    assert isinstance(error, CaptureError)
    assert str(error) == (
        "line 3 uses 'config', which cannot be sent to the ranks: config[\"db\"].lock is a _thread.lock "
        "(cannot pickle '_thread.lock' object). Create it inside the cell, so that each rank has its own.\n"
        "Nothing was started: no rank has run any of the cell."
    )
    assert error.problems == [
        Problem(
            name="config",
            line=3,
            path='config["db"].lock',
            type_name="_thread.lock",
            reason="cannot pickle '_thread.lock' object",
            advice="Create it inside the cell, so that each rank has its own.",
        )
    ]


def test_message_for_several_names() -> None:
    train = namespace("def train(): return LOCK")["train"]
    captured = {"train": train, "numbers": iter_nothing(), "ok": 1, "event": threading.Event()}
    error = explain(captured, {"train": 2, "numbers": 5}, why)
    lines = str(error).splitlines()
    assert lines[0] == "3 notebook objects that the cell uses cannot be sent to the ranks:"
    assert lines[1].startswith(
        "line 2 uses 'train', which cannot be sent to the ranks: "
        "train uses the global LOCK, and LOCK is a _thread.lock ("
    )
    assert lines[2].startswith("line 5 uses 'numbers', which cannot be sent to the ranks: it is a generator (")
    assert lines[2].endswith(". Make a list of it first, or create it inside the cell.")
    assert lines[3].startswith("the captured name 'event' cannot be sent to the ranks: it is a threading.Event (cannot")
    assert lines[4:] == ["Nothing was started: no rank has run any of the cell."]
    assert error._render_traceback_() == ["CaptureError: " + lines[0], *lines[1:]]


def test_message_when_only_the_whole_fails() -> None:
    error = explain({"a": 1, "b": 2}, {"a": 1, "b": 1}, lambda _: None)
    assert error.problems == []
    assert str(error) == (
        "the notebook objects that the cell uses cannot be sent to the ranks together, "
        "though each can alone: leave some out (--no-capture).\nNothing was started: no rank has run any of the cell."
    )


def test_reasons_are_one_short_line() -> None:
    def reason(error: Exception) -> str:
        (found,) = explain({"it": LOCK}, {}, lambda _: error).problems
        return found.reason

    class Mute(Exception):
        def __str__(self) -> str:
            raise OSError

    assert reason(TypeError("a\n  b.")) == "a b"
    assert reason(TypeError()) == "TypeError"
    assert reason(Mute()) == "Mute"
    assert len(reason(TypeError("x" * 1000))) == 200


def test_articles() -> None:
    said = str(Problem("f", 1, "f", "_io.TextIOWrapper", "why", "Do."))
    assert said == "line 1 uses 'f', which cannot be sent to the ranks: it is an _io.TextIOWrapper (why). Do."


def test_errors_travel() -> None:
    error = explain({"it": LOCK}, {"it": 1}, why)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems) == (str(error), error.problems)


def test_ipython_shows_the_message_instead_of_a_traceback(tmp_path: Path) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell(config=config, ipython_dir=str(tmp_path))
    error = explain({"it": LOCK}, {"it": 1}, why)
    seen: list[list[str]] = []
    shell._showtraceback = lambda kind, value, lines: seen.append(lines)
    shell.user_ns["error"] = error
    shell.run_cell("raise error", store_history=False)
    assert seen == [error._render_traceback_()]
