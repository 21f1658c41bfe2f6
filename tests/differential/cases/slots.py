"""Classes with slots."""

CASES = r"""
import abc, copy, dataclasses, functools, typing, weakref
from dataclasses import dataclass, field
# ---- a dataclass with slots
@dataclass(slots=True)
class P:
    x: int
p = P(3)
>>> p, [p, p]
>>> P.__slots__
>>> P(4) == p, P(3) == p
>>> p.y = 1
>>> p.x = 7
>>> p.x
>>> dataclasses.replace(p, x=1), dataclasses.asdict(p), copy.copy(p), copy.deepcopy(p)
<<< p
<<< P(5)
<<< P
# ---- a frozen dataclass with slots
@dataclass(slots=True, frozen=True)
class F:
    x: int
    y: str = "y"
f = F(3)
>>> f, F(1, "z"), hash(f) == hash(F(3)), f == F(3), f in {F(3): 1}
>>> f.x = 1
<<< f
<<< [f, f, F(9)]
# ---- a dataclass with slots, defaults and keyword-only fields
@dataclass(slots=True, kw_only=True, order=True)
class K:
    a: int = 1
    b: list = field(default_factory=list)
    c: str = field(default="c", repr=False, compare=False)
k = K(b=[1])
>>> k, K(), K() < K(a=2), K().b is K().b
>>> K(1)
>>> [one.name for one in dataclasses.fields(K)], dataclasses.fields(K)[1].default is dataclasses.MISSING
<<< k
# ---- dataclasses with slots that inherit
@dataclass(slots=True)
class Low:
    x: int
@dataclass(slots=True)
class High(Low):
    y: int = 2
    def total(self):
        return self.x + self.y
    def up(self):
        return High.__mro__[1]
low, high = Low(1), High(1)
>>> low, high, high.total(), high.up() is Low, isinstance(high, Low)
>>> High.__slots__, Low.__slots__
>>> high.z = 3
<<< high, low
# ---- a dataclass with slots calls super
@dataclass(slots=True)
class Sup:
    x: int
    def go(self):
        return self.x
@dataclass
class Sub(Sup):
    def go(self):
        return super().go() + 1
sub = Sub(1)
>>> sub.go(), sub
<<< sub
# ---- plain slots
class S:
    __slots__ = ("a", "b")
    def __init__(self, a):
        self.a = a
s = S(1)
>>> s, s.a, hasattr(s, "b"), hasattr(s, "__dict__")
>>> s.b
>>> s.c = 1
>>> s.b = 2
>>> s.b
>>> S.a.__get__(s), S.__slots__
<<< s
<<< S(4)
# ---- one slot, given as text
class One:
    __slots__ = "only"
one = One()
one.only = [1]
>>> one, One.__slots__, one.only
<<< one
# ---- slots given as a list, and as a dictionary with documentation
class Listed:
    __slots__ = ["a", "b"]
class Documented:
    __slots__ = {"a": "the first"}
listed, documented = Listed(), Documented()
listed.a, documented.a = 1, 2
>>> listed, documented, Documented.__slots__, Listed.__slots__
>>> Documented.a.__doc__
<<< listed, documented
# ---- no slots at all
class Empty:
    __slots__ = ()
class More(Empty):
    pass
empty, more = Empty(), More()
more.x = 1
>>> empty, more, Empty.__slots__
>>> empty.x = 1
<<< empty, more
# ---- slots with a weak reference
class W:
    __slots__ = ("x", "__weakref__")
w = W()
w.x = 1
>>> w, weakref.ref(w)() is w, W.__weakrefoffset__ > 0
>>> w.y = 1
<<< w
# ---- slots with a dictionary
class D:
    __slots__ = ("x", "__dict__")
d = D()
d.x, d.y = 1, 2
>>> d, d.x, d.y, vars(d)
>>> weakref.ref(d)
<<< d
# ---- slots over a base with a dictionary, and the reverse
class Open:
    pass
class Closed(Open):
    __slots__ = ("x",)
class Slotted:
    __slots__ = ("x",)
class Opened(Slotted):
    pass
closed, opened = Closed(), Opened()
closed.x = closed.y = opened.x = opened.y = 1
>>> closed, opened, vars(closed), vars(opened)
<<< closed, opened
# ---- slots in both of a hierarchy
class A:
    __slots__ = ("a",)
class B(A):
    __slots__ = ("b",)
class C(B):
    __slots__ = ("c",)
    d = 5
o = C()
o.a, o.b, o.c = 1, [2], {"k": 3}
>>> o, C.a is A.a, o.d
>>> o.d = 1
<<< o
# ---- slots with private names
class Priv:
    __slots__ = ("__hidden",)
    def __init__(self):
        self.__hidden = 4
    def get(self):
        return self.__hidden
priv = Priv()
>>> priv.get(), priv, Priv.__slots__
<<< priv
# ---- slots and a state of its own
class G:
    __slots__ = ("x", "y")
    def __getstate__(self):
        return {"x": self.x}
    def __setstate__(self, state):
        self.x = state["x"]
        self.y = "made"
g = G()
g.x, g.y = 1, "made"
>>> g
<<< g
# ---- slots, weak reference, property and class attribute
class Mix:
    __slots__ = ("_x", "__weakref__")
    limit = 10
    @property
    def x(self):
        return self._x
    @x.setter
    def x(self, value):
        self._x = min(value, self.limit)
mix = Mix()
mix.x = 20
>>> mix.x, mix, Mix.limit
>>> mix.limit = 3
<<< mix
# ---- slots of a subclass of int, tuple, dict and list
class Num(int):
    __slots__ = ()
class Tup(tuple):
    __slots__ = ()
class Dic(dict):
    __slots__ = ("extra",)
class Lis(list):
    __slots__ = ("extra",)
num, tup, dic, lis = Num(4), Tup((1, 2)), Dic(a=1), Lis([1])
dic.extra = lis.extra = "e"
>>> num, tup, dic, lis, num + 1, tup + (3,), dic.extra, lis.extra
>>> num.x = 1
<<< num, tup, dic, lis
# ---- generic classes with slots
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    __slots__ = ("item",)
    def __init__(self, item):
        self.item = item
box = Box[int](3)
>>> box.item, Box[int], Box.__parameters__, Box.__slots__
<<< box
# ---- an abstract class with slots
class Shape(abc.ABC):
    __slots__ = ("name",)
    @abc.abstractmethod
    def area(self): ...
class Square(Shape):
    __slots__ = ("side",)
    def area(self):
        return self.side ** 2
square = Square()
square.name, square.side = "q", 3
>>> square.area(), square, isinstance(square, Shape)
>>> Shape()
<<< square
# ---- a dataclass with slots and a weak reference (python 3.11)
@dataclass(slots=True, weakref_slot=True)
class DW:
    x: int
dw = DW(1)
>>> weakref.ref(dw)() is dw, dw
<<< dw
# ---- a dataclass with slots whose method is cached outside
@dataclass(slots=True, frozen=True)
class Key:
    x: int
    @functools.lru_cache
    def double(self):
        return 2 * self.x
key = Key(4)
>>> key.double(), Key(4).double(), key
<<< key
# ---- a dataclass with slots and class variables
@dataclass(slots=True)
class CV:
    count: typing.ClassVar[int] = 0
    items: typing.ClassVar[list] = []
    x: int = 1
    init: dataclasses.InitVar[int] = 3
    def __post_init__(self, init):
        self.x += init
cv = CV()
cv.items.append(4)
>>> cv, CV.items, CV.count, CV(1, 1)
>>> cv.items is CV.items
<<< cv
# ---- attrs with slots (needs attrs)
import attrs
@attrs.define
class At:
    x: int
    y: list = attrs.Factory(list)
@attrs.frozen
class Fr:
    x: int = 4
at, fr = At(1), Fr()
>>> at, fr, At(1) == at, hash(fr) == hash(Fr(4)), attrs.asdict(at)
>>> at.z = 1
>>> fr.x = 1
>>> attrs.fields(At).x.default is attrs.NOTHING
<<< at, fr
# ---- attrs with converters, validators and inheritance (needs attrs)
import attrs
@attrs.define
class Va:
    x: int = attrs.field(converter=int, validator=attrs.validators.ge(0))
@attrs.define
class Vb(Va):
    y: int = 3
    def go(self):
        return super().__init__
vb = Vb("4")
>>> vb, Vb("7"), callable(vb.go())
>>> Vb("-1")
<<< vb
# ---- the class of a slotted object travels without the object
@dataclass(slots=True)
class Lone:
    x: int = 2
>>> Lone(), Lone(3), Lone.__slots__
>>> @dataclass(slots=True)
... class Extended(Lone):
...     y: int = 3
>>> Extended(), Extended(1, 2).x, Extended.__slots__
<<< Lone()
# ---- slots that hold each other
class Node:
    __slots__ = ("next", "value")
first, second = Node(), Node()
first.next, second.next, first.value, second.value = second, first, 1, 2
>>> first, second, first.next.next is first
<<< first
"""
