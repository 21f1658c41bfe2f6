"""What marimo shows of ranks whose cell does not wait for them; marimo is in ``notebook/test_other_kernels.py``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nblaunch.events import Displayed, DisplayKind, Ended
from nblaunch.panel.marimo_outputs import MarimoOutputs


def no_more_threads(**_: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("marimo", [SimpleNamespace(), SimpleNamespace(Thread=no_more_threads)])
@pytest.mark.parametrize("shows", [True, False])
def test_where_nothing_can_be_shown_a_line_says_where_it_is(
    marimo: Any, shows: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = MarimoOutputs(marimo)
    outputs.follow(at_once=True)
    if shows:
        outputs.note(Displayed(1, DisplayKind.NEW, {"text/html": "<b>"}, {}, None, 0.0))
    outputs.note(Ended(1.0))
    line = (
        "What the ranks have displayed is in run.outputs, because this marimo shows nothing below a cell that has "
        "ended: run.outputs[0][0] at the end of another cell shows the first output of rank 0\n"
    )
    assert capsys.readouterr().out == (line if shows else "")
