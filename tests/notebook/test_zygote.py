"""The zygote of a real kernel: what it has imported, what it never imports, and the commands about it."""

from __future__ import annotations

import os
import re
import signal

import psutil
import pytest

from tests.kernel import Kernel
from tests.processes.targets import assert_gone

KNOWN = (
    "It knows doctor, preload NAME, setup [clear], stacks [RANKS] [native], debug RANK, stop, kill, logs [NUMBER] and "
    "clear logs."
)

pytestmark = pytest.mark.kernel

# The zygote is made in a thread after the cell; whoever asks waits for it.
SETTLED = """
import threading as __threading
for __thread in __threading.enumerate():
    if __thread.name == 'nblaunch-zygote':
        __thread.join()
"""
EARLY = "%%multiproc 2\nimport sys\nsorted({'numpy', 'pandas', 'own_module', 'colorsys'} & set(sys.modules))"


def zygotes(kernel: Kernel) -> list[int]:
    """Return the process ids of the kernel's zygotes; one has no name of its own while its interpreter starts."""
    kernel.quietly(SETTLED)
    found: list[int] = kernel.value(
        "[state['pid'] for state in __import__('nblaunch.processes.starting.zygotes', fromlist=['x']).ZYGOTES.state()]"
    )
    return found


def helpers(kernel: Kernel) -> dict[str, list[int]]:
    """Return the processes below the kernel that are no ranks, by name."""
    found: dict[str, list[int]] = {}
    for process in psutil.Process(kernel.process.pid).children(recursive=True):
        found.setdefault(process.name(), []).append(process.pid)
    return found


def test_ranks_have_what_the_notebook_has_imported() -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        assert len(zygotes(kernel)) == 1, "made by the extension, in the background"
        kernel.run("import numpy").ok()
        kernel.quietly(SETTLED)
        kernel.run(EARLY + "  # numpy").ok()
        assert kernel.value("results") == {0: ["numpy"], 1: ["numpy"]}
        kernel.run("import pandas").ok()
        kernel.quietly(SETTLED)
        kernel.run(EARLY + "  # pandas").ok()
        assert kernel.value("results") == {0: ["numpy", "pandas"], 1: ["numpy", "pandas"]}
        kernel.run(EARLY).ok()
        assert len(zygotes(kernel)) == 1, "the one that was outgrown has gone"


def test_modules_of_the_user_are_never_stale(kernel: Kernel) -> None:
    own = kernel.place / "work" / "own_module.py"
    own.write_text("value = 1")
    kernel.run("import own_module").ok()
    kernel.quietly(SETTLED)
    kernel.run(EARLY).ok()
    assert "own_module" not in kernel.value("results[0]")
    # of other lengths: Python itself takes the bytecode of an edit within the same second for fresh otherwise
    for value in (1, 20, 300):
        own.write_text(f"value = {value}")
        kernel.run("%%multiproc 2\nimport own_module\nown_module.value").ok()
        assert kernel.value("results") == {0: value, 1: value}


def test_preloading_by_name(kernel: Kernel) -> None:
    reply = kernel.run("%multiproc preload colorsys, json")
    reply.ok()
    assert reply.stdout == (
        "colorsys, json: imported ahead as soon as the zygote is ready (%multiproc doctor shows it). To take a name "
        "back: %config Multiproc.preload = [...]\n"
    )
    try:
        kernel.run(EARLY).ok()
        assert "colorsys" in kernel.value("results[0]")
        assert kernel.value("get_ipython().magics_manager.registry['Multiproc'].preload") == ["colorsys", "json"]
        kernel.run("%multiproc preload json").ok()
        assert kernel.value("get_ipython().magics_manager.registry['Multiproc'].preload") == ["colorsys", "json"]
        report = kernel.run("%multiproc doctor").ok().stdout
        assert "colorsys" in report
    finally:
        kernel.quietly("get_ipython().magics_manager.registry['Multiproc'].preload = []")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "preload jax",
            (
                "%multiproc preload: jax must not be imported before a fork: it runs threads, and says itself that a "
                "fork of it may deadlock."
            ),
        ),
        (
            "preload no_such_module",
            (
                "%multiproc preload: there is no module 'no_such_module' to import: is it installed in this kernel's "
                "environment?"
            ),
        ),
        ("preload json.tol", "%multiproc preload: there is no module 'json.tol' in json."),
        ("preload json.tool.more", "%multiproc preload: there is no module 'json.tool.more' in json.tool."),
        ("preload", "%multiproc preload: name the modules to import ahead, as in %multiproc preload torch."),
        ("debug", "%multiproc debug: name the rank whose debugger you want, as in %multiproc debug 2."),
        ("debug two", "%multiproc debug: name the rank whose debugger you want, as in %multiproc debug 2."),
        ("debug 2", "%multiproc debug: rank 2 of no run waits for anybody. Nor does any other rank."),
        ("doctor now", "%multiproc doctor takes nothing more."),
        ("docter", f"%multiproc: there is no command 'docter', did you mean doctor? {KNOWN}"),
        ("zygote", f"%multiproc: there is no command 'zygote'. {KNOWN}"),
        (
            "4",
            (f"%multiproc is for commands. To run a cell on 4 ranks, begin it with %%multiproc 4. {KNOWN}"),
        ),
    ],
)
def test_refused_commands(kernel: Kernel, line: str, message: str) -> None:
    reply = kernel.run(f"%multiproc {line}")
    assert (reply.ename, reply.evalue) == ("UsageError", message)


def test_no_command_at_all(kernel: Kernel) -> None:
    assert kernel.run("%multiproc").ename == "UsageError"


def test_one_of_several_names_is_refused_and_none_is_taken(kernel: Kernel) -> None:
    assert kernel.run("%multiproc preload json jax").ename == "UsageError"
    assert kernel.value("get_ipython().magics_manager.registry['Multiproc'].preload") == []


def test_doctor_tells_of_this_kernel(kernel: Kernel) -> None:
    kernel.run("%%multiproc 3\nrank").ok()
    report = kernel.run("%multiproc doctor").ok().stdout
    assert "start method  zygote\n" in report
    assert f"pid {zygotes(kernel)[0]}, " in report


def test_a_zygote_that_is_killed_costs_a_notice_and_no_result(kernel: Kernel) -> None:
    kernel.run("%%multiproc 2\nrank").ok()
    pids = zygotes(kernel)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    reply = kernel.run("%%multiproc 2\nrank + 1").ok()
    assert kernel.value("results") == {0: 1, 1: 2}
    # One that another zygote has forked is reaped by that one, and only it would know the code. Or the launch itself
    # notices the end, by the closed connection.
    assert re.search("failed and is replaced: (it|the process that was to fork the ranks has) ended", reply.stderr)
    assert re.search("failed zygote  (it|the process .* has) ended", kernel.run("%multiproc doctor").ok().stdout)


def test_unloading_ends_it_and_loading_makes_another() -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        kernel.run("%%multiproc 2\nrank").ok()
        old = zygotes(kernel)
        kernel.run("%unload_ext nblaunch").ok()
        assert helpers(kernel) == {}
        kernel.run("import numpy").ok()
        kernel.quietly(SETTLED)
        assert helpers(kernel) == {}, "nobody follows imports any more"
        kernel.run("%load_ext nblaunch").ok()
        kernel.run("%reload_ext nblaunch").ok()
        assert len(zygotes(kernel)) == 1
        kernel.run("%%multiproc 2\nrank").ok()
        assert kernel.value("results") == {0: 0, 1: 1}
        assert zygotes(kernel) != old


@pytest.mark.parametrize("moment", ["importing", "waiting", "running"])
def test_a_kernel_that_is_killed_leaves_nothing(moment: str) -> None:
    with Kernel() as kernel:
        cell = "import pandas\n%load_ext nblaunch"
        kernel.run(cell).ok()
        if moment != "importing":
            kernel.run("%%multiproc 2\nrank").ok()
        if moment == "running":
            kernel.begin("%%multiproc 2\nimport threading\nprint('ready', rank)\nthreading.Event().wait()").wait_for(
                "ready 0", "ready 1"
            )
        pids = [pid for pids in helpers(kernel).values() for pid in pids]
        assert pids or moment == "importing"
        kernel.process.kill()
        kernel.process.wait()
        assert_gone(pids)


def test_the_extension_itself_is_light() -> None:
    with Kernel() as kernel:
        kernel.run("import sys\nbefore = set(sys.modules)\n%load_ext nblaunch\nnew = set(sys.modules) - before").ok()
        heavy = kernel.value("sorted({name.partition('.')[0] for name in new} & {'numpy', 'torch', 'ipywidgets'})")
        assert heavy == []


def test_a_cell_is_not_to_blame_when_there_is_no_thread_for_a_zygote() -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        kernel.quietly(SETTLED)
        kernel.quietly(
            "import threading\nworking = threading.Thread.start\nrefused = []\n"
            "def start(self):\n"
            "    if self.name == 'nblaunch-zygote':\n"
            "        refused.append(self)\n"
            '        raise RuntimeError("can\'t start new thread")\n'
            "    working(self)\n"
            "threading.Thread.start = start"
        )
        reply = kernel.run("import colorsys").ok()
        assert (reply.stdout, reply.stderr) == ("", "")
        kernel.quietly("threading.Thread.start = working")
        assert kernel.value("len(refused)") >= 1
        kernel.run("1").ok()
        # the next cell makes it
        kernel.quietly(SETTLED)
        seen = "get_ipython().magics_manager.registry['Multiproc']._modules_seen == len(__import__('sys').modules)"
        assert kernel.value(seen) is True
