"""`Blow`: what is done to a run, once, and what may come of it.

A rank is hit at one of four moments: ``start`` (before its own code), ``run``, ``result`` (its value is being packed)
and ``exit`` (its value has been sent). From inside by its own code, from outside by the driver, which hears from the
rank that it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

__all__ = ["ANYTHING", "MOMENTS", "ORDERS", "Blow", "Outside", "inside", "soon"]

MOMENTS = ("start", "run", "result", "exit")
# An outcome that allows every other one.
ANYTHING = "*"
ORDERS = ("run.stop()", "run.kill()", "run.interrupt()")


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
    excludes : tuple of str
        Faults with which nothing is promised.
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
    excludes: tuple[str, ...] = ()
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


def soon(rng: Random, most: float = 0.03) -> float:
    """Draw a delay: often none."""
    return rng.choice((0.0, rng.uniform(0, most)))


def inside(fault: str, victim: int, moment: str, action: str, *outcomes: str) -> Blow:
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
