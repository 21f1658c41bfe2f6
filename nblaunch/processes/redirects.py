"""Sending this process's standard output or error to a file, below Python.

The descriptor itself is replaced, so that C libraries and child processes write into the file too, not only
``print``. The buffers of Python and of C stdio are flushed at the beginning and at the end, so that each byte goes
where the stream led when it was written.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["get_libc", "redirect", "redirect_stderr", "redirect_stdout"]

_DESCRIPTORS = {"stdout": 1, "stderr": 2}


@functools.cache
def get_libc() -> ctypes.CDLL:
    """Return the C library that this process runs on, whichever it is (glibc, musl)."""
    libc = ctypes.CDLL(None)
    libc.fflush.argtypes = [ctypes.c_void_p]
    libc.fflush.restype = ctypes.c_int
    return libc


@contextmanager
def redirect(std: str, to_file: str | os.PathLike[str]) -> Iterator[None]:
    r"""Redirect a standard stream to a file for the length of a ``with`` block.

    Redirects of one stream can be nested; each block puts back what it found, also when its body raises.

    Parameters
    ----------
    std : {"stdout", "stderr"}
        The stream.
    to_file : str or os.PathLike of str
        Where its bytes go. Created, or overwritten if it is there; its directory must exist. Bytes are always
        appended at the end, so both streams can go to one file if the second redirect is opened before the
        first one is written to.

    Raises
    ------
    ValueError
        If there is no such stream.
    OSError
        If the file cannot be opened.

    Notes
    -----
    Text of Python and of C stdio waits in separate buffers, so in the file one can overtake the other. Where
    ``sys.stdout`` has no descriptor, as in a notebook, descriptor 1 is redirected and ``print`` is not.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "stdout.log")
    >>> with redirect("stdout", path):
    ...     _ = os.system("echo a child process is heard too")
    >>> with open(path) as log:
    ...     log.read()
    'a child process is heard too\n'
    """
    if std not in _DESCRIPTORS:
        raise ValueError(
            f"there is no standard stream {std!r} to redirect to {os.fspath(to_file)!r}: "
            f"give one of {', '.join(map(repr, _DESCRIPTORS))}"
        )
    # O_APPEND: a child process that opens the same file, or the other stream, adds to it instead of writing
    # over.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    with ExitStack() as stack:
        target = os.open(to_file, flags, 0o666)
        stack.callback(os.close, target)
        _flush(std)
        for descriptor in _descriptors(std):
            _replace(descriptor, target, stack)
        try:
            yield
        finally:
            _flush(std)


def redirect_stdout(to_file: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Redirect standard output to a file; see `redirect`."""
    return redirect("stdout", to_file)


def redirect_stderr(to_file: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Redirect standard error to a file; see `redirect`."""
    return redirect("stderr", to_file)


def _descriptors(std: str) -> list[int]:
    """Return the descriptor of C and child processes, and that of Python's stream if it is another one."""
    found = [_DESCRIPTORS[std]]
    try:
        own = getattr(sys, std).fileno()
    except (AttributeError, OSError, ValueError):  # None, a notebook's stream, a closed one
        return found
    return found if own in found else [*found, own]


def _replace(descriptor: int, target: int, stack: ExitStack) -> None:
    """Let `descriptor` mean what `target` means until `stack` unwinds."""
    inheritable = os.get_inheritable(descriptor)
    saved = os.dup(descriptor)
    stack.callback(os.close, saved)
    os.dup2(target, descriptor, inheritable)
    stack.callback(os.dup2, saved, descriptor, inheritable)


def _flush(std: str) -> None:
    """Empty the buffers of Python and C stdio; of C only this stream, as others may be locked by a reader."""
    for stream in {getattr(sys, std), getattr(sys, f"__{std}__")}:
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    libc = get_libc()
    libc.fflush(ctypes.c_void_p.in_dll(libc, std))
