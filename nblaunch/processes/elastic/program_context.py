"""`SubprocessContext`: a program, run by several processes."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

from nblaunch.events import Exited
from nblaunch.exports import exported_by
from nblaunch.processes.child.rank_spec import RankSpec
from nblaunch.processes.elastic.contexts import SETTLE, PContext, RunProcsResult
from nblaunch.processes.elastic.logs_specs import LogsSpecs
from nblaunch.processes.gang.gang import Gang
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.numa import bound_command, check_options
from nblaunch.processes.starting.direct import Program

__all__ = ["SubprocessContext"]


@exported_by("nblaunch.processes.api")
class SubprocessContext(PContext):
    """Processes that run a program; see `start_processes`."""

    def __init__(
        self,
        name: str,
        entrypoint: str,
        args: dict[int, tuple[Any, ...]],
        envs: dict[int, dict[str, str]],
        logs_specs: LogsSpecs,
        log_line_prefixes: dict[int, str] | None = None,
        numa_options: Any = None,
        duplicate_stdout_filters: list[str] | None = None,
        duplicate_stderr_filters: list[str] | None = None,
    ) -> None:
        check_options(numa_options)
        self._numa_options = numa_options
        for rank, env in envs.items():
            _check_program(entrypoint, rank, env.get("PATH", os.environ.get("PATH", os.defpath)))
        super().__init__(
            name,
            entrypoint,
            args,
            envs,
            logs_specs,
            log_line_prefixes,
            duplicate_stdout_filters,
            duplicate_stderr_filters,
        )

    def _make_gang(self) -> Gang:
        environment = dict(os.environ)
        bound = {
            rank: bound_command((str(self.entrypoint), *map(str, self.args[rank])), rank, self._numa_options)
            for rank in range(self.nprocs)
        }
        rank_specs = [
            RankSpec(
                rank=rank,
                command=bound[rank][0],
                cpus=tuple(bound[rank][1]),
                env=environment | self.envs[rank],
                stdout=self.stdouts[rank],
                stderr=self.stderrs[rank],
            )
            for rank in range(self.nprocs)
        ]
        return Gang(rank_specs, Program, self._note, policy=Policy(self._succeeded, settle=SETTLE))

    def _succeeded(self, exit_: Exited) -> bool:
        return exit_.exitcode == 0

    def _what_runs(self) -> str:
        return f"the program {self.entrypoint}"

    def _judge(self) -> RunProcsResult:
        failures = {
            rank: self._failure(rank, self._exits[rank].exitcode)
            for rank in sorted(self._exits, key=lambda rank: self._exits[rank].collateral)
            if self._exits[rank].exitcode != 0
        }
        values = {} if failures else dict.fromkeys(range(self.nprocs))
        return RunProcsResult(values, failures, self.stdouts, self.stderrs)


def _check_program(entrypoint: str, rank: int, path: str) -> None:
    """Raise an error if a program cannot be run."""
    if shutil.which(entrypoint, path=path) is not None:
        return
    # a name without a folder is looked for on the path alone
    folders = [""] if os.path.dirname(entrypoint) else path.split(os.pathsep)
    found = [place for folder in folders if os.path.exists(place := os.path.join(folder, entrypoint))]
    files = [place for place in found if os.path.isfile(place)]
    if files:
        raise PermissionError(
            errno.EACCES,
            f"entrypoint {entrypoint!r} of rank {rank} is a file that may not be executed; chmod +x allows it",
            files[0],
        )
    if found and os.path.dirname(entrypoint):
        raise PermissionError(errno.EACCES, f"entrypoint {entrypoint!r} of rank {rank} is a folder", found[0])
    raise FileNotFoundError(
        errno.ENOENT,
        f"entrypoint {entrypoint!r} of rank {rank} is not an executable file, nor found as one on PATH",
        entrypoint,
    )
