"""What ranks displayed: `Output`, one of them, `Outputs`, all of a run, and how messages become events.

::

    Reported("display") ─► displayed ─► Displayed ─┬─► Outputs, kept in ``run.outputs``
                                                   └─► panel
"""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from nblaunch.events import Displayed, Reported
from nblaunch.payload import unpack_plain
from nblaunch.runs.displaying import Displaying

__all__ = ["Output", "Outputs", "displayed"]

logger = logging.getLogger(__name__)


@dataclass
class Output:
    """Something that a rank displayed; it shows itself in a notebook.

    Attributes
    ----------
    data : dict of str to object
        Representations by MIME type, images in base64, as in Jupyter's ``display_data``.
    metadata : dict of str to object
        What belongs to them.
    """

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # who shows it may change what it gets, as marimo does
        return deepcopy(self.data), deepcopy(self.metadata)

    def __repr__(self) -> str:
        return f"<Output: {', '.join(self.data) or 'empty'}>"


class Outputs(Displaying[Output]):
    """What the ranks of a run display; `by_rank` has a list for each of them."""

    def __init__(self, nprocs: int) -> None:
        super().__init__()
        self.by_rank.update((rank, []) for rank in range(nprocs))

    def made(self, event: Displayed) -> Output:
        """Return a new output."""
        return Output(event.data, event.metadata)

    def change(self, item: Output, event: Displayed) -> None:
        """Give an output other content."""
        item.data, item.metadata = event.data, event.metadata


def displayed(report: Reported) -> Displayed | None:
    """Return what a message of kind ``"display"`` says, or None, and a warning in the log, if it makes no sense."""
    try:
        message = unpack_plain(report.body)
        kind = message["kind"]
        if kind == "clear":
            return Displayed(report.rank, kind, {}, {}, None, report.at, wait=bool(message["wait"]))
        data, metadata, display_id = message["data"], message["metadata"], message["display_id"]
        if kind not in ("display", "update"):
            raise ValueError(f"no kind of display: {kind!r:.100}")
        if not (isinstance(data, dict) and isinstance(metadata, dict) and isinstance(display_id, (str, type(None)))):
            raise TypeError("its parts are of other types than they should be")
        if kind == "update" and display_id is None:
            raise ValueError("an update of nothing")
        return Displayed(report.rank, kind, data, metadata, display_id, report.at)
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        # as text: who keeps log records would keep the run with the exception's frames
        why = f"{type(error).__name__}: {error}"
        logger.warning("rank %d displayed what makes no sense: %s", report.rank, why)
        return None
