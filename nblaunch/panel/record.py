"""The record: what stays of a run in the notebook, as static HTML and as text.

It has to read well wherever a saved notebook is opened: in Jupyter, trusted or not, on sites that remove every style,
and as plain text. So elements and words carry the meaning, and styles only make it pleasant. All that comes from ranks
is escaped, and its size is bounded.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from html import escape

from nblaunch.logs.arrivals import Arrivals
from nblaunch.logs.files import from_its_middle
from nblaunch.panel.becoming import became, in_short
from nblaunch.panel.markup import BAD, GOOD, MUTED, PRE, Markup, cut, line_html
from nblaunch.panel.record_logs import add_logs
from nblaunch.panel.state import RankState, RunState, RunSummary
from nblaunch.panel.terminal import render, visible
from nblaunch.wording import WORTH_TELLING, count_ranks, in_words, listed, name_ranks

__all__ = ["MAX_RECORD_BYTES", "record", "still_running"]

MAX_RECORD_BYTES = 200_000
"""Bytes of the HTML and the text together, at most."""

# Bytes of one traceback.
_MAX_TRACEBACK_BYTES = 12_000
_MAX_TRACEBACKS = 8
# Each column of the table is about as wide as its longest text. In a narrow page the end of a row goes on below. Where
# styles are removed, it is an ordinary table.
_ROW = "display: flex; flex-wrap: wrap; gap: 0 1em; padding: 0; line-height: 1.5; background: none"
_CELL = "padding: 0; border: none; text-align: left; line-height: inherit; max-width: 100%; box-sizing: border-box"
_EM_OF_CHARACTER = 0.53
_MAX_ROWS = 40

# The type of a failure, and the lines that it was raised along.
_Kind = tuple[str, tuple[str, ...]]
_COLOURED = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r"^ *(?:Cell In\[\d+\], line \d+|File .+?(?::\d+|, line \d+))", re.MULTILINE)

_SIGNS = {"finished": "✓", "failed": "✕", "timed out": "✕", "interrupted": "■", "stopped": "■", "not started": "✕"}
_SIGNS_OF_RANKS = {"starting": "○", "running": "●", "finished": "✓", "failed": "✕", "stopped": "■", "restarting": "↻"}


def record(state: RunState, summary: RunSummary, arrivals: Arrivals, *, with_logs: bool = True) -> tuple[str, str]:
    """Return what stays of a run that has ended.

    Parameters
    ----------
    state : RunState
        The ranks of the run.
    summary : RunSummary
        What is said of the run as a whole.
    arrivals : Arrivals
        The logs of the run.
    with_logs : bool
        Whether the record has what the ranks wrote; False if that was printed above already.

    Returns
    -------
    html, text : str
        At most `MAX_RECORD_BYTES` bytes together.
    """
    arrivals.look()
    for number, stack in summary.crashes.items():
        # a rank that crashes cannot report a traceback itself
        state.ranks[number].traceback = state.ranks[number].traceback or stack
    page = Markup(MAX_RECORD_BYTES)
    _add_head(page, state, summary)
    if any(rank.state != "finished" for rank in state.ranks):
        _add_table(page, state, arrivals, summary)
    _add_tracebacks(page, state, told=summary.told)
    if not with_logs:
        return page.html(), page.text()
    try:
        add_logs(page, state, arrivals, told=summary.told)
    except OSError as error:  # the user's code may have removed the logs
        text = visible(f"… the output cannot be read any more: {error}")
        page.add(f"<div>{escape(text)}</div>", text)
    return page.html(), page.text()


def still_running(state: RunState, logs: str, now: float, token: str) -> tuple[str, str]:
    """Return a line, as HTML and text, for the case that the kernel dies during the run: what runs, and since when.

    Parameters
    ----------
    logs : str
        Folder of the log files.
    now : float
        The present `time.time()`.
    token : str
        Name of the panel; a page finds the note by it, see ``notebook.js``.
    """
    since = now - state.clock(time.monotonic())
    counts = ", ".join(f"{count} {word}" for word, count in state.counts.items())
    times = f"running since {_hour(since)}, last seen {_hour(now)}"
    text = f"{cut(state.title)}: {times}: {counts}; logs in {cut(logs)}"
    # panel.css hides the note while a panel is beside it
    return (
        f'<div class="nblaunch-note nblaunch-note-{token}" style="font-size: 85%; {MUTED}">{escape(text)}</div>',
        text,
    )


def _add_head(page: Markup, state: RunState, summary: RunSummary) -> None:
    sign = _SIGNS.get(summary.status, "■")
    ended = state.ended_at if state.ended_at is not None else time.monotonic()
    done = sum(rank.state == "finished" for rank in state.ranks)
    total = count_ranks(len(state.ranks))
    which = total if done == len(state.ranks) else f"{done} of {len(state.ranks)} finished"
    details = [f"{summary.status} in {_seconds(state.clock(ended))}", which]
    if state.restarts:
        details.append(state.restarts)
    if summary.bound:
        details.append(summary.bound)
    if sum(state.sizes.values()) >= WORTH_TELLING:
        details.append(f"sent to each rank: {listed(state.sizes)}")
    if summary.logs and summary.status != "finished" and not summary.told:
        details.append(f"logs in {summary.logs}")
    tone = GOOD if summary.status == "finished" else BAD
    title, told = cut(state.title), cut(" · ".join(details))
    page.add(
        f'<div><span style="{tone}">{sign}</span> <b>{escape(title)}</b> '
        f'<span style="{MUTED}">{escape(told)}</span></div>\n',
        f"{sign} {title}  {told}",
    )
    if state.restarted:
        why = cut(state.restarted)
        page.add(f'<div style="{MUTED}">{escape(why)}</div>\n', why)
    if summary.status in ("failed", "not started") and state.root is None and summary.line:
        # no rank has the reason
        why = cut(summary.line)
        page.add(f"<div>{escape(why)}</div>\n", why)


def _add_table(page: Markup, state: RunState, arrivals: Arrivals, summary: RunSummary) -> None:
    groups: dict[tuple[object, ...], list[RankState]] = {}
    # the root cause first, then by number
    for rank in sorted(state.ranks, key=lambda rank: (not rank.root, rank.state != "failed", rank.rank)):
        # where an exception tells how failures differ, the table need not
        kind = (in_short(rank),) if summary.told else (_kind(rank), rank.exit if rank.state != "finished" else "")
        groups.setdefault((became(rank, state, summary.number), *kind), []).append(rank)
    tracebacks = {ranks[0].traceback for ranks in _with_tracebacks(state)}
    table = []
    for (word, *_), ranks in list(groups.items())[:_MAX_ROWS]:
        first = " first" if ranks[0].root and len(groups) > 1 else ""
        written = sum(sum(arrivals.written(rank.rank)) for rank in ranks)
        ended = max((rank.ended or 0.0 for rank in ranks), default=0.0)
        parts = (
            name_ranks(rank.rank for rank in ranks),
            f"{_SIGNS_OF_RANKS[ranks[0].state]} {word}{first}",
            _seconds(ended),
            f"{in_words(written)} written",
            # the exception or the traceback below says the rest
            in_short(ranks[0]) if summary.told or ranks[0].traceback in tracebacks else _why(ranks),
        )
        table.append(([cut(part) for part in parts], BAD if ranks[0].state == "failed" else MUTED))
    # the last column takes the room that is left
    widths = [f"0 0 {max(len(parts[index]) for parts, _ in table) * _EM_OF_CHARACTER:.1f}em" for index in range(4)]
    columns = [*widths, "1 1 16em"]
    rows = [
        f'<tr style="{_ROW}">'
        + "".join(
            f'<td style="{_CELL}; flex: {column}; {tone if index == 1 else ""}">{escape(part)}</td>'
            for index, (part, column) in enumerate(zip(parts, columns, strict=True))
            if part or index < 4
        )
        + "</tr>\n"
        for parts, tone in table
    ]
    lines = ["  ".join(part for part in parts if part).rstrip() for parts, _ in table]
    if len(groups) > _MAX_ROWS:
        more = f"… and {count_ranks(sum(map(len, list(groups.values())[_MAX_ROWS:])))} that ended in other ways"
        rows.append(f'<tr style="{_ROW}"><td colspan="5" style="{_CELL}">{more}</td></tr>\n')
        lines.append(more)
    page.add(
        f'<table style="display: block; margin: 2px 0; border: none"><tbody style="display: block">\n{"".join(rows)}'
        "</tbody></table>\n",
        "\n".join(lines),
    )


def _why(ranks: Sequence[RankState]) -> str:
    """Say why the ranks of one group have no value."""
    rank = ranks[0]
    # another column of the table says where a rank was that was ended
    why = rank.why if rank.why != rank.where or rank.state == "failed" else ""
    exit_ = rank.exit if rank.state != "finished" and rank.exit not in why else ""
    return "; ".join(part for part in (why, _alike(ranks), exit_) if part)


def _add_tracebacks(page: Markup, state: RunState, *, told: bool) -> None:
    """Add the traceback of each kind of failure, without that of the exception right below, if there is one."""
    for ranks in _with_tracebacks(state):
        if told and ranks[0].root:
            continue
        whole = ranks[0].traceback.encode(errors="replace")
        end = whole[-_MAX_TRACEBACK_BYTES:]
        lines = render(end if len(end) == len(whole) else from_its_middle(end))
        names = name_ranks(rank.rank for rank in ranks)
        others = f" ({_alike(ranks)})" if _alike(ranks) else ""
        body = "\n".join(line_html(line) for line in lines)
        page.add(
            f"<details{' open' if ranks[0].root else ''}><summary>traceback of {names}: "
            f'{escape(cut(ranks[0].why + others))}</summary>\n<pre style="{PRE}">{body}</pre></details>\n',
            # plain text cannot be folded, and the exception tells of each failure
            "" if told else "\n".join([f"traceback of {names}{others}:", *(cut(line.text) for line in lines)]),
        )


def _with_tracebacks(state: RunState) -> list[list[RankState]]:
    """Group the ranks that have a traceback by the kind of their failure; the first failure comes first."""
    groups: dict[_Kind, list[RankState]] = {}
    for rank in sorted(state.ranks, key=lambda rank: (not rank.root, rank.rank)):
        if rank.traceback and rank.state == "failed":
            groups.setdefault(_kind(rank), []).append(rank)
    return list(groups.values())[:_MAX_TRACEBACKS]


def _kind(rank: RankState) -> _Kind:
    """Return the kind of a rank's failure, which is equal for ranks that failed alike."""
    if rank.state != "failed" or not rank.traceback:
        return rank.why, ()
    plain = _COLOURED.sub("", rank.traceback[-_MAX_TRACEBACK_BYTES:])
    return rank.why.partition(":")[0], tuple(_PLACE.findall(plain))


def _alike(ranks: Sequence[RankState]) -> str:
    """Say which ranks of a group have another error message than the first one; empty if none has."""
    others = [rank.rank for rank in ranks[1:] if rank.why != ranks[0].why]
    if not others:
        return ""
    return f"{name_ranks(others)}: {ranks[0].why.partition(':')[0]} from the same line, with another text"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _hour(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
