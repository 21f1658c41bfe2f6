"""A rank that writes where no room is left is told which folder is full: the system says no more than that one is."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

from nblaunch.logs.folders import earlier_logs, has_no_room
from nblaunch.payload import relatives

__all__ = ["name_full_disk"]

# of the class itself, because a class derived from it may answer what it likes
_FIELDS: dict[str, Any] = {name: vars(OSError)[name] for name in ("errno", "strerror", "filename")}


def name_full_disk(error: BaseException, logs: str) -> None:
    """Say in the text of an exception that the disk with the run's logs is full, if that is what it tells of.

    What `print` and C libraries write goes there, and such an error names no file. One that does is left as it is.

    Parameters
    ----------
    error : BaseException
        What the rank has failed of; what it was raised from is looked at too.
    logs : str
        Folder of the logs, the same for all ranks, so that equal failures read alike.
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
