"""`SubprocessHandler`: one program that was started, for those who look after it themselves.

`nblaunch.processes.start_processes` does not need it: there the gang looks after all processes together.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack
from typing import Any

from nblaunch.processes.numa import bound_command, on_cpus

__all__ = ["SubprocessHandler"]


class SubprocessHandler:
    """A program in a session of its own.

    Parameters
    ----------
    entrypoint : str
        Name or path of the program.
    args : tuple
        Its arguments, which are turned into strings.
    env : dict of str to str
        Environment variables on top of the present ones.
    stdout, stderr : str or None
        Files for its output; None or an empty string leaves it where this process has its own.
    local_rank_id : int
        Its number, and that of its GPU for `numa_options`.
    numa_options : torch.numa.binding.NumaOptions, optional
        The processors on which it may run.

    Attributes
    ----------
    proc : subprocess.Popen
        The process.

    Raises
    ------
    OSError
        If the program cannot be started.
    """

    def __init__(
        self,
        entrypoint: str,
        args: tuple[Any, ...],
        env: dict[str, str],
        stdout: str | None,
        stderr: str | None,
        local_rank_id: int,
        numa_options: Any = None,
    ) -> None:
        self.local_rank_id = local_rank_id
        self._files = ExitStack()
        command, cpus = bound_command((entrypoint, *map(str, args)), local_rank_id, numa_options)
        with ExitStack() as opened:
            files = [opened.enter_context(open(path, "w")) if path else None for path in (stdout, stderr)]
            with on_cpus(cpus):
                self.proc: subprocess.Popen[bytes] = subprocess.Popen(
                    command, env={**os.environ, **env}, stdout=files[0], stderr=files[1], start_new_session=True
                )
            self._files = opened.pop_all()

    def close(self, death_sig: signal.Signals | None = None) -> None:
        """Send a signal, by default SIGTERM, to the program and what it has started, and close its log files.

        Raises
        ------
        ProcessLookupError
            If none of these processes is left.
        """
        self._files.close()
        os.killpg(self.proc.pid, signal.SIGTERM if death_sig is None else death_sig)
