"""IPython's own debugger after a failed run: ``%debug`` and ``%pdb on`` come to the rank's lines, through a kernel."""

from __future__ import annotations

import pytest

from tests.kernel import Execution, Kernel, without_escapes

pytestmark = pytest.mark.kernel

OURS = ("nblaunch", "run_cell_magic", "IPython", "hidden frame")


def shown(cell: Execution) -> str:
    return without_escapes(cell.streams["stdout"])


def debug(kernel: Kernel, failing: str, *commands: str, ename: str = "RanksFailed") -> str:
    assert kernel.begin(failing, allow_stdin=True).finish().ename == ename
    cell = kernel.begin("%debug", allow_stdin=True)
    for command in commands:
        cell.enter(command).asked()
    cell.enter("q").finish().ok()
    return shown(cell)


def test_debug_shows_the_lines_of_the_rank_that_failed_first(kernel: Kernel) -> None:
    kernel.run("def share(whole, parts):\n    return whole // parts").ok()
    text = debug(kernel, "%%multiproc 2\nx = 5\nshare(12, rank)", "p whole", "p max(3, 4)", "bt", "u", "x = 8", "p x")
    assert text.count("----> 2     return whole // parts") == 2
    assert text.count("----> 3 share(12, rank)") == 2
    assert (
        "*** NameError: whole is not here: the variables of rank 0 have ended with it. A debugger in the rank itself, "
        "at the line where it raises, comes with --pdb (pdb=True)\n"
    ) in text
    assert "\n4\n" in text
    assert "\n8\n" in text
    assert not [word for word in OURS if word in text.replace("--pdb", "")]


def test_debug_after_a_launch_shows_the_users_lines_too(kernel: Kernel) -> None:
    kernel.run("import nblaunch").ok()
    text = debug(kernel, "def go():\n    nblaunch.launch('1 / 0', 1).raise_for_failures()\ngo()", "u", "u")
    assert [line for line in text.splitlines() if line.startswith("---->")] == [
        "----> 1 1 / 0",
        "----> 2     nblaunch.launch('1 / 0', 1).raise_for_failures()",
        "----> 3 go()",
    ]
    assert "def raise_for_failures" not in text


@pytest.mark.parametrize(
    ("failing", "ename", "sentence"),
    [
        (
            "%%multiproc 1\nimport os\nos._exit(3)",
            "RanksFailed",
            r"exited with code 3). A debugger in the rank itself, at the line where it raises, comes with --pdb",
        ),
        ("%%multiproc 1\nx = [", "SyntaxError", "There is no line of a rank to look at: '[' was never closed"),
        (
            "import threading\nlock = threading.Lock()\nget_ipython().run_cell_magic('multiproc', '1', 'lock')",
            "CaptureError",
            "There is no line of a rank to look at: line 2 uses 'lock', which cannot be sent",
        ),
    ],
)
def test_debug_says_so_where_no_rank_has_raised(kernel: Kernel, failing: str, ename: str, sentence: str) -> None:
    reply = kernel.begin(failing, allow_stdin=True).finish()
    assert reply.ename == ename, reply.evalue
    text = debug(kernel, failing, "bt", ename=ename)
    assert sentence in text
    assert not [word for word in ("run.py", "multiproc.py", "session.py", *OURS[1:]) if word in text]


def test_pdb_on_opens_at_the_ranks_line(kernel: Kernel) -> None:
    kernel.run("%pdb on").ok()
    cell = kernel.begin("%%multiproc 1\nx = 5\n1 / 0", allow_stdin=True)
    assert cell.asked() == "ipdb> "
    cell.enter("bt").asked()
    assert cell.enter("q").finish().ename == "RanksFailed"
    assert shown(cell).count("----> 3 1 / 0") == 2
    assert not [word for word in OURS if word in shown(cell)]


def test_pdb_on_does_not_hang_where_nobody_answers(kernel: Kernel) -> None:
    kernel.run("%pdb on").ok()
    cell = kernel.run("%%multiproc 1\nx = 5\n1 / 0")
    assert "----> 3 1 / 0" in without_escapes(cell.stdout)
    kernel.run("%pdb off").ok()
    assert kernel.run("%%multiproc 1\n7").ok().ename == ""
