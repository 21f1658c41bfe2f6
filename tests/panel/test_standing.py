"""What the run before has left stands under the cell until something takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nblaunch.panel import standing as module
from nblaunch.panel.places import WIDGET, Bundle, label_of
from nblaunch.panel.standing import Standing, forget


class Area:
    """An output area as a page has it: what is published, by its name, and what is changed."""

    def __init__(self) -> None:
        self.outputs: dict[str, dict[str, Any]] = {}

    def __call__(
        self, data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        name = transient.get("display_id", f"unnamed {len(self.outputs)}")
        # an update of what is not there is lost, and a name that is there already would be there twice
        assert update == (name in self.outputs)
        self.outputs[name] = data

    @property
    def shown(self) -> list[str]:
        found = [str(data.get("text/html") or data["text/plain"]) for data in self.outputs.values()]
        return ["earlier: " + one if "nblaunch-earlier" in one else one for one in found]


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_last_shown", type(module._last_shown)())
    yield


def text(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"text/plain": text}, {}


def run_before(*texts: str, cell: str = "a") -> None:
    standing = Standing(Area(), cell, "1")
    for one in texts:
        standing(*text(one), {})
    standing.end()


def test_the_first_output_takes_its_place() -> None:
    run_before("the record", "the value")
    area = Area()
    standing = Standing(area, "a", "2")
    [earlier] = area.shown
    assert "the record" in earlier
    assert "the value" in earlier
    assert "of the run before" in earlier
    standing(*text("new record"), {"display_id": "record"})
    standing(*text("new value"), {})
    assert area.shown == ["new record", "new value"]
    standing(*text("changed record"), {"display_id": "record"}, update=True)
    standing.end()
    assert area.shown == ["changed record", "new value"]


def test_a_widget_stands_below_it_until_something_else_is_shown() -> None:
    run_before("the record")
    area = Area()
    standing = Standing(area, "a", "2")
    standing({WIDGET: {"model_id": "m"}, "text/plain": "%%multiproc"}, {}, {"display_id": "panel"})
    assert [one[:7] for one in area.shown] == ["earlier", "%%multi"]
    standing(*text("a figure"), {})
    assert area.shown == ["", "%%multiproc", "a figure"]
    standing(*text("new record"), {"display_id": "panel"}, update=True)
    assert area.shown == ["", "new record", "a figure"]


def test_the_record_takes_the_place_of_the_widget_alone() -> None:
    run_before("the record")
    area = Area()
    standing = Standing(area, "a", "2")
    standing({WIDGET: {"model_id": "m"}, "text/plain": "%%multiproc"}, {}, {"display_id": "panel"})
    # the cell of a run that goes on without it
    standing.end()
    assert len([one for one in area.shown if one]) == 2
    standing(*text("new record"), {"display_id": "panel"}, update=True)
    assert area.shown == ["", "new record"]


def test_a_run_that_shows_nothing_takes_it_away() -> None:
    run_before("the record")
    area = Area()
    Standing(area, "a", "2").end()
    assert area.shown == [""]
    area = Area()
    Standing(area, "a", "2").end()
    assert area.shown == []


def test_a_run_that_goes_on_without_the_cell_takes_its_place_later() -> None:
    run_before("the record")
    area = Area()
    standing = Standing(area, "a", "2")
    standing.goes_on = True
    standing.end()
    assert [one[:7] for one in area.shown] == ["earlier"]
    standing(*text("new record"), {"display_id": "record"})
    assert area.shown == ["new record"]


def test_what_stands_under_another_cell_or_after_another_kind_of_cell_is_nothing_of_this_one() -> None:
    run_before("the record")
    area = Area()
    Standing(area, "b", "2")
    assert area.shown == []
    forget("a")
    Standing(area, "a", "2")
    assert area.shown == []


def test_the_error_of_the_cell_is_part_of_it() -> None:
    standing = Standing(Area(), "a", "1")
    standing(*text("the record"), {})
    standing.end(["\x1b[31mRanksFailed\x1b[0m", "rank <1> failed"])
    area = Area()
    Standing(area, "a", "2")
    assert "RanksFailed" in area.shown[0]
    assert "rank &lt;1&gt; failed" in area.shown[0]
    assert "\x1b" not in area.shown[0]


@pytest.mark.parametrize(
    "html",
    [
        "<script>x()</script>",
        "<div><iframe src='x'></iframe></div>",
        "<VIDEO autoplay>",
        "<img src=x onerror='x()'>",
        "<link rel=stylesheet href=x>",
        "<select></select>",
    ],
)
def test_what_would_do_something_once_more_is_left_out(html: str) -> None:
    standing = Standing(Area(), "a", "1")
    standing({"text/html": html, "text/plain": "x"}, {}, {})
    standing(*text("the record"), {})
    standing.end()
    area = Area()
    Standing(area, "a", "2")
    assert html not in area.shown[0]
    assert "the record" in area.shown[0]


def test_images_of_ranks_stand_as_they_did() -> None:
    images = [Bundle({"image/png": f"aGVsbG8{rank}", "text/plain": "<Figure>"}, {}) for rank in range(2)]
    standing = Standing(Area(), "a", "1")
    for rank, image in enumerate(images):
        label = label_of([rank], image, beside=rank == 0)
        standing(dict(label.data), {}, {})
        standing(dict(image.data), {"image/png": {"width": 320}}, {})
    standing.end()
    area = Area()
    Standing(area, "a", "2")
    [earlier] = area.shown
    assert earlier.count("display: inline-block") == 2
    assert earlier.count("width: 320px") == 2
    assert earlier.index("rank 0") < earlier.index("aGVsbG80") < earlier.index("rank 1") < earlier.index("aGVsbG81")
    # the rules that put outputs of a cell beside each other are not for this one
    assert earlier.count("<style>") == 1


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_CHARACTERS", 100)
    run_before("first", "x" * 99, "last")
    area = Area()
    Standing(area, "a", "2")
    assert "first" in area.shown[0]
    assert "xx" not in area.shown[0]
    assert "last" in area.shown[0]
    for number in range(module._MAX_CELLS):
        run_before("another", cell=str(number))
    area = Area()
    Standing(area, "a", "2")
    assert area.shown == []
