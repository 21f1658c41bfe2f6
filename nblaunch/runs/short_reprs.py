"""`short_repr`: any object in a few hundred characters, without making the whole text of a large one first."""

from __future__ import annotations

import reprlib

from nblaunch.payload import why
from nblaunch.wording import in_words

__all__ = ["failed_repr", "short_repr"]


class _Repr(reprlib.Repr):
    """`reprlib.Repr`, which for bytes would make the whole text, four times their size, before it cuts that."""

    def repr_bytes(self, value: bytes | bytearray, level: int) -> str:
        if len(value) <= self.maxother // 4:
            return repr(value)
        return f"{value[: self.maxother // 4]!r}… ({in_words(len(value))})"

    repr_bytearray = repr_bytes


_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = 200


def short_repr(value: object) -> str:
    """Return a short text of an object, also of one whose repr fails."""
    try:
        return _REPR.repr(value)
    except Exception as error:
        return failed_repr(value, error)


def failed_repr(value: object, error: BaseException) -> str:
    """Return what stands for an object whose repr has failed."""
    return f"<a {type(value).__name__} whose repr failed: {why(error)}>"
