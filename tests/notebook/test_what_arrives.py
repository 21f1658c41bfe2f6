"""What travels is what arrives: classes, caches, enumerations, sentinels, memory are in a rank what they are here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel


def same_in_ranks(kernel: Kernel, setup: str, look: str, *, options: str = "") -> None:
    """Check that an expression gives in two ranks what it gives in the notebook, as its `repr` tells."""
    kernel.run(setup).ok()
    kernel.run(f"expected = repr({look})").ok()
    kernel.run(f"%%multiproc 2 {options}\nrepr({look})").ok()
    expected = kernel.value("expected")
    assert kernel.value("results") == {0: expected, 1: expected}


SLOTS = """
from dataclasses import dataclass, field
import weakref
@dataclass(slots=True)
class P: x: int
class Q:
    __slots__ = ("a", "__b", "__weakref__")
    def __init__(self): self.a = 1; self.__b = 2
    def b(self): return self.__b
class Q2(Q):
    __slots__ = ("c",)
class Q3(Q2): pass
class One:
    __slots__ = "only"
@dataclass(slots=True, frozen=True)
class F:
    x: int = 3
    y: list = field(default_factory=list)
q, one = Q2(), One()
q.c = 5
"""


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_classes_with_slots(kernel: Kernel, method: str) -> None:
    same_in_ranks(
        kernel,
        SLOTS,
        "(P(3), P.__slots__, hasattr(P(1), '__dict__'), q.a, q.b(), q.c, hasattr(q, '__dict__'), Q3().__dict__,"
        " F(), F(4) == F(4), weakref.ref(q)() is q, hasattr(one, 'only'), [k.__name__ for k in Q3.__mro__])",
        options=f"--start-method {method}",
    )
    kernel.run(
        "%%multiproc 2\nclass Sub(P): pass\n@dataclass(slots=True)\nclass Sub2(P):\n    z: int = 4\n"
        "P(rank), q, Sub(3), Sub2(1)"
    ).ok()
    assert (
        kernel.value(
            "[(v[0] == P(r), type(v[0]) is P, type(v[1]) is Q2, v[1].b(), isinstance(v[2], P), v[3].z)"
            " for r, v in results.items()]"
        )
        == [(True, True, True, 2, True, 4)] * 2
    )


CACHES = """
import functools, nblaunch
from typing import Generic, NewType, ParamSpec, TypeVar
@functools.lru_cache
def f(n): return 1 if n < 2 else n * f(n - 1)
@functools.cache
def g(n): return f(n) + 1
class C:
    @functools.lru_cache(maxsize=3)
    def m(self, n): return n * 2
    @functools.cached_property
    def cp(self): return 42
    @staticmethod
    @functools.cache
    def st(n): return n
c = C()
def through(n): return g(n)
PS, T, UserId = ParamSpec("PS"), TypeVar("T"), NewType("UserId", int)
class G(Generic[T]): pass
class Missing:
    def __reduce__(self): return "MISSING"
    def __repr__(self): return "<MISSING>"
MISSING = Missing()
holder = [MISSING]
"""


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_what_pickles_itself_by_a_name_in_main(kernel: Kernel, method: str) -> None:
    same_in_ranks(
        kernel,
        CACHES,
        "(f(3), g(4), c.m(3), c.cp, through(5), C.st(3), f.cache_parameters(), f.__wrapped__(5), PS, UserId(3), G[int],"
        " T, MISSING, holder[0] is MISSING, C.m.__name__, f.__name__, UserId.__supertype__)",
        options=f"--start-method {method}",
    )
    kernel.run("%%multiproc 2\nf, g, PS, UserId, T, MISSING, c").ok()
    assert (
        kernel.value(
            "[[v[i] is x for i, x in enumerate((f, g, PS, UserId, T, MISSING))] + [type(v[6]) is C]"
            " for v in results.values()]"
        )
        == [[True] * 7] * 2
    )
    assert kernel.value(f"nblaunch.launch(g, 2, args=(5,), start_method={method!r}).results") == {0: 121, 1: 121}


def test_what_arrives_is_found_by_its_name_in_main(kernel: Kernel) -> None:
    kernel.run(
        "import pickle\n"
        "class Cfg:\n"
        "    def __init__(self): self.x = 1\n"
        "    def m(self, y): return self.x + y\n"
        "    class Inner: pass\n"
        "cfg, inner = Cfg(), Cfg.Inner()\n"
        "saved = pickle.dumps(cfg)"
    ).ok()
    kernel.run(
        "%%multiproc 2\n"
        "import multiprocessing as mp, pickle\n"
        "def of_the_cell(x): return x * 10 + cfg.x\n"
        "pools = {}\n"
        "for method in ('fork', 'spawn', 'forkserver'):\n"
        "    with mp.get_context(method).Pool(1) as pool:\n"
        "        pools[method] = pool.map(cfg.m, [1, 2]), pool.map(of_the_cell, [1])\n"
        "again = pickle.loads(pickle.dumps([cfg, inner]))\n"
        "type(again[0]) is type(cfg), type(again[1]).__qualname__, type(pickle.loads(saved)) is type(cfg), pools,"
        " 'Cf' + 'g' in globals()"
    ).ok()
    pools = dict.fromkeys(("fork", "spawn", "forkserver"), ([2, 3], [11]))
    assert kernel.value("results") == dict.fromkeys((0, 1), (True, "Cfg.Inner", True, pools, False))


def test_what_cannot_travel_on_keeps_nothing_else_from_processes_that_a_rank_spawns(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 1\n"
        "import multiprocessing as mp, sys\n"
        "class Stubborn:\n"
        "    def __reduce__(self): sys.exit('not me')\n"
        "stubborn = Stubborn()\n"
        "def use(): return stubborn\n"
        "def double(x): return 2 * x\n"
        "globals()[5] = 'a name that is no text'\n"
        "with mp.get_context('spawn').Pool(1) as pool: doubled = pool.map(double, [1, 2])\n"
        "doubled"
    ).ok()
    assert kernel.value("results") == {0: [2, 4]}


def test_a_name_that_the_cell_binds_comes_first(kernel: Kernel) -> None:
    kernel.run("class Cfg: pass\ncfg = Cfg()").ok()
    kernel.run("%%multiproc 1\nimport __main__\nCfg = 5\n__main__.Cfg").ok()
    assert kernel.value("results") == {0: 5}


def test_submodules_are_there(kernel: Kernel, tmp_path: Path) -> None:
    package = tmp_path / "own_package" / "deep"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "leaf.py").write_text("X = 5")
    same_in_ranks(
        kernel,
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import xml.etree.ElementTree, xml.dom.minidom, concurrent.futures, own_package.deep.leaf\n"
        "import xml.dom as dom, own_package.deep as deep\n"
        "def uses(): return xml.dom.minidom.parseString('<a/>').documentElement.tagName\n"
        "modules = {'x': xml}",
        "(xml.etree.ElementTree.fromstring('<a/>').tag, concurrent.futures.ThreadPoolExecutor.__name__,"
        " dom.minidom.__name__, uses(), modules['x'].etree.ElementTree.__name__, own_package.deep.leaf.X, deep.leaf.X,"
        " hasattr(xml, 'nothing'))",
    )
    kernel.run("sys.path.pop(0)").ok()


ENUMS = """
import datetime, enum
class Perm(enum.Flag):
    R = 1; W = 2; RW = 3
class Planet(enum.Enum):
    EARTH = (6.0, 3.0); MARS = (6.4, 3.2); ALIAS = (6.0, 3.0)
    def __init__(self, mass, radius): self.mass = mass; self.radius = radius
    @property
    def gravity(self): return self.mass / self.radius
    @classmethod
    def _missing_(cls, value): return cls.EARTH
class Coordinate(bytes, enum.Enum):
    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value]); made._value_ = value; made.label = label
        return made
    PX = (0, "X"); PY = (1, "Y")
class Word(str, enum.Enum):
    ONE = "one"; TWO = "two"
class Count(enum.Enum):
    A = enum.auto(); B = enum.auto()
class Number(enum.IntEnum):
    A = 1; B = 2; C = 1
class Bits(enum.IntFlag):
    A = 1; B = 4
class Day(datetime.date, enum.Enum):
    X = 2020, 1, 2
class Loose(enum.Enum):
    A = [1]; B = {"k": 2}
both, earth, bytes_of = Bits.A | Bits.B, Planet.EARTH, bytes
"""


@pytest.mark.parametrize("method", ["zygote", "spawn", "fork"])
def test_enumerations(kernel: Kernel, method: str) -> None:
    same_in_ranks(
        kernel,
        ENUMS,
        "(str(Perm.RW), Perm.R | Perm.W is Perm.RW, Planet('zz'), Planet.EARTH.gravity, Planet.ALIAS is earth,"
        " Coordinate.PY.label, Coordinate(1) is Coordinate.PY, bytes_of(Coordinate.PY), Word.ONE, list(Word),"
        " Number(1), Number['C'] is Number.A, both, Bits(5) is both, Day.X.year, Loose([1]) is Loose.A, Perm(1),"
        " len(Perm), list(Planet.__members__), Count.B.value, Number.A + 1)",
        options=f"--start-method {method}",
    )
    kernel.run("%%multiproc 1\nPlanet.EARTH, Coordinate.PY, Word.ONE, both, Day.X, Loose.A, Perm.R | Perm.W").ok()
    assert (
        kernel.value(
            "[x is y for x, y in zip(results[0],"
            " (Planet.EARTH, Coordinate.PY, Word.ONE, both, Day.X, Loose.A, Perm.RW))]"
        )
        == [True] * 7
    )


HOOKS = """
import abc
from typing import NamedTuple, Protocol, TypedDict, runtime_checkable
ran = []
class Base:
    registry = {}
    def __init_subclass__(cls, *, tag, **options):
        super().__init_subclass__(**options)
        ran.append(tag); Base.registry[tag] = cls; cls.tag = tag
class Child(Base, tag="c"): pass
class Named:
    def __set_name__(self, owner, name): self.name = name; ran.append(name)
    def __get__(self, obj, kind): return self.name
class Holds: d = Named()
class Meta(type):
    def __new__(meta, name, bases, space, *, kw):
        made = super().__new__(meta, name, bases, space); made.kw = kw
        return made
    def __init__(self, name, bases, space, *, kw):
        super().__init__(name, bases, space); ran.append(name)
    def __setattr__(self, name, value): super().__setattr__(name, value); ran.append(name)
class Made(metaclass=Meta, kw=3): pass
class Abstract(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class Concrete(Abstract):
    def f(self): return 1
class Virtual: pass
Abstract.register(Virtual)
@runtime_checkable
class Shape(Protocol):
    def f(self): ...
class Pair(NamedTuple):
    a: int
    b: str = "x"
class Options(TypedDict, total=False):
    z: int
def refused():
    try: Abstract()
    except TypeError as error: return str(error)
"""


@pytest.mark.parametrize("method", ["zygote", "spawn", "fork"])
def test_hooks_of_class_creation_run_once(kernel: Kernel, method: str) -> None:
    look = (
        "(ran, sorted(Base.registry), Base.registry['c'] is Child, Child.tag, Holds().d, Made.kw,"
        " isinstance(Virtual(), Abstract), refused(), Concrete().f(), isinstance(Concrete(), Shape),"
        " isinstance(3, Shape), Pair(1), Options(z=3), Options.__optional_keys__)"
    )
    same_in_ranks(kernel, HOOKS, look, options=f"--start-method {method}")
    # and they run for what the cell itself derives
    kernel.run("%%multiproc 1\nclass Other(Base, tag='d'): pass\nsorted(Base.registry), Other.tag, ran[-1]").ok()
    assert kernel.value("(results, sorted(Base.registry))") == ({0: (["c", "d"], "d", "d")}, ["c"])


def test_what_was_imported_from_a_folder_left_behind(kernel: Kernel, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, x in ((old, 5), (new, 6)):
        folder.mkdir()
        (folder / "left_behind.py").write_text(f"import beside_it\nX = {x}\nclass K: pass\n")
        (folder / "beside_it.py").write_text(f"Y = {x}")
    kernel.run(
        f"import os, sys\nos.chdir({str(old)!r})\nsys.path.insert(0, '')\nimport left_behind\n"
        f"os.chdir({str(new)!r})\nk = left_behind.K()"
    ).ok()
    for method in ("zygote", "spawn", "fork"):
        kernel.run(
            f"%%multiproc 1 --start-method {method}\nimport beside_it\nleft_behind.X, beside_it.Y, type(k).__module__"
        ).ok()
        assert kernel.value("results") == {0: (5, 5, "left_behind")}
    kernel.run("sys.path.pop(0)\ndel sys.modules['left_behind'], sys.modules['beside_it']").ok()


def test_sentinels_and_equal_attributes_of_base_and_derived_class(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "sentinels_of_mine.py").write_text(
        "class Sentinel:\n    def __init__(self, name): self.name = name\n"
        "UNSET, ANY = object(), Sentinel('ANY')\ndef is_unset(x=UNSET): return x is UNSET"
    )
    same_in_ranks(
        kernel,
        f"import dataclasses, inspect, sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport sentinels_of_mine as own\n"
        "from dataclasses import dataclass, field\n"
        "@dataclass\nclass Base: tags: list = field(default_factory=list)\n"
        "class A: v = 1\nclass B(A): v = 1\n"
        "unset, any_, missing, empty = own.UNSET, own.ANY, dataclasses.MISSING, inspect._empty\n"
        "def child():\n"
        "    @dataclass\n    class Child(Base): pass\n    return Child().tags\n",
        "(child(), unset is own.UNSET, own.is_unset(unset), any_ is own.ANY, any_.name, missing is dataclasses.MISSING,"
        " empty is inspect._empty, 'v' in vars(B))",
    )
    kernel.run("%%multiproc 1\nA.v = 2\nB.v, own.UNSET, own.ANY").ok()
    assert kernel.value("(results[0][0], results[0][1] is own.UNSET, results[0][2] is own.ANY)") == (1, True, True)
    kernel.run("sys.path.pop(0)").ok()


def test_arrays_on_the_same_memory_stay_on_it(kernel: Kernel) -> None:
    kernel.run(
        "import numpy as np\n"
        "buf = np.zeros(6); view = buf.reshape(2, 3); big = np.zeros(10_000); every = big[::-2]\n"
        "parts = [big[:5], big[3:9]]; fixed = big[10:20]; fixed.flags.writeable = False; apart = big.copy()\n"
        "records = np.zeros(3, 'u1,f8'); floats = records['f1']"
    ).ok()
    kernel.run(
        "%%multiproc 2\nview[:] = 1; every[:] = 2; parts[0][:] = 7; floats[:] = 3\n"
        "(buf.sum(), big[:12].tolist(), parts[1].tolist(), fixed.flags.writeable, every.flags.writeable, apart.sum(),"
        " records['f1'].sum())"
    ).ok()
    odd = [7.0] * 5 + [2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 2.0]
    assert kernel.value(
        "{r: tuple(map(lambda x: x if isinstance(x, list) else float(x), v)) for r, v in results.items()}"
    ) == {r: (6.0, odd, [7.0, 7.0, 2.0, 0.0, 2.0, 0.0], 0.0, 1.0, 0.0, 9.0) for r in (0, 1)}
    assert kernel.value("float(big.sum())") == 0.0


def test_private_memory_maps_bring_their_changes(kernel: Kernel, tmp_path: Path) -> None:
    path = str(tmp_path / "numbers.bin")
    kernel.run(
        f"import numpy as np\nfull = np.memmap({path!r}, 'f8', 'w+', shape=(100, 30)); full[:] = 1; full.flush()\n"
        f"m = np.memmap({path!r}, 'f8', 'c', shape=(30, 100), order='F')\nm[0, 0] = 99; m[29, 99] = 5"
    ).ok()
    kernel.run("%%multiproc 2\nm[1, 1] += rank\nfloat(m[0, 0]), float(m[1, 1]), float(m[29, 99]), m.mode").ok()
    assert kernel.value("results") == {r: (99.0, 1.0 + r, 5.0, "c") for r in (0, 1)}

    (tmp_path / "other.bin").write_bytes(bytes(24_000))
    (tmp_path / "other.bin").replace(path)
    reply = kernel.run("%%multiproc 2\nm[0, 0]")
    assert (
        f"line 2 uses 'm', which cannot be sent to the ranks: it is a numpy.memmap (cannot pickle the memory map of "
        f"'{path}': another file has taken its place since it was mapped). Map the file anew, or send a copy: "
        "numpy.array(...) of it." in reply.evalue
    )
    Path(path).unlink()
    assert "the file is not there any more" in kernel.run("%%multiproc 2\nm[0, 0]").evalue
    kernel.run("del m, full").ok()


RAISING = """
class Raising:
    def __init__(self): self.a = 1
    def __setstate__(self, state): raise LookupError(self.a)
thing = Raising()
"""
HASHED = """
class Hashed:
    def __init__(self): self.k = 1; self.s = {self}
    def __hash__(self): return hash(self.k)
thing = Hashed()
"""


@pytest.mark.parametrize(
    ("definition", "what", "reason"),
    [
        (
            RAISING,
            "it is a Raising",
            "AttributeError: 'Raising' object has no attribute 'a'",
        ),
        (
            HASHED,
            "it is a Hashed",
            "AttributeError: 'Hashed' object has no attribute 'k'",
        ),
    ],
)
def test_what_cannot_be_rebuilt_is_told_before_anything_starts(
    kernel: Kernel, definition: str, what: str, reason: str
) -> None:
    kernel.run(definition).ok()
    reply = kernel.run("%%multiproc 2\n\nthing")
    assert reply.ename == "CaptureError"
    assert f"line 3 uses 'thing', which cannot be sent to the ranks: {what}" in reply.evalue
    assert reason in reply.evalue
    assert "Nothing was started" in reply.evalue


def test_what_fails_to_be_rebuilt_only_in_the_rank_names_the_object(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(
        "import os\nhome = os.getpid()\nclass Picky:\n    def __reduce__(self): return build, (home,)\n"
        "def build(pid):\n    if os.getpid() != pid: raise OSError('not here')\n    return Picky()\n"
    )
    kernel.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport picky\nthing = picky.Picky()").ok()
    reply = kernel.run("%%multiproc 1\n\nthing")
    assert (
        "'thing', which line 3 uses, has arrived in the rank but cannot be rebuilt there: it is, or holds, something "
        "whose own code fails then (OSError: not here). It is a Picky: make it inside the cell, or see what its class "
        "does when it is unpickled (__new__, __setstate__, __getattr__, __hash__)" in reply.traceback
    )
    kernel.run("sys.path.pop(0)").ok()


@pytest.mark.parametrize("method", ["zygote", "fork"])
def test_classes_of_libraries_in_c_and_weak_registries(kernel: Kernel, method: str) -> None:
    same_in_ranks(
        kernel,
        "import ctypes, weakref\n"
        "class S(ctypes.Structure): _fields_ = [('a', ctypes.c_int), ('b', ctypes.c_double)]\n"
        "class S2(S): _fields_ = [('c', ctypes.c_char)]\n"
        "class O:\n    alive = weakref.WeakSet()\n    def __init__(self): O.alive.add(self)\n"
        "class Disguised:\n    x = 4\n    @property\n    def __class__(self): return int\n"
        "s, s2, o, d = S(1, 2.5), S2(1, 2.0, b'x'), O(), Disguised()\n"
        "by_name = weakref.WeakValueDictionary(k=o)",
        "(s.a, s.b, s2.c, ctypes.sizeof(S2), S(3, 4).a, by_name['k'] is o, o in O.alive, d.x, isinstance(d, int))",
        options=f"--start-method {method}",
    )


@pytest.mark.torch
def test_functions_that_libraries_have_wrapped(kernel: Kernel) -> None:
    kernel.run(
        "import torch\n"
        "@torch.compile(backend='eager')\ndef compiled(x): return x * 2 + 1\n"
        "@torch.no_grad()\ndef plain(x): return x + 1\n"
        "module = torch.compile(torch.nn.Linear(2, 2), backend='eager')\n"
        "class Triple(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, x): return x * 3\n"
        "    @staticmethod\n    def backward(ctx, g): return g * 3\n"
    ).ok()
    kernel.run(
        "%%multiproc 2\nx = torch.ones(1, requires_grad=True); Triple.apply(x).backward()\n"
        "compiled(torch.ones(2)).tolist(), plain(torch.ones(1)).tolist(), module(torch.ones(1, 2)).shape[1],"
        " x.grad.tolist()"
    ).ok()
    assert kernel.value("results") == {r: ([3.0, 3.0], [2.0], 2, [3.0]) for r in (0, 1)}


@pytest.mark.torch
def test_saving_and_loading_in_ranks(kernel: Kernel, tmp_path: Path) -> None:
    path = str(tmp_path / "net.pt")
    kernel.run(
        "import io, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self): super().__init__(); self.l = torch.nn.Linear(2, 2)\n"
        f"net = Net(); torch.save(net, {path!r})\n"
        "class Data(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 4\n    def __getitem__(self, i): return torch.tensor(i)\n"
        "data = Data()"
    ).ok()
    kernel.run(
        "%%multiproc 2\n"
        "import torch.distributed as dist\n"
        "file = io.BytesIO(); torch.save(net, file); file.seek(0)\n"
        f"loaded = [torch.load(f, weights_only=False) for f in (file, {path!r})]\n"
        "dist.init_process_group('gloo')\n"
        "nets = [None, None]; dist.all_gather_object(nets, net); dist.destroy_process_group()\n"
        "loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context='spawn')\n"
        "[type(n) is type(net) for n in loaded + nets], [batch.tolist() for batch in loader]"
    ).ok()
    assert kernel.value("results") == {r: ([True] * 4, [[0, 1], [2, 3]]) for r in (0, 1)}


def test_objects_that_keep_their_hash_are_found_again(kernel: Kernel) -> None:
    kernel.run(
        "class Lazy:\n"
        "    def __init__(self, n): self.n = n; self._h = None\n"
        "    def __eq__(self, o): return self.n == o.n\n"
        "    def __hash__(self):\n"
        "        if self._h is None: self._h = hash(self.n)\n"
        "        return self._h\n"
        "class Early:\n"
        "    def __init__(self, n): self.n = n; self._h = hash((type(self).__name__, n))\n"
        "    def __eq__(self, o): return self.n == o.n\n"
        "    def __hash__(self): return self._h\n"
        "lazy, early = Lazy('a'), Early('a'); table = {lazy: 1, early: 2}; both = {lazy, early}"
    ).ok()
    for method in ("zygote", "spawn", "fork"):
        kernel.run(
            f"%%multiproc 2 --start-method {method}\n"
            "[table[lazy], table[early], table[Lazy('a')], table[Early('a')], lazy in both, Early('a') in both], table"
        ).ok()
        assert kernel.value("[v[0] for v in results.values()]") == [[1, 2, 1, 2, True, True]] * 2
        assert kernel.value("[(v[1][Lazy('a')], v[1][Early('a')]) for v in results.values()]") == [(1, 2)] * 2


def test_tables_that_copy_on_write_do_not_change_with_one_another(kernel: Kernel) -> None:
    same_in_ranks(
        kernel,
        "import pandas as pd\n"
        "df = pd.DataFrame({'a': [1.0, 2.0, 3.0, 4.0], 'b': list('wxyz')})\n"
        "part, column, copy = df.iloc[1:3], df['a'], df.copy(deep=False)\n"
        "def look():\n"
        "    changed = df.copy(deep=False)\n"
        "    changed.loc[1, 'a'] = 99.0\n"
        "    return [t['a'].tolist() for t in (df, part, copy, changed)] + [column.tolist()]\n",
        "look()",
    )
    kernel.run(
        "%%multiproc 2\ndf.loc[1, 'a'] = 99.0\n"
        "df['a'].tolist(), part['a'].tolist(), column.tolist(), copy['a'].tolist()"
    ).ok()
    plain = [1.0, 2.0, 3.0, 4.0]
    assert kernel.value("results") == dict.fromkeys((0, 1), ([1.0, 99.0, 3.0, 4.0], [2.0, 3.0], plain, plain))
