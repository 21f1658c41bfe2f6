"""The words of the suite: a work has cases, in each of which contenders compete, and targets to reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["NBLAUNCH", "Case", "Entry", "Figures", "Outcome", "Ref", "Target", "Work"]

NBLAUNCH = "nblaunch"


@dataclass(frozen=True)
class Entry:
    """A contender in a case.

    Attributes
    ----------
    name : str
        How tables call it.
    runs : str
        Its class, as ``"module:Class"``.
    role : {"nblaunch", "peer", "limit", "reference"}
        A limit is what the operating system takes for the bare minimum; a reference is there to compare with.
    arguments : mapping
        Of its class.
    needs : tuple of str
        Packages without which it is absent.
    memory : float
        Bytes that it will need at least, if that is much; it is left out where fewer are free.
    limit : float
        Seconds that a sample may take.
    """

    name: str
    runs: str
    role: Literal["nblaunch", "peer", "limit", "reference"] = "peer"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    memory: float = 0
    limit: float = 120


@dataclass(frozen=True)
class Case:
    """A work of one size, done by several contenders in turn.

    Attributes
    ----------
    label : str
        What is particular about it.
    unit : {"s", "MB"}
        Of the samples; MB are 10⁶ bytes.
    large : bool
        Whether memory has to be watched.
    most_rounds : int
        Rounds that are enough, because the figure hardly varies.
    """

    label: str
    entries: tuple[Entry, ...]
    unit: Literal["s", "MB"] = "s"
    large: bool = False
    most_rounds: int = 1000


@dataclass
class Outcome:
    """What one contender reached in one case.

    Attributes
    ----------
    samples : list of float
        In the unit of the case, without the first one, which only warms up.
    details : dict of str to list of float
        Other figures of the same samples, by name.
    problem : str
        Why there are no samples, or no more of them.
    left_behind : list of str
        Processes that were still there after it had closed, by their command lines.
    """

    entry: Entry
    samples: list[float] = field(default_factory=list)
    details: dict[str, list[float]] = field(default_factory=dict)
    busy: list[float] = field(default_factory=list)
    problem: str = ""
    left_behind: list[str] = field(default_factory=list)

    def of(self, name: str) -> list[float]:
        """Return the samples of a figure; the main one is called ``value``."""
        return self.samples if name == "value" else self.details.get(name, [])


@dataclass(frozen=True)
class Ref:
    """One figure: which case, which contender, which of its numbers."""

    case: str
    entry: str
    figure: str = "value"


class Figures:
    """The figures of a work by `Ref`: outcomes by case and contender, and numbers derived from several of them."""

    def __init__(self, outcomes: Mapping[str, list[Outcome]]) -> None:
        self.outcomes = outcomes
        self.derived: dict[Ref, float] = {}

    def samples(self, ref: Ref) -> list[float]:
        """Return the samples of a figure, empty if there are none."""
        if ref in self.derived:
            return [self.derived[ref]]
        found = [outcome for outcome in self.outcomes.get(ref.case, []) if outcome.entry.name == ref.entry]
        return found[0].of(ref.figure) if found else []

    def median(self, ref: Ref) -> float | None:
        """Return the median of a figure."""
        samples = self.samples(ref)
        return statistics.median(samples) if samples else None


@dataclass(frozen=True)
class Target:
    """What has to be reached.

    Attributes
    ----------
    text : str
        In words.
    of : Ref
        A figure of nblaunch.
    bound : float
        The number to reach.
    against : Ref, optional
        What it is compared with; without it the figure itself counts.
    sense : {"at most", "at least"}
        With ``at least`` it is counted how many times faster `of` is than `against`.
    unit : str
        Of the number.
    """

    text: str
    of: Ref
    bound: float
    against: Ref | None = None
    sense: Literal["at most", "at least"] = "at most"
    unit: str = "×"

    def reached(self, figures: Figures) -> float | None:
        """Return the number that was reached, or None where one of the figures is missing."""
        of = figures.median(self.of)
        if of is None or self.against is None:
            return of
        against = figures.median(self.against)
        if against is None:
            return None
        return of / against if self.sense == "at most" else against / of

    def doubtful(self, figures: Figures) -> bool:
        """Say whether a limit seems to be beaten by more than a tenth: then it was measured wrongly."""
        reached = self.reached(figures)
        entries = [outcome.entry for outcomes in figures.outcomes.values() for outcome in outcomes]
        against_limit = any(
            self.against is not None and entry.name == self.against.entry and entry.role == "limit" for entry in entries
        )
        if reached is None or not against_limit:
            return False
        return reached < 0.9 if self.sense == "at most" else reached > 1.1

    def met(self, figures: Figures) -> bool | None:
        """Say whether it was reached, or None where that cannot be said."""
        reached = self.reached(figures)
        if reached is None or self.doubtful(figures):
            return None
        return reached <= self.bound if self.sense == "at most" else reached >= self.bound


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Attributes
    ----------
    name : str
        As ``--only`` takes it.
    title : str
        What is done, in a line.
    derive : callable
        Adds numbers to `Figures` that come from several cases.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    targets: tuple[Target, ...]
    derive: Callable[[Figures], None] = lambda _: None
