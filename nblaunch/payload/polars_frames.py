"""Large frames and series of Polars as Arrow tables, whose buffers go into memory that all ranks map.

Polars' own pickling writes a block of bytes, which each rank would have to copy and parse.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

__all__ = ["polars_types", "reduce_polars"]

# Bytes below which Polars' own way is as fast, and a rank does not have to import pyarrow.
_MIN_BYTES = 4 << 20
# Types that Arrow returns as they were.
_PRESERVED = {
    *("Boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64"),
    *("String", "Binary", "Date", "Datetime", "Duration", "Time"),
}


def polars_types() -> Any:
    """Return the types that `reduce_polars` takes; none where Polars is not imported."""
    polars = sys.modules.get("polars")
    return tuple(kind for name in ("DataFrame", "Series") if isinstance(kind := getattr(polars, name, None), type))


def reduce_polars(data: Any) -> Any:
    """Return how to rebuild a frame or series from Arrow, or None for Polars' own way."""
    if type(data) not in polars_types() or data.estimated_size() < _MIN_BYTES:
        return None
    dtypes = data.dtypes if hasattr(data, "dtypes") else [data.dtype]
    # `base_type`, because Datetime("us") has a parameter
    if not all(str(dtype.base_type()) in _PRESERVED for dtype in dtypes) or importlib.util.find_spec("pyarrow") is None:
        return None
    if hasattr(data, "dtypes"):
        return _frame, (data.to_arrow(),)
    return _series, (data.name, data.to_arrow())


def _frame(table: Any) -> Any:
    import polars

    return polars.from_arrow(table)


def _series(name: str, array: Any) -> Any:
    import polars

    return polars.Series(name, polars.from_arrow(array))
