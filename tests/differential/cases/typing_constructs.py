"""What `typing`, `types` and `functools` make, as values in variables."""

CASES = r"""
import collections, copy, functools, inspect, itertools, operator, pickle, types, typing
from typing import Annotated, Any, Callable, Generic, Literal, NewType, Optional, ParamSpec, TypeVar, Union
# ---- type variables with everything
T = TypeVar("T")
B = TypeVar("B", bound=int)
Co = TypeVar("Co", covariant=True)
Ch = TypeVar("Ch", int, str)
>>> T, T.__name__, B.__bound__, Co.__covariant__, Ch.__constraints__, T.__module__, [T, T]
>>> list[T][int], typing.List[T][str], dict[T, B].__parameters__ == (T, B)
<<< T, B
# ---- a parameter specification
P = ParamSpec("P")
R = TypeVar("R")
Fn = Callable[P, R]
def logged(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)
    return inner
@logged
def add(a: int, b: int = 2) -> int:
    return a + b
>>> P, P.__name__, Fn[[int], str], P.args, P.kwargs, add(1), add.__wrapped__(3), inspect.signature(add).parameters["b"].default
<<< P
<<< add
# ---- a generic class over a parameter specification
P = ParamSpec("P")
class Task(Generic[P]):
    def __init__(self, function: Callable[P, Any]):
        self.function = function
    def run(self, *args: P.args, **kwargs: P.kwargs):
        return self.function(*args, **kwargs)
task = Task(divmod)
>>> Task[[int, str]], Task.__parameters__[0] is P, task.run(7, 2)
<<< task
# ---- a type variable tuple (python 3.11)
Ts = typing.TypeVarTuple("Ts")
class Array(Generic[typing.Unpack[Ts]]):
    pass
>>> Ts.__name__, Array[int, str], Array.__parameters__[0] is Ts, tuple[typing.Unpack[Ts]]
<<< Array[int]
# ---- a new type, and one of a new type
UserId = NewType("UserId", int)
AdminId = NewType("AdminId", UserId)
class Kept: pass
KeptId = NewType("KeptId", Kept)
>>> UserId(5), UserId.__name__, AdminId.__supertype__ is UserId, KeptId.__supertype__ is Kept, UserId.__module__
<<< UserId, AdminId
# ---- aliases of typing
alias = Annotated[int, "metres", [1]]
union = Union[int, str]
optional = Optional[list[int]]
literal = Literal["a", 1, None]
new_union = int | str | None
calls = Callable[[int, str], bool]
>>> alias, typing.get_args(alias), alias.__metadata__, union, optional, literal, new_union, calls, typing.get_args(calls)
>>> union == Union[str, int], isinstance(1, new_union), typing.get_origin(calls), Any, typing.NoReturn, typing.Tuple[int, ...]
<<< [alias, union, optional, literal, new_union, calls]
# ---- aliases of classes of the notebook
class Own: pass
listed, mapped, either = list[Own], dict[str, Own], Own | None
deep = typing.Dict[str, typing.List[Own]]
>>> listed.__args__[0] is Own, mapped, typing.get_args(either)[0] is Own, deep, isinstance(Own(), either)
<<< [listed, mapped, either, deep]
# ---- forward references
ref = typing.ForwardRef("int")
refs = typing.List["Later"]
>>> ref, refs, ref == typing.ForwardRef("int")
# ---- hints of functions
class Hinted: pass
def hints(a: Hinted, b: "Hinted" = None, *c: Union[int, str], d: Annotated[int, 4] = 1) -> Optional[Hinted]: ...
>>> hints.__annotations__, typing.get_type_hints(hints, include_extras=True), str(inspect.signature(hints))
# ---- overloads and final
@typing.overload
def over(a: int) -> int: ...
@typing.overload
def over(a: str) -> str: ...
def over(a):
    return a
@typing.final
class Last: pass
LIMIT: typing.Final = 4
>>> over(1), getattr(Last, "__final__", None), LIMIT
# ---- partial objects of every kind
part = functools.partial(int, base=2)
nested = functools.partial(functools.partial(max, 1), 2)
class Sub(functools.partial):
    pass
sub = Sub(print, "x", end="")
part.note = "n"
>>> part("101"), part.note, part.keywords, nested(5), nested.args, sub, sub.func is print, type(sub) is Sub
<<< part, nested, sub
# ---- partial of functions of the notebook and of methods
def scale(x, by): return x * by
class Sc:
    def go(self, a, b): return a, b
    half = functools.partialmethod(go, b=2)
sc = Sc()
double, method = functools.partial(scale, by=2), functools.partial(sc.go, 1)
>>> double(4), method(9), sc.half(3), double.func is scale, method.func.__self__ is sc
<<< double, method
# ---- single dispatch on classes of the notebook
class Shape: pass
class Circle(Shape): pass
@functools.singledispatch
def name_of(x): return "object"
@name_of.register
def _(x: int): return "int"
@name_of.register(Shape)
def shape_name(x): return "shape"
@name_of.register(list)
@name_of.register(tuple)
def _(x): return "sequence"
class Visitor:
    @functools.singledispatchmethod
    def visit(self, x): return "object"
    @visit.register
    def _(self, x: int): return "int"
    @visit.register
    @classmethod
    def _(cls, x: str): return cls
visitor = Visitor()
>>> name_of(1), name_of(Circle()), name_of([]), name_of(()), name_of(None), name_of.dispatch(Circle) is shape_name, len(name_of.registry)
>>> visitor.visit(1), visitor.visit(None), visitor.visit("s") is Visitor
<<< visitor
# ---- single dispatch on one more class in the cell
@functools.singledispatch
def names(x): return "object"
>>> @names.register(dict)
... def dict_name(x): return "dict"
>>> names({}), names(1), names.registry[dict] is dict_name
# ---- caches in every shape
@functools.lru_cache
def bare(n): return [n]
@functools.lru_cache(maxsize=2, typed=True)
def small(n, *, k=1): return (n, k)
@functools.cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
class Cached:
    def __init__(self, n): self.n = n
    def __hash__(self): return 1
    def __eq__(self, other): return self.n == other.n
    @functools.lru_cache(maxsize=None)
    def method(self, k=1): return self.n * k
    @classmethod
    @functools.cache
    def cls_method(cls): return cls.__name__
    @staticmethod
    @functools.cache
    def static(x): return x + 1
    @property
    @functools.cache
    def prop(self): return "prop"
cached = Cached(3)
lambda_cached = functools.cache(lambda x: x * 2)
built = functools.lru_cache(maxsize=4)(len)
>>> bare(1), bare(1) is bare(1), small(1), small(1, k=2), small.cache_parameters(), fib(30), lambda_cached(4), built("abc")
>>> cached.method(), cached.method(2), Cached.cls_method(), Cached.static(1), cached.prop, small.__wrapped__(5)
>>> bare.__name__, bare.__module__, fib.__qualname__.split("_")[0], pickle.loads(pickle.dumps(fib)) is fib
>>> copy.copy(bare) is bare, copy.deepcopy(fib) is fib
<<< bare, small, fib
<<< lambda_cached, built
<<< cached
# ---- caches reached through other objects
@functools.cache
def table(n): return n * n
def uses(n): return table(n) + 1
inner = {"f": table, "p": functools.partial(table, 3), "l": [table]}
>>> uses(3), inner["f"] is table, inner["p"](), inner["l"][0] is table, inner["p"].func is table
<<< inner
<<< uses
# ---- a cache with attributes, and one below another decorator
def tag(function):
    @functools.wraps(function)
    def tagged(*args): return "tagged", function(*args)
    tagged.tag = 1
    return tagged
@tag
@functools.cache
def outer_tag(n): return n
@functools.cache
@tag
def inner_tag(n): return n
inner_tag.extra = [1]
>>> outer_tag(1), inner_tag(1), inner_tag.extra, inner_tag.tag, outer_tag.__wrapped__.cache_parameters()
<<< inner_tag, outer_tag
# ---- operator getters
item, items = operator.itemgetter(1), operator.itemgetter("a", "b")
attr, attrs_ = operator.attrgetter("real"), operator.attrgetter("a.b", "c")
caller = operator.methodcaller("split", ",", maxsplit=1)
>>> item([1, 2]), items({"a": 1, "b": 2}), attr(3), caller("a,b,c"), item, attrs_, caller
<<< [item, items, attr, attrs_, caller]
# ---- bound methods of builtins and of objects
numbers, text = [3, 1], "a-b"
append, split, has = numbers.append, text.split, {1: 2}.get
>>> append(4), numbers, split("-"), has(1), has.__self__
<<< split
# ---- methods of classes, not bound
lower, join, new, fromhex = str.lower, " ".join, object.__new__, bytes.fromhex
>>> lower("A"), join("ab"), new is object.__new__, fromhex("00ff"), str.__add__("a", "b"), dict.fromkeys("ab")
<<< [lower, join, fromhex]
# ---- what types makes
space = types.SimpleNamespace(a=1, f=len, me=None)
space.me = space
proxy = types.MappingProxyType({"k": [1], 2: "b"})
method = types.MethodType(lambda self: self + 1, 4)
made = types.new_class("made", (dict,), {}, lambda ns: ns.update(x=1))
alias = types.GenericAlias(list, (int,))
>>> space.me is space, space.f("ab"), proxy["k"], dict(proxy), method(), made(a=1).x, alias, types.NoneType
>>> type(proxy), type(space), type(method), method.__self__
<<< space
<<< proxy, method, alias
# ---- code and cells
def of_code(a, b=1):
    x = a + b
    return [x for x in range(x)]
code, cell = of_code.__code__, types.CellType(4)
rebuilt = types.FunctionType(code, globals(), "rebuilt", (5,))
>>> rebuilt(1), code.co_varnames, code.co_consts[0], eval(compile("1 + 1", "<c>", "eval")), rebuilt.__defaults__
<<< code.co_name
# ---- signatures
def sig(a, /, b: int = 1, *c, d, e="e", **f): ...
signature = inspect.signature(sig)
parameter = signature.parameters["b"]
>>> str(signature), parameter, parameter.kind, parameter.default, signature.parameters["a"].default is inspect.Parameter.empty
>>> signature.return_annotation is inspect.Signature.empty, signature.bind(1, d=2).arguments
<<< signature
# ---- properties, descriptors and slots as values
class Held:
    __slots__ = ("s",)
    @property
    def p(self): return 4
    @classmethod
    def c(cls): return cls
prop, slot, raw = Held.p, Held.s, vars(Held)["c"]
>>> prop is Held.p, prop.fget(None), slot is Held.s, raw is vars(Held)["c"], type(raw)
# ---- chains of iterators that can be sent
ranges, rev = range(2, 20, 3), reversed([1, 2, 3])
listed, enumerated = iter([1, 2, 3]), enumerate("ab", 4)
next(listed)
mapped = map(str, [1, 2])
>>> ranges[2], list(rev), list(listed), list(enumerated), list(mapped), list(iter("ab")), list(iter({1: 2}.items()))
# ---- iterators of itertools
cycle, repeat = itertools.cycle([1, 2]), itertools.repeat("x", 2)
counter, acc = itertools.count(3, 2), itertools.accumulate([1, 2, 3])
next(cycle), next(counter)
prod, comb = itertools.product("ab", repeat=2), itertools.combinations([1, 2, 3], 2)
chained, starred = itertools.chain([1], "b"), itertools.starmap(pow, [(2, 3)])
>>> [next(cycle) for _ in range(3)], list(repeat), next(counter), list(acc), len(list(prod)), list(comb), list(chained), list(starred)
"""
