"""How the failure of a process reaches its parent, and from there the person.

In the child, `record` writes an uncaught exception to the file that the parent named in the environment
variable ``TORCHELASTIC_ERROR_FILE``. In the parent, `ProcessFailure` makes one readable object of that file
and the exit code, and `ChildFailedError` of all that failed together, the first failure being the root cause.
A parent that is decorated with `record` itself passes its child's root cause on to its own parent.

The names, the file and the report are those of ``torch.distributed.elastic.multiprocessing.errors``.
"""

from __future__ import annotations

import functools
import logging
import socket
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from nblaunch.processes.errors.error_handler import ErrorHandler
from nblaunch.processes.errors.failure import NOT_AVAILABLE, FailureMessage, ProcessFailure
from nblaunch.processes.errors.handlers import get_error_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JSON = dict[str, Any]
"""The contents of an error file."""

GlobalRank = int
"""The number of a process among those of all machines."""

__all__ = [
    "JSON",
    "ChildFailedError",
    "ErrorHandler",
    "FailureMessage",
    "GlobalRank",
    "ProcessFailure",
    "get_error_handler",
    "record",
]

logger: logging.Logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")

_WIDEST_RULE = 60


class ChildFailedError(Exception):
    """Child processes failed; the message is a report of all of them.

    Raised out of a function that is decorated with `record`, it is passed on as its root cause: the parent's
    error file becomes a copy of the child's.

    Parameters
    ----------
    name : str
        What was run.
    failures : mapping of int to ProcessFailure
        The failure of each rank that failed; at least one.

    Raises
    ------
    AssertionError
        If there is no failure.
    """

    def __init__(self, name: str, failures: Mapping[int, ProcessFailure]) -> None:
        if not failures:
            raise AssertionError(f"{name}: a ChildFailedError needs at least one failure, and none was given")
        self.name = name
        self.failures = failures
        super().__init__(self.format_msg())

    def __reduce__(self) -> tuple[type[ChildFailedError], tuple[str, Mapping[int, ProcessFailure]]]:
        return type(self), (self.name, self.failures)

    def get_first_failure(self) -> tuple[int, ProcessFailure]:
        """Return rank and failure of the root cause.

        It is the failure with the smallest timestamp. Timestamps are whole seconds; of several equal ones,
        the first in the mapping counts.
        """
        return min(self.failures.items(), key=lambda item: item[1].timestamp)

    def format_msg(self, boarder_delim: str = "=", section_delim: str = "-") -> str:
        """Return the report: the other failures first, the root cause at the end, where the eye lands.

        Parameters
        ----------
        boarder_delim, section_delim : str, optional
            What the outer and the inner rules are made of.
        """
        title = f"{self.name} FAILED"
        root_rank, _ = self.get_first_failure()
        host = socket.getfqdn()
        reports = {
            rank: _report(number, rank, failure, host) for number, (rank, failure) in enumerate(self.failures.items())
        }
        width = max(len(line) for text in (title, *reports.values()) for line in text.split("\n"))
        width = min(width, _WIDEST_RULE)
        root = reports.pop(root_rank)
        lines = [
            "",  # the report starts on a line of its own, behind "ChildFailedError:"
            boarder_delim * width,
            title,
            section_delim * width,
            "Failures:",
            *(reports.values() or ["  <NO_OTHER_FAILURES>"]),
            section_delim * width,
            "Root Cause (first observed failure):",
            root,
            boarder_delim * width,
        ]
        return "\n".join(lines)


def _report(number: int, rank: int, failure: ProcessFailure, host: str) -> str:
    signal_name = failure.signal_name()
    signal_part = "" if signal_name == NOT_AVAILABLE else f" ({signal_name})"
    fields = {
        "time": failure.timestamp_isoformat(),
        "host": host,
        "rank": f"{rank} (local_rank: {failure.local_rank})",
        "exitcode": f"{failure.exitcode} (pid: {failure.pid}) {signal_part}",
        "error_file": failure.error_file,
        "traceback": _traceback(failure.message).replace("\n", "\n  "),
    }
    return f"[{number}]:\n" + "\n".join(f"  {key:<10}: {value}" for key, value in fields.items())


def _traceback(message: str) -> str:
    """Return the traceback in the failed process if the message has one, else the message."""
    extra = message.get("extraInfo") if isinstance(message, FailureMessage) else None
    callstack = extra.get("py_callstack") if isinstance(extra, dict) else None
    return callstack if isinstance(callstack, str) else str(message)


def record(fn: Callable[_P, _R], error_handler: ErrorHandler | None = None) -> Callable[_P, _R | None]:
    """Decorate the main function of a process, so that its parent learns why it failed.

    Use it once in a process, at the outermost function.

    Parameters
    ----------
    fn : callable
        The function.
    error_handler : ErrorHandler, optional
        Who writes failures down; by default one that writes to ``TORCHELASTIC_ERROR_FILE``.

    Returns
    -------
    callable
        `fn`, with every exception recorded and raised again. Of those that end a process in an orderly way,
        ``SystemExit`` with code 0 or ``None`` returns ``None``, and ``SystemExit`` with another code is
        raised unrecorded. Of `ChildFailedError`, the child's own record is passed on.

    Examples
    --------
    >>> @record
    ... def main():
    ...     raise SystemExit(0)
    >>> main()
    """
    handler = error_handler or get_error_handler()

    @functools.wraps(fn)
    def recorded(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        handler.initialize()
        try:
            return fn(*args, **kwargs)
        except SystemExit as error:
            if error.code is None or error.code == 0:
                return None
            raise
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.error_file == NOT_AVAILABLE:
                logger.info("rank %s left no error file that could be passed on: %s", rank, failure.message)
            else:
                handler.dump_error_file(failure.error_file, failure.exitcode)
            raise
        except BaseException as error:
            handler.record_exception(error)
            raise

    return recorded
