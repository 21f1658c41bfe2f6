"""`Attempt`: one time that all ranks of a run were started, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nblaunch.exports import exported_by
from nblaunch.logs.run_logs import RankLogs
from nblaunch.runs.failure_text import place_of
from nblaunch.runs.failures import RankFailure
from nblaunch.runs.outcome import first_to_fail
from nblaunch.stacks.folding import Stacks
from nblaunch.wording import spans

__all__ = ["Attempt", "failed_attempts"]

# Kinds of failures that are told; of the others only the numbers of the attempts are.
_MAX_KINDS = 6


@exported_by("nblaunch")
class Attempt:
    """One time that all ranks of a run were started, and what came of it.

    Attributes
    ----------
    number : int
        0 for the first one, 1 for the first restart.
    failures : dict of int to RankFailure
        Every rank that did not finish, once the attempt has ended.
    stacks_at_failure : Stacks
        Where the ranks that were still at work were when the first one failed, or when the time was over.
    logs : dict of int to RankLogs
        The log files of each rank.
    pids : dict of int to int
        Process id of each rank that was started.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.failures: dict[int, RankFailure] = {}
        self.stacks_at_failure: Stacks = Stacks({})
        self.logs: dict[int, RankLogs] = {}
        self.pids: dict[int, int] = {}

    @property
    def root_cause(self) -> RankFailure | None:
        """The failure that came first, or None."""
        return first_to_fail(self.failures.values())

    def __repr__(self) -> str:
        root = self.root_cause
        became = "ended before any rank had failed" if self.failures else "finished"
        if root is not None:
            became = f"rank {root.rank} failed: {root.summary()}"
        return f"<Attempt {self.number}: {became}>"


def failed_attempts(attempts: Iterable[Attempt]) -> list[str]:
    """Say what attempts have failed of, one line for each kind of failure."""
    kinds: list[tuple[RankFailure, list[int]]] = []
    for attempt in attempts:
        root = attempt.root_cause
        if root is None:
            continue  # its failures could not be put together
        alike = next((numbers for known, numbers in kinds if _reads_like(known, root)), None)
        if alike is None:
            kinds.append((root, alike := []))
        alike.append(attempt.number)
    lines = [f"{_name_attempts(numbers)}: {_in_a_line(root)}" for root, numbers in kinds[:_MAX_KINDS]]
    more = [number for _, numbers in kinds[_MAX_KINDS:] for number in numbers]
    return [*lines, *([f"{_name_attempts(more)}: in other ways, see run.attempts"] if more else [])]


def _reads_like(one: RankFailure, other: RankFailure) -> bool:
    # without an exception the texts differ by process ids only
    return one.same_as(other) and (one.exception is None or one.summary() == other.summary())


def _name_attempts(numbers: Sequence[int]) -> str:
    return f"attempt{'s' if len(numbers) > 1 else ''} {spans(numbers)}"


def _in_a_line(root: RankFailure) -> str:
    text = root.summary()
    return f"{text if text.startswith(f'rank {root.rank} ') else f'rank {root.rank}, {text}'}{place_of(root)}"
