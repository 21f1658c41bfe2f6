"""The values of ranks below the cell: what is shown of which objects, once, and within which bounds."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from nblaunch.interrupts import MAX_WAIT_SLICE
from nblaunch.panel import values as module
from nblaunch.panel.formatting import formatted
from nblaunch.panel.values import ShownValues
from nblaunch.runs.outputs import Output


@pytest.fixture(autouse=True)
def shell() -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


Published = list[dict[str, Any]]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    """What is published, as if a kernel ran here."""
    found: Published = []
    monkeypatch.setitem(_HERE, "publish", lambda data, metadata, transient: found.append(data))
    return found


# what publishes; nothing does in a terminal
_HERE: dict[str, Any] = {"publish": None}


def close(values: Mapping[int, object], nprocs: int = 4, **options: Any) -> None:
    displayed = options.pop("displayed", {})
    ShownValues(lambda: values, nprocs, "results", lambda: displayed, **_HERE, **options).close()


def texts(published: Published) -> list[str]:
    return [data["text/plain"] for data in published]


def test_equal_ones_are_there_once_and_none_is_nothing(published: Published) -> None:
    close({0: 1.5, 1: 1.5, 2: None, 3: 2})
    assert texts(published) == ["ranks 0-1: 1.5\nrank 3:    2"]


def test_nothing_is_shown_of_nothing(published: Published) -> None:
    close({})
    close({0: None, 1: None})
    assert published == []


def test_the_only_rank_needs_no_name(published: Published) -> None:
    close({0: [1, 2]}, nprocs=1)
    assert texts(published) == ["[1, 2]"]


def test_chosen_ranks(published: Published) -> None:
    close({0: 0, 1: 1}, show_ranks=frozenset({1}))
    assert texts(published) == ["rank 1: 1"]


def test_they_are_shown_once(published: Published) -> None:
    shown = ShownValues(lambda: {0: 1}, 1, "results", dict, **_HERE)
    shown.close()
    shown.close()
    assert texts(published) == ["1"]
    shown = ShownValues(lambda: {0: 1}, 1, "results", dict, **_HERE)
    shown.detach(str)
    shown.close()
    assert len(published) == 1


class Rich:
    def __init__(self, html: str, text: str = "Rich()") -> None:
        self.html, self.text = html, text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def test_what_has_more_than_text_stands_below_the_names_of_its_ranks(published: Published) -> None:
    close({0: Rich("<b>1</b>"), 1: Rich("<b>1</b>"), 2: Rich("<b>2</b>"), 3: 7})
    assert texts(published) == ["ranks 0-1:", "Rich()", "rank 2:", "Rich()", "rank 3: 7"]
    assert [data["text/html"] for data in published[1:4:2]] == ["<b>1</b>", "<b>2</b>"]


def test_what_is_large_to_show_is_its_text(published: Published) -> None:
    close({0: Rich("x" * 3_000_000)}, nprocs=1)
    assert [*published[0]] == ["text/plain"]
    assert texts(published) == ["Rich()\n(3.0 MB as it would be shown: only its text is; results[0] has it)"]


class Unequal:
    """As arrays, NaN and tensors do, it has no truth when it is compared."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Unequal()"


def test_objects_that_cannot_be_compared(published: Published) -> None:
    close({0: Unequal(), 1: Unequal(), 2: float("nan"), 3: float("nan")})
    assert texts(published) == ["ranks 0-1: Unequal()\nranks 2-3: nan"]


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), KeyboardInterrupt("no")])
def test_a_repr_that_raises_is_a_line(
    published: Published, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    close({0: Raising(error), 1: 5})
    name = type(error).__name__
    assert texts(published) == [f"rank 0: <a Raising whose repr failed: {name}: no>\nrank 1: 5"]
    assert capsys.readouterr() == ("", "")


class HalfRich(Rich):
    def _repr_html_(self) -> str:
        raise RuntimeError("no html")


def test_a_part_that_raises(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    close({0: HalfRich("")}, nprocs=1)
    assert texts(published) == ["Rich()\n(a part of it cannot be shown: RuntimeError: no html)"]
    assert capsys.readouterr() == ("", "")


class Slow:
    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate

    def __repr__(self) -> str:
        self.gate.wait()
        return "Slow()"


def test_a_slow_one_does_not_hold_the_cell(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_SECONDS", 0.3)
    gate = threading.Event()
    try:
        close({0: 0, 1: Slow(gate), 2: 2, 3: 3})
    finally:
        gate.set()
    wait_for_formatting()
    value, told = texts(published)
    assert value == "rank 0: 0"
    slow, rest = told.splitlines()
    assert slow == (
        "… the value of rank 1 was not ready to be shown after 0.3 s: the code that shows it takes longer. "
        "results[1] has it"
    )
    assert rest == "… the values of ranks 2-3 are not shown; results has them"


def wait_for_formatting() -> None:
    for thread in threading.enumerate():
        if thread.name == "nblaunch-shown-values":
            thread.join()


def test_a_formatter_that_somebody_has_registered_for_numbers_does_not_hold_the_cell(
    published: Published, monkeypatch: pytest.MonkeyPatch, shell: InteractiveShell
) -> None:
    monkeypatch.setattr(module, "_MAX_SECONDS", 0.3)
    gate = threading.Event()

    def slow(value: float) -> str:
        gate.wait()
        return "<b>slow</b>"

    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type(float, slow)
    try:
        close({0: 1.5}, nprocs=1)
    finally:
        gate.set()
    wait_for_formatting()
    (told,) = texts(published)
    assert told == (
        "… the value of rank 0 was not ready to be shown after 0.3 s: the code that shows it takes longer. "
        "results[0] has it"
    )


def test_an_interrupt_is_heard_while_values_are_formatted(published: Published) -> None:
    """Also one that comes just before a wait begins, which that wait does not hear."""
    gate = threading.Event()
    waits: list[float | None] = []
    join = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        waits.append(timeout)
        if len(waits) == 2:
            raise KeyboardInterrupt
        join(thread, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        try:
            with pytest.raises(KeyboardInterrupt):
                close({0: Slow(gate), 1: 2})
        finally:
            gate.set()
    wait_for_formatting()
    assert all(timeout is not None and timeout <= MAX_WAIT_SLICE for timeout in waits)
    assert published == []


def test_an_interrupt_of_the_main_thread_is_no_error_of_a_value(shell: InteractiveShell) -> None:
    with pytest.raises(KeyboardInterrupt):
        formatted(shell, Raising(KeyboardInterrupt()))


def test_what_cannot_be_published_harms_no_cell(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def publish(*_: object) -> None:
        raise OSError("no frontend")

    monkeypatch.setitem(_HERE, "publish", publish)
    close({0: 1})
    assert "the values of the ranks could not be shown; results has them" in caplog.text


def test_long_texts_are_cut(published: Published) -> None:
    close({0: [*range(2000)], 1: "x" * 50_000})
    first, second = texts(published)[0].split("\nrank 1:\n")
    lines = first.splitlines()
    assert lines[:2] == ["rank 0:", "[0,"]
    assert len(lines) == 22
    assert lines[-1] == "… 981 more lines: results[0] has all"
    assert second == f"'{'x' * 1999}\n… 48,002 more characters: results[1] has all"


def test_values_of_many_ranks_are_bounded(published: Published) -> None:
    close(dict(enumerate(range(256))), nprocs=256)
    lines, rest = texts(published)
    assert lines.splitlines()[-1] == "rank 19: 19"
    assert rest == "… the values of ranks 20-255 are not shown; results has them"


def test_the_text_of_what_is_plainly_too_large_is_not_made(published: Published) -> None:
    values = {0: {"a": "x" * 3_000_000}, 1: b"z" * 3_000_000, 2: [["y" * 1_000_000] * 3]}
    close({0: {}, 1: b"", 2: []})  # what is imported and cached for the first one
    tracemalloc.start()
    try:
        close(values)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000
    assert max(map(len, texts(published)[1].splitlines())) < 1000


def test_an_image_that_a_rank_has_displayed_is_not_shown_again(published: Published) -> None:
    class Figure:
        def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
            return {"image/png": "abc=", "text/plain": "<Figure>"}

    shown = Output({"image/png": "abc=", "text/plain": "<Figure>"})
    close({0: Figure(), 1: Figure()}, displayed={0: [shown], 1: []})
    assert texts(published) == ["rank 1:", "<Figure>"]


def test_figures_of_several_ranks_stand_side_by_side(published: Published) -> None:
    class Figure:
        def __init__(self, data: str) -> None:
            self.data = data

        def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
            return {"image/png": self.data, "text/plain": "<Figure>"}

    close({rank: Figure(f"ab{rank}=") for rank in range(3)})
    labels = [bundle["text/html"] for bundle in published if "text/html" in bundle]
    assert ["nblaunch-image" in label for label in labels] == [True] * 3
    # the rules are there once
    assert ["<style>" in label for label in labels] == [True, False, False]


def test_terminals_get_lines(capsys: pytest.CaptureFixture[str]) -> None:
    close({0: Rich("<b>"), 1: Rich("<b>"), 2: "a\x1bb", 3: Rich("", "x\ny")})
    assert capsys.readouterr().out == "[0-1] Rich()\n[2] 'a\\x1bb'\n[3] x\n[3] y\n"
    close({0: 3}, nprocs=1)
    assert capsys.readouterr().out == "3\n"
