"""Temporary folders, which are removed when they are not needed any more, if necessary by a later process.

::

    <temporary directory>/nblaunch_<random>/     home of one process that launches, as long as it has runs
        owner.lock                               locked as long as the process lives
        <random>/                                folder of one run

A process that is killed cannot remove its folders, but the operating system releases its lock. So the next process that
makes such a folder removes all homes of this user that are not locked. A lock works in all containers that share the
directory; the id of a process would not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from nblaunch.logs.kept import KeptLogs, is_kept, kept_in, measured, remove_excess
from nblaunch.refusals import FULL, explained
from nblaunch.wording import listed

__all__ = ["Folder", "earlier_logs", "has_no_room", "kept_logs", "make_folder", "refused", "remove_folders", "sweep"]

_PREFIX = "nblaunch_"
# Folders of runs in a ``log_dir``: see `nblaunch.launching.session`.
_RUN_IN_LOG_DIR = re.compile(r"run_[0-9a-f]{16}$")
# An error of a full disk names folders of at least so many bytes, and at most so many folders.
_MIN_NAMED_BYTES = 100_000
_MAX_NAMED = 3
# A home has a name with this prefix until it is locked, so that no other process removes it. One that still has such a
# name after so many seconds was left by a process that was killed.
_HALF_MADE = ".nblaunch_"
_HALF_MADE_SECONDS = 3600.0
_LOCK = "owner.lock"


class _Home:
    """The folder with the folders of this process, and its lock."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.folders: set[Folder] = set()
        made = tempfile.mkdtemp(prefix=_HALF_MADE, dir=place)
        lock = os.path.join(made, _LOCK)
        try:
            # O_CLOEXEC, so that programs do not inherit the lock; `_close_in_fork` closes it in forked processes
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # without locks in this file system, other processes must not take the home for abandoned
                Path(lock).unlink()
            self.path: str = os.path.join(place, _PREFIX + os.path.basename(made).removeprefix(_HALF_MADE))
            Path(made).rename(self.path)
        except BaseException:
            self.close()
            shutil.rmtree(made, ignore_errors=True)
            raise

    def close(self) -> None:
        """Close the lock file, which releases the lock unless a forked process has it open too."""
        os.close(self._lock)


class Folder:
    """A temporary folder that only this user can enter; `make_folder` makes one.

    Attributes
    ----------
    path : str
        Its path.
    owner : int
        Id of the process that has made it. No other one removes it.
    """

    def __init__(self, home: _Home) -> None:
        self.path: str = tempfile.mkdtemp(prefix="", dir=home.path)
        self.owner: int = os.getpid()
        self._home = home
        home.folders.add(self)

    def remove(self) -> None:
        """Remove the folder with its contents, and the home after its last folder; ignore errors."""
        if os.getpid() != self.owner:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        home = self._home
        with _guard:
            home.folders.discard(self)
            if home.folders or home not in _homes:
                return
            _homes.remove(home)
            _remove(home.path)
            home.close()


# guards the variables below; new folders are made in the last home
_guard = threading.RLock()
_homes: list[_Home] = []
_has_swept = False


def make_folder() -> Folder:
    """Make a folder in the temporary directory, to be removed by `Folder.remove` or, after this process, by another.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    global _has_swept
    place = "the temporary folder"
    try:
        place = tempfile.gettempdir()
        with _guard:
            # people and programs remove folders from temporary directories, maybe this one
            if not (_homes and _homes[-1].place == place and os.path.isdir(_homes[-1].path)):
                _homes.append(_Home(place))
            folder = Folder(_homes[-1])
    except OSError as error:
        raise refused(error, place) from None
    if not _has_swept:
        _has_swept = True
        # In a thread, because a disk may be slow. A daemon, because the next process removes what is left.
        with contextlib.suppress(RuntimeError):  # no more threads
            threading.Thread(target=sweep, args=(place,), name="nblaunch-logs", daemon=True).start()
    return folder


def remove_folders(but: Collection[str]) -> tuple[int, int]:
    """Remove the folders of this process but some; return how many were removed, and how many bytes they took."""
    with _guard:
        folders = [folder for home in _homes for folder in home.folders if folder.path not in but]
    filled = [folder for folder in folders if _holds_anything(folder.path)]
    size = sum(measured(folder.path).taken for folder in filled)
    for folder in filled:
        folder.remove()
    return len(filled), size


def _holds_anything(folder: str) -> bool:
    # an empty folder belongs to a run that is about to start
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(True for _ in entries)
    return False


def refused(error: OSError, folder: str) -> OSError:
    """Return an error for the user, who learns where the logs of a run could not be written, and what to do now.

    Parameters
    ----------
    error : OSError
        The error of the system.
    folder : str
        The folder in which it happened.
    """
    if error.errno in _IN_ANY_FOLDER:
        return explained(error)
    room = f"{earlier_logs(folder)}make room there, or " if error.errno in FULL else ""
    return OSError(
        error.errno or errno.EIO,
        f"{error.strerror or error}: the logs of a run were to go to {folder}; {room}name a folder that can be written "
        "to with log_dir (--log-dir)",
    )


# Errors that another folder would not avoid.
_IN_ANY_FOLDER = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def has_no_room(folder: str) -> bool:
    """Tell whether the disk of a folder is full for all users but root: no byte is free, or no file."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    # some file systems report no number of files
    return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_favail == 0)


def _close_in_fork() -> None:
    """Forget the folders of the parent in a forked process, which must not keep the parent's lock."""
    global _guard, _has_swept
    # the thread that may have held it is not in this process
    _guard = threading.RLock()
    _has_swept = False
    for home in _homes:
        home.close()
    _homes.clear()


os.register_at_fork(after_in_child=_close_in_fork)


def sweep(place: str) -> None:
    """Remove what killed processes of this user have left in a temporary directory; ignore errors."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith((_PREFIX, _HALF_MADE)):
                with contextlib.suppress(OSError):
                    _sweep_one(entry)
    remove_excess(_abandoned(place))


def kept_logs() -> list[KeptLogs]:
    """Return the logs of runs whose process was killed, the newest first."""
    return kept_in(_abandoned(tempfile.gettempdir()))


def _abandoned(place: str) -> Iterator[str]:
    """Yield the folders of runs whose process has ended, of this user."""
    for home in _below(Path(place), set(), lambda name: name.startswith(_PREFIX)):
        with contextlib.suppress(OSError):
            lock = os.open(os.path.join(home, _LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield from list(_below(Path(home), set(), lambda name: True))
            finally:
                os.close(lock)


def _sweep_one(entry: os.DirEntry[str]) -> None:
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    if entry.name.startswith(_HALF_MADE):
        if time.time() - found.st_mtime > _HALF_MADE_SECONDS:
            _remove(entry.path)
        return
    # raises without a lock file: another program uses the same prefix
    lock = os.open(os.path.join(entry.path, _LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folders = list(_below(Path(entry.path), set(), lambda name: True))
        kept = list(filter(is_kept, folders))
        if kept:
            for folder in set(folders) - set(kept):
                shutil.rmtree(folder, ignore_errors=True)
        else:
            _remove(entry.path)
    finally:
        os.close(lock)


def _remove(path: str) -> None:
    """Remove a home, its lock last, so that a later process finds what could not be removed now."""
    with contextlib.suppress(OSError):
        for name in set(os.listdir(path)) - {_LOCK}:
            inner = Path(path, name)
            shutil.rmtree(inner, ignore_errors=True)
            if os.path.lexists(inner):
                inner.unlink()  # a file; for a folder that could not be removed, this raises and the lock stays
        Path(path, _LOCK).unlink(missing_ok=True)
        Path(path).rmdir()


# ---- earlier logs on a full disk


def earlier_logs(folder: str) -> str:
    """Return a clause on large logs of earlier runs on the disk, and how to remove them; empty if there are none.

    Parameters
    ----------
    folder : str
        The temporary directory, a ``log_dir``, or the folder of a run in one of these.
    """
    temporary, kept = map(_large, _found(Path(folder)))
    if temporary:
        how = "%multiproc clear logs in their notebook removes them"
        return f"those of earlier runs take room there: {listed(temporary, _MAX_NAMED)} ({how}); "
    if kept:
        return f"those of earlier runs take room there: {listed(kept, _MAX_NAMED)} (kept until you remove them); "
    return ""


def _large(folders: Iterator[str]) -> dict[str, int]:
    sizes = {folder: measured(folder).taken for folder in folders}
    return {folder: size for folder, size in sizes.items() if size >= _MIN_NAMED_BYTES}


def _found(folder: Path) -> tuple[Iterator[str], Iterator[str]]:
    """Return the temporary folders of earlier runs near a folder, and those in the same ``log_dir``."""
    line = [folder, *folder.parents]
    home = next((one for one in line if _is_home(one)), None)
    if home is not None:
        return _of_processes(home.parent, set(line)), iter(())
    own = next((one for one in line if _RUN_IN_LOG_DIR.match(one.name)), None)
    place = folder if own is None else own.parent
    return _of_processes(place, set(line)), _below(
        place, set(line), lambda name: _RUN_IN_LOG_DIR.match(name) is not None
    )


def _of_processes(place: Path, but: set[Path]) -> Iterator[str]:
    for home in _below(place, set(), lambda name: name.startswith(_PREFIX)):
        if _is_home(Path(home)):
            yield from _below(Path(home), but, lambda name: True)


def _is_home(folder: Path) -> bool:
    # without the lock, another program uses the same prefix
    return folder.name.startswith(_PREFIX) and (folder / _LOCK).is_file()


def _below(place: Path, but: set[Path], wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yield the folders of this user in a folder that are wanted by their names, but for some; ignore errors."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                is_own = (
                    entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
                )
                if is_own and wanted(entry.name) and Path(entry.path) not in but:
                    yield entry.path
