"""`PanelWidget`: the comm between the panel and its pages. What it looks like is in ``panel.js`` and ``panel.css``."""

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
    # it derives from HasTraits by way of ipywidgets, which has no types
    from anywidget import AnyWidget

__all__ = ["PanelWidget"]

_MOST_RESTING = 3


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
    cell, count : str, int
        Id and number of the cell in whose output it is; empty and 0 where the frontend does not say.
    over : bool
        Whether the run has ended.
    record : str
        What stands in its place from then on, as HTML.
    text : str
        The same as plain text.
    placed : bool
        Whether a page has said that the record stands in its notebook: no other has to put it there.
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
        """Become the record, for pages that can only know the widget; the panels before the last few are closed.

        A page that was reloaded during the run has no output any more in which the record could be put in the place of
        the widget. It asks for the widget, and gets its answer when the cell has ended.
        """
        self.over = True
        self.text = text
        self.record = record
        self.on_msg(_note_that_it_is_placed)
        # comes last: what it loads looks for the record in the notebook
        self._esm = module_source("resting.js")
        self._css = ""
        _resting.append(self)
        while len(_resting) > _MOST_RESTING:
            _resting.popleft().leave()

    def leave(self) -> None:
        """Close it; nothing of it shall stay, in a notebook that is saved with the state of its widgets either."""
        self.over = True
        self.record = self.text = ""
        self._esm = "export default {}"
        self._css = ""
        self.close()

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what shows it in an output: the data, and the metadata that Google Colab wants of such a widget."""
        data = {
            WIDGET: {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.model_id,
            },
            "text/plain": self.title,
        }
        # IPython's protocol: anywidget knows whether this is Colab, and what that takes
        shown = self._repr_mimebundle_()
        return data, shown[1] if isinstance(shown, tuple) else {}


def _note_that_it_is_placed(widget: PanelWidget, content: object, _buffers: object) -> None:
    if fits(content, Placed):
        widget.placed = True


_resting: deque[PanelWidget] = deque()
