"""pandas' tables, and those of its neighbours."""

CASES = r"""
import datetime, decimal
import numpy as np, pandas as pd
# ---- a table with columns of many kinds
df = pd.DataFrame({"i": [1, 2], "f": [1.5, np.nan], "s": ["a", None], "b": [True, False], "o": [[1], {"k": 2}], "t": pd.to_datetime(["2020-01-01", None])})
df.attrs["source"] = {"a": 1}
>>> df, df.dtypes.tolist(), df.attrs, df["i"].sum(), df.loc[0, "t"], df.s.isna().tolist()
>>> df.loc[0, "i"] = 100
>>> df.i.tolist()
<<< df
# ---- categories
cat = pd.Categorical(["a", "b", None, "a"], categories=["b", "a", "c"], ordered=True)
series = pd.Series(cat, name="c")
kind = pd.CategoricalDtype(["x", "y"], ordered=True)
>>> series, cat.categories, cat.codes.tolist(), cat.ordered, series.max(), kind, series.cat.categories.tolist(), series.dtype == cat.dtype
<<< series, kind
# ---- times with zones
aware = pd.date_range("2024-03-30", periods=3, freq="D", tz="Europe/Berlin")
stamp, delta, period = pd.Timestamp("2020-01-01 12:00:00.123456789", tz="UTC"), pd.Timedelta("1D 2h"), pd.Period("2020-03", "M")
periods, intervals = pd.period_range("2020", periods=2, freq="Y"), pd.interval_range(0, 3, closed="left")
>>> aware, aware.freq, aware.tz, stamp, stamp.nanosecond, delta, period, periods, intervals, pd.Interval(0, 1, "both")
<<< aware, stamp, delta, period, periods, intervals
# ---- indexes of several levels
multi = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["l", "n"])
deep = pd.DataFrame({"v": range(4)}, index=multi)
deep.columns = pd.MultiIndex.from_tuples([("x", "v")])
>>> deep, multi.levels[0].tolist(), deep.loc[("a", 2)].tolist(), multi.names, deep.unstack().shape
<<< deep, multi
# ---- types of pandas' own
ext = pd.DataFrame({"i": pd.array([1, None], "Int64"), "b": pd.array([True, None], "boolean"), "s": pd.array(["a", None], "string"), "f": pd.array([1.5, None], "Float32")})
>>> ext, ext.dtypes.tolist(), ext.i[1] is pd.NA, ext.s[1] is pd.NA, ext.i.sum(), pd.NaT, pd.NaT is ext.iloc[0:0].index.max() if False else True
<<< ext
# ---- what stands for nothing is one object
na, nat, none = pd.NA, pd.NaT, pd.Series([pd.NA, pd.NaT, None, np.nan], dtype=object)
>>> na is pd.NA, nat is pd.NaT, none[0] is pd.NA, none[1] is pd.NaT, none[2] is None, none.isna().all(), pd.api.extensions.no_default is pd.api.extensions.no_default
<<< na, nat, none
# ---- sparse columns
sparse = pd.Series(pd.arrays.SparseArray([0, 0, 1], fill_value=0))
>>> sparse, sparse.dtype, sparse.sparse.density, sparse.sum()
<<< sparse
# ---- arrow columns (needs pyarrow)
import pyarrow as pa
arrow = pd.DataFrame({"l": pd.array([[1, 2], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), "d": pd.array([decimal.Decimal("1.1"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2)))})
table = pa.table({"a": [1, 2], "b": ["x", None]})
schema = pa.schema([("a", pa.int32())], metadata={"k": "v"})
>>> arrow.dtypes.astype(str).tolist(), arrow.l[0], arrow.d[0], table.to_pydict(), table.schema.equals(pa.schema([("a", pa.int64()), ("b", pa.string())])), str(schema), schema.metadata
<<< arrow.d[0], table.to_pydict()
# ---- slices, views and copies
wide = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("abc"))
part, column = wide.iloc[1:3], wide["b"]
>>> part, column, part.index.tolist(), wide.to_numpy().sum()
>>> wide.loc[1, "b"] = -1.0
>>> column.tolist(), part.b.tolist()
<<< part, column
# ---- a class of tables
class Geo(pd.DataFrame):
    _metadata = ["crs"]
    @property
    def _constructor(self): return Geo
    def area(self): return float(self["a"].sum())
geo = Geo({"a": [1.0, 2.0]})
geo.crs = "EPSG"
>>> geo.area(), geo.crs, type(geo) is Geo, type(geo[geo.a > 1]) is Geo, geo[geo.a > 1].crs
<<< geo
# ---- empty tables, and duplicated names
nothing, twice = pd.DataFrame(columns=["a"]), pd.DataFrame([[1, 2]], columns=["x", "x"])
no_rows = pd.DataFrame({"a": pd.Series([], dtype="int8")})
flags = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
>>> nothing, twice, no_rows, flags, flags.flags.allows_duplicate_labels, nothing.index.tolist()
<<< nothing, twice, flags
# ---- groups, windows and offsets
groups = pd.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]}).groupby("k")
window = pd.Series([1.0, 2.0, 4.0]).rolling(2)
offset = pd.offsets.BusinessDay(2)
>>> groups.v.sum().to_dict(), window.mean().tolist(), offset, pd.Timestamp("2020-01-03") + offset, pd.Grouper(freq="D").freq
<<< offset
# ---- indexes are one
index = pd.Index(["x", "y"], name="i")
left, right = pd.Series([1, 2], index), pd.Series([3, 4], index)
>>> left, right, (left + right).tolist(), index.get_loc("y"), left.index.equals(right.index)
<<< left, index
# ---- functions that use a table
lookup = pd.Series({"a": 1, "b": 2})
def find(key): return int(lookup[key])
frame = pd.DataFrame({"k": ["a", "b"]})
>>> find("b"), frame.k.map(find).tolist(), frame.assign(v=lambda d: d.k.map(lookup)).v.tolist()
<<< find
"""
