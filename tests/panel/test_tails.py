"""In which order the record shows lines that ranks wrote at the same time."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

import nblaunch
from nblaunch.logs.arrivals import Arrivals
from nblaunch.logs.files import add_note, order_path, pack_block
from nblaunch.panel.tails import Shown, folded, last_in_turns, whole
from nblaunch.panel.terminal import Line
from nblaunch.panel.turns import in_turns
from tests.logs.readers import logs_of


def turns(*ranks: str) -> str:
    return "".join(in_turns([[(letter, letter) for letter in rank] for rank in ranks]))


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (("abc", "xyz"), "abcxyz"),
        # they meet at a line that both have
        (("a.b.", "x.y."), "ax..by.."),
        # who has no such line comes by its number
        (("a.b", "c", "x.y"), "ax..bcy"),
        (("a-b+", "c-", "d+"), "ac--bd++"),
        # the first such line of one meets the first of the other, and so on
        (("..", "...."), "......"),
        # in another order in each: they cannot meet at both
        (("+a-", "-b+"), "-b++a-"),
        (("", "a"), "a"),
        ((), ""),
    ],
)
def test_ranks_take_turns_at_lines_that_others_have_too(ranks: tuple[str, ...], expected: str) -> None:
    assert turns(*ranks) == expected


def test_every_line_is_there_once_and_each_rank_keeps_its_order() -> None:
    rng = random.Random(7)
    for _ in range(300):
        ranks = [
            [(rng.choice("abc."), (rank, number)) for number in range(rng.randrange(12))]
            for rank in range(rng.randrange(6))
        ]
        found = in_turns(ranks)
        for rank, lines in enumerate(ranks):
            assert [item for item in found if item[0] == rank] == [item for _, item in lines]
        assert len(found) == sum(map(len, ranks))


def test_the_last_lines_of_many_ranks_meet_at_their_end() -> None:
    ends = [
        [Shown(rank, 1, text, Line([(text, None)])) for text in texts.split()]
        for rank, texts in enumerate(("step a b step end", "step c d e step end", "x y"))
    ]
    assert [f"{line.rank} {line.text}" for line in last_in_turns(ends)] == [
        *("0 step", "1 step", "0 a", "0 b", "1 c", "1 d", "1 e", "0 step", "1 step", "0 end", "1 end", "2 x", "2 y"),
    ]


def shown(source: str | Callable[[], None], folder: Path, nprocs: int = 2) -> list[str]:
    """Return the record's lines of a quick cell, whose files are looked at once, when all is written."""
    nblaunch.launch(source, nprocs, log_dir=str(folder))
    outs = sorted(str(path) for path in folder.rglob("stdout.log"))
    assert len(outs) == nprocs
    arrivals = Arrivals(logs_of(outs, [path.replace("stdout", "stderr") for path in outs]))
    arrivals.look()
    lines = whole(arrivals, 100_000)
    assert lines is not None
    return [f"{''.join(map(str, group.ranks))} {group.text.rstrip()}" for group in folded(lines)]


def test_equal_loops_take_turns_at_each_step(tmp_path: Path) -> None:
    cell = "for epoch in range(3):\n    print('epoch', epoch)\n    print('loss', 10 * epoch + rank)"
    assert shown(cell, tmp_path, 4) == [
        line
        for epoch in range(3)
        for line in (f"0123 epoch {epoch}", *(f"{rank} loss {10 * epoch + rank}" for rank in range(4)))
    ]


def test_what_ranks_wrote_differently_stands_rank_by_rank(tmp_path: Path) -> None:
    cell = "for epoch in range(3):\n    print(f'rank {rank}: epoch {epoch}')"
    assert shown(cell, tmp_path, 4) == [f"{rank} rank {rank}: epoch {epoch}" for rank in range(4) for epoch in range(3)]


def test_lines_of_one_write_stay_together_whenever_they_are_seen(tmp_path: Path) -> None:
    folders = [[tmp_path / f"{attempt}" / f"{rank}" for rank in range(2)] for attempt in range(2)]
    arrivals: Arrivals | None = None
    for folder in folders:
        outs = [str(one / "stdout.log") for one in folder]
        errs = [str(one / "stderr.log") for one in folder]
        if arrivals is None:
            arrivals = Arrivals(logs_of(outs, errs))
        else:
            arrivals.go_on(logs_of(outs, errs))
        for one in folder:
            one.mkdir(parents=True)
            (one / "stdout.log").write_text("single\n")
        arrivals.look()
        # a part of the text is seen, then a line of the other rank, then the rest
        for rank, text in ((0, "a\nb\n"), (1, "between\n"), (0, "c\n")):
            with (folder[rank] / "stdout.log").open("a") as file:
                file.write(text)
            arrivals.look()
        # and one that reaches beyond the file says nothing
        for note in (pack_block(1, 7, 13), pack_block(1, 7, 10**12), pack_block(1, -3, 5)):
            add_note(order_path(outs[0]), note)
    assert arrivals is not None
    lines = whole(arrivals, 100_000)
    assert lines is not None
    assert [f"{line.rank} {line.text}" for line in lines] == [
        *("0 single", "1 single", "0 a", "0 b", "0 c", "1 between"),
        *("0 single", "1 single", "0 a", "0 b", "0 c", "1 between"),
    ]


FRAMES = """import pandas as pd
print("before")
print(pd.DataFrame({"alike": [0, 0, 0], "other": [1, 2 + rank, 3]}))
print("behind")
print(pd.DataFrame({"alike": [0, 0]}))"""


def test_a_frame_stays_together_and_is_folded_as_a_whole(tmp_path: Path) -> None:
    frames = [
        f"{rank} {line}"
        for rank in range(2)
        for line in ("   alike  other", "0      0      1", f"1      0      {2 + rank}", "2      0      3")
    ]
    alike = ["01    alike", "01 0      0", "01 1      0"]
    assert shown(FRAMES, tmp_path) == ["01 before", *frames, "01 behind", *alike]


def test_a_traceback_that_is_logged_stays_together(tmp_path: Path) -> None:
    cell = """import logging
def work():
    raise ValueError("no data" if rank else "no file")
try:
    work()
except ValueError:
    logging.exception("rank failed")
print("on")"""
    lines = shown(cell, tmp_path)
    assert lines[-1] == "01 on"
    half = len(lines) // 2
    assert [line.partition(" ")[0] for line in lines] == ["0"] * half + ["1"] * half + ["01"]
    assert lines[0] == "0 ERROR:root:rank failed"
    assert lines[half - 1] == "0 ValueError: no file"
    assert lines[half] == "1 ERROR:root:rank failed"


def test_a_traceback_that_is_printed_is_told_once_as_far_as_it_is_alike(tmp_path: Path) -> None:
    cell = "import traceback\ntry:\n    [][rank]\n    1 / rank\nexcept Exception:\n    traceback.print_exc()"
    cell = cell.replace("[][rank]", "int(str(rank) + 'x')")
    lines = shown(cell, tmp_path)
    assert lines[0] == "01 Traceback (most recent call last):"
    assert lines[-2:] == [f"{rank} ValueError: invalid literal for int() with base 10: '{rank}x'" for rank in range(2)]


def test_bars_and_frames_keep_the_order_of_each_rank(tmp_path: Path) -> None:
    cell = """import sys
import pandas as pd
from tqdm import tqdm
for epoch in range(2):
    for _ in tqdm(range(3), desc=f"epoch {epoch}", bar_format="{desc} {n_fmt}", file=sys.stderr):
        pass
    print(pd.DataFrame({"loss": [epoch, rank]}))"""
    assert shown(cell, tmp_path) == [
        line
        for epoch in range(2)
        for line in (
            f"01 epoch {epoch} 3",
            *(f"{rank} {text}" for rank in range(2) for text in ("   loss", f"0     {epoch}", f"1     {rank}")),
        )
    ]
