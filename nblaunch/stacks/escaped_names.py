r"""Names of files and functions as Python's faulthandler writes them: in ASCII, with escapes for everything else.

Its escapes are ``\xe9``, ``\u6f22`` and ``\U0001f600``. It writes a backslash that is part of a name as it is, so
``\xe9`` in its output may be a letter or four characters of the name. That is why names are compared as written, and
only for display an escape is turned into its letter.
"""

from __future__ import annotations

import re

__all__ = ["as_written", "unescaped"]

_ESCAPE = re.compile(r"\\[xuU](?P<digits>(?<=x)[0-9a-f]{2}|(?<=u)[0-9a-f]{4}|(?<=U)(?:000[0-9a-f]|0010)[0-9a-f]{4})")
_NOT_ASCII = re.compile(r"[^ -~]")
# faulthandler writes so many characters of a name, and then the mark.
_MAX_NAME_CHARACTERS = 500
_CUT = "..."


def as_written(name: str) -> str:
    r"""Return a name as faulthandler writes it; the name may come from `unescaped` too.

    Examples
    --------
    >>> as_written("/home/Ünï/größe.py")
    '/home/\\xdcn\\xef/gr\\xf6\\xdfe.py'
    """
    short = name[:_MAX_NAME_CHARACTERS]
    written = short if short.isascii() and short.isprintable() else _NOT_ASCII.sub(lambda one: _escape(one[0]), short)
    return written + _CUT if len(name) > _MAX_NAME_CHARACTERS else written


def _escape(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def unescaped(written: str) -> str:
    r"""Return a name that faulthandler has written, as a person reads it.

    What cannot be shown stays an escape: a line break, and a byte that is no UTF-8 (``\udce9``).

    Examples
    --------
    >>> unescaped("gr\\xf6\\xdfe")
    'größe'
    """
    return _ESCAPE.sub(_letter, written) if "\\" in written else written


def _letter(found: re.Match[str]) -> str:
    letter = chr(int(found["digits"], 16))
    is_escape = not letter.isascii() and letter.isprintable() and _escape(letter) == found[0]
    return letter if is_escape else found[0]
