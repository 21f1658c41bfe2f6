"""What ranks display, as it appears under a cell: places, folding, updates, clearing, bounds, and the thread."""

from __future__ import annotations

import contextvars
import logging
import re
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nblaunch.events import Displayed, DisplayKind, Ended, Launched, Started
from nblaunch.panel import outputs
from nblaunch.panel.outputs import OutputArea, OutputLines, kernel_publisher, show_outputs
from nblaunch.panel.places import Bundle

_TAGS = re.compile(r"<div style=\"[^\"<>]*\">([\w ,-]+)</div>")


class Page:
    """What a frontend shows of what is published."""

    def __init__(self) -> None:
        self.outputs: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.calls = 0
        self.changed = threading.Condition()

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        name = transient["display_id"]
        with self.changed:
            self.calls += 1
            if update:
                assert any(name == known for known, _, _ in self.outputs)
                self.outputs = [
                    (known, data, metadata) if known == name else (known, old, meta)
                    for known, old, meta in self.outputs
                ]
            else:
                assert all(name != known for known, _, _ in self.outputs)
                self.outputs.append((name, data, metadata))
            self.changed.notify_all()

    @property
    def text(self) -> list[str]:
        """Return labels and contents, one after the other, without empty ones."""
        return [text for text in map(words, [data for _, data, _ in self.outputs]) if text]

    def wait_for(self, *texts: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.text == list(texts), 30), self.text


def words(data: dict[str, Any]) -> str:
    if "text/html" in data:
        found = _TAGS.fullmatch(data["text/html"])
        if found is not None:
            assert data["text/plain"] == f"{found[1]}:"
            return f"{found[1]}:"
        return str(data["text/html"])
    return str(data.get("text/plain", ""))


def show(rank: int, text: str, display_id: str | None = None, *, kind: str = "display") -> Displayed:
    return Displayed(rank, DisplayKind(kind), {"text/html": text}, {}, display_id, 0.0)


def update(rank: int, text: str, display_id: str) -> Displayed:
    return show(rank, text, display_id, kind="update")


def clear(rank: int, *, wait: bool = False) -> Displayed:
    return Displayed(rank, DisplayKind.CLEAR, {}, {}, None, 0.0, wait=wait)


def shown(*events: Displayed, **options: Any) -> list[str]:
    """Return what is on the page after these events."""
    page = Page()
    # what is published meanwhile would depend on how busy the machine is
    area = OutputArea(page.publish, held=True, **options)
    for event in events:
        area.note(event)
    area.close()
    return page.text


def finally_shown(*events: Displayed, **options: Any) -> list[str]:
    area = OutputArea(Page().publish, **options)
    for event in events:
        area.note(event)
    area.close()
    return [words(bundle.data) for bundle in area.final()]


def test_each_output_has_a_label() -> None:
    assert shown(show(1, "a"), show(0, "b"), show(1, "c")) == ["rank 1:", "a", "rank 0:", "b", "rank 1:", "c"]


def image(rank: int, data: str) -> Displayed:
    return Displayed(rank, DisplayKind.NEW, {"image/png": data, "text/plain": "<Figure>"}, {}, None, 0.0)


@pytest.mark.parametrize(
    ("events", "beside"),
    [
        ([image(0, "a"), image(1, "b")], True),
        # one figure of all ranks, several of one rank, and what is shown otherwise
        ([image(0, "a"), image(1, "a")], False),
        ([image(0, "a"), image(0, "b")], False),
        ([image(0, "a"), show(1, "<table>")], False),
    ],
)
def test_images_of_several_ranks_stand_side_by_side(events: list[Displayed], beside: bool) -> None:
    page = Page()
    area = OutputArea(page.publish)
    for event in events:
        area.note(event)
    area.close()
    area.arrange()
    assert any("nblaunch-images" in data.get("text/html", "") for _, data, _ in page.outputs) is beside
    # they stay outputs of their own, as frontends show that know images only
    sent = {event.data["image/png"] for event in events if "image/png" in event.data}
    assert [data["image/png"] for _, data, _ in page.outputs if "image/png" in data] == sorted(sent)


def test_it_is_live() -> None:
    page = Page()
    area = OutputArea(page.publish)
    area.note(show(0, "a", "x"))
    page.wait_for("rank 0:", "a")
    area.note(update(0, "b", "x"))
    page.wait_for("rank 0:", "b")
    area.note(show(2, "same"))
    area.note(show(1, "same"))
    page.wait_for("rank 0:", "b", "ranks 1-2:", "same")
    area.close()


def test_what_ranks_display_alike_is_there_once() -> None:
    events = [show(rank, text) for rank in range(4) for text in ("same", f"own {rank}", "same")]
    assert shown(*events) == [
        *("ranks 0-3:", "same", "rank 0:", "own 0", "ranks 0-3:", "same"),
        *("rank 1:", "own 1", "rank 2:", "own 2", "rank 3:", "own 3"),
    ]


def test_data_and_metadata_have_to_be_alike() -> None:
    bundles: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"application/json": {"a": 1, "b": [2]}}, {}),
        ({"application/json": {"b": [2], "a": 1}}, {}),
        ({"application/json": {"a": 1, "b": [3]}}, {}),
        ({"application/json": {"a": 1, "b": [2]}}, {"x": 1}),
    ]
    page = Page()
    area = OutputArea(page.publish)
    for rank, (data, metadata) in enumerate(bundles):
        area.note(Displayed(rank, DisplayKind.NEW, data, metadata, None, 0.0))
    area.close()
    assert [text for text in page.text if text.startswith("rank")] == ["ranks 0-1:", "rank 2:", "rank 3:"]
    assert [metadata for _, _, metadata in page.outputs] == [{}, {}, {}, {}, {}, {"x": 1}]


def test_names_of_ranks_do_not_meet() -> None:
    events = [show(0, "a", "x"), show(1, "b", "x"), update(1, "c", "x"), update(2, "nobody", "x")]
    assert shown(*events) == ["rank 0:", "a", "rank 1:", "c"]


def test_a_name_that_is_displayed_again_changes_in_both_places() -> None:
    assert shown(show(0, "a", "x"), show(0, "b", "x")) == ["rank 0:", "b", "rank 0:", "b"]


def test_names_on_the_page_are_not_those_of_the_ranks_and_differ_between_runs() -> None:
    pages = [Page(), Page()]
    for page in pages:
        area = OutputArea(page.publish)
        area.note(show(0, "a", "<b>x</b>"))
        area.close()
    names = [name for page in pages for name, _, _ in page.outputs]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"nblaunch-[0-9a-f]{12}-0(-label)?", name) for name in names)


def test_clearing_is_for_one_rank() -> None:
    assert shown(show(0, "a"), show(1, "b"), clear(0)) == ["rank 1:", "b"]
    assert shown(show(0, "same"), show(1, "same"), clear(0)) == ["rank 1:", "same"]
    assert shown(show(0, "a", "x"), clear(0), update(0, "b", "x")) == []


def test_an_animation_stays_in_its_place() -> None:
    page = Page()
    area = OutputArea(page.publish)
    for rank in (0, 1):
        area.note(show(rank, f"first {rank}"))
    page.wait_for("rank 0:", "first 0", "rank 1:", "first 1")
    for frame in range(20):
        for rank in (1, 0):
            area.note(clear(rank, wait=True))
            area.note(show(rank, f"frame {frame} {rank}"))
    area.close()
    assert page.text == ["rank 0:", "frame 19 0", "rank 1:", "frame 19 1"]
    assert len(page.outputs) == 4


def test_free_places_keep_the_order_of_a_rank() -> None:
    """The place that rank 2 leaves is above what rank 0 has displayed meanwhile."""
    same = [show(rank, "same") for rank in range(3)]
    cleared = [event for rank in range(3) for event in (clear(rank), show(rank, f"first {rank}"))]
    assert shown(*same, *cleared, show(0, "second 0")) == [
        *("rank 2:", "first 2", "rank 0:", "first 0", "rank 1:", "first 1", "rank 0:", "second 0")
    ]
    assert shown(*same, clear(0), show(0, "first"), clear(1), clear(2), show(0, "second")) == [
        *("rank 0:", "first", "rank 0:", "second")
    ]
    # rather out of order than not at all
    assert shown(*same, clear(0), show(0, "first"), clear(1), clear(2), show(0, "second"), most=2) == [
        *("rank 0:", "second", "rank 0:", "first")
    ]


def test_waiting_clears_with_the_next_output_only() -> None:
    assert shown(show(0, "a"), show(0, "b"), clear(0, wait=True)) == ["rank 0:", "a", "rank 0:", "b"]
    assert shown(show(0, "a"), show(0, "b"), clear(0, wait=True), show(0, "c")) == ["rank 0:", "c"]


def test_alike_animations_do_not_wander_down_the_page() -> None:
    page = Page()
    area = OutputArea(page.publish)
    for frame in range(10):
        for rank in range(4):
            area.note(clear(rank, wait=True))
            area.note(show(rank, f"frame {frame}"))
        page.wait_for("ranks 0-3:", f"frame {frame}")
    area.close()
    assert len(page.outputs) <= 4


def test_a_rank_that_parts_leaves_the_others_their_place() -> None:
    events = [show(0, "same"), show(1, "same"), show(2, "same"), clear(1, wait=True), show(1, "own")]
    assert shown(*events) == ["ranks 0, 2:", "same", "rank 1:", "own"]


def test_show_ranks() -> None:
    events = [show(rank, f"{rank}") for rank in range(4)]
    assert shown(*events, show_ranks={1, 3}) == ["rank 1:", "1", "rank 3:", "3"]
    assert finally_shown(*events, show_ranks={1, 3}) == ["rank 1:", "1", "rank 3:", "3"]
    assert shown(*events, show_ranks=()) == []


def test_there_is_an_end_to_how_many_are_shown() -> None:
    events = [show(rank, f"{rank} {number}") for number in range(3) for rank in (0, 1)]
    text = shown(*events, most=2)
    assert text[:4] == ["rank 0:", "0 0", "rank 1:", "1 0"]
    assert len(text) == 5
    assert text[4] == (
        "… 4 more outputs of ranks 0-1 are not shown, to keep the notebook light (up to 2 outputs of 20 MB in all "
        "are). run.outputs has everything, where the cell was run with --out run"
    )
    assert finally_shown(*events, most=2)[:4] == ["rank 0:", "0 0", "rank 0:", "0 1"]
    assert finally_shown(*events, most=2)[4].startswith("… 4 more outputs of ranks 0-1 are not shown")


def test_what_is_cleared_makes_room_and_is_not_counted() -> None:
    events = [show(0, "a"), show(0, "b"), clear(0), show(0, "c")]
    assert shown(*events, most=1) == ["rank 0:", "c"]
    text = shown(show(0, "a"), show(1, "b"), show(1, "c"), most=1)
    assert text[2].startswith("… 2 more outputs of rank 1 are not shown")
    text = shown(show(0, "a"), show(1, "b"), show(1, "c"), clear(1), show(1, "d"), most=1)
    assert text[2].startswith("… 1 more output of rank 1 is not shown")
    assert shown(show(0, "a"), show(1, "b"), clear(1), most=1) == ["rank 0:", "a"]


def test_there_is_an_end_to_how_much_is_shown() -> None:
    large = "x" * 600
    text = shown(show(0, large), show(1, large + "y"), show(2, "small"), most_bytes=1000)
    assert text[:4] == ["rank 0:", large, "rank 2:", "small"]
    assert text[4].startswith("… 1 more output of rank 1 is not shown")


def test_an_output_that_grows_too_large_is_taken_away() -> None:
    text = shown(show(0, "a", "x"), show(1, "b"), update(0, "y" * 2000, "x"), update(0, "c", "x"), most_bytes=1000)
    assert text[:2] == ["rank 1:", "b"]
    assert text[2].startswith("… 1 more output of rank 0 is not shown")


def test_the_end_is_by_rank_and_in_order() -> None:
    events = [
        *(show(rank, "head") for rank in (2, 0, 1)),
        *(show(rank, f"own {rank}") for rank in (2, 1, 0)),
        *(show(rank, f"state {rank}", "x") for rank in (1, 0)),
        *(update(rank, "done", "x") for rank in (0, 1)),
    ]
    assert finally_shown(*events) == [
        *("ranks 0-2:", "head", "rank 0:", "own 0", "ranks 0-1:", "done"),
        *("rank 1:", "own 1", "rank 2:", "own 2"),
    ]
    assert finally_shown() == []


def test_no_text_of_a_rank_gets_into_labels() -> None:
    """Whatever a rank calls its outputs and their types, labels are made of numbers."""
    nasty = "<script>alert(1)</script>"
    page = Page()
    area = OutputArea(page.publish)
    area.note(Displayed(0, DisplayKind.NEW, {nasty: nasty}, {nasty: nasty}, nasty, 0.0))
    area.close()
    (_, label, metadata), (_, content, _) = page.outputs
    assert nasty not in str(label)
    assert metadata == {}
    assert content == {nasty: nasty}


def test_updates_faster_than_they_are_published_are_left_out() -> None:
    page = Page()
    area = OutputArea(page.publish)
    area.note(show(0, "start", "x"))
    page.wait_for("rank 0:", "start")
    for number in range(2000):
        area.note(update(0, f"{number}", "x"))
    area.close()
    assert page.text == ["rank 0:", "1999"]
    assert page.calls < 1000


def test_an_output_that_cannot_be_published_does_not_keep_others(caplog: pytest.LogCaptureFixture) -> None:
    page = Page()

    def publish(
        data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        if data.get("text/html") == "bad":
            raise ValueError("surrogates not allowed")
        page.publish(data, metadata, transient, update=update)

    area = OutputArea(publish)
    with caplog.at_level(logging.ERROR):
        for text in ("a", "bad", "b"):
            area.note(show(0, text))
        area.close()
    assert page.text == ["rank 0:", "a", "rank 0:", "rank 0:", "b"]
    assert "surrogates not allowed" in caplog.text


def test_an_event_that_breaks_it_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    area = OutputArea(Page().publish)
    with caplog.at_level(logging.ERROR):
        area.note(Displayed(0, DisplayKind.NEW, {"a": object()}, {}, None, 0.0))
    assert "could not be shown" in caplog.text
    area.close()


def test_a_run_that_nobody_waits_for_ends_its_thread() -> None:
    page = Page()
    area = OutputArea(page.publish)
    area.note(show(0, "a"))
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "nblaunch-outputs"]
    area.note(Started(0, 1, 0.0))
    area.note(Ended(1.0))
    thread.join(30)
    assert not thread.is_alive()
    assert page.text == ["rank 0:", "a"]
    area.close()


def test_without_outputs_there_is_no_thread() -> None:
    page = Page()
    area = OutputArea(page.publish)
    area.note(Ended(1.0))
    assert all(thread.name != "nblaunch-outputs" for thread in threading.enumerate())
    area.close()
    area.close()
    assert page.calls == 0


def test_without_threads_all_is_published_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        page = Page()
        area = OutputArea(page.publish)
        area.note(show(0, "a"))
        area.close()
    assert page.text == ["rank 0:", "a"]


def test_publishing_is_in_the_context_of_the_launch() -> None:
    cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell", default="another")
    found = []

    def publish(
        data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        found.append(cell.get())

    def launch() -> None:
        cell.set("mine")
        area.note(show(0, "a"))

    area = OutputArea(publish)
    contextvars.copy_context().run(launch)
    thread = area._thread
    assert thread is not None
    area._end()
    thread.join()
    area.close()
    assert found == ["mine", "mine"]


# ---- where there is no notebook


def test_in_a_program_the_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    made = show_outputs({0, 11})
    assert isinstance(made, OutputLines)
    made.note(Launched(12, 0.0))
    made.note(Displayed(0, DisplayKind.NEW, {"text/html": "<b>", "text/plain": "one\ntwo"}, {}, None, 0.0))
    made.note(Displayed(11, DisplayKind.UPDATE, {"image/png": "iVBOR"}, {}, "x", 0.0))
    made.note(Displayed(1, DisplayKind.NEW, {"text/plain": "not shown"}, {}, None, 0.0))
    made.note(clear(0))
    made.note(Ended(1.0))
    made.close()
    assert capsys.readouterr().out == "[ 0] one\n[ 0] two\n[11] (an output without text: image/png)\n"


def test_what_is_printed_has_an_end(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "_MAX_PRINTED_CHARACTERS", 100)
    made = OutputLines()
    for _ in range(50):
        made.note(Displayed(0, DisplayKind.NEW, {"text/plain": "x" * 20}, {}, None, 0.0))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "[0] … more outputs, all of them in run.outputs"
    assert len(lines) < 8


def test_a_kernel_is_told_by_its_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    from IPython.core.displaypub import CapturingDisplayPublisher, DisplayPublisher

    assert kernel_publisher() is None
    capturing = CapturingDisplayPublisher()
    for publisher, is_kernel in ((DisplayPublisher(), False), (capturing, True)):
        fake = ModuleType("IPython")
        fake.get_ipython = lambda publisher=publisher: SimpleNamespace(display_pub=publisher)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", fake)
        assert (kernel_publisher() is not None) == is_kernel
    area = show_outputs()
    assert isinstance(area, OutputArea)
    area.note(show(0, "a"))
    area.close()
    assert [output["data"].get("text/html", "")[-1:] for output in capturing.outputs] == [">", "a"]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("half imported"))
    assert kernel_publisher() is None


def test_a_publisher_that_knows_one_cell_for_all_threads_is_bound_to_the_present_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As that of ipykernel 6 is made."""
    from IPython.core.displaypub import DisplayPublisher
    from traitlets import Any as AnyTrait

    class Publisher(DisplayPublisher):  # type: ignore[misc]
        session, pub_socket, parent_header = AnyTrait(), AnyTrait(), AnyTrait()

        def publish(self, data: dict[str, Any], **_: object) -> None:
            self.session.append((self.parent_header, self.pub_socket, data["text/plain"]))

    sent: list[tuple[str, str, str]] = []
    publisher = Publisher(session=sent, pub_socket="socket", parent_header="first cell")
    fake = ModuleType("IPython")
    fake.get_ipython = lambda: SimpleNamespace(display_pub=publisher)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", fake)
    publish = kernel_publisher()
    assert publish is not None
    publisher.parent_header = "second cell"
    publish({"text/plain": "x"}, {}, {})
    assert sent == [("first cell", "socket", "x")]


def test_at_the_end_outputs_are_grouped_by_rank() -> None:
    page = Page()
    area = OutputArea(page.publish)
    for event in (show(1, "b1"), show(0, "a1"), show(1, "b2"), show(0, "b2"), show(0, "a2")):
        area.note(event)
    area.close()
    assert page.text == ["rank 1:", "b1", "rank 0:", "a1", "ranks 0-1:", "b2", "rank 0:", "a2"]
    before = page.calls
    area.arrange()
    assert page.text == ["rank 0:", "a1", "ranks 0-1:", "b2", "rank 0:", "a2", "rank 1:", "b1"]
    # what stands where it belongs is not sent again
    calls = page.calls - before
    area.arrange()
    assert page.calls - before == calls


def test_outputs_that_a_rank_has_cleared_leave_nothing_at_the_end() -> None:
    page = Page()
    area = OutputArea(page.publish)
    for event in (show(0, "a1"), show(1, "b1"), clear(0)):
        area.note(event)
    area.close()
    area.arrange()
    assert page.text == ["rank 1:", "b1"]


class ClearablePage(Page):
    """A page whose outputs a person clears: it knows nothing of them any more."""

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        if not update or any(transient["display_id"] == known for known, _, _ in self.outputs):
            super().publish(data, metadata, transient, update=update)


@pytest.mark.parametrize("is_cleared", [True, False])
def test_what_was_cleared_on_the_page_is_there_at_the_end(is_cleared: bool) -> None:
    page = ClearablePage()
    area = OutputArea(page.publish)
    area.note(show(1, "b"))
    area.note(show(0, "a", "x"))
    page.wait_for("rank 1:", "b", "rank 0:", "a")
    if is_cleared:
        page.outputs.clear()
    area.start_anew()
    # what is shown or changed afterwards is seen at once
    area.note(update(0, "a2", "x"))
    area.note(show(1, "c"))
    before = [] if is_cleared else ["rank 1:", "b", "rank 0:", "a"]
    page.wait_for(*before, "rank 0:", "a2", "rank 1:", "c")
    area.put_above(Bundle({"text/plain": "the record"}, {}))
    area.close()
    area.arrange()
    assert page.text == ["the record", "rank 0:", "a2", "rank 1:", "b", "rank 1:", "c"]
