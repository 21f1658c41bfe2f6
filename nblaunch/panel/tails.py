"""What the logs of a run show, for its record: lines as a terminal leaves them, in order, within bounded time.

::

    Arrivals ─► whole(), all of it if it is little; tail(), the end of one rank ─► Shown lines ─► folded()

What counts is what can be seen: a progress bar writes megabytes of which one line stays, so that much more is read than
is shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby

from nblaunch.clearing import CLEARED, CLEARED_BY_NEXT, last_clearing
from nblaunch.panel.arrivals import ALL, STDERR, STDOUT, Arrivals, Excerpt
from nblaunch.panel.folding import Group, fold
from nblaunch.panel.terminal import Line, render
from nblaunch.panel.turns import in_turns
from nblaunch.processes.stacks import FATAL, THREAD, frames_of, is_cut_off
from nblaunch.stacks import users_frames

__all__ = ["MOST_LINES", "Shown", "folded", "in_order", "last_in_turns", "tail", "whole"]

Shown = tuple[int, int, str, Line]
"""Rank, stream, text, and the line with its style."""

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
    excerpt, _ = _to_be_seen(arrivals.read(ALL, 0, size))
    size = len(excerpt.data)
    data = excerpt.data
    if _effort(data) > _EFFORT or (size > most and _at_least(data) > most) or _lines_of_one(excerpt) > MOST_LINES:
        return None
    return in_order(excerpt)


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
        excerpt, cleared = _to_be_seen(excerpt)
        if cleared == {STDOUT, STDERR}:
            begins = 0  # what comes before is not to be seen
        if lines is not None and _effort(excerpt.data) > _EFFORT // ranks:
            return lines, False
        lines = in_order(excerpt)
        found = sum(len(text) + 1 for _, _, text, _ in lines)
        if begins == 0 or count >= _READ // ranks or found > enough or len(lines) > MOST_LINES:
            return lines[-MOST_LINES:], begins == 0 and len(lines) <= MOST_LINES
        count *= _MORE


def folded(lines: Iterable[Shown]) -> list[Group[Line]]:
    """Fold lines that several ranks wrote alike; so are bars that stand at the same place, however long they took."""
    bars: dict[tuple[int, str], dict[str, str]] = {}
    keyed = []
    for rank, stream, text, line in lines:
        key, bar = _alike(text)
        if bar is not None:
            # how long it took, by what the whole line is
            bars.setdefault((stream, key), {})[text] = bar[2]
        keyed.append((rank, stream, key, line))
    groups = fold(keyed)
    for group in groups:
        times = bars.get((group.stream, group.text), {})
        bar = _BAR.fullmatch(group.line.text)
        if bar is not None and len(times) > 1 and len(group.ranks) > 1:
            found = sorted(set(times.values()), key=lambda time: (len(time), time))
            group.line = _ended_by(group.line, bar.end(1), f"[{'-'.join(found[:1] + found[1:][-1:])}{bar[3]}]")
        group.text = group.line.text
    return groups


def in_order(excerpt: Excerpt) -> list[Shown]:
    """Return the lines that an excerpt shows, in the order in which they began; of one moment, see `in_turns`."""
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
        lines = list(enumerate(render(data)))
        if b"\r" in data:
            # bars that have been cleared leave nothing
            while lines and not lines[-1][1].text.strip():
                lines.pop()
        if stream == STDERR:
            lines = _without_launcher(lines)
        found += [(starts[min(index, len(starts) - 1)], rank, stream, line) for index, line in lines]
    found.sort(key=lambda item: item[0])
    found = _in_turns(found, excerpt)
    return [(rank, stream, line.text, line) for _, rank, stream, line in found]


def _to_be_seen(excerpt: Excerpt) -> tuple[Excerpt, set[int]]:
    """Return an excerpt without what its ranks have cleared, and which streams they have cleared in it."""
    if CLEARED not in excerpt.data and CLEARED_BY_NEXT not in excerpt.data:
        return excerpt, set()
    whole: dict[tuple[int, int], list[bytes]] = {}
    position = 0
    for rank, stream, count in excerpt.pieces:
        whole.setdefault((rank, stream), []).append(excerpt.data[position : position + count])
        position += count
    gone = {source: last_clearing(b"".join(parts)) for source, parts in whole.items()}
    cleared = {stream for (_, stream), count in gone.items() if count}
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


def _in_turns(found: list[tuple[int, int, int, Line]], excerpt: Excerpt) -> list[tuple[int, int, int, Line]]:
    """Return lines so that those which several ranks wrote at the same time take turns at what they wrote alike.

    One look at the files finds what each rank has written since the one before, rank by rank. Were it shown so, a line
    that all write would be folded into the first rank's, away from what the others wrote before it.
    """
    looks: list[int] = []
    before = -1
    for rank, _, _ in excerpt.pieces:
        looks.append((looks[-1] if looks else 0) + (rank < before))
        before = rank
    ordered = []
    for _, look in groupby(found, key=lambda item: looks[item[0]]):
        ranks: dict[int, list[tuple[Hashable, tuple[int, int, int, Line]]]] = {}
        for item in look:
            _, rank, stream, line = item
            ranks.setdefault(rank, []).append(((stream, _alike(line.text)[0]), item))
        ordered += in_turns([ranks[rank] for rank in sorted(ranks)])
    return ordered


def last_in_turns(ends: Sequence[Sequence[Shown]]) -> list[Shown]:
    """Return the last lines of several ranks as one text; the very last ones of equal loops meet."""
    backwards = [[((line[1], _alike(line[2])[0]), line) for line in reversed(end)] for end in reversed(ends)]
    return in_turns(backwards)[::-1]


def _alike(text: str) -> tuple[str, re.Match[str] | None]:
    """Return what tells whether another rank wrote such a line too, and the bar that it is, if it is one."""
    bar = _BAR.fullmatch(text)
    return (text.rstrip(" "), None) if bar is None else (f"{bar[1]}[{bar[3]}]", bar)


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
    return Line([*spans, (end, None)], line.redrawn)


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
        count = len(users_frames(frames_of(texts), is_cut_off(texts)))
        # those that have no frame of Python are the launcher's, or a library's
        if count:
            found += [head, *lines[:count]]
    return found
