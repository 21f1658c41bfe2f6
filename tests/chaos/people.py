"""What people do to a run: interrupt, stop, look at and signal it, from any thread, and answer its ranks, or do not."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.chaos.blows import ANYTHING, ORDERS, Blow, Outside, inside, soon
from tests.chaos.inside import EXCEPTIONS, NEXT_ATTEMPT

__all__ = ["aside", "asks", "ended_by_the_notebook", "ended_from_aside", "held", "interrupt", "two_interrupts"]

_LOOKS = (
    "repr(run)",
    "run._repr_html_()",
    "repr(run.failures)",
    "repr(run.attempts)",
    "run.pids",
    "run.asking",
    "str(run.stacks([0]))",
    "nblaunch.magic.commands.stacks_in_words()",
    "run.wait(0)",
)


def interrupt(rng: Random, victim: int) -> Blow:
    when = rng.choice(("begun", "run"))
    outside = (Outside(when, rng.uniform(0, 0.1) if when == "begun" else soon(rng), "interrupt"),)
    others = rng.choice(("wait", "deaf", "child", "busy", "finish", "holding the lock"))
    moment = "run" if when == "run" else "start"
    return Blow("interrupt", moment, None, frozenset({ANYTHING}), outside=outside, others=others)


def two_interrupts(rng: Random, victim: int) -> Blow:
    # ranks that are deaf still run when the second one comes: later it would meet IPython, and not a run
    first = soon(rng)
    outside = (Outside("run", first, "interrupt"), Outside("run", first + rng.uniform(0, 0.1), "interrupt"))
    return Blow("two interrupts", "run", None, frozenset({ANYTHING}), outside=outside, others="deaf", alone=True)


def ended_by_the_notebook(rng: Random, victim: int) -> Blow:
    name = rng.choice((*ORDERS, *ORDERS, "%multiproc stop", "%multiproc kill"))
    late = rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.3)))
    others = rng.choice(("wait", "deaf", "child", "busy", "finish", "holding the lock"))
    call = f"get_ipython().run_line_magic('multiproc', {name.split()[1]!r})" if name.startswith("%") else name
    order = f"time.sleep({late:.4f}); {call}"
    return Blow(name, "run", None, frozenset({ANYTHING}), order=order, others=others)


def aside(rng: Random, victim: int) -> Blow:
    """Have another thread of the notebook ask for, or do, something at any moment; it harms nobody by itself."""

    def late() -> float:
        return round(rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.2), rng.uniform(0, 0.8))), 4)

    def acts(*each: tuple[float, str]) -> tuple[tuple[float, str], ...]:
        return _at_a_seam(rng, each)

    again = rng.random() < 0.5
    what = rng.choice(("run.stacks()", "run.stacks()", "looks", "SIGSTOP and SIGCONT", "SIGCONT", "SIGUSR1", "SIGKILL"))
    if what in ("run.stacks()", "looks"):
        texts = ("run.stacks()",) if what == "run.stacks()" else _LOOKS
        each = acts(*((late() / (20 if again else 1), text) for text in texts))
        return Blow(f"{what} from aside", "run", None, frozenset({"value"}), aside=each, again=again)
    if what == "SIGSTOP and SIGCONT":
        pair = acts((late(), "run.signal('SIGSTOP')"), (round(rng.uniform(0, 0.1), 4), "run.signal('SIGCONT')"))
        return Blow("run.signal(SIGSTOP, SIGCONT)", "run", None, frozenset({"value"}), aside=pair, again=again)
    order = acts((late(), f"run.signal({what!r}, [{victim}])"))
    ended = frozenset({"value", what}) if what != "SIGCONT" else frozenset({"value"})
    return Blow(f"run.signal({what})", "run", None, ended, aside=order, again=again)


def _at_a_seam(rng: Random, acts: tuple[tuple[float, str], ...]) -> tuple[tuple[float, str], ...]:
    """Have this happen, sometimes, just when the run restarts or ends, rather than after some time."""
    if rng.random() < 0.6:
        return acts
    waits = ((0.0, NEXT_ATTEMPT),) * rng.choice((1, 1, 2))
    return (*waits, (round(soon(rng), 4), acts[0][1]), *acts[1:])


def ended_from_aside(rng: Random, victim: int) -> Blow:
    late = rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.3), rng.uniform(0, 1.0)))
    names = rng.choice((ORDERS[:1], ORDERS[1:2], ORDERS[2:], rng.sample(ORDERS, 2), rng.sample(ORDERS, 3)))
    acts = [(round(late, 4), names[0]), *((round(soon(rng, 0.3), 4), name) for name in names[1:])]
    acts += [(0.0, text) for text in rng.sample((*_LOOKS, "run.signal('SIGTERM')"), 2)]
    others = rng.choice(("", "wait", "deaf", "child", "busy", "holding the lock"))
    fault = f"{names[0]} from aside" if len(names) == 1 else "several orders from aside"
    each = _at_a_seam(rng, tuple(acts))
    return Blow(fault, "run", None, frozenset({ANYTHING}), aside=each, others=others)


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
    blow = inside("exception, --pdb", victim, "run", f"raise {name}", *EXCEPTIONS[name][1])
    return replace(blow, client=client, pdb=True)
