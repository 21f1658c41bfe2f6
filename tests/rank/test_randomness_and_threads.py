"""Random state and thread limits of a rank, in fresh interpreters, because both are the whole process's."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nblaunch.processes.threads import VARIABLES, fair_share
from nblaunch.rank.randomness import seed_everything


def fresh(source: str, **env: str) -> Any:
    """Run source in a fresh interpreter and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import json, sys\n{source}"],
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


SEED = "from nblaunch.rank.randomness import seed_everything\nseed_everything({seed}, {rank})\n"
DRAW = "import random\nimport numpy as np\nprint(json.dumps([random.random(), np.random.rand(), np.random.rand()]))"


def test_numbers_depend_on_seed_and_rank_alone() -> None:
    one = fresh(SEED.format(seed=1, rank=0) + DRAW)
    assert fresh("import numpy\n" + SEED.format(seed=1, rank=0) + DRAW) == one
    other_rank, other_seed = fresh(SEED.format(seed=1, rank=1) + DRAW), fresh(SEED.format(seed=2, rank=0) + DRAW)
    assert len({json.dumps(drawn) for drawn in (one, other_rank, other_seed)}) == 3


def test_without_a_seed_numbers_are_new() -> None:
    assert fresh(SEED.format(seed=None, rank=0) + DRAW) != fresh(SEED.format(seed=None, rank=0) + DRAW)


@pytest.mark.parametrize("seed", [0, -1, 2**70])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert len(fresh(SEED.format(seed=seed, rank=3) + DRAW)) == 3


def test_nothing_is_imported_for_it() -> None:
    assert fresh(
        SEED.format(seed=1, rank=0) + "print(json.dumps('numpy' in sys.modules or 'torch' in sys.modules))"
    ) is (False)


def test_a_look_whether_there_is_a_module_costs_no_seed() -> None:
    """As libraries take that use torch only where it is installed."""
    look = "import importlib.util\nassert importlib.util.find_spec('numpy.random')\n"
    assert fresh(SEED.format(seed=1, rank=0) + look + DRAW) == fresh(SEED.format(seed=1, rank=0) + DRAW)


def test_modules_that_do_not_exist_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        fresh(
            # what this package needs is imported before it cannot be found any more
            "import nblaunch.rank.randomness\n"
            "sys.path[:] = [entry for entry in sys.path if 'site-packages' not in entry]\n"
            "sys.modules.pop('torch', None)\n" + SEED.format(seed=1, rank=0) + "try:\n    import torch\n"
            "except ModuleNotFoundError as error:\n    print(json.dumps(error.name))",
            PYTHONPATH=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
        )
        == "torch"
    )


NEW = (
    "import numpy as np\nprint(json.dumps([*np.random.default_rng().integers(0, 2**60, 2).tolist(),"
    " np.random.default_rng().random(), np.random.RandomState().rand(), np.random.SeedSequence().entropy]))"
)


def test_generators_of_numpy_without_a_seed_have_that_of_the_run() -> None:
    one = fresh(SEED.format(seed=1, rank=0) + NEW)
    assert fresh("import numpy\n" + SEED.format(seed=1, rank=0) + NEW) == one
    assert len(set(one)) == len(one), "each of them is another one"
    assert fresh(SEED.format(seed=1, rank=1) + NEW) != one
    assert fresh(SEED.format(seed=None, rank=0) + NEW) != fresh(SEED.format(seed=None, rank=0) + NEW)


@pytest.mark.parametrize("before", ["", "np.random.default_rng()"], ids=["imported there", "imported before"])
def test_forks_of_a_rank_do_not_share_the_stream_of_its_generators(before: str) -> None:
    draw = (
        f"import multiprocessing, numpy as np\n{before}\n"
        "def draw(_): return float(np.random.default_rng().random())\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(json.dumps(pool.map(draw, range(4), 1)))"
    )
    drawn = fresh(SEED.format(seed=1, rank=0) + draw)
    assert len(set(drawn)) == 4
    assert fresh(SEED.format(seed=1, rank=0) + draw) != drawn


def test_what_takes_entropy_of_the_system_is_new_in_each_run() -> None:
    """As the documentation says, with what to write instead."""
    draw = "import random\nprint(json.dumps([random.Random().random(), random.SystemRandom().random()]))"
    assert not set(fresh(SEED.format(seed=1, rank=0) + draw)) & set(fresh(SEED.format(seed=1, rank=0) + draw))
    instead = "import random\nprint(json.dumps(random.Random(random.getrandbits(64)).random()))"
    assert fresh(SEED.format(seed=1, rank=0) + instead) == fresh(SEED.format(seed=1, rank=0) + instead)


SYMPY = (
    "import sympy.core.random\nprint(json.dumps([sympy.core.random.random(),"
    " sympy.core.random._assumptions_rng.random(), sympy.Dummy('x').dummy_index]))"
)


@pytest.mark.parametrize("before", ["", "import sympy\n"], ids=["imported there", "imported before"])
def test_generators_of_sympy_differ_from_rank_to_rank(before: str) -> None:
    pytest.importorskip("sympy")
    one = fresh(before + SEED.format(seed=1, rank=0) + SYMPY)
    assert fresh(SEED.format(seed=1, rank=0) + SYMPY) == one
    for seed, rank in ((1, 1), (2, 0), (None, 0)):
        other = fresh(before + SEED.format(seed=seed, rank=rank) + SYMPY)
        assert not set(one) & set(other)


LIBRARY = """
import random
drawn, its_own, again = random.Random(), random.Random(5), random.Random()
again.seed(6)
class Kept:
    rng = random.Random()
"""


def test_generators_that_a_library_makes_before_a_fork(tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "another.py").write_text("import random\nrng = random.Random()")
    source = (
        f"sys.path.insert(0, {str(tmp_path)!r})\nfrom nblaunch.processes.starting.generators import remembering\n"
        "import random\nbefore = random.Random.seed\nwith remembering():\n    import {first}, {second}\n"
        "assert random.Random.seed is before\n"
        "from nblaunch.rank.randomness import seed_everything\nseed_everything({seed}, {rank})\n"
        "import library, another\n"
        "print(json.dumps([g.random() for g in (library.drawn, library.Kept.rng, another.rng)]"
        " + [library.its_own.random(), library.again.random()]))"
    )

    def drawn(seed: int | None, rank: int, *order: str) -> list[float]:
        first, second = order or ("library", "another")
        found: list[float] = fresh(source.format(seed=seed, rank=rank, first=first, second=second))
        return found

    one = drawn(1, 0)
    assert one[3:] == [random.Random(5).random(), random.Random(6).random()]
    assert drawn(1, 0, "another", "library") == one, "whatever is imported besides, and in which order"
    for other in (drawn(1, 1), drawn(2, 0), drawn(None, 0)):
        assert other[3:] == one[3:]
        assert len({*one, *other}) == 8


@pytest.mark.torch
def test_torch_is_seeded_before_and_after_its_import() -> None:
    draw = "import torch\nprint(json.dumps([torch.rand(1).item(), torch.initial_seed()]))"
    late = fresh(SEED.format(seed=1, rank=0) + draw)
    assert fresh("import torch\n" + SEED.format(seed=1, rank=0) + draw) == late
    assert fresh(SEED.format(seed=1, rank=1) + draw) != late


def test_a_fair_share_is_at_least_one() -> None:
    cores = len(os.sched_getaffinity(0))
    assert fair_share(1) == cores
    assert fair_share(cores) == 1
    assert fair_share(1000) == 1
    assert "OMP_NUM_THREADS" in VARIABLES


def test_limits_hold_for_libraries_that_are_loaded() -> None:
    found = fresh(
        "import numpy\nfrom nblaunch.processes.threads import limit_threads\nlimit_threads(3)\n"
        "import threadpoolctl\nprint(json.dumps([pool['num_threads'] for pool in threadpoolctl.threadpool_info()]))",
        OPENBLAS_NUM_THREADS="1",
        OMP_NUM_THREADS="1",
    )
    assert found == [3]


def test_limits_import_nothing() -> None:
    assert (
        fresh(
            "from nblaunch.processes.threads import limit_threads\nlimit_threads(1)\n"
            "print(json.dumps([name for name in ('numpy', 'threadpoolctl', 'torch') if name in sys.modules]))"
        )
        == []
    )


def test_seeding_leaves_a_generator_that_works() -> None:
    state = random.getstate()
    hooks = list(sys.meta_path)
    try:
        seed_everything(5, 0)
        first = random.random()
        seed_everything(5, 0)
        assert random.random() == first
    finally:
        random.setstate(state)
        sys.meta_path[:] = hooks
