"""What the logs of a run show, for its record: lines as a terminal leaves them, in order, within bounded time.

::

    Arrivals ─► whole(), all of it if it is little; tail(), the end of one rank ─► Shown lines ─► folded()

What counts is what can be seen: a progress bar writes megabytes of which one line stays, so that much more is read than
is shown.
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

__all__ = ["MOST_LINES", "Shown", "folded", "in_order", "last_in_turns", "marked_where_torn", "tail", "whole"]


class Shown(NamedTuple):
    """A line of a rank."""

    rank: int
    stream: int
    text: str
    line: Line
    """The same with its style."""
    block: int | None = None
    """Which lines of this stream belong together: those with the same number."""


MOST_LINES = 2_000
"""Lines of a rank, or of all when they are one text, that are worth being shown."""

# Bytes of logs that are read in all, and characters with a meaning for a terminal in them that are obeyed. Each takes
# about a microsecond, and the cell ends when all is shown.
_READ = 4_000_000
_EFFORT = 150_000
_MEANINGFUL = (b"\n", b"\r", b"\x1b", b"\b", b"\t")
# What is read of a rank at first, and how many times more each time that too little of it can be seen.
_FIRST = 1_000
_MORE = 8
# The cursor's moves upwards: behind one of them nobody can say what a line is without rendering it.
_UPWARDS = re.compile(rb"\x1b\[[0-9:;]*A")
# A bar of tqdm: what comes before its times, the time that it has taken, and what else it tells.
_BAR = re.compile(r"(.*\| +\S+/\S+ )\[([\d:]+)<[\d:?]+, *[^,\]]*((?:, [^\]]*)?)\] *")
# What else Python writes when a process crashes.
_FRAME = re.compile(r"  (?:File \"|Binary file \"|\.\.\.|<)")
_REST_OF_DUMP = re.compile(r"|Python runtime state: .*|Current thread's C stack trace .*|Extension modules: .*")


def whole(arrivals: Arrivals, most: int) -> list[Shown] | None:
    """Return all lines of all ranks, or None if that is too much to look at, or more than so many bytes if folded."""
    size = arrivals.size(ALL)
    if size > _READ:
        return None
    excerpt, gone = _to_be_seen(arrivals.read(ALL, 0, size))
    size = len(excerpt.data)
    data = excerpt.data
    if _effort(data) > _EFFORT or (size > most and _at_least(data) > most) or _lines_of_one(excerpt) > MOST_LINES:
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
        Whose.
    ranks : int
        Of how many the ends are looked at: each has its part of the time that it may take.
    enough : int
        Bytes that need not be exceeded by much.
    """
    log = str(rank)
    size = arrivals.size(log)
    count = _FIRST + enough
    lines: list[Shown] | None = None
    while True:
        count = min(count, max(_FIRST, _READ // ranks))
        excerpt = arrivals.read_lines(log, size - count, size)
        begins = size - len(excerpt.data)
        torn = arrivals.within_line(log, begins, size)
        excerpt, cleared = _to_be_seen(excerpt)
        if {stream for _, stream in cleared} == {STDOUT, STDERR}:
            begins = 0  # what comes before is not to be seen
        if lines is not None and _effort(excerpt.data) > _EFFORT // ranks:
            return lines, False
        lines = in_order(excerpt, torn=torn - cleared.keys())
        found = sum(len(shown.text) + 1 for shown in lines)
        if begins == 0 or count >= _READ // ranks or found > enough or len(lines) > MOST_LINES:
            return lines[-MOST_LINES:], begins == 0 and len(lines) <= MOST_LINES
        count *= _MORE


def folded(lines: Iterable[Shown]) -> list[Group[Line]]:
    """Fold lines that several ranks wrote alike; so are bars that stand at the same place, however long they took.

    Of lines that belong together, all are folded or none.
    """
    bars: dict[tuple[int, str], dict[str, str]] = {}
    keyed = []
    for part in _parts(lines):
        first = part[0]
        if len(part) == 1 and (bar := _BAR.fullmatch(first.text)) is not None:
            # how long it took, by what the whole line is
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
    """Return lines in parts: those that belong together, and single ones."""
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
    """Return lines with a mark before the first ones of each rank and stream, if these are the rest of longer ones."""
    found = []
    seen = set()
    for shown in lines:
        source = (shown.rank, shown.stream)
        if shown.line.goes_on and source not in seen:
            # instead of a character, because such a line is as long as one may be
            (text, style), *spans = shown.line.spans
            line = Line([(f"…{text[1:]}", style), *spans], shown.line.redrawn)
            found.append(shown._replace(text=line.text, line=line))
        else:
            found.append(shown)
        seen.add(source)
    return found


def _key(part: Sequence[Shown]) -> str:
    """Return what tells whether another rank wrote the same."""
    bar = _BAR.fullmatch(part[0].text) if len(part) == 1 else None
    return "\n".join(shown.text.rstrip(" ") for shown in part) if bar is None else f"{bar[1]}[{bar[3]}]"


def in_order(
    excerpt: Excerpt,
    blocks: Mapping[tuple[int, int], Sequence[tuple[int, int]]] | None = None,
    torn: Collection[tuple[int, int]] = (),
) -> list[Shown]:
    """Return the lines that an excerpt shows, in the order in which they began; of one moment, see `in_turns`.

    Parameters
    ----------
    excerpt : Excerpt
        The bytes.
    blocks : mapping of (rank, stream) to sequence of (start, end)
        Which of the bytes of a stream came at once: their lines belong together.
    torn : collection of (rank, stream)
        Whose bytes begin within a line, which is marked.
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
        # which piece each line of this stream begins in
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
            # bars that have been cleared leave nothing
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
    """Return which of so many lines belong to which block, by the number of its first line."""
    if not blocks or not data.count(b"\n") <= count <= data.count(b"\n") + 1:
        return {}  # or the cursor went elsewhere, and lines are not where they were written
    found: dict[int, int] = {}
    line = position = 0
    for start, end in blocks:
        # those of threads that write at the same time may overlap
        if start >= position and end <= len(data):
            first = line + data.count(b"\n", position, start)
            line = first + data.count(b"\n", start, end - 1)
            position = end - 1
            found.update((index, found.get(first, first)) for index in range(first, line + 1))
    return found


def _to_be_seen(excerpt: Excerpt) -> tuple[Excerpt, dict[tuple[int, int], int]]:
    """Return an excerpt without what its ranks have cleared, and how many bytes of which streams these are."""
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
    """Return lines so that those which several ranks wrote at the same time take turns at what they wrote alike.

    One look at the files finds what each rank has written since the one before, rank by rank. Were it shown so, a line
    that all write would be folded into the first rank's, away from what the others wrote before it.
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
    """Return the last lines of several ranks as one text; the very last ones of equal loops meet."""
    backwards = [[((shown.stream, _key([shown])), shown) for shown in reversed(end)] for end in reversed(ends)]
    return in_turns(backwards)[::-1]


def _effort(data: bytes) -> int:
    return sum(map(data.count, _MEANINGFUL))


def _lines_of_one(excerpt: Excerpt) -> int:
    """Return about how many lines the rank has that has most: folding does not make them fewer."""
    counts: Counter[int] = Counter()
    position = 0
    for rank, _, count in excerpt.pieces:
        part = excerpt.data[position : position + count]
        position += count
        counts[rank] += part.count(b"\n") - sum(1 for _ in _UPWARDS.finditer(part))
    return max(counts.values(), default=0)


def _at_least(data: bytes) -> int:
    """Return about how many bytes will be seen at least, if all that is alike is seen once."""
    distinct = set(data.split(b"\n"))
    return sum(len(line) - line.rfind(b"\r", 0, -1) for line in distinct if not _UPWARDS.search(line))


def _ended_by(line: Line, length: int, end: str) -> Line:
    """Return so many characters of a line, and another end."""
    spans = []
    for text, style in line.spans:
        spans.append((text[:length], style))
        length -= len(text)
        if length <= 0:
            break
    return Line([*spans, (end, None)], line.redrawn, line.goes_on)


def _without_launcher(lines: list[tuple[int, Line]]) -> list[tuple[int, Line]]:
    """Return lines in which dumps of crashes end with the user's own code; the log has the rest."""
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
        # those that have no frame of Python are the launcher's, or a library's
        if count:
            found += [head, *lines[:count]]
    return found
