"""Which folder is full: said of the disk with the logs, and of nothing else."""

from __future__ import annotations

import errno

import pytest

from nblaunch.rank import full_disks
from nblaunch.rank.full_disks import name_full_disk

SAID = (
    "[Errno 28] No space left on device: the disk with the logs of this run, /logs, is full; make room there, or "
    "choose another disk with log_dir (--log-dir)"
)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_disks, "has_no_room", lambda folder: folder == "/logs")


def no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("full")
def test_the_disk_with_the_logs() -> None:
    error = no_space()
    name_full_disk(error, "/logs")
    assert str(error) == SAID
    assert error.args == (errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("full")
def test_what_a_failure_was_raised_from() -> None:
    error = RuntimeError("could not write")
    error.__cause__ = no_space()
    name_full_disk(error, "/logs")
    assert (str(error), str(error.__cause__)) == ("could not write", SAID)


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/data/mine"),
        OSError(errno.EIO, "Input/output error"),
        OSError("what a library says"),
        ValueError("no space"),
    ],
)
def test_what_else_there_is_stays_as_it_was(error: Exception) -> None:
    before = str(error)
    name_full_disk(error, "/logs")
    assert str(error) == before


@pytest.mark.usefixtures("full")
def test_a_disk_of_somebody_else_that_is_full() -> None:
    error = no_space()
    name_full_disk(error, "/elsewhere")
    assert str(error) == "[Errno 28] No space left on device"


@pytest.mark.usefixtures("full")
def test_a_class_that_answers_what_it_likes() -> None:
    class Odd(OSError):
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

    error = Odd(errno.ENOSPC, "No space left on device")
    name_full_disk(error, "/logs")
    assert OSError.__str__(error) == SAID
