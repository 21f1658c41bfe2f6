"""Arrays, frames, tensors and estimators."""

CASES = r"""
import array, io
import numpy as np
import pandas as pd
# ---- arrays of all types
plain = {code: np.arange(6).astype(code) for code in ("b1", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16")}
dates = np.array(["2020-01-01", "NaT"], "M8[D]")
spans = np.array([1, 2], "m8[ms]")
texts = np.array(["a", "bcd"])
raw = np.array([b"a", b"bcd"])
swapped = np.arange(3, dtype=">i4")
>>> plain, dates, spans, texts, raw, swapped, swapped.dtype.byteorder
<<< dates
<<< swapped
# ---- shapes, orders, empty ones and numbers
scalar, zero_d, empty = np.float32(1.5), np.array(3), np.zeros((0, 3))
fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
strided = np.arange(2000.0)[::3]
reverse = np.arange(5)[::-1]
broadcast = np.broadcast_to(np.arange(3), (2, 3))
>>> scalar, zero_d, empty, fortran, strided, reverse, broadcast, fortran.flags.f_contiguous
<<< zero_d
<<< fortran
# ---- large ones, in memory of their own
large = np.arange(100_000.0)
columns = np.arange(60_000.0).reshape(300, 200, order="F")
>>> large.sum(), large.flags.writeable, columns.flags.f_contiguous, columns[3, 5]
<<< columns
# ---- views of one another
base = np.zeros(12)
rows = base.reshape(3, 4)
part, again = base[2:8:2], base
lists = [rows[0], rows[:, 1], {"r": rows}]
>>> rows[:] = 1
>>> part[:] = 5
>>> base, rows, part, lists, again is base, np.shares_memory(lists[0], base), rows.base is not None
# ---- views of large arrays that share only a part
wide = np.zeros(50_000)
left, right, far = wide[:100], wide[50:150], wide[-5:]
>>> left[:] = 1
>>> right[:60], far, np.shares_memory(left, right), np.shares_memory(left, far)
# ---- windows that overlap
series = np.arange(6.0)
windows = np.lib.stride_tricks.sliding_window_view(series, 3)
every = np.lib.stride_tricks.as_strided(series, (2,), (16,))
>>> series[:] = 0
>>> windows, every, np.shares_memory(windows, series), windows.flags.writeable
# ---- views of arrays of objects
things = np.array([None, 1, "x", [2]], object)
later, backwards, table = things[1:], things[::-1], np.array([[1, "a"], [2, "b"]], object)
column, turned = table[:, 1], table.T
>>> later[0] = 99
>>> column[0] = "new"
>>> things, backwards, table, turned, later[-1] is things[-1], np.shares_memory(column, table)
<<< later
# ---- arrays of objects in an order of their own
cube = np.array([[[1, "a"], [2, "b"]], [[3, "c"], [4, "d"]], [[5, "e"], [6, "f"]]], object)
turned = cube.transpose(1, 0, 2).copy(order="K")
first, all_of_it = turned[0], turned[:]
>>> turned, first, all_of_it
# ---- an empty buffer
nothing = np.frombuffer(bytearray(), np.uint8)
none_at_all = np.frombuffer(array.array("d"))
>>> nothing, none_at_all
# ---- a part of a large array of objects, alone
many = np.arange(1000).astype(object)
few = many[::100]
>>> few
# ---- masked arrays on the memory of others
below = np.arange(4.0)
over = np.ma.masked_array(below, mask=[0, 1, 0, 0], copy=False)
data, mask = over.data, over.mask
>>> below[:] = 1
>>> over.sum(), data
>>> data[0] = 5
>>> over, below, mask
# ---- rows of structured arrays
people = np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i4"), ("b", "f8")])
person, others = people[1], list(people)
entry = people.view(np.recarray)[0]
>>> person["a"] = 7
>>> entry.b = 0.5
>>> people, person, others, entry, type(entry).__name__
<<< person
# ---- arrays on the memory of other objects
raw_bytes = bytearray(8)
numbers = array.array("d", [1, 2, 3])
on_bytes, on_numbers = np.frombuffer(raw_bytes, "i4"), np.frombuffer(numbers)
tail, exported = on_bytes[1:], memoryview(raw_bytes)
through = np.frombuffer(memoryview(numbers)[1:])
>>> on_bytes[0] = 1
>>> on_numbers[1] = 9
>>> tail[0] = 2
>>> raw_bytes, numbers, on_bytes, on_numbers, tail, bytes(exported), through
>>> numbers[2] = 4
>>> on_numbers, through
# ---- structured arrays and records
records = np.array([(1, 2.0, "x"), (3, 4.0, "y")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")])
rec = records.view(np.recarray)
field_of = records["b"]
>>> records, rec.a, field_of, records.dtype
>>> field_of[0] = 9
>>> records["b"], rec.b
<<< records
# ---- masked arrays and matrices
masked = np.ma.masked_array([1, 2, 3], mask=[0, 1, 0], fill_value=7)
>>> masked, masked.sum(), masked.filled(), masked.fill_value
<<< masked
# ---- arrays of objects
inner = [1]
objects = np.array([inner, inner, None, "x"], dtype=object)
>>> objects[0] is objects[1], objects, objects[0] is inner
# ---- a subclass with attributes
class Tagged(np.ndarray):
    def __new__(cls, data, tag):
        made = np.asarray(data).view(cls)
        made.tag = tag
        return made
    def __array_finalize__(self, other):
        self.tag = getattr(other, "tag", None)
tagged = Tagged([1, 2], "t")
>>> type(tagged), tagged + 1, (tagged + 1).sum()
# ---- dtypes, functions, polynomials
kind = np.dtype([("a", "f8", (2,)), ("b", "U4")])
ufunc, poly = np.add, np.polynomial.Polynomial([1, 2])
vectorized = np.vectorize(lambda x: x + 1)
>>> kind, ufunc(1, 2), poly(3), vectorized([1, 2]), np.float64 is np.dtype("f8").type
<<< kind
# ---- generators with their state
rng = np.random.default_rng(5)
rng.random()
old = np.random.RandomState(3)
>>> rng.random(), old.rand(), rng.bit_generator.state["state"]["state"]
# ---- frames
frame = pd.DataFrame({"a": [1, 2, None], "b": pd.Categorical(["x", "y", "x"], ordered=True), "c": list("pqr")})
frame.attrs["unit"] = "m"
indexed = frame.set_index(["c", "a"])
times = pd.Series([1.0, 2.0], index=pd.date_range("2020", periods=2, tz="Europe/Berlin", freq="D"), name="t")
>>> frame.equals(frame.copy()), frame, frame.attrs, frame.dtypes.astype(str).to_dict(), indexed.index.names
>>> times, times.index.freqstr, str(times.index.tz), frame["b"].cat.ordered
>>> frame.loc[0, "a"] = 9
>>> frame["a"].tolist()
# ---- frames of extension types
nullable = pd.DataFrame({"i": pd.array([1, None], "Int64"), "s": pd.array(["a", None], "string"), "b": [True, False]})
intervals = pd.Series(pd.interval_range(0, 2))
sparse = pd.Series(pd.arrays.SparseArray([0, 0, 1]))
>>> nullable.dtypes.astype(str).to_dict(), nullable, intervals.tolist(), sparse.dtype, sparse.sum()
>>> pd.NaT is pd.Timestamp("NaT"), nullable.loc[1, "i"] is pd.NA, pd.Timedelta("1D"), pd.Period("2020-01")
# ---- group by, rolling and functions of frames
data = pd.DataFrame({"k": [1, 1, 2], "v": [1.0, 2.0, 3.0]})
groups = data.groupby("k")
>>> groups["v"].sum().to_dict(), groups.ngroups, data.rolling(2)["v"].sum().tolist()
# ---- sparse matrices (needs scipy)
import scipy.sparse
matrix = scipy.sparse.csr_matrix(np.eye(3))
>>> matrix.toarray(), matrix.nnz, type(matrix).__name__
<<< matrix.toarray()
# ---- estimators (needs sklearn)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
def double(x):
    return x * 2
X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
pipeline = make_pipeline(FunctionTransformer(double), StandardScaler(), LogisticRegression()).fit(X, y)
>>> pipeline.predict(X), pipeline.named_steps["logisticregression"].coef_, pipeline[0].func is double
# ---- tensors (needs torch)
import torch
x = torch.arange(6.0).reshape(2, 3)
row, same = x[0], x
kinds = [torch.ones(2, dtype=kind) for kind in (torch.bool, torch.int8, torch.float16, torch.bfloat16, torch.complex64)]
grad = torch.ones(2, requires_grad=True)
sparse_tensor = torch.eye(2).to_sparse()
big = torch.arange(10_000)
>>> x, row, same is x, kinds, grad.requires_grad, sparse_tensor.to_dense(), big.sum(), torch.float32 is x.dtype
>>> row.zero_()
>>> x, big.is_contiguous()
<<< x
<<< big
# ---- modules (needs torch)
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(2, 2)
        self.b = torch.nn.Linear(2, 2)
        self.b.weight = self.a.weight
        self.register_buffer("seen", torch.zeros(1))
        self.calls = []
        self.a.register_forward_hook(self.note)
    def note(self, module, args, out):
        self.calls.append(type(module).__name__)
    def forward(self, v):
        return self.b(self.a(v))
torch.manual_seed(0)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
>>> net.a.weight is net.b.weight, net(torch.ones(1, 2)).shape, net.calls, list(net.state_dict())
>>> optimizer.param_groups[0]["params"][0] is net.a.weight, len(list(net.parameters())), net.training
>>> torch.allclose(net(torch.ones(1, 2)), net(torch.ones(1, 2)))
# ---- a figure (needs matplotlib)
import matplotlib.figure
figure = matplotlib.figure.Figure()
axes = figure.subplots()
line, = axes.plot([1, 2], [3, 4], label="l")
>>> len(figure.axes), axes.lines[0] is line, line.get_xdata().tolist(), axes.get_legend_handles_labels()[1]
"""
