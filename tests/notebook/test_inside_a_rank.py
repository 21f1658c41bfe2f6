"""What a cell finds in a rank: IPython's shell, the notebook's surroundings, torchrun's variables, random numbers."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel


def test_shell_commands_and_line_magics(kernel: Kernel) -> None:
    kernel.run("word = 'hello'").ok()
    reply = kernel.run(
        "%%multiproc 1\n"
        "!echo $word from the shell\n"
        "!echo to stderr >&2\n"
        "lines = !printf 'a\\nb\\n'\n"
        "%time total = sum(range(10))\n"
        "%timeit -n1 -r1 pass\n"
        "here = %pwd\n"
        "%env MY_OWN=7\n"
        "import os\n"
        "(list(lines), total, here == os.getcwd(), os.environ['MY_OWN'], _exit_code)"
    ).ok()
    assert kernel.value("results") == {0: (["a", "b"], 45, True, "7", 0)}
    assert "[0] hello from the shell\n" in reply.stdout
    assert "[0] CPU times: " in reply.stdout
    assert "1 run, 1 loop each)" in reply.stdout
    # the first ranks of a kernel may have had to wait for imports, which a line says
    assert [line for line in reply.stderr.splitlines() if not line.startswith("getting ready")] == ["[0] to stderr"]
    assert kernel.value("'MY_OWN' in __import__('os').environ") is False


def test_cell_magics_inside(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\n%%time\nx = 5\nx + rank").ok()
    assert "[0] CPU times: " in reply.stdout
    assert kernel.value("results") == {0: 5}
    reply = kernel.run("%%multiproc 1\n%%bash\necho from bash $RANK").ok()
    assert reply.stdout == "[0] from bash 0\n"
    kernel.run("%%multiproc 1\n%%capture kept\nprint('quiet')").ok()
    kernel.run("limit = 4").ok()
    reply = kernel.run("%%multiproc 1\n%%timeit -n1 -r1\nlimit + rank").ok()
    assert "1 run, 1 loop each)" in reply.stdout


def test_changing_the_directory_stays_in_the_rank(kernel: Kernel) -> None:
    before = kernel.value("__import__('os').getcwd()")
    kernel.run("%%multiproc 1\n%cd -q /\nimport os\nos.getcwd()").ok()
    assert kernel.value("results") == {0: "/"}
    assert kernel.value("__import__('os').getcwd()") == before


def test_question_marks_print_help(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\nlen?").ok()
    assert "Return the number of items in a container." in reply.stdout


def test_top_level_await(kernel: Kernel) -> None:
    kernel.run("async def later(x):\n    import asyncio\n    await asyncio.sleep(0)\n    return x + 1").ok()
    kernel.run("%%multiproc 2\nimport asyncio\nx = await later(rank)\nawait asyncio.gather(later(x), later(x))").ok()
    assert kernel.value("results") == {0: [2, 2], 1: [3, 3]}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1 + 1", 2),
        ("1 + 1;", None),
        ("x = 3", None),
        ("3\nif True:\n    4", None),
        ("'text' # comment", "text"),
        ("None", None),
        ("print(end='')", None),
        ("import sys; sys.exit()", None),
        ("5\nraise SystemExit(0)", None),
        ("exit()", None),
        ("quit()", None),
        ("_ = 3\n_ + 1", 4),
    ],
)
def test_the_value_of_a_cell(kernel: Kernel, cell: str, value: object) -> None:
    reply = kernel.run(f"%%multiproc 1\n{cell}").ok()
    assert kernel.value("(results, failures)") == ({0: value}, {})
    assert (reply.stdout, reply.stderr) == ("", "")


@pytest.mark.parametrize(
    ("argument", "code", "tail"), [("3", 3, ""), ("'leaving'", 1, ""), ("256 + 4", 4, ""), ("True", 1, "")]
)
def test_leaving_with_a_code_is_a_failure(kernel: Kernel, argument: str, code: int, tail: str) -> None:
    kernel.run(f"%%multiproc 1 --no-raise\nimport sys\nsys.exit({argument})").ok()
    assert kernel.value("(results, failures[0].exitcode, type(failures[0].exception).__name__)") == (
        {},
        code,
        "SystemExit",
    )
    assert kernel.value(f"failures[0].exception.code == ({argument})")


def test_ranks_know_who_they_are_and_hide_notebook_variables_with_one_notice(kernel: Kernel) -> None:
    kernel.run("rank = 'mine'; world_size = 99").ok()
    first = kernel.run("%%multiproc 3\nrank, local_rank, world_size").ok()
    assert kernel.value("results") == {r: (r, r, 3) for r in range(3)}
    assert first.stdout == (
        "In the ranks, 'rank' and 'world_size' are the rank's own and hide the notebook variables of that name.\n"
    )
    second = kernel.run("%%multiproc 1\nrank").ok()
    assert second.stdout == ""
    assert kernel.value("(rank, world_size)") == ("mine", 99)
    kernel.run("local_rank = 5").ok()
    third = kernel.run("%%multiproc 1\nrank").ok()
    assert third.stdout == (
        "In the ranks, 'local_rank' is the rank's own and hides the notebook variable of that name.\n"
    )


def test_functions_of_the_notebook_see_the_rank_too(kernel: Kernel) -> None:
    kernel.run("rank = 'mine'\ndef who(): return rank, world_size").ok()
    kernel.run("%%multiproc 2\nwho()").ok()
    assert kernel.value("results") == {0: (0, 2), 1: (1, 2)}


def test_surroundings_are_those_of_the_notebook_now(kernel: Kernel) -> None:
    kernel.run(
        "import os, sys\n"
        "os.makedirs('elsewhere/modules')\n"
        "open('elsewhere/modules/my_own_module.py', 'w').write('def f(): return 42\\n')\n"
        "old_path = list(sys.path)\n"
        "sys.path.insert(0, os.path.abspath('elsewhere/modules'))\n"
        "import my_own_module\n"
        "os.chdir('elsewhere')\n"
        "os.environ['NB_NEW'] = 'ü'\n"
        "gone = os.environ.pop('JUPYTER_DATA_DIR')\n"
    ).ok()
    for method in ("zygote", "forkserver", "spawn", "fork"):
        kernel.run(
            f"%%multiproc 1 --start-method {method} --env A=1 --env B=x=y --env EMPTY=\n"
            "def path(): return sys.path\n"
            "get = os.environ.get\n"
            "(my_own_module.f(), os.getcwd(), get('NB_NEW'), get('JUPYTER_DATA_DIR'), get('A'), get('B'),\n"
            " get('EMPTY'), sys.path[0])"
        ).ok()
        place = str(kernel.place / "work" / "elsewhere")
        assert kernel.value("results") == {0: (42, place, "ü", None, "1", "x=y", "", f"{place}/modules")}, method
    assert kernel.value("'A' in os.environ") is False
    kernel.run(
        "sys.path[:] = old_path; os.environ['JUPYTER_DATA_DIR'] = gone; del os.environ['NB_NEW']\n"
        "sys.modules.pop('my_own_module')"
    ).ok()


def test_the_working_directory_is_gone(kernel: Kernel) -> None:
    kernel.run("import os\nos.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')").ok()
    reply = kernel.run("%%multiproc 1\n1")
    assert reply.status == "error"
    assert "the notebook's working directory was removed: os.chdir() to one that exists" in (
        reply.stderr + reply.traceback
    )


def test_variables_of_torchrun(kernel: Kernel) -> None:
    kernel.run("%%multiproc 2\nimport os\ndict(os.environ)").ok()
    found: dict[int, dict[str, str]] = kernel.value("results")
    for rank in (0, 1):
        environment = found[rank]
        expected = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "GROUP_RANK": "0",
            "GROUP_WORLD_SIZE": "1",
            "ROLE_NAME": "default",
            "ROLE_RANK": str(rank),
            "ROLE_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
            "TORCHELASTIC_USE_AGENT_STORE": "False",
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // 2)),
        }
        assert {name: environment.get(name) for name in expected} == expected
        assert environment["TORCHELASTIC_ERROR_FILE"].endswith(f"/{rank}/error.json")
    assert found[0]["MASTER_PORT"] == found[1]["MASTER_PORT"]
    assert found[0]["TORCHELASTIC_RUN_ID"] == found[1]["TORCHELASTIC_RUN_ID"] != ""


SERVER = """
import os, socket
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])))
server.listen()
print("listening", flush=True)
connection, _ = server.accept()
connection.recv(1).decode(), os.environ["MASTER_PORT"]
"""


def test_two_runs_at_once_have_ports_of_their_own(kernel: Kernel) -> None:
    kernel.run(f"import nblaunch, socket\nsource = '''{SERVER}'''").ok()
    execution = kernel.begin(
        "runs = [nblaunch.launch(source, 1, wait=False) for _ in range(2)]\n"
        "import time\n"
        "for run in runs:\n"
        "    while 'listening' not in run.logs[0].stdout:\n"
        "        time.sleep(0.005)\n"
    )
    execution.finish().ok()
    kernel.run(
        "ports = []\n"
        "for run in runs:\n"
        "    with open(f'/proc/{run.pids[0]}/environ') as file:\n"
        "        pass\n"
        "import psutil\n"
        "for run in runs:\n"
        "    process = psutil.Process(run.pids[0])\n"
        "    look = 'net_connections' if hasattr(process, 'net_connections') else 'connections'  # psutil 5\n"
        "    port, = [c.laddr.port for c in getattr(process, look)() if c.status == 'LISTEN']\n"
        "    ports.append(str(port))\n"
        "    with socket.create_connection(('127.0.0.1', port)) as client: client.sendall(b'x')\n"
        "    run.wait()\n"
    ).ok()
    assert kernel.value("[run.results[0] for run in runs] == [('x', port) for port in ports]")
    assert kernel.value("len(set(ports))") == 2


RANDOM = """
import random, numpy.random, sys
def draw():
    import numpy
    state = [random.random(), numpy.random.rand()]
    return state + [random.getrandbits(64)]
"""


def test_each_rank_draws_numbers_of_its_own(kernel: Kernel) -> None:
    kernel.run(RANDOM).ok()
    seen: list[Any] = []
    for line in ("%%multiproc 2", "%%multiproc 2 --start-method fork"):
        kernel.run(f"{line}\ndraw()").ok()
        results: dict[int, list[Any]] = kernel.value("results")
        seen += results.values()
    for column in zip(*seen, strict=True):
        assert len(set(column)) == len(seen)


def test_a_seed_makes_the_numbers_reproducible(kernel: Kernel) -> None:
    kernel.run(RANDOM).ok()
    drawn = []
    for line in ("--seed 7", "--seed 7", "--seed 7 --start-method fork", "--seed 8"):
        kernel.run(f"%%multiproc 2 {line}\nimport numpy\ndraw()").ok()
        drawn.append(kernel.value("results"))
    assert drawn[0] == drawn[1] == drawn[2]
    assert drawn[0][0] != drawn[0][1]
    assert drawn[3][0] not in drawn[0].values()


@pytest.mark.parametrize("method", ["zygote", "spawn", "fork"])
def test_sympy_draws_numbers_of_each_ranks_own(kernel: Kernel, method: str) -> None:
    kernel.run("import sympy, sympy.core.random").ok()
    drawn: list[tuple[float, int]] = []
    for line in ("", "--seed 1", "--seed 1", "--seed 2"):
        cell = "sympy.core.random.random(), sympy.Dummy('x').dummy_index"
        kernel.run(f"%%multiproc 2 {line} --start-method {method}\n{cell}").ok()
        results: dict[int, tuple[float, int]] = kernel.value("results")
        drawn += results.values()
    assert drawn[2:4] == drawn[4:6]
    assert len(set(drawn)) == 6


def test_numpy_that_the_cell_imports_is_seeded_too(kernel: Kernel) -> None:
    cell = "import sys\nearly = 'numpy' in sys.modules\nimport numpy as np\n(early, np.random.rand(), np.__version__)"
    drawn = []
    for _ in range(2):
        kernel.run(f"%%multiproc 2 --seed 3 --no-capture --start-method forkserver\n{cell}").ok()
        drawn.append(kernel.value("results"))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]
    assert drawn[0][0][0] is False


@pytest.mark.torch
def test_torch_draws_its_own_numbers_and_obeys_seed_and_threads(kernel: Kernel) -> None:
    cell = "import torch\n(torch.rand(2).tolist(), torch.get_num_threads())"
    drawn = []
    for line in ("", "--seed 1 --threads 2", "--seed 1 --threads 2"):
        kernel.run(f"%%multiproc 2 {line} --no-capture\n{cell}").ok()
        drawn.append(kernel.value("results"))
    assert drawn[0][0][0] != drawn[0][1][0]
    assert drawn[1] == drawn[2]
    assert drawn[1][0][0] != drawn[1][1][0]
    assert drawn[0][0][1] == max(1, len(os.sched_getaffinity(0)) // 2)
    assert drawn[1][0][1] == 2


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_libraries_keep_to_their_threads(kernel: Kernel, method: str) -> None:
    kernel.run("import numpy as np\nm = np.ones((4, 4))").ok()
    for line, expected in (("--threads 3", 3), ("", max(1, len(os.sched_getaffinity(0)) // 2))):
        kernel.run(
            f"%%multiproc 2 {line} --start-method {method}\n"
            "import threadpoolctl, os\n"
            "m @ m\n"
            # of NumPy, and of SciPy where the zygote has it by now
            "({pool['num_threads'] for pool in threadpoolctl.threadpool_info()}, os.environ['OMP_NUM_THREADS'])"
        ).ok()
        assert kernel.value("results") == {r: ({expected}, str(expected)) for r in (0, 1)}


def test_ranks_may_have_processes_of_their_own(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 2\n"
        "import subprocess, sys, os, multiprocessing, warnings\n"
        "said = subprocess.run([sys.executable, '-c', 'print(6*7)'], capture_output=True, text=True).stdout\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os._exit(5)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "def square(x): return x * x\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    squares = pool.map(square, range(3))\n"
        "(said, code, squares, multiprocessing.current_process().name)"
    ).ok()
    assert kernel.value("results") == {r: ("42\n", 5, [0, 1, 4], "MainProcess") for r in (0, 1)}


def test_matplotlib_draws_in_a_rank(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 1\n"
        "import matplotlib.pyplot as plt\n"
        "_ = plt.plot([1, 2])\n"
        "plt.savefig('figure.png')\n"
        "len(plt.gca().lines)"
    ).ok()
    assert kernel.value("results") == {0: 1}
    assert (kernel.place / "work" / "figure.png").stat().st_size > 1000


def test_threads_and_exit_functions_of_a_rank_come_to_their_end(kernel: Kernel) -> None:
    for method in ("zygote", "forkserver", "spawn"):
        reply = kernel.run(
            f"%%multiproc 1 --start-method {method}\n"
            "import atexit, threading\n"
            "_ = atexit.register(print, 'at exit')\n"
            "go = threading.Event()\n"
            "def late():\n"
            "    go.wait()\n"
            "    print('thread')\n"
            "threading.Thread(target=late).start()\n"
            "threading.main_thread\n"
            "threading.Timer(0.05, go.set).start()\n"
            "rank"
        ).ok()
        assert kernel.value("results") == {0: 0}
        assert reply.stdout == "[0] thread\n[0] at exit\n"


def test_future_imports_of_the_notebook_hold(kernel: Kernel) -> None:
    with Kernel() as other:
        other.run("%load_ext nblaunch\nfrom __future__ import annotations").ok()
        other.run("%%multiproc 1\ndef f(x: nowhere): return 1\nf.__annotations__").ok()
        assert other.value("results") == {0: {"x": "nowhere"}}
