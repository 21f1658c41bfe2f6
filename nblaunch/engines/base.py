"""The contract between a run and the place where its ranks live."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from nblaunch.events import Event, Stack
from nblaunch.exports import exported_by
from nblaunch.logs.reader import LogReader
from nblaunch.payload import Packed
from nblaunch.processes.starting.hash_seed import with_hash_seed

__all__ = ["Engine", "Placement", "Plan", "Ranks", "Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """What ranks find as the process has it that launches them, wherever they are started.

    Parameters
    ----------
    environment : mapping of str to str
        Its environment variables.
    directory : str
        Its working directory.
    sys_path, argv : tuple of str
        Its ``sys.path`` and ``sys.argv``.
    """

    environment: Mapping[str, str] = field(repr=False)
    directory: str
    sys_path: tuple[str, ...]
    argv: tuple[str, ...]

    @classmethod
    def here(cls, start_method: str = "zygote") -> Surroundings:
        """Return those of this process, with one hash seed for all ranks unless they are copies of this process.

        Raises
        ------
        FileNotFoundError
            If the working directory was removed.
        """
        # a copy of this process has its seed, whatever the variable says
        environment = dict(os.environ) if start_method == "fork" else with_hash_seed(os.environ)
        return cls(environment, _working_directory(), tuple(sys.path), tuple(sys.argv))


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError(
            "the notebook's working directory was removed: os.chdir() to one that exists, then launch again"
        ) from None


@dataclass(frozen=True)
class Placement:
    """Which ranks of a run a node has, and where all of them meet; by default it is the only node and has all ranks.

    For example, of four ranks on two nodes the second one has ``Placement(2, 4, 1, 2, "node7", 29500)``.

    Parameters
    ----------
    first_rank : int
        The first of its ranks; the others follow.
    world_size : int
        How many ranks the run has on all nodes; 0 is those of this node.
    node, nodes : int
        The number of this node, from 0 on, and how many there are.
    master_addr : str
        The address of the node on which rank 0 listens, if it does.
    master_port : int
        The port there; 0 has a free one of this machine kept for it.
    """

    first_rank: int = 0
    world_size: int = 0
    node: int = 0
    nodes: int = 1
    master_addr: str = "127.0.0.1"
    master_port: int = 0


@dataclass(frozen=True)
class Plan:
    """One launch, ready to start.

    Parameters
    ----------
    run_id : str
        Name of the run, which no other run has; part of the log folder and of the ranks' environment.
    nprocs : int
        Number of ranks that are to be started.
    entry, prepare, rehearse : str
        ``"module:function"`` that a rank runs; what a process that ranks are forked from imports or calls first; and
        what a rank that was forked ahead calls while it waits.
    payload : tuple of Packed
        What every rank gets.
    surroundings : Surroundings
        What ranks find as the launching process has it; nothing is taken from the process that starts them.
    env : mapping of str to str
        Variables on top of that environment, the same for all ranks.
    placement : Placement
        Which of the ranks of a run these are.
    start_method : str
        How processes are made.
    log_dir : str
        Folder that will hold the folder of this run.
    stop_on_failure : bool
        Whether the first failure ends the other ranks.
    grace : float
        Seconds between one signal and the next stronger one.
    timeout : float or None
        Seconds after which the ranks are ended.
    stall, straggler : float
        Seconds after which ranks are told of that do nothing, or that are left when others have finished; 0 is never.
    max_restarts : int
        How often all ranks may be started again after a failure. An engine only tells its ranks:
        `nblaunch.engines.restarts` starts them again.
    attempt : int
        How often they have been: 0 for the first time.
    max_log : int
        Bytes of a log that are kept, those at its end; 0 is all.
    """

    run_id: str
    nprocs: int
    entry: str
    prepare: str
    payload: tuple[Packed, ...]
    log_dir: str
    rehearse: str = ""
    surroundings: Surroundings = field(default_factory=Surroundings.here)
    env: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = field(default_factory=Placement)
    start_method: str = "zygote"
    stop_on_failure: bool = True
    grace: float = 5.0
    timeout: float | None = None
    stall: float = 0.0
    straggler: float = 0.0
    max_restarts: int = 0
    attempt: int = 0
    max_log: int = 0

    @property
    def ranks(self) -> range:
        """The ranks that are to be started."""
        first = self.placement.first_rank
        return range(first, first + self.nprocs)

    @property
    def world_size(self) -> int:
        """How many ranks the run has, those of other nodes included."""
        return self.placement.world_size or self.nprocs


class Ranks(Protocol):
    """The ranks of one plan, as their run holds them. All methods may be called from any thread.

    What is ordered before the start is in force when they start.
    """

    def start(self) -> None:
        """Start all ranks; events follow, `nblaunch.events.Ended` as the last.

        Raises
        ------
        OSError
            If the ranks cannot be started; nothing is left running then. InterruptedError, if they were ordered to
            end meanwhile.
        """

    def interrupt(self) -> None:
        """Interrupt the ranks as Ctrl-C does, and escalate if they do not go."""

    def stop(self) -> None:
        """Ask the ranks to terminate, and escalate if they do not."""

    def kill(self) -> None:
        """Kill the ranks at once."""

    def signal(self, number: int, ranks: Iterable[int] | None) -> None:
        """Send a signal to the processes of these ranks that still run, or of all; the run goes on."""

    def hold(self) -> None:
        """Stop the ranks as Ctrl-Z does, until `resume`."""

    def resume(self) -> None:
        """Set the ranks going again; the time between does not count against any deadline."""

    def stacks(self, ranks: Iterable[int] | None, native: bool) -> dict[int, Stack]:
        """Return where these ranks are that still run, or all, without disturbing them.

        Parameters
        ----------
        native : bool
            With the frames of C code, which takes longer.

        Raises
        ------
        TimeoutError
            If that cannot be found out now.
        FileNotFoundError
            If nothing is installed that reads frames of C code.
        """

    def refuse(self, rank: int, why: str, sent_at: float) -> None:
        """Count a rank as failed of those that run, or were the last to: what it has sent is no value.

        Parameters
        ----------
        why : str
            Why not.
        sent_at : float
            When it was sent.
        """

    def answer(self, rank: int, number: int, body: bytes) -> None:
        """Answer what a rank has asked."""

    def logs(self, attempt: int) -> LogReader:
        """Return who reads what the ranks of an attempt write, of which `nblaunch.events.Launched` has told.

        Parameters
        ----------
        attempt : int
            Its number: 0 for the first one, 1 for the first restart.
        """

    def sample(self, period: float) -> None:
        """Tell in events what the ranks use (`nblaunch.events.Sampled`), every `period` seconds."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left and the last event has been taken; tell whether that is so."""


@exported_by("nblaunch")
class Engine(Protocol):
    """A place where ranks can run."""

    def prepare(self, plan: Plan, on_event: Callable[[Event], None]) -> Ranks:
        """Make everything ready and start nothing yet, so that whoever starts the ranks can already end them.

        Raises
        ------
        ValueError, FileNotFoundError
            If the plan cannot be carried out here.
        """

    def get_ready(
        self, prepare: str, rehearse: str, among: AbstractSet[str] | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Do what makes the next launch quicker, or nothing; return at once.

        Parameters
        ----------
        prepare, rehearse : str
            See `Plan`.
        among : set of str, optional
            The modules that count as imported; by default all that are by now.
        env : mapping of str to str, optional
            The variables that ranks will have; by default those of this process by now.

        Raises
        ------
        OSError
            If the system refuses that.
        """
