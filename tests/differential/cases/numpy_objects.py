"""NumPy's and SciPy's objects, beyond what `arrays` has."""

CASES = r"""
import copy, os, tempfile, typing
import numpy as np
# ---- every dtype
numbers = [np.array([1, 0, 5]).astype(code) for code in "?bBhHiIlLqQefdgFDG"]
texts = [np.array(["a", "ü", ""]), np.array([b"a", b"bc"]), np.array([b"a"], "V3")]
times = np.array(["2020-01-01", "NaT"], "M8[ns]"), np.array([1, -5], "m8[us]"), np.array([3], "M8[25s]")
swapped = np.array([1, 2], ">i4"), np.array([1.5], ">f8"), np.array(["ab"], ">U2")
>>> numbers, texts, times, swapped
>>> numbers[3][0], texts[0][1], times[0][0], swapped[0][1]
<<< numbers, texts, times, swapped
# ---- record arrays, whose class is of a module that NumPy imports late
import sys
sys.modules.pop("numpy.rec", None)
rec = np.zeros(2, [("a", int), ("b", float)]).view(np.recarray)
kind_of_rec = np.recarray
>>> rec, rec[0], rec.a, type(rec) is np.recarray, type(rec[0]), kind_of_rec is np.recarray, isinstance(rec, np.recarray)
<<< rec, rec[1]
<<< kind_of_rec
# ---- shapes, orders and strides
scalar, empty, zero_rows = np.array(5.5), np.array([]), np.zeros((0, 3))
fortran, transposed = np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(6).reshape(2, 3).T
>>> scalar, scalar[()], empty, zero_rows, fortran, transposed, np.array([None])
<<< scalar, empty, zero_rows, fortran, transposed
# ---- what is not contiguous has the same elements
base = np.arange(20).reshape(4, 5)
steps, back, columns = base[::2, ::2], base[::-1], base[:, 1]
wide = np.broadcast_to(np.array([1, 2, 3]), (4, 3))
>>> steps.tolist(), back.tolist(), columns.tolist(), wide.tolist(), wide.flags.writeable, steps.dtype
>>> wide[0, 0] = 1
# ---- large arrays, and those that lie beside each other
large = np.arange(300_000, dtype="f8")
parts = [large[:1000], large[1000:2000], large[500:1500]]
>>> large.sum(), parts[0][-1], np.shares_memory(parts[0], large), np.shares_memory(parts[0], parts[2])
>>> parts[2][0] = -1
>>> large[500], parts[0][500]
<<< large[:10]
# ---- flags
frozen, thawed = np.arange(3), np.arange(3)
frozen.flags.writeable = False
large_frozen = np.arange(100_000)
large_frozen.setflags(write=False)
>>> frozen, thawed, large_frozen.flags.writeable
>>> frozen[0] = 1
>>> large_frozen[0] = 1
>>> thawed[0] = 5
>>> thawed
<<< frozen, thawed
# ---- views of what is captured
buffer = np.zeros(6)
view, part, other, flat = buffer.reshape(2, 3), buffer[2:4], buffer[::2], buffer.ravel()
copy_ = buffer.copy()
>>> view[:] = 1
>>> buffer.sum(), part, other, copy_.sum(), np.shares_memory(buffer, view), np.shares_memory(flat, buffer), view.base is not None
>>> part[0] = 9
>>> view[0, 2], other[1], flat[2]
# ---- a view without its base, two views that overlap, and a view of another type
hidden = np.arange(8)
first, second, typed = hidden[:5], hidden[3:], hidden.view("i4")
>>> first[4] = 100
>>> second[1], typed[8]
>>> np.shares_memory(first, second), np.shares_memory(typed, second)
# ---- fields and reversed views
records = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])
field, reverse = records["b"], records[::-1]
>>> field[0] = 2.5
>>> records, reverse["b"], np.shares_memory(field, records)
# ---- views in objects and in dictionaries
class Model:
    def __init__(self):
        self.flat = np.zeros(6)
        self.weights = {"w": self.flat[:4].reshape(2, 2), "b": self.flat[4:]}
model = Model()
>>> model.flat[:] = 3
>>> model.weights, np.shares_memory(model.weights["w"], model.flat)
>>> model.weights["b"][0] = 7
>>> model.flat
# ---- the same array twice
one = np.arange(4)
pair = [one, one, {"k": one}]
>>> pair[0] is pair[1], pair[2]["k"] is one
>>> one[0] = 8
>>> pair
<<< pair
# ---- structured, nested, aligned and with titles
nested = np.dtype([("p", [("x", "f4"), ("y", "f4", (2,))]), ("n", "U3")])
rows = np.array([((1, (2, 3)), "ab")], dtype=nested)
aligned = np.dtype({"names": ["a", "b"], "formats": ["i1", "f8"], "offsets": [0, 8], "titles": ["A", None]}, align=True)
with_meta = np.dtype("i4", metadata={"unit": "m"})
>>> nested, rows, rows["p"]["y"], aligned, aligned.fields["a"], rows[0], aligned.isalignedstruct, np.zeros(2, aligned)
<<< nested, rows, aligned
# ---- metadata of a dtype
with_meta = np.dtype("i4", metadata={"unit": "m"})
>>> with_meta == np.dtype("i4"), with_meta.name
# ---- records and character arrays
rec = np.rec.array([(1, "a"), (2, "b")], dtype=[("n", int), ("s", "U1")])
chars = np.char.array(["a ", "b"])
>>> rec, rec.n, rec[1].s, type(rec[0]), chars, chars.upper()
<<< rec, chars
# ---- masked arrays
masked = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0], fill_value=-9)
hard = np.ma.array([1, 2], mask=[True, False], hard_mask=True)
no_mask = np.ma.array([1, 2])
>>> masked, masked.mean(), masked.filled(), hard, no_mask, no_mask.mask is np.ma.nomask, np.ma.masked, masked[1] is np.ma.masked
<<< masked, hard
# ---- the constant that stands for what is masked
absent = np.ma.masked
>>> absent is np.ma.masked, np.newaxis is None
<<< absent is np.ma.masked
# ---- a class of arrays
class Signal(np.ndarray):
    def __new__(cls, data, rate=1):
        self = np.asarray(data).view(cls)
        self.rate = rate
        return self
    def __array_finalize__(self, other):
        self.rate = getattr(other, "rate", None)
    def __reduce__(self):
        function, args, state = super().__reduce__()
        return function, args, (state, self.rate)
    def __setstate__(self, state):
        super().__setstate__(state[0])
        self.rate = state[1]
signal = Signal([1.0, 2.0], rate=44)
>>> signal, signal.rate, type(signal[:1]) is Signal, signal[:1].rate, signal.mean()
<<< signal
# ---- a class of arrays that keeps an attribute and does not say so
class Loose(np.ndarray):
    pass
loose = np.arange(3).view(Loose)
loose.note = "n"
>>> type(loose) is Loose, loose.tolist()
# ---- matrices, polynomials, and functions of one's own
matrix = np.matrix([[1, 2], [3, 4]])
poly, cheb, old_poly = np.polynomial.Polynomial([1, 2, 3]), np.polynomial.Chebyshev([1, 2]), np.poly1d([1, 2])
vector = np.vectorize(lambda x: x + 1)
>>> matrix, matrix * matrix, poly(2), cheb(0.5), old_poly(3), vector([1, 2]), str(poly), cheb.domain, np.add, np.add.reduce([1, 2])
<<< matrix, poly.coef, old_poly, np.add
# ---- functions of NumPy of one's own making
double = np.frompyfunc(lambda x: x * 2, 1, 1)
>>> double(4)
!!! double
# ---- elements that are objects
inner = [1]
objects = np.array([inner, inner, None, "x"], dtype=object)
nested_objects = np.array([np.arange(2), np.arange(3)], dtype=object)
>>> objects, objects[0] is objects[1], objects[0] is inner, nested_objects
>>> inner.append(2)
>>> objects
<<< objects, nested_objects
# ---- objects of the notebook's classes in an array
class Cell:
    def __init__(self, n): self.n = n
cells = np.array([Cell(1), Cell(2)], dtype=object)
again = cells[0]
>>> cells[0] is again, cells[1].n, type(cells[1]) is Cell
<<< cells
# ---- scalars keep their types
scalars = [np.float32(1.5), np.int8(-1), np.bool_(True), np.str_("a"), np.bytes_(b"b"), np.complex64(1j), np.datetime64("2020", "D"), np.timedelta64(3, "h"), np.void(b"ab"), np.longdouble(1) / 3]
>>> scalars, [type(one) for one in scalars]
<<< scalars
# ---- constants and types
kinds = [np.float64, np.dtype("f4"), np.int_, np.nan, np.inf, np.pi]
>>> kinds, kinds[0] is np.float64, np.iinfo("i4").max, np.finfo("f4").eps
<<< kinds
# ---- random generators in the middle of their sequence
rng, legacy = np.random.default_rng(5), np.random.RandomState(3)
rng.normal(), legacy.rand()
philox = np.random.Generator(np.random.Philox(7))
seq = np.random.SeedSequence(9)
seq.spawn(1)
>>> rng, legacy, philox, rng.normal(), legacy.rand(), philox.integers(10), seq.entropy, seq.n_children_spawned, seq.spawn_key
>>> rng.spawn(2)[1].normal(), rng.bit_generator.seed_seq.n_children_spawned
# ---- generators that share their bits
bits = np.random.PCG64(3)
left, right = np.random.Generator(bits), np.random.Generator(bits)
>>> left.bit_generator is right.bit_generator, left.random(), right.random()
# ---- memory of a file, read only
path = os.path.join(tempfile.mkdtemp(), "r.bin")
np.arange(10.0).tofile(path)
read = np.memmap(path, mode="r", dtype="f8", shape=(10,))
piece = np.memmap(path, mode="r", dtype="f8", offset=16, shape=(2, 2))
cut = read[2:5]
>>> read, piece, read.filename == path, read.mode, piece.offset, cut.tolist(), type(cut) is np.memmap, read.flags.writeable
>>> read[0] = 1
# ---- memory of a file, copied on write
path_c = os.path.join(tempfile.mkdtemp(), "c.bin")
np.arange(10.0).tofile(path_c)
changed = np.memmap(path_c, mode="c", dtype="f8", shape=(10,))
changed[0] = 99
>>> changed.tolist(), changed.mode
>>> changed[1] = 50
>>> changed.tolist(), np.fromfile(path_c).tolist()
# ---- memory of a file, loaded by NumPy
path_n = os.path.join(tempfile.mkdtemp(), "n.npy")
np.save(path_n, np.arange(6).reshape(2, 3))
loaded = np.load(path_n, mmap_mode="r")
>>> loaded, loaded.shape, loaded.mode
<<< loaded.tolist()
# ---- annotations, dispatchers and other objects of NumPy
import numpy.typing as npt
hint: npt.NDArray[np.float64] = np.ones(1)
slices, index = np.s_[1:3, ..., None], np.ix_([0, 1], [2])
errors, options = np.errstate(all="ignore"), np.printoptions(precision=2)
>>> hint, npt.NDArray[np.float64], slices, index, np.ndindex(2, 2).__next__(), np.nditer is not None, np.concatenate is np.concatenate
<<< slices, index
# ---- sparse matrices (needs scipy)
import scipy.sparse as sp
csr = sp.csr_matrix(np.eye(3)); coo = sp.coo_array(([1.0], ([0], [2])), shape=(2, 3)); lil = sp.lil_matrix((2, 2))
lil[0, 1] = 4
dok = sp.dok_array((2, 2)); dok[1, 1] = 3.0
>>> csr.toarray(), csr.dtype, coo.toarray(), type(coo), lil.toarray(), (csr @ np.ones(3)), dok[1, 1], csr.has_sorted_indices, type(csr)
<<< csr.data, lil.toarray(), coo.row
# ---- distributions, splines and interpolation (needs scipy)
import scipy.stats, scipy.interpolate, scipy.spatial
frozen_normal = scipy.stats.norm(loc=1, scale=2)
spline = scipy.interpolate.CubicSpline([0, 1, 2], [0, 1, 4])
tree = scipy.spatial.cKDTree([[0, 0], [1, 1]])
rotation = scipy.spatial.transform.Rotation.from_euler("z", 90, degrees=True)
>>> frozen_normal.cdf(1), frozen_normal.mean(), spline(1.5), tree.query([0.9, 1])[1], rotation.as_euler("z").tolist()
<<< spline(0.5), frozen_normal.std()
"""
