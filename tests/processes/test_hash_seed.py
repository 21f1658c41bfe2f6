"""``hash(str)`` in ranks: the same in all ranks of all runs of one process, and the process's own where it is known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nblaunch.engines.local import LocalEngine
from nblaunch.launching.prepare import PREPARE, REHEARSE
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.processes.starting import hash_seed
from nblaunch.processes.starting.hash_seed import with_hash_seed
from nblaunch.processes.starting.zygotes import ZYGOTES
from nblaunch.runs.run import Run

ROOT = Path(__file__).parents[2]
HASHES = "import os\n(hash('a'), os.environ.get('PYTHONHASHSEED'))"


@pytest.fixture(autouse=True)
def drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process look like one that has drawn its seed, whatever the tests were started with."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    monkeypatch.setattr(hash_seed, "own_seed", lambda: "")
    monkeypatch.setattr(hash_seed, "_seed_of_ranks", lambda: "1234")


def run_cell(source: str, nprocs: int = 2, **options: object) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), quiet=True, **options)  # type: ignore[arg-type]


def in_fresh_interpreter(seed: str, code: str) -> str:
    """Return what a program prints that is started with this seed; an empty one is none."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"} | {"PYTHONPATH": str(ROOT)}
    env |= {"PYTHONHASHSEED": seed} if seed else {}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def expected(seed: str) -> int:
    return int(in_fresh_interpreter(seed, "print(hash('a'))"))


def test_all_ranks_of_all_runs_agree_whatever_made_them() -> None:
    seen = set()
    for method in ("zygote", "zygote", "forkserver", "spawn"):
        seen |= set(run_cell(HASHES, start_method=method).results.values())
    ZYGOTES.close()
    seen |= set(run_cell(HASHES, 3).results.values())
    assert seen == {(expected("1234"), "1234")}


def test_a_fork_has_the_hashes_of_this_process() -> None:
    assert set(run_cell(HASHES, start_method="fork").results.values()) == {(hash("a"), None)}


def test_a_restart_keeps_the_seed(tmp_path: Path) -> None:
    cell = (
        "import os\n"
        f"with open(f'{tmp_path}/{{rank}}', 'a') as file: file.write(f'{{hash(\"a\")}}\\n')\n"
        "assert os.environ['TORCHELASTIC_RESTART_COUNT'] == '1'"
    )
    for method in ("zygote", "spawn"):
        assert run_cell(cell, max_restarts=1, start_method=method).ok
    lines = [line for rank in range(2) for line in (tmp_path / str(rank)).read_text().split()]
    # one rank of a first attempt may have been ended before it wrote
    assert set(lines) == {str(expected("1234"))}


def test_what_the_user_chooses_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("zygote", "spawn"):
        run = run_cell(HASHES, env={"PYTHONHASHSEED": "7"}, start_method=method)
        assert set(run.results.values()) == {(expected("7"), "7")}
    # as libraries do that make everything reproducible
    monkeypatch.setenv("PYTHONHASHSEED", "42")
    assert set(run_cell(HASHES).results.values()) == {(expected("42"), "42")}
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    assert set(run_cell(HASHES).results.values()) == {(expected("1234"), "1234")}


def test_a_zygote_that_was_made_ahead_is_the_one_that_is_used() -> None:
    LocalEngine().get_ready(PREPARE, REHEARSE)
    made = [state["pid"] for state in ZYGOTES.state()]
    run_cell(HASHES)
    assert [state["pid"] for state in ZYGOTES.state()] == made


@pytest.mark.parametrize("seed", ["0", "5"])
def test_a_process_whose_seed_is_known_shares_it(seed: str) -> None:
    code = (
        "import os; os.environ.pop('PYTHONHASHSEED')\n"  # too late for this process
        "import nblaunch\n"
        f"run = nblaunch.launch({HASHES!r}, 2, panel='none')\n"
        "print({value[0] == hash('a') for value in run.results.values()}, run.results[0][1])"
    )
    assert in_fresh_interpreter(seed, code) == f"{{True}} {seed}"


@pytest.mark.parametrize("seed", ["", "random"])
def test_a_process_that_has_drawn_its_seed_draws_one_for_its_ranks(seed: str) -> None:
    code = (
        "import random; random.seed(1); state = random.getstate()\n"
        "from nblaunch.processes.starting.hash_seed import own_seed, with_hash_seed\n"
        "drawn = int(with_hash_seed({})['PYTHONHASHSEED'])\n"
        "assert 0 < drawn < 2**32 and with_hash_seed({}) == {'PYTHONHASHSEED': str(drawn)}\n"
        "assert random.getstate() == state\n"
        "print(drawn, repr(own_seed()))"
    )
    first, second = in_fresh_interpreter(seed, code), in_fresh_interpreter(seed, code)
    assert first.endswith(" ''") and first != second


def test_an_interpreter_that_ignores_its_environment_does_not_know_its_seed() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom nblaunch.processes.starting.hash_seed import own_seed\n"
    )
    done = subprocess.run(
        [sys.executable, "-E", "-c", code + "print(repr(own_seed()))"],
        env=os.environ | {"PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "''\n", done.stderr


def test_an_environment_that_names_a_seed_is_left_alone() -> None:
    assert with_hash_seed({"A": "b"}) == {"A": "b", "PYTHONHASHSEED": "1234"}
    assert with_hash_seed({"PYTHONHASHSEED": "0"}) == {"PYTHONHASHSEED": "0"}
