"""The lines of logs that a record shows, as a terminal would show them, in order, found in bounded time.

::

    Arrivals ─► whole(): all logs, if they are short; tail(): the end of one rank's ─► Shown lines ─► folded()

Much more may have to be read than is shown: a progress bar writes megabytes, of which one line stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, groupby
from typing import NamedTuple

from nblaunch.logs.arrivals import ALL, Arrivals, Excerpt
from nblaunch.logs.clearing import CLEARED, CLEARED_BY_NEXT, last_clearing
from nblaunch.logs.files import from_its_middle
from nblaunch.logs.reader import STDERR, STDOUT
from nblaunch.panel.folding import Group, fold
from nblaunch.panel.terminal import Line, render
from nblaunch.panel.turns import in_turns
from nblaunch.stacks.dump import FATAL, THREAD, frames_of, has_more_frames
from nblaunch.stacks.folding import users_frames

__all__ = ["MAX_LINES", "Shown", "folded", "in_order", "last_in_turns", "marked_where_torn", "tail", "whole"]


class Shown(NamedTuple):
    """A line of a rank."""

    rank: int
    stream: int
    text: str
    line: Line
    """The text with its style."""
    block: int | None = None
    """Lines of one stream that have the same number here were written at once, and belong together."""


MAX_LINES = 2_000
"""Lines of a rank that are shown at most, or of all ranks where they are shown as one text."""

# Bytes of logs that are read in all, and how many control characters of a terminal they may have. Each of these takes
# about a microsecond, and the cell waits for all of them.
_MAX_READ_BYTES = 4_000_000
_MAX_CONTROL_CHARACTERS = 150_000
_CONTROL_CHARACTERS = (b"\n", b"\r", b"\x1b", b"\b", b"\t")
# Bytes of a rank that are read at first, and the factor by which more is read each time that too little can be seen.
_FIRST_BYTES = 1_000
_GROWTH = 8
# The cursor's moves upwards: behind one of them nobody can say what a line is without rendering it.
_UPWARDS = re.compile(rb"\x1b\[[0-9:;]*A")
# A bar of tqdm: what comes before its times, the time that it has taken, and what else it tells.
_BAR = re.compile(r"(.*\| +\S+/\S+ )\[([\d:]+)<[\d:?]+, *[^,\]]*((?:, [^\]]*)?)\] *")
# Other lines that Python writes when a process crashes.
_FRAME = re.compile(r"  (?:File \"|Binary file \"|\.\.\.|<)")
_REST_OF_DUMP = re.compile(r"|Python runtime state: .*|Current thread's C stack trace .*|Extension modules: .*")


def whole(arrivals: Arrivals, most: int) -> list[Shown] | None:
    """Return all lines of all ranks; None if they take too long to render, or more than `most` bytes when folded."""
    size = arrivals.size(ALL)
    if size > _MAX_READ_BYTES:
        return None
    excerpt, gone = _without_cleared(arrivals.read(ALL, 0, size))
    size = len(excerpt.data)
    data = excerpt.data
    if (
        _count_control_characters(data) > _MAX_CONTROL_CHARACTERS
        or (size > most and _min_visible_bytes(data) > most)
        or _lines_of_one(excerpt) > MAX_LINES
    ):
        return None
    blocks = {
        source: [(start - gone.get(source, 0), end - gone.get(source, 0)) for start, end in those]
        for source, those in arrivals.blocks().items()
    }
    return in_order(excerpt, blocks)


def tail(arrivals: Arrivals, rank: int, ranks: int, enough: int) -> tuple[list[Shown], bool]:
    """Return the last lines of a rank, and whether they are all of them.

    Parameters
    ----------
    arrivals : Arrivals
        The logs.
    rank : int
        The rank.
    ranks : int
        How many ranks' ends are looked at, which share the time that this may take.
    enough : int
        Bytes of lines after which no more is read.
    """
    log = str(rank)
    size = arrivals.size(log)
    count = _FIRST_BYTES + enough
    lines: list[Shown] | None = None
    while True:
        count = min(count, max(_FIRST_BYTES, _MAX_READ_BYTES // ranks))
        excerpt = arrivals.read_lines(log, size - count, size)
        begins = size - len(excerpt.data)
        torn = arrivals.within_line(log, begins, size)
        excerpt, cleared = _without_cleared(excerpt)
        if {stream for _, stream in cleared} == {STDOUT, STDERR}:
            begins = 0  # what was written before has been cleared
        if lines is not None and _count_control_characters(excerpt.data) > _MAX_CONTROL_CHARACTERS // ranks:
            return lines, False
        lines = in_order(excerpt, torn=torn - cleared.keys())
        found = sum(len(shown.text) + 1 for shown in lines)
        if begins == 0 or count >= _MAX_READ_BYTES // ranks or found > enough or len(lines) > MAX_LINES:
            return lines[-MAX_LINES:], begins == 0 and len(lines) <= MAX_LINES
        count *= _GROWTH


def folded(lines: Iterable[Shown]) -> list[Group[Line]]:
    """Fold lines that several ranks wrote alike, and progress bars that differ only in the time that they took.

    Of lines that belong together, all are folded or none.
    """
    bars: dict[tuple[int, str], dict[str, str]] = {}
    keyed = []
    for part in _parts(lines):
        first = part[0]
        if len(part) == 1 and (bar := _BAR.fullmatch(first.text)) is not None:
            # the time that each bar took, by its whole line
            bars.setdefault((first.stream, _key(part)), {})[first.text] = bar[2]
        keyed.append((first.rank, first.stream, _key(part), part))
    groups = []
    for group in fold(keyed):
        for shown in group.line:
            line = shown.line
            times = bars.get((group.stream, group.text), {})
            bar = _BAR.fullmatch(line.text)
            if bar is not None and len(times) > 1 and len(group.ranks) > 1:
                found = sorted(set(times.values()), key=lambda time: (len(time), time))
                line = _ended_by(line, bar.end(1), f"[{'-'.join(found[:1] + found[1:][-1:])}{bar[3]}]")
            groups.append(Group(group.ranks, group.stream, line.text, line))
    return groups


def _parts(lines: Iterable[Shown]) -> list[list[Shown]]:
    """Split lines into parts: lines that belong together are one part, any other line is a part of its own."""
    parts: list[list[Shown]] = []
    for shown in lines:
        last = parts[-1][-1] if parts else None
        if shown.block is not None and last is not None and _block(shown) == _block(last):
            parts[-1].append(shown)
        else:
            parts.append([shown])
    return parts


def _block(shown: Shown) -> tuple[int, int, int | None]:
    return shown.rank, shown.stream, shown.block


def marked_where_torn(lines: Sequence[Shown]) -> list[Shown]:
    """Mark the first line of each rank and stream with "…" if it is the rest of a longer line."""
    found = []
    seen = set()
    for shown in lines:
        source = (shown.rank, shown.stream)
        if shown.line.goes_on and source not in seen:
            # the mark replaces a character, because such a line is as long as a line may be
            (text, style), *spans = shown.line.spans
            line = Line([(f"…{text[1:]}", style), *spans], shown.line.redrawn)
            found.append(shown._replace(text=line.text, line=line))
        else:
            found.append(shown)
        seen.add(source)
    return found


def _key(part: Sequence[Shown]) -> str:
    """Return a key that is equal for parts that ranks wrote alike."""
    bar = _BAR.fullmatch(part[0].text) if len(part) == 1 else None
    return "\n".join(shown.text.rstrip(" ") for shown in part) if bar is None else f"{bar[1]}[{bar[3]}]"


def in_order(
    excerpt: Excerpt,
    blocks: Mapping[tuple[int, int], Sequence[tuple[int, int]]] | None = None,
    torn: Collection[tuple[int, int]] = (),
) -> list[Shown]:
    """Return the lines that an excerpt shows, in the order in which they began.

    Lines that several ranks wrote at the same time take turns, see `nblaunch.panel.turns.in_turns`.

    Parameters
    ----------
    excerpt : Excerpt
        The bytes.
    blocks : mapping of (rank, stream) to sequence of (start, end)
        Ranges of bytes that were written at once: their lines belong together.
    torn : collection of (rank, stream)
        The streams whose bytes begin within a line.
    """
    sources: dict[tuple[int, int], list[bytes]] = {}
    begins: dict[tuple[int, int], list[int]] = {}
    position = 0
    for number, (rank, stream, count) in enumerate(excerpt.pieces):
        part = excerpt.data[position : position + count]
        position += count
        source = (rank, stream)
        parts = sources.setdefault(source, [])
        starts = begins.setdefault(source, [])
        # the number of the piece in which each line of this stream begins
        if not parts or parts[-1].endswith(b"\n"):
            starts.append(number)
        starts += [number] * part.count(b"\n", 0, len(part) - 1)
        parts.append(part)
    found = []
    for (rank, stream), parts in sources.items():
        starts = begins[rank, stream]
        data = b"".join(parts)
        if (rank, stream) in torn:
            data = from_its_middle(data)
        lines = list(enumerate(render(data)))
        together = _together(data, (blocks or {}).get((rank, stream), ()), len(lines))
        if b"\r" in data:
            # progress bars that were cleared leave no lines
            while lines and not lines[-1][1].text.strip():
                lines.pop()
        if stream == STDERR:
            lines = _without_launcher(lines)
        for index, line in lines:
            block = together.get(index)
            # lines that belong together are where the first one is
            start = starts[min(index if block is None else block, len(starts) - 1)]
            found.append((start, Shown(rank, stream, line.text, line, block)))
    found.sort(key=lambda item: item[0])
    return _in_turns(found, excerpt)


def _together(data: bytes, blocks: Sequence[tuple[int, int]], count: int) -> dict[int, int]:
    """Map the numbers of lines that belong to a block to the number of the block's first line.

    Returns an empty mapping if the cursor has moved between lines, so that they are not where they were written.
    """
    if not blocks or not data.count(b"\n") <= count <= data.count(b"\n") + 1:
        return {}
    found: dict[int, int] = {}
    line = position = 0
    for start, end in blocks:
        # blocks of threads that write at the same time may overlap: the later one is passed over
        if start >= position and end <= len(data):
            first = line + data.count(b"\n", position, start)
            line = first + data.count(b"\n", start, end - 1)
            position = end - 1
            found.update((index, found.get(first, first)) for index in range(first, line + 1))
    return found


def _without_cleared(excerpt: Excerpt) -> tuple[Excerpt, dict[tuple[int, int], int]]:
    """Return an excerpt without what its ranks have cleared, and how many bytes of each stream were cleared."""
    if CLEARED not in excerpt.data and CLEARED_BY_NEXT not in excerpt.data:
        return excerpt, {}
    whole: dict[tuple[int, int], list[bytes]] = {}
    position = 0
    for rank, stream, count in excerpt.pieces:
        whole.setdefault((rank, stream), []).append(excerpt.data[position : position + count])
        position += count
    gone = {source: last_clearing(b"".join(parts)) for source, parts in whole.items()}
    cleared = {source: count for source, count in gone.items() if count}
    pieces, data = [], []
    position = 0
    for rank, stream, count in excerpt.pieces:
        part = excerpt.data[position + min(count, gone[rank, stream]) : position + count]
        position += count
        gone[rank, stream] -= count - len(part)
        if part:
            pieces.append((rank, stream, len(part)))
            data.append(part)
    return Excerpt(excerpt.offset, pieces, b"".join(data)), cleared


def _in_turns(found: Sequence[tuple[int, Shown]], excerpt: Excerpt) -> list[Shown]:
    """Put lines that several ranks wrote at the same time into the order of `in_turns`.

    Each look at the files has found what every rank had written since the look before, rank by rank. In that order, a
    line that all ranks write would be folded into the first rank's lines, away from what the others wrote before it.
    """
    looks: list[int] = []
    before = -1
    for rank, _, _ in excerpt.pieces:
        looks.append((looks[-1] if looks else 0) + (rank < before))
        before = rank
    ordered: list[Shown] = []
    for _, look in groupby(found, key=lambda item: looks[item[0]]):
        ranks: dict[int, list[Shown]] = {}
        for _, shown in look:
            ranks.setdefault(shown.rank, []).append(shown)
        parts = [_parts(ranks[rank]) for rank in sorted(ranks)]
        ordered += chain.from_iterable(
            in_turns([[((part[0].stream, _key(part)), part) for part in own] for own in parts])
        )
    return ordered


def last_in_turns(ends: Sequence[Sequence[Shown]]) -> list[Shown]:
    """Return the last lines of several ranks as one text; lines are aligned from the end, as `in_turns` does."""
    backwards = [[((shown.stream, _key([shown])), shown) for shown in reversed(end)] for end in reversed(ends)]
    return in_turns(backwards)[::-1]


def _count_control_characters(data: bytes) -> int:
    return sum(map(data.count, _CONTROL_CHARACTERS))


def _lines_of_one(excerpt: Excerpt) -> int:
    """Return about how many lines the rank with most lines has: folding leaves at least as many."""
    counts: Counter[int] = Counter()
    position = 0
    for rank, _, count in excerpt.pieces:
        part = excerpt.data[position : position + count]
        position += count
        counts[rank] += part.count(b"\n") - sum(1 for _ in _UPWARDS.finditer(part))
    return max(counts.values(), default=0)


def _min_visible_bytes(data: bytes) -> int:
    """Return about how many bytes are shown at least, if equal lines are shown once."""
    distinct = set(data.split(b"\n"))
    return sum(len(line) - line.rfind(b"\r", 0, -1) for line in distinct if not _UPWARDS.search(line))


def _ended_by(line: Line, length: int, end: str) -> Line:
    """Return the first `length` characters of a line, with another end."""
    spans = []
    for text, style in line.spans:
        spans.append((text[:length], style))
        length -= len(text)
        if length <= 0:
            break
    return Line([*spans, (end, None)], line.redrawn, line.goes_on)


def _without_launcher(lines: list[tuple[int, Line]]) -> list[tuple[int, Line]]:
    """Shorten the dumps of crashes to the frames of the user's code; the log has the rest."""
    kept: list[tuple[int, Line]] = []
    threads: list[tuple[tuple[int, Line], list[tuple[int, Line]]]] | None = None
    for numbered in lines:
        text = numbered[1].text
        if threads is not None:
            if THREAD.fullmatch(text):
                threads.append((numbered, []))
                continue
            if _FRAME.match(text):
                if threads:
                    threads[-1][1].append(numbered)
                continue
            if _REST_OF_DUMP.fullmatch(text):
                continue
            kept += _of_user(threads)
            threads = None
        kept.append(numbered)
        if text.startswith(FATAL):
            threads = []
    return kept + _of_user(threads or [])


def _of_user(threads: Sequence[tuple[tuple[int, Line], list[tuple[int, Line]]]]) -> list[tuple[int, Line]]:
    found = []
    for head, lines in threads:
        texts = [line.text for _, line in lines]
        count = len(users_frames(frames_of(texts), has_more_frames(texts)))
        # threads without a frame of the user's code belong to the launcher, or to a library
        if count:
            found += [head, *lines[:count]]
    return found
