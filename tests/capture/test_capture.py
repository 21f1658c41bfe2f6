"""Which notebook names a cell needs."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import pytest

from nblaunch.capture import names_of, transform


def names_read(source: str, **options: Any) -> dict[str, int]:
    return names_of(source, **options).read


def needs(source: str, **options: Any) -> dict[str, int]:
    return names_read(textwrap.dedent(source), **options)


# --- one construct at a time ---

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
    "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x += y\n    return g": "y",
    "def f():\n    return x\n    x = 1": "",
    "def f():\n    if a: import x\n    for y in x: pass\n    with y as z: z\n    del z": "a",
    "def f():\n    try: pass\n    except E as e: e": "E",
    "def f(e):\n    match e:\n        case {**r}: r\n        case [*s] as t: s, t": "",
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
    "async def f(): await a\nawait b\nasync for x in c: x": "a b c",
    "async with d as e: e\n[y async for y in g]": "d g",
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


# --- functions run later ---

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
    "@d\ndef f(n): return f(n - 1)": "d f",
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


# --- text that IPython expands or runs ---

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
