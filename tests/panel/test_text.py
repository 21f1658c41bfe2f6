"""The plain panel: prefixed lines, bounded, from the log files of the ranks."""

from __future__ import annotations

import contextlib
import contextvars
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from nblaunch.events import (
    Answered,
    Asked,
    Captured,
    Ended,
    Event,
    Exited,
    GettingReady,
    Launched,
    QuestionKind,
    QuestionWithdrawn,
    Raised,
    Restarting,
    Started,
    Straggling,
)
from nblaunch.logs.reader import FindLogs
from nblaunch.panel import text as text_module
from nblaunch.panel.text import TextPanel
from nblaunch.processes._linux import punch_hole
from tests.logs.readers import logs_in


class Screen(io.StringIO):
    """A stream that tells when something was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def write(self, text: str) -> int:
        with self.changed:
            count = super().write(text)
            self.changed.notify_all()
        return count

    def wait_for(self, text: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.getvalue(), 30), self.getvalue()


@contextmanager
def screens() -> Iterator[tuple[Screen, Screen]]:
    """Replace the standard streams, and close a panel's thread before they come back."""
    out, err = Screen(), Screen()
    with redirect_stdout(out), redirect_stderr(err):
        yield out, err


def launched(place: Path, nprocs: int, attempt: int = 0) -> Launched:
    for rank in range(nprocs):
        (place / f"{rank}.out").touch()
        (place / f"{rank}.err").touch()
    return Launched(nprocs, 0.0, attempt)


def logs(place: Path) -> FindLogs:
    """Return who reads the logs in a folder, whichever attempt is asked for."""
    return lambda attempt: logs_in(place, 16)


def logs_of_attempts(place: Path) -> FindLogs:
    return lambda attempt: logs_in(place / str(attempt), 3)


def add(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def show(place: Path, nprocs: int, **logs: bytes) -> tuple[str, str]:
    """Let a panel show logs that are complete before it looks at them; return what it printed."""
    event = launched(place, nprocs)
    for name, data in logs.items():
        stream, rank = name.split("_")
        (place / f"{rank}.{stream}").write_bytes(data)
    with screens() as (out, err):
        play(event, place)
    return out.getvalue(), err.getvalue()


def play(event: Launched, place: Path) -> None:
    panel = TextPanel(logs(place))
    panel.note(event)
    panel.follow()
    panel.note(Ended(1.0))
    panel.close()


def test_lines_are_shown_as_they_are_written(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    with screens() as (out, err), contextlib.closing(panel):
        panel.note(launched(tmp_path, 2))
        panel.note(Started(0, 1, 0.0))
        panel.follow()
        add(tmp_path / "0.out", b"first\nsec")
        out.wait_for("[0] first\n")
        add(tmp_path / "1.err", b"trouble\n")
        err.wait_for("[1] trouble\n")
        assert "sec" not in out.getvalue()
        add(tmp_path / "0.out", b"ond\nend")
        panel.note(Ended(1.0))
    assert out.getvalue() == "[0] first\n[0] second\n[0] end\n"
    assert err.getvalue() == "[1] trouble\n"


def test_a_run_that_ended_at_once_is_shown_when_the_panel_is_closed(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    with screens() as (out, _):
        panel.note(launched(tmp_path, 2))
        panel.note(Started(0, 1, 0.0))
        add(tmp_path / "0.out", b"first\n")
        panel.note(Ended(0.01))
        panel.close()
    assert out.getvalue() == "[0] first\n"


def test_what_ranks_wrote_when_all_is_over_stands_rank_by_rank(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    with screens() as (out, _):
        panel.note(launched(tmp_path, 8))
        for rank in range(8):
            # much more than is printed of a rank at once while the run goes on
            add(tmp_path / f"{rank}.out", b"a line of a long table\n" * 1500)
        panel.note(Ended(0.01))
        panel.close()
    assert out.getvalue() == "".join(f"[{rank}] a line of a long table\n" * 1500 for rank in range(8))


def test_prefixes_have_one_width(tmp_path: Path) -> None:
    assert show(tmp_path, 11, out_3=b"x\n", out_10=b"y\n") == ("[ 3] x\n[10] y\n", "")


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    out, _ = show(tmp_path, 1, out_0="ü\n".encode() + b"\xff\n\n")
    assert out == "[0] ü\n[0] \N{REPLACEMENT CHARACTER}\n[0] \n"


def test_much_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    data = b"".join(b"line %07d\n" % number for number in range(300_000))
    out, err = show(tmp_path, 2, out_0=data, err_1=data, out_1=b"little\n")
    for text, rank, path in ((out, 0, "0.out"), (err, 1, "1.err")):
        assert 100_000 < len(text) < 1_000_000
        assert f"[{rank}] line 0000000\n" in text
        assert f" MB more, all of it in {tmp_path / path}, ending with\n" in text
        assert text.endswith("line 0299998\n" + f"[{rank}] line 0299999\n")
    assert "[1] little\n" in out


def test_an_end_that_begins_within_a_line_has_a_mark(tmp_path: Path) -> None:
    lines = b"".join(b"%06d " % number + b"x" * 992 + b"\n" for number in range(2000))
    out, _ = show(tmp_path, 1, out_0=lines)
    shown = out.partition("ending with\n")[2].splitlines()
    assert shown == [f"[0] {line}" for line in lines.decode().splitlines()[-4:]]
    (tmp_path / "0.out").unlink()
    out, _ = show(tmp_path, 1, out_0=lines + b"y\n")
    shown = out.partition("ending with\n")[2].splitlines()
    assert shown[0] == f"[0] …{lines.decode().splitlines()[-4][2:]}"
    assert shown[-1] == "[0] y"


def test_what_was_released_before_it_could_be_shown_is_told(tmp_path: Path) -> None:
    event = launched(tmp_path, 1)
    add(tmp_path / "0.out", b"0123456789abcde\n" * 100_000)
    with (tmp_path / "0.out").open("r+b") as file:
        punch_hole(file.fileno(), 0, 12_288)
    with screens() as (out, _):
        play(event, tmp_path)
    lines = out.getvalue().splitlines()
    assert lines[:2] == [
        "[0] [… 12 kB of older output released: the log is longer than --max-log …]",
        "[0] 0123456789abcde",
    ]


def test_what_was_released_of_what_is_not_shown_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "_MAX_BYTES", 0)
    monkeypatch.setattr(text_module, "_MIN_BYTES_PER_STREAM", 0)
    event = launched(tmp_path, 1)
    add(tmp_path / "0.out", b"0123456789abcde\n" * 100_000)
    with (tmp_path / "0.out").open("r+b") as file:
        punch_hole(file.fileno(), 0, 1_597_440)
    with screens() as (out, _):
        play(event, tmp_path)
    notice, *lines = out.getvalue().splitlines()
    assert notice == f"[0] … 1.6 MB more, the last 2.6 kB of it in {tmp_path}/0.out, ending with"
    assert lines == ["[0] 0123456789abcde"] * 10


def test_one_endless_line_is_bounded_too(tmp_path: Path) -> None:
    out, _ = show(tmp_path, 1, out_0=b"x" * 5_000_000)
    assert len(out) < 2_000_000
    assert f"more, all of it in {tmp_path}/0.out, ending with\n" in out


def test_of_a_progress_bar_the_last_state_is_shown(tmp_path: Path) -> None:
    bar = b"".join(b"\rstep %d" % number for number in range(100))
    out, err = show(tmp_path, 1, err_0=bar + b"\ndone", out_0=b"10%\r20%")
    assert out == "[0] 20%\n"
    assert err == "[0] step 99\n[0] done\n"


def test_nothing_is_shown_of_silent_ranks(tmp_path: Path) -> None:
    assert show(tmp_path, 3) == ("", "")


def test_logs_that_never_came_to_be(tmp_path: Path) -> None:
    with screens() as (out, err):
        play(Launched(1, 0.0), tmp_path)
    assert (out.getvalue(), err.getvalue()) == ("", "")


def test_closing_without_a_launch_and_twice(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    panel.note(Ended(1.0))
    panel.close()
    panel.close()


def test_a_closed_stream_harms_nobody(tmp_path: Path) -> None:
    event = launched(tmp_path, 1)
    add(tmp_path / "0.out", b"x\n")
    with screens() as (out, _):
        out.close()
        play(event, tmp_path)


def test_it_prints_in_the_context_of_the_launch(tmp_path: Path) -> None:
    cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell", default="none")
    seen: list[Any] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            seen.append((cell.get(), threading.current_thread() is threading.main_thread()))
            return len(text)

    event = launched(tmp_path, 1)
    add(tmp_path / "0.out", b"x\n")
    token = cell.set("this one")
    try:
        with redirect_stdout(Stream()):
            play(event, tmp_path)
    finally:
        cell.reset(token)
    assert set(seen) == {("this one", False)}


def attempts(place: Path) -> list[Event]:
    """Return what happens when the first of two attempts fails, with logs of their own that are complete."""
    starts = []
    for number in range(2):
        folder = place / str(number)
        folder.mkdir()
        starts.append(launched(folder, 3, number))
        (folder / "1.out").write_bytes(b"attempt %d\nhalf a line" % number)
    failures = [Raised(1, "ValueError: bad", "", 1.0, 1.0), Raised(2, "KeyError: 'x'", "", 1.1, 1.1)]
    return [starts[0], *failures, Restarting(1, 3, 2.0), starts[1], Ended(3.0)]


def test_a_restart_is_told_between_the_lines_of_the_two_attempts(tmp_path: Path) -> None:
    panel = TextPanel(logs_of_attempts(tmp_path))
    both = Screen()
    with redirect_stdout(both), redirect_stderr(both):
        for event in attempts(tmp_path):
            panel.note(event)
        panel.close()
    assert both.getvalue() == (
        "[1] attempt 0\n[1] half a line\n"
        "rank 1 failed first (ValueError: bad), and rank 2 too; all ranks start again: restart 1 of 3\n"
        "[1] attempt 1\n[1] half a line\n"
    )


def test_a_restart_is_told_when_it_happens_and_the_old_logs_are_let_go(tmp_path: Path) -> None:
    panel = TextPanel(logs_of_attempts(tmp_path))
    first, *failures, restart, second, end = attempts(tmp_path)
    with screens() as (out, err), contextlib.closing(panel):
        panel.note(first)
        panel.follow()
        out.wait_for("attempt 0\n")
        for event in (*failures, restart, second):
            panel.note(event)
        err.wait_for("restart 1 of 3\n")
        out.wait_for("attempt 1\n")
        assert len(panel._sources) == 6
        panel.note(end)


def test_what_ranks_wait_for_is_told_before_they_start(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    first = launched(tmp_path, 1)
    with screens() as (_, err), contextlib.closing(panel):
        panel.note(first)
        panel.note(GettingReady("", 0.5))
        err.wait_for("getting ready\n")
        panel.note(GettingReady("sklearn", 1.0))
        err.wait_for("getting ready: importing sklearn\n")
        panel.note(Started(0, 1, 1.5))
        panel.note(Ended(2.0))


def test_a_quiet_panel_tells_of_restarts_only(tmp_path: Path) -> None:
    panel = TextPanel(logs_of_attempts(tmp_path), size_notice=1, quiet=True)
    first, *failures, restart, second, end = attempts(tmp_path)
    with screens() as (out, err), contextlib.closing(panel):
        panel.note(Captured({"data": 1 << 30}, 0.0))
        panel.note(first)
        panel.follow()
        panel.note(Straggling((1,), 60.0, 1.0))
        for event in (*failures, restart):
            panel.note(event)
        err.wait_for("restart 1 of 3\n")
        panel.note(second)
        panel.note(end)
    assert out.getvalue() == ""
    assert err.getvalue().count("\n") == 1


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("followed", [False, True])
def test_what_a_run_failed_of_is_told_once_at_its_very_end(tmp_path: Path, quiet: bool, followed: bool) -> None:
    panel = TextPanel(logs(tmp_path), quiet=quiet)
    panel.detach(lambda: "2 ranks failed")
    both = Screen()
    with redirect_stdout(both), redirect_stderr(both):
        panel.note(launched(tmp_path, 1))
        if followed:
            panel.follow()
        add(tmp_path / "0.out", b"first\n")
        panel.note(Ended(1.0))
        # all is there when this returns, and nobody follows a run that has ended
        panel.follow()
        panel.close()
    assert both.getvalue() == ("" if quiet else "[0] first\n") + "2 ranks failed\n"


def test_what_a_run_failed_of_is_told_although_its_logs_are_gone(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    panel.detach(lambda: "2 ranks failed")
    with screens() as (_, err):
        panel.note(launched(tmp_path, 1))
        for path in tmp_path.iterdir():
            path.unlink()
        panel.note(Ended(1.0))
    assert err.getvalue() == "2 ranks failed\n"


def test_the_rest_of_a_log_that_is_gone_is_told_to_be_missing(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    with screens() as (out, err):
        panel.note(launched(tmp_path, 2))
        panel.follow()
        for rank in range(2):
            add(tmp_path / f"{rank}.out", b"first\n")
            out.wait_for(f"[{rank}] first\n")
        (tmp_path / "0.out").unlink()
        panel.note(Ended(1.0))
        panel.close()
    lines = sorted(out.getvalue().splitlines())
    gone = f"[0] … the rest cannot be read any more: [Errno 2] No such file or directory: '{tmp_path}/0.out'"
    assert lines == ["[0] first", gone, "[1] first"]
    assert err.getvalue() == ""


def test_answers_come_in_any_thread(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    panel.note(launched(tmp_path, 1))
    panel.note(Started(0, 1, 0.0))
    panel.note(Asked(0, 1, QuestionKind.LINE, "rank 0: name? ", "", "", 0, 1.0))
    panel.note(Answered(0, 1, 1.1))
    # two threads must not change the same state
    assert panel._state.ranks[0].asking._lines == {}
    panel.note(Asked(0, 2, QuestionKind.LINE, "rank 0: name? ", "", "", 0, 1.2))
    assert panel._state.ranks[0].asking._lines == {}


def test_what_is_asked_is_known_by_rank_and_number(tmp_path: Path) -> None:
    panel = TextPanel(logs(tmp_path))
    panel.note(launched(tmp_path, 2))

    def ask(rank: int, number: int) -> None:
        panel.note(Asked(rank, number, QuestionKind.LINE, "name? ", "", "", 0, 1.0))

    ask(0, 1)
    ask(0, 2)
    ask(1, 1)
    panel.note(Answered(0, 1, 1.1))
    assert panel._asking == {(0, 2), (1, 1)}
    panel.note(QuestionWithdrawn(0, 2, 1.2))
    panel.note(Exited(1, -9, None, False, 1.3))
    assert panel._asking == set()
    ask(0, 3)
    panel.note(Raised(0, "ValueError: x", "", 1.35, 1.35, held=True))
    assert panel._asking == {(0, 3)}
    panel.note(Raised(0, "ValueError: x", "", 1.4, 1.4))
    assert panel._asking == set()
    ask(0, 4)
    panel.note(Restarting(1, 2, 1.5))
    assert panel._asking == set()


def captured(sizes: dict[str, int], size_notice: float = 1e9) -> tuple[str, str]:
    with screens() as (out, err):
        panel = TextPanel(logs(Path()), size_notice)
        panel.note(Captured(sizes, 0.0))
        panel.close()
    return out.getvalue(), err.getvalue()


def test_what_is_sent_is_told_from_1_mb_on() -> None:
    assert captured({"data": 900_000, "f": 99_999}) == ("", "")
    assert captured({}) == ("", "")
    assert captured({"data": 900_000, "f": 100_000}) == ("sent to each rank: data 900 kB, f 100 kB\n", "")
    many = {f"v{i}": 1_000_000 for i in range(30)}
    text = "sent to each rank: v0 1.0 MB, v1 1.0 MB, v2 1.0 MB, v3 1.0 MB, 26 more 26 MB\n"
    assert captured(many) == (text, "")


def test_much_is_noticed_and_what_to_do_is_said() -> None:
    sizes = {"model": 12_000_000, "data": 1_100_000_000}
    out, err = captured(sizes)
    assert out == "sent to each rank: data 1.1 GB, model 12 MB\n"
    assert err == (
        "This cell takes 1.1 GB along, most of it in data (1.1 GB). Ranks share that memory until they write to it. If "
        "they need only a part, select it in an ordinary cell before; or save it to a file that the ranks open, for "
        "example with numpy.load(path, mmap_mode='r'). (size_notice sets from when on this is shown.)\n"
    )
    assert captured(sizes, size_notice=0) == (out, "")
    assert captured(sizes, size_notice=2e9) == (out, "")
    assert captured({"x": 500}, size_notice=400)[1].startswith("This cell takes 500 B along")


def test_a_closed_stream_is_no_reason_to_fail() -> None:
    closed = io.StringIO()
    closed.close()
    with redirect_stdout(closed), redirect_stderr(closed):
        TextPanel(logs(Path()), 1).note(Captured({"data": 1 << 30}, 0.0))
