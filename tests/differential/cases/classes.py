"""Ordinary classes, dataclasses, hooks that run when classes are made, and what they leave."""

CASES = r"""
import abc, collections, copy, dataclasses, functools, numbers, pickle, typing, weakref
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypedDict, TypeVar
# ---- a plain class
class Plain:
    "Documented."
    count = 0
    def __init__(self, x):
        self.x = x
    def go(self):
        return self.x * 2
plain = Plain([1])
>>> plain, plain.go(), Plain, plain.count, Plain.__doc__, Plain.__module__, Plain.__name__
>>> plain.new = 1
>>> plain, isinstance(plain, Plain), type(plain) is Plain
<<< plain
<<< Plain
<<< Plain(2), Plain
# ---- the same object under two names
class Two:
    pass
left = Two()
right = left
other = Two()
>>> left is right, left is other, [left, right, other]
<<< left, right, other
<<< [left, {"r": right}]
# ---- class attributes are shared by those that inherit
class Counter:
    count = 0
    seen = []
class SubCounter(Counter):
    pass
>>> Counter.count = 5
>>> SubCounter.count, SubCounter.seen is Counter.seen
<<< SubCounter
# ---- attributes equal to the base's
class A:
    v = 1
    w = ()
    name = "x"
class B(A):
    v = 1
    w = ()
    name = "x"
>>> "v" in vars(B), "w" in vars(B), "name" in vars(B)
>>> A.v = 2
>>> B.v, A.v
<<< B
# ---- methods that are the base's own
class Ba:
    def go(self):
        return 1
    @property
    def p(self):
        return 2
class Bb(Ba):
    go = Ba.go
    p = Ba.p
    other = Ba.go
>>> "go" in vars(Bb), "p" in vars(Bb), Bb.go is Ba.go, Bb.other is Ba.go
>>> Ba.go = lambda self: 5
>>> Bb().go(), Bb().other()
# ---- None in place of the base's
class Hashed:
    __hash__ = object.__hash__
class Unhashed(Hashed):
    __hash__ = None
    __iter__ = None
>>> Unhashed.__hash__, "__hash__" in vars(Hashed)
>>> hash(Unhashed())
>>> iter(Unhashed())
# ---- a class with __eq__ only
class Eq:
    def __eq__(self, other):
        return True
eq = Eq()
>>> Eq.__hash__, eq == 1
>>> hash(eq)
<<< eq
# ---- class methods, static methods and a method of a method
class Methods:
    made = 3
    @classmethod
    def make(cls, n=1):
        return cls, n
    @staticmethod
    def add(a, b=2):
        return a + b
    @property
    def twice(self):
        "Twice."
        return 6
    bound = functools.partialmethod(make, n=5)
m = Methods()
tied = m.make
>>> m.make(), Methods.make(4), m.add(1), m.twice, Methods.twice.__doc__, m.bound() if False else None
>>> tied(), tied.__self__ is Methods
<<< m, tied
# ---- a property with all parts
class Prop:
    def __init__(self):
        self._x = 1
    @property
    def x(self):
        "the x"
        return self._x
    @x.setter
    def x(self, value):
        self._x = value
    @x.deleter
    def x(self):
        del self._x
prop = Prop()
>>> prop.x, Prop.x.__doc__
>>> prop.x = 5
>>> prop.x, prop
>>> del prop.x
>>> prop.x
# ---- super in all its forms
class Sa:
    def go(self):
        return ["a"]
    @classmethod
    def make(cls):
        return [cls.__name__]
class Sb(Sa):
    def go(self):
        return super().go() + ["b"]
    @classmethod
    def make(cls):
        return super().make() + ["b"]
class Sc(Sa):
    def go(self):
        return super(Sc, self).go() + ["c"]
class Sd(Sb, Sc):
    def go(self):
        return super().go() + ["d"]
    def cls(self):
        return __class__
>>> Sd().go(), Sd.make(), Sd().cls() is Sd, Sd.__mro__
<<< Sd
# ---- __init_subclass__ with a keyword
class Tagged:
    registry = {}
    def __init_subclass__(cls, *, tag, **rest):
        super().__init_subclass__(**rest)
        cls.tag = tag
        Tagged.registry[tag] = cls
class One(Tagged, tag="one"):
    pass
class Deeper(One, tag="deeper"):
    pass
one = One()
>>> One.tag, list(Tagged.registry), Tagged.registry["one"] is One, one.tag, Deeper.tag
>>> class Three(Tagged, tag="three"): pass
>>> list(Tagged.registry), Three.tag
<<< one
<<< Tagged
# ---- __init_subclass__ counts
class Counting:
    made = []
    def __init_subclass__(cls):
        Counting.made.append(cls.__name__)
class C1(Counting):
    pass
class C2(C1):
    pass
>>> [name.split("_")[0] for name in Counting.made], C2().made is Counting.made
>>> class C3(Counting): pass
>>> len(Counting.made)
<<< C2()
# ---- a registry that is a variable of the notebook
plugins = []
def register(cls):
    plugins.append(cls)
    return cls
@register
class P1:
    pass
@register
class P2(P1):
    pass
>>> plugins == [P1, P2], len(plugins), plugins[0] is P1
<<< plugins
# ---- __set_name__
class Named:
    calls = 0
    def __set_name__(self, owner, name):
        self.name = name
        self.owner = owner
        Named.calls += 1
    def __get__(self, obj, kind=None):
        return self if obj is None else (self.name, obj.__dict__.get(self.name))
    def __set__(self, obj, value):
        obj.__dict__[self.name] = value
class Has:
    a = Named()
    b = Named()
has = Has()
has.a = 4
>>> has.a, has.b, Has.a.name, Has.a.owner is Has, Named.calls
>>> class HasToo: c = Named()
>>> Named.calls
<<< has
# ---- __set_name__ that may be called only once
class Once:
    def __set_name__(self, owner, name):
        assert not hasattr(self, "name"), "named twice"
        self.name = name
class HasOnce:
    field = Once()
>>> HasOnce.field.name, HasOnce.field
<<< HasOnce()
# ---- a metaclass
class Meta(type):
    def __new__(mcs, name, bases, namespace):
        cls = super().__new__(mcs, name, bases, namespace)
        cls.made_by = mcs.__name__
        return cls
    def __len__(cls):
        return 7
    @property
    def special(cls):
        return cls.__name__
class Made(metaclass=Meta):
    x = 1
class MadeToo(Made):
    pass
>>> Made.made_by, len(Made), Made.special, type(MadeToo) is Meta, isinstance(Made, Meta)
>>> MadeToo().x
<<< Made, MadeToo()
# ---- a metaclass with keywords
class Opt(type):
    def __new__(mcs, name, bases, namespace, *, size=0, **rest):
        cls = super().__new__(mcs, name, bases, namespace)
        cls.size = size
        return cls
    def __init__(cls, name, bases, namespace, *, size, **rest):
        super().__init__(name, bases, namespace)
        cls.inits = getattr(cls, "inits", 0) + 1
class Sized(metaclass=Opt, size=4):
    pass
sized = Sized()
>>> Sized.size, Sized.inits, sized
>>> class Sized2(Sized, size=9): pass
>>> Sized2.size, Sized2.inits
<<< sized
# ---- a metaclass that counts and prepares
class Prep(type):
    classes = []
    @classmethod
    def __prepare__(mcs, name, bases, **keywords):
        return {"prepared": len(mcs.classes)}
    def __init__(cls, *args):
        super().__init__(*args)
        Prep.classes.append(cls)
class Q1(metaclass=Prep):
    pass
class Q2(Q1):
    pass
>>> Q1.prepared, Q2.prepared, Prep.classes == [Q1, Q2]
<<< Q2()
# ---- a metaclass makes singletons
class Single(type):
    instances = {}
    def __call__(cls, *args):
        if cls not in cls.instances:
            cls.instances[cls] = super().__call__(*args)
        return cls.instances[cls]
class Config(metaclass=Single):
    def __init__(self):
        self.value = 3
config = Config()
>>> Config() is config, config.value
<<< config.value
# ---- a __new__ that changes its argument
class Celsius(float):
    def __new__(cls, fahrenheit): return super().__new__(cls, (fahrenheit - 32) / 1.8)
class Next(int):
    def __new__(cls, value): return super().__new__(cls, value + 1)
class Loud(str):
    def __new__(cls, text): return super().__new__(cls, text + "!")
class Several(tuple):
    def __new__(cls, *parts): return super().__new__(cls, parts)
warm, following, loud, several = Celsius(212), Next(1), Loud("a"), Several(1, 2)
warm.note = "boils"
>>> warm, warm.note, following, loud, several, Celsius(32), type(several).__name__
<<< warm
<<< [following, loud, several]
# ---- a singleton by __new__
class Sole:
    _one = None
    def __new__(cls):
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one
sole = Sole()
sole.data = [1]
>>> Sole() is sole, Sole().data, Sole._one is sole
# ---- an abstract class and those that registered
class Animal(abc.ABC):
    @abc.abstractmethod
    def speak(self): ...
    @property
    @abc.abstractmethod
    def name(self): ...
class Dog(Animal):
    name = "dog"
    def speak(self):
        return "wow"
@Animal.register
class Robot:
    pass
Animal.register(float)
dog, robot = Dog(), Robot()
>>> dog.speak(), isinstance(dog, Animal), isinstance(robot, Animal), issubclass(float, Animal), issubclass(int, Animal)
>>> Animal.__abstractmethods__, Dog.__abstractmethods__
>>> Animal()
<<< dog, robot
# ---- registered with an abstract class of the library
class Number:
    pass
numbers.Number.register(Number)
class Seq:
    def __len__(self):
        return 0
collections.abc.Sequence.register(Seq)
number, seq = Number(), Seq()
>>> isinstance(number, numbers.Number), isinstance(seq, collections.abc.Sequence)
>>> isinstance(seq, collections.abc.Sized)
# ---- abstract with __subclasshook__
class Closer(abc.ABC):
    @classmethod
    def __subclasshook__(cls, other):
        return True if hasattr(other, "close") else NotImplemented
class Door:
    def close(self):
        pass
>>> isinstance(Door(), Closer), issubclass(int, Closer)
# ---- __instancecheck__ and __class_getitem__
class Checks(type):
    def __instancecheck__(cls, one):
        return one == 4
class Check(metaclass=Checks):
    def __class_getitem__(cls, item):
        return cls, item
>>> isinstance(4, Check), isinstance(5, Check), Check[int]
# ---- generic classes
T = TypeVar("T")
U = TypeVar("U", bound=int)
class Stack(Generic[T]):
    def __init__(self):
        self.items: list[T] = []
    def push(self, item: T) -> None:
        self.items.append(item)
class IntStack(Stack[int]):
    pass
class Pair(Generic[T, U]):
    first: T
ints = IntStack()
ints.push(3)
alias = Stack[str]
>>> ints, Stack[int], alias, IntStack.__orig_bases__, Pair.__parameters__, Pair[str, int], typing.get_type_hints(Pair)
>>> alias().items, typing.get_args(alias), Pair.__parameters__[0] is T
<<< ints
<<< alias
# ---- NamedTuple
class Pt(NamedTuple):
    x: int
    y: float = 2.0
    def norm(self):
        return self.x + self.y
pt = Pt(1)
Old = collections.namedtuple("Old", "a b", defaults=[5])
old = Old(1)
>>> pt, pt.norm(), pt._replace(x=4), pt._asdict(), Pt._fields, Pt._field_defaults, Pt.__annotations__
>>> old, Old(2, 3), Old._fields, Old._make([1, 2]), old == (1, 5)
<<< pt, old
<<< Pt(3), Old(4)
# ---- a subclass of a NamedTuple
class Base2(NamedTuple):
    x: int
class Sub2(Base2):
    __slots__ = ()
    def double(self):
        return Sub2(self.x * 2)
class Sub3(Base2):
    extra = 3
sub2, sub3 = Sub2(2), Sub3(4)
sub3.note = "n"
>>> sub2.double(), sub3, sub3.note, sub2
<<< sub2, sub3
# ---- TypedDict
class Movie(TypedDict, total=False):
    name: str
    year: int
class Better(Movie):
    stars: int
movie: Movie = {"name": "m"}
>>> movie, Movie.__total__, Better.__required_keys__, Better.__optional_keys__, Movie(name="x")
>>> typing.get_type_hints(Better), Movie.__annotations__
<<< movie
# ---- Protocol
@typing.runtime_checkable
class Quacks(Protocol):
    def quack(self) -> str: ...
class Duck:
    def quack(self):
        return "q"
class Explicit(Quacks):
    def quack(self):
        return "e"
>>> isinstance(Duck(), Quacks), isinstance(3, Quacks), Explicit().quack(), Quacks._is_protocol, Explicit._is_protocol
>>> Quacks()
<<< Duck()
# ---- a dataclass
@dataclass
class Dc:
    x: int
    y: list = field(default_factory=list)
    z: str = "z"
    hidden: int = field(default=1, repr=False, metadata={"m": 1})
dc = Dc(1)
>>> dc, Dc(2), Dc(1) == dc, dataclasses.fields(Dc)[3].metadata, dataclasses.astuple(dc)
>>> dataclasses.fields(Dc)[0].default is dataclasses.MISSING, dataclasses.is_dataclass(Dc)
>>> Dc(1).y is Dc(1).y
<<< dc
# ---- a dataclass that is extended in the cell
@dataclass
class Dbase:
    tags: list = field(default_factory=list)
    kind: str = "k"
>>> @dataclass
... class Child(Dbase):
...     extra: int = 2
>>> Child(), Child().tags, Child(extra=3) == Child(extra=3)
>>> dataclasses.replace(Dbase(), kind="n")
<<< Dbase()
# ---- a frozen dataclass as a key
@dataclass(frozen=True, order=True)
class Fk:
    a: int
    b: str = "b"
fk = Fk(1)
table = {fk: "v"}
>>> table, table[Fk(1)], fk < Fk(2), sorted([Fk(3), Fk(1)]), hash(Fk(1)) == hash(fk)
>>> fk.a = 1
<<< table
# ---- keyword-only fields and a sentinel between
@dataclass
class Ko:
    a: int
    _: dataclasses.KW_ONLY
    b: int = 2
ko = Ko(1)
>>> ko, Ko(1, b=3)
>>> Ko(1, 3)
<<< ko
# ---- dataclass made by a function
Mk = dataclasses.make_dataclass("Mk", [("x", int), ("y", int, 3)], frozen=True)
mk = Mk(1)
>>> mk, Mk(2, 2), mk == Mk(1)
<<< mk
# ---- a dataclass with __post_init__ and a field that is not in __init__
@dataclass
class Post:
    x: int
    twice: int = field(init=False)
    def __post_init__(self):
        self.twice = 2 * self.x
post = Post(3)
>>> post, Post(4), dataclasses.replace(post, x=5)
<<< post
# ---- a class made by type()
Dyn = type("Dyn", (dict,), {"x": 1, "go": lambda self: len(self)})
dyn = Dyn(a=1)
>>> dyn, dyn.go(), Dyn.x
<<< dyn
# ---- a class inside a class, and one inside a function
class Outer:
    class Inner:
        class Innermost:
            v = 3
    def make(self):
        return self.Inner()
def maker(n):
    class Local:
        value = n
        def up(self):
            return n + 1
    return Local
L1, L2 = maker(1), maker(2)
inner, local = Outer().make(), L1()
>>> inner, Outer.Inner.Innermost.v, local, local.up(), L2().up(), L1 is L2, L1.__qualname__
<<< inner, local
<<< Outer.Inner, L2
# ---- a class that refers to itself and to others
class Tree:
    root = None
    def __init__(self, *kids):
        self.kids = kids
    def copy(self):
        return Tree(*(kid.copy() for kid in self.kids))
Tree.root = Tree(Tree(), Tree())
Tree.cls = Tree
>>> Tree.root, Tree.cls is Tree, Tree.root.copy(), type(Tree.root) is Tree
# ---- two classes that refer to each other
class Egg:
    def hatch(self):
        return Hen()
class Hen:
    lays = Egg
    def lay(self):
        return Egg()
Egg.comes_from = Hen
>>> Hen().lay().hatch(), Egg.comes_from is Hen, Hen.lays is Egg
<<< Hen(), Egg()
# ---- changed after it was made
class Patched:
    def go(self):
        return 1
patched = Patched()
Patched.go = lambda self: 2
Patched.extra = classmethod(lambda cls: cls)
patched.go2 = patched.go
>>> patched.go(), Patched.extra() is Patched, patched.go2()
<<< patched
# ---- an object with a reduce of its own
def rebuild(x):
    return Red(x)
class Red:
    def __init__(self, x):
        self.x = x
    def __reduce__(self):
        return rebuild, (self.x,)
red = Red([1])
shared = [red, red]
>>> red, shared[0] is shared[1], red.x
<<< shared
# ---- getstate, setstate, getnewargs
class State:
    def __new__(cls, a=0):
        self = super().__new__(cls)
        self.a = a
        return self
    def __getnewargs__(self):
        return (self.a,)
    def __getstate__(self):
        return {"b": self.b}
    def __setstate__(self, state):
        self.b = state["b"] + 1
made = State(5)
made.b = 1
>>> made.a
<<< made.a
# ---- special methods
class Vec:
    def __init__(self, *xs):
        self.xs = xs
    def __add__(self, other):
        return Vec(*(a + b for a, b in zip(self.xs, other.xs)))
    def __getitem__(self, i):
        return self.xs[i]
    def __len__(self):
        return len(self.xs)
    def __iter__(self):
        return iter(self.xs)
    def __contains__(self, x):
        return x in self.xs
    def __call__(self, y):
        return Vec(*(x * y for x in self.xs))
    def __enter__(self):
        return self
    def __exit__(self, *_):
        return True
    def __eq__(self, other):
        return self.xs == other.xs
    def __hash__(self):
        return hash(self.xs)
    def __bool__(self):
        return bool(self.xs)
    def __format__(self, spec):
        return f"<{spec}>"
    def __matmul__(self, other):
        return 5
vec = Vec(1, 2)
>>> (vec + vec).xs, vec[0], len(vec), list(vec), 2 in vec, vec(3).xs, vec == Vec(1, 2), f"{vec:x}", vec @ vec, bool(vec)
<<< vec
<<< {vec: 1}
# ---- __getattr__ of an object and of its class
class Lazy:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name.upper()
lazy = Lazy()
lazy.real = 1
>>> lazy.real, lazy.foo, lazy
<<< lazy
# ---- a proxy that hands everything on
class Proxy:
    def __init__(self, target):
        object.__setattr__(self, "_target", target)
    def __getattr__(self, name):
        return getattr(object.__getattribute__(self, "_target"), name)
    def __setattr__(self, name, value):
        setattr(self._target, name, value)
proxy = Proxy(collections.Counter("aab"))
>>> proxy.most_common(1), vars(proxy)
# ---- subclasses of builtins
class MyInt(int):
    def __new__(cls, value, unit="m"):
        self = super().__new__(cls, value)
        self.unit = unit
        return self
class MyStr(str):
    pass
class MyList(list):
    pass
class MyDict(dict):
    def __missing__(self, key):
        return key * 2
class MySet(set):
    pass
class MyFloat(float):
    pass
class MyBytes(bytes):
    pass
class MyTuple(tuple):
    def __new__(cls, *parts):
        return super().__new__(cls, parts)
myint, mystr, mylist, mydict, myset = MyInt(3, "km"), MyStr("s"), MyList([1]), MyDict(a=1), MySet([1])
myfloat, mybytes = MyFloat(1.5), MyBytes(b"x")
mystr.note = mylist.note = mydict.note = myset.note = myfloat.note = "n"
>>> myint, myint.unit, mystr, mystr.note, mylist, mylist.note, mydict, mydict["zz"], myset, myset.note, myfloat, mybytes
<<< myint, mystr, mylist, mydict, myset, myfloat, mybytes
# ---- a float that wants two arguments
class Unit(float):
    def __new__(cls, value, unit):
        self = super().__new__(cls, value)
        self.unit = unit
        return self
metres = Unit(3.0, "m")
>>> metres.unit, metres * 2, Unit(4.0, "km").unit
<<< metres, Unit(4.0, "km")
# ---- classes that want other arguments than pickle has
class Wanting:
    def __new__(cls, a, *, b): return super().__new__(cls)
    def __init__(self, a, *, b): self.a, self.b = a, b
class Slotted:
    __slots__ = ("a", "__dict__")
    def __new__(cls, a):
        self = super().__new__(cls)
        self.a = a
        return self
class Pair(tuple):
    def __new__(cls, a, b): return super().__new__(cls, (a, b))
class Many(dict):
    def __new__(cls, a, b): return super().__new__(cls)
    def __init__(self, a, b): self[a] = self; self.b = b
class Text(str):
    def __new__(cls, a, b): return super().__new__(cls, a + b)
    def __hash__(self): return 7
wanting, slotted, pair, many, text = Wanting(1, b=[2]), Slotted([1]), Pair(1, [2]), Many("a", 2), Text("a", "b")
slotted.more = slotted
>>> wanting, slotted, slotted.more is slotted, pair, many, many["a"] is many, text, {text: 1}["ab"] if hash("ab") == 7 else 0, Pair(3, 4)
<<< wanting, slotted, pair, many, text
# ---- objects that hand on what they are asked for
class Handing:
    def __init__(self, target): self._target = target
    def __getattr__(self, name): return getattr(self._target, name)
class HandingSlots:
    __slots__ = ("_target", "empty")
    def __init__(self, target): self._target = target
    def __getattr__(self, name): return getattr(self._target, name)
class Choosing:
    def __init__(self, target): self._target, self.left_out = target, 1
    def __getattr__(self, name): return getattr(self._target, name)
    def __getstate__(self): return {"_target": self._target}
class Attributes(dict):
    def __getattr__(self, name):
        try: return self[name]
        except KeyError: raise AttributeError(name) from None
    def __setattr__(self, name, value): self[name] = value
handing, slots, choosing, attributes = Handing([1]), HandingSlots({"a": 1}), Choosing("text"), Attributes(a=1)
handing.own, attributes.b = handing, 2
>>> handing.own is handing, handing.index(1), handing._target, slots.keys(), choosing.upper(), vars(handing)["_target"], attributes, attributes.b
>>> choosing._target, "left_out" in vars(choosing) or True
<<< handing, slots, attributes
# ---- cached properties
class Cp:
    def __init__(self):
        self.calls = 0
    @functools.cached_property
    def slow(self):
        "Slow."
        self.calls += 1
        return [self.calls]
cold, warm = Cp(), Cp()
warm.slow.append("w")
>>> cold.slow, cold.slow is cold.slow, cold.calls, warm.slow, warm.calls, Cp.slow.__doc__, vars(warm)
<<< cold, warm
# ---- decorated classes
def add_repr(cls):
    cls.__repr__ = lambda self: f"<{type(self).__name__.split('_')[0]}>"
    return cls
@functools.total_ordering
@add_repr
class Dec:
    def __init__(self, n):
        self.n = n
    def __eq__(self, other):
        return self.n == other.n
    def __lt__(self, other):
        return self.n < other.n
dec = Dec(1)
>>> dec, dec >= Dec(0), dec <= Dec(0)
<<< dec
# ---- a class replaced by an object that wraps it
class Wrapped:
    def __init__(self, cls):
        self.cls = cls
        functools.update_wrapper(self, cls, updated=())
    def __call__(self, *args):
        return self.cls(*args)
@Wrapped
class Real:
    def __init__(self, x=1):
        self.x = x
real = Real(4)
>>> Real(2).x, real.x, Real.__name__, type(real) is Real.cls
<<< real
# ---- descriptors that hold state in weak keys
class WeakField:
    def __init__(self):
        self.values = weakref.WeakKeyDictionary()
    def __get__(self, obj, kind=None):
        return self if obj is None else self.values.get(obj)
    def __set__(self, obj, value):
        self.values[obj] = value
class HasWeak:
    field = WeakField()
hasweak = HasWeak()
hasweak.field = 5
>>> hasweak.field, HasWeak().field
# ---- mixins and cooperative __init__
class Mixin:
    def __init__(self, *args, tag="t", **rest):
        super().__init__(*args, **rest)
        self.tag = tag
class Mixed(Mixin, collections.UserDict):
    pass
mixed = Mixed({"a": 1}, tag="u")
>>> mixed, mixed.tag, Mixed.__mro__, Mixed(b=2)
<<< mixed
# ---- annotations of a class
class Ann:
    a: int
    b: "Ann"
    c: list["Ann"] = []
    d: ClassVar[dict[str, Any]] = {}
>>> Ann.__annotations__, typing.get_type_hints(Ann)["a"]
# ---- a class can be pickled by name in a rank
class Cfg:
    lr = 0.1
    def __eq__(self, other):
        return vars(self) == vars(other)
cfg = Cfg()
cfg.x = 1
def plus(x):
    return x + 1
data = pickle.dumps([cfg, Cfg, plus])
>>> pickle.loads(pickle.dumps(cfg)) == cfg
>>> pickle.loads(data)[0] == cfg, pickle.loads(data)[1] is Cfg, pickle.loads(data)[2] is plus
>>> copy.deepcopy(cfg) == cfg, pickle.loads(pickle.dumps(cfg.__eq__))(cfg)
<<< cfg
# ---- an object whose class is only reached through it can be pickled by name
class Reached:
    pass
reached = [Reached()]
>>> type(pickle.loads(pickle.dumps(reached))[0]) is type(reached[0])
<<< reached
# ---- a class of the name of a builtin or of a module's class
class list2(list):
    pass
class Path(str):
    pass
path, mine = Path("a/b"), list2([1])
>>> path, mine, Path.__module__
<<< path, mine
# ---- weak references of the class's objects
class Wr:
    pass
kept = Wr()
ref = weakref.ref(kept)
>>> ref() is kept
!!! Send the object that it refers to instead
# ---- __slots__ free state in a class's dictionary of instances
class Reg:
    instances = []
    def __init__(self):
        Reg.instances.append(self)
reg = Reg()
>>> Reg.instances == [reg], Reg.instances[0] is reg
# ---- __class__ assignment and objects of a class that was defined anew
class Was:
    v = 1
was = Was()
First = Was
class Was:
    v = 2
now = Was()
>>> was.v, now.v, type(was) is First, type(now) is Was, First is Was
<<< was, now
# ---- operators between objects of several classes
class Ra:
    def __radd__(self, other):
        return "ra"
    def __iadd__(self, other):
        self.n = other
        return self
ra = Ra()
>>> 1 + ra
>>> ra += 4
>>> ra.n
# ---- a parametrised class syntax (python 3.12)
class NewBox[V]:
    def __init__(self, item: V):
        self.item = item
def ident[W](x: W) -> W:
    return x
type Alias = list[int]
nb = NewBox[int](3)
>>> nb.item, NewBox.__type_params__, ident(4), ident.__type_params__, Alias.__value__, NewBox[int]
<<< nb
# ---- pydantic models (needs pydantic)
import pydantic
class Pm(pydantic.BaseModel):
    x: int
    y: list[str] = []
    _private: int = 3
class Pn(Pm):
    inner: Pm | None = None
pm, pn = Pm(x="3"), Pn(x=1, inner=Pm(x=2))
>>> repr(pm), repr(pn), Pm(x=3) == pm, pn.inner.x, Pm.model_fields["x"].is_required(), pm._private, pn.model_dump()
>>> Pm(x="no") is None
<<< pm, pn
"""
