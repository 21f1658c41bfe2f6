"""Values of the standard library that people put into variables."""

CASES = r"""
import argparse, array, ast, collections, configparser, contextvars, copy, dataclasses, datetime, decimal, fractions
import inspect, ipaddress, itertools, json, logging, numbers, operator, os, pathlib, random, re, string, struct
import textwrap, threading, types, uuid, weakref, zoneinfo
# ---- containers
deque = collections.deque([1, 2], maxlen=3)
chain = collections.ChainMap({"a": 1}, {"b": 2})
ordered = collections.OrderedDict([("z", 1), ("a", 2)])
count = collections.Counter("aab")
default = collections.defaultdict(lambda: [0])
default["k"].append(1)
frozen = frozenset({1, 2})
>>> deque, chain, list(ordered), count, default["new"], default["k"], frozen, deque.maxlen
>>> deque.append(3), deque.append(4)
>>> deque
<<< deque
<<< count
<<< default
# ---- objects that are one, and cycles
inner = [1]
outer = {"a": inner, "b": inner, "t": (inner,)}
loop = [inner]
loop.append(loop)
table = {}
table["self"] = table
>>> outer["a"] is inner, outer["t"][0] is inner, loop[1] is loop, loop[0] is inner, table["self"] is table
<<< outer
# ---- times
when = datetime.datetime(2020, 1, 2, 3, 4, tzinfo=zoneinfo.ZoneInfo("UTC"))
span = datetime.timedelta(days=1, microseconds=5)
zone = datetime.timezone(datetime.timedelta(hours=2), "X")
folded = datetime.datetime(2020, 1, 1, fold=1)
>>> when, span, zone, folded.fold, when + span, datetime.date(2020, 1, 1), datetime.time(1, 2)
<<< when
<<< zone
# ---- numbers
dec = decimal.Decimal("1.10")
frac = fractions.Fraction(1, 3)
huge, tiny, no_number = 10**400, -0.0, float("na" + "n")
>>> dec, frac, huge, tiny, no_number, 1e309, dec + 1, complex(1, -0.0)
<<< [dec, frac, huge, tiny]
# ---- texts and bytes
odd = "ü\udc80\0"
raw, buffer = b"\0\xff", bytearray(b"abc")
words = array.array("d", [1.5, 2.5])
>>> odd, raw, buffer, words, words.typecode, memoryview(raw)[1]
>>> buffer.append(1)
>>> buffer
<<< buffer
<<< words
# ---- paths, patterns, identifiers, addresses
path, pure = pathlib.Path("/tmp/x"), pathlib.PureWindowsPath("c:/x")
pattern = re.compile("a(b+)", re.I)
ident = uuid.UUID(int=5)
net = ipaddress.ip_network("10.0.0.0/8")
>>> str(path), pure, pattern, pattern.match("ABB")[1], ident, net, net.num_addresses
<<< pattern
<<< ident
# ---- views of dictionaries
inner = {"a": 1}
seen, names, held, pairs = types.MappingProxyType(inner), inner.keys(), inner.values(), inner.items()
ordered = collections.OrderedDict(x=1)
ordered_names = ordered.keys()
class Open:
    def __init__(self):
        self._all = {}
        self.all = types.MappingProxyType(self._all)
    def add(self, name): self._all[name] = len(self._all)
shown = Open()
of_class = vars(Open)
>>> inner["b"] = 2
>>> ordered["y"] = 2
>>> shown.add("z")
>>> dict(seen), list(names), list(held), list(pairs), list(ordered_names), dict(shown.all), seen["b"]
>>> sorted(of_class)[-3:], names & {"a"}
<<< seen
<<< shown
# ---- namespaces, proxies, slices
space = types.SimpleNamespace(a=1, b=[2])
proxy = types.MappingProxyType({"a": 1})
cut, dots, no = slice(1, None, 2), ..., NotImplemented
>>> space, proxy["a"], cut, dots is ..., no is NotImplemented, range(1, 9, 3)
<<< space
# ---- iterators that can be sent
zipped = zip([1, 2], "ab")
counted = itertools.count(5)
next(counted)
islice = iter([1, 2, 3])
next(islice)
>>> next(counted), next(islice), list(zipped)
# ---- text tools
template = string.Template("$a is $b")
wrapper = textwrap.TextWrapper(width=7)

formatter = string.Formatter()
>>> template.substitute(a=1, b=2), wrapper.wrap("hello world")
>>> formatter.format("{0}{x}", 1, x=2)
# ---- a compiled structure
packer = struct.Struct("<hi")
>>> packer.size
!!! cannot pickle
# ---- configuration
config = configparser.ConfigParser()
config.read_dict({"a": {"x": "1"}})
args = argparse.Namespace(lr=0.1, names=["a"])
parser = argparse.ArgumentParser(prog="p")
parser.add_argument("--n", type=int, default=3)
>>> config.getint("a", "x"), args, parser.parse_args(["--n", "5"]).n
<<< args
# ---- exceptions
try:
    try:
        1 / 0
    except ZeroDivisionError as cause:
        raise ValueError("text", 5) from cause
except ValueError as caught:
    error = caught
class Custom(Exception):
    def __init__(self, a, *, b):
        super().__init__(f"{a}-{b}")
        self.a, self.b = a, b
custom = Custom(1, b=2)
>>> str(error), type(error.__cause__), error.args, custom.a, str(custom), OSError(2, "no", "file").filename
<<< custom
# ---- signatures, fields, sentinels
def f(a, *, b: int = 3): ...
signature = inspect.signature(f)
empty, missing = inspect.Parameter.empty, dataclasses.MISSING
@dataclasses.dataclass
class D:
    x: int
    y: list = dataclasses.field(default_factory=list, metadata={"k": 1})
fields = dataclasses.fields(D)
>>> str(signature), empty is inspect._empty, missing is dataclasses.MISSING, fields[0].default is missing
>>> fields[1].metadata["k"], [one.name for one in fields]
# ---- trees of code, encoders, loggers
tree = ast.parse("a + 1", mode="eval")
encoder = json.JSONEncoder(indent=1)
logger = logging.getLogger("some.name")
>>> ast.dump(tree), encoder.encode([1]), logger.name, logger is logging.getLogger("some.name")
<<< logger
# ---- weak containers
class Thing: ...
kept = Thing()
weak_values = weakref.WeakValueDictionary(k=kept)
weak_keys = weakref.WeakKeyDictionary({kept: 1})
weak_set = weakref.WeakSet([kept])
>>> weak_values["k"] is kept, weak_keys[kept], kept in weak_set
# ---- containers that are derived from
class Stack(list):
    def push(self, x):
        self.append(x)
class Missing(dict):
    def __missing__(self, key):
        return key * 2
class Name(str):
    def shout(self):
        return self.upper()
class Whole(int): ...
stack, table2, name, whole = Stack([1]), Missing(a=1), Name("x"), Whole(5)
stack.tag, name.tag = "t", [1]
stack.append(stack)
>>> stack[1] is stack, stack.tag, table2["zz"], name.shout(), name.tag, whole + 1, type(whole)
<<< table2
<<< name
<<< whole
# ---- a lock
lock = threading.Lock()
>>> lock.locked()
!!! Create it inside the cell, so that each rank has its own
# ---- a generator
generator = (x for x in range(3))
>>> next(generator)
!!! Make a list of it first
# ---- an open file
file = open(os.devnull)
>>> file.read()
!!! Open it inside the cell
# ---- the state of a random generator
rng = random.Random(3)
rng.random()
>>> rng.random(), rng.getstate()[1][:3]
# ---- context variables hold nothing that travels
variable = contextvars.ContextVar("v", default=1)
>>> variable.get()
!!! cannot pickle
# ---- bytes behind a view
view = memoryview(b"abc")
>>> bytes(view), view.nbytes
# ---- hashes of texts as keys
names = {"alpha": 1, "beta": 2}
things = {frozenset({"a"}): 1, ("b", 2): 2}
>>> names["alpha"], things[frozenset({"a"})], things["b", 2], {"x"} == {"x"}
<<< things
"""
