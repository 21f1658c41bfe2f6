"""The part of a record that shows logs: all of them as one text if they are short, else the end of each rank's."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nblaunch.logs.arrivals import ALL, Arrivals
from nblaunch.panel.folding import Group, prefix
from nblaunch.panel.markup import (
    MUTED,
    PRE,
    SIDE_BY_SIDE,
    Markup,
    box,
    cut,
    line_text,
    marked,
    row,
)
from nblaunch.panel.state import RankState, RunState
from nblaunch.panel.tails import MAX_LINES, Shown, folded, last_in_turns, marked_where_torn, tail, whole
from nblaunch.panel.terminal import Line
from nblaunch.wording import count_ranks, in_words, name_ranks

__all__ = ["add_logs"]

# The last lines, which are seen at a time in a box that scrolls. There are fewer where an exception comes below, and
# where ranks are side by side, by their number.
_VISIBLE_LINES = 20
_FEW_VISIBLE_LINES = 12
_VISIBLE_LINES_BESIDE = ((2, 20), (4, 10), (8, 7))
# The box has this many times as many lines. Those before are folded, because some sites remove the box.
_BOX_FACTOR = 2
# About as many characters fit into a line of the box; a longer one takes several.
_LINE_CHARACTERS = 80
# Sections, one for each group of ranks that wrote the same; all other ranks are in one fold.
_MAX_SECTIONS = 16
# Bytes of a section's HTML and text around its lines.
_SECTION_HEAD_BYTES = 1_500
# Lines of each of the other ranks: the first number for which there is room.
_LAST_LINES = (50, 20, 10, 5, 3, 2, 1)


def add_logs(page: Markup, state: RunState, arrivals: Arrivals, *, told: bool) -> None:
    """Add what ranks wrote.

    Parameters
    ----------
    page : Markup
        Where it goes.
    state : RunState
        Which ranks failed: they come first.
    arrivals : Arrivals
        The logs.
    told : bool
        Whether an exception follows below, which shall not be far away.

    Raises
    ------
    OSError
        If a log cannot be read.
    """
    seen = _FEW_VISIBLE_LINES if told or len(state.ranks) > _MAX_SECTIONS else _VISIBLE_LINES
    if arrivals.size(ALL) and not _add_together(page, arrivals, len(state.ranks) > 1, seen):
        _add_by_rank(page, state, arrivals, seen)


def _add_together(page: Markup, arrivals: Arrivals, named: bool, seen: int) -> bool:
    """Add what all ranks wrote, in order, unless that is too much."""
    lines = whole(arrivals, page.room // 2)
    if lines is None:
        return False
    groups = folded(lines)
    # each line is there twice, as HTML and as text
    if len(groups) > MAX_LINES or sum(len(group.text) + 1 for group in groups) > page.room // 2:
        return False
    rows, texts = _rows(groups, named)
    legend = "(! marks stderr)" if any(marked(group.stream, group.line) for group in groups) else ""
    html = _listing(rows, texts, seen)
    if legend:
        html += f'<div style="font-size: 85%; {MUTED}">{legend}</div>\n'
    return page.add(html, "\n".join([*texts, *([legend] if legend else [])]))


def _add_by_rank(page: Markup, state: RunState, arrivals: Arrivals, seen: int) -> None:
    # failed ranks first, because there may not be room for all
    order = sorted(
        (rank for rank in state.ranks if sum(arrivals.written(rank.rank))),
        key=lambda rank: (not rank.root, rank.state != "failed", rank.rank),
    )
    enough = page.room // 2 // len(order)
    ends = {rank.rank: tail(arrivals, rank.rank, len(order), enough) for rank in order}
    alike: dict[object, list[RankState]] = {}
    for rank in order:
        lines, _ = ends[rank.rank]
        alike.setdefault(tuple((shown.stream, shown.text) for shown in lines), []).append(rank)
    sections = list(alike.values())
    others = [rank for ranks in sections[_MAX_SECTIONS:] for rank in ranks]
    sections = sections[:_MAX_SECTIONS]
    # those behind the fold are many
    reserved = page.room * 2 // 3 if others else 0
    beside = next((lines for most, lines in _VISIBLE_LINES_BESIDE if len(sections) <= most), 0) if not others else 0
    together = beside > 0 and len(sections) > 1
    with page.inside(SIDE_BY_SIDE if together else ""):
        for position, ranks in enumerate(sections):
            room = (page.room - reserved) // (len(sections) - position) - _SECTION_HEAD_BYTES
            height = min(seen, beside or seen)
            end = ends[ranks[0].rank]
            folder = ""
            if len(sections) == 1:
                folder = arrivals.folder(state.attempt, None if len(ranks) > 1 else ranks[0].rank)
            if not _add_section(page, ranks, end, arrivals, room, height, opened=beside > 0, folder=folder):
                others = [rank for ranks in sections[position:] for rank in ranks] + others
                break
    if len(sections) > 1:
        # once, not in the head of each
        text = f"the logs are in {cut(arrivals.folder(state.attempt))}"
        page.add(f'<div style="{MUTED}">{escape(text)}</div>\n', text)
    if others and not _add_others(page, state, others, ends, arrivals):
        folder = cut(arrivals.folder(state.attempt))
        text = f"… the output of {count_ranks(len(others))} more is in the logs: {folder}"
        page.add(f"<div>{escape(text)}</div>", text)


def _add_section(
    page: Markup,
    ranks: Sequence[RankState],
    end: tuple[list[Shown], bool],
    arrivals: Arrivals,
    room: int,
    seen: int,
    *,
    opened: bool,
    folder: str,
) -> bool:
    """Add the last lines of ranks that wrote the same, as many as there is room for."""
    found, complete = end
    # colours and escaped characters may need many times as many bytes
    rows, texts = _last_that_fit(found, room)
    sizes = {arrivals.size(str(rank.rank)) for rank in ranks}
    each = " each" if len(ranks) > 1 else ""
    head = f"{name_ranks(rank.rank for rank in ranks)}, {in_words(max(sizes))} of output{each}"
    if not complete or len(rows) < len(found):
        last = "the last line" if len(rows) == 1 else f"the last {len(rows):,} lines" if rows else "nothing"
        kept = _kept(ranks, arrivals)
        head += f", {last} of it"
        if folder or kept != "all":
            head += f"; {kept} of it in {cut(folder)}" if folder else f"; {kept} of it in the log"
    return page.add(
        f'<details{" open" if opened else ""} style="min-width: 0"><summary>{escape(head)}</summary>\n'
        f"{_listing(rows, texts, seen)}</details>\n",
        "\n".join([f"--- {head}", *texts]),
    )


def _add_others(
    page: Markup,
    state: RunState,
    ranks: Sequence[RankState],
    ends: dict[int, tuple[list[Shown], bool]],
    arrivals: Arrivals,
) -> bool:
    """Add the last lines of many ranks as one text behind one fold, as many of each as there is room for."""
    for count in _LAST_LINES:
        lines = last_in_turns([marked_where_torn(ends[rank.rank][0][-count:]) for rank in ranks])
        # A quick check before the slow folding; not of single lines, because bars fold although they differ.
        if count > 1 and sum(map(len, {shown.text for shown in lines})) > page.room:
            continue
        groups = folded(lines)
        if sum(len(group.text) + 1 for group in groups) > page.room // 2:
            continue
        rows, texts = _rows(groups, True)
        head = f"output of {count_ranks(len(ranks)).replace(' ', ' more ', 1)}"
        if any(not complete or len(found) > count for found, complete in (ends[rank.rank] for rank in ranks)):
            last = "the last line" if count == 1 else f"the last {count} lines"
            head += f", {last} of each; {_kept(ranks, arrivals)} of it in {cut(arrivals.folder(state.attempt))}"
        html = f"<details><summary>{escape(head)}</summary>\n{_listing(rows, texts, _VISIBLE_LINES)}</details>\n"
        if page.add(html, "\n".join([f"--- {head}", *texts])):
            return True
    return False


def _kept(ranks: Sequence[RankState], arrivals: Arrivals) -> str:
    released = [arrivals.released(rank.rank) for rank in ranks]
    if not any(released):
        return "all"
    left = sum(arrivals.size(str(rank.rank)) for rank in ranks) - sum(released)
    return f"the last {in_words(left)}"


def _rows(groups: Sequence[Group[Line]], named: bool) -> tuple[list[str], list[str]]:
    rows, texts = [], []
    for group in groups:
        head = prefix(group.ranks) if named else ""
        mark = "! " if marked(group.stream, group.line) else ""
        texts.append(f"{head}{mark}{line_text(group.text)}")
        rows.append(row(head, group.line, group.stream))
    return rows, texts


def _listing(rows: Sequence[str], texts: Sequence[str], seen: int) -> str:
    """Return rows as a box of about `seen` lines; rows long before its end are folded."""
    before = len(rows) - _BOX_FACTOR * seen
    # a fold takes a line too
    if before <= 1:
        html = _text(rows)
    else:
        folded = f"<details><summary>{before:,} lines before</summary>\n{_text(rows[:before])}</details>\n"
        html = folded + _text(rows[before:])
    lines = sum(1 + len(text) // _LINE_CHARACTERS for text in texts)
    return html if lines <= seen else box(html, seen)


def _text(rows: Sequence[str]) -> str:
    return f'<pre style="{PRE}">' + "\n".join(rows) + "</pre>\n"


def _last_that_fit(found: Sequence[Shown], room: int) -> tuple[list[str], list[str]]:
    """Return HTML and text of the last lines that together take no more than so many bytes, one at least."""
    rows: list[str] = []
    texts: list[str] = []
    for _, stream, text, line, _ in reversed(found):
        html, shown = row("", line, stream), line_text(text)
        if not rows and len(html.encode()) + len(shown.encode()) > room:
            # better without its colours, and only its beginning, than not at all
            html, shown = row("", Line([(text, None)]), stream, short=True), line_text(text, short=True)
        room -= len(html.encode()) + len(shown.encode()) + 2
        if rows and room < 0:
            break
        rows.append(html)
        texts.append(shown)
    rows, texts = rows[::-1], texts[::-1]
    seen = found[len(found) - len(rows) :]
    for index, (before, after) in enumerate(zip(seen, marked_where_torn(seen), strict=True)):
        if after is not before:
            short = index == 0 and len(line_text(before.text)) > len(texts[0])
            rows[index] = row("", after.line, after.stream, short=short)
            texts[index] = line_text(after.text, short=short)
    return rows, texts
