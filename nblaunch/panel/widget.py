"""`PanelWidget`: the widget through which the panel and its pages talk; ``panel.js`` and ``panel.css`` draw it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Int, Unicode

from nblaunch.panel.joining import STATIC, module_source
from nblaunch.panel.page_messages import Placed, fits
from nblaunch.panel.places import WIDGET

if TYPE_CHECKING:
    from traitlets import HasTraits as AnyWidget
else:
    # anywidget's class derives from HasTraits through ipywidgets, which has no types
    from anywidget import AnyWidget

__all__ = ["PanelWidget"]

# Widgets of runs that have ended which stay open.
_MAX_RESTING = 3


class PanelWidget(AnyWidget):
    """A panel as its pages know it.

    Attributes
    ----------
    title : str
        What runs.
    nprocs : int
        Number of ranks.
    token : str
        Name of the panel in messages on the control channel, and of the widget itself.
    cell : str
        Id of the cell in whose output it is; empty if the frontend does not say.
    count : int
        Number of that cell; 0 if the frontend does not say.
    over : bool
        Whether the run has ended.
    record : str
        The record of the run as HTML, once it has ended.
    text : str
        The record as plain text.
    placed : bool
        Whether a page has said that the record stands in its notebook: then no other page has to put it there.
    """

    _esm = module_source()
    _css = (STATIC / "panel.css").read_text(encoding="utf-8")
    title: str = Unicode().tag(sync=True)
    nprocs: int = Int().tag(sync=True)
    token: str = Unicode().tag(sync=True)
    cell: str = Unicode().tag(sync=True)
    count: int = Int(0).tag(sync=True)
    over: bool = Bool(False).tag(sync=True)
    record: str = Unicode().tag(sync=True)
    text: str = Unicode().tag(sync=True)
    placed: bool = Bool(False).tag(sync=True)

    def __init__(self, title: str, nprocs: int, token: str, cell: str = "", count: int = 0) -> None:
        super().__init__(title=title, nprocs=nprocs, token=token, cell=cell, count=count, model_id=token)

    def rest(self, record: str, text: str) -> None:
        """Show the record from now on, for pages that only know the widget; close all but the last few such widgets.

        A page that was reloaded during the run has lost the output that the record is published to. It asks for the
        widget instead, and gets its answer when the cell has ended.
        """
        self.over = True
        self.text = text
        self.record = record
        self.on_msg(_note_that_it_is_placed)
        # last, because the code that pages then load looks for the record in the notebook
        self._esm = module_source("resting.js")
        self._css = ""
        _resting.append(self)
        while len(_resting) > _MAX_RESTING:
            _resting.popleft().leave()

    def leave(self) -> None:
        """Empty and close the widget, so that nothing of it is saved with the state of a notebook's widgets."""
        self.over = True
        self.record = self.text = ""
        self._esm = "export default {}"
        self._css = ""
        self.close()

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata of an output that shows the widget."""
        data = {
            WIDGET: {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.model_id,
            },
            "text/plain": self.title,
        }
        # anywidget adds the metadata that Google Colab needs
        shown = self._repr_mimebundle_()
        return data, shown[1] if isinstance(shown, tuple) else {}


def _note_that_it_is_placed(widget: PanelWidget, content: object, _buffers: object) -> None:
    if fits(content, Placed):
        widget.placed = True


_resting: deque[PanelWidget] = deque()
