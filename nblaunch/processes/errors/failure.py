"""What the parent knows of one failed process.

The exit code and, if the process left one, the error file go in; one object with a readable message comes
out. Whatever the file holds, reading it never raises: the failure that it describes is the news, not the
file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nblaunch.events import ErrorFile
from nblaunch.exports import exported_by

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NOT_AVAILABLE", "FailureMessage", "ProcessFailure", "lingered", "read_error_file", "silent_exit"]

logger: logging.Logger = logging.getLogger(__name__)

# Bytes; a rank can write anything there, and the file is read into memory.
_MAX_FILE_BYTES = 64 << 20

_CANNOT_BE_READ = "error file %s cannot be read"

NOT_AVAILABLE = "<N/A>"
"""Stands for an error file or a signal name that there is none of."""


@exported_by("nblaunch.processes.errors")
class FailureMessage(str):
    """The message of a failure: a text that can also be asked for the parts of the error file.

    Programs written for torch elastic find a dict in this place when the process raised an exception, and a
    text otherwise. This is both.

    Parameters
    ----------
    text : str
        The text, such as ``"ValueError: boom"``.
    parts : dict, optional
        What the keys give; without it, ``"message"`` gives the text.

    Examples
    --------
    >>> message = FailureMessage("ValueError: x", {"extraInfo": {"timestamp": "1"}})
    >>> message
    'ValueError: x'
    >>> message["extraInfo"]["timestamp"], message.get("errorCode", 0)
    ('1', 0)
    """

    __slots__ = ("parts",)

    parts: dict[str, Any]

    def __new__(cls, text: str, parts: dict[str, Any] | None = None) -> Self:
        """Make the text, and hang the parts on it."""
        self = super().__new__(cls, text)
        self.parts = {"message": text} if parts is None else parts
        return self

    def __getitem__(self, key: Any) -> Any:
        return self.parts[key] if isinstance(key, str) else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the part of that name, or `default`."""
        return self.parts.get(key, default)


def silent_exit(rank: int, pid: int) -> FailureMessage:
    """Return the message for a rank that exited with code 0 although it had not returned anything."""
    return FailureMessage(
        f"rank {rank} (pid {pid}) exited with code 0 before it had returned a value: "
        "something called os._exit(0), replaced the process (exec) or ended the interpreter"
    )


def lingered(seconds: float) -> str:
    """Return the sentence about a process that had failed, did not end within `seconds`, and was killed for that."""
    return (
        f"After that its process went on for {seconds:.1f} s, in an atexit function or in a thread that is no daemon, "
        "and was killed"
    )


def read_error_file(path: str) -> ErrorFile | None:
    """Return what a process has left in its error file, None if there is no such file; nothing is raised."""
    if not os.path.isfile(path):
        return None
    written_at = time.time()
    try:
        written_at = Path(path).stat().st_mtime
        with open(path, "rb") as file:
            return ErrorFile(file.read(_MAX_FILE_BYTES + 1), written_at)
    except (OSError, MemoryError) as error:
        logger.warning(_CANNOT_BE_READ, path, exc_info=True)
        return ErrorFile(b"", written_at, f"{type(error).__name__}: {error}")


@exported_by("nblaunch.processes.errors")
@dataclass
class ProcessFailure:
    """One process that failed, described by its error file if it left one.

    Parameters
    ----------
    local_rank : int
        Which process of this machine.
    pid : int
        Its process id.
    exitcode : int
        Its exit code; negative for the signal that ended it.
    error_file : str
        Path of its error file; ``"<N/A>"`` afterwards if there is no such file.

    Attributes
    ----------
    error_file_data : dict
        Contents of the error file.
    message : str
        What happened, in one line or a few; a `FailureMessage`.
    timestamp : int
        When it happened, in seconds since the epoch: as the error file says, else when the file was written,
        else when this object was made.
    """

    local_rank: int
    pid: int
    exitcode: int
    error_file: str
    error_file_data: dict[str, Any] = field(init=False)
    message: str = field(init=False)
    timestamp: int = field(init=False)

    def __post_init__(self) -> None:
        self._describe(read_error_file(self.error_file))

    def _describe(self, found: ErrorFile | None) -> None:
        """Take what the error file tells; None if there is none."""
        self.error_file_data = {"message": "<NONE>"}
        self.timestamp = int(time.time())
        if found is None:
            self.error_file = NOT_AVAILABLE
            self.message = self._message_from_exitcode("left no error file")
            return
        self.timestamp = int(found.written_at)
        problem = found.problem
        if not problem:
            try:
                self._take(found.contents)
                return
            except (ValueError, RecursionError, MemoryError) as error:
                logger.warning(_CANNOT_BE_READ, self.error_file, exc_info=True)
                problem = f"{type(error).__name__}: {error}"
        self.message = FailureMessage(f"{self._ending()}; its error file cannot be read ({problem}): {self.error_file}")

    def add(self, sentence: str) -> None:
        """Add a sentence to the message, and to the traceback in it if there is one."""
        parts = dict(self.message.parts) if isinstance(self.message, FailureMessage) else None
        extra = parts.get("extraInfo") if parts is not None else None
        if parts is not None and isinstance(extra, dict) and isinstance(extra.get("py_callstack"), str):
            parts["extraInfo"] = extra | {"py_callstack": f"{extra['py_callstack'].rstrip()}\n{sentence}"}
        self.message = FailureMessage(f"{self.message}\n{sentence}", parts)

    def signal_name(self) -> str:
        """Return the name of the signal that ended the process, or ``"<N/A>"``."""
        try:
            return signal.Signals(-self.exitcode).name
        except ValueError:
            return NOT_AVAILABLE

    def timestamp_isoformat(self) -> str:
        """Return the timestamp as local time, ``YYYY-MM-DD_HH:MM:SS``."""
        try:
            return datetime.fromtimestamp(self.timestamp).isoformat(sep="_")
        except (OSError, OverflowError, ValueError):  # a foreign error file may hold any number
            return NOT_AVAILABLE

    def _take(self, contents: bytes) -> None:
        if len(contents) > _MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {_MAX_FILE_BYTES >> 20} MiB")
        data = json.loads(contents.decode())
        if b"\\u" in contents:
            # halves of characters, which JSON can express, could be neither printed nor sent to a page
            data = json.loads(json.dumps(data, ensure_ascii=False).encode(errors="replace"))
        if not isinstance(data, dict):
            raise ValueError("it holds no JSON object")
        self.error_file_data = data
        message = data.get("message")
        if isinstance(message, str):
            self._set_timestamp(data.get("timestamp", 0))
            if message:
                self.message = FailureMessage(message)
            else:
                self.message = self._message_from_exitcode("left an error file without a message")
        elif isinstance(message, dict) and isinstance(message.get("message"), str):
            extra = message.get("extraInfo")
            self._set_timestamp(extra.get("timestamp") if isinstance(extra, dict) else None)
            self.message = FailureMessage(message["message"], message)
        else:
            raise ValueError("it has no field 'message' with a text, or with an object that has one")

    def _set_timestamp(self, value: Any) -> None:
        # A file that does not tell keeps the time at which it was written.
        with contextlib.suppress(OverflowError, TypeError, ValueError):
            self.timestamp = int(value)

    def _message_from_exitcode(self, lack: str) -> FailureMessage:
        if self.exitcode < 0:
            return FailureMessage(self._ending())
        # The name and the values are torch elastic's, for programs that sort failures by them.
        self.error_file_data["errorTraits"] = {
            "category": "system_terminated_error",
            "retryability": "False",
        }
        return FailureMessage(
            f"{self._ending()} and {lack}; decorate its main function with nblaunch.processes.errors.record "
            "to get a traceback here"
        )

    def _ending(self) -> str:
        if self.exitcode < 0:
            return f"Signal {-self.exitcode} ({self.signal_name()}) received by PID {self.pid}"
        return f"exited with code {self.exitcode}"
