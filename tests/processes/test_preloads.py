"""What a zygote imports, what it leaves out and why."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from nblaunch.processes.starting import preloads
from nblaunch.processes.starting.preloads import NEVER, SAFE, modules_of_first_use, refusal, safe_modules
from tests.processes.conftest import Packages
from tests.processes.targets import Gate
from tests.processes.zygote_states import ask, report, start, zygote_pids


@pytest.fixture(autouse=True)
def _forget_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    preloads._imported_here.cache_clear()


def imported(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import a package as a notebook would, until the test ends."""
    monkeypatch.delitem(sys.modules, package, raising=False)
    __import__(package)
    monkeypatch.setitem(sys.modules, package, sys.modules[package])


# ---- what is chosen


def test_what_the_notebook_has_imported_and_is_safe(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.write("zt_safe", "")
    for part in ("part", "_private"):
        (packages.place / "zt_safe" / f"{part}.py").write_text("")
    packages.write("zt_other", "")
    monkeypatch.setattr(preloads, "SAFE", frozenset({"zt_safe", "zt_absent"}))
    assert safe_modules() == ()
    for name in ("zt_safe", "zt_safe.part", "zt_safe._private", "zt_other"):
        imported(name, monkeypatch)
    assert safe_modules() == ("zt_safe", "zt_safe.part")
    assert safe_modules(["zt_other"]) == ("zt_other", "zt_safe", "zt_safe.part")


def test_a_file_of_the_user_is_never_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zt_safe.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(preloads, "SAFE", frozenset({"zt_safe"}))
    imported("zt_safe", monkeypatch)
    assert safe_modules() == ()


@pytest.mark.preloads
def test_nothing_is_both_safe_and_not() -> None:
    assert not SAFE & NEVER.keys()
    assert "numpy" in SAFE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "jax",
            "jax must not be imported before a fork: it runs threads, and says itself that a fork of it may deadlock",
        ),
        ("jax.numpy", "jax must not be imported before a fork: it runs threads, and says itself that a fork of it may"),
        ("tensorflow", "tensorflow must not be imported before a fork: it starts threads, which a fork does not have"),
        (
            "cupy",
            "cupy must not be imported before a fork: it touches CUDA, which a forked process cannot use afterwards",
        ),
        ("no.such", "there is no module 'no' to import: is it installed in this kernel's environment?"),
        ("a-b", "'a-b' is no name of a module"),
        ("", "'' is no name of a module"),
        ("nblaunch", "nblaunch is not imported ahead: it is there anyway"),
        ("__main__", "__main__ is not imported ahead: it is there anyway"),
    ],
)
def test_refusals(name: str, reason: str) -> None:
    assert refusal(name).startswith(reason)


@pytest.mark.parametrize("name", ["numpy", "numpy.linalg", "json", "sys"])
def test_no_refusal(name: str) -> None:
    assert refusal(name) == ""


def test_a_module_in_a_folder_of_the_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zt_own.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert refusal("zt_own") == (
        f"zt_own is not installed but lies in a folder of yours ({tmp_path}/zt_own.py): imported ahead, it would be "
        "stale after the next edit. Ranks import it when they start"
    )


# ---- what a zygote makes of it

LOADED = "import sys\nsorted(name for name in sys.modules if name.startswith('zt_'))"


def left_out(preload: tuple[str, ...]) -> dict[str, str]:
    """Launch, and return what the zygote that serves has left out."""
    found = ask(f"{LOADED}  # {' '.join(preload)}", preload=preload)[0]
    assert found == sorted(set(preload) - set(report()["left_out"]))
    assert sorted(report()["modules"]) == found
    assert len(zygote_pids()) == 1
    reasons: dict[str, str] = report()["left_out"]
    return reasons


def test_modules_that_do_harm_are_left_out_and_the_others_are_there(packages: Packages) -> None:
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    packages.write("zt_a_good", "")
    packages.write("zt_b_fails", "raise ValueError('boom ' + 1000 * 'x')")
    packages.write("zt_c_exits", "raise SystemExit(3)")
    packages.write("zt_d_thread", thread)
    packages.write("zt_e_threads", thread * 2)
    packages.write("zt_f_good", "")
    packages.write("zt_g_fails_with_a_thread", f"{thread}1 / 0")
    packages.write(
        "zt_h_good", "import threading\nthread = threading.Thread(target=int)\nthread.start()\nthread.join()"
    )
    names = tuple(sorted(folder.name for folder in packages.place.iterdir()))
    reasons = left_out(names)
    assert reasons.pop("zt_b_fails").startswith("its import failed: ValueError: boom xxx")
    threads = "its import starts {}, and a process with threads must not be forked"
    assert reasons == {
        "zt_c_exits": "its import failed: SystemExit: 3",
        "zt_d_thread": threads.format("1 thread"),
        "zt_e_threads": threads.format("2 threads"),
        "zt_g_fails_with_a_thread": threads.format("1 thread"),
    }


def test_a_package_is_started_over_for_once(packages: Packages, tmp_path: Path) -> None:
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    packages.write("zt_pack", f"open({str(tmp_path / 'starts')!r}, 'a').write('.')")
    for part in ("a_good", "b_thread", "c_thread", "d_good"):
        (packages.place / "zt_pack" / f"{part}.py").write_text(thread if "thread" in part else "")
    packages.write("zt_z_good", "")
    names = ("zt_pack", *(f"zt_pack.{part}" for part in ("a_good", "b_thread", "c_thread", "d_good")), "zt_z_good")
    reasons = left_out(names)
    harm = "its import starts 1 thread, and a process with threads must not be forked"
    assert reasons == {
        "zt_pack.b_thread": harm,
        "zt_pack.c_thread": f"it is of the same package as zt_pack.b_thread: {harm}",
        "zt_pack.d_good": f"it is of the same package as zt_pack.b_thread: {harm}",
    }
    assert (tmp_path / "starts").read_text() == "..", "of the zygote, twice; the ranks have it from there"


def test_what_a_left_out_module_has_done_to_the_environment_is_undone(packages: Packages) -> None:
    packages.write(
        "zt_a_harms",
        "import os, threading\nos.environ['ZT_HARM'] = '1'\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    )
    assert ask("import os\nos.environ.get('ZT_HARM')", preload=("zt_a_harms",)) == {0: None}
    assert list(report()["left_out"]) == ["zt_a_harms"]


def test_a_module_that_brings_one_of_the_users_is_left_out(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "ownmodule.py").write_text("value = 1")
    monkeypatch.syspath_prepend(str(own))
    packages.write("zt_a_brings", "import ownmodule")
    packages.write("zt_b_good", "")
    reasons = left_out(("zt_a_brings", "zt_b_good"))
    assert reasons == {
        "zt_a_brings": f"it imports ownmodule, which lies in a folder of yours ({own}/ownmodule.py) and would be stale "
        "after the next edit"
    }
    source = "import sys\nearly = 'ownmodule' in sys.modules\nimport zt_a_brings, ownmodule\n(early, ownmodule.value)"
    assert ask(source, preload=("zt_a_brings", "zt_b_good")) == {0: (False, 1)}
    (own / "ownmodule.py").write_text("value = 'edited'")
    assert ask(source, preload=("zt_a_brings", "zt_b_good")) == {0: (False, "edited")}


def test_a_module_that_brings_one_that_must_not_be_forked_is_left_out(packages: Packages) -> None:
    packages.write("jax", "")
    packages.write("zt_a_brings", "import jax")
    assert left_out(("zt_a_brings",)) == {
        "zt_a_brings": "it imports jax, and it runs threads, and says itself that a fork of it may deadlock"
    }


def test_an_import_that_comes_to_one_that_must_not_be_forked_is_ended_before_that_runs(
    packages: Packages, tmp_path: Path
) -> None:
    marks = tmp_path / "imports"
    packages.write("jax", f"open({str(marks)!r}, 'a').write('jax')")
    packages.write("zt_light", f"open({str(marks)!r}, 'a').write('.')")
    # what looks whether a package is there, as many do, does not import it
    packages.write("zt_looks", "import importlib.util\nspec = importlib.util.find_spec('jax')\nfound = spec.origin")
    packages.write("zt_needs", "import zt_needs.part\nzt_needs.part.value\nimport jax")
    (packages.place / "zt_needs" / "part.py").write_text("value = 1")
    names = ("zt_light", "zt_looks", "zt_needs")
    why = "it imports jax, and it runs threads, and says itself that a fork of it may deadlock"
    assert left_out(names) == {"zt_needs": why}
    assert marks.read_text() == "..", "the zygote has started over, and no zygote has run the other one"
    # in a rank all of it is as in a fresh interpreter; what was found can be loaded
    source = (
        "import importlib.util, zt_needs, zt_looks\nzt_looks.spec.loader.exec_module(importlib.util.module_from_spec("
        "zt_looks.spec))\nzt_needs.part.value, zt_needs.jax.__name__, zt_looks.found.endswith('jax/__init__.py')"
    )
    assert ask(source, preload=names) == {0: (1, "jax", True)}
    assert marks.read_text() == "..jaxjax"


def test_a_refusal_that_an_import_has_swallowed_counts_although_it_fails_later(packages: Packages) -> None:
    packages.write("jax", "")
    packages.write("zt_a_swallows", "try:\n    import jax\nexcept BaseException:\n    jax = None")
    packages.write("zt_b_fails", "import zt_a_swallows\n1 / 0")
    why = "it imports jax, and it runs threads, and says itself that a fork of it may deadlock"
    assert left_out(("zt_b_fails",)) == {"zt_b_fails": why}
    assert ask("import zt_a_swallows\nzt_a_swallows.jax is not None", preload=("zt_b_fails",)) == {0: True}


def test_a_package_that_goes_on_without_one_that_must_not_be_forked_is_left_out(packages: Packages) -> None:
    packages.write("jax", "")
    packages.write("zt_needs", "try:\n    import jax\nexcept BaseException:\n    jax = None")
    packages.write("zt_z_good", "")
    why = "it imports jax, and it runs threads, and says itself that a fork of it may deadlock"
    assert left_out(("zt_needs", "zt_z_good")) == {"zt_needs": why}
    assert ask("import zt_needs\nzt_needs.jax is not None", preload=("zt_needs", "zt_z_good")) == {0: True}


def test_what_programs_import_when_they_first_use_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "optimizer = torch.optim.SGD(model.parameters())"
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert modules_of_first_use(source.__contains__) == []
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    assert modules_of_first_use(source.__contains__) == ["torch._dynamo"]
    assert modules_of_first_use("scipy.optimize.minimize(f)".__contains__) == []
    monkeypatch.setattr(preloads, "_learnt", {"torch._dynamo"})
    assert modules_of_first_use(source.__contains__) == []


def test_a_setting_cannot_name_what_the_command_refuses(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.write("jax", "")
    (tmp_path / "zt_own.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    run = start("import sys\n[name in sys.modules for name in ('jax', 'zt_own')]", preload=("jax", "zt_own", "no.such"))
    assert run.results == {0: [False, False]}
    reasons = report()["left_out"]
    assert reasons["jax"].startswith("jax must not be imported before a fork")
    assert reasons["zt_own"].startswith("zt_own is not installed but lies in a folder of yours")
    assert reasons["no.such"].startswith("there is no module 'no' to import")


def test_the_old_zygote_serves_while_the_new_one_imports_unless_its_modules_are_needed(
    packages: Packages, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    packages.write_waiting("zt_slow", gate)
    ask("1")
    [old] = zygote_pids()
    assert ask("5", preload=("zt_slow",)) == {0: 5}
    assert zygote_pids()[0] == old
    new = (set(zygote_pids()) - {old}).pop()
    gate.close()
    assert ask("import sys\n'zt_slow' in sys.modules", preload=("zt_slow",)) == {0: True}
    assert zygote_pids()[0] == new
    ask("1", preload=("zt_slow",))
    assert zygote_pids() == [new], "it can do all that the old one can"
