"""What ranks write: complete in the logs, live and bounded in the notebook, and under the right cell."""

from __future__ import annotations

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel


def test_output_is_live(kernel: Kernel) -> None:
    cell = kernel.begin(
        "%%multiproc 2\nimport os, time\nprint('begun', rank)\n"
        "while not os.path.exists('go'):\n    time.sleep(0.005)\n"
        "print('done', rank)"
    )
    cell.wait_for("[0] begun 0\n", "[1] begun 1\n")
    assert cell.reply is None
    (kernel.place / "work" / "go").touch()
    assert "[1] done 1\n" in cell.finish().stdout
    (kernel.place / "work" / "go").unlink()


def test_each_stream_and_child_processes_and_c_libraries(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\n"
        "import ctypes, os, sys\n"
        "print('out'); print('err', file=sys.stderr)\n"
        "os.write(1, b'raw out\\n'); os.write(2, b'raw err\\n')\n"
        "_ = os.system('echo child; echo child err >&2')\n"
        "_ = ctypes.CDLL(None).puts(b'from C')\n"
        "sys.__stdout__.write('dunder\\n');"
    ).ok()
    assert reply.stdout == "".join(f"[0] {line}\n" for line in ("out", "raw out", "child", "from C", "dunder"))
    assert reply.stderr == "".join(f"[0] {line}\n" for line in ("err", "raw err", "child err"))


def test_unicode_and_bytes_that_are_not_utf_8(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\n"
        "import os\n"
        "print('grüß dich 你好 😀')\n"
        "os.write(1, b'broken \\xff\\xfe here\\n')\n"
        "print('alone \\udc80')\n"
        "print('unfinished', end='')"
    ).ok()
    assert reply.stdout == (
        "[0] grüß dich 你好 😀\n[0] broken \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} here\n"
        "[0] alone \\udc80\n[0] unfinished\n"
    )


def test_other_locales_write_the_same(kernel: Kernel) -> None:
    for method in ("spawn", "forkserver", "zygote"):
        reply = kernel.run(f"%%multiproc 1 --env LC_ALL=C --start-method {method}\nprint('ü')").ok()
        assert reply.stdout == "[0] ü\n"


def test_prefixes_line_up_with_ten_ranks_and_more(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 11\nprint('x')").ok()
    assert sorted(reply.stdout.splitlines()) == sorted(f"[{rank:>2}] x" for rank in range(11))


def test_much_on_stderr_does_not_hang(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 2 --out run\nimport sys\nsys.stderr.write('e' * 99 + '\\n') * 2000;\n"
        "for _ in range(2000): sys.stderr.write('e' * 99 + '\\n')\n'done'"
    ).ok()
    assert kernel.value("(run.results, [len(log.stderr) for log in run.logs.values()])") == (
        {0: "done", 1: "done"},
        [200_100, 200_100],
    )
    assert reply.stderr.count("e" * 99 + "\n") == 4002


def test_bulk_output_is_bounded_in_the_notebook_and_complete_in_the_logs(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 2 --out run\n"
        "line = b'x' * 99 + b'\\n'\n"
        "import os\n"
        "for i in range(250):\n"
        "    os.write(1, line * 1000)\n"
        "print('the very end', rank)"
    ).ok()
    assert len(reply.stdout) < 2_000_000
    assert max(reply.sizes) < 200_000
    assert kernel.value(
        "[os.path.getsize(os.path.join(log.path, 'stdout.log')) for log in run.logs.values()]"
        if kernel.value("'os' in globals()")
        else "[__import__('os').path.getsize(log.path + '/stdout.log') for log in run.logs.values()]"
    ) == [25_000_015, 25_000_015]
    for rank in (0, 1):
        assert f"[{rank}] the very end {rank}\n" in reply.stdout
        path = kernel.value(f"run.logs[{rank}].path")
        assert f"more, all of it in {path}/stdout.log, ending with\n" in reply.stdout


def test_progress_bars_do_not_flood(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\nimport sys\n"
        "for i in range(5000):\n    sys.stderr.write(f'\\rstep {i}')\n"
        "sys.stderr.write('\\n')"
    ).ok()
    assert "step 4999" in reply.stderr
    assert reply.stderr.count("step") < 50


def test_output_of_a_background_run_stays_with_its_cell(kernel: Kernel) -> None:
    first = kernel.begin(
        "import nblaunch\n"
        "source = '''import os, time\n"
        'print("begun")\n'
        'while not os.path.exists("go"):\n'
        "    time.sleep(0.005)\n"
        "print(\"late\")'''\n"
        "run = nblaunch.launch(source, 1, wait=False)"
    )
    first.finish().ok()
    first.wait_for("[0] begun\n")
    second = kernel.begin("print('mine')\nopen('go', 'w').close()\nassert run.wait(30)")
    assert second.finish().ok().stdout == "mine\n"
    first.wait_for("[0] late\n")
    assert "late" not in second.streams["stdout"]
    (kernel.place / "work" / "go").unlink()
    kernel.run("%%multiproc 1\nprint('next')").ok()
    assert "next" not in first.streams["stdout"]


def test_awaiting_a_background_run(kernel: Kernel) -> None:
    kernel.run(
        "import nblaunch\nbase = 5\n"
        "runs = [nblaunch.launch(f'base + {n} + rank', 2, wait=False) for n in (0, 10)]\n"
        "found = [(await run).results for run in runs]"
    ).ok()
    assert kernel.value("found") == [{0: 5, 1: 6}, {0: 15, 1: 16}]


def test_a_quiet_run_shows_nothing(kernel: Kernel) -> None:
    reply = kernel.run("import nblaunch\nrun = nblaunch.launch('print(1)', 1, quiet=True)").ok()
    assert (reply.stdout, reply.stderr) == ("", "")
    assert kernel.value("run.logs[0].stdout") == "1\n"


def test_launching_functions_from_a_notebook(kernel: Kernel) -> None:
    kernel.run("import nblaunch\nfactor = 3\nclass C:\n    pass\ndef work(x, c):\n    return factor * x + rank, c").ok()
    kernel.run("run = nblaunch.launch(work, 2, args=(5, C()))").ok()
    assert kernel.value("{r: (v[0], type(v[1]) is C) for r, v in run.results.items()}") == {
        0: (15, True),
        1: (16, True),
    }
    reply = kernel.run("nblaunch.launch(lambda: 1 / 0, 1, check=True)")
    assert (reply.ename, f"Cell In[{reply.count}], line 1" in reply.traceback) == ("RanksFailed", True)


def test_text_of_the_ranks_colours_included_comes_through(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\nprint('\\x1b[31mred\\x1b[0m <b>&amp;')").ok()
    assert reply.stdout == "[0] \x1b[31mred\x1b[0m <b>&amp;\n"
