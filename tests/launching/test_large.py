"""Large objects on their way to the ranks and back: mapped, writable, without traces, and with sizes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nblaunch.launching.options import Options
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.payload import memory
from nblaunch.runs.run import Run
from tests.processes.targets import open_descriptors

LARGE = 64 << 20
MEMORY = """
import re
def mapped(kind):
    inside, total = False, 0
    with open("/proc/self/smaps") as file:
        lines = file.readlines()
    for line in lines:
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            inside = "memfd:nblaunch-objects" in line
        elif inside and line.startswith(kind + ":"):
            total += int(line.split()[1]) * 1024
    return total
"""


def run_cell(source: str, nprocs: int, space: dict[str, Any], **options: Any) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__", **space}), quiet=True, **options)


@pytest.fixture
def mapped() -> Any:
    space: dict[str, Any] = {}
    exec(MEMORY, space)
    return space["mapped"]


def test_ranks_map_what_they_are_sent_and_let_go_of_it() -> None:
    source = MEMORY + (
        "first = mapped('Size'), mapped('Anonymous')\n"
        "total, writable = int(data.sum()), data.flags.writeable\n"
        "data[:4096] = rank\n"
        "second = mapped('Anonymous')\n"
        "del data\n"
        "import os\n"
        "names = [os.readlink(entry.path) for entry in os.scandir('/proc/self/fd') if os.path.lexists(entry.path)]\n"
        "(first, total, writable, second, mapped('Size'), sum('nblaunch-objects' in name for name in names))\n"
    )
    data = np.ones(LARGE, np.uint8)
    run = run_cell(source, 2, {"data": data})
    for (size, dirty), total, writable, written, left, descriptors in run.results.values():
        assert size >= LARGE
        assert (dirty, total, writable, left, descriptors) == (0, LARGE, True, 0, 0)
        assert 0 < written <= 8192
    assert run.ok
    assert data[0] == 1


def _open_files() -> set[tuple[str, str]]:
    """Return the number and the name of each descriptor of this process, without the one that reads the list."""
    links = [Path("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
    return {(link.name, str(link.readlink())) for link in links if link.is_symlink()}


def test_values_are_mapped_and_their_memory_goes_with_them(mapped: Any) -> None:
    before = _open_files()
    run = run_cell(
        "import numpy as np\nmore = np.full(COUNT, 5, np.uint8)\nnp.full(COUNT, rank, np.uint8)",
        3,
        {"COUNT": LARGE},
        collect=("more",),
        start_method="forkserver",  # which keeps nothing for the next run
    )
    assert run.ok
    # the values hold no descriptor: the one that is open is the lock of the folder that the run's logs lie in
    opened = _open_files() - before
    assert [Path(name).name for _, name in opened] == ["owner.lock"]
    assert mapped("Size") >= 6 * LARGE
    assert mapped("Anonymous") == 0
    for rank, array in run.results.items():
        assert (int(array[0]), int(array[-1]), len(array)) == (rank, rank, LARGE)
        array[0] = 77
    assert mapped("Anonymous") <= 3 * 4096
    assert int(run.collected["more"][2][-1]) == 5
    del array
    run.results.clear()
    run.collected.clear()
    assert mapped("Size") == 0


def test_functions_send_and_return_large_arrays() -> None:
    def double(array: Any) -> Any:
        return array * 2

    run = launch(double, 2, args=(np.ones(LARGE // 8),), quiet=True)
    assert run.ok
    assert all(array.sum() == LARGE // 4 for array in run.results.values())
    assert list(run.captured) == ["args[0]", "double"]
    assert LARGE <= run.captured["args[0]"] < LARGE + 1000


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_every_start_method(method: str) -> None:
    data = np.arange(1 << 20)
    run = run_cell("data += rank\ndata", 2, {"data": data}, start_method=method)
    assert {rank: int(array[5]) for rank, array in run.results.items()} == {0: 5, 1: 6}


def test_sizes_are_exact_by_name_and_shared_memory_counts_once() -> None:
    data = np.zeros(1 << 20, np.uint8)
    space = {"data": data, "half": data[: 1 << 19], "again": [data], "text": "x" * 5000, "small": 1}
    run = run_cell("len(data), len(half), len(text), small, again[0] is data", 1, space)
    assert run.results == {0: (1 << 20, 1 << 19, 5000, 1, True)}
    assert list(run.captured) == ["data", "text", "half", "again", "small"]
    sizes = run.captured
    assert 1 << 20 <= sizes["data"] < (1 << 20) + 300
    # it lies on the memory of data
    assert sizes["half"] < 300
    assert 5000 <= sizes["text"] < 5100
    assert sizes["again"] < 100
    assert "<p>sent to each rank: data 1.0 MB, text 5.0 kB, half " in run._repr_html_()
    assert "sent to each rank" not in run_cell("1", 1, {})._repr_html_()


def test_sizes_are_shown_before_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    notebook = Notebook({"__name__": "__main__", "data": np.zeros(2_000_000, np.uint8)})
    launch("print(len(data))", 1, notebook=notebook, size_notice=1_500_000)
    shown = capsys.readouterr()
    assert shown.out == "sent to each rank: data 2.0 MB\n[0] 2000000\n"
    assert shown.err.startswith("This cell takes 2.0 MB along, most of it in data (2.0 MB).")


def test_a_size_notice_is_a_number_of_bytes() -> None:
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="size_notice is a number of bytes, 0 for no notice, not"):
            Options(size_notice=wrong)


def test_what_does_not_fit_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 100 << 20)
    before = open_descriptors()
    with pytest.raises(OSError, match=r"67 MB of memory are needed .*\(data 67 MB.*but 38 MB are available"):
        run_cell("len(data)", 2, {"data": np.zeros(LARGE, np.uint8)})
    assert open_descriptors() == before


def test_a_value_that_does_not_fit_is_its_ranks_failure() -> None:
    source = (
        "import numpy as np, resource\n"
        "if rank == 1:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "np.zeros(10_000_000, np.uint8)"
    )
    run = run_cell(source, 2, {}, on_failure="continue")
    assert list(run.results) == [0]
    assert type(run.failures[1].exception).__name__ == "NotEnoughMemory"
    assert re.match(
        r"10 MB of memory are needed to send the objects \(the value of the last expression 10 MB\), but the system "
        r"gave no more \(File too large\)\. Send less",
        str(run.failures[1].exception),
    )


def test_values_that_do_not_fit_together_are_told_by_those_that_come_last(tmp_path: Path) -> None:
    """Each would fit alone: ranks that asked at the same time would use more memory than there is."""
    source = (
        "import os, numpy as np\n"
        "from pathlib import Path\n"
        "from nblaunch.payload import memory, stored\n"
        "import nblaunch.rank.main as main\n"
        "def available(): return (200 << 20) - sum(int(path.read_text()) for path in Path(PLACE).iterdir())\n"
        "def write(*args, write=stored._write_at_once):\n"
        "    write(*args)\n"
        "    Path(PLACE, str(rank)).write_text(str(sum(os.fstat(one).st_size for one in args[0])))\n"
        "memory.available_memory = main.available_memory = available\n"
        "stored._write_at_once = write\n"
        "np.full(50 << 20, rank, np.uint8)"
    )
    run = run_cell(source, 4, {"PLACE": str(tmp_path)}, on_failure="continue")
    assert (len(run.results), len(run.failures)) == (2, 2)
    assert all(int(value[-1]) == rank for rank, value in run.results.items())
    for failure in run.failures.values():
        assert str(failure.exception).startswith(
            "52 MB of memory are needed to send the objects (the value of the last expression 52 MB), but 38 MB are "
            "available. Send less"
        )


def test_more_ranks_than_descriptors_can_return_large_values() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = len(list(Path("/proc/self/fd").iterdir()))
    # three for each rank while it lives, and none for its value
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 60, hard))
    try:
        run = run_cell(
            "import numpy as np\n[np.full(100_000, i, np.uint8) for i in range(20)]", 6, {}, start_method="forkserver"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert run.ok
    assert all([int(array[7]) for array in value] == list(range(20)) for value in run.results.values())
