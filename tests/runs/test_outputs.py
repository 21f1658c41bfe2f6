"""What ranks displayed, as a run keeps it."""

from __future__ import annotations

from nblaunch.events import Displayed, DisplayKind
from nblaunch.runs.outputs import Output, Outputs


def show(outputs: Outputs, rank: int, text: str, kind: str = "display", display_id: str | None = None) -> None:
    outputs.note(Displayed(rank, DisplayKind(kind), {"text/html": text}, {}, display_id, 0.0))


def test_who_shows_an_output_may_change_what_it_gets() -> None:
    output = Output({"image/png": "iVBOR", "application/json": {"a": [1]}}, {"isolated": True})
    data, metadata = output._repr_mimebundle_()
    # as marimo does
    data["image/png"] = "data:image/png;base64,iVBOR"
    data["application/json"]["a"].append(2)
    metadata.clear()
    assert output == Output({"image/png": "iVBOR", "application/json": {"a": [1]}}, {"isolated": True})


def clear(outputs: Outputs, rank: int, *, wait: bool = False) -> None:
    outputs.note(Displayed(rank, DisplayKind.CLEAR, {}, {}, None, 0.0, wait=wait))


def texts(outputs: Outputs) -> dict[int, list[str]]:
    return {rank: [output.data["text/html"] for output in shown] for rank, shown in outputs.by_rank.items()}


def test_outputs_are_kept_by_rank_and_in_order() -> None:
    outputs = Outputs(2)
    assert texts(outputs) == {0: [], 1: []}
    for rank, text in ((1, "a"), (0, "b"), (1, "c"), (1, "a")):
        show(outputs, rank, text)
    assert texts(outputs) == {0: ["b"], 1: ["a", "c", "a"]}


def test_updates_replace_what_the_same_rank_has_displayed_under_that_name() -> None:
    outputs = Outputs(2)
    for rank in (0, 1):
        show(outputs, rank, "old", display_id="x")
        show(outputs, rank, "other")
    kept = outputs.by_rank[1][0]
    show(outputs, 1, "new", "update", "x")
    show(outputs, 1, "nothing has that name", "update", "y")
    assert texts(outputs) == {0: ["old", "other"], 1: ["new", "other"]}
    assert kept.data == {"text/html": "new"}


def test_a_name_that_is_displayed_again_is_in_both_places() -> None:
    outputs = Outputs(1)
    show(outputs, 0, "1", display_id="x")
    show(outputs, 0, "2", display_id="x")
    assert texts(outputs) == {0: ["2", "2"]}
    show(outputs, 0, "3", "update", "x")
    assert texts(outputs) == {0: ["3", "3"]}


def test_clearing() -> None:
    outputs = Outputs(2)
    for rank in (0, 1):
        show(outputs, rank, "a", display_id="x")
    clear(outputs, 0)
    assert texts(outputs) == {0: [], 1: ["a"]}
    show(outputs, 0, "late", "update", "x")
    assert texts(outputs) == {0: [], 1: ["a"]}
    clear(outputs, 1, wait=True)
    assert texts(outputs) == {0: [], 1: ["a"]}
    show(outputs, 1, "b")
    show(outputs, 1, "c")
    assert texts(outputs) == {0: [], 1: ["b", "c"]}


def test_an_output_shows_itself_and_reads_short() -> None:
    output = Output({"text/html": "<b>", "text/plain": "b" * 1000}, {"isolated": True})
    assert output._repr_mimebundle_() == ({"text/html": "<b>", "text/plain": "b" * 1000}, {"isolated": True})
    assert repr(output) == "<Output: text/html, text/plain>"
    assert repr(Output({})) == "<Output: empty>"
