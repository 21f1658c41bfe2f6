"""Failures travel from a process to its parent through a file, and read well there."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nblaunch.processes.errors import ChildFailedError, FailureMessage, ProcessFailure

if TYPE_CHECKING:
    from pathlib import Path

ADVICE = "decorate its main function with nblaunch.processes.errors.record to get a traceback here"
TRAITS = {"category": "system_terminated_error", "retryability": "False"}


def error_file(path: Path, text: str = "ValueError: boom", timestamp: object = "100") -> Path:
    extra = {"py_callstack": f"Traceback\n  in main\n{text}\n", "timestamp": timestamp}
    path.write_text(json.dumps({"message": {"message": text, "extraInfo": extra}}))
    return path


def failure(path: Path | str = "", exitcode: int = 1, rank: int = 0) -> ProcessFailure:
    return ProcessFailure(local_rank=rank, pid=4000 + rank, exitcode=exitcode, error_file=str(path))


class TestFailureMessage:
    def test_it_is_a_text_that_has_parts(self) -> None:
        message = FailureMessage("ValueError: boom", {"message": "m", "extraInfo": {"py_callstack": "stack"}})
        parts: Any = message
        assert message == "ValueError: boom"
        assert parts["message"] == "m"
        assert parts["extraInfo"]["py_callstack"] == "stack"
        assert message.get("errorCode") is None
        assert message.get("errorCode", 7) == 7
        assert message[:5] == "Value"
        assert message[-1] == "m"
        with pytest.raises(KeyError):
            message["errorCode"]

    def test_a_bare_text_is_its_own_message(self) -> None:
        message: Any = FailureMessage("Signal 9")
        assert message["message"] == "Signal 9"
        assert message.get("extraInfo", {}) == {}

    def test_it_can_be_copied_and_sent(self) -> None:
        message = FailureMessage("text", {"message": "part"})
        copies: list[Any] = [pickle.loads(pickle.dumps(message)), copy.deepcopy(message)]
        for copied in copies:
            assert (copied, copied["message"], type(copied)) == ("text", "part", FailureMessage)
        assert json.dumps(message) == '"text"'


class TestProcessFailure:
    def test_the_error_file_tells(self, tmp_path: Path) -> None:
        path = error_file(tmp_path / "error.json")
        found = failure(path)
        assert (found.message, found.timestamp, found.error_file) == ("ValueError: boom", 100, str(path))
        assert found.error_file_data == json.loads(path.read_text())
        parts: Any = found.message
        assert parts["extraInfo"]["py_callstack"] == "Traceback\n  in main\nValueError: boom\n"

    @pytest.mark.parametrize(("rest", "timestamp"), [({"timestamp": "12"}, 12), ({"timestamp": 12}, 12), ({}, 0)])
    def test_a_message_that_is_a_text(self, rest: dict[str, object], timestamp: int, tmp_path: Path) -> None:
        path = tmp_path / "error.json"
        path.write_text(json.dumps({"message": "CUDA is gone", **rest}))
        found = failure(path)
        assert (found.message, found.timestamp) == ("CUDA is gone", timestamp)
        assert isinstance(found.message, FailureMessage)

    def test_without_error_file_the_exit_code_tells(self, tmp_path: Path) -> None:
        found = failure(tmp_path / "none.json", exitcode=3)
        assert found.message == f"exited with code 3 and left no error file; {ADVICE}"
        assert found.error_file == "<N/A>"
        assert found.error_file_data == {"message": "<NONE>", "errorTraits": TRAITS}
        assert found.signal_name() == "<N/A>"
        assert found.timestamp > 1_700_000_000

    def test_without_error_file_the_signal_tells(self) -> None:
        found = failure(os.devnull, exitcode=-signal.SIGSEGV)
        assert found.message == "Signal 11 (SIGSEGV) received by PID 4000"
        assert found.error_file_data == {"message": "<NONE>"}
        assert found.signal_name() == "SIGSEGV"

    def test_an_unknown_signal_has_no_name(self) -> None:
        found = failure(exitcode=-250)
        assert (found.signal_name(), found.message) == ("<N/A>", "Signal 250 (<N/A>) received by PID 4000")

    def test_failures_share_no_data(self) -> None:
        first, second = failure(exitcode=1), failure(exitcode=-9)
        assert "errorTraits" in first.error_file_data
        assert "errorTraits" not in second.error_file_data

    def test_an_empty_message_is_made_up(self, tmp_path: Path) -> None:
        path = tmp_path / "error.json"
        path.write_text('{"message": "", "timestamp": 5}')
        found = failure(path, exitcode=2)
        assert found.message == f"exited with code 2 and left an error file without a message; {ADVICE}"
        assert (found.timestamp, found.error_file_data["errorTraits"]) == (5, TRAITS)
        assert failure(path, exitcode=-9).message == "Signal 9 (SIGKILL) received by PID 4000"

    @pytest.mark.parametrize(
        ("contents", "reason"),
        [
            (
                '{"message": {"mess',
                "JSONDecodeError: Unterminated string starting at: line 1 column 14 (char 13)",
            ),
            ("", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
            ("[1]", "ValueError: it holds no JSON object"),
            ("{}", "ValueError: it has no field 'message' with a text, or with an object that has one"),
            (
                '{"message": {}}',
                "ValueError: it has no field 'message' with a text, or with an object that has one",
            ),
            ("[" * 100_000, r"RecursionError: .*"),
            (b"\xff", r"UnicodeDecodeError: .*"),
        ],
        ids=["torn", "empty", "list", "no message", "no text", "deep", "binary"],
    )
    def test_a_file_that_cannot_be_read_says_why_and_where(
        self, contents: str | bytes, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "error.json"
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        os.utime(path, (50, 50))
        found = failure(path, exitcode=3)
        pattern = reason if reason.endswith(".*") else re.escape(reason)
        expected = rf"exited with code 3; its error file cannot be read \({pattern}\): {re.escape(str(path))}"
        assert re.fullmatch(expected, found.message)
        assert (found.timestamp, found.error_file) == (50, str(path))
        assert [record.getMessage() for record in caplog.records] == [f"error file {path} cannot be read"]
        killed = failure(path, exitcode=-9).message
        assert killed.startswith("Signal 9 (SIGKILL) received by PID 4000; its error file cannot be read (")

    @pytest.mark.parametrize("timestamp", [None, "soon", float("inf"), {}])
    def test_a_file_without_a_time_counts_from_when_it_was_written(self, timestamp: object, tmp_path: Path) -> None:
        path = error_file(tmp_path / "error.json", timestamp=timestamp)
        os.utime(path, (50, 50))
        assert (failure(path).message, failure(path).timestamp) == ("ValueError: boom", 50)

    def test_a_file_without_extra_info_still_tells(self, tmp_path: Path) -> None:
        path = tmp_path / "error.json"
        path.write_text('{"message": {"message": "short"}}')
        assert failure(path).message == "short"

    def test_the_time_reads_as_local_time(self, tmp_path: Path) -> None:
        found = failure(error_file(tmp_path / "error.json", timestamp=1_700_000_000))
        assert re.fullmatch(r"2023-11-1[45]_\d\d:\d\d:20", found.timestamp_isoformat())
        found.timestamp = 10**20
        assert found.timestamp_isoformat() == "<N/A>"

    def test_a_derived_dataclass_can_add_fields(self) -> None:
        @dataclass
        class Richer(ProcessFailure):
            log_tail: str

            def __post_init__(self) -> None:
                super().__post_init__()
                self.message = f"{self.message} ({self.log_tail})"

        assert Richer(0, 1, -9, "", "tail").message == "Signal 9 (SIGKILL) received by PID 1 (tail)"


class TestChildFailedError:
    def test_the_report(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.getfqdn", lambda: "host")
        path = error_file(tmp_path / "error.json")
        error = ChildFailedError("train", {0: failure(exitcode=-9), 7: failure(path, rank=1)})
        killed, raised = error.failures.values()
        assert str(error).split("\n") == [
            "",
            "=" * 60,
            "train FAILED",
            "-" * 60,
            "Failures:",
            "[0]:",
            f"  time      : {killed.timestamp_isoformat()}",
            "  host      : host",
            "  rank      : 0 (local_rank: 0)",
            "  exitcode  : -9 (pid: 4000)  (SIGKILL)",
            "  error_file: <N/A>",
            "  traceback : Signal 9 (SIGKILL) received by PID 4000",
            "-" * 60,
            "Root Cause (first observed failure):",
            "[1]:",
            f"  time      : {raised.timestamp_isoformat()}",
            "  host      : host",
            "  rank      : 7 (local_rank: 1)",
            "  exitcode  : 1 (pid: 4001) ",
            f"  error_file: {path}",
            "  traceback : Traceback",
            "    in main",
            "  ValueError: boom",
            "  ",
            "=" * 60,
        ]

    def test_one_failure_has_no_others_and_short_rules(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.getfqdn", lambda: "host")
        lines = ChildFailedError("x", {0: failure(exitcode=-9)}).format_msg("#", "~").split("\n")
        width = len("  traceback : Signal 9 (SIGKILL) received by PID 4000")
        assert lines[:5] == ["", "#" * width, "x FAILED", "~" * width, "Failures:"]
        assert lines[5:8] == ["  <NO_OTHER_FAILURES>", "~" * width, "Root Cause (first observed failure):"]
        assert lines[-1] == "#" * width

    def test_the_first_failure_is_the_root_cause_and_ties_go_to_the_first_named(self, tmp_path: Path) -> None:
        times = {3: 20, 1: 10, 2: 10}
        failures = {
            rank: failure(error_file(tmp_path / f"{rank}.json", timestamp=time), rank=rank)
            for rank, time in times.items()
        }
        assert ChildFailedError("x", failures).get_first_failure() == (1, failures[1])

    def test_a_message_that_was_replaced_by_a_plain_text_is_shown(self) -> None:
        found = failure()
        found.message = "exited early"
        assert "traceback : exited early" in str(ChildFailedError("x", {0: found}))

    def test_it_needs_a_failure(self) -> None:
        with pytest.raises(AssertionError, match=r"^x: a ChildFailedError needs at least one failure"):
            ChildFailedError("x", {})

    def test_it_travels_between_processes(self, tmp_path: Path) -> None:
        error = ChildFailedError("x", {4: failure(error_file(tmp_path / "error.json"))})
        (tmp_path / "error.json").unlink()
        arrived = pickle.loads(pickle.dumps(error))
        assert (str(arrived), arrived.name, arrived.failures) == (str(error), "x", error.failures)
        assert arrived.failures[4].message["message"] == "ValueError: boom"


@pytest.mark.torch
class TestBesideTorch:
    @pytest.fixture
    def torch_errors(self) -> Any:
        return pytest.importorskip("torch.distributed.elastic.multiprocessing.errors")

    @pytest.mark.parametrize("package", ["nblaunch.processes", "torch.distributed.elastic.multiprocessing"])
    def test_either_reads_what_the_other_recorded(self, package: str, torch_errors: Any, tmp_path: Path) -> None:
        path = tmp_path / "error.json"
        script = f"""
            from {package}.errors import record

            @record
            def main():
                raise ValueError("boom")

            main()
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        env = os.environ | {"TORCHELASTIC_ERROR_FILE": str(path)}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 1
        ours = failure(path)
        theirs = torch_errors.ProcessFailure(0, 4000, 1, str(path))
        assert ours.error_file_data == theirs.error_file_data
        parts: Any = ours.message
        assert parts["message"] == theirs.message["message"] == ours.message == "ValueError: boom"
        assert parts["extraInfo"] == theirs.message["extraInfo"]
        assert 'raise ValueError("boom")' not in ours.message
        assert parts["extraInfo"]["py_callstack"].startswith("Traceback (most recent call last):\n")
        assert parts["extraInfo"]["py_callstack"].endswith("ValueError: boom\n")
        assert ours.timestamp == theirs.timestamp

    def test_the_report_is_laid_out_alike(self, torch_errors: Any, tmp_path: Path) -> None:
        paths = {
            1: (error_file(tmp_path / "1.json", timestamp="100"), 1),
            0: (error_file(tmp_path / "0.json", timestamp="200"), -9),
        }
        plain = tmp_path / "2.json"
        plain.write_text('{"message": "one line", "timestamp": "300"}')
        paths[2] = (plain, -250)
        ours = {rank: ProcessFailure(rank, 1, code, str(path)) for rank, (path, code) in paths.items()}
        theirs = {rank: torch_errors.ProcessFailure(rank, 1, code, str(path)) for rank, (path, code) in paths.items()}
        for ranks in ([1, 0, 2], [0, 1], [2]):
            report = ChildFailedError("train.py", {rank: ours[rank] for rank in ranks})
            expected = torch_errors.ChildFailedError("train.py", {rank: theirs[rank] for rank in ranks})
            assert str(report) == str(expected)
            assert report.format_msg("*", ".") == expected.format_msg("*", ".")


def test_logging_stays_quiet_for_a_readable_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        failure(error_file(tmp_path / "error.json"))
    assert caplog.records == []


contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "extraInfo", "timestamp", "py_callstack", "errorCode"]) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=400)
@given(
    st.one_of(
        st.binary(max_size=60),
        contents.map(lambda thing: json.dumps(thing).encode()),
        st.dictionaries(st.just("message"), contents, min_size=1).map(lambda thing: json.dumps(thing).encode()),
        st.builds(lambda thing, cut: json.dumps(thing).encode()[:cut], contents, st.integers(0, 40)),
        st.sampled_from([b"[" * 100_000, b"9" * 5000, b'{"message": ' + b"9" * 5000 + b"}", b"\xff\xfe{\x00}\x00"]),
    ),
    st.sampled_from([0, 1, -9, -250, 4000]),
)
def test_any_file_gives_a_message(tmp_path_factory: pytest.TempPathFactory, data: bytes, exitcode: int) -> None:
    path = tmp_path_factory.getbasetemp() / "error.json"
    path.write_bytes(data)
    found = failure(path, exitcode=exitcode)
    assert isinstance(found.message, str)
    assert found.message.strip() or data.strip()
    assert isinstance(found.timestamp, int)
    assert found.timestamp_isoformat()
    assert found.signal_name()
    # it can be shown and written, wherever that is
    report = str(ChildFailedError("x", {0: found}))
    assert report.encode()
    assert pickle.loads(pickle.dumps(found)) == found or "nan" in repr(found).lower()


def test_a_file_that_is_no_report_at_all(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a file of holes, larger than any memory
    message = failure(path, exitcode=3).message
    assert message.startswith(
        "exited with code 3; its error file cannot be read (ValueError: it is larger than 64 MiB)"
    )
