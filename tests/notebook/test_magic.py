"""The grammar of ``%%multiproc``, what it binds, and what it says to a line that makes no sense."""

from __future__ import annotations

import os
import re
from pathlib import Path

import IPython
import pytest

from tests.kernel import Kernel, Reply

pytestmark = pytest.mark.kernel


def nothing_started(kernel: Kernel) -> bool:
    return not list((kernel.place / "tmp").glob("nblaunch_*")) and not kernel.value("'results' in globals()")


# ---- what is bound


def test_results_and_failures_are_bound_after_every_run(kernel: Kernel) -> None:
    kernel.run("%%multiproc 2\nrank * 10").ok()
    assert kernel.value("(results, failures)") == ({0: 0, 1: 10}, {})
    reply = kernel.run("%%multiproc 2 --on-failure continue\nif rank == 1:\n    1 / 0\nrank + 5")
    assert (reply.status, reply.ename) == ("error", "RanksFailed")
    assert kernel.value("(results, list(failures), failures[1].rank)") == ({0: 5}, [1], 1)
    kernel.run("%%multiproc 2\nrank").ok()
    assert kernel.value("(results, failures)") == ({0: 0, 1: 1}, {})


def test_earlier_results_are_not_touched_by_a_later_run(kernel: Kernel) -> None:
    kernel.run("%%multiproc 1\n'first'").ok()
    kernel.run("kept = results").ok()
    kernel.run("%%multiproc 1\nresults[0] + ' seen'").ok()
    assert kernel.value("(kept, results)") == ({0: "first"}, {0: "first seen"})
    assert kernel.value("type(results).__name__") == "dict"


def test_out_binds_the_run_and_nothing_else(kernel: Kernel) -> None:
    kernel.run("results = 'mine'").ok()
    kernel.run("%%multiproc 2 --out first\nprint('said', rank)\nrank").ok()
    assert kernel.value("(results, 'failures' in globals())") == ("mine", False)
    assert kernel.value("(first.results, first.failures, first.status, first.ok, first.nprocs)") == (
        {0: 0, 1: 1},
        {},
        "finished",
        True,
        2,
    )
    assert kernel.value("[first.logs[r].stdout for r in first.logs]") == ["said 0\n", "said 1\n"]
    assert kernel.value("first.root_cause is None and 0 < first.elapsed < 60")
    shown = kernel.run("first").ok()
    assert shown.value.startswith("<Run: 2 ranks finished, 0.")
    html = shown.outputs[0]["data"]["text/html"]
    assert "<th>rank</th>" in html
    kernel.run("%%multiproc 1 --out failed --no-raise\n'<b>' + undefined").ok()
    assert kernel.value("(failed.status, failed.ok, failed.root_cause is failed.failures[0])") == (
        "failed",
        False,
        True,
    )


def test_html_shows_what_ranks_return_as_text(kernel: Kernel) -> None:
    kernel.run("%%multiproc 1 --out run\n'<script>alert(1)</script>'").ok()
    html = kernel.run("run").ok().outputs[0]["data"]["text/html"]
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_collect_brings_variables_back(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 2 --out run --collect loss,model --collect rank\nloss = rank / 2\nmodel = {'w': [rank]}\n'value'"
    ).ok()
    assert kernel.value("run.collected") == {
        "loss": {0: 0.0, 1: 0.5},
        "model": {0: {"w": [0]}, 1: {"w": [1]}},
        "rank": {0: 0, 1: 1},
    }
    assert kernel.value("run.results") == {0: "value", 1: "value"}


def test_collecting_what_is_not_there(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 2 --collect loss\nif rank == 0:\n    loss = 1")
    assert (
        "NameError: there is no variable 'loss' to collect: the cell did not assign it, and --collect names it"
    ) in reply.traceback
    assert kernel.value("(results, sorted(failures), failures[1].collateral)") == ({0: None}, [1], False)


def test_collecting_or_returning_what_cannot_travel(kernel: Kernel) -> None:
    cell = "import threading\nlock = threading.Lock()"
    reply = kernel.run(f"%%multiproc 1 --collect lock\n{cell}")
    assert (
        "TypeError: the collected variable 'lock', a lock, cannot be sent back: TypeError: cannot pickle "
        "'_thread.lock' object. End the cell with something that can be pickled, such as numbers, arrays or a "
        "state_dict, or with a semicolon for no value"
    ) in reply.traceback
    reply = kernel.run(f"%%multiproc 1\n{cell}\n[lock]")
    assert "TypeError: the value of the last expression, a list, cannot be sent back: " in reply.traceback
    kernel.run(f"%%multiproc 1\n{cell}\n[lock];").ok()
    assert kernel.value("results") == {0: None}


def test_a_value_that_cannot_be_built_again_in_the_notebook(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 2 --no-raise\n"
        "class Odd:\n"
        "    def __reduce__(self): return int, ('not a number',)\n"
        "Odd() if rank else 'fine'"
    ).ok()
    assert kernel.value("(results, str(failures[1].message))") == (
        {0: "fine"},
        (
            "the value of rank 1 arrived but cannot be rebuilt in the notebook: ValueError: invalid literal for int() "
            "with base 10: 'not a number'"
        ),
    )


# ---- options


def test_timeout_ends_the_run(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 3 --timeout 0.8 --grace 0.1\nimport threading\nif rank:\n    threading.Event().wait()\n'done'"
    )
    assert reply.traceback.startswith(
        "RanksFailed: the run was ended by its timeout; 2 of 3 ranks had not finished; the result of rank 0 kept"
    )
    assert "\n\nranks 1-2 were still running\n\nWhere they were then:\n  rank" in reply.traceback
    assert kernel.value("failures[1].summary()") == ("RankTimeout: rank 1 was still running after the timeout of 0.8 s")
    assert kernel.value("(results, sorted(failures), type(failures[2].exception).__name__)") == (
        {0: "done"},
        [1, 2],
        "RankTimeout",
    )
    assert kernel.value("[f.collateral for f in failures.values()]") == [False, False]


def test_grace_is_the_time_between_two_signals(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 2 --no-raise --grace 60\n"
        "import signal, sys, threading\n"
        "if rank == 0:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('tidied up')))\n"
        "    open('ready', 'w').close()\n"
        "    threading.Event().wait()\n"
        "import os, time\n"
        "while not os.path.exists('ready'):\n"
        "    time.sleep(0.005)\n"
        "1 / 0"
    ).ok()
    (kernel.place / "work" / "ready").unlink()
    assert kernel.value("failures[0].stdout_tail if 0 in failures else 'a result'") in ("tidied up", "a result")
    assert kernel.value("failures[1].collateral") is False


@pytest.mark.parametrize("policy", ["stop", "continue"])
def test_on_failure(kernel: Kernel, policy: str) -> None:
    kernel.run(
        f"%%multiproc 2 --no-raise --grace 0.1 --on-failure {policy}\n"
        "import os, threading, time\n"
        "if rank == 0:\n"
        "    1 / 0\n"
        "world_size == 2\n"
        + ("threading.Event().wait()" if policy == "stop" else "while os.path.exists('/proc/' + str(0)): pass\n'on'")
    ).ok()
    found = kernel.value("(results, {r: f.collateral for r, f in failures.items()})")
    assert found == (({}, {0: False, 1: True}) if policy == "stop" else ({1: "on"}, {0: False}))


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_start_methods(kernel: Kernel, method: str) -> None:
    kernel.run("class C: pass\nc = C()").ok()
    reply = kernel.run(
        f"%%multiproc 2 --start-method {method}\nprint('hi')\n!echo there\n(rank, isinstance(c, C), c)"
    ).ok()
    assert kernel.value("{r: v[:2] + (type(v[2]) is C,) for r, v in results.items()}") == {
        r: (r, True, True) for r in (0, 1)
    }
    assert sorted(reply.stdout.splitlines()) == sorted(f"[{r}] {word}" for r in (0, 1) for word in ("hi", "there"))
    assert reply.stderr == ""


def test_log_dir_is_kept(kernel: Kernel) -> None:
    kernel.run("%%multiproc 2 --log-dir new/logs --out run\nprint('hello', rank)").ok()
    path = Path(kernel.value("run.logs[1].path"))
    assert path.is_relative_to(kernel.place / "work" / "new" / "logs")
    kernel.run("del run").ok()
    kernel.run("%%multiproc 1\n1").ok()
    assert (path / "stdout.log").read_text() == "hello 1\n"
    (kernel.place / "work" / "file").write_text("")
    reply = kernel.run("%%multiproc 1 --log-dir file\n1")
    assert reply.stderr == (
        "UsageError: %%multiproc: --log-dir 'file' is a file: name a folder, which may be a new one. "
        "Nothing was started.\n"
    )


def test_temporary_logs_live_as_long_as_anything_refers_to_them(kernel: Kernel) -> None:
    kernel.run("%%multiproc 1 --out run --no-raise\nprint('hello')\n1/0").ok()
    path = Path(kernel.value("run.logs.path"))
    kernel.run("failure = run.failures[0]; del run").ok()
    kernel.run("%%multiproc 1\n1").ok()
    assert (path / "0" / "stdout.log").exists()
    kernel.run(
        "del failure; import gc, threading; gc.collect()\n"
        "for thread in threading.enumerate():\n"
        "    if thread.name == 'nblaunch-logs': thread.join()"
    ).ok()
    assert not path.exists()


def test_no_raise_binds_and_goes_on(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 2 --no-raise\n1 / 0").ok()
    assert reply.ename == ""
    assert re.fullmatch(
        r"2 of 2 ranks failed, \d+\.\d s, root cause: rank \d, ZeroDivisionError: division by zero \(see failures\)\n",
        reply.stderr,
    )
    assert kernel.value("sorted(failures)") == [0, 1]


UNCONFIGURED = (
    "m = get_ipython().magics_manager.registry['Multiproc']\n"
    "for name in m.trait_names(config=True):\n"
    "    setattr(m, name, m.traits()[name].default())\n"
)


def test_configuration(kernel: Kernel) -> None:
    kernel.run(
        "%config Multiproc.nprocs = 3\n"
        "%config Multiproc.no_raise = True\n"
        "%config Multiproc.timeout = 4\n"
        "%config Multiproc.grace = 0.1\n"
        "%config Multiproc.threads = 2\n"
        "%config Multiproc.on_failure = 'continue'\n"
        "%config Multiproc.start_method = 'spawn'\n"
        "%config Multiproc.log_dir = 'configured'\n"
        "%config Multiproc.max_log = '100K'"
    ).ok()
    try:
        kernel.run(
            "%%multiproc --out run\nimport os, threading\nif rank == 1: threading.Event().wait()\n"
            "(world_size, os.environ['OMP_NUM_THREADS'])"
        ).ok()
        assert kernel.value("(run.results, run.status)") == ({0: (3, "2"), 2: (3, "2")}, "timed out")
        assert (kernel.place / "work" / "configured").is_dir()
        kernel.run("%%multiproc 1 --out run --threads 1\nimport os\n(world_size, os.environ['OMP_NUM_THREADS'])").ok()
        assert kernel.value("run.results") == {0: (1, "1")}
        flood = "print('x' * 300_000)\nlen(str(rank))"
        kernel.run(f"%%multiproc 1 --out run\n{flood}").ok()
        assert 100_000 < kernel.value("len(run.logs[0].stdout)") < 110_000
        kernel.run(f"%%multiproc 1 --out run --max-log 0\n{flood}").ok()
        assert kernel.value("len(run.logs[0].stdout)") == 300_001
        kernel.run("%config Multiproc.max_log = 'much'").ok()
        assert kernel.run("%%multiproc 1\n1").stderr == (
            "UsageError: %%multiproc: --max-log is a size such as 500M or 2G, or 0 for no limit, not 'much'. "
            "Nothing was started.\n"
        )
        assert kernel.run("%%multiproc 1 --max-log 1Q\n1").stderr == (
            "UsageError: %%multiproc: --max-log: it takes a size such as 500M or 2G, or 0, not '1Q'. "
            "Nothing was started.\n"
        )
        reply = kernel.run("%config Multiproc.on_failure = 'never'")
        assert "The 'on_failure' trait of a Multiproc instance expected any of ['stop', 'continue']" in reply.stderr
        listing = kernel.run("%config Multiproc").ok().stdout
        for name in ("nprocs", "timeout", "grace", "on_failure", "start_method", "log_dir", "max_log", "threads"):
            assert f"Multiproc.{name}=" in listing
    finally:
        kernel.quietly(UNCONFIGURED)


def test_the_line_takes_back_what_is_configured(kernel: Kernel) -> None:
    kernel.run(
        "%config Multiproc.timeout = 0.001\n"
        "%config Multiproc.quiet = True\n"
        "%config Multiproc.panel = 'none'\n"
        "%config Multiproc.show_values = False\n"
        "%config Multiproc.no_raise = True"
    ).ok()
    try:
        reply = kernel.run("%%multiproc 2 --out run\nimport threading\nthreading.Event().wait()").ok()
        assert kernel.value("run.status") == "timed out"
        assert reply.outputs == []
        cell = "print('written')\n1 / 0 if rank else 'shown'"
        line = "2 --timeout none --no-quiet --panel text --show --raise"
        reply = kernel.run(f"%%multiproc {line}\n{cell}")
        assert "ZeroDivisionError" in reply.traceback
        assert "[0] written" in reply.stdout
        (shown,) = kernel.run(f"%%multiproc {line}\nprint('written')\n'shown'").ok().outputs
        assert shown["data"]["text/plain"] == "ranks 0-1: 'shown'"
    finally:
        kernel.quietly(UNCONFIGURED)


def test_one_rank_per_core_without_a_number(kernel: Kernel) -> None:
    kernel.run("%%multiproc\nworld_size").ok()
    assert kernel.value("len(results)") == len(os.sched_getaffinity(0))


def test_documentation(kernel: Kernel) -> None:
    shown = kernel.run("%%multiproc?").ok().pages
    for text in ("[--out NAME]", "--collect NAMES", "--no-raise", "Number of ranks (default: one per core)"):
        assert text in shown
    assert "Run this cell on several new processes, the ranks." in shown


def test_loading_twice_and_unloading() -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        assert "already loaded" in kernel.run("%load_ext nblaunch").ok().stdout
        kernel.run("%reload_ext nblaunch").ok()
        kernel.run("%%multiproc 1\n1").ok()
        assert kernel.run("%config").ok().stdout.count("Multiproc") == 1
        kernel.run("%unload_ext nblaunch").ok()
        assert "Cell magic `%%multiproc` not found" in kernel.run("%%multiproc 1\n1").stderr


def test_importing_it_is_light() -> None:
    with Kernel() as kernel:
        kernel.run("import sys; before = set(sys.modules)\n%load_ext nblaunch").ok()
        loaded = kernel.value("sorted({name.partition('.')[0] for name in set(sys.modules) - before})")
        assert not {"torch", "numpy", "ipywidgets", "anywidget", "pandas"} & set(loaded)
        kernel.run("%%multiproc 1\n1").ok()
        assert not kernel.value("{'torch', 'numpy', 'ipywidgets', 'anywidget'} & set(sys.modules)")


# ---- lines that make no sense


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0", "the number of ranks: it takes a whole number of at least 1, not '0'."),
        ("-1", "the number of ranks: it takes a whole number of at least 1, not '-1'."),
        ("four", "the number of ranks: it takes a whole number of at least 1, not 'four'."),
        ("2.5", "the number of ranks: it takes a whole number of at least 1, not '2.5'."),
        (
            "4 5",
            (
                "it takes one number of ranks, so '5' is too much; several names go without a space, "
                "as in --collect loss,accuracy."
            ),
        ),
        ("4 --tiemout 3", "there is no option --tiemout, did you mean --timeout?"),
        ("4 --frobnicate", "there is no option --frobnicate; %%multiproc? shows those that there are."),
        ("4 --timeout", "--timeout: expected one argument."),
        ("4 --timeout soon", "--timeout: it takes a number of seconds, not 'soon'."),
        ("4 --timeout 0", "--timeout: it takes seconds above 0, not '0'."),
        ("4 --timeout -3", "--timeout: it takes seconds above 0, not '-3'."),
        ("4 --timeout nan", "--timeout: it takes a number of seconds, not 'nan'."),
        ("4 --grace -1", "--grace: it takes seconds, 0 or more, not '-1'."),
        ("4 --threads 0", "--threads: it takes a whole number of at least 1, not '0'."),
        ("4 --seed x", "--seed: it takes a whole number, not 'x'."),
        ("4 --env A", "--env: it takes NAME=VALUE, not 'A'."),
        ("4 --env =x", "--env: it takes NAME=VALUE, not '=x'."),
        ("4 --out 3x", "--out: '3x' cannot be the name of a variable."),
        ("4 --out class", "--out: 'class' cannot be the name of a variable."),
        ("4 --collect a-b", "--collect: 'a-b' cannot be the name of a variable."),
        ("4 --collect ,", "--collect: it takes names of variables, separated by commas."),
        (
            "4 --on-failure panic",
            "--on-failure: invalid choice: 'panic' (choose from 'stop', 'continue').",
        ),
        (
            "4 --start-method magic",
            "--start-method: invalid choice: 'magic' (choose from 'zygote', 'forkserver', 'spawn', 'fork').",
        ),
    ],
)
def test_a_bad_line_gets_one_sentence_and_starts_nothing(kernel: Kernel, line: str, sentence: str) -> None:
    reply = kernel.run(f"%%multiproc {line}\nopen('started', 'w')")
    assert reply.status == "error"
    assert reply.stderr.replace("choose from stop, continue", "choose from 'stop', 'continue'").replace(
        "choose from zygote, forkserver, spawn, fork", "choose from 'zygote', 'forkserver', 'spawn', 'fork'"
    ) == (f"UsageError: %%multiproc: {sentence} Nothing was started.\n")
    assert (reply.stdout, reply.traceback.count("\n")) == ("", 0)
    assert nothing_started(kernel)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("N", "the number of ranks: it takes a whole number of at least 1, not 'N'; to take the value of N write {N}."),
        (
            "N+M",
            (
                "the number of ranks: it takes a whole number of at least 1, not 'N+M'; to take the value of N+M write "
                "{N+M}."
            ),
        ),
        ("2 --timeout N", "--timeout: it takes a number of seconds, not 'N'; to take the value of N write {N}."),
        (
            "{N+M}",
            (
                "the number of ranks: it takes a whole number of at least 1, not '{N+M}'; it is replaced by a value "
                "only where that can be evaluated, so see whether its variables are defined."
            ),
        ),
    ],
)
def test_a_variable_in_the_line_is_told_how_it_is_written(kernel: Kernel, line: str, sentence: str) -> None:
    kernel.run("N = 2").ok()
    reply = kernel.run(f"%%multiproc {line}\nopen('started', 'w')")
    assert reply.stderr == f"UsageError: %%multiproc: {sentence} Nothing was started.\n"
    assert nothing_started(kernel)
    kernel.run("%%multiproc {N} --timeout {N * 10}\nworld_size").ok()
    assert kernel.value("results") == {0: 2, 1: 2}


@pytest.mark.parametrize("cell", ["\n\n", "   \n"])
def test_an_empty_cell_starts_nothing(kernel: Kernel, cell: str) -> None:
    reply = kernel.run(f"%%multiproc 2\n{cell}")
    assert reply.stderr == (
        "UsageError: %%multiproc: the cell is empty, so there is nothing to run on the ranks. Nothing was started.\n"
    )
    assert nothing_started(kernel)
    # IPython itself refuses a magic without any line below it
    assert kernel.run("%%multiproc 2").stderr.startswith(
        "UsageError: %%multiproc is a cell magic, but the cell body is"
    )


def test_quotes_hold_values_together(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 1 --env 'A=b c' --env \"D=e f\" --log-dir 'my logs'\nimport os\nos.environ['A'], os.environ['D']"
    ).ok()
    assert kernel.value("results") == {0: ("b c", "e f")}
    assert (kernel.place / "work" / "my logs").is_dir()


def test_quotes_that_do_not_match(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 2 --env 'A=b\n1")
    assert (
        reply.stderr
        == "UsageError: %%multiproc: the line has a quotation mark without its partner. Nothing was started.\n"
    )


@pytest.mark.skipif(IPython.version_info[0] < 8, reason="IPython 7 names the files of cells")
@pytest.mark.parametrize("source", ["x = (1\ny = 2", "def f(:\n  pass", "if True:\nx = 1", "x = 'abc", "return 5"])
def test_a_syntax_error_looks_as_in_any_cell(kernel: Kernel, source: str) -> None:
    plain = kernel.run(f"# %%multiproc 2\n{source}")
    reply = kernel.run(f"%%multiproc 2\n{source}")

    def shown(reply: Reply) -> str:
        return reply.traceback.replace(f"In[{reply.count}]", "In[N]")

    assert shown(reply) == shown(plain)
    assert reply.ename == plain.ename
    assert nothing_started(kernel)


def test_comments_alone_run(kernel: Kernel) -> None:
    kernel.run("%%multiproc 1\n# nothing but a comment").ok()
    assert kernel.value("results") == {0: None}


def test_system_refuses_processes(kernel: Kernel) -> None:
    kernel.run("import resource\nlimits = resource.getrlimit(resource.RLIMIT_NOFILE)").ok()
    used = kernel.value("len(__import__('os').listdir('/proc/self/fd'))")
    kernel.run(f"resource.setrlimit(resource.RLIMIT_NOFILE, ({used} + 12, limits[1]))").ok()
    reply = kernel.run("%%multiproc 40\nrank")
    kernel.quietly("resource.setrlimit(resource.RLIMIT_NOFILE, limits)")
    assert (reply.status, reply.ename) == ("error", "OSError")
    assert "Too many open files" in reply.traceback
    kernel.run("%%multiproc 1\nrank").ok()


def test_the_logs_of_runs_that_have_ended_are_removed(kernel: Kernel) -> None:
    logs = kernel.place / "tmp"
    kernel.run("%%multiproc 2 --out run\nprint('x' * 10_000)").ok()
    # in this kernel nobody can be asked: a rank that asks would have failed in a moment
    sleeps = "import threading; threading.Event().wait()"
    kernel.run(f"import nblaunch\nwaits = nblaunch.launch({sleeps!r}, 1, wait=False, panel='none')").ok()
    said = kernel.run("%multiproc clear logs").ok().stdout
    assert re.fullmatch(r"Removed the logs of 1 run, \d\d kB\.\n", said)
    assert kernel.value("(run.results, __import__('os').path.exists(waits.logs.root))") == ({0: None, 1: None}, True)
    kernel.run("waits.kill(); waits.wait()").ok()
    assert kernel.run("%multiproc clear logs").ok().stdout.startswith("Removed the logs of 1 run, ")
    assert not list(logs.glob("nblaunch_*"))
    assert kernel.run("%multiproc clear logs").ok().stdout == (
        "No run that has ended has logs in the temporary folder. Those in a log_dir are yours to remove.\n"
    )
    kernel.run("%%multiproc 1\nprint('again')").ok()
    reply = kernel.run("%multiproc clear")
    assert "write %multiproc clear logs, which removes the logs of runs that have ended." in reply.evalue
