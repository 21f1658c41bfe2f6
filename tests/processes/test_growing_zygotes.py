"""A zygote that is ready forks one that has more modules, so that only these have to be imported."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import psutil
import pytest

from nblaunch.processes.starting.zygotes import ZYGOTES
from tests.processes.conftest import Packages
from tests.processes.targets import LIMIT, assert_gone
from tests.processes.zygote_states import ask, report, zygote_pids

THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
HARM = "its import starts 1 thread, and a process with threads must not be forked"


@pytest.fixture
def imports(packages: Packages, tmp_path: Path) -> Path:
    """A file to which the first package writes a mark whenever it is imported."""
    marks = tmp_path / "imports"
    packages.write("zt_a_first", f"open({str(marks)!r}, 'a').write('.')")
    return marks


def ask_when_ready(source: str, nprocs: int = 1, *, preload: tuple[str, ...]) -> dict[int, object]:
    """Launch, so that a zygote is made, and once more when it is ready: a launch does not wait for what it may lack."""
    ask(f"{source}  # first", nprocs, preload=preload)
    for zygote in list(ZYGOTES._processes):
        if zygote.report is None:
            assert select.select([zygote.control], [], [], LIMIT)[0], "it is not ready"
    return ask(source, nprocs, preload=preload)


def held() -> list[str]:
    modules: list[str] = report()["modules"]
    return modules


def test_what_is_there_is_not_imported_once_more(packages: Packages, imports: Path) -> None:
    packages.write("zt_b_second", "")
    packages.write("zt_c_third", "")
    source = "import sys\nsorted(name for name in sys.modules if name.startswith('zt_')), rank"
    ask("rank", preload=("zt_a_first",))
    [first] = zygote_pids()
    for more in (("zt_b_second",), ("zt_b_second", "zt_c_third")):
        names = ["zt_a_first", *more]
        assert ask_when_ready(source, 2, preload=tuple(names)) == {0: (names, 0), 1: (names, 1)}
        assert held() == names
        # the one that it has outgrown is gone
        assert len(zygote_pids()) == 1
    assert_gone([first])
    assert ask(source, preload=tuple(names)) == {0: (names, 0)}
    assert imports.read_text() == "."


@pytest.mark.parametrize("before", [None, "other"])
def test_one_that_holds_no_library_takes_on_the_variables_that_libraries_read(
    packages: Packages, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    packages.write("zt_b_reads", "import os\nvalue = os.environ.get('KMP_SETTINGS')")
    if before is not None:
        monkeypatch.setenv("KMP_WARNINGS", before)
    ask("rank")
    [first] = zygote_pids()
    monkeypatch.setenv("KMP_SETTINGS", "mine")
    monkeypatch.delenv("KMP_WARNINGS", raising=False)
    source = "import os, zt_b_reads\n(zt_b_reads.value, os.environ['KMP_SETTINGS'], os.environ.get('KMP_WARNINGS'))"
    assert ask(source, preload=("zt_b_reads",)) == {0: ("mine", "mine", None)}
    grown = next(one for one in ZYGOTES._processes if one.process.pid != first)
    assert grown.has_been_grown()
    assert held() == ["zt_b_reads"]


@pytest.mark.parametrize(("name", "preload"), [("KMP_SETTINGS", ("zt_a_first",)), ("TZ", ())])
def test_what_has_been_read_already_takes_a_fresh_one(
    packages: Packages, imports: Path, monkeypatch: pytest.MonkeyPatch, name: str, preload: tuple[str, ...]
) -> None:
    packages.write("zt_b_second", "")
    ask("rank", preload=preload)
    monkeypatch.setenv(name, "UTC")
    assert ask(f"import os, zt_b_second\nos.environ[{name!r}]", preload=(*preload, "zt_b_second")) == {0: "UTC"}
    assert not any(one.has_been_grown() for one in ZYGOTES._processes)


def test_the_process_of_a_rank_is_named_as_ever(packages: Packages, imports: Path) -> None:
    packages.write("zt_b_second", "")
    named = "open('/proc/self/comm').read()"
    before = ask(named, preload=("zt_a_first",))
    assert ask_when_ready(named, preload=("zt_a_first", "zt_b_second")) == before


def test_modules_that_do_harm_are_left_out_without_a_fresh_start(packages: Packages, imports: Path) -> None:
    packages.write("zt_b_harms", THREAD)
    packages.write("zt_c_fails", "1 / 0")
    packages.write("zt_d_good", "")
    ask("rank", preload=("zt_a_first",))
    names = ("zt_a_first", "zt_b_harms", "zt_c_fails", "zt_d_good")
    assert ask("import sys\n'zt_d_good' in sys.modules, 'zt_b_harms' in sys.modules", preload=names) == {
        0: (True, False)
    }
    assert report()["left_out"] == {
        "zt_b_harms": HARM,
        "zt_c_fails": "its import failed: ZeroDivisionError: division by zero",
    }
    assert held() == ["zt_a_first", "zt_d_good"]
    assert imports.read_text() == "."


def test_one_that_dies_gives_way_to_a_fresh_one_which_says_why(
    packages: Packages, imports: Path, no_failures: list[str]
) -> None:
    packages.write("zt_b_dies", "import os\nos._exit(7)")
    ask("rank", preload=("zt_a_first",))
    names = ("zt_a_first", "zt_b_dies")
    for _ in range(3):
        assert ask_when_ready("rank", preload=names) == {0: 0}
    assert len(no_failures) == 2
    # nobody but its parent knows how the first one has ended
    assert "exit code" not in no_failures[0]
    assert "ended with code 7" in no_failures[1]
    assert report()["left_out"] == {"zt_b_dies": "its import ended the process, with exit code 7"}


def test_a_folder_that_was_added_since_is_searched_too(
    packages: Packages, imports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("rank", preload=("zt_a_first",))
    (tmp_path / "later").mkdir()
    later = Packages(tmp_path / "later" / "site-packages")
    later.write("zt_b_later", "")
    monkeypatch.syspath_prepend(str(later.place))
    here = "import sys\n'zt_b_later' in sys.modules"
    assert ask_when_ready(here, preload=("zt_a_first", "zt_b_later")) == {0: True}
    assert imports.read_text() == "."


def test_it_ends_with_the_process_that_uses_it(packages: Packages, imports: Path) -> None:
    packages.write("zt_b_second", "")
    ask("rank", preload=("zt_a_first",))
    ask_when_ready("rank", preload=("zt_a_first", "zt_b_second"))
    pid = zygote_pids()[0]
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ZYGOTES.close()
    assert_gone([pid])


def test_one_that_was_stopped_goes_on(packages: Packages, imports: Path) -> None:
    packages.write("zt_b_second", "")
    ask("rank", preload=("zt_a_first",))
    os.kill(zygote_pids()[0], signal.SIGSTOP)
    assert ask_when_ready("rank", preload=("zt_a_first", "zt_b_second")) == {0: 0}
    assert imports.read_text() == "."
