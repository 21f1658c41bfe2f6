"""The parts of data frames that users know: columns, and elements of a column.

What pandas and Polars pickle are private parts such as ``df._mgr``, which mean nothing to users.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nblaunch.capture.places import Parts, Place, shown

__all__ = ["table_parts"]


def table_parts(table: Any, place: Place) -> Iterator[Parts]:
    """Yield the columns of a data frame, or the elements of a column; nothing for anything else."""
    # by name, so that no library is imported for it
    names = {(base.__module__.partition(".")[0], base.__name__) for base in type(table).__mro__}
    if not names.isdisjoint({("pandas", "DataFrame"), ("pandas", "Series")}):
        yield Parts([table.attrs], lambda _: place.inner(".attrs"))
    if ("pandas", "DataFrame") in names:
        labels = list(table.columns)
        columns = [table.iloc[:, position] for position in range(len(labels))]
        yield Parts(columns, lambda i: place.inner(f"[{shown(labels[i])}]"))
        yield Parts([table.index], lambda _: place.inner(".index"))
    elif ("pandas", "Series") in names:
        if table.dtype == object:
            yield Parts(list(table.array), lambda i: place.inner(f".iloc[{i}]"))
        yield Parts([table.index], lambda _: place.inner(".index"))
    elif ("pandas", "MultiIndex") in names:
        yield Parts(list(table.levels), lambda i: place.inner(f".levels[{i}]"))
    elif ("pandas", "Index") in names:
        if table.dtype == object:
            yield Parts(list(table.array), lambda i: place.inner(f"[{i}]"))
    elif ("polars", "DataFrame") in names:
        columns = table.get_columns()
        yield Parts(columns, lambda i: place.inner(f"[{shown(columns[i].name)}]"))
