"""Zygotes and spares: who serves which launch, and what a rank gets from the launch rather than from the zygote."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import IPython
import psutil
import pytest

from nblaunch.engines.local import LocalEngine
from nblaunch.launching.prepare import PREPARE, REHEARSE
from nblaunch.processes.child.spare import Description
from nblaunch.processes.starting import zygotes
from nblaunch.processes.starting.base import PARENT_ONLY_FDS
from nblaunch.processes.starting.zygotes import ZYGOTES
from tests.processes import targets
from tests.processes.conftest import Launch, Packages
from tests.processes.targets import LIMIT, Announcements, assert_gone, open_descriptors
from tests.processes.test_start_processes import result_of
from tests.processes.zygote_states import WHO, ahead, ask, spares, start, zygote_pids

# ---- who serves which launch


def test_one_zygote_serves_all_launches_with_spares_that_were_forked_ahead() -> None:
    seen: set[int] = set()
    expected: list[int] = []
    for _ in range(3):
        found = ask(WHO, 2)
        pids = [pid for pid, _ in found.values()]
        assert not expected or pids == expected, "the spares are the ranks"
        assert seen.isdisjoint(pids), "no process runs twice"
        seen.update(pids)
        expected = spares()
        assert len(expected) == 2
    assert len(zygote_pids()) == 1
    helper = psutil.Process(ahead().pid)
    assert [process.ppid() for process in map(psutil.Process, expected)] == [helper.pid] * 2
    assert helper.ppid() == zygote_pids()[0]
    assert psutil.Process(zygote_pids()[0]).ppid() == os.getpid()


def test_ranks_beyond_the_spares_come_from_the_same_forkserver() -> None:
    ask(WHO, 1)
    waiting, helper = spares(), ahead().pid
    found = ask(WHO, 3)
    assert found[0][0] == waiting[0]
    assert {parent for _, parent in found.values()} == {helper}
    assert len({pid for pid, _ in found.values()}) == 3
    waiting = spares()
    assert len(waiting) == 3
    assert ask(WHO, 1)[0][0] == waiting[0]
    assert_gone(waiting)


def test_spares_are_as_many_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    ask("1", 3, engine=LocalEngine(spares=1))
    assert len(spares()) == 1
    ask("1", 3, engine=LocalEngine(spares=0))
    assert ZYGOTES.state()[0]["spares"] is None

    with monkeypatch.context() as patch:
        patch.setattr(zygotes, "available_memory", lambda: 2 * zygotes._BYTES_PER_SPARE / zygotes._SHARE_OF_MEMORY)
        ask("1", 3)
        assert len(spares()) == 2
        patch.setattr(zygotes, "available_memory", lambda: 0)
        ask("1", 3)
    assert ZYGOTES.state()[0]["spares"] is None


def test_a_launch_does_not_wait_until_spares_would_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygotes, "_DELAY", 1000.0)
    ask("1", 2)
    zygote = zygote_pids()
    # the forkserver that was ordered is forked now, without spares: they would only make these ranks late
    assert ask("1", 2) == {0: 1, 1: 1}
    assert zygote_pids() == zygote
    # another gang does not wait for the one that is ordered either
    other = ZYGOTES._processes[0].order(1, 0.0, None)
    try:
        assert select.select([other.server], [], [], LIMIT)[0]
        other.hear()
        assert len(other.spares) == 1
    finally:
        other.close()


def test_spares_come_from_the_zygote_that_will_serve() -> None:
    one, other = LocalEngine(("colorsys",)), LocalEngine(("wave",))
    ask("1", 2, engine=one)
    spares()
    other.get_ready(PREPARE, REHEARSE)
    assert select.select([ZYGOTES._processes[-1].control], [], [], LIMIT)[0]
    for _ in range(2):
        ask("1", 3, engine=other)
        spares()
        assert [state["spares"][0] for state in ZYGOTES.state()] == [3, 2]


def test_a_ready_zygote_is_kept_while_others_import(packages: Packages, announcements: Announcements) -> None:
    ask("1")
    ready = ZYGOTES._processes[0]
    names = [packages.write_blocking(f"zt_blocks_{number}", announcements) for number in range(4)]
    for number in range(1, 5):
        LocalEngine(tuple(names[:number])).get_ready(PREPARE, REHEARSE)
    # of those that import, the last one can do all that the others could
    assert [one.report is not None for one in ZYGOTES._processes] == [True, False]
    assert ZYGOTES._processes[0] is ready
    for name in ("zt_a", "zt_b", "zt_c"):
        LocalEngine((packages.write_blocking(name, announcements),)).get_ready(PREPARE, REHEARSE)
    assert ready in ZYGOTES._processes
    assert len(ZYGOTES._processes) == 3
    assert ask("rank", 2) == {0: 0, 1: 1}


def test_a_zygote_is_made_of_what_was_imported_when_it_was_asked_for() -> None:
    now = frozenset(sys.modules)
    assert "IPython" in now
    LocalEngine().get_ready(PREPARE, REHEARSE, now - {"IPython"}, {**os.environ, "KMP_SETTINGS": "x"})
    [zygote] = ZYGOTES._processes
    assert "IPython" not in zygote.preparation.modules
    assert set(zygote.preparation.modules) <= now
    assert zygote.environment["KMP_SETTINGS"] == "x"


@contextlib.contextmanager
def _descriptors_left(count: int) -> Iterator[None]:
    """Leave this process so many descriptors, to the last one."""
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)


def test_spares_do_not_take_the_descriptors_that_ranks_need() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, open_descriptors())) + 100, hard))
    runs = []  # kept, because to remove their logs takes descriptors too
    try:
        runs.append(start("rank", 6, engine=LocalEngine(spares=6)))
        # wherever they run out: in a rank's own, those for a spare, those for a fork
        for count in range(18, 42):
            assert len(spares()) == 6
            with _descriptors_left(count):
                runs.append(start("rank", 6, engine=LocalEngine(spares=6)))
        assert [run.results for run in runs] == [{rank: rank for rank in range(6)}] * len(runs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_spare_that_cannot_be_told_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    ask("1", 3)
    spares()
    before = len(open_descriptors()), len(PARENT_ONLY_FDS)
    send, sent = Description.send, []

    def refuse(self: Description, mailbox: socket.socket) -> None:
        sent.append(mailbox)
        if len(sent) == 2:
            raise OSError(errno.ETOOMANYREFS, "too many references")
        send(self, mailbox)

    with monkeypatch.context() as patch:
        patch.setattr(Description, "send", refuse)
        with pytest.raises(OSError, match="too many references"):
            ask("1", 3)
    assert ask("rank", 3) == {0: 0, 1: 1, 2: 2}
    spares()
    assert (len(open_descriptors()), len(PARENT_ONLY_FDS)) == before


def test_spares_whose_time_is_over_are_not_used() -> None:
    ask("1", 2, engine=LocalEngine(spare_seconds=0))
    assert ZYGOTES.state()[0]["spares"] is None
    ask("1", 2, engine=LocalEngine(spare_seconds=1e-9))
    old = spares()
    assert ZYGOTES.state()[0]["spares"] == (0, 0.0)
    assert not {pid for pid, _ in ask(WHO, 2).values()} & set(old)
    assert_gone(old)


def test_a_forkserver_that_nobody_uses_ends_by_itself() -> None:
    ask("1")
    connection = ZYGOTES._processes[0].order(2, 0.0, 0.0)
    try:
        assert select.select([connection.server], [], [], LIMIT)[0]
        connection.hear()
        assert_gone([connection.pid, *(pid for pid, _ in connection.spares)])
    finally:
        connection.close()


def test_spares_may_wait_for_ever() -> None:
    ask("1", 1, engine=LocalEngine(spare_seconds=float("inf")))
    waiting = spares()
    assert ask(WHO)[0][0] == waiting[0]


def test_closing_leaves_nothing() -> None:
    ask("1", 2)
    pids = [*spares(), ahead().pid, *zygote_pids()]
    ZYGOTES.close()
    assert_gone(pids)
    assert ZYGOTES.state() == []
    ZYGOTES.close()
    assert ask("rank") == {0: 0}


def test_launches_of_several_threads_at_once_share_a_zygote_that_still_imports(
    packages: Packages, tmp_path: Path, no_failures: list[str]
) -> None:
    gate = targets.Gate(tmp_path / "gate")
    slow = packages.write_waiting("slow", gate)
    found: list[dict[int, Any]] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask("import slow\nrank", 2, preload=(slow,)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while not ZYGOTES.state():
        time.sleep(0.001)
    gate.close()
    for thread in threads:
        thread.join(LIMIT)
    assert found == [{0: 0, 1: 1}] * 4
    assert (len(zygote_pids()), no_failures) == (1, [])


def test_all_who_wait_for_a_report_read_it() -> None:
    class NoGang:
        def watch(self, descriptor: int, readable: Callable[[], None]) -> None: ...
        def unwatch(self, descriptor: int) -> None: ...
        def exited(self, pid: int, exitcode: int) -> None: ...
        def wait_readable(self, descriptor: int, seconds: float | None = None) -> None:
            assert select.select([descriptor], [], [], LIMIT)[0]

    ask("1")
    zygote = ZYGOTES._processes[0]
    for _ in range(2):
        zygote.report = None
        assert zygote.poll()
        assert zygote.report
        zygote.report = None
        zygote.wait_report(zygote.control, NoGang())
        assert zygote.report


def test_runs_side_by_side(tmp_path: Path) -> None:
    gate = targets.Gate(tmp_path / "gate")
    source = f"import os\nfrom tests.processes.targets import wait_at\nwait_at({gate.path!r})\nos.getpid()"
    ask("1", 2)
    runs = [start(source, 2, wait=False) for _ in range(3)]
    gate.close()
    for run in runs:
        assert run.wait(LIMIT)
    pids = [pid for run in runs for pid in run.results.values()]
    assert len(set(pids)) == 6
    assert len(zygote_pids()) == 1


# ---- what a rank gets from its launch


def test_surroundings_are_those_of_the_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    monkeypatch.setenv("ZT_GOES", "x")
    monkeypatch.setenv("ZT_CHANGES", "old")
    source = (
        "import os, sys\n"
        "({n: v for n, v in os.environ.items() if n.startswith('ZT_')}, os.getcwd(), list(sys.path), list(sys.argv))"
    )
    ask(source)
    monkeypatch.delenv("ZT_GOES")
    monkeypatch.setenv("ZT_CHANGES", "new \udcff")
    monkeypatch.setenv("ZT_COMES", "")
    monkeypatch.chdir(second)
    first.rmdir()
    monkeypatch.setattr(sys, "path", [*sys.path, "zt_entry"])
    monkeypatch.setattr(sys, "argv", ["zt", "argument"])
    for _ in range(2):
        assert ask(source, env={"ZT_ASKED": "1"})[0] == (
            {"ZT_CHANGES": "new \udcff", "ZT_COMES": "", "ZT_ASKED": "1"},
            str(second),
            sys.path,
            sys.argv,
        )
    assert len(zygote_pids()) == 1


def test_a_zygote_that_was_made_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(gone)
        gone.rmdir()
        LocalEngine().get_ready(PREPARE, REHEARSE)
        pids = zygote_pids()
        with pytest.raises(FileNotFoundError, match="the notebook's working directory was removed"):
            ask("1")
    assert ask("rank") == {0: 0}
    assert zygote_pids() == pids


@pytest.mark.parametrize("entry", ["..", ".", "", "lib"])
def test_relative_entries_of_the_path_mean_the_folder_of_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    inside = tmp_path / "inside"
    (inside / "lib").mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    (inside / entry / "zt_own.py").write_text("value = 1")
    assert ask("import zt_own\nzt_own.value") == {0: 1}
    # of another length: Python itself takes the bytecode of an edit within the same second for fresh otherwise
    (inside / entry / "zt_own.py").write_text("value = 20")
    assert ask("import zt_own\nzt_own.value") == {0: 20}


def test_variables_that_an_import_has_changed_are_those_of_the_launch(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = packages.write(
        "zt_changes",
        "import os\nos.environ.update(ZT_GIVEN='theirs', ZT_NEW='theirs')\ndel os.environ['ZT_NEEDED']",
    )
    monkeypatch.setenv("ZT_GIVEN", "mine")
    monkeypatch.setenv("ZT_NEEDED", "needed")
    source = "import os\n{n: v for n, v in os.environ.items() if n.startswith('ZT_')}"
    everything = {"ZT_GIVEN": "mine", "ZT_NEEDED": "needed", "ZT_NEW": "theirs"}
    assert ask(source, preload=(package,)) == {0: everything}
    assert ask(source, preload=(package,), env={"ZT_NEW": "mine"}) == {0: everything | {"ZT_NEW": "mine"}}


def test_what_an_import_prints_is_in_no_log(packages: Packages, capfd: pytest.CaptureFixture[str]) -> None:
    package = packages.write(
        "zt_prints",
        "import ctypes, sys\nprint('banner')\nprint('banner', file=sys.stderr)\nctypes.CDLL(None).printf(b'banner\\n')",
    )
    for _ in range(2):
        run = start("import sys\nprint('mine')\n'zt_prints' in sys.modules", 2, preload=(package,))
        assert run.results == {0: True, 1: True}
        assert [run.logs[rank].stdout for rank in range(2)] == ["mine\n"] * 2
        assert [run.logs[rank].stderr for rank in range(2)] == [""] * 2
    assert capfd.readouterr() == ("", "")


def test_filters_of_warnings_that_an_import_sets_up_stay(packages: Packages) -> None:
    package = packages.write(
        "zt_filters",
        "import warnings\nwarnings.warn('at import')\nwarnings.filterwarnings('ignore', message='zt_ignored')",
    )
    source = (
        "import zt_filters, warnings\n[str(f[1].pattern) for f in warnings.filters if f[1] and 'zt_' in f[1].pattern]"
    )
    # without those of this process, which make errors of warnings
    ahead = ask(source, preload=(package,), settings=False)
    assert ahead == ask(source, start_method="forkserver", settings=False) == {0: ["zt_ignored"]}
    general = "import warnings\n[f for f in warnings.filters if f[0] == 'ignore' and f[2] is Warning and not f[1]]"
    ahead = ask(general, preload=(package,), settings=False)
    assert ahead == ask(general, start_method="forkserver", settings=False)


AT_EXIT = """
import logging, logging.handlers, os, tempfile, weakref
folder = tempfile.TemporaryDirectory(dir={place!r})
class Thing: pass
thing = Thing()
weakref.finalize(thing, open({place!r} + "/finalized", "w").close)
handler = logging.handlers.MemoryHandler(100, target=logging.FileHandler({place!r} + "/log", delay=True))
logging.getLogger("zt").addHandler(handler)
logging.getLogger("zt").warning("kept back")
os.path.basename(folder.name)
"""


def test_the_end_of_a_rank_is_that_of_a_program(tmp_path: Path, method: str) -> None:
    if method == "fork":
        pytest.skip("what a copy of the launching process has in its buffers is that process's affair")
    for turn in range(2):
        place = tmp_path / str(turn)
        place.mkdir()
        folder = ask(AT_EXIT.format(place=str(place)), start_method=method)[0]
        assert sorted(os.listdir(place)) == ["finalized", "log"], f"{folder} is a temporary directory"
        assert (place / "log").read_text() == "kept back\n"


RANDOM = "import random, uuid, numpy as np\n(random.random(), np.random.rand(), np.random.default_rng().random())"


def test_every_rank_of_every_run_draws_other_numbers() -> None:
    drawn = [
        number
        for _ in range(3)
        for numbers in ask(RANDOM, 2, preload=("numpy", "numpy.random")).values()
        for number in numbers
    ]
    assert len(set(drawn)) == 18
    uuids = [ask("import uuid\n(uuid.uuid1(), uuid.uuid4())", 2) for _ in range(2)]
    assert len({one for found in uuids for pair in found.values() for one in pair}) == 8


def test_a_seed_means_the_same_with_every_start_method(method: str) -> None:
    source = "import random, numpy as np\n(random.random(), np.random.rand())"
    expected = ask(source, 2, seed=3, start_method="spawn")
    assert expected[0] != expected[1]
    for _ in range(2):
        assert ask(source, 2, seed=3, start_method=method, preload=("numpy",)) == expected
    assert ask(source, 2, start_method=method, preload=("numpy",)) != expected


POOLS = (
    "import numpy.linalg, threadpoolctl\n"
    "sorted((pool['internal_api'], pool['num_threads']) for pool in threadpoolctl.threadpool_info())"
)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_NUM_THREADS": "1000"},
        {"OPENBLAS_NUM_THREADS": "0"},
        {"OMP_NUM_THREADS": "2,1", "OPENBLAS_NUM_THREADS": " 2"},
    ],
)
def test_numpy_has_the_threads_that_it_has_in_a_fresh_process(env: dict[str, str]) -> None:
    for nprocs in (1, 2):
        fresh = ask(POOLS, nprocs, env=env, start_method="spawn")
        assert fresh == ask(POOLS, nprocs, env=env, preload=("numpy",))


def test_threads_change_between_launches() -> None:
    def threads(**options: Any) -> int:
        found: int = ask(POOLS, preload=("numpy",), **options)[0][0][1]
        return found

    cores = len(os.sched_getaffinity(0))
    assert [
        threads(),
        threads(threads=1),
        threads(threads=3),
        threads(),
        threads(env={"OPENBLAS_NUM_THREADS": "1"}),
    ] == [
        cores,
        1,
        3,
        cores,
        1,
    ]
    assert len(zygote_pids()) == 1


TORCH = """
import sys
early = "torch" in sys.modules
import torch
(early, torch.cuda.is_initialized(), torch.get_num_threads(), torch.initial_seed(), torch.rand(1).item())
"""


@pytest.mark.torch
def test_torch_in_a_zygote() -> None:
    cores = len(os.sched_getaffinity(0))
    first, second = (ask(TORCH, 2, preload=("torch",)) for _ in range(2))
    found = [*first.values(), *second.values()]
    assert [numbers[:3] for numbers in found] == [(True, False, max(1, cores // 2))] * 4
    assert len({numbers[3] for numbers in found}) == len({numbers[4] for numbers in found}) == 4
    seeded = [ask(TORCH, 2, preload=("torch",), seed=1) for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert seeded[0][0][3:] == ask(TORCH, 1, seed=1, start_method="spawn")[0][3:]
    for env in ({"MKL_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2"}, {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}):
        fresh = ask(TORCH, 2, env=env, start_method="spawn")
        assert ask(TORCH, 2, env=env, preload=("torch",))[0][2] == fresh[0][2], env
    assert ask(TORCH, 1, threads=3, preload=("torch",))[0][2] == 3
    assert len(zygote_pids()) == 1


# ---- what cannot be changed afterwards


def test_what_is_read_at_the_start_of_a_process_takes_another_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import time\n(hash('x'), time.strftime('%H', time.localtime(0)))"
    seen = []
    for turn in range(5):
        monkeypatch.setenv("PYTHONHASHSEED", str(turn))
        monkeypatch.setenv("TZ", f"ZT-{turn}")
        assert ask(source) == ask(source) == ask(source, start_method="spawn"), turn
        seen.append(zygote_pids()[0])
    assert len(set(seen)) == 5
    assert zygote_pids() == seen[:1:-1], "the last ones are kept, and no more"
    assert_gone(seen[:2])
    monkeypatch.delenv("TZ")
    assert ask(source) == ask(source, start_method="spawn")


def test_ranks_that_differ_in_what_is_read_at_the_start_get_what_they_ask_for(launch: Launch) -> None:
    envs = {rank: {"PYTHONHASHSEED": str(rank + 1), "TZ": f"ZT-{rank}"} for rank in range(3)}
    arguments: dict[int, tuple[Any, ...]] = dict.fromkeys(range(3), ())
    found = [
        result_of(launch(targets.hash_and_hour, arguments, method, envs=envs)).return_values
        for method in ("zygote", "spawn")
    ]
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 3
    assert zygote_pids() == []


def _umask() -> Iterator[None]:
    old = os.umask(0o077)
    yield
    os.umask(old)


def _cores() -> Iterator[None]:
    old = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(old)})
    yield
    os.sched_setaffinity(0, old)


def _limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("change", [_umask, _cores, _limit])
def test_what_a_process_inherits_is_that_of_the_time_of_the_launch(change: Callable[[], Iterator[None]]) -> None:
    source = (
        "import os, resource\numask = os.umask(0)\n"
        "(umask, os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(0))"
    )
    before = ask(source)
    changing = change()
    next(changing)
    try:
        during = ask(source)
        assert during == ask(source, start_method="forkserver") != before
    finally:
        assert next(changing, None) is None
    assert ask(source) == before
    assert len(zygote_pids()) == 2


STATUS = """
import json, os, signal
def status():
    lines = dict(line.rstrip("\\n").split(":", 1) for line in open("/proc/self/status"))
    return {
        **{name: lines[name].strip() for name in ("SigBlk", "SigIgn", "SigCgt", "Umask", "NoNewPrivs", "Threads")},
        "leads": os.getsid(0) == os.getpgrp() == os.getpid(),
        "nice": os.nice(0),
        "oom": open("/proc/self/oom_score_adj").read(),
        "name": open("/proc/self/comm").read(),
        "streams": [os.path.basename(os.readlink(f"/proc/self/fd/{fd}")) for fd in range(3)],
        "descriptors": sorted(
            os.path.basename(os.readlink(f"/proc/self/fd/{fd}")).partition(":")[0]
            for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")
        ),
        "handlers": [str(signal.getsignal(number)).partition(" at ")[0] for number in sorted(signal.valid_signals())],
    }
status()
"""


def test_a_rank_is_the_same_whoever_has_forked_it() -> None:
    expected = ask(STATUS, start_method="forkserver")
    assert ask(STATUS, engine=LocalEngine(spares=1)) == expected, "forked for this launch"
    spares()
    assert ask(STATUS) == expected, "a spare"


def test_zygote_forkserver_and_spare_hold_nothing_of_this_process() -> None:
    ask("1", 2)
    waiting = spares()

    def held(pid: int) -> list[str]:
        found: dict[int, str] = {}
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # just closed
                found[int(link.name)] = str(link.readlink()).partition(":[")[0]
        assert (found.pop(0), found.pop(1)) == ("/dev/null", "/dev/null")
        assert found.pop(2) in ("/memfd:nblaunch-zygote (deleted)", "/dev/null")
        # IPython 7 keeps that open
        of_ipython = ("/dev/null",) if IPython.version_info[0] < 8 else ()
        return sorted(name for name in found.values() if name not in of_ipython)

    def assert_holds(pid: int, name: str, expected: list[str]) -> None:
        # they say hello first and tidy up then
        deadline = time.monotonic() + LIMIT
        while (psutil.Process(pid).name(), held(pid)) != (name, expected):
            assert time.monotonic() < deadline, f"{name} is {psutil.Process(pid).name()} and holds {held(pid)}"

    # its guard, and the connection to this process
    assert_holds(zygote_pids()[0], "nblaunch-zygote", ["pipe", "socket"])
    # what SIGCHLD wakes it by, its guard, and the connection to its gang
    assert_holds(ahead().pid, "nblaunch-forks", ["pipe", "pipe", "pipe", "socket"])
    for pid in waiting:
        # its guard, and what it waits at
        assert_holds(pid, "nblaunch-spare", ["pipe", "socket"])
    for pid in (zygote_pids()[0], ahead().pid, *waiting):
        assert os.listdir(f"/proc/{pid}/task") == [str(pid)]
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")


def test_the_data_of_a_run_is_not_in_the_next_ones_processes() -> None:
    ask("kept = 1\nimport builtins\nbuiltins.zt = 1\nimport os\nos.environ['ZT_KEPT'] = '1'")
    source = "import builtins, os\n('kept' in globals(), hasattr(builtins, 'zt'), 'ZT_KEPT' in os.environ)"
    assert ask(source) == {0: (False, False, False)}


def test_the_first_traceback_of_a_rank_is_prepared_without_a_trace() -> None:
    # from Python 3.13 on it keeps the lines of what it was started with (-c) too
    names = "[name for name in linecache.cache if '<' in name and name != '<string>']"
    source = f"import linecache, sys\n'stack_data' in sys.modules, {names}"
    # IPython 7 formats tracebacks without that library
    assert ask(source) == {0: (IPython.version_info[0] >= 8, ["<cell>"])}
