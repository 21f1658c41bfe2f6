"""`Pages`: what is sent to the browser pages that show a panel, and what they ask for.

::

    RunState, Arrivals ─► Pages.tick() ─► one bounded message ─► every page
                          Pages.hear() ◄─ hello, ack, watch, page, stacks

All pages of a panel are sent the same messages. A *tick* holds what has changed since the tick before, and the new
bytes of the logs that a page watches, up to a limit. Where ranks write more, the page shows a gap, and asks for the
missing bytes when a person scrolls there. Only so many bytes are sent ahead of the pages' acknowledgements, so a page
that is slow or gone costs nothing. Each message of a page makes the kernel report that it is busy and then idle. So a
page acknowledges only the ticks that ask for it, and uses one channel as soon as the panel has told which one works.

Bytes of logs are sent as binary buffers. Some frontends lose or change these (Google Colab's does). A page reports
that, and then gets the bytes as base64 in the message itself, as do pages whose messages do not arrive here.
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

_MAX_TICK_BYTES_PER_LOG = 64_000
_MAX_TICK_BYTES = 256_000
# Bytes of one answer to a page that asks for older text.
_MAX_ANSWER_BYTES = 256 * 1024
_MAX_UNACKNOWLEDGED_BYTES = 1_000_000
_ACKNOWLEDGE_EVERY_BYTES = 256_000
# What the news of one rank takes, roughly.
_RANK_NEWS_BYTES = 200
# Seconds between two messages at most: a page greys a panel that it hears nothing of.
_BEAT_PERIOD = 2.0
# Seconds between two acknowledgements that are asked for, and after which a page that has sent nothing counts as gone.
_ASK_PERIOD = 5.0
_GONE_AFTER = 12.0
# Where no message of a page arrives while the cell blocks: seconds until that is believed, and then between two ticks.
_UNHEARD_AFTER = 1.5
_UNHEARD_PERIOD = 0.5
_UNHEARD_TICK_BYTES = 32_000
_MAX_ASKED = 100
# Questions for older text that may wait until that is here.
_MAX_WAITING_QUESTIONS = 100
# With more ranks than this, only some ticks have news of ranks: seconds between two that have.
_MAX_RANKS_IN_EVERY_TICK = 16
_RANKS_PERIOD = 0.2
_MAX_LINE_CHARACTERS = 200
# A buffer by which a page finds out whether buffers reach it unchanged.
_PROBE = bytes(range(256))

Send = Callable[[ToPage, list[bytes]], None]


@dataclass
class _Page:
    """What is known of one page."""

    heard_at: float
    # how many of all the bytes sent have arrived there
    acknowledged: int
    watched: tuple[str, ...] = ()
    # the channel over which its messages arrive, once that is known
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
        # questions for older text that this process does not have yet
        self._late: dict[tuple[str, int], AskPage] = {}

    # ---- from a page

    def hear(self, message: FromPage, channel: Channel | None = None) -> None:
        """Take a message of a page, and note the channel that it came by."""
        client = message["client"]
        now = time.monotonic()
        page = self._pages.setdefault(client, _Page(now, self._bytes))
        page.heard_at = now
        # If both channels work, the control channel is used, because no cell ever blocks it.
        if page.channel != "control":
            page.channel = channel
        # Each message of such a page says so, because a page that was silent for long has been forgotten here.
        if message.get("buffers") is False:
            page.buffers = False
        if message["kind"] == "hello":
            # all is sent again, because this page knows nothing
            self._sent = _Sent()
            page.acknowledged = self._bytes
            self._news = True
        elif message["kind"] == "ack":
            page.acknowledged = max(page.acknowledged, self._asked.get(message["seq"], 0))
            # An acknowledgement names the logs too, because a page that was silent for long has been forgotten here.
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
        # the end of the range: the page can ask for what comes before next
        start = start if message.get("exact") else max(start, end - _MAX_ANSWER_BYTES)
        if not self._arrivals.is_at_hand(log, start, min(end, start + _MAX_ANSWER_BYTES)):
            # above the limit the question is dropped: a page repeats one that gets no answer
            if len(self._late) < _MAX_WAITING_QUESTIONS:
                self._late[client, message["id"]] = message
            return
        read = self._arrivals.read if message.get("exact") else self._arrivals.read_lines
        try:
            excerpt = read(log, start, min(end, start + _MAX_ANSWER_BYTES))
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
        """Tell whether this question has not come over the other channel already."""
        question = (client, message["id"])
        if question in self._answered and not message.get("again"):
            return False
        self._answered[question] = None
        return True

    # ---- to the pages

    def tick(self, grown: set[int]) -> None:
        """Send what is new, if a page can take it; `grown` are the ranks that have written since the last tick."""
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
            may_send = now - self._made_at >= _UNHEARD_AFTER and now - self._sent_at >= _UNHEARD_PERIOD
        else:
            may_send = self._bytes - max(page.acknowledged for page in self._pages.values()) < _MAX_UNACKNOWLEDGED_BYTES
        if may_send:
            self._send_tick(now, _UNHEARD_TICK_BYTES if deaf else _MAX_TICK_BYTES)
        if self._sequence and now - self._sent_at >= _BEAT_PERIOD:
            self._sent_at = now
            self._send({"kind": "beat"}, [])

    def finish(self) -> None:
        """Send the last state."""
        self._changed |= set(range(len(self._state.ranks)))
        self._ranks_at = 0.0
        self._send_tick(time.monotonic(), _MAX_TICK_BYTES)

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
        if full or len(self._state.ranks) <= _MAX_RANKS_IN_EVERY_TICK or now - self._ranks_at >= _RANKS_PERIOD:
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
        self._bytes += sum(map(len, buffers)) + _RANK_NEWS_BYTES * len(more.get("ranks", ()))
        if overdue or self._bytes - max(self._asked.values(), default=0) >= _ACKNOWLEDGE_EVERY_BYTES:
            more["ack"] = True
            self._asked_at = now
            self._asked[self._sequence] = self._bytes
            # more than these are only unanswered if pages are gone
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
            end = self._arrivals.end_of(rank.rank, 4 * _MAX_LINE_CHARACTERS)
            self._lines[rank.rank] = last_line(end[last_clearing(end) :], _MAX_LINE_CHARACTERS)
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
        share = min(_MAX_TICK_BYTES_PER_LOG, budget // max(1, len(logs)))
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
            # no page can say what it watches: these are the logs that a page shows first
            count = len(self._state.ranks)
            return {str(rank) for rank in range(count)} if count <= 8 else {"0"}
        return {log for page in self._pages.values() for log in page.watched}

    def _is_watched(self, log: str) -> bool:
        return any(log in page.watched for page in self._pages.values())


def _put_into(chunks: list[Chunk], buffers: list[bytes]) -> list[bytes]:
    """Put buffers as base64 into the chunks that they belong to; return the buffers that are left, which are none."""
    for chunk, data in zip(chunks, buffers, strict=True):
        chunk["base64"] = b64encode(data).decode("ascii")
    return []


def _chunk(log: str, excerpt: Excerpt) -> Chunk:
    return {"log": log, "offset": excerpt.offset, "pieces": list(excerpt.pieces)}
