"""Plain objects as bytes and back: lists and dictionaries of texts and numbers, and nothing else.

They are sent as JSON (RFC 8259), in the form of other packed objects. Reading them runs no code of the sender, imports
nothing, and needs little more memory than the bytes. So a thread that must not fail, such as the one that watches the
ranks, can read them.
"""

from __future__ import annotations

import json
import math
from typing import Any

from nblaunch.payload.packed import Packed, split

__all__ = ["encodable", "pack_plain", "unpack_plain"]

# No output of a library is nested deeper, and the recursion of a JSON encoder is limited.
_MAX_DEPTH = 100


def encodable(text: str) -> str:
    """Return a text with its lone surrogates replaced, which cannot be sent to a web page."""
    return text.encode(errors="replace").decode()


def pack_plain(value: object) -> Packed:
    """Turn a plain object into bytes, for `unpack_plain`.

    Raises
    ------
    ValueError
        If it is not plain; see `unpack_plain`.
    """
    _require_plain(value, _MAX_DEPTH)
    # lone surrogates, as in names of files that are not UTF-8, stay as they are
    return Packed(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), [], set())


def unpack_plain(data: Any) -> Any:
    """Rebuild a plain object.

    Parameters
    ----------
    data : buffer or Parts
        What `pack_plain` wrote, also after `nblaunch.payload.split`.

    Raises
    ------
    ValueError
        If it is not plain: a key that is no text, an object of another type, a number that JSON does not have, or more
        than a hundred nested containers.
    """
    try:
        stream, *buffers = data if isinstance(data, list) else split(data)[0]
        if buffers:
            raise ValueError("they have no buffers")
        value = json.loads(str(stream, "utf-8", "surrogatepass"))
    except (ValueError, IndexError, RecursionError) as error:
        raise ValueError(f"no plain objects: {type(error).__name__}: {error}") from None
    _require_plain(value, _MAX_DEPTH)
    return value


def _require_plain(value: object, levels: int) -> None:
    kind = type(value)
    if levels == 0:
        raise ValueError("plain objects are nested too deep")
    if kind is dict:
        for key, inner in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise ValueError(f"a key of plain objects is a {type(key).__name__}")
            _require_plain(inner, levels - 1)
    elif kind is list:
        for inner in value:  # type: ignore[attr-defined]
            _require_plain(inner, levels - 1)
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise ValueError(f"plain objects have no {value!r}")
    elif kind not in (str, int, bool, type(None)):
        raise ValueError(f"plain objects have no {kind.__name__}")
