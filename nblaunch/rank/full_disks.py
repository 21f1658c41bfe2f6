"""Errors of a full disk in a rank, with the folder that is full, which the system does not name."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

from nblaunch.logs.folders import earlier_logs, has_no_room
from nblaunch.payload import relatives

__all__ = ["name_full_disk"]

# the descriptors of OSError itself, because a derived class may override them with code that raises
_FIELDS: dict[str, Any] = {name: vars(OSError)[name] for name in ("errno", "strerror", "filename")}


def name_full_disk(error: BaseException, logs: str) -> None:
    """Add to the text of an exception that the disk with the run's logs is full, if that is its reason.

    What `print` writes goes to the logs, and its error names no file. An error that names a file is left as it is.

    Parameters
    ----------
    error : BaseException
        The exception that has ended the task. Its causes and contexts are changed too.
    logs : str
        Folder with the logs of all ranks, so that equal failures of several ranks have equal texts.
    """
    for one in relatives(error):
        if not issubclass(type(one), OSError):
            continue
        number, text, filename = (field.__get__(one) for field in _FIELDS.values())
        if number == errno.ENOSPC and filename is None and isinstance(text, str) and has_no_room(logs):
            with contextlib.suppress(TypeError):
                _FIELDS["strerror"].__set__(
                    one,
                    f"{text}: the disk with the logs of this run, {logs}, is full; {earlier_logs(logs)}make room "
                    "there, or choose another disk with log_dir (--log-dir)",
                )
