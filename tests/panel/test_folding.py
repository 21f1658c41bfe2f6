"""Lines that several ranks wrote alike; the same cases as for the page."""

from __future__ import annotations

import json
import random
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


def slowly(lines: list[tuple[int, int, str]]) -> list[tuple[list[int], int, str]]:
    """Return the same groups, found as the rule says it."""
    groups: list[tuple[list[int], int, str]] = []
    for rank, stream, text in lines:
        for ranks, *key in groups[::-1][:200]:
            if key == [stream, text] and rank not in ranks:
                ranks.append(rank)
                break
        else:
            groups.append(([rank], stream, text))
    return groups


@pytest.mark.parametrize("seed", range(20))
def test_the_rule(seed: int) -> None:
    chance = random.Random(seed)
    ranks, texts = chance.choice([(1, 1), (2, 1), (3, 2), (8, 40), (40, 3), (5, 300)])
    # some repeat themselves, as a rank does that has much to say
    lines = [
        (chance.randrange(ranks), chance.choice((1, 1, 1, 2)), f"line {chance.randrange(texts)}") for _ in range(1500)
    ]
    lines += [(0, 1, "line 0")] * 500 + lines[:500] + [(rank, 1, "line 0") for rank in range(ranks)] * 30
    groups = fold((*line, None) for line in lines)
    assert [(group.ranks, group.stream, group.text) for group in groups] == slowly(lines)


@pytest.mark.parametrize(
    ("ranks", "text"), [([0], "[0] "), ([3, 0, 1, 2], "[0-3] "), ([0, 1, 5], "[0-1, 5] "), ([255, 7], "[7, 255] ")]
)
def test_ranks_before_a_line(ranks: list[int], text: str) -> None:
    assert prefix(ranks) == text
