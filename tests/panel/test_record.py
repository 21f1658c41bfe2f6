"""What stays of a run."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest

import nblaunch
from nblaunch.events import (
    Captured,
    Ended,
    Ending,
    Event,
    Exited,
    Finished,
    Frame,
    LastWord,
    Launched,
    Raised,
    Restarting,
    Stack,
    StacksTaken,
    Started,
)
from nblaunch.logs.arrivals import Arrivals
from nblaunch.logs.clearing import CLEARED, CLEARED_BY_NEXT
from nblaunch.logs.files import order_path, pack_order
from nblaunch.logs.reader import LogReader
from nblaunch.panel.record import MAX_RECORD_BYTES, record, still_running
from nblaunch.panel.state import RunState, RunSummary
from nblaunch.processes._linux import punch_hole
from tests.logs.readers import logs_in

FINISHED = RunSummary("finished", "")
FAILED = RunSummary("failed", "", logs="/logs", told=True)


class Played:
    """A run whose events and logs are made up."""

    def __init__(self, folder: Path, nprocs: int, logs: LogReader | None = None) -> None:
        self.folder = folder
        self.state = RunState(f"%%multiproc {nprocs}")
        self.arrivals = Arrivals(logs or logs_in(folder, nprocs))
        self.note(Launched(nprocs, 100.0), *(Started(rank, rank, 100.0) for rank in range(nprocs)))

    def note(self, *events: Event) -> None:
        for event in events:
            self.state.note(event)

    def write(self, rank: int, data: bytes | str, *, err: bool = False) -> None:
        with (self.folder / f"{rank}.{'err' if err else 'out'}").open("ab") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        self.arrivals.look()

    def finish(self, summary: RunSummary = FINISHED) -> tuple[str, str]:
        if summary is FINISHED:
            self.note(*(Finished(rank.rank, bytearray(), 101.0) for rank in self.state.ranks))
        self.note(Ended(101.5))
        html, text = record(self.state, summary, self.arrivals)
        assert len(html.encode()) + len(text.encode()) <= MAX_RECORD_BYTES
        Balanced.check(html)
        return html, text


class Balanced(HTMLParser):
    """Knows which elements and attributes a record may have."""

    ALLOWED = frozenset({"div", "span", "b", "table", "tbody", "tr", "td", "details", "summary", "pre"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    @classmethod
    def check(cls, html: str) -> None:
        parser = cls()
        parser.feed(html)
        parser.close()
        assert parser.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.ALLOWED
        assert {name for name, _ in attrs} <= {"style", "open", "colspan"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", html)).strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_run_without_output_is_one_line(folder: Path) -> None:
    html, text = Played(folder, 4).finish()
    assert text == "✓ %%multiproc 4  finished in 1.5 s · 4 ranks"
    assert words(html) == "✓ %%multiproc 4 finished in 1.5 s · 4 ranks"


def test_it_names_the_variables_where_the_launcher_says_so(folder: Path) -> None:
    _, text = Played(folder, 4).finish(RunSummary("finished", "", bound="results and failures hold what came back"))
    assert text.splitlines()[0].endswith(" · results and failures hold what came back")


def test_what_was_sent_is_told_if_it_was_large(folder: Path) -> None:
    run = Played(folder, 1)
    run.note(Captured({"data": 2_000_000, "f": 10}, 100.0))
    assert run.finish()[1].endswith("· sent to each rank: data 2.0 MB, f 10 B")


def test_lines_that_ranks_wrote_alike_are_there_once(folder: Path) -> None:
    run = Played(folder, 3)
    for rank in range(3):
        run.write(rank, f"epoch 1\nloss {rank}\n")
    run.write(1, "careful\n", err=True)
    _, text = run.finish()
    assert text.splitlines()[1:] == [
        "[0-2] epoch 1",
        "[0] loss 0",
        "[1] loss 1",
        "[2] loss 2",
        "[1] ! careful",
        "(! marks stderr)",
    ]


def test_one_rank_needs_no_prefix(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, "10%\r100%\n")
    _, text = run.finish()
    assert text.splitlines()[1:] == ["100%"]


def test_streams_are_shown_in_the_order_of_their_arrival(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, "one\n")
    run.write(0, "bar 10%\r", err=True)
    run.write(0, "two\n")
    run.write(0, "bar 100%\n", err=True)
    _, text = run.finish()
    assert text.splitlines()[1:4] == ["one", "bar 100%", "two"]


def test_what_a_rank_has_cleared_is_not_there(folder: Path) -> None:
    run = Played(folder, 2)
    for rank in range(2):
        run.write(rank, "old\nolder\n")
        run.write(rank, "bad\n50%", err=True)
    run.write(0, CLEARED_BY_NEXT + b"new\n")
    run.write(0, CLEARED, err=True)
    run.write(1, CLEARED_BY_NEXT)
    html, text = run.finish()
    assert text.splitlines()[1:] == ["[1] old", "[1] older", "[1] ! bad", "[1] ! 50%", "[0] new", "(! marks stderr)"]
    assert "\x1b" not in html + text


def test_a_log_that_was_cleared_often_shows_its_end(folder: Path) -> None:
    run = Played(folder, 2)
    steps = b"".join(CLEARED_BY_NEXT + b"step %d\nof many\n" % step for step in range(100_000))
    for rank in range(2):
        run.write(rank, steps)
    assert run.finish()[1].splitlines()[-2:] == ["step 99999", "of many"]


def test_a_failure(folder: Path) -> None:
    run = Played(folder, 4)
    trace = "\x1b[31mValueError\x1b[0m: no <data>"
    run.note(
        Raised(2, "ValueError: no <data>", trace, 101.0, 101.0), Raised(3, "ValueError: no <data>", trace, 101.1, 101.1)
    )
    run.note(
        Ending("a rank failed", 101.2),
        Exited(2, 1, LastWord.ERROR, False, 101.3),
        Exited(3, 1, LastWord.ERROR, False, 101.3),
    )
    run.note(*(Exited(rank, -15, None, True, 101.4) for rank in (0, 1)))
    html, text = run.finish(FAILED)
    assert text.splitlines() == [
        "✕ %%multiproc 4  failed in 1.5 s · 0 of 4 finished",
        "ranks 2-3  ✕ failed first  1.1 s  0 B written  ValueError",
        "ranks 0-1  ■ ended  1.4 s  0 B written",
    ]
    assert "traceback" not in html, "an exception tells it below"
    html, text = record(run.state, RunSummary("failed", ""), run.arrivals)
    assert text.splitlines()[1:] == [
        "ranks 2-3  ✕ failed first  1.1 s  0 B written  ValueError",
        "ranks 0-1  ■ ended  1.4 s  0 B written  SIGTERM",
        "traceback of ranks 2-3:",
        "ValueError: no <data>",
    ]
    assert "<details open><summary>traceback of ranks 2-3: ValueError: no &lt;data&gt;" in html


def test_where_ranks_were_that_were_ended_for_another_one(folder: Path) -> None:
    run = Played(folder, 5)
    run.note(Raised(2, "ValueError: x", "trace", 101.0, 101.0), Ending("a rank failed", 101.2))
    cell, wait = Frame("Cell In[7]", 6, "<module>"), Frame(threading.__file__, 9, "wait")
    frames = {0: (cell,), 1: (wait, cell), 3: (Frame("Cell In[3]", 2, "load"), cell)}
    run.note(StacksTaken({rank: Stack((stack,), "S") for rank, stack in frames.items()}, "failure", 101.1))
    run.note(
        Exited(2, 1, LastWord.ERROR, False, 101.3), *(Exited(rank, -15, None, True, 101.4) for rank in (0, 1, 3, 4))
    )
    _, text = run.finish(RunSummary("failed", "", told=True, number=7))
    assert text.splitlines()[1:] == [
        "rank 2  ✕ failed first  1.0 s  0 B written  ValueError",
        "rank 0  ■ was at line 6, ended  1.4 s  0 B written",
        "rank 1  ■ was waiting in wait, line 6, ended  1.4 s  0 B written",
        "rank 3  ■ was at Cell In[3], line 2, in load, ended  1.4 s  0 B written",
        "rank 4  ■ ended  1.4 s  0 B written",
    ]


def test_ranks_that_somebody_has_stopped(folder: Path) -> None:
    run = Played(folder, 2)
    run.note(Ending("the run was stopped", 101.2), *(Exited(rank, -15, None, True, 101.4) for rank in (0, 1)))
    assert (
        run.finish(RunSummary("stopped", "", told=True))[1].splitlines()[1]
        == "ranks 0-1  ■ stopped  1.4 s  0 B written"
    )


TRACE = """\x1b[31mValueError\x1b[39m  Traceback (most recent call last)
\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[7]\x1b[39m\x1b[32m, line {line}\x1b[39m
File ~/shards.py:12, in load(rank)
ValueError: no shard {rank}"""


def test_failures_of_one_type_from_one_place_are_there_once(folder: Path) -> None:
    run = Played(folder, 256)
    for rank in range(256):
        line = 5 if rank == 9 else 4
        run.note(Raised(rank, f"ValueError: no shard {rank}", TRACE.format(rank=rank, line=line), 101.0, 101.0))
    run.note(*(Exited(rank, 1, LastWord.ERROR, False, 101.3) for rank in range(256)))
    html, text = run.finish(FAILED)
    assert text.splitlines()[1:] == ["ranks 0-255  ✕ failed  1.0 s  0 B written  ValueError"]
    # the exception has that of the first one
    assert re.findall("<summary>(.*?)</summary>", html) == ["traceback of rank 9: ValueError: no shard 9"]
    html, text = record(run.state, RunSummary("failed", ""), run.arrivals)
    others = "ranks 1-8, 10-255: ValueError from the same line, with another text"
    assert text.splitlines()[1:4] == [
        "ranks 0-8, 10-255  ✕ failed first  1.0 s  0 B written  ValueError",
        "rank 9  ✕ failed  1.0 s  0 B written  ValueError",
        f"traceback of ranks 0-8, 10-255 ({others}):",
    ]
    assert text.count("Traceback (most recent call last)") == html.count("Traceback (most recent call last)") == 2


def test_a_reason_that_is_no_ranks(folder: Path) -> None:
    run = Played(folder, 1)
    run.note(Exited(0, -9, None, True, 101.0))
    _, text = run.finish(RunSummary("failed", "1 rank failed: <the supervision>"))
    assert text.splitlines()[1] == "1 rank failed: <the supervision>"


@pytest.mark.parametrize("length", [5_000, 45_000])
def test_a_long_line_is_whole_if_there_is_room(folder: Path, length: int) -> None:
    run = Played(folder, 2)
    line = "".join(chr(97 + number % 26) for number in range(length))
    run.write(0, f"{line}\n\x1b[31m{line[:3_000]}\x1b[0m\n")
    html, text = run.finish()
    # what no terminal shows in one line goes on in the next
    assert line in "".join(part.removeprefix("[0] ") for part in text.splitlines()[1:])
    assert line[:3_000] in html
    assert "…" not in text


def test_a_line_that_is_cut_says_so(folder: Path) -> None:
    run = Played(folder, 3)
    for rank in range(3):
        # a long log before it, so that all of them together are too much; and each character takes five in HTML
        run.write(rank, f"{rank}\n" * 50_000 + "&" * 15_999 + f"{rank}\n")
    html, text = run.finish()
    for part in (html, text):
        assert re.search(r"… 14,000 more characters in the log", part)


def test_much_output_that_is_alike_is_folded(folder: Path) -> None:
    run = Played(folder, 256)
    for rank in range(256):
        run.write(rank, "".join(f"epoch {epoch:04}\n" for epoch in range(100)))
    _, text = run.finish()
    assert text.splitlines()[1:] == [f"[0-255] epoch {epoch:04}" for epoch in range(100)]


def test_much_output_of_few_lines_that_cannot_be_folded_is_shown_by_rank(folder: Path) -> None:
    run = Played(folder, 3)
    for rank in range(2):
        run.write(rank, "x\n" * 50_000)
    run.write(2, "y\n" * 50_000)
    _, text = run.finish()
    assert text.splitlines()[1].startswith("--- ranks 0-1, 100 kB of output each, the last 2,000 lines of it")


EVIL = [
    b"<script>alert(1)</script>",
    b"<img src=x onerror=alert(1)>",
    b"</pre><iframe src='javascript:alert(1)'>",
    b"\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07",
    b"\x1b[38;5;1;expression(alert(1))m&lt;b&gt;",
    "\u202egnp.exe\u2066".encode(),
    b"\xff\xfe\x00\x00broken\xc3",
    b"\0" * 50,
    b'" onmouseover="alert(1)',
]


@pytest.mark.parametrize("evil", EVIL)
def test_text_of_ranks_never_becomes_markup(folder: Path, evil: bytes) -> None:
    run = Played(folder, 2)
    run.write(0, evil + b"\n")
    run.write(1, evil, err=True)
    text = evil.decode(errors="replace")
    run.note(Raised(1, text, text, 101.0, 101.0), Exited(1, 1, LastWord.ERROR, False, 101.2))
    html, _ = run.finish(FAILED)
    for harmful in ("\0", "\u202e", "\u2066", "\x1b"):
        assert harmful not in html


@pytest.mark.parametrize("nprocs", [1, 4, 64, 256])
def test_it_is_bounded_and_failed_ranks_come_first(folder: Path, nprocs: int) -> None:
    run = Played(folder, nprocs)
    for rank in range(nprocs):
        run.write(rank, f"<{rank}>\n" * 30_000)
    last = nprocs - 1
    run.note(
        Raised(last, "ValueError: x", "trace\n" * 10_000, 101.0, 101.0), Exited(last, 1, LastWord.ERROR, False, 101.2)
    )
    html, text = run.finish(FAILED)
    summaries = re.findall(r"<summary>(rank \d+), [^<]*", html)
    assert summaries[0] == f"rank {last}"
    assert f"&lt;{last}&gt;" in html
    assert "all of it in" in text or "the logs are in" in text


def test_one_enormous_line(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, b"x" * 10_000_000)
    html, text = run.finish()
    assert "x" * 1000 in html
    assert ">…xxx" in html
    assert text.splitlines()[2].startswith("…xxx")
    assert html.count("…") == text.count("…") == 1


@pytest.mark.parametrize("end", ["", "the end\n"])
def test_ends_that_begin_within_a_line_have_a_mark(folder: Path, end: str) -> None:
    run = Played(folder, 2)
    for rank in range(2):
        # longer than what is looked at, in which characters have several bytes, then little on the other stream
        run.write(rank, "ü" * (2_500_000 + rank))
        run.write(rank, f"short {rank}\n", err=True)
        run.write(rank, end)
    _, text = run.finish()
    lines = text.splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith("--- rank")]
    assert len(heads) == 2
    for index in heads:
        assert lines[index + 1].startswith("…üüü")
    assert text.count("…") == 2
    assert "\ufffd" not in text
    assert "short 0" in lines


def test_a_line_of_the_other_stream_that_began_before_has_a_mark(folder: Path) -> None:
    run = Played(folder, 2)
    for rank in range(2):
        run.write(rank, "begun " + "x" * 100)
        run.write(rank, f"rank {rank} is at work\n" * 120_000, err=True)
        run.write(rank, "and ended\n")
    _, text = run.finish()
    assert text.splitlines().count("…and ended") == 2


def test_a_traceback_that_is_cut_has_a_mark(folder: Path) -> None:
    run = Played(folder, 1)
    run.note(Raised(0, "ValueError: x", "ü" * 20_000, 101.0, 101.0), Exited(0, 1, LastWord.ERROR, False, 101.2))
    html, _ = run.finish(RunSummary("failed", ""))
    assert re.search(">…ü{5000,6000}</pre>", html)


def test_coloured_and_escaped_output_is_shown_as_far_as_it_fits(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, "".join(f"{'<' * 400}{number}\n" for number in range(10_000)))
    html, text = run.finish()
    assert len(html.encode()) > MAX_RECORD_BYTES / 2
    shown = text.splitlines()[2:]
    assert shown[-1].endswith("<9999")
    assert f"of output, the last {len(shown)} lines of it; all of it in {folder}" in text


def test_many_colours_in_little_output_leave_its_end(folder: Path) -> None:
    run = Played(folder, 1)
    line = "".join(f"\x1b[38;5;{100 + number % 100}mx" for number in range(80))
    run.write(0, "".join(f"{line}{number}\n" for number in range(45)))
    html, text = run.finish()
    assert "x44" in html
    assert text.splitlines()[-1].endswith("x44")


def test_lines_that_are_left_out_are_told_although_all_were_read(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, "".join(f"{number:04}\n" for number in range(2100)))
    _, text = run.finish()
    assert text.splitlines()[1:3] == [
        f"--- rank 0, 10 kB of output, the last 2,000 lines of it; all of it in {folder}",
        "0100",
    ]


def tqdm(done: int, total: int, seconds: int, rate: float = 9.85, desc: str = "epoch 3") -> str:
    bar = f"{'█' * (10 * done // total):10}"
    percent = 100 * done // total
    return (
        f"\r{desc}: {percent:3}%|{bar}| {done}/{total} [00:{seconds:02}<00:{(total - done) % 60:02}, {rate:5.2f}it/s]"
    )


def test_redraws_of_bars_do_not_count(folder: Path) -> None:
    run = Played(folder, 4)
    for rank in range(4):
        run.write(rank, "".join(f"rank {rank}: epoch {epoch}\n" for epoch in range(40)))
        # 900 kB, of which one line is seen
        run.write(rank, "".join(tqdm(done, 10_000, 7) for done in range(10_001)), err=True)
    _, text = run.finish()
    lines = text.splitlines()[1:]
    # what each wrote before all of them came to the same bar
    assert lines[:160] == [f"[{rank}] rank {rank}: epoch {epoch}" for rank in range(4) for epoch in range(40)]
    assert lines[160] == "[0-3] epoch 3: 100%|██████████| 10000/10000 [00:07<00:00,  9.85it/s]"
    assert len(lines) == 161


def test_a_long_bar_leaves_the_lines_before_it(folder: Path) -> None:
    run = Played(folder, 2)
    for rank in range(2):
        for epoch in range(20):
            run.write(rank, f"rank {rank}: epoch {epoch}\n")
            # 6 MB in all: too much to be looked at, but for the end
            run.write(rank, "".join(tqdm(done, 2000, 7) for done in range(2001)), err=True)
    _, text = run.finish()
    head, *lines = text.splitlines()[1:]
    assert head == "--- rank 0, 2.8 MB of output, the last 15 lines of it"
    assert lines[-1] == f"the logs are in {folder}"
    seen = lines[: lines.index(next(line for line in lines if line.startswith("--- rank 1")))]
    assert [line for line in seen if "epoch 3" not in line] == [f"rank 0: epoch {epoch}" for epoch in range(6, 20)]


def test_bars_of_several_ranks_that_stand_at_the_same_place_are_one(folder: Path) -> None:
    run = Played(folder, 4)
    for rank in range(3):
        run.write(rank, tqdm(80, 80, 8 + rank, 9.85 - rank), err=True)
    run.write(3, tqdm(79, 80, 8), err=True)
    html, text = run.finish()
    assert text.splitlines()[1:3] == [
        "[0-2] epoch 3: 100%|██████████| 80/80 [00:08-00:10]",
        "[3] epoch 3:  98%|█████████ | 79/80 [00:08<00:01,  9.85it/s]",
    ]
    assert "80/80 [00:08-00:10]" in words(html)


def test_what_a_bar_tells_besides_keeps_it_apart(folder: Path) -> None:
    run = Played(folder, 3)
    for rank, loss in enumerate((1, 1, 2)):
        run.write(rank, tqdm(80, 80, 8, 9.85 - rank)[:-1] + f", loss={loss}]\n")
    _, text = run.finish()
    assert text.splitlines()[1:] == [
        "[0-1] epoch 3: 100%|██████████| 80/80 [00:08, loss=1]",
        "[2] epoch 3: 100%|██████████| 80/80 [00:08<00:00,  7.85it/s, loss=2]",
    ]


def test_a_bar_that_was_cleared_leaves_no_line(folder: Path) -> None:
    run = Played(folder, 2)
    for rank in range(2):
        run.write(rank, tqdm(1, 2, 1), err=True)
        run.write(rank, f"\r{' ' * 70}\r", err=True)
        run.write(rank, "done\n\n")
    _, text = run.finish()
    assert text.splitlines()[1:] == ["[0-1] done", "[0-1] "]


def test_nested_bars_that_were_cleared_leave_no_lines(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, "\router 1\n\rinner 1\x1b[A\n\r       \r\x1b[A\r       \r", err=True)
    assert len(run.finish()[1].splitlines()) == 1


BOX = "overflow: auto; display: flex; flex-direction: column-reverse"


@pytest.mark.parametrize(("count", "boxes"), [(20, 0), (21, 1)])
def test_what_is_more_than_twenty_lines_is_in_a_box(folder: Path, count: int, boxes: int) -> None:
    run = Played(folder, 1)
    run.write(0, "".join(f"{number}\n" for number in range(count)))
    html, _ = run.finish()
    assert html.count(BOX) == boxes


def test_few_lines_that_take_much_room_are_in_a_box(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, "x" * 10_000)
    html, _ = run.finish()
    assert BOX in html


@pytest.mark.parametrize(("nprocs", "height"), [(2, 20), (4, 10), (8, 7)])
def test_ranks_with_much_output_stand_side_by_side(folder: Path, nprocs: int, height: int) -> None:
    run = Played(folder, nprocs)
    for rank in range(nprocs):
        run.write(rank, "".join(f"rank {rank}: {number}\n" for number in range(3000)))
    html, _ = run.finish()
    assert html.count("display: grid; grid-template-columns") == 1
    assert html.count(f"max-height: {height * 1.35 + 0.15:.2f}em; {BOX}") == html.count("<details open") == nprocs
    # where no style is left, few lines are seen: the others are folded
    seen = re.sub(r"<details><summary>[^<]*</summary>.*?</details>", "", html, flags=re.DOTALL)
    assert [seen.count(f"rank {rank}: ") for rank in range(nprocs)] == [2 * height] * nprocs


def test_a_warning_over_a_bar_that_was_cleared_keeps_its_mark(folder: Path) -> None:
    run = Played(folder, 1)
    run.write(0, tqdm(1, 2, 1) + f"\r{' ' * 70}\rUserWarning: careful\n" + tqdm(2, 2, 1) + "\nplain\n", err=True)
    _, text = run.finish()
    assert text.splitlines()[1:] == [
        f"! {'UserWarning: careful':70}",
        "epoch 3: 100%|██████████| 2/2 [00:01<00:00,  9.85it/s]",
        "! plain",
        "(! marks stderr)",
    ]


def test_many_ranks_stand_behind_one_fold(folder: Path) -> None:
    run = Played(folder, 256)
    for rank in range(256):
        run.write(rank, "".join(f"rank {rank} epoch {epoch}: {'long ' * 40}\n" for epoch in range(30)) + "done\n")
    run.note(Raised(7, "ValueError: x", "trace", 101.0, 101.0), Exited(7, 1, LastWord.ERROR, False, 101.2))
    html, text = run.finish(FAILED)
    summaries = re.findall(r"<summary>([^<]*)", html)
    assert summaries[0].startswith("rank 7, 6.5 kB of output, the last ")
    assert [summary.split(",")[0] for summary in summaries[1:16]] == [
        f"rank {rank}" for rank in (*range(7), *range(8, 16))
    ]
    assert summaries[16] == f"output of 240 more ranks, the last 2 lines of each; all of it in {folder}"
    # of which those long before the end are behind another one
    assert summaries[17].endswith(" lines before")
    assert len(summaries) == 18
    lines = text.splitlines()
    assert "[16-255] done" in lines
    assert f"[16] rank 16 epoch 29: {'long ' * 40}" in lines


def test_many_lines_leave_the_last_ones_in_sight(folder: Path) -> None:
    run = Played(folder, 2)
    run.write(0, "".join(f"line {number:03}\n" for number in range(300)))
    run.note(Raised(1, "ValueError: x", "trace", 101.0, 101.0), Exited(1, 1, LastWord.ERROR, False, 101.2))
    html, text = run.finish(FAILED)
    folded, seen = html.split("<summary>276 lines before</summary>")[1].split("</details>")
    assert words(folded).split("[0] line ")[1:] == [f"{number:03} " for number in range(275)] + ["275"]
    assert words(seen).startswith("[0] line 276 [0] line 277")
    # a text has no folds
    assert len([line for line in text.splitlines() if line.startswith("[0] line")]) == 300
    assert "<summary>260 lines before</summary>" in record(run.state, RunSummary("failed", ""), run.arrivals)[0]


CRASH = """before
Fatal Python error: Segmentation fault

Thread 0x00007f12fd82eb80 (most recent call first):
  File "{package}/rank/displays.py", line 10 in send
  File "/usr/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007f12fd82eb80 [python] (most recent call first):
  File "/home/me/c_code.py", line 7 in work
  File "/tmp/ipykernel_14736/3166111201.py", line 3 in <module>
  File "/venv/lib/python3.11/site-packages/IPython/core/interactiveshell.py", line 3823 in run_code
  File "{package}/rank/main.py", line 177 in _run_and_pack
  File "<string>", line 11 in <module>

Extension modules: psutil._psutil_linux, numpy._core._multiarray_umath (total: 2)
behind
"""


def test_a_crash_is_told_without_the_launchers_frames(folder: Path) -> None:
    run = Played(folder, 2)
    run.write(1, CRASH.format(package=Path(nblaunch.__file__).parent), err=True)
    run.note(Exited(1, -11, None, False, 101.2))
    stack = "Fatal Python error: Segmentation fault, most recent call first\n  Cell In[61], line 3"
    html, text = run.finish(RunSummary("failed", "", crashes={1: stack}))
    assert text.splitlines()[3:] == [
        "traceback of rank 1:",
        "Fatal Python error: Segmentation fault, most recent call first",
        "  Cell In[61], line 3",
        "[1] ! before",
        "[1] ! Fatal Python error: Segmentation fault",
        "[1] ! Current thread 0x00007f12fd82eb80 [python] (most recent call first):",
        '[1] !   File "/home/me/c_code.py", line 7 in work',
        '[1] !   File "/tmp/ipykernel_14736/3166111201.py", line 3 in <module>',
        "[1] ! behind",
        "(! marks stderr)",
    ]
    assert "<details open><summary>traceback of rank 1: SIGSEGV" in html


@pytest.mark.parametrize("far", ["\x1b[19990C", "\x1b[19990G", "\x1b[1G\x1b[19990CX\x1b[1G"])
def test_a_cursor_that_goes_far_makes_no_more_of_a_log(folder: Path, far: str) -> None:
    run = Played(folder, 1)
    run.write(0, "".join(f"{far}{number}\n" for number in range(1500)))
    trace = "".join(f"\x1b[19990C{number}\n" for number in range(90))
    run.note(Raised(0, "ValueError: x", trace, 101.0, 101.0), Exited(0, 1, LastWord.ERROR, False, 101.2))
    _, text = run.finish(FAILED)
    assert "1499" in text


def test_a_title_and_a_failure_with_harmful_characters(folder: Path) -> None:
    run = Played(folder, 1)
    run.state.title = f"%%multiproc 1 \u202e{'x' * 300_000}"
    run.note(
        Raised(0, "ValueError: \ud800", "ValueError: \ud800", 101.0, 101.0), Exited(0, 1, LastWord.ERROR, False, 101.2)
    )
    html, text = run.finish(RunSummary("failed", ""))
    assert "✕ %%multiproc 1 ⟨U+202E⟩xxx" in text
    assert "ValueError: ⟨U+D800⟩" in html
    assert "⟨U+202E⟩xxx" in still_running(run.state, "/logs", 1_700_000_000.0, "token")[1]


def test_logs_whose_oldest_part_was_released(folder: Path) -> None:
    played = Played(folder, 2)
    played.write(0, "0123456789abcde\n" * 100_000)
    played.write(1, "x" * 50_000 + "\n")
    with (folder / "0.out").open("r+b") as file:
        punch_hole(file.fileno(), 0, 1_024_000)
    with (folder / "1.out").open("r+b") as file:
        punch_hole(file.fileno(), 0, 49_152)
    html, text = played.finish()
    assert "rank 0, 1.6 MB of output, the last 2,000 lines of it; the last 576 kB of it in the log" in words(html)
    assert "rank 1, 50 kB of output, the last line of it; the last 849 B of it in the log" in words(html)
    assert "␀" not in html + text
    assert "\0" not in html + text


def test_little_output_whose_beginning_was_released(folder: Path) -> None:
    played = Played(folder, 1)
    played.write(0, "old\n" * 2000 + "new\n")
    with (folder / "0.out").open("r+b") as file:
        punch_hole(file.fileno(), 0, 4096)
    played.write(0, "newer\n")
    html, text = played.finish()
    lines = text.splitlines()[1:]
    note = "[… 4.1 kB of older output released: the log is longer than --max-log …]"
    assert lines == [note, "old", "new", "newer"] or lines == [note, *["old"] * 976, "new", "newer"]
    assert note in words(html)


def test_logs_that_are_gone(folder: Path) -> None:
    run = Played(folder, 2)
    run.write(0, "x\n")
    (folder / "0.out").unlink()
    _, text = run.finish()
    assert "finished in" in text
    assert "… the output cannot be read any more: [Errno 2]" in text


def test_a_run_that_goes_on(folder: Path) -> None:
    run = Played(folder, 2)
    run.note(Finished(0, bytearray(), 101.0))
    html, text = still_running(run.state, "/logs", 1_700_000_000.0, "token")
    assert re.fullmatch(
        r"%%multiproc 2: running since [\d:]{8}, last seen [\d:]{8}: 1 finished, 1 running; logs in .*", text
    )
    assert text.replace("&", "&amp;") in html


def test_a_restart_and_its_reason(tmp_path: Path) -> None:
    run = Played(tmp_path, 2)
    run.note(Raised(1, "ValueError: <b>", "trace", 101.0, 101.0), Restarting(1, 2, 101.1))
    html, text = run.finish()
    assert "· 2 ranks · restart 1 of 2 " in words(html)
    assert text.splitlines()[1] == "rank 1 failed (ValueError: <b>); all ranks start again: restart 1 of 2"
    assert "rank 1 failed (ValueError: &lt;b&gt;); all ranks" in html


def test_bars_and_lines_of_ranks_that_wrote_at_the_same_time_are_in_each_ranks_order(folder: Path) -> None:
    run = Played(folder, 2)
    # both are found by one look, as of a quick cell
    paths = [[folder / f"{rank}.{stream}" for stream in ("out", "err")] for rank in range(2)]
    notes = []
    for rank in range(2):
        out, err = "", ""
        for epoch in range(3):
            err += tqdm(20 + rank, 20 + rank, 1, desc=f"epoch {epoch}") + "\n"
            notes.append((len(out), len(err.encode())))
            out += f"epoch {epoch}: done\n"
            notes.append((len(out), len(err.encode())))
        for path, text in zip(paths[rank], (out, err), strict=True):
            path.write_text(text)
    # in one folder, the notes of both ranks are the same file here, and bars of 20 and 21 take the same bytes
    Path(order_path(str(paths[0][0]))).write_bytes(b"".join(pack_order(*note) for note in notes[:6]))
    run.arrivals.look()
    _, text = run.finish()
    seen = [re.sub(r":.*\| ", " ", line).partition(" [00")[0] for line in text.splitlines()[1:]]
    assert seen == [
        line
        for epoch in range(3)
        for line in (f"[0] epoch {epoch} 20/20", f"[1] epoch {epoch} 21/21", f"[0-1] epoch {epoch}: done")
    ]
