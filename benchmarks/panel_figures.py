"""The figures of the panel in a browser, and what page and system have seen of one run."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from benchmarks.document import summary

__all__ = ["Figures", "Row", "Seen"]


@dataclass
class Row:
    """A figure: what it is, what is to be reached, and what was seen."""

    text: str
    unit: str = "s"
    bound: float | None = None
    samples: list[float] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Whether all samples are within the bound, or only the median, or not even that."""
        found = summary(self.samples)
        if self.bound is None or found is None:
            return ""
        return "✓" if found["most"] < self.bound else "median ✓" if found["median"] < self.bound else "✗"


class Figures:
    """All figures, in the order in which they were first asked for."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.busy: list[float] = []
        self.notes: list[dict[str, Any]] = []

    def add(self, text: str, *samples: float, unit: str = "s", bound: float | None = None) -> None:
        """Add samples."""
        self.rows.setdefault(text, Row(text, unit, bound)).samples += samples


@dataclass
class Seen:
    """What the page and the system have seen of one run; times are seconds since the epoch."""

    written: dict[str, float]
    shown: dict[str, float]
    frames: list[float]
    long: list[Any]
    asked: float
    widget: float
    clicked: float
    idle: float
    work: dict[str, float]
    window: tuple[float, float] = (0.0, 0.0)

    def delays(self, name: str) -> list[float]:
        """Return how long marks took from the rank into the document; those that never came are an error."""
        found = [self.shown[key] - self.written[key] for key in self.shown if key.startswith(name)]
        if not found:
            raise RuntimeError(f"no mark {name!r} was seen; seen were {sorted(self.shown)[:10]}")
        return found

    def longest_gap(self, start: float, end: float) -> float:
        """Return the longest time between two animation frames that reaches into a window."""
        pairs = itertools.pairwise([*self.frames, end])
        return max(after - before for before, after in pairs if after > start and before < end)
