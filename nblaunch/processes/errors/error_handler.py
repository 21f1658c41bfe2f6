"""Writing down, in the process that fails, what went wrong.

An exception comes in, a JSON file goes out, at the path that the parent chose through
``TORCHELASTIC_ERROR_FILE``. The file has the layout of torch elastic, so either side may be torch. Nothing
here raises on the way: the exception that is being recorded matters more than a disk that cannot take it.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import logging
import os
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from nblaunch.payload import shortened, traceback_of, type_name

__all__ = ["ErrorHandler"]

logger: logging.Logger = logging.getLogger(__name__)

# The file may be writable where its directory is not, or be a mount point, as /dev/termination-log in a pod
# is.
_NOT_REPLACEABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY}


class ErrorHandler:
    """Records the failure of this process in its error file.

    To record failures in another way, derive a class, override `initialize` and `record_exception`, and hand
    an instance to `nblaunch.processes.errors.record`.
    """

    def initialize(self) -> None:
        """Prepare for failures: from here on, a crash below Python prints the stack of every thread."""
        try:
            try:
                faulthandler.enable(all_threads=True)
            except (AttributeError, OSError, RuntimeError, ValueError):
                # sys.stderr is None or, as in a notebook, not a file; descriptor 2 is there all the same.
                faulthandler.enable(file=2, all_threads=True)
        except (OSError, RuntimeError, ValueError) as error:
            _warn(f"a crash of this process will not print a stack, because {_describe(error)}")

    def record_exception(self, e: BaseException) -> None:
        """Write an exception and its traceback to the error file; without one, to the log."""
        data = {
            "message": {
                "message": _describe(e),
                "extraInfo": {
                    "py_callstack": _callstack(e),
                    "timestamp": str(int(time.time())),
                },
            }
        }
        path = self._get_error_file_path()
        if path:
            self._write_error_file(path, json.dumps(data))
        else:
            logger.info("TORCHELASTIC_ERROR_FILE is not set; it would have got:\n%s", json.dumps(data, indent=2))

    def override_error_code_in_rootcause_data(
        self, rootcause_error_file: str, rootcause_error: dict[str, Any], error_code: int = 0
    ) -> None:
        """Put the exit code, which a process cannot know of itself, into what its error file says.

        Parameters
        ----------
        rootcause_error_file : str
            Where `rootcause_error` was read; for messages only.
        rootcause_error : dict
            Contents of the file; changed in place.
        error_code : int, optional
            The exit code; negative for a signal.
        """
        message = rootcause_error.get("message")
        if isinstance(message, dict):
            message["errorCode"] = error_code
        else:
            logger.warning(
                "error code %s is left out, because the field 'message' of %s is %s and not an object",
                error_code,
                rootcause_error_file,
                "missing" if message is None else "a text",
            )

    def dump_error_file(self, rootcause_error_file: str, error_code: int = 0) -> None:
        """Make a child's error file this process's own, so that *its* parent learns of the root cause.

        Parameters
        ----------
        rootcause_error_file : str
            The child's error file.
        error_code : int, optional
            The child's exit code, which is added if it is not 0.
        """
        try:
            with open(rootcause_error_file, encoding="utf-8") as file:
                rootcause_error = json.load(file)
            if not isinstance(rootcause_error, dict):
                raise TypeError("it does not hold a JSON object")
        except (OSError, TypeError, ValueError, RecursionError) as error:
            _warn(f"{rootcause_error_file} is not passed on as this process's error file: {_describe(error)}")
            return
        if error_code:
            self.override_error_code_in_rootcause_data(rootcause_error_file, rootcause_error, error_code)
        contents = json.dumps(rootcause_error, indent=2)
        logger.debug("child error file %s holds:\n%s", rootcause_error_file, contents)
        own_file = self._get_error_file_path()
        if own_file:
            self._rm(own_file)
            self._write_error_file(own_file, json.dumps(rootcause_error))
            logger.info("copied error file %s to this process's %s", rootcause_error_file, own_file)
        else:
            logger.error(
                "error file %s is not passed on, because this process has none itself: "
                "TORCHELASTIC_ERROR_FILE is not set",
                rootcause_error_file,
            )

    def _get_error_file_path(self) -> str | None:
        """Return where to write; ``None`` or an empty path means nowhere."""
        return os.environ.get("TORCHELASTIC_ERROR_FILE")

    def _write_error_file(self, file_path: str, error_msg: str) -> None:
        """Write the file so that a reader finds all of it or nothing; warn if that is not possible."""
        try:
            target = os.path.realpath(file_path)  # a link stays a link
            if os.path.lexists(target) and not os.path.isfile(target):
                raise OSError("it is not a regular file")
            try:
                _replace_file(target, error_msg)
            except OSError as error:
                if error.errno not in _NOT_REPLACEABLE or not os.path.isfile(target):
                    raise
                with open(target, "w", encoding="utf-8") as file:
                    file.write(error_msg)
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            _warn(f"the error file {file_path} could not be written: {_describe(error)}")

    def _rm(self, my_error_file: str) -> None:
        """Log and remove an older error file, which a child that inherited our environment may have left."""
        if not os.path.isfile(my_error_file):
            return
        try:
            with open(my_error_file, encoding="utf-8", errors="replace") as file:
                logger.warning("%s is overwritten; it held:\n%s", my_error_file, file.read())
            os.remove(my_error_file)
        except OSError as error:
            logger.warning("%s could not be removed: %s", my_error_file, _describe(error))


def _replace_file(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        # nobody may read the file who may not enter its folder
        mode = 0o666 & Path(path).parent.stat().st_mode
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


# Characters of a message or a call stack; who reads the file shows them to people.
_MAX_TEXT_CHARACTERS = 400_000


def _describe(error: BaseException) -> str:
    name = type_name(error)
    try:
        return shortened(f"{name}: {error}", _MAX_TEXT_CHARACTERS)
    except BaseException:  # __str__ is the user's code, and must not take the place of what it belongs to
        return f"{name}: <str() of this exception failed>"


def _callstack(error: BaseException) -> str:
    frames = traceback_of(error)
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # parts of the exception, such as its notes, are the user's code too
        text = "Traceback (most recent call last):\n" + "".join(traceback.format_tb(frames)) + _describe(error)
    return shortened(text, _MAX_TEXT_CHARACTERS)


def _warn(text: str) -> None:
    try:
        warnings.warn(text, stacklevel=3)
    except Warning:  # with -W error: would hide the exception that is being recorded
        logger.warning("%s", text)
