"""`Pages`: what is sent to the pages that show a panel, and what they ask for.

::

    RunState, Arrivals ─► Pages.tick() ─► one bounded message ─► every page
                          Pages.hear() ◄─ hello, ack, watch, page, stacks

Pages of one panel are sent the same. A tick holds what has changed since the one before, and of the logs that a page
watches what is new, at most so many bytes: what a flood leaves out is a gap, which a page can have filled from the
files. No more is sent than pages have acknowledged, so one that is slow or gone costs nothing. Each message of a page
makes the kernel say that it is busy and then idle, so a page acknowledges only the ticks that ask for it, and over one
channel as soon as one is known to be heard.

Bytes of logs are sent as binary buffers. Some frontends lose or change these on their way (Google Colab's does), so a
page says when they do not reach it, and is then sent the bytes in the message itself; and so are pages that cannot be
heard.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from nblaunch.logs.arrivals import ALL, Arrivals, Excerpt
from nblaunch.logs.clearing import last_clearing
from nblaunch.panel.inquiry import Inquiry
from nblaunch.panel.page_messages import (
    AskPage,
    AskStacks,
    Channel,
    Chunk,
    FromPage,
    Page,
    RankNews,
    RunNews,
    Stacks,
    Tick,
    TickPerhaps,
    ToPage,
)
from nblaunch.panel.state import RankState, RunState
from nblaunch.panel.terminal import last_line
from nblaunch.wording import WORTH_TELLING, listed

__all__ = ["PERIOD", "Pages", "Send"]

PERIOD = 0.05
"""Seconds between two ticks."""

# Bytes of one log, and of all logs, in one tick.
_PER_LOG = 64_000
_PER_TICK = 256_000
# Bytes of one answer to a page that asks for older text.
_PER_PAGE = 256 * 1024
# Bytes that may be on their way, and after how many an acknowledgement is asked for.
_WINDOW = 1_000_000
_ASK_AFTER = 256_000
# About what the news of a rank takes.
_RANK_NEWS = 200
# Seconds after which a page hears something, if only that this process is there: it greys what is not heard of.
_BEAT_PERIOD = 2.0
# Seconds between two signs of life that are asked for, and after which a page that has said nothing counts as gone.
_ASK_PERIOD = 5.0
_GONE_AFTER = 12.0
# Where no page can be heard while the cell blocks: seconds until that is believed, and between two ticks from then on.
_DEAF_AFTER = 1.5
_DEAF_PERIOD = 0.5
_DEAF_BYTES = 32_000
_MAX_ASKED = 100
# Questions for older text that may wait for it.
_MAX_LATE = 100
# Ranks above which not every tick has news of every rank: seconds between two that have.
_MANY = 16
_MANY_PERIOD = 0.2
_LINE = 200
# What a page tells by whether buffers reach it as they are.
_PROBE = bytes(range(256))

Send = Callable[[ToPage, list[bytes]], None]


@dataclass
class _Page:
    """What is known of one page."""

    heard_at: float
    # of all the bytes sent, those that have arrived
    acknowledged: int
    watched: tuple[str, ...] = ()
    # by which of two channels its messages get here, once that is known
    channel: Channel | None = None
    # whether binary buffers reach it
    buffers: bool = True


@dataclass
class _Sent:
    """What the pages have been told."""

    run: RunNews = field(default_factory=RunNews)
    ranks: dict[int, RankNews] = field(default_factory=dict)
    logs: dict[str, int] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)


class Pages:
    """Talks to the pages of one panel; not safe for several threads.

    Parameters
    ----------
    state : RunState
        What is shown.
    arrivals : Arrivals
        The logs.
    send : callable
        Sends a message and its buffers to all pages.
    stacks : callable
        Returns where every rank is now, as text.
    """

    def __init__(self, state: RunState, arrivals: Arrivals, send: Send, stacks: Callable[[], str]) -> None:
        self._inquiry = Inquiry(stacks)
        self._state = state
        self._arrivals = arrivals
        self._send = send
        self._pages: dict[str, _Page] = {}
        self._sent = _Sent()
        self._sequence = 0
        self._bytes = 0
        self._made_at = self._asked_at = time.monotonic()
        # bytes sent up to each tick that has asked for an acknowledgement
        self._asked: dict[int, int] = {}
        self._ranks_at = self._sent_at = 0.0
        self._lines: dict[int, str] = {}
        self._changed: set[int] = set()
        self._news = True
        self._answered: dict[tuple[str, int], None] = {}
        # questions for older text that is still on its way here
        self._late: dict[tuple[str, int], AskPage] = {}

    # ---- from a page

    def hear(self, message: FromPage, channel: Channel | None = None) -> None:
        """Take a message of a page, and note the channel that it came by."""
        client = message["client"]
        now = time.monotonic()
        page = self._pages.setdefault(client, _Page(now, self._bytes))
        page.heard_at = now
        # both may be heard: the control channel is the one that no cell ever blocks
        if page.channel != "control":
            page.channel = channel
        # in each message of such a page, because one that was silent for long has been forgotten
        if message.get("buffers") is False:
            page.buffers = False
        if message["kind"] == "hello":
            # from the start: this page knows nothing
            self._sent = _Sent()
            page.acknowledged = self._bytes
            self._news = True
        elif message["kind"] == "ack":
            page.acknowledged = max(page.acknowledged, self._asked.get(message["seq"], 0))
            # says that too, because a page that was silent for long has been forgotten
            if not page.watched and message["logs"]:
                self._watch(page, message["logs"])
        elif message["kind"] == "watch":
            self._watch(page, message["logs"])
        elif message["kind"] == "page" and self._is_new(client, message):
            self._answer(client, message)
        elif message["kind"] == "stacks" and self._is_new(client, message):
            self._inquiry.ask((client, message["id"]))

    def _watch(self, page: _Page, logs: list[str]) -> None:
        watched = tuple(log for log in logs if self._arrivals.knows(log))
        for log in watched:
            if log not in page.watched and not self._is_watched(log):
                self._sent.logs.pop(log, None)
        page.watched = watched
        self._news = True

    def _answer(self, client: str, message: AskPage) -> None:
        log, start, end = message["log"], message["from"], message["to"]
        answer: Page = {"kind": "page", "id": message["id"], "client": client}
        if not self._arrivals.knows(log):
            self._send({**answer, "error": f"there is no log {log!r}"}, [])
            return
        # the end of what is asked for: what comes before can be asked for next
        start = start if message.get("exact") else max(start, end - _PER_PAGE)
        if not self._arrivals.is_at_hand(log, start, min(end, start + _PER_PAGE)):
            # a page asks again for what does not come
            if len(self._late) < _MAX_LATE:
                self._late[client, message["id"]] = message
            return
        read = self._arrivals.read if message.get("exact") else self._arrivals.read_lines
        try:
            excerpt = read(log, start, min(end, start + _PER_PAGE))
        except OSError as error:
            self._send({**answer, "error": f"the log cannot be read: {error}"}, [])
            return
        if not excerpt.data and start < min(end, self._arrivals.size(log)):
            self._send({**answer, "error": "it was released, because the log is longer than --max-log"}, [])
            return
        chunk, buffers = _chunk(log, excerpt), [excerpt.data]
        if not self._pages[client].buffers:
            buffers = _put_into([chunk], buffers)
        self._send({**answer, "chunk": chunk}, buffers)

    def _is_new(self, client: str, message: AskPage | AskStacks) -> bool:
        """Tell whether this question has not been heard over the other channel."""
        question = (client, message["id"])
        if question in self._answered and not message.get("again"):
            return False
        self._answered[question] = None
        return True

    # ---- to the pages

    def tick(self, grown: set[int]) -> None:
        """Send what is new, if there is anybody to send it to; `grown` are the ranks that have written."""
        self._changed |= grown
        for (client, number), found in self._inquiry.answers():
            answer: Stacks = {"kind": "stacks", "id": number, "client": client, **found}
            self._send(answer, [])
        now = time.monotonic()
        self._pages = {client: page for client, page in self._pages.items() if now - page.heard_at < _GONE_AFTER}
        late, self._late = self._late, {}
        for (client, _), message in late.items():
            if client in self._pages:
                self._answer(client, message)
        deaf = not self._pages
        if deaf:
            may_send = now - self._made_at >= _DEAF_AFTER and now - self._sent_at >= _DEAF_PERIOD
        else:
            may_send = self._bytes - max(page.acknowledged for page in self._pages.values()) < _WINDOW
        if may_send:
            self._send_tick(now, _DEAF_BYTES if deaf else _PER_TICK)
        if self._sequence and now - self._sent_at >= _BEAT_PERIOD:
            self._sent_at = now
            self._send({"kind": "beat"}, [])

    def finish(self) -> None:
        """Send the last state."""
        self._changed |= set(range(len(self._state.ranks)))
        self._ranks_at = 0.0
        self._send_tick(time.monotonic(), _PER_TICK)

    def close(self) -> None:
        """End what was begun for pages."""
        self._inquiry.close()

    def _send_tick(self, now: float, budget: int) -> None:
        full = not self._sent.ranks
        more: TickPerhaps = {}
        run = self._run()
        if changes := {name: value for name, value in run.items() if self._sent.run.get(name, ...) != value}:
            more["run"] = cast("RunNews", changes)
            self._sent.run = run
        if full or len(self._state.ranks) <= _MANY or now - self._ranks_at >= _MANY_PERIOD:
            self._ranks_at = now
            ranks = {str(rank.rank): news for rank in self._state.ranks if (news := self._news_of(rank))}
            if ranks:
                more["ranks"] = ranks
        chunks, buffers = self._chunks(budget)
        if full:
            more["full"] = True
            more["history"] = {str(rank.rank): list(rank.history) for rank in self._state.ranks if rank.history}
        channels = {client: page.channel for client, page in self._pages.items() if page.channel}
        if channels != self._sent.channels:
            more["heard"] = self._sent.channels = channels
        overdue = now - self._asked_at >= _ASK_PERIOD
        if not more and not chunks and not self._news and not overdue:
            return
        self._news = False
        self._sequence += 1
        self._sent_at = now
        self._bytes += sum(map(len, buffers)) + _RANK_NEWS * len(more.get("ranks", ()))
        if overdue or self._bytes - max(self._asked.values(), default=0) >= _ASK_AFTER:
            more["ack"] = True
            self._asked_at = now
            self._asked[self._sequence] = self._bytes
            # more are not on their way, unless pages are gone
            while len(self._asked) > _MAX_ASKED:
                del self._asked[next(iter(self._asked))]
        if not self._pages or not all(page.buffers for page in self._pages.values()):
            buffers = _put_into(chunks, buffers)
        elif full:
            more["probe"] = len(_PROBE)
            buffers = [*buffers, _PROBE]
        tick: Tick = {
            "kind": "tick",
            "seq": self._sequence,
            "clock": round(self._state.clock(now), 3),
            "sizes": {log: self._arrivals.size(log) for log in self._watched()},
            "chunks": chunks,
            **more,
        }
        self._send(tick, buffers)

    def _run(self) -> RunNews:
        state = self._state
        run: RunNews = {
            "state": state.state,
            "words": state.ending or (state.importing if state.getting_ready else "") or state.restarts,
            "cpu": round(state.cpu),
            "memory": state.memory,
            "about": not state.memory_known,
            "samples": state.samples,
            "log_dir": self._arrivals.folder(state.attempt),
            "sent": listed(state.sizes) if sum(state.sizes.values()) >= WORTH_TELLING else "",
            "over": state.over,
        }
        if state.over and state.ended_at is not None:
            run["elapsed"] = round(state.clock(state.ended_at), 3)
        return run

    def _news_of(self, rank: RankState) -> RankNews:
        if rank.rank in self._changed:
            self._changed.discard(rank.rank)
            end = self._arrivals.end_of(rank.rank, 4 * _LINE)
            self._lines[rank.rank] = last_line(end[last_clearing(end) :], _LINE)
        out, err = self._arrivals.written(rank.rank)
        fields: RankNews = {
            "state": rank.state,
            "pid": rank.pid,
            "began": rank.began,
            "ended": rank.ended,
            "cpu": rank.cpu,
            "memory": rank.memory,
            "out": out,
            "err": err,
            "line": self._lines.get(rank.rank, ""),
            "exit": rank.exit,
            "why": rank.why or rank.remark,
            "asks": rank.asking.what,
            "about": rank.asking.about,
            "answer": self._state.answer_to(rank),
            "traceback": rank.traceback,
            "collateral": rank.state == "stopped" and self._state.root is not None,
            "root": rank.root,
        }
        before = self._sent.ranks.get(rank.rank, RankNews())
        self._sent.ranks[rank.rank] = fields
        return cast("RankNews", {name: value for name, value in fields.items() if before.get(name, ...) != value})

    def _chunks(self, budget: int) -> tuple[list[Chunk], list[bytes]]:
        chunks: list[Chunk] = []
        buffers: list[bytes] = []
        logs = sorted(self._watched(), key=lambda log: (log == ALL, log))
        share = min(_PER_LOG, budget // max(1, len(logs)))
        if logs == [ALL]:
            share = budget
        for log in logs:
            size = self._arrivals.size(log)
            sent = self._sent.logs.get(log)
            if sent == size:
                continue
            behind = sent is None or size - sent > share
            start = max(0, size - share) if sent is None or behind else sent
            if not self._arrivals.is_at_hand(log, start, size):
                continue
            try:
                read = self._arrivals.read_lines if behind else self._arrivals.read
                excerpt = read(log, start, size)
            except OSError:
                continue
            self._sent.logs[log] = size
            if excerpt.data:
                chunks.append(_chunk(log, excerpt))
                buffers.append(excerpt.data)
        return chunks, buffers

    def _watched(self) -> set[str]:
        if not self._pages:
            # nobody can say what is wanted: what a page opens with
            count = len(self._state.ranks)
            return {str(rank) for rank in range(count)} if count <= 8 else {"0"}
        return {log for page in self._pages.values() for log in page.watched}

    def _is_watched(self, log: str) -> bool:
        return any(log in page.watched for page in self._pages.values())


def _put_into(chunks: list[Chunk], buffers: list[bytes]) -> list[bytes]:
    """Put the bytes of chunks into these, as text; return the buffers that are left, which are none."""
    for chunk, data in zip(chunks, buffers, strict=True):
        chunk["base64"] = b64encode(data).decode("ascii")
    return []


def _chunk(log: str, excerpt: Excerpt) -> Chunk:
    return {"log": log, "offset": excerpt.offset, "pieces": list(excerpt.pieces)}
