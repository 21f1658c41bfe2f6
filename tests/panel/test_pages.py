"""What pages are sent, and what they ask for."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any, cast

import pytest

from nblaunch.events import Answered, Asked, Ended, Finished, QuestionKind, Sampled, Usage
from nblaunch.logs.reader import LogReader
from nblaunch.panel import pages as pages_module
from nblaunch.panel.page_messages import TO_PAGES, Channel, ToPage, fits, read
from nblaunch.panel.pages import Pages
from nblaunch.processes._linux import punch_hole
from tests.logs.readers import DistantLogs
from tests.panel.test_record import Played


class Talk(Played):
    """A run and its pages; what is sent is kept."""

    def __init__(self, folder: Path, nprocs: int, logs: LogReader | None = None) -> None:
        super().__init__(folder, nprocs, logs)
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        self.stacks = self.heard = 0
        self.pages = Pages(self.state, self.arrivals, self.send, self.look)

    def send(self, content: ToPage, buffers: list[bytes]) -> None:
        assert any(fits(content, shape, exactly=True) for shape in TO_PAGES), content
        self.sent.append((cast("dict[str, Any]", content), buffers))

    def look(self) -> str:
        """Say where the ranks are."""
        self.stacks += 1
        return f"look {self.stacks}"

    def hear(self, channel: Channel | None = None, /, **message: Any) -> None:
        self.heard += 1
        said = read({"client": "a", "n": self.heard, **message})
        assert said is not None
        self.pages.hear(said, channel)

    def tick(self) -> dict[str, Any]:
        """Return what one tick sends, its bytes as ``"bytes"``; empty if that is nothing."""
        before = len(self.sent)
        self.pages.tick(set(range(len(self.state.ranks))))
        if len(self.sent) == before:
            return {}
        content, buffers = self.sent[-1]
        if "probe" in content:
            *buffers, probe = buffers
            assert (probe, content["probe"], content["full"]) == (bytes(range(256)), 256, True)
        return {**content, "bytes": buffers}


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path, 2)


def test_nothing_is_sent_before_somebody_has_asked(talk: Talk) -> None:
    talk.write(0, "x\n")
    assert talk.tick() == {}


def test_the_first_tick_says_everything_and_later_ones_what_has_changed(talk: Talk) -> None:
    talk.hear(kind="hello")
    first = talk.tick()
    assert first["full"]
    assert first["ranks"]["1"]["state"] == "running"
    assert first["run"]["state"] == "running"
    assert talk.tick() == {}
    talk.write(0, "hello\n")
    talk.note(Finished(1, bytearray(), 101.0))
    second = talk.tick()
    assert second["ranks"] == {
        "0": {"out": 6, "line": "hello"},
        "1": {"state": "finished", "ended": 1.0},
    }
    assert second["seq"] == first["seq"] + 1
    assert "full" not in second
    # somebody opens another view
    talk.hear(client="b", kind="hello")
    assert talk.tick()["full"]


def test_bytes_of_watched_logs_come_in_order_and_once(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.write(0, "one\n")
    talk.hear(kind="watch", logs=["0", "7", "all"])
    first = talk.tick()
    assert first["chunks"] == [
        {"log": "0", "offset": 0, "pieces": [(0, 1, 4)]},
        {"log": "all", "offset": 0, "pieces": [(0, 1, 4)]},
    ]
    assert first["bytes"] == [b"one\n", b"one\n"]
    talk.write(1, "other\n", err=True)
    second = talk.tick()
    assert second["chunks"] == [{"log": "all", "offset": 4, "pieces": [(1, 2, 6)]}]
    assert second["sizes"] == {"0": 4, "all": 10}


def test_what_was_released_is_told_and_not_asked_for_again(talk: Talk) -> None:
    talk.write(0, "0123456789abcde\n" * 100_000)
    with (talk.folder / "0.out").open("r+b") as file:
        punch_hole(file.fileno(), 0, 1_024_000)
    talk.hear(kind="page", id=1, log="0", **{"from": 100_000, "to": 300_000})
    content, buffers = talk.sent[-1]
    assert content == {
        "kind": "page",
        "id": 1,
        "client": "a",
        "error": "it was released, because the log is longer than --max-log",
    }
    assert buffers == []
    # only what is there, from the beginning of a line
    talk.hear(kind="page", id=2, log="0", **{"from": 1_000_000, "to": 1_100_000})
    content, buffers = talk.sent[-1]
    assert content["chunk"] == {"log": "0", "offset": 1_024_016, "pieces": [(0, 1, 75_984)]}
    assert buffers == [b"0123456789abcde\n" * 4749]
    # just these bytes, as for a download: their number holds, and there are no zeros among them
    talk.hear(kind="page", id=3, log="0", exact=True, **{"from": 1_000_000, "to": 1_100_000})
    content, buffers = talk.sent[-1]
    assert (content["chunk"]["offset"], len(buffers[0])) == (1_000_000, 100_000)
    assert b"\0" not in buffers[0]
    # beyond the end there is nothing, which is no error
    talk.hear(kind="page", id=4, log="0", **{"from": 1_600_000, "to": 1_700_000})
    assert talk.sent[-1][1] == [b""]


def test_older_text_from_another_machine_is_answered_when_it_has_come(tmp_path: Path) -> None:
    logs = DistantLogs(tmp_path, pushed=2_000)
    talk = Talk(tmp_path, 1, logs)
    talk.write(0, "0123456789abcde\n" * 10_000)
    talk.hear(kind="hello")
    talk.tick()
    talk.hear(kind="page", id=1, log="0", **{"from": 16_000, "to": 32_000})
    talk.hear(kind="page", id=1, log="0", **{"from": 16_000, "to": 32_000})
    talk.hear(kind="page", id=1, log="0", again=True, **{"from": 16_000, "to": 32_000})
    # meanwhile the pages hear of all else
    talk.write(0, "new\n")
    assert talk.tick()["ranks"]["0"]["line"] == "new"
    assert not [content for content, _ in talk.sent if content["kind"] == "page"]
    logs.arrive()
    talk.tick()
    talk.tick()
    ((content, buffers),) = [sent for sent in talk.sent if sent[0]["kind"] == "page"]
    assert (content["id"], content["chunk"]["offset"]) == (1, 16_000)
    assert buffers == [b"0123456789abcde\n" * 1000]


def test_the_end_of_a_log_from_another_machine_is_sent_when_it_has_come(tmp_path: Path) -> None:
    logs = DistantLogs(tmp_path, pushed=2_000)
    talk = Talk(tmp_path, 1, logs)
    talk.write(0, "0123456789abcde\n" * 1_000)
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0"])
    first = talk.tick()
    assert (first["chunks"], first["sizes"]) == ([], {"0": 16_000})
    logs.arrive()
    # the beginning was asked for with all that was there then
    talk.write(0, "new\n")
    talk.tick()
    logs.arrive()
    chunks = talk.tick()["bytes"]
    assert chunks == [b"0123456789abcde\n" * 1_000 + b"new\n"]


def test_a_flood_is_bounded_and_leaves_a_gap(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0"])
    talk.tick()
    talk.write(0, "0123456789abcde\n" * 100_000)
    tick = talk.tick()
    assert 60_000 < len(tick["bytes"][0]) <= 64_000
    assert tick["chunks"][0]["offset"] == 1_600_000 - len(tick["bytes"][0])
    assert tick["bytes"][0].startswith(b"0123456789abcde\n")


def test_a_page_that_does_not_acknowledge_is_not_sent_more(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0"])
    ticks = []
    for number in range(100):
        talk.write(0, f"{number} {'x' * 50_000}\n")
        if tick := talk.tick():
            ticks.append(tick)
    assert 900_000 < sum(len(data) for tick in ticks for data in tick["bytes"]) <= 1_050_000
    # and is asked in time for what keeps it going
    asked = [tick["seq"] for tick in ticks if tick.get("ack")]
    assert len(asked) == 3
    talk.hear(kind="ack", seq=asked[0], logs=["0"])
    assert b"".join(talk.tick()["bytes"]).startswith(b"99 x")


def test_news_of_ranks_count_as_bytes_too(tmp_path: Path) -> None:
    talk = Talk(tmp_path, 16)
    talk.hear(kind="hello")
    sent = 0
    for number in range(2000):
        for rank in range(16):
            talk.write(rank, f"{number}\n")
        sent += bool(talk.tick())
    assert 100 < sent < 1000


def test_little_is_not_acknowledged(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0"])
    for number in range(100):
        talk.write(0, f"{number}\n")
        assert "ack" not in talk.tick()


def test_a_sign_of_life_is_asked_for_now_and_then(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0"])
    talk.tick()
    assert talk.tick() == {}
    monkeypatch.setattr(pages_module, "_ASK_PERIOD", 0.0)
    assert talk.tick()["ack"]


@pytest.mark.parametrize("state", ["idle", "behind", "gone"])
def test_a_page_hears_at_intervals_that_the_kernel_lives(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0"])
    talk.tick()
    if state == "behind":
        # nothing more is sent to one that has so much to read already
        monkeypatch.setattr(pages_module, "_MAX_UNACKNOWLEDGED_BYTES", 0)
        talk.write(0, "x\n")
    elif state == "gone":
        monkeypatch.setattr(pages_module, "_GONE_AFTER", 0.0)
    assert talk.tick() == {}
    monkeypatch.setattr(pages_module, "_BEAT_PERIOD", 0.0)
    assert talk.tick() == {"kind": "beat", "bytes": []}


def test_a_page_that_was_forgotten_says_again_what_it_shows(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["all"])
    talk.tick()
    with monkeypatch.context() as patch:
        patch.setattr(pages_module, "_GONE_AFTER", 0.0)
        assert talk.tick() == {}
    talk.hear(kind="ack", seq=1, logs=["all"])
    talk.write(0, "x\n")
    assert talk.tick()["sizes"] == {"all": 2}


def test_pages_are_told_by_which_way_they_are_heard(talk: Talk) -> None:
    talk.hear("comm", kind="hello")
    assert talk.tick()["heard"] == {"a": "comm"}
    assert talk.tick() == {}
    # what a cell that blocks never holds up
    talk.hear("control", kind="watch", logs=[])
    assert talk.tick()["heard"] == {"a": "control"}
    talk.hear("comm", kind="watch", logs=[])
    assert "heard" not in talk.tick()


def test_a_page_that_is_gone_is_forgotten(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.hear(kind="hello")
    talk.tick()
    monkeypatch.setattr(pages_module, "_GONE_AFTER", 0.0)
    talk.write(0, "x\n")
    assert talk.tick() == {}


def test_where_no_page_can_be_heard_little_is_sent(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "_UNHEARD_AFTER", 0.0)
    talk.write(0, "x" * 1000 + "\n" + "y\n" * 50_000)
    tick = talk.tick()
    assert tick["full"]
    # in the message itself: what becomes of buffers nobody can say
    assert (tick["bytes"], "probe" in tick) == ([], False)
    (chunk,) = (chunk for chunk in tick["chunks"] if chunk["log"] == "0")
    assert 0 < len(b64decode(chunk["base64"])) <= 32_000
    # and seldom
    talk.write(0, "more\n")
    assert talk.tick() == {}


def test_where_buffers_do_not_arrive_the_message_has_the_bytes(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0", "1"])
    talk.write(0, "größer\n")
    assert talk.tick()["bytes"] == ["größer\n".encode()]
    # from the beginning, and this time so that it arrives
    talk.hear(kind="hello", buffers=False)
    again = talk.tick()
    assert again["full"]
    assert "probe" not in again
    assert [(chunk["log"], chunk["offset"], b64decode(chunk["base64"]).decode()) for chunk in again["chunks"]] == [
        ("0", 0, "größer\n")
    ]
    assert again["bytes"] == []
    talk.hear(kind="page", id=1, log="0", buffers=False, **{"from": 0, "to": 100})
    content, buffers = talk.sent[-1]
    assert (b64decode(content["chunk"]["base64"]).decode(), buffers) == ("größer\n", [])
    # all pages are sent the same, but what one of them asks for is its own
    talk.hear(client="b", kind="hello")
    assert talk.tick()["bytes"] == []
    talk.hear(client="b", kind="page", id=1, log="0", **{"from": 0, "to": 100})
    content, buffers = talk.sent[-1]
    assert (content["chunk"].get("base64"), buffers) == (None, ["größer\n".encode()])
    # one that was forgotten meanwhile says it with whatever it says next
    with monkeypatch.context() as patch:
        patch.setattr(pages_module, "_GONE_AFTER", 0.0)
        assert talk.tick() == {}
    talk.hear(kind="ack", seq=again["seq"], logs=["1"], buffers=False)
    talk.write(1, "more\n")
    assert [b64decode(chunk["base64"]) for chunk in talk.tick()["chunks"] if chunk["log"] == "1"] == [b"more\n"]


@pytest.mark.parametrize(
    ("asked", "offset", "data"),
    [
        ({"from": 0, "to": 8}, 0, b"one\ntwo\n"),
        ({"from": 2, "to": 8}, 4, b"two\n"),
        ({"from": 2, "to": 8, "exact": True}, 2, b"e\ntwo\n"),
        ({"from": 4, "to": 1000}, 4, b"two\nthree\n"),
        ({"from": -5, "to": 4}, 0, b"one\n"),
        ({"from": 900, "to": 1000}, 900, b""),
    ],
)
def test_older_text_is_read_from_the_files(talk: Talk, asked: dict[str, Any], offset: int, data: bytes) -> None:
    talk.write(0, "one\ntwo\nthree\n")
    talk.hear(kind="page", id=1, log="0", **asked)
    content, buffers = talk.sent[-1]
    assert (content["kind"], content["id"], content["client"]) == ("page", 1, "a")
    assert (content["chunk"]["offset"], buffers) == (offset, [data])


def test_a_request_that_comes_over_two_channels_is_answered_once(talk: Talk) -> None:
    talk.write(0, "one\n")
    for _ in range(2):
        talk.hear(kind="page", id=1, log="0", **{"from": 0, "to": 4})
    assert len(talk.sent) == 1


def test_a_request_is_bounded(talk: Talk) -> None:
    talk.write(0, "x\n" * 1_000_000)
    talk.hear(kind="page", id=1, log="0", **{"from": 0, "to": 2_000_000})
    assert len(talk.sent[-1][1][0]) <= 256 * 1024


def test_errors_are_answers(talk: Talk) -> None:
    talk.hear(kind="page", id=1, log="9", **{"from": 0, "to": 4})
    assert talk.sent[-1][0]["error"] == "there is no log '9'"
    talk.write(0, "x\n")
    (talk.folder / "0.out").unlink()
    talk.hear(kind="page", id=2, log="0", **{"from": 0, "to": 4})
    assert talk.sent[-1][0]["error"].startswith("the log cannot be read: [Errno 2]")


def test_each_look_at_what_ranks_use_is_told(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.tick()
    for number, about in ((1, True), (2, False)):
        talk.note(Sampled({0: Usage(0.0, 1000), 1: Usage(0.0, 0 if about else 1000)}, 101.0))
        run = talk.tick()["run"]
        assert run["samples"] == number
        assert run.get("about", True) == about


def test_the_end_is_told(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.tick()
    talk.note(Ended(103.0))
    talk.pages.finish()
    run = talk.sent[-1][0]["run"]
    assert (run["over"], run["state"], run["elapsed"]) == (True, "over", 3.0)


def test_many_ranks_are_told_of_in_one_bounded_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "_RANKS_PERIOD", 60.0)
    talk = Talk(tmp_path, 256)
    talk.hear(kind="hello")
    talk.hear(kind="watch", logs=["0"])
    for rank in range(256):
        talk.write(rank, "line\n" * 1000)
    tick = talk.tick()
    assert len(tick["ranks"]) == 256
    assert len(repr(tick)) < 200_000
    # not with every tick
    talk.hear(kind="ack", seq=tick["seq"], logs=["0"])
    talk.write(3, "more\n")
    assert "ranks" not in talk.tick()


def test_pages_are_told_who_asks_and_which_command_answers(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.tick()
    talk.state.detached = True
    talk.note(Asked(1, 1, QuestionKind.LINE, "rank 1: name? ", "", "", 0, 101.0))
    assert talk.tick()["ranks"] == {"1": {"asks": "asks", "about": ": name?", "answer": "%multiproc debug 1"}}
    talk.note(Answered(1, 1, 101.0))
    assert talk.tick()["ranks"] == {"1": {"asks": "", "about": "", "answer": ""}}


def test_where_the_ranks_are_is_asked_once_for_a_message_that_comes_twice(talk: Talk) -> None:
    talk.hear(kind="hello")
    talk.tick()
    for _ in range(2):
        talk.hear(kind="stacks", id=7)
        talk.pages.close()
        talk.tick()
    answers = [content for content, _ in talk.sent if content["kind"] == "stacks"]
    assert answers == [{"kind": "stacks", "id": 7, "client": "a", "text": "look 1"}]
    # an answer may be lost
    talk.hear(kind="stacks", id=7, again=True)
    talk.pages.close()
    talk.tick()
    assert talk.sent[-1][0] == {"kind": "stacks", "id": 7, "client": "a", "text": "look 2"}
