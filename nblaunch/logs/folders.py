"""Temporary folders that go when they are not needed any more, or else when somebody starts who sees that.

::

    <temporary directory>/nblaunch_<random>/     one for each process that launches, as long as it has runs
        owner.lock                               locked as long as the process lives
        <random>/                                one for each run

A process that is killed cannot tidy up. But the kernel takes its lock away, so whoever makes such a folder next finds
those of this user that nobody holds, and removes them. A lock means the same in every container that sees the folder,
which the number of a process does not.
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

from nblaunch.logs.kept import KeptLogs, is_kept, kept_in, measured, remove_beyond
from nblaunch.refusals import FULL, explained
from nblaunch.wording import listed

__all__ = ["Folder", "earlier_logs", "has_no_room", "kept_logs", "make_folder", "refused", "remove_folders", "sweep"]

_PREFIX = "nblaunch_"
# What a folder that somebody has named for logs holds for each run: see `nblaunch.processes.elastic.logs_specs`.
_KEPT = re.compile(r"run_[0-9a-f]{8}_")
# Bytes of logs; to remove less than that helps nobody. How many folders are named.
_WORTH_REMOVING = 100_000
_NAMED = 3
# Under such a name it is made, so that nobody finds it before it is locked, and for so many seconds at most.
_HALF_MADE = ".nblaunch_"
_HALF_MADE_FOR = 3600.0
_LOCK = "owner.lock"


class _Home:
    """What holds the folders of this process."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.folders: set[Folder] = set()
        made = tempfile.mkdtemp(prefix=_HALF_MADE, dir=place)
        lock = os.path.join(made, _LOCK)
        try:
            # no program that this process starts gets it; `_let_go_of_all` is for those that are forked
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # a file system without locks: nobody could tell later that this is needed, so nobody shall ask
                Path(lock).unlink()
            self.path: str = os.path.join(place, _PREFIX + os.path.basename(made).removeprefix(_HALF_MADE))
            Path(made).rename(self.path)
        except BaseException:
            self.let_go()
            shutil.rmtree(made, ignore_errors=True)
            raise

    def let_go(self) -> None:
        """Close the lock; it goes when nobody has it open."""
        os.close(self._lock)


class Folder:
    """A folder that nobody but this user can enter; see `make_folder`.

    Attributes
    ----------
    path : str
        Where it is.
    owner : int
        The process that has made it, and that alone removes it.
    """

    def __init__(self, home: _Home) -> None:
        self.path: str = tempfile.mkdtemp(prefix="", dir=home.path)
        self.owner: int = os.getpid()
        self._home = home
        home.folders.add(self)

    def remove(self) -> None:
        """Remove it with all that is in it, and with the last one of a process what holds them; ignore errors."""
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
            home.let_go()


# guards those below; the last home is where folders are made
_guard = threading.RLock()
_homes: list[_Home] = []
_has_swept = False


def make_folder() -> Folder:
    """Return a fresh folder in the temporary directory, which goes with `Folder.remove` or when this process is gone.

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
            # it may be gone: people and programs tidy up in temporary directories
            if not (_homes and _homes[-1].place == place and os.path.isdir(_homes[-1].path)):
                _homes.append(_Home(place))
            folder = Folder(_homes[-1])
    except OSError as error:
        raise refused(error, place) from None
    if not _has_swept:
        _has_swept = True
        # In a thread, because a disk may take long. A daemon: what it does not come to is for the next one.
        with contextlib.suppress(RuntimeError):  # no more threads
            threading.Thread(target=sweep, args=(place,), name="nblaunch-logs", daemon=True).start()
    return folder


def remove_folders(but: Collection[str]) -> tuple[int, int]:
    """Remove the folders of this process except some; return how many held anything, and how many bytes they took."""
    with _guard:
        folders = [folder for home in _homes for folder in home.folders if folder.path not in but]
    filled = [folder for folder in folders if _holds_anything(folder.path)]
    size = sum(measured(folder.path).taken for folder in filled)
    for folder in filled:
        folder.remove()
    return len(filled), size


def _holds_anything(folder: str) -> bool:
    # in an empty one a run is about to begin
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(True for _ in entries)
    return False


def refused(error: OSError, folder: str) -> OSError:
    """Return an error of the same kind that says in which folder a run was to have its logs, and what to do now.

    Parameters
    ----------
    error : OSError
        What the system has said.
    folder : str
        Where it said so.
    """
    if error.errno in _EVERYWHERE:
        return explained(error)
    room = f"{earlier_logs(folder)}make room there, or " if error.errno in FULL else ""
    return OSError(
        error.errno or errno.EIO,
        f"{error.strerror or error}: the logs of a run were to go to {folder}; {room}name a folder that can be written "
        "to with log_dir (--log-dir)",
    )


_EVERYWHERE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def has_no_room(folder: str) -> bool:
    """Tell whether nobody but root can write another byte, or make another file, on the disk of a folder."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    # some file systems count no files
    return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_favail == 0)


def _let_go_of_all() -> None:
    """Forget, in a process that was forked, what belongs to the other one: it must not seem to be alive for longer."""
    global _guard, _has_swept
    # whoever held it is not in this process
    _guard = threading.RLock()
    _has_swept = False
    for home in _homes:
        home.let_go()
    _homes.clear()


os.register_at_fork(after_in_child=_let_go_of_all)


def sweep(place: str) -> None:
    """Remove what processes of this user have left behind in a temporary directory; ignore errors."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith((_PREFIX, _HALF_MADE)):
                with contextlib.suppress(OSError):
                    _sweep_one(entry)
    remove_beyond(_abandoned(place))


def kept_logs() -> list[KeptLogs]:
    """Return the logs of runs whose process was killed, the newest first."""
    return kept_in(_abandoned(tempfile.gettempdir()))


def _abandoned(place: str) -> Iterator[str]:
    """Yield the folders of processes of this user that are gone."""
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
        if time.time() - found.st_mtime > _HALF_MADE_FOR:
            _remove(entry.path)
        return
    # one without this file is somebody else's who uses the same name
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
    """Remove a folder, its lock last: what cannot be removed now can be found again."""
    with contextlib.suppress(OSError):
        for name in set(os.listdir(path)) - {_LOCK}:
            inner = Path(path, name)
            shutil.rmtree(inner, ignore_errors=True)
            if os.path.lexists(inner):
                inner.unlink()  # no folder; or one that stays, which is an error
        Path(path, _LOCK).unlink(missing_ok=True)
        Path(path).rmdir()


# ---- what takes room on a disk that is full


def earlier_logs(folder: str) -> str:
    """Say which logs of earlier runs take room beside those in a folder, and how they go; empty if there are none.

    Parameters
    ----------
    folder : str
        The temporary directory, or one that was named for logs, or one of a run in either.
    """
    temporary, kept = map(_worth_removing, _found(Path(folder)))
    if temporary:
        how = "%multiproc clear logs in their notebook removes them"
        return f"those of earlier runs take room there: {listed(temporary, _NAMED)} ({how}); "
    if kept:
        return f"those of earlier runs take room there: {listed(kept, _NAMED)} (kept until you remove them); "
    return ""


def _worth_removing(folders: Iterator[str]) -> dict[str, int]:
    sizes = {folder: measured(folder).taken for folder in folders}
    return {folder: size for folder, size in sizes.items() if size >= _WORTH_REMOVING}


def _found(folder: Path) -> tuple[Iterator[str], Iterator[str]]:
    """Return the folders of earlier runs that go by themselves, and those that are kept."""
    line = [folder, *folder.parents]
    home = next((one for one in line if _is_home(one)), None)
    if home is not None:
        return _of_processes(home.parent, set(line)), iter(())
    own = next((one for one in line if _KEPT.match(one.name)), None)
    place = folder if own is None else own.parent
    return _of_processes(place, set(line)), _below(place, set(line), lambda name: _KEPT.match(name) is not None)


def _of_processes(place: Path, but: set[Path]) -> Iterator[str]:
    for home in _below(place, set(), lambda name: name.startswith(_PREFIX)):
        if _is_home(Path(home)):
            yield from _below(Path(home), but, lambda name: True)


def _is_home(folder: Path) -> bool:
    # others may use such a name too
    return folder.name.startswith(_PREFIX) and (folder / _LOCK).is_file()


def _below(place: Path, but: set[Path], wanted: Callable[[str], bool]) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                is_own = (
                    entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
                )
                if is_own and wanted(entry.name) and Path(entry.path) not in but:
                    yield entry.path
