"""scikit-learn, matplotlib, pydantic, attrs and other libraries."""

CASES = r"""
import collections, copy, functools, io, pickle
# ---- estimators, fitted and not (needs sklearn)
import sklearn.linear_model, sklearn.preprocessing, sklearn.pipeline, sklearn.ensemble, sklearn.base, numpy as np
data, labels = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 1, 0])
pipe = sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), sklearn.linear_model.LogisticRegression(C=0.5)).fit(data, labels)
forest = sklearn.ensemble.RandomForestClassifier(3, random_state=0).fit(data, labels)
fresh = sklearn.linear_model.Ridge(alpha=2)
class Mine(sklearn.base.BaseEstimator, sklearn.base.TransformerMixin):
    def __init__(self, k=1): self.k = k
    def fit(self, X, y=None): return self
    def transform(self, X): return X * self.k
mine = Mine(3)
>>> pipe.predict(data), pipe[1].coef_, forest.predict_proba(data), fresh, fresh.get_params(), mine.fit_transform(data), sklearn.base.clone(mine).k, pipe
<<< pipe[1].coef_, mine
<<< forest.predict(data)
# ---- functions for columns, scorers and splits (needs sklearn)
import sklearn.preprocessing, sklearn.metrics, sklearn.model_selection, numpy as np
func = sklearn.preprocessing.FunctionTransformer(lambda a: a + 1)
scorer = sklearn.metrics.make_scorer(sklearn.metrics.f1_score, average="macro")
split = sklearn.model_selection.KFold(2, shuffle=True, random_state=1)
>>> func.transform(np.ones(2)), str(scorer), [test.tolist() for _, test in split.split(range(4))]
<<< split
# ---- figures (needs matplotlib)
import matplotlib
matplotlib.use("agg")
import matplotlib.figure, matplotlib.colors
figure = matplotlib.figure.Figure(figsize=(2, 1))
axes = figure.add_subplot()
line = axes.plot([1, 2], [3, 4], label="l")[0]
colours, norm = matplotlib.colormaps["viridis"], matplotlib.colors.LogNorm(1, 10)
>>> line.get_xydata(), axes.get_title(), figure.axes[0] is axes, line.axes is axes, colours(0.5), float(norm(3)), line.get_label()
<<< line.get_label(), norm.vmin
# ---- graphs (needs networkx)
import networkx as nx
graph = nx.DiGraph([("a", "b", {"w": 1})])
graph.graph["name"] = "g"
>>> list(graph.edges(data=True)), nx.shortest_path(graph, "a", "b"), graph.graph, graph.has_edge("b", "a")
<<< graph
# ---- symbols (needs sympy)
import sympy
sx, sy = sympy.symbols("x y", positive=True)
expression = sympy.sqrt(sx**2 + 1) / sy
function = sympy.Function("f")(sx)
dummy = sympy.Dummy("d")
>>> expression, expression.diff(sx), expression.subs(sx, 0) == 1 / sy, sx.is_positive, sympy.S.Zero is sympy.Integer(0), sympy.I, sympy.solve(sx**2 - 4, sx), sympy.oo
>>> sympy.Integer(0) is sympy.S.Zero, sympy.pi is sympy.S.Pi, dummy == dummy, str(function)
<<< expression, sympy.pi, sympy.S.Half
# ---- lambdas made of symbols (needs sympy)
import sympy
zx = sympy.Symbol("x")
compiled = sympy.lambdify(zx, zx**2 + 1, "math")
>>> compiled(3), compiled.__name__
<<< compiled
# ---- models that check their fields (needs pydantic)
import pydantic, typing, enum
class Colour(str, enum.Enum):
    RED = "red"
class Item(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="allow")
    name: str = pydantic.Field(min_length=1, description="d")
    colour: Colour = Colour.RED
    tags: set[int] = pydantic.Field(default_factory=set)
    @pydantic.field_validator("name")
    @classmethod
    def lower(cls, value): return value.lower()
    @pydantic.computed_field
    @property
    def size(self) -> int: return len(self.name)
class Basket(pydantic.BaseModel, typing.Generic[typing.TypeVar("V")]):
    items: list[Item] = []
    best: typing.Optional["Item"] = None
item = Item(name="ABC", more=1)
basket = Basket(items=[item], best=item)
adapter = pydantic.TypeAdapter(list[int])
>>> item, item.size, item.model_dump(), basket.best is basket.items[0], Item.model_json_schema()["required"], item.more, basket.model_copy().best is item
>>> Item(name="")
>>> item.name = "x"
>>> Item(name="Q").name, basket.model_validate_json(basket.model_dump_json()) == basket
<<< item, basket
# ---- generic models, and what their parametrisations are (needs pydantic)
import pydantic, typing
T, U = typing.TypeVar("T"), typing.TypeVar("U")
class G(pydantic.BaseModel, typing.Generic[T]):
    v: T
class Sub(G[int], typing.Generic[U]):
    w: U
class Node(pydantic.BaseModel, typing.Generic[T]):
    made: typing.ClassVar[list] = []
    value: T
    next: object = None
class Inner(pydantic.BaseModel):
    z: int = 1
class Holder(pydantic.BaseModel):
    g: G[str]
GI, GN, GG, SubS, NodeI = G[int], G[Inner], G[G[int]], Sub[str], Node[int]
gi, sub, node, holder = GI(v=1), SubS(v=1, w="a"), NodeI(value=1, next=NodeI(value=2)), Holder(g=G[str](v="x"))
Node.made.append(NodeI)
>>> G[int] is GI, isinstance(gi, G[int]), G[Inner] is GN, G[G[int]] is GG, Sub[str] is SubS, Node[int] is NodeI
>>> isinstance(sub, G[int]), isinstance(sub, Sub[str]), type(node.next) is Node[int], Node.made[0] is Node[int], type(holder.g) is G[str]
>>> G[int](v=5) == GI(v=5), GG(v=gi), GN(v=Inner()), G[float](v=1), GI.__name__
>>> G[int](v="no number")
<<< gi, sub, node, holder, GI
<<< G[int](v=5), G[Inner](v=Inner(z=3)), G[G[int]](v=gi), Sub[str](v=1, w="b"), Node[int](value=3)
<<< G[bytes](v=b"")
# ---- functions whose arguments pydantic checks (needs pydantic)
import pydantic, threading
lock_of_the_notebook = threading.Lock()
class Amount(pydantic.BaseModel):
    a: int
@pydantic.validate_call
def checked(a: int, b: str = "x") -> Amount: return Amount(a=a)
@pydantic.validate_call(validate_return=True, config={"str_to_lower": True})
def both(amount: Amount, text: str) -> int: return f"{amount.a}"
>>> checked("3"), both({"a": 4}, "A"), checked.__name__, both(Amount(a=1), text="B")
>>> checked("no number")
<<< checked("5")
# ---- structs of msgspec (needs msgspec)
import msgspec, typing
V = typing.TypeVar("V")
class Point(msgspec.Struct):
    x: int
    y: str = "a"
class Box(msgspec.Struct, typing.Generic[V]):
    inside: V
class Options(Point, kw_only=True, tag="kk", rename="camel", dict=True, order=True, forbid_unknown_fields=True):
    some_name: int
    other: list = msgspec.field(default_factory=list)
    def __post_init__(self): self.seen = super().__repr__()
    @property
    def twice(self): return self.some_name * 2
class More(Options, kw_only=True):
    deeper: object = None
    many: list[Point] = []
class Frozen(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    a: int = 1
point, options, more, frozen, box = Point(1), Options(1, "b", some_name=4), More(1, some_name=4, deeper=Frozen(2)), Frozen(3), Box[int](inside=3)
boxed = Box[int]
>>> point, options, more, frozen, box, options.twice, options.seen, options < Options(1, "c", some_name=4), hash(frozen) == hash(Frozen(3)), boxed == Box[int]
>>> msgspec.json.encode(options), msgspec.json.encode([more, frozen]), msgspec.json.decode(b'{"x": 1, "y": "b", "someName": 2, "type": "kk"}', type=Options)
>>> msgspec.json.decode(b'{"inside": 3}', type=boxed), More(1, some_name=1).many is More(1, some_name=1).many, Point.__match_args__, Options.__match_args__
>>> [(field.name, field.encode_name, field.required) for field in msgspec.structs.fields(More)], vars(options)
>>> msgspec.json.decode(b'{"inside": "no number"}', type=boxed)
>>> frozen.a = 2
<<< point, options, more, frozen, box
<<< Point(3), More(3, some_name=1), Point, Options
# ---- functions of toolz (needs toolz)
import toolz, toolz.curried
@toolz.curry
def add(a, b): return a + b
class Holding:
    @staticmethod
    @toolz.curry
    def times(a, b): return a * b
inc, double, mapped = add(1), Holding.times(2), toolz.curried.map(lambda v: v + 1)
piped = toolz.compose(inc, double)
add.note = "n"
>>> add(1)(2), inc(4), double(3), list(mapped([1, 2])), piped(3), add.__name__, add.note, toolz.curried.map is toolz.curried.map
<<< inc(3), list(mapped([1]))
# ---- rings and fields of sympy (needs sympy)
import sympy
ring, rx, ry = sympy.ring("x,y", sympy.ZZ)
field, fx = sympy.field("x", sympy.QQ)
element, fraction = rx**2 + ry, fx / (fx + 1)
>>> element + rx == rx**2 + ry + rx, ring == sympy.ring("x,y", sympy.ZZ)[0], element.ring is ring, element.degree(), ring.x == rx, str(fraction + fx), str(element)
>>> element == (rx**2 + ry), hash(element) == hash(rx**2 + ry), {element: 1}[rx**2 + ry], str(element.diff(rx)), str(sympy.factor(element.as_expr()))
# ---- zones that dateutil makes once (needs dateutil)
from datetime import datetime, timedelta
from dateutil import tz
from dateutil.tz import gettz
paris, offset, rule, utc, no_name = gettz("Europe/Paris"), tz.tzoffset("X", 3600), tz.tzstr("EST5EDT"), tz.tzutc(), gettz.nocache("Europe/Paris")
then = datetime(2024, 4, 1, 12, tzinfo=paris)
def zone(name): return gettz(name)
>>> then - datetime(2024, 3, 30, 12, tzinfo=gettz("Europe/Paris")), then.tzinfo is zone("Europe/Paris"), no_name is paris, no_name == paris
>>> offset is tz.tzoffset("X", 3600), rule is tz.tzstr("EST5EDT"), utc is tz.UTC, gettz is tz.gettz, zone("Europe/Rome") is gettz("Europe/Rome")
>>> (then - datetime(2024, 3, 30, 12, tzinfo=no_name)).total_seconds()
<<< (then, paris), offset, rule, utc
# ---- data classes of pydantic, and settings made by functions (needs pydantic)
import pydantic, pydantic.dataclasses
@pydantic.dataclasses.dataclass
class Pd:
    x: int
    y: list[int] = pydantic.Field(default_factory=list)
Made = pydantic.create_model("Made", a=(int, 3), b=(str, ...))
pdc, made = Pd("4"), Made(b="b")
>>> pdc, Pd(x="7").x, made, Made(b="c", a=1), Made.__name__.split("_")[0]
>>> Pd("x")
<<< pdc, made
# ---- attrs: validators, slots, factories (needs attrs)
import attrs, attr
@attrs.define(kw_only=True)
class Conf:
    lr: float = attrs.field(default=0.1, validator=attrs.validators.instance_of(float))
    names: list = attrs.field(factory=list)
    derived: int = attrs.field(init=False)
    @derived.default
    def _derive(self): return len(self.names)
@attr.s(auto_attribs=True, hash=True)
class Old:
    a: int
    b: int = 2
conf, old = Conf(names=["a"]), Old(1)
>>> conf, old, conf.derived, Conf(lr=1.0), attrs.evolve(conf, lr=0.5), attrs.asdict(old), attrs.fields(Conf).lr.default, attrs.fields(Old).a.default is attrs.NOTHING, Old(1) == old
>>> Conf(lr="x")
>>> conf.nope = 1
<<< conf, old
"""
