"""Functions, closures, decorators and what `functools` and `typing` make."""

CASES = r"""
import contextlib, functools, operator, typing
from typing import Generic, NamedTuple, NewType, ParamSpec, TypeVar
# ---- closures that share a cell
def counter():
    n = 0
    def first():
        nonlocal n
        n += 1
        return n
    def second():
        return n
    return first, second
up, get = counter()
up()
>>> get(), up(), get(), up.__closure__[0] is get.__closure__[0]
# ---- functions that call each other and themselves
def even(n):
    return n == 0 or odd(n - 1)
def odd(n):
    return n != 0 and even(n - 1)
def outer(k):
    def fact(n):
        return 1 if n < 2 else n * fact(n - 1)
    return lambda n: fact(n) + k
fact5 = outer(5)
>>> even(10), odd(7), fact5(4), even.__globals__ is odd.__globals__
# ---- defaults, keywords, annotations, attributes
def full(a, b=[1], *rest, key: int = 3, **more) -> str:
    "says something"
    return f"{a}{b}{rest}{key}{more}"
full.tag = {"x": 1}
full.itself = full
>>> full(1), full(1, 2, 3, key=4, z=5), full.__doc__, full.tag, full.__kwdefaults__, full.__annotations__
>>> full.itself is full, full.__defaults__[0] is full.__defaults__[0]
# ---- a default that is one with another object
shared = [1]
def uses(x=shared):
    return x
>>> uses() is shared
>>> shared.append(2)
>>> uses()
# ---- caches
@functools.lru_cache(maxsize=2)
def cached(n):
    return n * 2
@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
class Holder:
    @functools.lru_cache(maxsize=None)
    def method(self, n):
        return n + 1
    @functools.cached_property
    def once(self):
        return object()
    @staticmethod
    @functools.cache
    def static(n):
        return n
    @classmethod
    @functools.cache
    def by_class(cls):
        return cls.__name__
h = Holder()
>>> cached(2), cached.cache_parameters(), cached.__name__, fib(30), h.method(1), h.once is h.once, Holder.static(4)
>>> Holder.by_class(), cached.__wrapped__(5)
<<< cached
<<< fib
<<< Holder
# ---- decorators that wrap
def times(n):
    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args):
            wrapped.calls += 1
            return [function(*args)] * n
        wrapped.calls = 0
        return wrapped
    return decorate
@times(2)
def hello(name):
    return f"hello {name}"
class Register:
    known = {}
    def __init__(self, name):
        self.name = name
    def __call__(self, function):
        Register.known[self.name] = function
        return function
@Register("area")
def area(x):
    return x * x
>>> hello("a"), hello.calls, hello.__wrapped__("b"), hello.__name__, Register.known["area"] is area, area(3)
# ---- partial objects and operators
add = functools.partial(operator.add, 5)
method = functools.partial(str.join, ",")
key = operator.attrgetter("real", "imag")
item = operator.itemgetter(1)
call = operator.methodcaller("upper")
>>> add(1), method(["a", "b"]), key(1j), item("abc"), call("x")
<<< item
# ---- single dispatch
@functools.singledispatch
def show(x):
    return "any"
@show.register
def _show_int(x: int):
    return "int"
class Show:
    @functools.singledispatchmethod
    def go(self, x):
        return "any"
    @go.register
    def _go_str(self, x: str):
        return "str"
show_object = Show()
>>> show(1), show("x"), show_object.go("x"), show_object.go(1)
# ---- context managers and generators as functions
@contextlib.contextmanager
def manage(x):
    yield x * 2
def count_up(n):
    for i in range(n):
        yield i
>>> [*count_up(3)], manage(2).__enter__()
# ---- ways to write a function
square = lambda x: x * x
methods = [str.upper, "x".join, len, int.from_bytes, dict.fromkeys]
bound = [1, 2].append
>>> square(3), methods[0]("a"), methods[1](["a", "b"]), methods[3](b"1", "big"), methods[4]("ab")
# ---- variables of typing
T = TypeVar("T")
B = TypeVar("B", bound="Box")
P = ParamSpec("P")
UserId = NewType("UserId", int)
class Box(Generic[T]):
    def __init__(self, x: T) -> None:
        self.x = x
Alias = dict[str, list[T]]
box = Box(1)
>>> T, B.__bound__, P, UserId(3), Box[int], Alias[int], typing.get_type_hints(Box.__init__), box.x, T.__module__
>>> Box.__parameters__[0] is T, UserId.__supertype__
<<< T
<<< P
<<< UserId
<<< box
# ---- named tuples and typed dictionaries
class Point(NamedTuple):
    x: int
    y: int = 2
    def norm(self):
        return self.x + self.y
class Movie(typing.TypedDict, total=False):
    name: str
    year: int
Pair = __import__("collections").namedtuple("Pair", "a b", defaults=[7])
p = Point(1)
>>> p, p.norm(), p._replace(x=5), Point._field_defaults, Movie(name="x"), Movie.__optional_keys__, Pair(1), Pair._fields
<<< p
<<< Pair(1, 2)
# ---- globals changed in the cell
level = 1
def read():
    return level
def write(x):
    global level
    level = x
>>> read()
>>> write(5)
>>> read()
# ---- singletons that know their names
class Missing:
    _one = None
    def __new__(cls):
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one
    def __reduce__(self):
        return "MISSING"
    def __repr__(self):
        return "MISSING"
MISSING = Missing()
def given(x=MISSING):
    return x is not MISSING
>>> MISSING, given(), given(1), Missing() is MISSING
# ---- coroutines
async def wait(n):
    return n + 1
def run(n):
    try:
        wait(n).send(None)
    except StopIteration as stop:
        return stop.value
>>> run(2)
# ---- a cell that is empty, and one that is deleted
def later():
    def inner():
        return value
    if False:
        value = 1
    return inner
empty = later()
>>> empty()
# ---- code with inner functions, comprehensions and star arguments
def complicated(*args, **options):
    table = {k: [v for v in range(k) if v % 2] for k in args}
    return {**table, **options}, (lambda: sum(map(len, table.values())))()
>>> complicated(1, 2, 5, z=3)
# ---- overloads (python 3.11)
import typing
@typing.overload
def wide(x: int) -> int: ...
@typing.overload
def wide(x: str) -> str: ...
def wide(x): return x
class Wide:
    @typing.overload
    def f(self, x: int) -> int: ...
    @typing.overload
    def f(self, x: str) -> str: ...
    def f(self, x): return x
>>> [one.__annotations__ for one in typing.get_overloads(wide)], wide(1)
>>> [one.__annotations__ for one in typing.get_overloads(Wide.f)], Wide().f(1)
"""
