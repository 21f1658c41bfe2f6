"""The faults: each function draws one `Blow`, what is done to a run and what may come of it.

A rank is hit at one of four moments: ``start`` (before its own code), ``run``, ``result`` (its value is being packed)
and ``exit`` (its value has been sent). From inside by its own code, from outside by the driver, which hears from the
rank that it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from tests.chaos.inside import EXCEPTIONS

__all__ = ["ANYTHING", "FAULTS", "ORDERS", "Blow", "Outside"]

MOMENTS = ("start", "run", "result", "exit")
# An outcome that allows every other one.
ANYTHING = "*"
ORDERS = ("run.stop()", "run.kill()", "run.interrupt()")
_SIGNALS = ("SIGKILL", "SIGSEGV", "SIGTERM", "SIGSTOP")


@dataclass(frozen=True)
class Outside:
    """Something that the driver does.

    Parameters
    ----------
    when : str
        ``"before"`` the cell is sent, when it was ``"sent"``, or what a rank announces.
    delay : float
        Seconds after that.
    target : str
        ``"victim"``, ``"someone"`` below the kernel, ``"zygote"``, ``"forkserver"``, ``"spare"``, ``"kernel"``, or
        ``"interrupt"`` for the notebook's own.
    signal : str
        Name of the signal.
    """

    when: str
    delay: float
    target: str
    signal: str = "SIGKILL"


@dataclass(frozen=True)
class Blow:
    """One fault of one run.

    Parameters
    ----------
    fault, moment : str
        What is counted.
    victim : int or None
        The rank that is hit; None is any of them.
    outcomes : frozenset of str
        What may become of the rank that was hit: ``"value"``, a signal, ``"exit 3"``, the type of an exception.
    lines : tuple of str
        What the victim runs in the cell.
    trap : str
        What is done in the victim while it is handed the variable ``trap``.
    needs_end : bool
        Whether the run does not end by itself.
    others : str
        What all the other ranks have to do; empty leaves it open.
    order : str
        What the notebook does with a run in the background, some time after its start.
    aside : tuple of (float, str)
        What another thread of the notebook does, each after so many seconds; ``run`` is the run.
    again : bool
        Whether that thread begins anew until the run has ended.
    client : {"", "answers", "late", "silent", "nobody"}
        Who is at the other end when a rank asks; empty leaves it open.
    pdb : bool
        Whether ranks that raise are held for a debugger.
    attempt : int or None
        In which attempt that happens; None is any of them.
    alone : bool
        Whether nothing else happens to the run.
    methods : tuple of str
        Start methods that it can be tried with.
    """

    fault: str
    moment: str
    victim: int | None
    outcomes: frozenset[str]
    lines: tuple[str, ...] = ()
    trap: str = ""
    outside: tuple[Outside, ...] = ()
    size: int | None = None
    needs_end: bool = False
    others: str = ""
    order: str = ""
    aside: tuple[tuple[float, str], ...] = ()
    again: bool = False
    client: str = ""
    pdb: bool = False
    attempt: int | None = None
    alone: bool = False
    methods: tuple[str, ...] = ("zygote", "forkserver", "spawn", "fork")

    def described(self) -> str:
        """Say what is done, to whom, and what may come of it."""
        whom = "nobody in particular" if self.victim is None else f"rank {self.victim}"
        whom += "" if self.attempt is None else f" in attempt {self.attempt}"
        said = f"{self.fault} ({self.moment}) to {whom}, which may end by {sorted(self.outcomes)}"
        return "\n    ".join([said, *map(str, self.outside)])

    def ends_the_run(self) -> bool:
        """Tell whether the notebook's user ends the run by this, if it comes so far."""
        return (
            bool(self.order)
            or any(act.target == "interrupt" for act in self.outside)
            or any(text in ORDERS for _, text in self.aside)
        )

    def is_of_one_attempt(self) -> bool:
        """Tell whether this happens in one attempt only: a rank says there where it is."""
        return self.victim is not None and not self.others

    @property
    def is_fatal(self) -> bool:
        """Whether the victim surely fails by itself."""
        return self.victim is not None and not self.outcomes & {"value", ANYTHING}


def _soon(rng: Random, most: float = 0.03) -> float:
    return rng.choice((0.0, rng.uniform(0, most)))


def _inside(fault: str, victim: int, moment: str, action: str, *outcomes: str) -> Blow:
    """Have the victim do something to itself."""
    lines: tuple[str, ...] = ()
    trap, allowed = "", set(outcomes)
    if moment == "start":
        trap = action
    elif moment == "run":
        lines = (f"inside.act({action!r})",)
    elif moment == "result":
        lines = (f"value = inside.Sprung({action!r})",)
    else:
        # its value was sent, and is kept whatever becomes of the process
        lines, allowed = (f"inside.at_exit({action!r})",), {"value"}
    return Blow(fault, moment, victim, frozenset(allowed), lines, trap)


def signal_from_outside(rng: Random, victim: int) -> Blow:
    name, moment = rng.choice(_SIGNALS), rng.choice(MOMENTS)
    fault = f"{name} from outside"
    if moment == "start":
        late = rng.uniform(0, rng.choice((0.02, 0.02, 0.6)))
        outside = (Outside("sent", late, "someone", name),)
        return Blow(fault, moment, None, frozenset({"value", name}), outside=outside, needs_end=name == "SIGSTOP")
    blow = _inside(fault, victim, moment, f"announce {moment}", name)
    outside = (Outside(moment, _soon(rng), "victim", name),)
    return _stopping(blow, outside, name)


def _stopping(blow: Blow, outside: tuple[Outside, ...], name: str) -> Blow:
    if name != "SIGSTOP":
        return replace(blow, outside=outside)
    # it stays where it is until the run is ended
    return replace(blow, outside=outside, outcomes=frozenset({"RankTimeout", "value"}), needs_end=True)


def signal_from_inside(rng: Random, victim: int) -> Blow:
    name, moment = rng.choice((*_SIGNALS, "SIGABRT")), rng.choice(MOMENTS)
    return _stopping(_inside(f"{name} from inside", victim, moment, name, name), (), name)


def crash_in_c(rng: Random, victim: int) -> Blow:
    return _inside("crash in C", victim, rng.choice(MOMENTS), "crash", "SIGSEGV")


def os_exit(rng: Random, victim: int) -> Blow:
    code = rng.choice((0, 0, 1, 2, 77, 255, rng.randrange(256)))
    return _inside("os._exit", victim, rng.choice(MOMENTS), f"exit {code}", f"exit {code}")


def odd_exception(rng: Random, victim: int) -> Blow:
    name, moment = rng.choice(sorted(EXCEPTIONS)), rng.choice(MOMENTS)
    outcomes = EXCEPTIONS[name][1]
    if moment == "result":
        outcomes = (*outcomes, "TypeError")  # which says that the value cannot be sent
    return _inside("exception", victim, moment, f"raise {name}", *outcomes)


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


def interrupt(rng: Random, victim: int) -> Blow:
    when = rng.choice(("begun", "run"))
    outside = (Outside(when, rng.uniform(0, 0.1) if when == "begun" else _soon(rng), "interrupt"),)
    others = rng.choice(("wait", "deaf", "child", "busy", "finish", "holding the lock"))
    moment = "run" if when == "run" else "start"
    return Blow("interrupt", moment, None, frozenset({ANYTHING}), outside=outside, others=others)


def two_interrupts(rng: Random, victim: int) -> Blow:
    # ranks that are deaf still run when the second one comes: later it would meet IPython, and not a run
    first = _soon(rng)
    outside = (Outside("run", first, "interrupt"), Outside("run", first + rng.uniform(0, 0.1), "interrupt"))
    return Blow("two interrupts", "run", None, frozenset({ANYTHING}), outside=outside, others="deaf", alone=True)


def ended_by_the_notebook(rng: Random, victim: int) -> Blow:
    name = rng.choice(("stop", "kill", "interrupt"))
    late = rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.3)))
    others = rng.choice(("wait", "deaf", "child", "busy", "finish", "holding the lock"))
    order = f"time.sleep({late:.4f}); run.{name}()"
    return Blow(f"run.{name}()", "run", None, frozenset({ANYTHING}), order=order, others=others)


def aside(rng: Random, victim: int) -> Blow:
    """Have another thread of the notebook ask for, or do, something at any moment; it harms nobody by itself."""

    def late() -> float:
        return round(rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.2), rng.uniform(0, 0.8))), 4)

    again = rng.random() < 0.5
    what = rng.choice(("run.stacks()", "run.stacks()", "looks", "SIGSTOP and SIGCONT", "SIGCONT", "SIGUSR1", "SIGKILL"))
    if what in ("run.stacks()", "looks"):
        texts = ("run.stacks()",) if what == "run.stacks()" else LOOKS
        acts = [(late() / (20 if again else 1), text) for text in texts]
        return Blow(f"{what} from aside", "run", None, frozenset({"value"}), aside=tuple(acts), again=again)
    if what == "SIGSTOP and SIGCONT":
        acts = [(late(), "run.signal('SIGSTOP')"), (round(rng.uniform(0, 0.1), 4), "run.signal('SIGCONT')")]
        return Blow("run.signal(SIGSTOP, SIGCONT)", "run", None, frozenset({"value"}), aside=tuple(acts), again=again)
    acts = [(late(), f"run.signal({what!r}, [{victim}])")]
    ended = frozenset({"value", what}) if what != "SIGCONT" else frozenset({"value"})
    return Blow(f"run.signal({what})", "run", None, ended, aside=tuple(acts), again=again)


LOOKS = (
    "repr(run)",
    "run._repr_html_()",
    "repr(run.failures)",
    "repr(run.attempts)",
    "run.pids",
    "run.asking",
    "str(run.stacks([0]))",
    "nblaunch.commands.stacks_in_words()",
    "run.wait(0)",
)


def ended_from_aside(rng: Random, victim: int) -> Blow:
    late = rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.3), rng.uniform(0, 1.0)))
    names = rng.choice((ORDERS[:1], ORDERS[1:2], ORDERS[2:], rng.sample(ORDERS, 2), rng.sample(ORDERS, 3)))
    acts = [(round(late, 4), names[0]), *((round(_soon(rng, 0.3), 4), name) for name in names[1:])]
    acts += [(0.0, text) for text in rng.sample((*LOOKS, "run.signal('SIGTERM')"), 2)]
    others = rng.choice(("", "wait", "deaf", "child", "busy", "holding the lock"))
    fault = f"{names[0]} from aside" if len(names) == 1 else "several orders from aside"
    return Blow(fault, "run", None, frozenset({ANYTHING}), aside=tuple(acts), others=others)


def asks(rng: Random, victim: int) -> Blow:
    how = rng.choice(("input", "getpass", "readline", "breakpoint", "breakpoint"))
    client = rng.choice(("answers", "answers", "late", "silent", "nobody"))
    lines = ("breakpoint()",) if how == "breakpoint" else (f"inside.ask({how!r})",)
    said = {"nobody": ", nobody there", "silent": ", no answer"}.get(client, "")
    blow = Blow(f"{how}(){said}", "run", victim, frozenset({"value"}), lines, client=client)
    if client == "silent":
        return replace(blow, outcomes=frozenset({"RankTimeout"}), needs_end=True)
    if client == "nobody":
        return replace(blow, outcomes=frozenset({"RuntimeError" if how == "breakpoint" else "EOFError"}))
    return blow


def held(rng: Random, victim: int) -> Blow:
    name, client = rng.choice(sorted(EXCEPTIONS)), rng.choice(("answers", "answers", "late", "silent"))
    blow = _inside("exception, --pdb", victim, "run", f"raise {name}", *EXCEPTIONS[name][1])
    return replace(blow, client=client, pdb=True)


def zygote_killed(rng: Random, victim: int) -> Blow:
    name = "SIGSTOP" if rng.random() < 0.1 else "SIGKILL"
    when, delay = rng.choice((("before", 0.0), ("sent", rng.uniform(0, 0.03)), ("run", _soon(rng))))
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
        outside=(Outside("run", _soon(rng), "forkserver", name),),
        needs_end=name == "SIGSTOP",
        methods=("zygote", "forkserver"),
    )


def kernel_killed(rng: Random, victim: int) -> Blow:
    when, delay = rng.choice((("sent", rng.uniform(0, 0.3)), ("run", _soon(rng))))
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
