"""`Case`: one run, drawn from a seed and a number; the same two always give the same cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from tests.chaos.blows import ANYTHING, Blow
from tests.chaos.faults import FAULTS

__all__ = ["Case", "draw"]

_METHODS = {"zygote": 30, "forkserver": 4, "spawn": 2, "fork": 4}
_BYSTANDERS = ("finish", "display", "wait", "wait", "deaf", "child", "holding the lock", "busy")
# Seconds after which a run ends that does not end by itself; fresh interpreters need some to come so far.
_TIMEOUT = {"zygote": 0.7, "fork": 0.7, "forkserver": 2.5, "spawn": 4.0}
# What is said to a debugger before it is told to go on, or to quit.
_COMMANDS = ("n", "s", "p rank", "where", "u", "nonsense(", "!value = 1/0", "h", "", "l")


@dataclass(frozen=True)
class Case:
    """One run.

    Parameters
    ----------
    form : {"cell", "function", "background"}
        Whether ``%%multiproc`` runs it or ``nblaunch.launch``; or ``%%multiproc --no-wait``, and the cell goes on.
    bystanders : str
        What the ranks do that are not hit.
    beside : bool
        Whether another run goes on in the background, which none of this concerns.
    restarts : int
        How often all ranks are started again after a failure.
    stall, straggler : float or None
        Seconds after which it is told which ranks do nothing, or are left behind.
    client : {"", "answers", "late", "silent", "nobody"}
        Who is at the other end when a rank asks.
    script : tuple of str
        What that one says to each debugger; the last one again and again.
    panel : {"live", "text", "none"}
        What is shown of it.
    hold : float
        Seconds that a rank that has raised waits for a debugger.
    """

    seed: int
    number: int
    nprocs: int
    method: str
    form: str
    blows: tuple[Blow, ...]
    bystanders: str
    grace: float
    timeout: float | None
    keeps_going: bool
    raises: bool
    panel: str
    beside: bool = False
    restarts: int = 0
    stall: float | None = None
    straggler: float | None = None
    client: str = ""
    script: tuple[str, ...] = ("c",)
    hold: float = 20.0

    @property
    def token(self) -> str:
        """What marks the processes of this run."""
        return f"{self.seed}/{self.number}"

    @property
    def setup(self) -> str:
        """The cell before."""
        traps = [f"inside.Trap({blow.victim}, {blow.trap!r}, {blow.attempt})" for blow in self.blows if blow.trap]
        lines = [f"get_ipython().run_line_magic('config', \"Multiproc.panel = {self.panel!r}\")"]
        lines += [f"trap = [{', '.join(traps)}]"] if traps else []
        lines += [f"aside.begin({self.token!r}, {list(blow.aside)}, {blow.again})" for blow in self.blows if blow.aside]
        if self.beside:
            lines.append("other = nblaunch.launch(inside.linger, 2, panel='none', timeout=5, wait=False)")
        return "\n".join(lines)

    @property
    def cell(self) -> str:
        """The cell itself."""
        return {"cell": self._cell, "function": self._function, "background": self._background}[self.form]()

    def ends_by_interrupt(self) -> bool:
        """Tell whether the notebook is interrupted."""
        return any(act.target == "interrupt" for blow in self.blows for act in blow.outside)

    def orders(self) -> list[str]:
        """Return what the notebook's main thread does with the run while it goes on."""
        return [blow.order for blow in self.blows if blow.order]

    def may_be_ended(self) -> bool:
        """Tell whether somebody may end the run."""
        return any(blow.ends_the_run() for blow in self.blows) or self.may_quit()

    def may_quit(self) -> bool:
        """Tell whether a debugger may be left with ``q``, which ends the run."""
        asked = any(blow.pdb or "breakpoint()" in blow.lines for blow in self.blows)
        return asked and self.client in ("answers", "late") and self.script[-1] == "q"

    def is_interrupted_from_aside(self) -> bool:
        """Tell whether another thread of the notebook interrupts the run."""
        return any(text == "run.interrupt()" for blow in self.blows for _, text in blow.aside)

    def holds(self) -> bool:
        """Tell whether ranks that raise are held for a debugger."""
        return any(blow.pdb for blow in self.blows)

    def part(self, attempt: int) -> Case:
        """Return what happens in one attempt, as a case of its own."""
        blows = tuple(blow for blow in self.blows if blow.attempt in (None, attempt))
        bystanders = self.bystanders
        if not any(blow.others for blow in blows) and not any(blow.is_fatal for blow in blows):
            # or this attempt would never end
            bystanders = "finish" if bystanders not in ("finish", "display") else bystanders
        return replace(self, blows=blows, bystanders=bystanders, restarts=0) if self.restarts else self

    def before_the_last(self, attempt: int) -> Case:
        """Return what may have happened in an attempt that was followed by another one: nobody has ended it."""
        part = self.part(attempt)
        return replace(
            part, timeout=None, script=("c",), blows=tuple(blow for blow in part.blows if not blow.ends_the_run())
        )

    def hits_others(self) -> bool:
        """Tell whether a process may be hit that belongs to no rank of this run."""
        return any(act.target not in ("victim", "interrupt") for blow in self.blows for act in blow.outside)

    def tells_that_it_has_begun(self) -> bool:
        """Tell whether the cell says so in its output."""
        return any(act.when == "begun" for blow in self.blows for act in blow.outside)

    def kills_the_kernel(self) -> bool:
        """Tell whether the kernel does not live to see the end."""
        return any(act.target == "kernel" for blow in self.blows for act in blow.outside)

    def allowed(self, rank: int) -> set[str]:
        """Return what may become of a rank by itself."""
        found: set[str] = set()
        for blow in self.blows:
            if blow.victim in (None, rank):
                found |= blow.outcomes
        if not any(blow.victim == rank for blow in self.blows):
            found.add("value")
        if self.timeout is not None:
            found.add("RankTimeout")
        if self.may_quit():
            found.add("DebuggerQuit")
        if any(blow.ends_the_run() for blow in self.blows):
            found.add(ANYTHING)
        return found

    def sizes(self) -> Mapping[int, int]:
        """Return how many bytes each rank sends back."""
        return {
            rank: max((blow.size or 0 for blow in self.blows if blow.victim == rank), default=0)
            for rank in range(self.nprocs)
        }

    # ---- the text

    def _body(self) -> list[str]:
        lines = ["trap"] if any(blow.trap for blow in self.blows) else []
        if not self.restarts:
            return lines + self._acts()
        lines.append("attempt = inside.begin_attempt()")
        for attempt in range(self.restarts + 1):
            lines.append(f"{'elif' if attempt else 'if'} attempt == {attempt}:")
            lines += [f"    {line}" for line in self.part(attempt)._acts()]
        return lines

    def _acts(self) -> list[str]:
        lines: list[str] = []
        sizes = self.sizes()
        for rank in range(self.nprocs):
            own = [line for blow in self.blows if blow.victim == rank for line in blow.lines]
            if any(blow.victim == rank for blow in self.blows):
                lines.append(f"{'elif' if lines else 'if'} rank == {rank}:")
                lines.append(f"    value = inside.value({sizes[rank]})")
                lines += [f"    {line}" for line in own]
        others = [f"inside.bystand({self.bystanders!r})", "value = inside.value(0)"]
        return [*lines, "else:", *(f"    {line}" for line in others)] if lines else others

    def _line(self) -> str:
        options = [f"--out run --env NBCHAOS={self.token} --grace {self.grace} --start-method {self.method}"]
        for name in ("timeout", "stall", "straggler"):
            if getattr(self, name) is not None:
                options.append(f"--{name} {getattr(self, name)}")
        if self.restarts:
            options.append(f"--max-restarts {self.restarts}")
        if self.holds():
            options.append(f"--pdb --hold {self.hold}")
        if self.keeps_going:
            options.append("--on-failure continue")
        if self.form == "background":
            options.append("--no-wait")
        elif not self.raises:
            options.append("--no-raise")
        if self.panel == "none":
            options.append("--no-panel")
        return f"{self.nprocs} {' '.join(options)}"

    def _source(self) -> str:
        return "\n".join(["from tests.chaos import inside", *self._body(), "value"])

    def _cell(self) -> str:
        if not self.tells_that_it_has_begun():
            return f"%%multiproc {self._line()}\n{self._source()}"
        # the same, but an interrupt that comes before the magic would meet IPython, and not nblaunch
        return f"print('begun', flush=True)\n{self._by_magic()}"

    def _by_magic(self) -> str:
        return f"get_ipython().run_cell_magic('multiproc', {self._line()!r}, {self._source()!r})"

    def _background(self) -> str:
        lines = [self._by_magic(), *self.orders(), self._wait()]
        if self.ends_by_interrupt():
            # which ends what waits for the run, and not the run
            leaving = ["    if 'run' in globals():", "        run.stop()", "        run.wait()", "    raise"]
            lines = ["try:", *(f"    {line}" for line in lines), "except KeyboardInterrupt:", *leaving]
        begun = ["print('begun', flush=True)"] if self.tells_that_it_has_begun() else []
        lines = ["import time", *begun, *lines]
        return "\n".join([*lines, "run.raise_for_failures()"] if self.raises else lines)

    def _wait(self) -> str:
        return "aside.attend(run)" if self.client in ("answers", "late", "silent") else "run.wait()"

    def _function(self) -> str:
        options: dict[str, object] = {
            "env": {"NBCHAOS": self.token},
            "grace": self.grace,
            "start_method": self.method,
            "timeout": self.timeout,
            "on_failure": "continue" if self.keeps_going else "stop",
            "panel": self.panel,
            "max_restarts": self.restarts,
            "pdb": self.holds(),
            "hold": self.hold,
        }
        options |= {name: getattr(self, name) for name in ("stall", "straggler") if getattr(self, name) is not None}
        body = ["import os", "rank = int(os.environ['RANK'])", *self._body(), "return value"]
        orders = self.orders()
        if orders:
            options["wait"] = False
        told = ", ".join(f"{name}={value!r}" for name, value in options.items())
        begun = ["print('begun', flush=True)"] if self.tells_that_it_has_begun() else []
        lines = [
            "def work():",
            *(f"    {line}" for line in body),
            *begun,
            f"run = nblaunch.launch(work, {self.nprocs}, {told})",
        ]
        if orders:
            lines += ["import time", *orders, self._wait()]
        return "\n".join([*lines, "run.raise_for_failures()"] if self.raises else lines)


def draw(seed: int, number: int) -> Case:
    """Draw a run."""
    rng = Random(f"{seed}/{number}")
    nprocs = rng.choice((2, 2, 3, 4))
    restarts = rng.choice((1, 1, 2, 3)) if rng.random() < 0.25 else 0
    blows: list[Blow] = []
    for attempt in range(restarts + 1):
        # what ends one attempt is mostly followed by another one
        wanted = rng.random() < 0.85 if attempt < restarts else rng.random() < (0.4 if restarts else 1.0)
        if wanted:
            _draw_attempt(rng, blows, nprocs, attempt if restarts else None, surely=attempt < restarts)
    methods = set(_METHODS).intersection(*(blow.methods for blow in blows))
    needs_end = any(blow.needs_end for blow in blows)
    known = [name for name in _METHODS if name in methods]
    # what has to wait for its timeout waits longer where ranks start slowly
    weights = [_METHODS[name] * (4 if needs_end and name == "zygote" else 1) for name in known]
    method = rng.choices(known, weights)[0]
    keeps_going = rng.random() < 0.1
    asked = [blow.others for blow in blows if blow.others]
    bystanders = asked[0] if asked else rng.choice(_BYSTANDERS)
    if not asked and (keeps_going or not any(blow.is_fatal for blow in blows)):
        bystanders = rng.choice(("finish", "display"))  # or the run would never end
    ordered = any(blow.order for blow in blows)
    interrupted = any(act.target == "interrupt" for blow in blows for act in blow.outside)
    client = next((blow.client for blow in blows if blow.client), "")
    forms = ["function", "background"] if ordered else ["cell", "cell", "cell", "function"]
    if not any(blow.alone for blow in blows):
        forms.append("background")
    panels = ["live", "none", "none"]
    if not any("flood" in blow.fault for blow in blows):
        panels.append("text")
    return Case(
        seed=seed,
        number=number,
        nprocs=nprocs,
        method=method,
        form=rng.choice(forms),
        blows=tuple(blows),
        bystanders=bystanders,
        # ranks that are deaf must still be there when the second of two interrupts comes
        grace=max(rng.choice((0.1, 0.3, 0.6)), 2.0 * any(blow.alone for blow in blows)),
        timeout=_TIMEOUT[method] * (1 + restarts) if needs_end or (interrupted and keeps_going) else None,
        keeps_going=keeps_going,
        raises=rng.random() < 0.5,
        panel=rng.choice(panels),
        # %multiproc stop ends all runs that go on
        beside=rng.random() < 0.15 and not any("run_line_magic" in blow.order for blow in blows),
        restarts=restarts,
        stall=rng.choice((0.1, 0.3)) if rng.random() < 0.2 else None,
        straggler=rng.choice((0.05, 0.2)) if rng.random() < 0.2 else None,
        client=client,
        script=(*rng.choices(_COMMANDS, k=rng.randrange(3)), rng.choice(("c", "c", "q"))),
        hold=0.3 if client == "silent" else 20.0,
    )


def _draw_attempt(rng: Random, blows: list[Blow], nprocs: int, attempt: int | None, *, surely: bool) -> None:
    """Add what is done in one attempt; `surely` something of which a rank fails."""
    victims = rng.sample(range(nprocs), nprocs)
    for _ in range(rng.choices((1, 2, 3), (6, 3, 1))[0]):
        victim = victims.pop() if len(victims) > 1 else victims[0]
        blow = _draw_blow(rng, victim)
        for _ in range(30 if surely else 0):
            if blow.is_fatal and not blow.needs_end:
                break
            blow = _draw_blow(rng, victim)
        surely = False
        if attempt:
            # while some later attempt goes on, and not always the first one
            later = tuple(replace(act, delay=act.delay + rng.uniform(0, 0.5 * attempt)) for act in blow.outside)
            blow = blow if blow.is_of_one_attempt() else replace(blow, outside=later)
        _add(blows, replace(blow, attempt=attempt) if blow.is_of_one_attempt() else blow)


def _draw_blow(rng: Random, victim: int) -> Blow:
    return rng.choices(list(FAULTS), list(FAULTS.values()))[0](rng, victim)


def _add(blows: list[Blow], blow: Blow) -> None:
    """Add one, unless it cannot be told from what is there."""
    taken = {(known.victim, known.attempt) for known in blows}
    if blow.victim is not None and (blow.victim, blow.attempt) in taken:
        return
    if blows and (blow.alone or any(known.alone for known in blows)):
        return
    # all ranks have one thing to do besides, there is one thread aside, and one at the other end
    if (blow.others and any(known.others for known in blows)) or (blow.aside and any(known.aside for known in blows)):
        return
    if blow.client and any(known.client not in ("", blow.client) for known in blows):
        return
    if any(blow.fault in known.excludes or known.fault in blow.excludes for known in blows):
        return
    if not set(blow.methods).intersection(*(known.methods for known in blows)):
        return
    blows.append(blow)
