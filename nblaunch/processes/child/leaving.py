"""How the process of a rank ends: it waits for threads, runs exit functions, writes out buffers, and exits.

`multiprocessing` does the same at the end of a forked child. The interpreter is not torn down: ranks of one gang end at
different moments, and threads of C++ libraries that still wait for another rank then, such as those of gloo, would
abort the process ("terminate called without an active exception").
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

__all__ = ["exit_code", "flush", "leave"]

_libc = ctypes.CDLL(None)
_STREAM: Any = io.IOBase.__base__
# Seconds for writing out the buffers of files.
_MAX_WRITING_SECONDS = 5.0


def leave(code: int) -> NoReturn:
    """Do what an interpreter does at its end, but for tearing itself down, and end this process.

    Parameters
    ----------
    code : int
        The exit code; negative for the signal by which the process is to end.
    """
    try:
        # threads that are no daemons are waited for; then, whatever interrupts that, the exit functions
        for step in (threading._shutdown, atexit._run_exitfuncs, _write_out_in_time, flush):  # type: ignore[attr-defined]
            try:
                step()
            except BaseException:
                traceback.print_exc()
        if code < 0:
            _die_by(-code)
    finally:
        os._exit(code & 0xFF)


def exit_code(leaving: SystemExit) -> int:
    """Return the exit code that the interpreter gives to a `SystemExit`; print its message if it is one."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    print(leaving.code, file=sys.stderr)
    return 1


def flush() -> None:
    """Write out what Python and the C library hold back in the standard streams."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # a full disk or a closed stream must not change the exit code
    _libc.fflush(None)


def _write_out_in_time() -> None:
    """Write out files, in a thread: a file may be locked by a daemon thread that never finishes."""
    writing = threading.Thread(target=_write_out_files, name="nblaunch-files", daemon=True)
    try:
        writing.start()
    except RuntimeError:  # the system gives no more threads
        _write_out_files()
    else:
        writing.join(_MAX_WRITING_SECONDS)


def _write_out_files() -> None:
    """Write out files that were not closed; the interpreter does so when it tears its objects down."""
    # the base class in C, because isinstance checks with the one in Python are slow
    things: list[Any] = gc.get_objects()
    streams = [thing for thing in things if issubclass(type(thing), _STREAM)]
    buffers = (io.BufferedWriter, io.BufferedRandom)
    # never closed, even if a cell has replaced them
    standard = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    # the outermost first: a text goes into the buffer below it, a compressed file into the one that it is written to
    for stream in streams:
        if issubclass(type(stream), io.TextIOWrapper):
            _write_out(stream, stream.flush)
    for stream in streams:
        # GzipFile and its like, which are written in Python, write their end when they are closed
        if type(stream).__module__ not in ("_io", "io") and not any(stream is one for one in standard):
            _write_out(stream, stream.close)
    for stream in streams:
        if issubclass(type(stream), buffers):
            _write_out(stream, stream.flush)
    _remove_temporary_files(things)


def _remove_temporary_files(things: Iterable[Any]) -> None:
    """Remove what `tempfile.NamedTemporaryFile` has made, as the interpreter does when it tears its objects down."""
    kind = getattr(sys.modules.get("tempfile"), "_TemporaryFileCloser", None)
    for closer in things:
        if type(closer) is kind:
            # from Python 3.12 on `close` does not remove a file with delete_on_close=False, and `cleanup` does
            with contextlib.suppress(Exception):  # another one may have removed it
                getattr(closer, "cleanup", closer.close)()


def _write_out(stream: io.IOBase, write: Callable[[], object]) -> None:
    try:
        is_written_to = not stream.closed and stream.writable()
    except ValueError:
        return  # its buffer was detached, and is written out by itself
    try:
        if is_written_to:
            write()
    except Exception:  # a full disk, or a class of the user's; the others are to be written all the same
        traceback.print_exc()


def _die_by(number: int) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)
