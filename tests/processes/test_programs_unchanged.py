"""Programs written for torch elastic's multiprocessing do the same when nothing but their import is changed.

Each program is run twice, and what it prints is compared; what two runs of one program differ in (process ids, times,
directories) is put out of the way first.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("torch.distributed.elastic.multiprocessing")

TORCH = "torch.distributed.elastic.multiprocessing"
OURS = "nblaunch.processes"

TRAINER = """
import os, sys
from PREFIX import DefaultLogsSpecs, MultiprocessContext, RunProcsResult, Std, start_processes
from PREFIX.errors import ChildFailedError, record

def trainer(lr, steps):
    weight = 1.0
    for step in range(steps):
        weight -= lr * weight
        print(f"step {step}: {weight:.4f}")
    print(f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} done", file=sys.stderr)
    return {"rank": int(os.environ["RANK"]), "weight": round(weight, 4)}

@record
def main():
    nprocs = 2
    specs = DefaultLogsSpecs(log_dir=sys.argv[1], redirects=Std.ALL, tee={0: Std.OUT})
    context = start_processes(
        name="trainer",
        entrypoint=trainer,
        args={rank: (0.1 * (rank + 1), 3) for rank in range(nprocs)},
        envs={rank: {"RANK": str(rank), "WORLD_SIZE": str(nprocs)} for rank in range(nprocs)},
        logs_specs=specs,
        start_method="METHOD",
    )
    assert isinstance(context, MultiprocessContext)
    result = None
    while result is None:
        result = context.wait(timeout=1, period=0.1)
    # not earlier: what is teed could come between the text and the end of a printed line
    print(sorted(context.pids()), context.nprocs)
    if result.is_failed():
        raise ChildFailedError("trainer", result.failures)
    print(sorted(result.return_values.items()))
    for rank in range(nprocs):
        print(open(result.stdouts[rank]).read(), open(result.stderrs[rank]).read())
        print(os.path.relpath(result.stdouts[rank], sys.argv[1]), os.path.exists(context.error_files[rank]))

if __name__ == "__main__":
    main()
"""

FAILING = """
import json, logging, os, sys, time
from PREFIX import DefaultLogsSpecs, Std, start_processes
from PREFIX.errors import ChildFailedError, get_error_handler, record
logging.disable(logging.CRITICAL)  # what is logged is each package's own

def trainer(rank):
    if rank == 1:
        raise ValueError(f"rank {rank} fails")
    time.sleep(1000)

@record
def main():
    specs = DefaultLogsSpecs(log_dir=sys.argv[1], redirects=Std.ALL)
    context = start_processes("trainer", trainer, {0: (0,), 1: (1,)}, {0: {}, 1: {}}, specs, start_method="METHOD")
    result = context.wait(period=0.05)
    assert result.is_failed() and not result.return_values
    error = ChildFailedError("trainer", result.failures)
    rank, failure = error.get_first_failure()
    print(rank, failure.local_rank, failure.exitcode, failure.signal_name(), failure.message["message"])
    print(failure.error_file_data["message"]["message"], sorted(failure.error_file_data["message"]["extraInfo"]))
    print(failure.error_file == context.error_files[1], failure.timestamp == int(os.stat(failure.error_file).st_mtime))
    report = error.format_msg()
    # of the stack only the end: what is between the process and the function is each package's own
    print([line for line in report.splitlines() if not line.startswith("  ") or line.startswith("  ValueError")])
    print([line[:14] for line in report.splitlines() if line[2:3].islower()])
    raise error

if __name__ == "__main__":
    os.environ["TORCHELASTIC_ERROR_FILE"] = own = os.path.join(sys.argv[1], "own.json")
    try:
        main()
    except ChildFailedError:
        data = json.load(open(own))
        print(data["message"]["message"], data["message"]["errorCode"])
"""

BINARY = """
import os, sys
import PREFIX as mp
from PREFIX.api import SubprocessContext

specs = mp.DefaultLogsSpecs(log_dir=sys.argv[1], redirects={0: mp.Std.OUT}, tee=mp.Std.from_str("3"))
context = mp.start_processes(
    "echo", "/bin/echo", {0: ("hello", 1), 1: ([1, 2],)}, {0: {"A": "a"}, 1: {}}, specs,
    log_line_prefixes={0: "[zero] ", 1: "[one] "},
    duplicate_stdout_filters=["hello"],
)
assert isinstance(context, SubprocessContext)
result = context.wait(period=0.05)
print(result.is_failed(), result.return_values, result.failures)
print([open(path).read() for path in result.stdouts.values()], [open(path).read() for path in result.stderrs.values()])
attempt = os.path.dirname(os.path.dirname(result.stdouts[0]))
print(sorted(os.listdir(attempt)), open(os.path.join(attempt, "filtered_stdout.log")).read())
failing = mp.start_processes("sh", "sh", {0: ("-c", "exit 3")}, {0: {}}, mp.DefaultLogsSpecs(log_dir=sys.argv[1]))
failures = failing.wait(period=0.05).failures
print({rank: (failure.exitcode, failure.error_file, failure.signal_name()) for rank, failure in failures.items()})
killed = mp.start_processes("sh", "sh", {0: ("-c", "kill -9 $$")}, {0: {}}, mp.DefaultLogsSpecs(log_dir=sys.argv[1]))
print({rank: (failure.message, failure.signal_name()) for rank, failure in killed.wait(period=0.05).failures.items()})
closed = mp.start_processes("sleep", "sleep", {0: (1000,)}, {0: {}}, mp.DefaultLogsSpecs(log_dir=sys.argv[1]))
print(closed.wait(timeout=0), closed.wait(timeout=0.01, period=0.001))
closed.close()
print({rank: failure.exitcode for rank, failure in closed.wait(0).failures.items()})
"""

PIECES = """
import io, os, sys, threading
from PREFIX.api import (
    DefaultLogsSpecs, LogsDest, LogsSpecs, MultiprocessContext, PContext, RunProcsResult, SignalException, Std,
    SubprocessContext, _validate_full_rank, _wrap, get_std_cm, to_map,
)
from PREFIX.errors import ChildFailedError, ErrorHandler, ProcessFailure, get_error_handler, record
from PREFIX.errors.error_handler import ErrorHandler as SameHandler
from PREFIX.errors.handlers import get_error_handler as same_function
from PREFIX.redirects import redirect, redirect_stderr, redirect_stdout
from PREFIX.tail_log import TailLog, tail_logfile

where = os.path.join(sys.argv[1], "file")
print(ErrorHandler is SameHandler, isinstance(same_function(), ErrorHandler))
with redirect_stdout(where):
    print("one")
    os.system("echo two")
print(open(where).read())
with redirect_stderr(where):
    print("three", file=sys.stderr)
print(open(where).read())
with redirect("stdout", where):
    print("four")
tail = TailLog("tail", {0: where}, sys.stdout, interval_sec=0.01)
tail.start()
tail.stop()
print(tail.stopped())
finished, out = threading.Event(), io.StringIO()
finished.set()
tail_logfile("header:", where, out, finished, 0.01, lambda line: True)
print(repr(out.getvalue()))
print(Std.from_str("1"), Std.from_str("0:3,1:2"), to_map({0: Std.OUT}, 2), to_map(Std.ALL, 2))
print(Std.OUT | Std.ERR == Std.ALL, repr(LogsDest()), SignalException("x", 15).sigval)
for what in ({0: 1}, {0: 1, 2: 1}):
    try:
        _validate_full_rank(what, 2, "what")
    except RuntimeError as error:
        print(str(error).split(";")[0])
with get_std_cm(where, redirect_stdout), get_std_cm("", redirect_stderr):
    print("five")
print(open(where).read())

class Queue(list):
    put = list.append

queue, event = Queue(), threading.Event()
event.set()
_wrap(1, max, {1: (3, 4)}, {1: {"WRAPPED": "yes"}}, {1: ""}, {1: ""}, {1: queue}, event, None)
print(queue, os.environ["WRAPPED"])

class Own(ErrorHandler):
    def initialize(self):
        print("initialize")

    def record_exception(self, e):
        print("recorded", repr(e))

@(lambda function: record(function, Own()))
def fails():
    raise KeyError("own")

try:
    fails()
except KeyError as error:
    print(error)
result = RunProcsResult(return_values={0: 1})
print(result.is_failed(), RunProcsResult(failures={0: None}).is_failed(), issubclass(SubprocessContext, PContext))
print(issubclass(DefaultLogsSpecs, LogsSpecs), DefaultLogsSpecs(log_dir=sys.argv[1]) == DefaultLogsSpecs(sys.argv[1]))
failure = ProcessFailure(local_rank=3, pid=99, exitcode=-15, error_file="nowhere")
print(failure.message, failure.signal_name(), failure.error_file, failure.error_file_data)
"""

DDP = """
import atexit, os, socket, sys
from PREFIX import DefaultLogsSpecs, Std, start_processes

def train(seed):
    import torch, torch.distributed as dist
    # A spawned interpreter takes itself down at its end, and threads of torch's libraries sometimes abort that
    # ("terminate called without an active exception"), whoever has started it. The value is sent by then.
    atexit.register(os._exit, 0)
    from torch.nn.parallel import DistributedDataParallel
    dist.init_process_group("gloo")
    try:
        torch.manual_seed(0)
        model = DistributedDataParallel(torch.nn.Linear(4, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(5):
            inputs = torch.rand(8, 4, generator=generator)
            optimizer.zero_grad()
            ((model(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean().backward()
            optimizer.step()
        weights = [round(number, 5) for number in model.module.weight.flatten().tolist()]
        dist.barrier()  # gloo aborts a rank whose peer hangs up while it still has something to send
        return weights
    finally:
        dist.destroy_process_group()

def main():
    # kept until the end, so that nobody else is given the port; rank 0 can listen beside it
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port = str(reserved.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    envs = {rank: {"RANK": str(rank), "LOCAL_RANK": str(rank), **common} for rank in range(2)}
    specs = DefaultLogsSpecs(log_dir=sys.argv[1], redirects=Std.ALL)
    result = start_processes("ddp", train, {0: (1,), 1: (2,)}, envs, specs, start_method="METHOD").wait(period=0.1)
    assert not result.is_failed(), result.failures
    weights = result.return_values
    assert weights[0] == weights[1]
    print(sorted(weights.items()))

if __name__ == "__main__":
    main()
"""

SIGNAL = """
import os, signal, sys, threading
from PREFIX import DefaultLogsSpecs, SignalException, start_processes

context = start_processes("sleep", "sleep", {0: (1000,), 1: (1000,)}, {0: {}, 1: {}}, DefaultLogsSpecs(sys.argv[1]))
try:
    os.kill(os.getpid(), signal.SIGTERM)
    context.wait()
except SignalException as error:
    print(error.sigval, str(error))
    context.close(error.sigval, timeout=10)
print({rank: failure.exitcode for rank, failure in sorted(context.wait(0).failures.items())})
"""


def run(template: str, prefix: str, method: str, place: Path) -> list[str]:
    logs = place / "logs"
    logs.mkdir(parents=True)
    temporary = place / "tmp"  # torch leaves files behind
    temporary.mkdir()
    script = place / "program.py"
    script.write_text(template.replace("PREFIX", prefix).replace("METHOD", method))
    # neither package's opinion of warnings and logging is what is compared
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(logs)],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return normalized(done.stdout, place)


def normalized(text: str, place: Path) -> list[str]:
    text = text.replace(str(place), "PLACE")
    for pattern, name in [
        (r"pid: \d+", "pid: PID"),
        (r"(PID|Process) \d+", r"\1 PID"),
        (r"\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d", "TIME"),
        (r"[\w-]+_[a-z0-9_]{8}/attempt", "RUN/attempt"),
        (r"[0-9a-f-]*none_[a-z0-9_]{8}|run_[a-z0-9_]{8}", "RUN"),
    ]:
        text = re.sub(pattern, name, text)
    # lines that are teed come when they come
    return sorted(text.splitlines())


@pytest.mark.parametrize(
    ("template", "method"),
    [
        pytest.param(TRAINER, "spawn", id="trainer-spawn"),
        pytest.param(TRAINER, "fork", id="trainer-fork"),
        pytest.param(FAILING, "fork", id="failing-fork"),
        pytest.param(BINARY, "", id="binary"),
        pytest.param(PIECES, "", id="pieces"),
        pytest.param(DDP, "spawn", id="ddp-spawn"),
        pytest.param(SIGNAL, "", id="signal"),
    ],
)
def test_a_program_does_the_same(template: str, method: str, tmp_path: Path) -> None:
    theirs = run(template, TORCH, method, tmp_path / "theirs")
    ours = run(template, OURS, method, tmp_path / "ours")
    assert ours == theirs
    assert ours


# ---- names and signatures

MODULES = ["", ".api", ".errors", ".errors.error_handler", ".errors.handlers", ".redirects", ".tail_log"]
PRIVATE = {".api": ["_validate_full_rank", "_wrap", "get_std_cm"], "": ["_validate_full_rank"]}
EXTRA = {".errors": ["get_error_handler"], ".redirects": ["redirect", "redirect_stdout", "redirect_stderr"]}


def names(module: ModuleType, suffix: str) -> list[str]:
    public = getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
    ]
    return sorted({*public, *PRIVATE.get(suffix, []), *EXTRA.get(suffix, [])})


def parameters(function: object) -> list[tuple[str, object, bool]]:
    assert callable(function)
    return [
        (name, parameter.kind, parameter.default is not parameter.empty)
        for name, parameter in inspect.signature(function).parameters.items()
    ]


def assert_compatible(theirs: object, ours: object, name: str) -> None:
    wanted, got = parameters(theirs), parameters(ours)
    assert [entry[:2] for entry in got[: len(wanted)]] == [entry[:2] for entry in wanted], name
    for (parameter, _, optional), (_, _, here) in zip(wanted, got, strict=False):
        assert here or not optional, f"{name}: {parameter} has no default here"
    assert all(optional for _, _, optional in got[len(wanted) :]), f"{name}: needs more than the model"


IGNORED = {"get_libc"}  # no part of what programs use
# overriding them is the business of the package itself
INTERNAL = {"_start", "_poll", "_close"}


@pytest.mark.parametrize("suffix", MODULES)
def test_every_public_name_is_here(suffix: str) -> None:
    theirs, ours = importlib.import_module(TORCH + suffix), importlib.import_module(OURS + suffix)
    for name in names(theirs, suffix):
        if name in IGNORED:
            continue
        assert hasattr(ours, name), f"{OURS}{suffix} has no {name}"
        model, copy = getattr(theirs, name), getattr(ours, name)
        assert inspect.isclass(model) == inspect.isclass(copy), name
        if not inspect.isclass(model):
            if callable(model):
                assert_compatible(model, copy, name)
            continue
        for attribute, method in vars(model).items():
            if attribute.startswith("_") and attribute != "__init__":
                continue
            assert hasattr(copy, attribute), f"{name}.{attribute}"
            if inspect.isfunction(method):
                assert_compatible(method, getattr(copy, attribute), f"{name}.{attribute}")
