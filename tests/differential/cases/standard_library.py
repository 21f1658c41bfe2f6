"""Objects of the standard library, package by package, beyond what `values` has."""

CASES = r"""
import abc, argparse, array, ast, asyncio, base64, bisect, calendar, codecs, collections, concurrent.futures, configparser
import contextlib, copy, copyreg, csv, ctypes, dataclasses, datetime, decimal, difflib, email.message, email.policy, enum
import fractions, functools, getpass, graphlib, gzip, hashlib, heapq, hmac, html.parser, http, http.cookies, inspect, io
import ipaddress, json, keyword, locale, logging, logging.handlers, math, mimetypes, numbers, operator, optparse, os
import pathlib, pickle, platform, pprint, queue, random, re, reprlib, sched, secrets, select, selectors, shlex, shutil
import signal, socket, sqlite3, statistics, string, struct, subprocess, sys, tempfile, textwrap, threading, time, timeit
import tokenize, traceback, types, unicodedata, unittest.mock, urllib.parse, urllib.request, uuid, warnings, weakref
import xml.dom.minidom, xml.etree.ElementTree as ET, zipfile, zlib, zoneinfo
# ---- counters, chains and orders of keys
counter = collections.Counter("abcab")
counter.subtract("a")
chain = collections.ChainMap({"a": 1}, collections.OrderedDict(a=2, b=3))
ordered = collections.OrderedDict([("z", 1), ("a", 2)])
ordered.move_to_end("z")
>>> counter.most_common(), counter["none"], chain["b"], list(chain.maps), chain.new_child({"c": 1})["c"], list(ordered)
>>> ordered == collections.OrderedDict(z=1, a=2), counter + counter
<<< counter, chain, ordered
# ---- default dictionaries, one below the other
nested = collections.defaultdict(lambda: collections.defaultdict(int))
nested["a"]["b"] += 2
plain = collections.defaultdict(list, a=[1])
class Factory:
    made = 0
    def __call__(self):
        self.made += 1
        return self.made
factory = Factory()
counting = collections.defaultdict(factory)
>>> nested["a"]["b"], nested["x"]["y"], plain["q"], plain.default_factory is list, counting["a"], counting["b"], factory.made
<<< nested
<<< plain, counting
# ---- user containers
class Upper(collections.UserDict):
    def __setitem__(self, key, value):
        super().__setitem__(key.upper(), value)
upper, ulist, ustr = Upper(a=1), collections.UserList([1]), collections.UserString("s")
>>> upper["A"], dict(upper), ulist + [2], ustr + "t", ustr
<<< upper, ulist, ustr
# ---- deques that share, and heaps
shared = [1]
deque = collections.deque([shared, shared, "x"], maxlen=3)
heap = [5, 3, 4]
heapq.heapify(heap)
>>> deque[0] is deque[1], deque[0] is shared, heapq.heappushpop(heap, 1), heap, deque.appendleft(0), list(deque)[:1]
<<< deque
# ---- dates of all kinds
aware = datetime.datetime(2024, 3, 31, 2, 30, tzinfo=zoneinfo.ZoneInfo("UTC"), fold=1)
fixed = datetime.timezone(datetime.timedelta(hours=-3))
time_ = datetime.time(1, 2, 3, 4, tzinfo=fixed)
class Zone(datetime.tzinfo):
    def utcoffset(self, when): return datetime.timedelta(minutes=30)
    def dst(self, when): return None
    def tzname(self, when): return "half"
zone = Zone()
half = datetime.datetime(2020, 1, 1, tzinfo=zone)
class Day(datetime.date):
    def next(self): return self + datetime.timedelta(1)
day = Day(2020, 2, 28)
>>> aware, aware.fold, fixed, time_, half.isoformat(), half.tzinfo is zone, day.next(), datetime.UTC is datetime.timezone.utc if hasattr(datetime, "UTC") else 1
>>> datetime.timedelta.max, datetime.datetime.min, time.struct_time(range(9)), time.gmtime(0).tm_zone
<<< aware, fixed, time_, half, day
# ---- decimals and their contexts
special = [decimal.Decimal(x) for x in ("NaN", "-0", "Infinity", "1E+5", "1.10")]
context = decimal.Context(prec=5, rounding=decimal.ROUND_DOWN)
>>> special, context.divide(1, 3), context.prec, context.rounding, special[4].as_tuple(), context.traps[decimal.DivisionByZero]
<<< special
<<< context.prec
# ---- fractions, complex numbers and numbers' classes
fraction = fractions.Fraction(22, 7)
class Half(fractions.Fraction): pass
half = Half(1, 2)
>>> fraction, fraction.limit_denominator(3), half + 1, type(half) is Half, isinstance(fraction, numbers.Rational)
<<< fraction, half
# ---- paths
posix, windows = pathlib.PurePosixPath("/a/b.c"), pathlib.PureWindowsPath("C:\\x\\y.txt")
here = pathlib.Path("rel/x.y")
class Mine(pathlib.PurePosixPath):
    @property
    def shout(self): return str(self).upper()
mine = Mine("a/b")
>>> posix.suffix, posix.parent, windows.drive, here, here / "z", mine.shout, type(mine / "c") is Mine, os.fspath(here)
<<< [posix, windows, here, mine]
# ---- patterns
pattern = re.compile(r"(?P<a>x+)(?i:y)", re.M | re.X)
bytes_pattern = re.compile(b"a.c", re.S)
>>> pattern.flags, pattern.groupindex, pattern.match("xxY").groupdict(), bytes_pattern.match(b"a\nc").span(), pattern.pattern
<<< pattern, bytes_pattern
# ---- a match
match = re.match("(a)(b)?", "ac")
>>> match.groups()
!!! re.Match
# ---- identifiers and addresses
ident, ip6 = uuid.UUID("12345678123456781234567812345678"), ipaddress.ip_address("::1")
interface = ipaddress.ip_interface("10.1.2.3/16")
>>> ident, ident.hex, ip6, ip6.is_loopback, interface, interface.network, ident.is_safe, ipaddress.ip_network("10.0.0.0/30")[1]
<<< ident, ip6, interface
# ---- randomness that was begun
rng = random.Random(5)
rng.gauss(0, 1)
>>> rng.getstate()[1][:5], rng.random(), rng.gauss(0, 1), rng.choice("abc")
# ---- a class of random generators
class Loaded(random.Random):
    def random(self): return 0.25
loaded = Loaded(1)
>>> loaded.random(), loaded.uniform(0, 4)
# ---- loggers, levels, records
log = logging.getLogger("differential.cases")
adapter = logging.LoggerAdapter(log, {"k": 1})
record = logging.LogRecord("n", logging.INFO, "p", 3, "m %s", ("a",), None)
formatter = logging.Formatter("%(levelname)s %(message)s")
>>> log is logging.getLogger("differential.cases"), log.parent is logging.getLogger(), adapter.extra, record.getMessage()
>>> formatter.format(record), logging.getLogger() is logging.root, adapter.logger is log
<<< log, adapter
<<< record, formatter
# ---- a filter and a handler class of the notebook
class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []
    def emit(self, record):
        self.records.append(record.getMessage())
class Odd(logging.Filter):
    def filter(self, record): return record.lineno % 2
>>> (lambda h: (h.handle(logging.LogRecord("n", 20, "p", 3, "m", (), None)), h.records))(Kept()), Odd().filter(logging.LogRecord("n", 20, "p", 3, "m", (), None))
# ---- arguments of the command line
parser = argparse.ArgumentParser(prog="p", description="d")
group = parser.add_mutually_exclusive_group()
group.add_argument("--fast", action="store_true")
group.add_argument("--slow", action="store_const", const=3)
parser.add_argument("names", nargs="*", type=str.upper)
sub = parser.add_argument_group("g")
sub.add_argument("--path", type=pathlib.Path, default=pathlib.Path("x"))
parsed = parser.parse_args(["--fast", "a", "b"])
>>> parsed, parser.parse_args(["--slow", "--path", "y"]), parser.format_usage(), parsed == argparse.Namespace(**vars(parsed))
<<< parsed
# ---- configurations
config = configparser.ConfigParser(interpolation=configparser.ExtendedInterpolation())
config.read_string("[a]\nx = 1\ny = ${x}2\n[b]\nz = yes\n")
>>> config["a"]["y"], config.getboolean("b", "z"), config.sections(), {k: dict(v) for k, v in config.items()}
# ---- templates, wrappers, formatters
class Own(string.Template):
    delimiter = "%"
own, wrapper = Own("%a and %{b}"), textwrap.TextWrapper(width=12, initial_indent="* ")
class Shout(string.Formatter):
    def format_field(self, value, spec): return str(value).upper()
shout = Shout()
>>> own.substitute(a=1, b=2), wrapper.fill("some words to wrap"), shout.format("{0} {x}", "a", x="b"), own.pattern.pattern
<<< own, wrapper, shout
# ---- dialects of tables
class Semi(csv.excel):
    delimiter = ";"
csv.register_dialect("semi", Semi)
text = io.StringIO("a;b\r\n1;2\r\n")
>>> Semi.delimiter, list(csv.reader(text, Semi)), issubclass(Semi, csv.Dialect)
<<< Semi
# ---- encoders of JSON
class Enc(json.JSONEncoder):
    def default(self, o): return {"set": sorted(o)} if isinstance(o, set) else super().default(o)
enc = Enc(indent=1, sort_keys=True)
>>> enc.encode({"b": {2, 1}, "a": 1}), json.dumps({1}, cls=Enc)
<<< enc
# ---- a decoder of JSON
decoder = json.JSONDecoder(object_pairs_hook=collections.OrderedDict)
>>> decoder.decode('{"z": 1, "a": 2}')
!!! decoder
# ---- streams in memory
text, raw = io.StringIO("first\nsecond\n"), io.BytesIO(b"abcdef")
text.readline()
raw.seek(2)
>>> text.read(), text.getvalue(), raw.read(2), raw.tell(), raw.getvalue(), text.tell()
# ---- streams in memory that return
text, raw = io.StringIO("first\nsecond\n"), io.BytesIO(b"abcdef")
raw.seek(2)
>>> raw.tell()
>>> (lambda back: back.read())(text)
# ---- arrays and bytes
doubles, shorts, letters = array.array("d", [1.5]), array.array("h"), array.array("B", b"ab")
buffer = bytearray(b"xyz")
class Sub(array.array): pass
sub = Sub("i", [1, 2])
>>> doubles, shorts, letters, buffer, sub, type(sub) is Sub, doubles.itemsize, buffer.append(1), doubles.append(2.5), doubles
<<< doubles, shorts, letters, buffer, sub
# ---- views of bytes
origin = bytearray(b"abcdef")
window = memoryview(origin)[2:4]
read_only = memoryview(b"xyz")
>>> bytes(window), window.readonly, read_only.readonly, read_only.tolist(), window.nbytes
>>> window[0] = 0
>>> origin[2]
# ---- arrays, pointers and functions of ctypes, which are made once
class Rec(ctypes.Structure): pass
Rec._fields_ = [("n", ctypes.c_int), ("next", ctypes.POINTER(Rec)), ("many", ctypes.c_int * 2)]
A3, PI, RecS, RecP, Fn = ctypes.c_int * 3, ctypes.POINTER(ctypes.c_int), Rec * 2, ctypes.POINTER(Rec), ctypes.CFUNCTYPE(ctypes.c_int, Rec)
class Own(ctypes.Array):
    _type_, _length_ = ctypes.c_int, 3
a3, recs, own = A3(1, 2, 3), (ctypes.c_double * 2)(1, 2), Own(1, 2, 3)
>>> ctypes.c_int * 3 is A3, isinstance(a3, ctypes.c_int * 3), ctypes.POINTER(ctypes.c_int) is PI, Rec * 2 is RecS, ctypes.POINTER(Rec) is RecP, ctypes.CFUNCTYPE(ctypes.c_int, Rec) is Fn
>>> list(a3), list(recs), list(own), type(own) is Own, Rec(5).n, type(Rec().many) is ctypes.c_int * 2, Own is ctypes.c_int * 3
<<< a3, own, (ctypes.c_int * 3)(4, 5, 6)
<<< A3, PI, RecS, RecP, Fn
# ---- codecs, which are looked up once
import codecs
found = codecs.lookup("utf-8")
>>> found is codecs.lookup("utf-8"), found.name, found.encode("a")
<<< found
# ---- calls that a mock has seen, or shall see
from unittest import mock
expected, chain = mock.call(1, a=2), mock.call.foo(1).bar(x=2)
begin = mock.call
>>> expected == mock.call(1, a=2), begin(1) == mock.call(1), str(chain), chain == mock.call.foo(1).bar(x=2), len(chain.call_list()), tuple(expected), mock.sentinel.a is mock.sentinel.a
<<< expected, chain
# ---- structures of ctypes
class Pt(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]
pt, number, arr = Pt(1, 2.5), ctypes.c_int(5), (ctypes.c_int * 3)(1, 2, 3)
>>> pt.x, pt.y, number.value, list(arr), ctypes.sizeof(Pt), type(pt) is Pt, Pt._fields_[0][0]
<<< pt.x
# ---- exceptions with causes, notes and attributes
class Custom(ValueError):
    code = 4
    def __init__(self, message, extra):
        super().__init__(message)
        self.extra = extra
try:
    try:
        raise KeyError("k")
    except KeyError as low:
        raise Custom("m", [1]) from low
except Custom as high:
    error = high
os_error = FileNotFoundError(2, "none", "name")
uni = UnicodeDecodeError("utf8", b"\xff", 0, 1, "bad")
stop, sysexit = StopIteration(4), SystemExit(3)
>>> str(error), error.extra, error.__cause__.args, type(error.__cause__), error.code, error.__suppress_context__
>>> os_error.filename, os_error.errno, str(os_error), uni.object, uni.start, str(uni), stop.value, sysexit.code
<<< error, os_error, uni, stop, sysexit
# ---- groups of exceptions (python 3.11)
group = ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeyError("k")])])
group.add_note("noted")
>>> group.message, group.exceptions, group.__notes__, group.split(KeyError)[0].exceptions[0].exceptions
<<< group
# ---- a traceback as data
def fails(): raise ValueError("v")
try:
    fails()
except ValueError as caught:
    summary = traceback.TracebackException.from_exception(caught)
    stack = traceback.extract_tb(caught.__traceback__)
>>> summary.exc_type is ValueError if sys.version_info < (3, 13) else True, str(summary), [frame.name for frame in stack], stack[-1].lineno
<<< [frame.name for frame in stack]
# ---- trees of code
tree = ast.parse("def f(x):\n    return x + 1")
class Plus(ast.NodeTransformer):
    def visit_Constant(self, node): return ast.Constant(node.value + 1)
plus = Plus()
>>> ast.dump(tree, include_attributes=True), ast.unparse(plus.visit(copy.deepcopy(tree)))
<<< tree.body[0].name
# ---- trees of XML
root = ET.fromstring("<a x='1'><b>t</b><b/>tail</a>")
document = ET.ElementTree(root)
>>> ET.tostring(root), root.find("b").text, document.getroot() is root, root.attrib, [child.tag for child in root]
<<< ET.tostring(root)
# ---- messages and headers
message = email.message.EmailMessage()
message["Subject"] = "ü"
message.set_content("text")
cookie = http.cookies.SimpleCookie("a=1; b=2")
>>> message["Subject"], message.get_content(), cookie["a"].value, http.HTTPStatus.NOT_FOUND, http.HTTPStatus(404).phrase
<<< http.HTTPStatus.OK
# ---- addresses and requests
url = urllib.parse.urlparse("http://u@h:80/p?q=1#f")
request = urllib.request.Request("http://h/p", data=b"d", headers={"X-A": "1"})
>>> url, url.hostname, url.port, url._replace(path="/z").geturl(), request.full_url, request.headers, request.data
<<< url, request.full_url
# ---- hashes cannot be sent
sha = hashlib.sha256(b"abc")
>>> sha.hexdigest()
!!! sha
# ---- dates of calendars, statistics, graphs, differences
cal, normal = calendar.TextCalendar(6), statistics.NormalDist(1, 2)
graph = graphlib.TopologicalSorter({"b": {"a"}})
differ, matcher = difflib.Differ(), difflib.SequenceMatcher(None, "abcd", "bcde")
>>> cal.formatmonth(2020, 2), normal.cdf(1), normal, matcher.ratio(), list(differ.compare(["a\n"], ["b\n"])), list(graph.static_order())
<<< normal, normal.mean
# ---- text readers and printers
class Parse(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []
    def handle_starttag(self, tag, attrs): self.tags.append(tag)
parse, printer = Parse(), pprint.PrettyPrinter(width=20)
parse.feed("<a><b>")
short = reprlib.Repr()
short.maxlist = 2
lex = list(shlex.shlex("a 'b c'"))
>>> parse.tags, parse.feed("<c>"), parse.tags, printer.pformat({"a": [1] * 9}), short.repr([1, 2, 3]), lex, codecs.lookup("utf8").name
<<< short
# ---- files by name
import zipfile as zf
info, mime = zf.ZipInfo("n", (2020, 1, 1, 0, 0, 0)), mimetypes.MimeTypes()
stat = os.stat("/")
usage = shutil.disk_usage("/")._replace(used=1, free=2, total=3)
>>> info.filename, info.date_time, mime.guess_type("a.png"), stat.st_mode, usage, sys.version_info, platform.uname().system
<<< stat, usage
# ---- sets of signals and constants
sig, fam, flag = signal.SIGTERM, socket.AF_INET, re.IGNORECASE
sel, events = selectors.EVENT_READ, select.POLLIN
>>> sig, fam, flag, sel, events, sig is signal.SIGTERM, signal.Signals(15) is sig, subprocess.PIPE, subprocess.DEVNULL
<<< sig, fam, flag
# ---- standard streams
out, err = sys.stdout, sys.stderr
>>> out is sys.stdout, err is sys.stderr
# ---- functions that live in C or in frozen modules
join, exists, loads, sqrt, now = os.path.join, os.path.exists, json.loads, math.sqrt, time.monotonic
>>> join("a", "b"), exists("/"), loads("[1]"), sqrt(4), now is time.monotonic, print is __builtins__["print"] if isinstance(__builtins__, dict) else print is __builtins__.print
<<< [join, exists, loads, sqrt]
# ---- sentinels of modules
empty, missing, kw = inspect.Parameter.empty, dataclasses.MISSING, dataclasses.KW_ONLY
null, default = contextlib.nullcontext(4), unittest.mock.sentinel.thing
>>> empty is inspect._empty, missing is dataclasses.MISSING, kw is dataclasses.KW_ONLY, null.enter_result
>>> default is unittest.mock.sentinel.thing, unittest.mock.DEFAULT, enum.auto, Ellipsis
<<< empty, missing
# ---- mocks
mocked = unittest.mock.Mock(return_value=3)
mocked.part.side_effect = [1, 2]
>>> mocked(), mocked.part(), mocked.part(), mocked.call_count
# ---- context managers
class Within(contextlib.AbstractContextManager, contextlib.ContextDecorator):
    def __init__(self): self.log = []
    def __enter__(self): self.log.append("in"); return self
    def __exit__(self, *error): self.log.append("out"); return True
@contextlib.contextmanager
def opened(x):
    yield [x]
@contextlib.asynccontextmanager
async def later(x):
    yield x
within, suppress = Within(), contextlib.suppress(KeyError)
@within
def inside(): return 4
async def use():
    async with later(5) as got:
        return got
def with_all():
    with opened(3) as one, within, suppress:
        return one, {}["k"]
>>> with_all(), within.log, inside(), within.log, (lambda: [__import__("asyncio").new_event_loop() for _ in ()])()
>>> use.__name__.split("_")[0], opened.__wrapped__.__name__.split("_")[0]
<<< within
# ---- coroutine functions and asynchronous generators
async def one(x):
    return x + 1
async def many(n):
    for i in range(n):
        yield await one(i)
async def gather():
    return [x async for x in many(3)] + await asyncio.gather(one(1), one(2))
def in_a_loop():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, gather()).result()
>>> in_a_loop(), inspect.iscoroutinefunction(one), inspect.isasyncgenfunction(many)
<<< gather
# ---- things that tell time or order
timer, barrier_count = timeit.Timer("1 + 1"), 3
>>> timer.stmt, timer.timeit(1) >= 0, barrier_count
# ---- queues hold locks
jobs = queue.Queue()
>>> jobs.empty()
!!! jobs
# ---- events, conditions and semaphores
done = threading.Event()
>>> done.is_set()
!!! done
# ---- data of a thread
local = threading.local()
>>> vars(local)
!!! local
# ---- a thread
thread = threading.Thread(target=print)
>>> thread.name
!!! thread
# ---- a pool of threads
pool = concurrent.futures.ThreadPoolExecutor(1)
>>> pool._max_workers
!!! pool
# ---- a socket
sock = socket.socketpair()[0]
>>> sock.fileno()
!!! sock
# ---- a connection to a database
database = sqlite3.connect(":memory:")
>>> database.total_changes
!!! database
# ---- a process
process = subprocess.Popen(["true"])
process.wait()
>>> process.returncode
!!! process
# ---- a temporary file
temporary = tempfile.TemporaryFile()
>>> temporary.read()
!!! temporary
# ---- a generator that runs, a coroutine, and an iterator of them
running = (i for i in range(3))
>>> list(running)
!!! Make a list of it first
# ---- a frame
frame = sys._getframe()
>>> frame.f_lineno
!!! frame
# ---- a lock deep inside
class Service:
    def __init__(self): self.parts = {"guard": [threading.Lock()]}
service = Service()
>>> service.parts
!!! service
# ---- a class with its own lock that leaves it behind
class Careful:
    def __init__(self):
        self.lock, self.n = threading.Lock(), 3
    def __getstate__(self): return {"n": self.n}
    def __setstate__(self, state): self.__init__()
careful = Careful()
>>> careful.n, careful.lock.acquire(False)
<<< careful.n
"""
