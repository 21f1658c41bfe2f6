"""Objects that keep their own hash: found again by equal ones in a process whose hashes are others."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Imported by both processes; its classes keep their hashes in all the ways that people and libraries do.
THINGS = '''
import functools
import itertools
import uuid
from dataclasses import dataclass, field

class Equal:
    def __eq__(self, other):
        return type(self) is type(other) and self.name == other.name
    def __hash__(self):
        raise NotImplementedError

class Lazy(Equal):
    def __init__(self, name):
        self.name = name
        self._hash = None
    def __hash__(self):
        if self._hash is None:
            self._hash = hash((type(self), self.name))
        return self._hash

class ComparesHashes(Lazy):
    def __eq__(self, other):
        return self._hash == other._hash
    __hash__ = Lazy.__hash__

class Absent(Equal):
    def __init__(self, name):
        self.name = name
    def __hash__(self):
        try:
            return self._hash
        except AttributeError:
            self._hash = value = hash(self.name)
            return value

class MinusOne(Equal):
    def __init__(self, name):
        self.name = name
        self.__hash = -1
    def __hash__(self):
        if self.__hash == -1:
            self.__hash = hash(self.name)
        return self.__hash

class Zero(Equal):
    def __init__(self, name):
        self.name, self._h = name, 0
    def __hash__(self):
        if not self._h:
            self._h = hash(self.name) & 0x7FFFFFFF
        return self._h

class Cached(Equal):
    def __init__(self, name):
        self.name = name
    @functools.cached_property
    def _hash(self):
        return hash(("Cached", self.name))
    def __hash__(self):
        return self._hash

class Slots(Equal):
    __slots__ = ("name", "_hash")
    def __init__(self, name):
        self.name = name
        self._hash = None
    def __hash__(self):
        if self._hash is None:
            self._hash = hash(self.name)
        return self._hash

@dataclass(frozen=True)
class Frozen:
    name: str
    _hash: int = field(init=False, repr=False, compare=False, default=0)
    def __post_init__(self):
        object.__setattr__(self, "_hash", hash((self.name, type(self))))
    def __hash__(self):
        return self._hash

class Made(Equal):
    def __init__(self, name, *parts, kind="x"):
        self.name = name
        self._parts = tuple(parts)
        self.kind = kind
        key = (name, self._parts, kind)
        self.__hash = hash(key)
    def __hash__(self):
        return self.__hash

class Derived(Made):
    def __init__(self, name):
        super().__init__(name, "a", "b", kind=None)
        self.more = [1]

class New(Equal):
    def __new__(cls, name):
        self = super().__new__(cls)
        self.name = name
        self.__dict__["_hash"] = hash((cls.__name__, tuple(letter for letter in name)))
        return self
    def __getnewargs__(self):
        return (self.name,)
    def __hash__(self):
        return self._hash

class Helped(Equal):
    def __init__(self, name):
        self.name = name
        self._hash = self._compute_hash()
    def _compute_hash(self):
        return hash(self.name.upper())
    def __hash__(self):
        return self._hash

class HashedList(list):
    __slots__ = ("hashvalue",)
    def __init__(self, values, hash=hash):
        self[:] = values
        self.hashvalue = hash(tuple(self))
    def __hash__(self):
        return self.hashvalue

class Key(tuple):
    _hash = None
    def __hash__(self):
        if self._hash is None:
            self._hash = hash(("key", tuple.__hash__(self)))
        return self._hash

class CleansUp(Equal):
    def __init__(self, name):
        self.name = name
        self._hash = None
    def __hash__(self):
        if self._hash is None:
            self._hash = hash(self.name)
        return self._hash
    def __setstate__(self, state):
        self.__dict__.update(state, _hash=None)

class Outer(Equal):
    """Made of one that keeps its hash too."""
    def __init__(self, name):
        self.name = Lazy(name)
        self._hash = None
    def __hash__(self):
        if self._hash is None:
            self._hash = hash((self.name,))
        return self._hash

def closure():
    salt = "pepper"
    class Salted(Equal):
        def __init__(self, name):
            self.name = name
            self._hash = hash((salt, name))
        def __hash__(self):
            return self._hash
    return Salted
Salted = closure()
Salted.__qualname__ = "Salted"

KINDS = [Lazy, ComparesHashes, Absent, MinusOne, Zero, Cached, Slots, Frozen, Made, Derived, New, Helped, Key, CleansUp,
         Outer, Salted]

def made(kind, text="name"):
    obj = kind((text,)) if kind in (Key, HashedList) else kind(text)
    hash(obj)
    return obj

# ---- numbers that are no hashes of anything, or not to be computed again

drawn = itertools.count(100_000)

class Numbered:
    def __init__(self, name):
        self.name = name
        self.id = next(drawn)
    def __hash__(self):
        return self.id

class LazilyNumbered:
    id = None
    def __init__(self, name):
        self.name = name
    def __hash__(self):
        if self.id is None:
            self.id = uuid.uuid4().int >> 70
        return self.id

@dataclass
class Row:
    name: str
    id: int = 123_456
    def __hash__(self):
        return hash(self.id)

class Unclear(Equal):
    def __init__(self, name, when):
        self.name = name
        self._hash = hash((name, when))
    def __hash__(self):
        return self._hash

class Doubled(Unclear):
    def __init__(self, name, when):
        super().__init__(name, when)
        self._hash_too = hash(self)

class Child:
    """Its hash is made of its parent's name."""
    def __init__(self, parent):
        self.parent = parent
        self._hash = None
    def __hash__(self):
        if self._hash is None:
            self._hash = hash(("child", self.parent.name))
        return self._hash

class Parent:
    def __init__(self, name):
        self.name = name
        self.child = Child(self)
        hash(self.child)
'''

# What `nblaunch.payload.pickling` does with the two functions, on a plain pickler.
PICKLING = """
import io, pickle, types
from nblaunch.payload.hashes import all_renewed, cached_hash, renew

def set_and_renew(obj, both):
    state, cached = both
    if hasattr(obj, "__setstate__"):
        obj.__setstate__(state)
    else:
        for part in state if type(state) is tuple else (state,):
            for name, value in (part or {}).items():
                object.__setattr__(obj, name, value)
    renew(obj, cached)

class Pickler(pickle.Pickler):
    def reducer_override(self, obj):
        if isinstance(obj, (type, types.FunctionType)) or type(obj).__reduce_ex__ is not object.__reduce_ex__:
            return NotImplemented
        reduced = obj.__reduce_ex__(5)
        if type(reduced) is not tuple:
            return NotImplemented
        function, args, state, items, pairs = (*reduced, None, None, None)[:5]
        cached = cached_hash(obj, state)
        if cached is None:
            return NotImplemented
        return function, args, (state, cached), items, pairs, set_and_renew

def dumped(obj):
    stream = io.BytesIO()
    Pickler(stream, 5).dump(obj)
    return stream.getvalue()

def loaded(data):
    with all_renewed():
        return pickle.loads(data)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "things.py").write_text(THINGS)
    (tmp_path / "pickling.py").write_text(PICKLING)
    return tmp_path


def run(place: Path, seed: int, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from things import *\nfrom pickling import *\nfrom pathlib import Path\n" + code],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{place}", "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def send(place: Path, sending: str, receiving: str, seeds: tuple[int, int] = (1, 2)) -> str:
    """Return what the receiver prints of `got`, which is what the sender has as `sent`."""
    run(place, seeds[0], f"{sending}\nPath('sent').write_bytes(dumped(sent))")
    return run(place, seeds[1], f"got = loaded(Path('sent').read_bytes())\n{receiving}")


SENDING = "sent = [({made(kind): 'found'}, {made(kind)}, made(kind), made(kind, 'other')) for kind in KINDS]"
RECEIVING = """
for kind, (table, some, one, other) in zip(KINDS, got, strict=True):
    fresh = made(kind)
    assert hash(one) == hash(fresh) != hash(other), kind
    assert table.get(fresh) == 'found' and table.get(one) == 'found' and fresh in some, kind
    assert one == fresh and one != other, kind
    names = lambda of: sorted(getattr(of, '__dict__', ()))
    assert kind is CleansUp or names(one) == names(fresh), kind
print('all')
"""


@pytest.mark.parametrize("seeds", [(1, 2), (3, 3)])
def test_found_by_equal_objects(place: Path, seeds: tuple[int, int]) -> None:
    assert send(place, SENDING, RECEIVING, seeds) == "all\n"


def test_a_list_that_is_filled_before_its_hash_is_known(place: Path) -> None:
    sending = "sent = {made(HashedList): 1}"
    assert send(place, sending, "print(got[made(HashedList)], [*got][0].hashvalue == hash(('name',)))") == "1 True\n"


def test_numbers_that_are_no_hashes_stay(place: Path) -> None:
    sending = (
        "sent = [made(Numbered), made(LazilyNumbered), made(Row)]\nPath('ids').write_text(repr([x.id for x in sent]))"
    )
    receiving = "assert [x.id for x in got] == eval(Path('ids').read_text())\nprint(got[0].id, {got[2]} == {made(Row)})"
    assert send(place, sending, receiving) == "100000 True\n"
    # and the sender's next one is the next one
    assert run(place, 1, "dumped(made(Numbered)); dumped(made(Numbered)); print(next(drawn))") == "100002\n"


def test_what_the_hash_is_made_of_may_come_later(place: Path) -> None:
    # the child arrives first, and its parent has no name yet
    receiving = "fresh = Parent('name').child; print(hash(got.child) == hash(fresh), got.child._hash == hash(fresh))"
    assert send(place, "sent = Parent('name')", receiving) == "True True\n"


def test_one_that_cannot_be_computed_again_is_refused(place: Path) -> None:
    receiving = """
try:
    loaded(Path('sent').read_bytes())
except pickle.UnpicklingError as error:
    print(error)
"""
    # what is computed of the old hash is no better
    assert run(place, 1, "one = Doubled('n', 1); print(cached_hash(one, vars(one)).way)") == "unknown\n"
    run(place, 1, "Path('sent').write_bytes(dumped(Unclear('name', 'today')))")
    assert run(place, 2, receiving) == (
        "this Unclear keeps its hash in the attribute _hash. Hashes differ from process to process, and how to compute "
        "this one again cannot be told from the source of its class. Have __hash__ compute it when it is first asked "
        "for, or have __getstate__ leave out _hash; or start the kernel with PYTHONHASHSEED=0\n"
    )
    assert run(place, 1, receiving) == "", "the same seed, the same hash"


def test_without_the_source_what_is_computed_when_an_object_is_made_is_refused(place: Path) -> None:
    (place / "things.py").rename(place / "there.py")
    (place / "things.py").write_text("exec(compile(open('there.py').read(), '<gone>', 'exec'))")
    code = (
        "print([cached_hash(one, one.__reduce_ex__(5)[2]).way for one in map(made, (Lazy, Cached, Made))])\n"
        "print(cached_hash(made(Numbered), vars(made(Numbered))))"
    )
    assert run(place, 1, code) == "['None', 'nothing', 'unknown']\nNone\n"


def test_what_keeps_none_costs_no_hash() -> None:
    from nblaunch.payload.hashes import cached_hash

    class Counts:
        asked = 0

        def __init__(self, name: str, size: int) -> None:
            self.name, self.size = name, size

        def __hash__(self) -> int:
            Counts.asked += 1
            return hash(self.name)

    assert cached_hash(Counts("a", 3), {"name": "a", "size": 3}) is None
    assert Counts.asked == 0
    assert cached_hash(3, None) is cached_hash("a", {}) is cached_hash(object(), {"a": 1 << 40}) is None
    assert pickle.loads(pickle.dumps(1)) == 1
