"""The record: what stays of a run in the notebook, as static HTML and as text.

It has to read well wherever a saved notebook is opened: in Jupyter, trusted or not, on sites that take every style
away, and as plain text. So the meaning is in elements and words, and styles only make it pleasant. All that comes from
ranks is escaped, and all of it together is bounded.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from html import escape

from nblaunch.naming import count_ranks, name_ranks
from nblaunch.panel.arrivals import ALL, STDERR, Arrivals, Excerpt
from nblaunch.panel.colours import css
from nblaunch.panel.folding import fold, prefix
from nblaunch.panel.state import Outcome, RankState, RunState
from nblaunch.panel.terminal import Line, render, visible
from nblaunch.sizes import WORTH_TELLING, in_words, listed

__all__ = ["MOST", "record", "still_running"]

MOST = 200_000
"""Bytes of the HTML and the text together, at most."""

# Bytes of logs up to which all of it is one text, in order; what is more is shown by rank, its end only.
_TOGETHER = 40_000
# Bytes up to which it is looked whether ranks wrote so much alike that all of it is no more than that when folded.
_PERHAPS_TOGETHER = 400_000
# Bytes of logs that are looked at in all, and lines that are shown of one rank then.
_IN_ALL = 80_000
_LEAST_PER_RANK = 600
# Bytes that stand around the lines of one rank.
_HEAD = 500
_LINES_PER_RANK = 200
# Characters of a line, and of one traceback.
_LONGEST_LINE = 2_000
_LONGEST_TRACEBACK = 12_000
_MOST_TRACEBACKS = 8
# Groups of ranks in the table.
_MOST_ROWS = 40

# What failures are told apart by.
_Kind = tuple[str, tuple[str, ...]]
_COLOURED = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r"^ *(?:Cell In\[\d+\], line \d+|File .+?(?::\d+|, line \d+))", re.MULTILINE)

_SIGNS = {"finished": "✓", "failed": "✕", "timed out": "✕", "interrupted": "■", "stopped": "■", "not started": "✕"}
_SIGNS_OF_RANKS = {"starting": "○", "running": "●", "finished": "✓", "failed": "✕", "stopped": "■", "restarting": "↻"}
_MUTED = "color: var(--jp-ui-font-color2, #757575)"
# Twice, because Jupyter takes variables away where it does not trust a notebook.
_GOOD = "color: #388e3c; color: var(--jp-success-color1, #388e3c)"
_BAD = "color: #d64a3f; color: var(--jp-error-color1, #d64a3f)"
_PRE = (
    "margin: 2px 0; padding: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.35; "
    "font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px)"
)
_NO_WRAP = "white-space: nowrap"
_BOX = "font-size: var(--jp-ui-font-size1, 13px); line-height: 1.5"


def record(state: RunState, outcome: Outcome, arrivals: Arrivals) -> tuple[str, str]:
    """Return what stays of a run that has ended.

    Parameters
    ----------
    state : RunState
        What was shown.
    outcome : Outcome
        What became of it.
    arrivals : Arrivals
        Its logs.

    Returns
    -------
    html, text : str
        At most `MOST` bytes together.
    """
    arrivals.look()
    page = _Page()
    _add_summary(page, state, outcome)
    if any(rank.state != "finished" for rank in state.ranks):
        _add_table(page, state, arrivals)
    _add_tracebacks(page, state, opened=not outcome.told)
    try:
        if not _add_lines(page, arrivals, len(state.ranks) > 1):
            _add_logs_by_rank(page, state, arrivals)
    except OSError as error:  # a rank may remove what it likes
        text = visible(f"… the output cannot be read any more: {error}")
        page.add(f"<div>{escape(text)}</div>", text)
    return page.html(), page.text()


def still_running(state: RunState, now: float) -> tuple[str, str]:
    """Return a line for the case that the kernel dies meanwhile: what ran, since when, and until when that is known.

    Parameters
    ----------
    now : float
        The time, as of `time.time`.
    """
    since = now - state.clock(time.monotonic())
    counts = ", ".join(f"{count} {word}" for word, count in state.counts.items())
    times = f"running since {_hour(since)}, last seen {_hour(now)}"
    text = f"{_cut(state.title)}: {times}: {counts}; logs in {_cut(state.log_dir)}"
    return f'<div style="font-size: 85%; {_MUTED}">{escape(text)}</div>', text


class _Page:
    """HTML and text side by side, up to a bound."""

    def __init__(self) -> None:
        self._html: list[str] = []
        self._text: list[str] = []
        self._size = 0

    @property
    def room(self) -> int:
        """How many bytes may still be added."""
        # some are left for what is closed behind it
        return MOST - 2_000 - self._size

    def add(self, html: str, text: str = "") -> bool:
        """Add a part to both, unless that is too much."""
        size = len(html.encode()) + len(text.encode()) + 1
        if size > self.room:
            return False
        self._size += size
        self._html.append(html)
        if text:
            self._text.append(text)
        return True

    def html(self) -> str:
        return f'<div style="{_BOX}">{"".join(self._html)}</div>'

    def text(self) -> str:
        return "\n".join(self._text)


def _add_summary(page: _Page, state: RunState, outcome: Outcome) -> None:
    sign = _SIGNS.get(outcome.status, "■")
    ended = state.ended_at if state.ended_at is not None else time.monotonic()
    done = sum(rank.state == "finished" for rank in state.ranks)
    total = count_ranks(len(state.ranks))
    which = total if done == len(state.ranks) else f"{done} of {len(state.ranks)} finished"
    details = [f"{outcome.status} in {_seconds(state.clock(ended))}", which]
    if state.restarts:
        details.append(state.restarts)
    if outcome.bound:
        details.append(f"{outcome.bound} → notebook")
    if sum(state.sizes.values()) >= WORTH_TELLING:
        details.append(f"sent to each rank: {listed(state.sizes)}")
    if outcome.logs and outcome.status != "finished" and not outcome.told:
        details.append(f"logs in {outcome.logs}")
    tone = _GOOD if outcome.status == "finished" else _BAD
    title, told = _cut(state.title), _cut(" · ".join(details))
    page.add(
        f'<div><span style="{tone}">{sign}</span> <b>{escape(title)}</b> '
        f'<span style="{_MUTED}">{escape(told)}</span></div>\n',
        f"{sign} {title}  {told}",
    )
    if outcome.status in ("failed", "not started") and state.root is None and outcome.summary:
        # no rank tells the reason
        why = _cut(outcome.summary)
        page.add(f"<div>{escape(why)}</div>\n", why)


def _add_table(page: _Page, state: RunState, arrivals: Arrivals) -> None:
    groups: dict[tuple[str, _Kind, str], list[RankState]] = {}
    # the root cause first, then by number
    for rank in sorted(state.ranks, key=lambda rank: (not rank.root, rank.state != "failed", rank.rank)):
        exit_ = rank.exit if rank.state != "finished" else ""
        groups.setdefault((rank.state, _kind(rank), exit_), []).append(rank)
    cell = "padding: 0 1em 0 0; text-align: left; vertical-align: top; border: none"
    rows, lines = [], []
    for (word, _, exit_), ranks in list(groups.items())[:_MOST_ROWS]:
        first = " first" if ranks[0].root and len(groups) > 1 else ""
        why = ranks[0].why
        written = sum(sum(arrivals.written(rank.rank)) for rank in ranks)
        ended = max((rank.ended or 0.0 for rank in ranks), default=0.0)
        parts = (
            name_ranks(rank.rank for rank in ranks),
            f"{_SIGNS_OF_RANKS[word]} {word}{first}",
            _seconds(ended),
            f"{in_words(written)} written",
            "; ".join(part for part in (why, _alike(ranks), exit_ if exit_ not in why else "") if part),
        )
        tone = _BAD if word == "failed" else _MUTED
        rows.append(
            # Jupyter would give every other row a ground of its own
            '<tr style="background: none">'
            + "".join(
                f'<td style="{cell}; {_NO_WRAP if index < 4 else ""}; {tone if index == 1 else ""}">'
                f"{escape(_cut(part))}</td>"
                for index, part in enumerate(parts)
            )
            + "</tr>\n"
        )
        lines.append("  ".join(_cut(part) for part in parts if part).rstrip())
    if len(groups) > _MOST_ROWS:
        more = f"… and {count_ranks(sum(map(len, list(groups.values())[_MOST_ROWS:])))} that ended in other ways"
        rows.append(f'<tr><td colspan="5" style="{cell}">{more}</td></tr>\n')
        lines.append(more)
    page.add(f'<table style="margin: 2px 0; border: none">\n{"".join(rows)}</table>\n', "\n".join(lines))


def _add_tracebacks(page: _Page, state: RunState, *, opened: bool) -> None:
    groups: dict[_Kind, list[RankState]] = {}
    for rank in sorted(state.ranks, key=lambda rank: (not rank.root, rank.rank)):
        if rank.traceback and rank.state == "failed":
            groups.setdefault(_kind(rank), []).append(rank)
    for ranks in list(groups.values())[:_MOST_TRACEBACKS]:
        lines = render(ranks[0].traceback.encode(errors="replace")[-_LONGEST_TRACEBACK:])
        names = name_ranks(rank.rank for rank in ranks)
        others = f" ({_alike(ranks)})" if _alike(ranks) else ""
        body = "\n".join(_line_html(line) for line in lines)
        page.add(
            f"<details{' open' if opened and ranks[0].root else ''}><summary>traceback of {names}: "
            f'{escape(_cut(ranks[0].why + others))}</summary>\n<pre style="{_PRE}">{body}</pre></details>\n',
            "\n".join([f"traceback of {names}{others}:", *(_cut(line.text) for line in lines)]),
        )


def _add_lines(page: _Page, arrivals: Arrivals, named: bool) -> bool:
    """Add what all ranks wrote, in order, unless that is too much."""
    size = arrivals.size(ALL)
    if not 0 < size <= _PERHAPS_TOGETHER:
        return False
    excerpt = arrivals.read(ALL, 0, size)
    # folding takes much longer than seeing that it will be of no use
    if size > _TOGETHER and sum(map(len, set(excerpt.data.split(b"\n")))) > _TOGETHER:
        return False
    groups = fold(_in_order(excerpt))
    if size > _TOGETHER and sum(len(group.text) + 1 for group in groups) > _TOGETHER:
        return False
    rows, texts = [], []
    for group in groups:
        head = prefix(group.ranks) if named else ""
        mark = "! " if group.stream == STDERR else ""
        texts.append(f"{head}{mark}{_cut(group.text)}")
        rows.append(_row(head, group.line, group.stream))
    html = f'<pre style="{_PRE}">' + "\n".join(rows) + "</pre>\n"
    legend = "(! marks stderr)" if any("! " in text[:24] for text in texts) and _has_stderr(excerpt) else ""
    if legend:
        html += f'<div style="font-size: 85%; {_MUTED}">{legend}</div>\n'
    return page.add(html, "\n".join([*texts, *([legend] if legend else [])]))


def _kind(rank: RankState) -> _Kind:
    """Return what failures that are alike have in common: the type, and the lines that it was raised along."""
    if rank.state != "failed" or not rank.traceback:
        return rank.why, ()
    plain = _COLOURED.sub("", rank.traceback[-_LONGEST_TRACEBACK:])
    return rank.why.partition(":")[0], tuple(_PLACE.findall(plain))


def _alike(ranks: Sequence[RankState]) -> str:
    """Say how failures that are shown as one differ."""
    others = [rank.rank for rank in ranks[1:] if rank.why != ranks[0].why]
    if not others:
        return ""
    return f"{name_ranks(others)}: {ranks[0].why.partition(':')[0]} from the same line, with another text"


def _add_logs_by_rank(page: _Page, state: RunState, arrivals: Arrivals) -> None:
    wrote = [rank for rank in state.ranks if sum(arrivals.written(rank.rank))]
    if not wrote:
        return
    # failed ones and rank 0 first: there may not be room for all
    order = sorted(wrote, key=lambda rank: (not rank.root, rank.state != "failed", rank.rank))
    share = max(_LEAST_PER_RANK, _IN_ALL // len(order))
    left_out = 0
    for position, rank in enumerate(order):
        size = arrivals.size(str(rank.rank))
        excerpt = arrivals.read_lines(str(rank.rank), size - share, size)
        found = list(_in_order(excerpt))
        # colours and what has to be escaped may take many times the room
        room = max(page.room // (len(order) - position), 4 * _LEAST_PER_RANK) - _HEAD
        rows, texts = _last_that_fit(found[-_LINES_PER_RANK:], room)
        head = f"rank {rank.rank}, {in_words(size)} of output"
        if excerpt.offset or len(rows) < len(found):
            end = "the last line" if len(rows) == 1 else f"the last {len(rows)} lines" if rows else "nothing"
            released = arrivals.released(rank.rank)
            kept = f"the last {in_words(size - released)}" if released else "all"
            head += f", {end} of it; {kept} of it in {_cut(rank.stdout.rpartition('/')[0])}"
        body = "\n".join(rows)
        opened = " open" if position == 0 and len(order) <= 8 else ""
        added = page.add(
            f'<details{opened}><summary>{escape(head)}</summary>\n<pre style="{_PRE}">{body}</pre></details>\n',
            "\n".join([f"--- {head}", *texts]),
        )
        if not added:
            left_out = len(order) - position
            break
    if left_out:
        text = f"… the output of {count_ranks(left_out)} more is in the logs: {_cut(state.log_dir)}"
        page.add(f"<div>{escape(text)}</div>", text)


def _last_that_fit(found: Sequence[tuple[int, int, str, Line]], room: int) -> tuple[list[str], list[str]]:
    """Return HTML and text of the last lines that together take no more than so many bytes, one at least."""
    rows: list[str] = []
    texts: list[str] = []
    for _, stream, text, line in reversed(found):
        row, shown = _row("", line, stream), _cut(text)
        room -= len(row.encode()) + len(shown.encode()) + 2
        if rows and room < 0:
            break
        rows.append(row)
        texts.append(shown)
    return rows[::-1], texts[::-1]


def _in_order(excerpt: Excerpt) -> Iterable[tuple[int, int, str, Line]]:
    """Return rank, stream, text and line of what an excerpt shows, in the order in which the lines began."""
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
        for index, line in enumerate(render(b"".join(parts))):
            found.append((starts[min(index, len(starts) - 1)], rank, stream, line))
    found.sort(key=lambda item: item[0])
    return [(rank, stream, line.text, line) for _, rank, stream, line in found]


def _has_stderr(excerpt: Excerpt) -> bool:
    return any(stream == STDERR for _, stream, _ in excerpt.pieces)


def _row(head: str, line: Line, stream: int) -> str:
    html = _line_html(line)
    if stream == STDERR:
        html = f'<span style="border-left: 2px solid #d08a1e; padding-left: 4px"><b>!</b> {html}</span>'
    return f'<span style="{_MUTED}">{escape(head)}</span>{html}' if head else html


def _line_html(line: Line) -> str:
    parts = []
    left = _LONGEST_LINE
    for text, style in line.spans:
        shown = escape(text[:left])
        left -= len(text)
        parts.append(f'<span style="{css(style)}">{shown}</span>' if style is not None else shown)
        if left <= 0:
            parts.append("…")
            break
    return "".join(parts)


def _cut(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _hour(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
