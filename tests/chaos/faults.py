"""The faults: each function draws one `Blow`; `FAULTS` says how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.chaos.blows import ANYTHING, MOMENTS, Blow, Outside, inside, soon
from tests.chaos.inside import EXCEPTIONS
from tests.chaos.people import (
    aside,
    asks,
    ended_by_the_notebook,
    ended_from_aside,
    held,
    interrupt,
    two_interrupts,
)

__all__ = ["FAULTS"]

_SIGNALS = ("SIGKILL", "SIGSEGV", "SIGTERM", "SIGSTOP")


def signal_from_outside(rng: Random, victim: int) -> Blow:
    name, moment = rng.choice(_SIGNALS), rng.choice(MOMENTS)
    fault = f"{name} from outside"
    if moment == "start":
        late = rng.uniform(0, rng.choice((0.02, 0.02, 0.6)))
        outside = (Outside("sent", late, "someone", name),)
        return Blow(fault, moment, None, frozenset({"value", name}), outside=outside, needs_end=name == "SIGSTOP")
    blow = inside(fault, victim, moment, f"announce {moment}", name)
    outside = (Outside(moment, soon(rng), "victim", name),)
    return _stopping(blow, outside, name)


def _stopping(blow: Blow, outside: tuple[Outside, ...], name: str) -> Blow:
    if name != "SIGSTOP":
        return replace(blow, outside=outside)
    # it stays where it is until the run is ended
    return replace(blow, outside=outside, outcomes=frozenset({"RankTimeout", "value"}), needs_end=True)


def signal_from_inside(rng: Random, victim: int) -> Blow:
    name, moment = rng.choice((*_SIGNALS, "SIGABRT")), rng.choice(MOMENTS)
    return _stopping(inside(f"{name} from inside", victim, moment, name, name), (), name)


def crash_in_c(rng: Random, victim: int) -> Blow:
    return inside("crash in C", victim, rng.choice(MOMENTS), "crash", "SIGSEGV")


def os_exit(rng: Random, victim: int) -> Blow:
    code = rng.choice((0, 0, 1, 2, 77, 255, rng.randrange(256)))
    return inside("os._exit", victim, rng.choice(MOMENTS), f"exit {code}", f"exit {code}")


def odd_exception(rng: Random, victim: int) -> Blow:
    name, moment = rng.choice(sorted(EXCEPTIONS)), rng.choice(MOMENTS)
    outcomes = EXCEPTIONS[name][1]
    if moment == "result":
        outcomes = (*outcomes, "TypeError")  # which says that the value cannot be sent
    return inside("exception", victim, moment, f"raise {name}", *outcomes)


def notebooks_exception(rng: Random, victim: int) -> Blow:
    lines = ("raise NotebookError(rank, 'b')",)
    return Blow("exception of a notebook's class", "run", victim, frozenset({"NotebookError"}), lines)


def leaving_with_success(rng: Random, victim: int) -> Blow:
    return Blow("sys.exit(0)", "run", victim, frozenset({"value"}), ("import sys", "sys.exit(0)"))


def closed_descriptors(rng: Random, victim: int) -> Blow:
    numbers = range(11) if rng.random() < 0.3 else rng.sample(range(11), rng.randrange(1, 11))
    lines = (f"inside.close_descriptors({', '.join(map(str, numbers))})",)
    return Blow("closed descriptors", "run", victim, frozenset({ANYTHING}), lines)


def garbage_to_the_gang(rng: Random, victim: int) -> Blow:
    # a fork of the kernel has the kernel's sockets too
    methods = ("zygote", "forkserver", "spawn")
    return Blow(
        "garbage to the gang", "run", victim, frozenset({ANYTHING}), ("inside.write_garbage()",), methods=methods
    )


def flood(rng: Random, victim: int) -> Blow:
    size = rng.choice((100_000, 1_000_000, 20_000_000))
    lines = (f"inside.flood({rng.choice(('stdout', 'stderr'))!r}, {size})",)
    return Blow("flood of output", "run", victim, frozenset({"value"}), lines)


def stubborn_child(rng: Random, victim: int) -> Blow:
    how = rng.choice(("group", "session", "double"))
    lines = (f"inside.stubborn_child({how!r})",)
    # what has left its session and is left behind by a rank, only a forkserver can end
    methods = ("zygote", "forkserver", "spawn", "fork") if how == "group" else ("zygote", "forkserver")
    return Blow(f"deaf child ({how})", "run", victim, frozenset({"value"}), lines, methods=methods)


def fork_goes_on(rng: Random, victim: int) -> Blow:
    return Blow("os.fork() in the cell", "run", victim, frozenset({"value"}), ("inside.fork_and_go_on()",))


def result_of_some_size(rng: Random, victim: int) -> Blow:
    size = rng.choice((0, 1, 1 << 10, 1 << 16, 1 << 20, 1 << 24, 1 << 26))
    if rng.random() < 0.12:
        size = 1 << 30
    return Blow(f"result of {_named(size)}", "result", victim, frozenset({"value"}), size=size)


def _named(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"


def killed_while_sending(rng: Random, victim: int) -> Blow:
    blow = Blow("SIGKILL while sending", "result", victim, frozenset({"value", "SIGKILL"}), size=1 << 26)
    outside = (Outside("sending", rng.uniform(0, 0.05), "victim"),)
    return replace(blow, lines=("inside.announce('sending')",), outside=outside)


def thread_without_end(rng: Random, victim: int) -> Blow:
    return Blow("thread without end", "exit", victim, frozenset({"value"}), ("inside.never_end()",), needs_end=True)


def zygote_killed(rng: Random, victim: int) -> Blow:
    name = "SIGSTOP" if rng.random() < 0.1 else "SIGKILL"
    when, delay = rng.choice((("before", 0.0), ("sent", rng.uniform(0, 0.03)), ("run", soon(rng))))
    moment = {"before": "idle", "sent": "start", "run": "run"}[when]
    outside = (Outside(when, delay, "zygote", name),)
    return Blow(f"{name} to the zygote", moment, None, frozenset({"value"}), outside=outside)


def spare_killed(rng: Random, victim: int) -> Blow:
    name = rng.choice(("SIGKILL", "SIGKILL", "SIGSTOP"))
    outside = (Outside("before", 0.0, "spare", name),)
    return Blow(f"{name} to a spare", "idle", None, frozenset({"value"}), outside=outside, methods=("zygote",))


def forkserver_killed(rng: Random, victim: int) -> Blow:
    # one that is stopped tells of no exits until the run is ended
    name = rng.choice(("SIGKILL", "SIGKILL", "SIGSTOP"))
    allowed = frozenset({"value", name})
    return Blow(
        f"{name} to the forkserver",
        "run",
        None,
        allowed,
        outside=(Outside("run", soon(rng), "forkserver", name),),
        needs_end=name == "SIGSTOP",
        # whose parents have ended, nobody else would look for
        excludes=("deaf child (session)", "deaf child (double)") if name == "SIGKILL" else (),
        methods=("zygote", "forkserver"),
    )


def kernel_killed(rng: Random, victim: int) -> Blow:
    when, delay = rng.choice((("sent", rng.uniform(0, 0.3)), ("run", soon(rng))))
    outside = (Outside(when, delay, "kernel"),)
    others = rng.choice(("wait", "deaf", "child", "busy", "holding the lock"))
    moment = "run" if when == "run" else "start"
    return Blow("SIGKILL to the kernel", moment, None, frozenset({ANYTHING}), outside=outside, others=others)


def nothing(rng: Random, victim: int) -> Blow:
    return Blow("nothing", "–", None, frozenset({"value"}))


FAULTS: dict[Callable[[Random, int], Blow], int] = {
    signal_from_outside: 18,
    signal_from_inside: 12,
    crash_in_c: 3,
    os_exit: 7,
    odd_exception: 14,
    notebooks_exception: 2,
    leaving_with_success: 1,
    closed_descriptors: 5,
    garbage_to_the_gang: 2,
    flood: 4,
    stubborn_child: 6,
    fork_goes_on: 2,
    result_of_some_size: 5,
    killed_while_sending: 3,
    thread_without_end: 2,
    interrupt: 8,
    two_interrupts: 2,
    ended_by_the_notebook: 5,
    zygote_killed: 5,
    spare_killed: 3,
    forkserver_killed: 3,
    kernel_killed: 5,
    aside: 14,
    ended_from_aside: 7,
    asks: 14,
    held: 7,
    nothing: 2,
}
"""How often each is drawn, beside the others."""
