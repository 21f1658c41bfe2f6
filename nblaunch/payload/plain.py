"""Plain objects as bytes: containers, texts and numbers of Python's own and nothing else, in both directions.

Reading them runs no code of the sender's, imports nothing, yields nothing that would, and takes no more memory than the
bytes themselves call for: for what is taken apart in a thread that must not fail, such as the one that watches the
ranks. They travel as JSON (RFC 8259), in the frame of other packed objects.
"""

from __future__ import annotations

import json
import math
from typing import Any

from nblaunch.payload.packed import Packed, split

__all__ = ["encodable", "pack_plain", "unpack_plain"]

# No output of a library is nested as deep; whoever reads it, JSON encoders for example, calls itself for each level.
_DEEPEST = 100


def encodable(text: str) -> str:
    """Return a text without halves of characters, which can be sent to no page."""
    return text.encode(errors="replace").decode()


def pack_plain(value: object) -> Packed:
    """Turn a plain object into bytes, for `unpack_plain`.

    Raises
    ------
    ValueError
        If it is none; see `unpack_plain`.
    """
    _require_plain(value, _DEEPEST)
    # halves of characters, as in names of files that are no UTF-8, pass as they are
    return Packed(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), [], set())


def unpack_plain(data: Any) -> Any:
    """Build a plain object again.

    Parameters
    ----------
    data : buffer or Parts
        What `pack_plain` wrote, whole or taken apart.

    Raises
    ------
    ValueError
        If it is anything else: dictionaries whose keys are no texts, objects of other types, numbers that JSON does not
        have, or containers nested deeper than a hundred times.
    """
    try:
        stream, *buffers = data if isinstance(data, list) else split(data)[0]
        if buffers:
            raise ValueError("they have no buffers")
        value = json.loads(str(stream, "utf-8", "surrogatepass"))
    except (ValueError, IndexError, RecursionError) as error:
        raise ValueError(f"no plain objects: {type(error).__name__}: {error}") from None
    _require_plain(value, _DEEPEST)
    return value


def _require_plain(value: object, deepest: int) -> None:
    kind = type(value)
    if deepest == 0:
        raise ValueError("plain objects are nested too deep")
    if kind is dict:
        for key, inner in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise ValueError(f"a key of plain objects is a {type(key).__name__}")
            _require_plain(inner, deepest - 1)
    elif kind is list:
        for inner in value:  # type: ignore[attr-defined]
            _require_plain(inner, deepest - 1)
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise ValueError(f"plain objects have no {value!r}")
    elif kind not in (str, int, bool, type(None)):
        raise ValueError(f"plain objects have no {kind.__name__}")
