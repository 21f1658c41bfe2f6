"""What Python, C and child processes write goes to the file inside the block, and nowhere else outside."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nblaunch.processes.redirects import get_libc, redirect, redirect_stderr, redirect_stdout

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


def run(script: str, *args: object) -> tuple[str, str]:
    """Run a script in a fresh interpreter, whose buffers are full ones as stdout is no terminal."""
    prelude = "import ctypes, io, os, sys\nfrom nblaunch.processes.redirects import *\n"
    command = [sys.executable, "-c", prelude + textwrap.dedent(script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def descriptors() -> dict[str, str]:
    """Return what each open descriptor leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed the directory
            found[name] = str(Path(f"/proc/self/fd/{name}").readlink())
    return found


class Closed(io.StringIO):
    def fileno(self) -> int:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("std", ["stdout", "stderr"])
def test_python_c_and_children_are_redirected_and_the_stream_is_restored(std: str, tmp_path: Path) -> None:
    script = """
        std, number = sys.argv[1], {"stdout": 1, "stderr": 2}[sys.argv[1]]
        stream = getattr(sys, std)
        libc = get_libc()
        c_stream = ctypes.c_void_p.in_dll(libc, std)
        def write(word):
            print("python", word, file=stream)
            libc.fputs(f"c {word}\\n".encode(), c_stream)
            stream.flush()
            os.system(f"echo child {word} >&{number}")
        write("before")
        with redirect(std, sys.argv[2]):
            write("inside")
        write("after")
    """
    out, err = run(script, std, tmp_path / "log")
    seen, unseen = (out, err) if std == "stdout" else (err, out)
    assert sorted(seen.splitlines()) == sorted(
        f"{who} {word}" for who in ("python", "c", "child") for word in ("before", "after")
    )
    assert unseen == ""
    assert sorted((tmp_path / "log").read_text().splitlines()) == [
        "c inside",
        "child inside",
        "python inside",
    ]


def test_nested_redirects_are_restored_one_by_one(tmp_path: Path) -> None:
    script = """
        print(0)
        with redirect_stdout(sys.argv[1]):
            print(1)
            with redirect_stdout(sys.argv[2]), redirect_stderr(sys.argv[3]):
                print(2)
                print("e", file=sys.stderr)
            print(3)
        print(4)
    """
    paths = [tmp_path / name for name in ("outer", "inner", "errors")]
    assert run(script, *paths) == ("0\n4\n", "")
    assert [path.read_text() for path in paths] == ["1\n3\n", "2\n", "e\n"]


def test_both_streams_in_one_file(tmp_path: Path) -> None:
    script = """
        with redirect_stdout(sys.argv[1]), redirect_stderr(sys.argv[1]):
            for word in "abc":
                print(word, flush=True)
                print(word.upper(), file=sys.stderr, flush=True)
    """
    run(script, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "a\nA\nb\nB\nc\nC\n"


def test_a_file_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old and long\n")
    with redirect_stdout(tmp_path / "log"):
        os.write(1, b"new\n")
    assert (tmp_path / "log").read_text() == "new\n"


def test_the_stream_is_restored_when_the_body_raises(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(RuntimeError, match="boom"), redirect_stderr(tmp_path / "log"):
        os.write(2, b"inside\n")
        raise RuntimeError("boom")
    assert descriptors() == before
    assert (tmp_path / "log").read_text() == "inside\n"


@pytest.mark.parametrize("function", [redirect_stdout, redirect_stderr])
def test_no_descriptor_is_leaked(function: Callable[[str], AbstractContextManager[None]], tmp_path: Path) -> None:
    before = descriptors()
    for _ in range(3):
        with function(str(tmp_path / "log")):
            pass
    assert descriptors() == before


def test_a_file_that_cannot_be_opened_changes_nothing(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError), redirect_stdout(tmp_path / "missing" / "log"):
        pass
    assert descriptors() == before


@pytest.mark.parametrize("std", ["stdin", "STDOUT", ""])
def test_an_unknown_stream_is_refused_with_the_names_of_the_known(std: str, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with pytest.raises(ValueError, match="standard stream") as caught, redirect(std, path):
        pass
    assert str(caught.value) == (
        f"there is no standard stream {std!r} to redirect to {path!r}: give one of 'stdout', 'stderr'"
    )
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("stream", [io.StringIO(), None, Closed()])
def test_a_stream_without_descriptor_leaves_descriptor_one(
    stream: io.TextIOBase | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(stream, Closed):
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    with redirect_stdout(tmp_path / "log"):
        os.write(1, b"from below\n")
    assert (tmp_path / "log").read_text() == "from below\n"


def test_a_stream_with_a_descriptor_of_its_own_is_redirected_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / "own", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        before = descriptors()
        print("before")
        with redirect_stdout(tmp_path / "log"):
            print("inside", flush=True)
            os.write(1, b"below\n")
        assert descriptors() == before
        assert not os.get_inheritable(stream.fileno())
        print("after")
    assert (tmp_path / "log").read_text() == "inside\nbelow\n"
    assert (tmp_path / "own").read_text() == "before\nafter\n"


def test_a_stream_exchanged_inside_the_block_is_flushed_into_the_file(tmp_path: Path) -> None:
    script = """
        with redirect_stdout(sys.argv[1]):
            sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False))
            print("inside")
        print("outside", flush=True)
    """
    assert run(script, tmp_path / "log") == ("outside\n", "")
    assert (tmp_path / "log").read_text() == "inside\n"


def test_the_stream_is_restored_even_if_flushing_fails() -> None:
    script = """
        try:
            with redirect_stdout("/dev/full"):
                print("lost")
        except OSError as error:
            print(error.strerror, end="", file=sys.stderr, flush=True)
        os.write(1, b"restored")
        os._exit(0)
    """
    assert run(script) == ("restored", "No space left on device")


def test_libc_is_loaded_once_and_is_the_running_one() -> None:
    assert get_libc() is get_libc()
    assert isinstance(get_libc(), ctypes.CDLL)
    assert get_libc().getpid() == os.getpid()
