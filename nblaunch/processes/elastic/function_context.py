"""`MultiprocessContext`: a function, run by several processes."""

from __future__ import annotations

import multiprocessing.process
import os
import sys
from collections.abc import Callable
from typing import Any

from nblaunch.events import Event, Exited, Finished, LastWord, Raised
from nblaunch.exports import exported_by
from nblaunch.payload import Packed, pack, unpack, why
from nblaunch.processes.child.rank_spec import RankSpec
from nblaunch.processes.elastic.contexts import SETTLE, PContext, RunProcsResult
from nblaunch.processes.elastic.inheritance import Inheritance, inherited_reducers
from nblaunch.processes.elastic.logs_specs import LogsSpecs
from nblaunch.processes.elastic.multiprocessing_child import child_process
from nblaunch.processes.errors import ProcessFailure
from nblaunch.processes.errors.failure import NOT_AVAILABLE, FailureMessage, lingered, silent_exit
from nblaunch.processes.gang.gang import Gang
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.numa import check_options
from nblaunch.processes.starting.base import Preparation
from nblaunch.processes.starting.preloads import safe_modules
from nblaunch.processes.starting.start_methods import start_method_named

__all__ = ["MultiprocessContext"]


@exported_by("nblaunch.processes.api")
class MultiprocessContext(PContext):
    """Processes that run a function; see `start_processes`."""

    def __init__(
        self,
        name: str,
        entrypoint: Callable[..., Any],
        args: dict[int, tuple[Any, ...]],
        envs: dict[int, dict[str, str]],
        start_method: str,
        logs_specs: LogsSpecs,
        log_line_prefixes: dict[int, str] | None = None,
        numa_options: Any = None,
        duplicate_stdout_filters: list[str] | None = None,
        duplicate_stderr_filters: list[str] | None = None,
    ) -> None:
        if not callable(entrypoint):
            raise TypeError(
                f"entrypoint is a {type(entrypoint).__name__}: it must be a function, or the name of a program as str"
            )
        start_method_named(start_method)
        check_options(numa_options)
        self.start_method = start_method
        self._numa_options = numa_options
        self._bodies: dict[int, bytearray | list[memoryview]] = {}
        self._error_times: dict[int, float] = {}
        self._error_texts: dict[int, str] = {}
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
        main_module, main_path = _main_module()
        by_import = self.start_method != "fork"
        environment = dict(os.environ)
        rank_specs = [
            RankSpec(
                rank=rank,
                entry="nblaunch.processes.elastic.function:run",
                env=environment | self.envs[rank],
                cwd=os.getcwd(),
                stdout=self.stdouts[rank],
                stderr=self.stderrs[rank],
                sys_path=tuple(sys.path),
                argv=tuple(sys.argv),
                main_module=main_module if by_import else "",
                main_path=main_path if by_import else "",
            )
            for rank in range(self.nprocs)
        ]
        children = {rank: child_process(self.start_method) for rank in range(self.nprocs)}
        inheritance = Inheritance()
        payload: list[Packed] = []
        if by_import:
            try:
                with inheritance.pickling():
                    payload = [pack((children, self._numa_options)), self._pack(bool(main_module or main_path))]
            except BaseException:
                inheritance.close()
                raise
        return Gang(
            rank_specs,
            start_method_named(self.start_method),
            self._note,
            preparation=Preparation(
                "nblaunch.processes.elastic.function", modules=safe_modules(), needed=safe_modules()
            ),
            payload=payload,
            bags=inheritance.bags(),
            inherited=None if by_import else (self.entrypoint, self.args, children, self._numa_options),
            policy=Policy(settle=SETTLE),
        )

    def _pack(self, main_by_reference: bool) -> Packed:
        reducers = inherited_reducers()
        try:
            return pack((self.entrypoint, self.args), main_by_reference=main_by_reference, reducers=reducers)
        except Exception as error:
            culprit = f"the entrypoint {getattr(self.entrypoint, '__qualname__', self.entrypoint)!r}"
            for rank, arguments in self.args.items():
                for position, argument in enumerate(arguments):
                    try:
                        pack(argument, main_by_reference=main_by_reference, reducers=reducers)
                    except Exception:
                        culprit = f"args[{rank}][{position}], of type {type(argument).__name__},"
                        break
                else:
                    continue
                break
            raise TypeError(
                f"{culprit} cannot be pickled and so cannot be sent to a process: {type(error).__name__}: {error}. "
                "Create it inside the function, or use start_method='fork'"
            ) from error

    def _note(self, event: Event) -> None:
        super()._note(event)
        if isinstance(event, Finished):
            self._bodies[event.rank] = event.body
        elif isinstance(event, Raised):
            self._error_times[event.rank] = event.at
            self._error_texts[event.rank] = event.report.traceback or event.report.problem

    def _succeeded(self, exit_: Exited) -> bool:
        return exit_.reported == LastWord.VALUE and exit_.exitcode == 0

    def _what_runs(self) -> str:
        name = getattr(self.entrypoint, "__qualname__", type(self.entrypoint).__name__)
        return f"the function {name}, started by {self.start_method}"

    def _judge(self) -> RunProcsResult:
        failed = {rank: exit_ for rank, exit_ in self._exits.items() if not self._succeeded(exit_)}
        # Ranks that were ended because another one failed are no failures of their own; but if nobody failed
        # (close() was called) they are all that can be told.
        own = {rank: exit_ for rank, exit_ in failed.items() if not exit_.collateral} or failed
        order = sorted(own, key=lambda rank: self._error_times.get(rank, own[rank].at))
        failures = {rank: self._failure_of(own[rank]) for rank in order}
        values: dict[int, Any] = {}
        if not failed:
            for rank in range(self.nprocs):
                try:
                    values[rank] = unpack(self._bodies.pop(rank))
                except (Exception, SystemExit) as error:  # whatever the user's object does when it is rebuilt
                    failures[rank] = self._failure(rank, 0)
                    failures[rank].message = FailureMessage(
                        f"the value that rank {rank} returned cannot be rebuilt here: {why(error)}"
                    )
        self._bodies.clear()
        return RunProcsResult({} if failures else values, failures, self.stdouts, self.stderrs)

    def _failure_of(self, exit_: Exited) -> ProcessFailure:
        failure = self._failure(exit_.rank, exit_.exitcode)
        if exit_.exitcode == 0 and exit_.reported is None:
            failure.message = silent_exit(exit_.rank, failure.pid)
        elif exit_.exitcode > 0 and failure.error_file == NOT_AVAILABLE and exit_.rank in self._error_texts:
            # leaving by sys.exit() is not recorded, and with log_dir=os.devnull nothing is
            failure.message = FailureMessage(
                f"exited with code {exit_.exitcode} and left no error file: {self._error_texts[exit_.rank]}"
            )
        if exit_.lingered:
            failure.add(lingered(exit_.lingered))
        return failure


def _main_module() -> tuple[str, str]:
    """Return name or path by which a fresh interpreter can import this program's main module, or two empty strings.

    The same answer as `multiprocessing.spawn.get_preparation_data`, which would settle the default start method of
    the whole program along the way, so that it could not be set any more. What `multiprocessing.spawn.prepare` would
    not import, such as the ``__main__.py`` of a package, does not count: functions in it travel by value.
    """
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return ("", "") if name == "__main__" or name.endswith(".__main__") else (name, "")
    path = getattr(main, "__file__", None)
    if not path or os.path.splitext(os.path.basename(path))[0] in ("ipython", "__main__"):
        return "", ""
    path = os.path.normpath(os.path.join(multiprocessing.process.ORIGINAL_DIR or "", path))  # type: ignore[attr-defined]
    return "", path if os.path.isfile(path) else ""  # a program that is read from stdin has "<stdin>"
