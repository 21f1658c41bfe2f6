"""`Case`: one run, drawn from a seed and a number; the same two always give the same cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from tests.chaos.faults import ANYTHING, FAULTS, Blow

__all__ = ["Case", "draw"]

_METHODS = {"zygote": 30, "forkserver": 4, "spawn": 2, "fork": 4}
_BYSTANDERS = ("finish", "display", "wait", "wait", "deaf", "child", "holding the lock", "busy")
# Seconds after which a run ends that does not end by itself; fresh interpreters need some to come so far.
_TIMEOUT = {"zygote": 0.7, "fork": 0.7, "forkserver": 2.5, "spawn": 4.0}


@dataclass(frozen=True)
class Case:
    """One run.

    Parameters
    ----------
    form : {"cell", "function"}
        Whether ``%%multiproc`` runs it or ``nblaunch.launch``.
    bystanders : str
        What the ranks do that are not hit.
    beside : bool
        Whether another run goes on in the background, which none of this concerns.
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
    shown: bool
    beside: bool = False

    @property
    def token(self) -> str:
        """What marks the processes of this run."""
        return f"{self.seed}/{self.number}"

    @property
    def setup(self) -> str:
        """The cell before, which may be empty."""
        lines = [f"trap = inside.Trap({blow.victim}, {blow.trap!r})" for blow in self.blows if blow.trap]
        if self.beside:
            lines.append("other = nblaunch.launch(inside.linger, 2, panel='none', timeout=5, wait=False)")
        return "\n".join(lines)

    @property
    def cell(self) -> str:
        """The cell itself."""
        return self._cell() if self.form == "cell" else self._function()

    def ends_by_interrupt(self) -> bool:
        """Tell whether the notebook is interrupted."""
        return any(act.target == "interrupt" for blow in self.blows for act in blow.outside)

    def orders(self) -> list[str]:
        """Return what the notebook does with the run while it goes on."""
        return [blow.order for blow in self.blows if blow.order]

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
        if self.ends_by_interrupt() or self.orders():
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
        lines = []
        if any(blow.trap for blow in self.blows):
            lines.append("trap")
        sizes = self.sizes()
        for rank in range(self.nprocs):
            own = [line for blow in self.blows if blow.victim == rank for line in blow.lines]
            if any(blow.victim == rank for blow in self.blows):
                lines.append(f"{'if' if not self._begun(lines) else 'elif'} rank == {rank}:")
                lines.append(f"    value = inside.value({sizes[rank]})")
                lines += [f"    {line}" for line in own]
        if self._begun(lines):
            lines.append("else:")
            lines += [f"    inside.bystand({self.bystanders!r})", "    value = inside.value(0)"]
        else:
            lines += [f"inside.bystand({self.bystanders!r})", "value = inside.value(0)"]
        return lines

    @staticmethod
    def _begun(lines: list[str]) -> bool:
        return any(line.startswith("if ") for line in lines)

    def _cell(self) -> str:
        options = [f"--out run --env NBCHAOS={self.token} --grace {self.grace} --start-method {self.method}"]
        if self.timeout is not None:
            options.append(f"--timeout {self.timeout}")
        if self.keeps_going:
            options.append("--on-failure continue")
        if not self.raises:
            options.append("--no-raise")
        if not self.shown:
            options.append("--no-panel")
        head = f"%%multiproc {self.nprocs} {' '.join(options)}"
        body = ["from tests.chaos import inside", *self._body(), "value"]
        if not self.tells_that_it_has_begun():
            return "\n".join([head, *body])
        # the same, but an interrupt that comes before the magic would meet IPython, and not nblaunch
        text = "\n".join(body)
        line = head.removeprefix("%%multiproc ")
        return f"print('begun', flush=True)\nget_ipython().run_cell_magic('multiproc', {line!r}, {text!r})"

    def _function(self) -> str:
        options: dict[str, object] = {
            "env": {"NBCHAOS": self.token},
            "grace": self.grace,
            "start_method": self.method,
            "timeout": self.timeout,
            "on_failure": "continue" if self.keeps_going else "stop",
            "panel": "text" if self.shown else "none",
        }
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
            lines += ["import time", *orders, "run.wait()"]
        return "\n".join([*lines, "run.raise_for_failures()"] if self.raises else lines)


def draw(seed: int, number: int) -> Case:
    """Draw a run."""
    rng = Random(f"{seed}/{number}")
    nprocs = rng.choice((2, 2, 3, 4))
    blows: list[Blow] = []
    victims = rng.sample(range(nprocs), nprocs)
    for _ in range(rng.choices((1, 2, 3), (6, 3, 1))[0]):
        _add(blows, _draw_blow(rng, victims.pop() if len(victims) > 1 else victims[0]))
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
    return Case(
        seed=seed,
        number=number,
        nprocs=nprocs,
        method=method,
        form="function" if ordered else rng.choice(("cell", "cell", "cell", "function")),
        blows=tuple(blows),
        bystanders=bystanders,
        # ranks that are deaf must still be there when the second of two interrupts comes
        grace=max(rng.choice((0.1, 0.3, 0.6)), 2.0 * any(blow.alone for blow in blows)),
        timeout=_TIMEOUT[method] if needs_end or (interrupted and keeps_going) else None,
        keeps_going=keeps_going,
        raises=rng.random() < 0.5,
        shown=rng.random() < 0.4 and not any("flood" in blow.fault for blow in blows),
        beside=rng.random() < 0.15,
    )


def _draw_blow(rng: Random, victim: int) -> Blow:
    return rng.choices(list(FAULTS), list(FAULTS.values()))[0](rng, victim)


def _add(blows: list[Blow], blow: Blow) -> None:
    """Add one, unless it cannot be told from what is there."""
    taken = {known.victim for known in blows}
    if blow.victim is not None and blow.victim in taken:
        return
    if blows and (blow.alone or any(known.alone for known in blows)):
        return
    # the notebook has one variable for traps, and all ranks have one thing to do besides
    if (blow.trap and any(known.trap for known in blows)) or (blow.others and any(known.others for known in blows)):
        return
    if not set(blow.methods).intersection(*(known.methods for known in blows)):
        return
    blows.append(blow)
