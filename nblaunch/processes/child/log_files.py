"""The files that a rank's descriptors 1 and 2 write to, in its first task and in those that follow."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["become_line_buffered", "lead_to_files", "open_streams"]

_libc = ctypes.CDLL(None)


def open_streams(stdout: str, stderr: str, given: tuple[int, int]) -> None:
    """Set the standard streams of a rank; standard input is empty.

    Parameters
    ----------
    stdout, stderr : str
        The files to write to; where one is empty, that output goes to the descriptor in `given`.
    given : (int, int)
        Descriptors for both, which are closed here; -1 leaves what the process has.
    """
    _move(os.open(os.devnull, os.O_RDONLY), 0)
    for path, descriptor, target in ((stdout, given[0], 1), (stderr, given[1], 2)):
        if path:
            _lead(path, target)
        elif descriptor >= 0:
            _move(descriptor, target)
    # streams that the parent had put there, such as a kernel's that go to its frontend, are replaced
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def lead_to_files(stdout: str, stderr: str) -> None:
    """Write to other files from now on; child processes that still run go on writing to the old ones.

    Parameters
    ----------
    stdout, stderr : str
        The files; an empty string leaves what there is.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    _libc.fflush(None)
    for path, target in ((stdout, 1), (stderr, 2)):
        if path:
            _lead(path, target)


def become_line_buffered() -> None:
    """Have lines written as soon as they are complete, by Python and by C."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    line_buffered = 1  # _IOLBF of glibc and musl
    _libc.setvbuf(ctypes.c_void_p.in_dll(_libc, "stdout"), None, line_buffered, ctypes.c_size_t(0))


def _lead(path: str, target: int) -> None:
    _move(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), target)


def _move(source: int, target: int) -> None:
    os.dup2(source, target)
    os.close(source)
