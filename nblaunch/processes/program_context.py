"""`SubprocessContext`: a program, run by several processes."""

from __future__ import annotations

import os
import shutil
from typing import Any

from nblaunch.processes.child import Birth
from nblaunch.processes.contexts import SETTLE, PContext, RunProcsResult, refuse_numa
from nblaunch.processes.direct_children import Program
from nblaunch.processes.gang import Gang
from nblaunch.processes.logs_specs import LogsSpecs

__all__ = ["SubprocessContext"]


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
        numa_options: None = None,
        duplicate_stdout_filters: list[str] | None = None,
        duplicate_stderr_filters: list[str] | None = None,
    ) -> None:
        refuse_numa(numa_options)
        for rank, env in envs.items():
            path = env.get("PATH", os.environ.get("PATH", os.defpath))
            if shutil.which(entrypoint, path=path) is None:
                raise FileNotFoundError(
                    f"entrypoint {entrypoint!r} of rank {rank} is not an executable file, nor found as one on PATH"
                )
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
        births = [
            Birth(
                rank=rank,
                command=(str(self.entrypoint), *map(str, self.args[rank])),
                env=environment | self.envs[rank],
                stdout=self.stdouts[rank],
                stderr=self.stderrs[rank],
            )
            for rank in range(self.nprocs)
        ]
        return Gang(births, Program, self._note, succeeded=lambda exit_: exit_.exitcode == 0, settle=SETTLE)

    def _judge(self) -> RunProcsResult:
        failures = {
            rank: self._failure(rank, self._exits[rank].exitcode)
            for rank in sorted(self._exits, key=lambda rank: self._exits[rank].collateral)
            if self._exits[rank].exitcode != 0
        }
        values = {} if failures else dict.fromkeys(range(self.nprocs))
        return RunProcsResult(values, failures, self.stdouts, self.stderrs)
