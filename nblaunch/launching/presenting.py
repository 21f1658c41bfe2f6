"""`Presentation`: the consumers that show a run, chosen by its options and by where it is launched.

::

                            ┌─► LivePanel, in a notebook
    events ─► Presentation ─┼─► TextPanel and a consumer for displays, elsewhere
                            └─► ShownValues
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nblaunch.events import Event
from nblaunch.jupyter.comms import print_under_this_cell
from nblaunch.jupyter.input_box import Box, NoInput, in_kernel, tell
from nblaunch.launching.options import Options
from nblaunch.launching.prepare import Prepared
from nblaunch.logs.reader import FindLogs
from nblaunch.panel.consumer import Consumer
from nblaunch.panel.live import LivePanel
from nblaunch.panel.marimo_outputs import MarimoOutputs
from nblaunch.panel.outputs import Publish, kernel_publisher, show_outputs
from nblaunch.panel.state import RunSummary
from nblaunch.panel.text import TextPanel
from nblaunch.panel.values import ShownValues
from nblaunch.runs.failure_text import failure_in_words
from nblaunch.runs.run import Run

__all__ = ["Presentation", "untold"]


class Presentation:
    """Shows one run, by handing its events to all its consumers.

    Parameters
    ----------
    run : Run
        The run.
    prepared : Prepared
        What runs, and the options.
    logs : callable
        Returns the `LogReader` of an attempt.
    bound : str
        The variables that will be bound to what comes back, as the record names them.
    raises : bool
        Whether failures will be raised.
    publish : callable, optional
        Shows something below the cell, see `nblaunch.panel.outputs.Publish`; by default the kernel's publisher.
    """

    def __init__(
        self,
        run: Run,
        prepared: Prepared,
        logs: FindLogs,
        bound: str = "",
        raises: bool = False,
        publish: Publish | None = None,
    ) -> None:
        self._run = run
        self._logs = logs
        self._title = prepared.title
        self._number = prepared.work.number
        self._bound = bound
        self._tells_bound = not prepared.options.quiet
        self._raises = raises
        self._consumers = self._consumers_for(prepared.options, prepared.box, publish or kernel_publisher())

    @property
    def is_empty(self) -> bool:
        """Whether nothing is shown of the run."""
        return not self._consumers

    @property
    def leaves_record(self) -> bool:
        """Whether a record stays below the cell, which shows failures."""
        return any(consumer.leaves_record for consumer in self._consumers)

    @property
    def shows_usage(self) -> bool:
        """Whether CPU and memory of the ranks are shown."""
        return any(consumer.shows_usage for consumer in self._consumers)

    def note(self, event: Event) -> None:
        """Show an event."""
        for consumer in self._consumers:
            consumer.note(event)

    def follow(self, at_once: bool = False) -> None:
        """Show the run while it is going on; `at_once` without waiting whether it ends in a moment."""
        for consumer in self._consumers:
            consumer.follow(at_once)

    def detach(self) -> None:
        """Have failures printed when the run ends, because nobody waits for an exception."""
        for consumer in self._consumers:
            consumer.detach(self._failure)

    def close(self) -> None:
        """Show the end of the run."""
        for consumer in self._consumers:
            consumer.close()

    def hold(self) -> None:
        """Print nothing until `go_on`, because the terminal belongs to the shell (Ctrl-Z)."""
        for consumer in self._consumers:
            consumer.hold()

    def go_on(self) -> None:
        """Print again."""
        for consumer in self._consumers:
            consumer.go_on()

    def say(self, line: str) -> None:
        """Print a line between the lines of the ranks."""
        if not any(consumer.say(line) for consumer in self._consumers):
            tell(f"{line}\n")

    def binds_no_longer(self) -> None:
        """Name no variables at the end, because a later run has bound them."""
        self._bound = ""

    def _consumers_for(self, options: Options, box: Box | NoInput, publish: Publish | None) -> tuple[Consumer, ...]:
        if options.panel == "none":
            return ()
        print_under_this_cell()
        shown: list[Consumer] = []
        if options.panel == "live" and publish is not None and in_kernel():
            shown.append(self._live_panel(options, box, publish))
        else:
            text = TextPanel(self._logs, options.size_notice, options.quiet)
            shown.append(text)
            if not options.quiet:
                marimo = MarimoOutputs.here(options.show_ranks)
                shown.append(marimo or show_outputs(options.show_ranks, text.print_lines))
        if options.show_values and not options.quiet:
            # last, because a notebook shows the value below everything else
            shown.append(self._shown_values(options, publish))
        return tuple(shown)

    def _live_panel(self, options: Options, box: Box | NoInput, publish: Publish) -> LivePanel:
        run = self._run
        return LivePanel(
            self._title,
            publish,
            self._run_summary,
            run.interrupt,
            run.kill,
            lambda: str(run.stacks()),
            self._logs,
            options.show_ranks,
            options.size_notice,
            options.quiet,
            alone=isinstance(box, NoInput) and box.executed,
        )

    def _shown_values(self, options: Options, publish: Publish | None) -> ShownValues:
        run = self._run
        where = "results" if self._bound.startswith("results,") else f"{self._bound}.results"
        return ShownValues(self._values, run.nprocs, where, lambda: run.outputs, options.show_ranks, publish)

    def _failure(self) -> str:
        return failure_in_words(self._run, self._title, self._bound)

    def _values(self) -> Mapping[int, object]:
        """Return the values to show, which are none if the cell raises or was interrupted."""
        run = self._run
        return run.results if run.ok or (run.status in ("failed", "timed out") and not self._raises) else {}

    def _told_bound(self) -> str:
        """Return a sentence that names the variables which hold what came back; empty if it was shown before."""
        names = self._bound.split(", ")
        return next(iter(untold([f"{' and '.join(names)} hold{'' if len(names) > 1 else 's'} what came back"])), "")

    def _run_summary(self) -> RunSummary:
        run = self._run
        return RunSummary(
            status=run.status,
            line=run.summary(),
            bound=self._told_bound() if self._bound and self._tells_bound else "",
            logs="" if run.logs.temporary and not self._bound else run.logs.path,
            told=self._raises and bool(run.failures),
            crashes={rank: failure.traceback for rank, failure in run.failures.items() if failure.exception is None},
            number=self._number,
        )


_TOLD: set[str] = set()


def untold(notices: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences that this process has not shown before, and remember them as shown."""
    new = tuple(notice for notice in dict.fromkeys(notices) if notice not in _TOLD)
    _TOLD.update(new)
    return new
