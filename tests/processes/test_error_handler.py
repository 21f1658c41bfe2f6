"""What a failing process writes down, and what happens where it cannot."""

from __future__ import annotations

import errno
import faulthandler
import json
import logging
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nblaunch.processes.errors import (
    ChildFailedError,
    ErrorHandler,
    ProcessFailure,
    get_error_handler,
    record,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keep pytest's own fault handler, and tell with what one would have been enabled."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(faulthandler, "enable", lambda **options: calls.append(options))
    return calls


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    return tmp_path / "error.json"


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [log.getMessage() for log in caplog.records]


class TestRecording:
    def test_the_layout_of_the_file(self, path: Path) -> None:
        ErrorHandler().record_exception(raised(ValueError("boom")))
        data = json.loads(path.read_text())
        extra = data["message"].pop("extraInfo")
        assert data == {"message": {"message": "ValueError: boom"}}
        assert sorted(extra) == ["py_callstack", "timestamp"]
        assert re.fullmatch(r"\d{10,}", extra["timestamp"])
        assert extra["py_callstack"].startswith("Traceback (most recent call last):\n")
        assert "raise error" in extra["py_callstack"]
        assert extra["py_callstack"].endswith("\nValueError: boom\n")

    @pytest.mark.parametrize(("folder", "mode"), [(0o755, 0o640), (0o700, 0o600)])
    def test_the_file_is_all_that_is_left(self, path: Path, folder: int, mode: int) -> None:
        path.parent.chmod(folder)
        path.write_text("older")
        old_mask = os.umask(0o027)
        try:
            ErrorHandler().record_exception(raised(ValueError("boom")))
        finally:
            os.umask(old_mask)
        assert list(path.parent.iterdir()) == [path]
        assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_a_link_stays_a_link(self, path: Path) -> None:
        target = path.with_name("target.json")
        path.symlink_to(target)
        ErrorHandler().record_exception(raised(ValueError("boom")))
        assert path.is_symlink()
        assert "boom" in target.read_text()

    @pytest.mark.parametrize("value", [None, ""])
    def test_without_a_file_it_is_logged(
        self, value: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        if value is None:
            monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
        else:
            monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", value)
        with caplog.at_level(logging.INFO):
            ErrorHandler().record_exception(raised(ValueError("boom")))
        (message,) = messages(caplog)
        assert message.startswith("TORCHELASTIC_ERROR_FILE is not set; it would have got:\n{")
        assert '"message": "ValueError: boom"' in message

    def test_an_exception_that_has_no_text(self, path: Path) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no comment")

        ErrorHandler().record_exception(raised(Mute()))
        message = json.loads(path.read_text())["message"]
        assert message["message"] == "Mute: <str() of this exception failed>"

    def test_a_text_that_is_not_unicode(self, path: Path) -> None:
        ErrorHandler().record_exception(raised(ValueError("file \udcff")))
        assert json.loads(path.read_text())["message"]["message"] == "ValueError: file \udcff"

    def test_the_null_device_is_not_replaced_by_a_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", os.devnull)
        expected = "the error file /dev/null could not be written: OSError: it is not a regular file"
        with pytest.warns(UserWarning, match=f"^{expected}$"):
            ErrorHandler().record_exception(raised(ValueError("boom")))
        assert Path(os.devnull).is_char_device()

    def test_an_unwritable_place_is_a_warning(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gone = path.parent / "gone" / "error.json"
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(gone))
        with pytest.warns(UserWarning, match=f"^the error file {gone} could not be written: FileNotFoundError"):
            ErrorHandler().record_exception(raised(ValueError("boom")))

    def test_warnings_as_errors_do_not_hide_the_exception(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path.parent))
        with warnings.catch_warnings(), pytest.raises(ValueError, match="boom"):
            warnings.simplefilter("error")
            record(fail(ValueError("boom")))()
        expected = f"the error file {path.parent} could not be written: OSError: it is not a regular file"
        assert messages(caplog) == [expected]

    def test_a_file_that_cannot_be_replaced_is_overwritten(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def replace(source: str, target: str) -> None:
            raise OSError(errno.EBUSY, "a mount point")

        path.write_text("older, and longer than what comes" * 100)
        monkeypatch.setattr(os, "replace", replace)
        ErrorHandler().record_exception(raised(ValueError("boom")))
        assert json.loads(path.read_text())["message"]["message"] == "ValueError: boom"
        assert list(path.parent.iterdir()) == [path]

    def test_a_full_disk_leaves_the_older_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def replace(source: str, target: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        path.write_text("older")
        monkeypatch.setattr(os, "replace", replace)
        with pytest.warns(UserWarning, match="No space left on device"):
            ErrorHandler().record_exception(raised(ValueError("boom")))
        assert path.read_text() == "older"
        assert list(path.parent.iterdir()) == [path]


class TestInitialize:
    def test_a_crash_prints_the_stacks(self) -> None:
        script = """
            import os, signal
            from nblaunch.processes.errors import ErrorHandler
            ErrorHandler().initialize()
            os.kill(os.getpid(), signal.SIGSEGV)
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == -signal.SIGSEGV
        assert done.stderr.startswith("Fatal Python error: Segmentation fault\n")

    @pytest.mark.parametrize("stream", ["None", "io.StringIO()", "object()"])
    def test_without_a_real_stderr_it_is_descriptor_two(self, stream: str) -> None:
        script = f"""
            import io, os, signal, sys
            from nblaunch.processes.errors import ErrorHandler
            sys.stderr = {stream}
            ErrorHandler().initialize()
            os.kill(os.getpid(), signal.SIGSEGV)
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stderr.startswith("Fatal Python error: Segmentation fault\n")

    def test_it_covers_every_thread(self, enabled: list[dict[str, Any]]) -> None:
        ErrorHandler().initialize()
        assert enabled == [{"all_threads": True}]

    def test_a_refusal_is_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def enable(**options: object) -> None:
            raise RuntimeError("unable to get thread state")

        monkeypatch.setattr(faulthandler, "enable", enable)
        expected = "a crash of this process will not print a stack, because RuntimeError: unable to get"
        with pytest.warns(UserWarning, match=expected):
            ErrorHandler().initialize()


class TestPassingOn:
    @pytest.fixture
    def child(self, tmp_path: Path) -> Path:
        child = tmp_path / "child.json"
        child.write_text('{"message": {"message": "child", "extraInfo": {"timestamp": "1"}}}')
        return child

    def test_the_exit_code_is_added(self, path: Path, child: Path) -> None:
        ErrorHandler().dump_error_file(str(child), -11)
        assert json.loads(path.read_text()) == {
            "message": {"message": "child", "extraInfo": {"timestamp": "1"}, "errorCode": -11}
        }

    def test_no_exit_code_is_not(self, path: Path, child: Path) -> None:
        ErrorHandler().dump_error_file(str(child))
        assert json.loads(path.read_text()) == json.loads(child.read_text())

    @pytest.mark.parametrize(("contents", "kind"), [({"message": "text"}, "a text"), ({"other": 1}, "missing")])
    def test_an_exit_code_needs_a_place(
        self,
        contents: dict[str, object],
        kind: str,
        path: Path,
        child: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        child.write_text(json.dumps(contents))
        ErrorHandler().dump_error_file(str(child), 3)
        assert json.loads(path.read_text()) == contents
        assert messages(caplog) == [
            f"error code 3 is left out, because the field 'message' of {child} is {kind} and not an object"
        ]

    def test_an_older_file_is_logged_and_overwritten(
        self, path: Path, child: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.write_text("older")
        ErrorHandler().dump_error_file(str(child))
        assert messages(caplog) == [f"{path} is overwritten; it held:\nolder"]
        assert path.read_text() == json.dumps(json.loads(child.read_text()))

    def test_an_older_file_that_cannot_be_removed_is_overwritten(
        self, path: Path, child: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def remove(name: str) -> None:
            raise OSError(errno.EBUSY, "a mount point")

        path.write_text("older")
        monkeypatch.setattr(os, "remove", remove)
        ErrorHandler().dump_error_file(str(child))
        assert messages(caplog)[1:] == [f"{path} could not be removed: OSError: [Errno 16] a mount point"]
        assert path.read_text() == json.dumps(json.loads(child.read_text()))

    def test_without_a_file_of_its_own_it_is_logged(
        self, child: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
        ErrorHandler().dump_error_file(str(child))
        because = "because this process has none itself"
        assert messages(caplog) == [
            f"error file {child} is not passed on, {because}: TORCHELASTIC_ERROR_FILE is not set"
        ]

    @pytest.mark.parametrize(
        ("contents", "why"), [("{", "JSONDecodeError"), ("[]", "TypeError"), (None, "FileNotFound")]
    )
    def test_a_child_file_that_cannot_be_read_is_a_warning(
        self, contents: str | None, why: str, path: Path, child: Path
    ) -> None:
        child.unlink()
        if contents is not None:
            child.write_text(contents)
        with pytest.warns(UserWarning, match=f"^{child} is not passed on as this process's error file: {why}"):
            ErrorHandler().dump_error_file(str(child), 1)
        assert not path.exists()


class Notes(ErrorHandler):
    """A handler that only remembers."""

    def __init__(self) -> None:
        self.notes: list[object] = []

    def initialize(self) -> None:
        self.notes.append("initialized")

    def record_exception(self, e: BaseException) -> None:
        self.notes.append(e)

    def dump_error_file(self, rootcause_error_file: str, error_code: int = 0) -> None:
        self.notes.append((rootcause_error_file, error_code))


def fail(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


class TestRecord:
    def test_a_function_that_succeeds_is_the_same(self) -> None:
        def add(a: int, *, b: int) -> int:
            """Add."""
            return a + b

        notes = Notes()
        recorded = record(add, notes)
        assert (recorded.__name__, recorded.__doc__) == ("add", "Add.")
        assert recorded(1, b=2) == 3
        assert notes.notes == ["initialized"]

    @pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), GeneratorExit(), BaseException("base")])
    def test_every_exception_is_recorded_and_raised_again(self, error: BaseException) -> None:
        notes = Notes()
        with pytest.raises(type(error)) as caught:
            record(fail(error), notes)()
        assert caught.value is error
        assert notes.notes == ["initialized", error]

    @pytest.mark.parametrize("code", [0, None])
    def test_an_exit_that_means_success_returns(self, code: int | None) -> None:
        notes = Notes()
        assert record(fail(SystemExit(code)), notes)() is None
        assert notes.notes == ["initialized"]

    @pytest.mark.parametrize("code", [1, "usage: train.py"])
    def test_another_exit_passes_unrecorded(self, code: object) -> None:
        notes = Notes()
        with pytest.raises(SystemExit) as caught:
            record(fail(SystemExit(code)), notes)()
        assert caught.value.code == code
        assert notes.notes == ["initialized"]

    def test_the_root_cause_of_failed_children_is_passed_on(self, tmp_path: Path) -> None:
        child = tmp_path / "child.json"
        child.write_text('{"message": "child", "timestamp": 1}')
        failures = {0: ProcessFailure(0, 10, 1, ""), 1: ProcessFailure(1, 11, -6, str(child))}
        notes = Notes()
        with pytest.raises(ChildFailedError):
            record(fail(ChildFailedError("train", failures)), notes)()
        assert notes.notes == ["initialized", (str(child), -6)]

    def test_a_root_cause_without_error_file_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        notes = Notes()
        error = ChildFailedError("train", {5: ProcessFailure(5, 10, -9, "")})
        with caplog.at_level(logging.INFO), pytest.raises(ChildFailedError):
            record(fail(error), notes)()
        assert notes.notes == ["initialized"]
        assert messages(caplog) == [
            "rank 5 left no error file that could be passed on: Signal 9 (SIGKILL) received by PID 10"
        ]

    def test_by_default_the_file_of_the_environment_is_written(self, path: Path) -> None:
        with pytest.raises(ValueError, match="boom"):
            record(fail(ValueError("boom")))()
        assert ProcessFailure(0, 1, 1, str(path)).message == "ValueError: boom"
        assert type(get_error_handler()) is ErrorHandler

    def test_a_parent_and_its_child_leave_the_same_root_cause(self, path: Path, tmp_path: Path) -> None:
        script = """
            from nblaunch.processes.errors import record

            @record
            def main():
                raise ValueError("boom")

            main()
        """
        child = tmp_path / "child.json"

        @record
        def nanny() -> None:
            command = [sys.executable, "-c", textwrap.dedent(script)]
            env = os.environ | {"TORCHELASTIC_ERROR_FILE": str(child)}
            done = subprocess.run(command, env=env, capture_output=True)
            raise ChildFailedError("child", {0: ProcessFailure(0, 1, done.returncode, str(child))})

        with pytest.raises(ChildFailedError, match="ValueError: boom"):
            nanny()
        message: Any = ProcessFailure(0, 1, 1, str(path)).message
        assert (message, message["errorCode"]) == ("ValueError: boom", 1)
