"""Who is to blame for what lies in ``/dev/shm``: the tests for theirs, and nobody else's programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.shared_memory import PLACE, left_by_us, present

# It has no parent among the tests, nor their place for temporary files; and it ends when its input does.
STRANGER = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
name = sys.argv[1] or f"torch_{os.getpid()}_1_0"
file = open(f"{sys.argv[2]}/{name}", "w")
if sys.argv[3] == "closed":
    file.close()
print(name, flush=True)
sys.stdin.read()
os.unlink(f"{sys.argv[2]}/{name}")
print("removed", flush=True)
"""


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    name, how = request.param
    environment = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER, name, str(PLACE), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        yield program.stdout.readline().strip()
        program.stdin.close()
        assert program.stdout.readline() == "removed\n"


@pytest.mark.parametrize("stranger", [("psm_stranger", "open"), ("", "open"), ("", "closed")], indirect=True)
def test_what_another_program_made_or_uses_is_its_own(stranger: str) -> None:
    assert stranger in present()
    assert left_by_us({stranger}) == set()


@pytest.mark.parametrize("stranger", [("stranger's own", "closed"), ("sem.mp-stranger", "closed")], indirect=True)
def test_what_no_test_would_make_is_not_looked_at(stranger: str) -> None:
    assert (PLACE / stranger).exists()
    assert stranger not in present()


def test_what_a_test_has_left_is_ours() -> None:
    name = f"psm_{os.getpid()}"
    place = PLACE / name
    try:
        with place.open("w"):
            assert left_by_us(present()) >= {name}, "while it is in use"
        assert left_by_us(present()) >= {name}, "and when nobody uses it any more"
    finally:
        place.unlink()
    assert left_by_us({name}) == set()


def test_what_a_process_of_a_test_has_left_is_ours() -> None:
    left = subprocess.run(
        [sys.executable, "-c", f"import os; open(f'{PLACE}/torch_{{os.getpid()}}_1_0', 'w'); print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    name = f"torch_{left.stdout.strip()}_1_0"
    try:
        assert left_by_us(present()) >= {name}
    finally:
        (PLACE / name).unlink()
