"""`MarimoOutputs`: in marimo, shows what ranks display below the cell that launches, when the run has ended.

marimo runs cells without IPython, and finds the cell of an output by the thread that shows it. So all outputs are shown
in the cell's thread at the end, or in a `marimo.Thread` if the cell does not wait for the run. A cell that ends with a
value shows only that value, as always in marimo.
"""

from __future__ import annotations

import base64
import logging
import os
import sys
from collections.abc import Collection
from typing import Any

from nblaunch.events import Ended, Event
from nblaunch.flag import Flag
from nblaunch.panel.consumer import Consumer
from nblaunch.panel.notices import print_lines
from nblaunch.panel.outputs import OutputArea
from nblaunch.panel.places import Bundle, text_of

__all__ = ["MarimoOutputs", "variables_of_figures"]

logger: logging.Logger = logging.getLogger(__name__)

_UNSEEN = (
    "What the ranks have displayed is in run.outputs, because this marimo shows nothing below a cell that has ended: "
    "run.outputs[0][0] at the end of another cell shows the first output of rank 0"
)


class MarimoOutputs(Consumer):
    """Shows the outputs of ranks below the marimo cell that launches them.

    Parameters
    ----------
    marimo : module
        The package.
    show_ranks : collection of int, optional
        Ranks whose outputs are shown; by default all.
    """

    def __init__(self, marimo: Any, show_ranks: Collection[int] | None = None) -> None:
        self._marimo = marimo
        self._over = Flag()
        # a `marimo.Thread`
        self._thread: Any = None
        # whether that thread could not be started
        self._is_unseen = False
        self._area = OutputArea(show_ranks=show_ranks, held=True)

    @classmethod
    def here(cls, show_ranks: Collection[int] | None = None) -> MarimoOutputs | None:
        """Return those of the marimo cell that runs now; None elsewhere."""
        marimo = _marimo()
        return None if marimo is None else cls(marimo, show_ranks)

    def note(self, event: Event) -> None:
        """Take an event; never raises."""
        self._area.note(event)
        if isinstance(event, Ended):
            self._over.set()
            if self._is_unseen and self._area.final():
                print_lines([_UNSEEN])

    def follow(self, at_once: bool = False) -> None:
        """Have all shown when the run has ended, if the cell that runs now will not wait for that (`at_once`)."""
        if not at_once or self._thread is not None:
            return
        try:
            # it belongs to the cell in whose thread it is made
            self._thread = self._marimo.Thread(target=self._show_at_the_end, name="nblaunch-outputs", daemon=True)
            self._thread.start()
        except (AttributeError, RuntimeError):  # an old marimo; no more threads
            self._is_unseen = True

    def _show_at_the_end(self) -> None:
        self._over.wait()
        # not if the cell runs again or is gone, because its outputs are not this run's then
        if not self._thread.should_exit:
            self.close()

    def close(self) -> None:
        """Show all, once."""
        area, self._area = self._area, OutputArea()
        area.close()
        for bundle in area.final():
            try:
                self._marimo.output.append(self._element(bundle))
            except Exception:
                logger.exception("an output of the ranks could not be shown: run.outputs has it")

    def _element(self, bundle: Bundle) -> Any:
        """Return what marimo shows of an output: an image before HTML, and text where there is nothing else."""
        for kind in ("image/png", "image/jpeg"):
            if kind in bundle.data:
                return self._marimo.image(base64.b64decode(bundle.data[kind]))
        for kind in ("image/svg+xml", "text/html"):
            if kind in bundle.data:
                return self._marimo.Html(str(bundle.data[kind]))
        return self._marimo.plain_text(text_of(bundle.data))


def variables_of_figures() -> dict[str, str]:
    """Return the environment variables with which ``plt.show()`` displays figures in ranks, as in a marimo cell."""
    if _marimo() is None or "MPLBACKEND" in os.environ:
        return {}
    return {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def _marimo() -> Any:
    """Return the package if it runs this cell; else None."""
    marimo = sys.modules.get("marimo")
    try:
        return marimo if marimo is not None and marimo.running_in_notebook() else None
    except AttributeError:  # another package of that name, or an old one
        return None
