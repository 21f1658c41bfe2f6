"""What ranks displayed: `Output`, one of them, and `Outputs`, all of a run, kept in ``run.outputs``."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from nblaunch.events import Displayed
from nblaunch.exports import exported_by
from nblaunch.runs.displaying import Displaying

__all__ = ["Output", "Outputs"]


@exported_by("nblaunch")
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
        # copies, because marimo changes what it gets
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
