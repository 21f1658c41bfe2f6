"""Enumerations of all sorts."""

CASES = r"""
import datetime, enum, functools
from enum import Enum, Flag, IntEnum, IntFlag, auto
# ---- a plain enumeration with an alias
class Colour(Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1
red, table = Colour.RED, {Colour.RED: "r"}
>>> red, Colour.CRIMSON is red, list(Colour), Colour(2), Colour["GREEN"], table[Colour.RED], red in Colour
>>> Colour.RED = 5
>>> [name for name in Colour.__members__]
<<< red
<<< Colour
<<< [Colour.GREEN, {Colour.RED: Colour.GREEN}]
# ---- attributes set in __init__
class Planet(Enum):
    EARTH = (6.0, 3.0)
    MARS = (6.4, 3.2)
    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius
    @property
    def gravity(self):
        return self.mass / self.radius
>>> Planet.EARTH, Planet.MARS.gravity, Planet((6.0, 3.0)) is Planet.EARTH
<<< Planet.MARS
# ---- members made by __new__
class Coordinate(bytes, Enum):
    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value])
        made._value_ = value
        made.label = label
        return made
    PX = (0, "X")
    PY = (1, "Y")
>>> Coordinate.PX.label, Coordinate(1) is Coordinate.PY, bytes(Coordinate.PY), Coordinate.PY
<<< Coordinate.PY
# ---- flags with names of their own for what is composite
class Perm(Flag):
    R = 1
    W = 2
    X = 4
    RW = 3
none, both, odd = Perm(0), Perm.R | Perm.X, ~Perm.R
>>> str(Perm.RW), Perm.R | Perm.W is Perm.RW, none, both, odd, Perm.R in both, bool(none), list(Perm)
<<< both
<<< Perm.RW
# ---- flags of integers
class Bits(IntFlag):
    A = 1
    B = 4
    C = 16
mixed = Bits.A | Bits.B
>>> mixed, mixed | 32, Bits(21), mixed & Bits.A, int(mixed), Bits.A + 1
<<< mixed
# ---- integers and texts
class Number(IntEnum):
    ONE = 1
    TWO = 2
    UNO = 1
class Word(str, Enum):
    HELLO = "hello"
    def shout(self):
        return self.value.upper()
>>> Number.ONE + 1, Number.UNO is Number.ONE, sorted(Number), Word.HELLO.shout(), Word.HELLO == "hello", Word("hello")
<<< Number.TWO
<<< Word.HELLO
# ---- texts with StrEnum and auto (python 3.11)
class Auto(enum.StrEnum):
    RED = auto()
    BLUE = auto()
>>> Auto.RED, f"{Auto.BLUE}", Auto("red"), list(Auto)
<<< Auto.BLUE
# ---- values by auto and of one's own making
class Made(Enum):
    def _generate_next_value_(name, start, count, last):
        return f"{name}-{count}"
    A = auto()
    B = auto()
>>> Made.A.value, Made("B-1")
<<< Made.B
# ---- what is missing
class Lenient(Enum):
    KNOWN = "known"
    OTHER = "other"
    @classmethod
    def _missing_(cls, value):
        return cls.OTHER
>>> Lenient("whatever"), Lenient("known")
<<< Lenient.OTHER
# ---- values that cannot be hashed, and functions
class Loose(Enum):
    A = [1]
    B = {"k": 2}
    C = functools.partial(int, base=2)
>>> Loose([1]), Loose.B.value, Loose.C.value("101")
>>> Loose.A.value.append(2)
>>> Loose.A.value
# ---- on dates and on classes of the user's
class Day(datetime.date, Enum):
    NEW_YEAR = 2020, 1, 1
class Mixin:
    def hello(self):
        return f"hello {self.name}"
class Both(Mixin, Enum):
    A = 1
>>> Day.NEW_YEAR.year, Day.NEW_YEAR, Both.A.hello()
<<< Day.NEW_YEAR
<<< Both.A
# ---- an enumeration inside a class, and one that a function has made
class Outer:
    class Inner(Enum):
        X = 1
    default = Inner.X
def make():
    class Local(Enum):
        Y = 2
    return Local
local = make()
outer = Outer()
>>> outer.default is Outer.Inner.X, Outer.Inner.X, local.Y, local(2) is local.Y
<<< outer
<<< local.Y
# ---- made by the functional interface
Functional = Enum("Functional", "A B C", module="__main__")
>>> Functional.B, list(Functional)
<<< Functional.C
# ---- derived in the cell from one without members
class Base(Enum):
    def twice(self):
        return self.value * 2
>>> class Derived(Base):
...     A = 4
>>> Derived.A.twice()
# ---- members with methods, class attributes and keys of other members
class Op(Enum):
    ADD = "+"
    SUB = "-"
    def inverse(self):
        return _INVERSE[self]
_INVERSE = {Op.ADD: Op.SUB, Op.SUB: Op.ADD}
Op.extra = 5
>>> Op.ADD.inverse(), Op.extra, Op.ADD.inverse().inverse() is Op.ADD
<<< Op.SUB
# ---- a unique one with a decorator
@enum.unique
class Unique(Enum):
    A = 1
    B = 2
    @classmethod
    def default(cls):
        return cls.B
>>> Unique.default(), hash(Unique.A) == hash(Unique(1))
<<< Unique.default()
"""
