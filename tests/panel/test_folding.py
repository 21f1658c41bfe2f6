"""Lines that several ranks wrote alike; the same cases as for the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nblaunch.panel.folding import fold, prefix

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "javascript" / "folding.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_it_folds_as_the_page_does(case: dict[str, Any]) -> None:
    groups = fold((rank, stream, text, None) for rank, stream, text in case["lines"])
    assert [[sorted(group.ranks), group.text] for group in groups] == [
        [sorted(ranks), text] for ranks, text in case["groups"]
    ]


@pytest.mark.parametrize(
    ("ranks", "text"), [([0], "[0] "), ([3, 0, 1, 2], "[0-3] "), ([0, 1, 5], "[0-1, 5] "), ([255, 7], "[7, 255] ")]
)
def test_ranks_before_a_line(ranks: list[int], text: str) -> None:
    assert prefix(ranks) == text
