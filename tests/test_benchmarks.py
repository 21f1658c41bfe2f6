"""The benchmark suite runs through and counts right. How fast anything is, is no business of a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import against
from benchmarks.contender import Contender, Sample
from benchmarks.document import summary
from benchmarks.scaling import line
from benchmarks.work import Case, Entry, Figures, Outcome, Ref, Target

ROOT = Path(__file__).parents[1]
PROGRAM = """
import json
from benchmarks.document import describe_work
from benchmarks.measuring import measure
from benchmarks.work import Figures, Work
from tests.test_benchmarks import CASE

work = Work("w", "", (CASE,), ())
outcomes = {CASE.label: measure(CASE, 3, lambda line: None)}
print(json.dumps(describe_work(work, Figures(outcomes))["cases"][0]["outcomes"]))
"""


class Counting(Contender):
    """Counts its samples."""

    def __init__(self, step: int) -> None:
        self._step, self._number = step, 0

    def sample(self) -> Sample:
        self._number += self._step
        return {"value": self._number, "double": 2 * self._number}


class Talking(Counting):
    """Writes where it can, and asks."""

    def sample(self) -> Sample:
        print("words", flush=True)
        assert sys.stdin.read() == ""
        return super().sample()


class Failing(Counting):
    """Fails at its third sample."""

    def sample(self) -> Sample:
        if self._number == 2 * self._step:
            raise ValueError("three\nis too many")
        return super().sample()


class Dying(Counting):
    """Takes its process with it."""

    def sample(self) -> Sample:
        os.write(2, b"last words\n")
        os._exit(3)


class Hanging(Counting):
    """Never comes back."""

    def sample(self) -> Sample:
        if self._number:
            time.sleep(600)
        return super().sample()


class Littering(Counting):
    """Leaves a process behind, whose parent is gone."""

    def setup(self) -> None:
        subprocess.run(["sh", "-c", "setsid sleep 600 & wait $! &"], check=True)


def _entry(kind: type[Contender], **more: Any) -> Entry:
    return Entry(kind.__name__, f"tests.test_benchmarks:{kind.__name__}", arguments={"step": 2}, **more)


CASE = Case(
    "all kinds",
    (
        _entry(Counting),
        _entry(Talking),
        _entry(Failing),
        _entry(Dying),
        _entry(Hanging, limit=1),
        _entry(Littering),
        Entry("absent", "nowhere:Nothing", needs=("no_such_package",)),
        Entry("too large", "nowhere:Nothing", memory=1e18),
        Entry("broken", "nowhere:Nothing"),
    ),
)


def _run(*command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.kernel
def test_contenders_take_turns_and_problems_are_told() -> None:
    outcomes = {outcome["contender"]: outcome for outcome in json.loads(_run("-c", PROGRAM))}
    samples = {name: outcome["samples"] for name, outcome in outcomes.items() if outcome["samples"]}
    # the first sample only warms up
    assert samples == {
        "Counting": [4, 6, 8],
        "Talking": [4, 6, 8],
        "Failing": [4],
        "Littering": [4, 6, 8],
    }
    assert outcomes["Counting"]["details"]["double"]["samples"] == [8, 12, 16]
    problems = {name: outcome["problem"] for name, outcome in outcomes.items() if outcome["problem"]}
    assert problems.pop("too large").startswith("left out: it needs about 931322575 GiB and ")
    assert problems == {
        "Failing": "ValueError: three is too many",
        "Dying": "its process died, exit code 3: last words",
        "Hanging": "sample took longer than 1 s",
        "absent": "absent: no_such_package is not installed",
        "broken": "ModuleNotFoundError: No module named 'nowhere'",
    }
    left = {name: outcome["left_behind"] for name, outcome in outcomes.items() if outcome["left_behind"]}
    assert left == {"Littering": ["sleep 600"]}


@pytest.mark.kernel
@pytest.mark.torch
@pytest.mark.parametrize(
    "name", ["cell", "function", "arrays_out", "arrays_back", "idle_rank", "scaling", "logs", "death"]
)
def test_a_quick_run_writes_results(name: str, tmp_path: Path) -> None:
    table = _run("-m", "benchmarks", "--quick", "--rounds", "1", "--only", name, "--json", str(tmp_path / "r.json"))
    document = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    (work,) = document["works"]
    assert work["name"] == name
    for case in work["cases"]:
        for outcome in case["outcomes"]:
            if outcome["role"] == "nblaunch":
                assert outcome["problem"] == ""
                assert len(outcome["samples"]) == 1
            else:
                assert outcome["samples"] or outcome["problem"].startswith("absent: ")
    assert document["packages"]["nblaunch"]
    assert document["machine"]["cores"] >= 1
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table.removesuffix("\n")
    assert work["title"] in table
    assert "says nothing about speed" in table
    assert work["title"] in (tmp_path / "figures.md").read_text(encoding="utf-8")
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


OURS, THEIRS = Ref("c", "ours"), Ref("c", "theirs")


def _figures(ours: list[float], theirs: list[float]) -> Figures:
    return Figures({"c": [Outcome(Entry("ours", ""), ours, {"half": [1.0]}), Outcome(Entry("theirs", ""), theirs)]})


def test_targets_compare_medians() -> None:
    figures = _figures([1, 2, 30], [4, 4, 4])
    at_most = Target("", OURS, 0.5, THEIRS)
    assert (at_most.reached(figures), at_most.met(figures)) == (0.5, True)
    faster = Target("", OURS, 3, THEIRS, "at least")
    assert (faster.reached(figures), faster.met(figures)) == (2.0, False)
    by_itself = Target("", Ref("c", "ours", "half"), 1)
    assert (by_itself.reached(figures), by_itself.met(figures)) == (1.0, True)


def test_a_target_without_figures_is_neither_met_nor_missed() -> None:
    for figures in (_figures([], [1]), _figures([1], [])):
        target = Target("", OURS, 1, THEIRS)
        assert (target.reached(figures), target.met(figures)) == (None, None)


def test_who_beats_a_limit_was_measured_wrongly() -> None:
    def figures(ours: float) -> Figures:
        theirs = Outcome(Entry("theirs", "", "limit"), [4.0])
        return Figures({"c": [Outcome(Entry("ours", ""), [ours]), theirs]})

    faster, at_most = Target("", OURS, 0.9, THEIRS, "at least"), Target("", OURS, 2, THEIRS)
    assert (faster.met(figures(4.2)), at_most.met(figures(4.2))) == (True, True)
    for target in (faster, at_most):
        assert target.doubtful(figures(1.0))
        assert target.met(figures(1.0)) is None


def test_a_straight_line_is_found() -> None:
    slope, start, straight = line({4: 11.0, 16: 35.0, 64: 131.0})
    assert (slope, start, straight) == pytest.approx((2.0, 3.0, 1.0))
    assert line({0: 0.0, 1: 1.0, 2: 0.0})[2] == pytest.approx(0.0)


def test_summary_of_samples() -> None:
    assert summary([]) is None
    found = summary([5.0, 1.0, 2.0, 4.0, 3.0])
    assert found == {"number": 5, "median": 3.0, "quartile_1": 2.0, "quartile_3": 4.0, "least": 1.0, "most": 5.0}
    assert summary([7.0]) == dict.fromkeys(("median", "quartile_1", "quartile_3", "least", "most"), 7.0) | {"number": 1}


@pytest.mark.kernel
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
def test_this_tree_beside_another_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "PAUSE", 0.0)
    (measured,) = against.compare("HEAD", ["cell"], 2)
    assert (measured.name, len(measured.here), len(measured.there), len(measured.ratios)) == ("cell", 2, 2, 2)
    assert "| cell | " in against.table([measured], "HEAD")


def test_ratios_are_those_of_pairs() -> None:
    measured = against.Measured("cell", [0.010, 0.030, 0.020], [0.010, 0.020, 0.040])
    assert measured.ratios == pytest.approx([1.0, 1.5, 0.5])
    assert "| cell | 1.000 | 0.750 – 1.250 | 20.0 ms | 20.0 ms | 3 |" in against.table([measured], "HEAD~1")


def test_a_revision_that_git_does_not_know() -> None:
    command = [sys.executable, "-m", "benchmarks.against", "no-such-revision"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "git does not give 'no-such-revision': " in done.stderr
