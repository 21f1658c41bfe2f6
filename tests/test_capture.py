"""Which notebook names a cell needs (`names_read`), and why an object cannot travel (`explain`)."""

from __future__ import annotations

import ast
import asyncio
import collections
import contextlib
import dataclasses
import functools
import io
import pickle
import socket
import sqlite3
import sys
import textwrap
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nblaunch.capture import CaptureError, Problem, explain, names_read, transform
from nblaunch.capture.advice import ADVICE, kind_of
from nblaunch.capture.search import MAX_TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypothesis.strategies import DrawFn, SearchStrategy


def needs(source: str, **options: Any) -> dict[str, int]:
    return names_read(textwrap.dedent(source), **options)


# --- names_read: one construct at a time ------------------------------------------------------------------------

PLAIN = {
    "x = 1\nx": "",
    "x = x": "x",
    "a.b.c(d=e)": "a e",
    "(x, *y), z[i] = v\nx, y": "v z i",
    "x, a[x] = v": "v a",
    "x += y": "x y",
    "a.b += c\na[i] += c": "a c i",
    "(y := x) + y": "x",
    "y + (y := x)": "y x",
    "x: T = v\nx": "v T",
    "x: T\nx": "T x",
    "a.b: T\na[i]: T = v": "a T v i",
    "from __future__ import annotations\nx: T = v\ndef f(a: U) -> V: ...": "v",
    "import a.b, c as d\nfrom e import f as g, h\na, d, g, h": "",
    "from m import *\nx": "x",
    "{a: (x := b), x: c}": "a b c",
    "{**a, b: c}": "a b c",
    "{a: x, (x := b): c}": "a x b c",
    "a < (x := b) < (y := c)\nx, y": "a b c y",
    "a and (x := b)\nx": "a b x",
    "if a and (x := b):\n    x\nelse:\n    x": "a b x",
    "if a and not (x := b): x": "a b",
    "if a or (x := b): pass\nelse: x": "a b",
    "(x := a) if c else (x := b)\nx": "c a b",
    "x if c else y": "c x y",
    "f'{x!r:>{w}}' f'{y}'": "x w y",
    "del x\nx": "x",
    "x = 1\ndel x\nx": "x",
    "x = y = 1\ndel (x, y), z[i]": "z i",
    "assert (x := a), x\nx": "a",
    "global x\nx = 1\nx": "",
    "__name__": "__name__",
    "x[a:b:c]": "x a b c",
    "print(*a, **b)": "print a b",
}


@pytest.mark.parametrize("source", PLAIN)
def test_plain_statements(source: str) -> None:
    assert sorted(names_read(source)) == sorted(PLAIN[source].split())


SCOPES = {
    "[x for x in xs if x]\nx": "xs x",
    "[y for x in xs if (y := f(x))]\ny": "xs f y",
    "{k: v for k, v in d.items() for _ in k}": "d",
    "[i for i in n for n in i]": "n",
    "[j for i in a for j in b]": "a b",
    "(lambda a, b=c: a + b + d)": "c d",
    "def f(a, *b, c=d, **e): return a, b, c, e, g": "d g",
    "def f(a: T, *b: U) -> V: ...": "T U V",
    "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x += 1\n        return x, y\n    return g": "y",
    "def f():\n    return x\n    x = 1": "",
    "def f():\n    if a: import x\n    for y in x: pass\n    with y as z: z\n    del z": "a",
    "def f():\n    try: pass\n    except E as e: e\n    match e:\n        case {**r}: r\n        case [*s] as t: s, t": "E",
    "def f():\n    [y := i for i in a]\n    y, i": "a i",
    "def f():\n    x: T = 1\n    return x": "",
    "def f():\n    global x\n    x = 1\n    x += 1\nf()\nx": "x",
    "def f():\n    global x\n    def g(): return x\n    return g": "x",
    "def f():\n    def g(): ...\n    class C: ...\n    lambda a: b\n    return g, C": "b",
    "class C(B, k=v):\n    x = a\n    y = x\n    def f(self): return x, y\n": "B v a x y",
    "class C:\n    x = x\n": "x",
    "class C:\n    if a: x = 1\n    x": "a x",
    "class C:\n    xs = a\n    [x + ys for x in xs]": "a ys",
    "class C:\n    def __f(self): return self.__g, __h\n    __x = 1\n    __x": "_C__h",
    "class C:\n    global x\n    x = 1\nx": "",
    "class C:\n    def f(self): return __class__, super()": "super",
    "def f():\n    y = 1\n    class C:\n        z = y": "",
    "class C:\n    def f(self): return a\n    b = f(0)\n    a = 1\na = 1": "a",
    "async def f(): await a\nawait b\nasync for x in c: x\nasync with d as e: e\n[y async for y in g]": "a b c d g",
}

@pytest.mark.parametrize("source", SCOPES)
def test_scopes(source: str) -> None:
    assert sorted(names_read(source)) == sorted(SCOPES[source].split())


FLOW = {
    "if c: x = 1\nx": "c x",
    "if c: x = 1\nelse: x = 2\nx": "c",
    "if c: x = 1\nelif d: x = 2\nelse: raise E\nx": "c d E",
    "for x in xs: y = x\nx, y": "xs x y",
    "for x in xs:\n    if x: break\nelse:\n    raise E\nx": "xs E",
    "for _ in xs: y = 1\nelse: z = 1\nz": "xs",
    "for i in xs:\n    if i: continue\n    else: y = 1\n    y": "xs",
    "while True:\n    x = f()\n    if x: break\nx": "f",
    "while c:\n    x = 1\nx": "c x",
    "while (x := f()): pass\nx": "f",
    "while True: pass\nx": "",
    "try: x = f()\nexcept E: x = 1\nx": "f E",
    "try: x = f()\nexcept E: pass\nx": "f E x",
    "try: x = f()\nexcept E: raise\nelse: y = 1\nx, y": "f E",
    "try: x = f()\nfinally: x": "f x",
    "try: f()\nfinally: x = 1\nx": "f",
    "try: f()\nexcept E as e: e\ne": "f E e",
    "with a as b: x = b\nx": "a",
    "with suppress(E): x = 1\nx": "suppress E x",
    "with a.raises(E): raise E\nx": "a E x",
    "with a as (b, c[i]): b": "a c i",
    "raise E from c\nx": "E c",
    "match v:\n    case [x, *y] | {A.k: x, **y}: x\n    case C(a=A.b) if (z := g): z\nx": "v C A g x",
    "match v:\n    case 1: x = 1\n    case _: x = 2\nx": "v",
    "match v:\n    case 1: x = 1\n    case x: pass\nx": "v",
    "match v:\n    case [a, a.b]: a": "v a",
    "if c:\n    def f(): return a\nf()": "c a f",
}


@pytest.mark.parametrize("source", FLOW)
def test_flow(source: str) -> None:
    assert sorted(names_read(source)) == sorted(FLOW[source].split())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="except* needs Python 3.11")
def test_exception_groups() -> None:
    assert list(needs("try: x = f()\nexcept* E as e: e\nx, e")) == ["f", "E", "x", "e"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters need Python 3.12")
def test_type_parameters() -> None:
    assert list(needs("def f[T: B](x: T) -> T: return T, y")) == ["B", "y"]
    assert list(needs("class C[T](P[T]):\n    x: T\n    def f(self) -> T: ...")) == ["P"]
    assert list(needs("type Tree[T] = list[Tree[T] | Leaf]\nLeaf = 1")) == ["list"]
    assert list(needs("type A = Leaf\nA\nLeaf = 1")) == ["Leaf"]


def test_future_annotations_of_an_earlier_cell() -> None:
    source = "x: T = v\ndef f(a: U) -> V: ..."
    assert list(needs(source, future_annotations=True)) == ["v"]
    assert list(needs(source)) == ["T", "v", "U", "V"]


# --- names_read: functions run later ----------------------------------------------------------------------------

DEFERRED = {
    # A function counts when its name is first loaded, with all that it can reach.
    "def f(): return helper()\ndef helper(): return lr\nf()": "lr",
    "def f(): return a\na = 1\nf()": "",
    "def f(): return a\nf()\na = 1": "a",
    "def f(): return a\ng = f\na = 1": "a",
    "def f(): return a\na = 1": "",
    "def f(): return a": "a",
    "def f(): return g()\ndef g(): return f() or a\nf()": "a",
    # What is certain differs from one load to the next.
    "def f(): return x\nif c:\n    x = 1\n    f()\nf()": "c x",
    # A loop comes round again.
    "for i in r:\n    if i: f()\n    def f(): return a\na = 1": "r f a",
    # Once loaded, a function may call whatever its globals mean later.
    "def g(): return f()\nh = g\ndef f(): return q\nh()\nq = 1": "f q",
    # A name that certainly stands for something else.
    "def f(): return a\nf = 1\nf": "",
    "def f(): return a\ndef f(): return b\nf()": "b",
    "def f(): return a\nif c: f = 1\nf": "c a",
    "def f(): return a\nc and (f := 1)\nf": "c a",
    # Lambdas and decorated functions count at once, unless the decorator is known not to run them.
    "f = lambda: a\na = 1": "a",
    "@d\ndef f(): return a\na = 1": "d a",
    "@d\ndef f(n): return f(n - 1)": "d",
    "@functools.lru_cache(maxsize=n)\ndef f(): return a\na = 1\nf()": "functools n",
    # Classes.
    "class C:\n    def f(self): return helper(), C\ndef helper(): return lr\nC().f()": "lr",
    "class C:\n    def f(self): return a\nC()\na = 1": "a",
    "@d\nclass C:\n    def f(self): return a\na = 1": "d a",
    "@dataclass\nclass C:\n    @property\n    def f(self): return a\na = 1\nC": "dataclass property",
    "class C(metaclass=M):\n    def f(self): return a\na = 1": "M a",
    "class C:\n    class D:\n        def f(self): return a\nC()\na = 1": "a",
    "class C:\n    def f(self): return a\ndef make(): return C()\nmake()\na = 1": "a",
    # Nothing after a certain end is reached.
    "def f(): return a\nraise SystemExit": "SystemExit",
}


@pytest.mark.parametrize("source", DEFERRED)
def test_deferred_bodies(source: str) -> None:
    assert sorted(names_read(source)) == sorted(DEFERRED[source].split())


def test_lines_and_order() -> None:
    source = """\
    def train(n):
        return model(n) + lr

    for step in range(steps):
        train(step)
    print(lr,
          model)
    """
    assert list(needs(source).items()) == [("model", 2), ("lr", 2), ("range", 4), ("steps", 4), ("print", 6)]


def test_errors_are_those_of_compile() -> None:
    for source in ("x = = 1", "return 1", "nonlocal x", "def f(x, x): ...", "break"):
        with pytest.raises(SyntaxError) as seen:
            names_read(source, filename="<here>")
        assert seen.value.filename == "<here>"


def test_no_warnings() -> None:
    assert list(names_read("a is 1, '\\d'")) == ["a"]  # a SyntaxWarning would be an error here


def test_long_sums_and_elif_chains() -> None:
    names = [f"a{i}" for i in range(800)]
    assert list(names_read(" + ".join(names))) == names
    chain = "if c0: x = 0\n" + "".join(f"elif c{i}: x = {i}\n" for i in range(1, 300)) + "else: x = 1\nx"
    assert list(names_read(chain)) == [f"c{i}" for i in range(300)]


# --- names_read: text that IPython expands or runs --------------------------------------------------------------

SHELL = {
    "!ls $d {p.q!r} {x['a']:>{2}} $$no {{no}}": {},  # a bad expression: IPython leaves the line alone
    "!ls $d {p.q!r} {x['a']} $$no {{no}}": {"d": 1, "p": 1, "x": 1},
    "!ls {x[1:n]}": {"x": 1, "n": 1},
    "!awk '{print $1}' $file": {},
    "!echo '$a' $b.c": {"b": 1},
    "!echo {": {},
    "y = !ls {p}\ny": {"p": 1},
    "%cd {d}": {"d": 1},
    "x?": {"x": 1},
    "x.y??": {"x": 1},
    "%timeit -n 10 -r3 -q f(x)": {"f": 1, "x": 1},
    "%timeit y = f(x); y": {"f": 1, "x": 1},
    "%timeit": {},
    "%time y = f(x)\ny": {"f": 1, "x": 1},
    "%time f(": {},
    "%time --no-raise-error f({x})": {"f": 1, "x": 1},
    "%prun -l 5 -s cumulative f(x)": {"f": 1, "x": 1},
    "%time !ls {x}": {"x": 1},
    "%%time\n\nf(x)\ny = g": {"f": 3, "x": 3, "g": 4},
    "%%timeit a = b\nf(a)": {"b": 1, "f": 2},
    "%%timeit\n\nf(a)": {"f": 3, "a": 3},
    "%%capture out\n%timeit f(a)\n": {"f": 2, "a": 2},
    "%%capture --no-stderr\nf(a)\n": {"f": 2, "a": 2},
    "%%bash -s {a}\necho {b} $c": {"a": 1},
    "%%sx\necho {b} $c": {"b": 1, "c": 1},
    "%%writefile $name\nx = {y}": {"name": 1},
    "def f(a):\n    !ls {a} {b}\n    %time c = a + d\n    %timeit a + d": {"b": 2, "d": 3},
    "def f():\n    %time y = y + 1": {"y": 2},
}


@pytest.mark.parametrize("cell", SHELL)
def test_shell_text(cell: str) -> None:
    assert names_read(transform(cell)) == SHELL[cell]


def test_calls_that_hide_nothing() -> None:
    assert list(names_read("get_ipython().system(cmd)")) == ["get_ipython", "cmd"]
    assert list(names_read("get_ipython().user_ns")) == ["get_ipython"]
    assert names_read("get_ipython().run_line_magic('time', 'f(\\x00)')") == {}


def test_what_capture_binds_is_assigned() -> None:
    assert list(names_read("get_ipython().run_cell_magic('capture', 'out', 'x = 1\\n')\nout, x")) == []


def test_transform_is_ipythons() -> None:
    assert transform("!ls\n") == "get_ipython().system('ls')\n"


# --- names_read: soundness on random programs -------------------------------------------------------------------

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

    Code whose globals are no plain dict looks them up with `__getitem__`, in functions too. A value that is read
    under its own name and is still the notebook's was needed; what the cell assigned is another object.
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
        return ["try:", *indented(draw(inner)), f"except Exception as {name}:", *handler, "else:", f"    {value}"]
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


@settings(max_examples=300, deadline=None)
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


# --- explain: where the trouble sits ----------------------------------------------------------------------------


def why(obj: object) -> BaseException | None:
    try:
        cloudpickle.dumps(obj, protocol=5)
    except Exception as error:  # whatever pickling raises is the answer
        return error
    return None


def problem(name: str, obj: object) -> Problem:
    (found,) = explain({name: obj}, {name: 3}, why).problems
    return found


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
        self.kept = (i for i in ())

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

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("cannot pickle this")


class Rebuilt:
    def __reduce__(self) -> Any:
        return Rebuilt, (1, [LOCK])


@dataclasses.dataclass
class Record:
    x: object
    y: int = 1


Point = collections.namedtuple("Point", "x y")


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
        ("def outer(h, g=1):\n    def inner(): return h, g, later\n    if 0: later = 1\n    return inner\nit = outer(LOCK)", "it closes over h", "h"),
        ("class it:\n    def go(self): return LOCK", "it.go uses the global LOCK", "LOCK"),
        ("class it:\n    @property\n    def go(self): return LOCK", "it.go.fget uses the global LOCK", "LOCK"),
        ("class it:\n    @staticmethod\n    def go(): return LOCK", "it.go.__func__ uses the global LOCK", "LOCK"),
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
    assert (found.path, found.reason) == ("it", "cannot pickle this")


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
    assert problem("it", {"a": [[LOCK]]}).path == 'it["a"]'


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


# --- explain: what to do ----------------------------------------------------------------------------------------


def made(name: str, module: str, *bases: type) -> Any:
    """Return an object of a class that calls itself ``module.name``."""
    return type(name, bases, {"__module__": module})()


async def answer() -> None: ...


def kinds() -> Iterator[tuple[str, object]]:
    yield from (("lock", one) for one in (LOCK, threading.RLock(), threading.Event(), threading.Thread()))
    yield from (("lock", one) for one in (threading.Condition(), threading.Semaphore(), threading.local()))
    yield "file", sys.__stdout__
    yield "file", io.BufferedReader(io.BytesIO())  # type: ignore[arg-type]
    yield "iterator", (i for i in ())
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
    yield "other", Plain()
    yield "other", Walker()
    yield "other", Hostile()


@pytest.mark.parametrize(("kind", "obj"), kinds())
def test_kinds(kind: str, obj: object) -> None:
    assert kind_of(obj) == kind


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
    (found,) = explain({"it": Plain()}, {}, lambda _: error).problems
    assert found.advice == ADVICE[kind]


# --- explain: how it reads --------------------------------------------------------------------------------------


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
    captured = {"train": train, "numbers": (i for i in ()), "ok": 1, "event": threading.Event()}
    error = explain(captured, {"train": 2, "numbers": 5}, why)
    lines = str(error).splitlines()
    assert lines[0] == "3 notebook objects that the cell uses cannot be sent to the ranks:"
    assert lines[1].startswith(
        "line 2 uses 'train', which cannot be sent to the ranks: train uses the global LOCK, and LOCK is a _thread.lock ("
    )
    assert lines[2].startswith("line 5 uses 'numbers', which cannot be sent to the ranks: it is a generator (")
    assert lines[2].endswith(". Make a list of it first, or create it inside the cell.")
    assert lines[3].startswith(
        "the captured name 'event' cannot be sent to the ranks: it is a threading.Event (cannot"
    )
    assert lines[4:] == ["Nothing was started: no rank has run any of the cell."]
    assert error._render_traceback_() == ["CaptureError: " + lines[0], *lines[1:]]


def test_message_when_only_the_whole_fails() -> None:
    error = explain({"a": 1, "b": 2}, {"a": 1, "b": 1}, lambda _: None)
    assert error.problems == []
    assert str(error) == (
        "the notebook objects that the cell uses cannot be sent to the ranks together, though each can alone: "
        "leave some out (--no-capture).\nNothing was started: no rank has run any of the cell."
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


def test_ipython_shows_the_message_instead_of_a_traceback() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    error = explain({"it": LOCK}, {"it": 1}, why)
    seen: list[list[str]] = []
    shell._showtraceback = lambda kind, value, lines: seen.append(lines)  # noqa: ARG005
    shell.user_ns["error"] = error
    shell.run_cell("raise error", store_history=False)
    assert seen == [error._render_traceback_()]
