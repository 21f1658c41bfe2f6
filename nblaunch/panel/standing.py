"""`Standing`: the outputs of a cell stay, dimmed, when the cell runs again, until there is something new to show.

JupyterLab and Notebook 7 empty the outputs of a cell when it runs. All that is below the cell moves up then, and down
again as soon as the run shows something. So the kernel remembers what a run has shown, and shows it at once when the
same cell runs again. What is new takes its place.

::

    the run before ─► remembered ─► shown again, dimmed ─┬─► replaced by the first thing that this run shows
                                                         └─► hidden by the widget, as soon as a page has drawn it
"""

from __future__ import annotations

import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from nblaunch.jupyter.comms import cell_that_a_page_runs
from nblaunch.panel.markup import PRE, line_html
from nblaunch.panel.outputs import Publish, kernel_publisher
from nblaunch.panel.places import IMAGE_WIDTH, NOTHING, PLAIN, WIDGET, Bundle, is_image
from nblaunch.panel.terminal import render

__all__ = ["Standing", "forget", "standing_here"]

# Characters of the outputs that are remembered of one cell.
_MAX_CHARACTERS = 1_000_000
_MAX_CELLS = 20
# HTML that does something when it is shown is not shown again.
_DOES_SOMETHING = re.compile(
    r"<(?:script|iframe|object|embed|video|audio|form|input|button|select|textarea|link|meta)\b|\son\w+\s*=",
    re.IGNORECASE,
)
_STYLES = re.compile(r"<style\b[^>]*>.*?</style>", re.DOTALL | re.IGNORECASE)
_IMAGES = ("image/png", "image/jpeg", "image/gif")
_BESIDE = f"display: inline-block; vertical-align: top; width: {IMAGE_WIDTH}"
# Hidden and not removed, because the panel takes its height from it.
_HIDDEN = (
    ".jp-OutputArea:has(.nbl-panel) > .jp-OutputArea-child:has(.nblaunch-earlier) "
    "{ position: absolute; width: 100%; visibility: hidden; pointer-events: none }"
)
_WORD = (
    "position: absolute; top: 0; right: 0; padding: 0 6px; font-size: 85%; color: var(--jp-ui-font-color2, #757575); "
    "background: var(--jp-layout-color0, transparent)"
)

_last_shown: OrderedDict[str, Standing] = OrderedDict()


def standing_here() -> Standing | None:
    """Return the publisher for the cell that runs now; None if no page of Jupyter's own runs it."""
    cell, request = cell_that_a_page_runs()
    known = _last_shown.get(cell)
    if known is not None and known.request == request:
        return known  # a cell may launch more than once
    publish = kernel_publisher() if cell else None
    return None if publish is None else Standing(publish, cell, request)


def forget(cell: str) -> None:
    """Take note that something else stands under a cell by now."""
    _last_shown.pop(cell, None)


class Standing:
    """Publishes and remembers what a run shows; until the first output it shows those of the run before.

    Parameters
    ----------
    publish : callable
        See `nblaunch.panel.outputs.Publish`, which this object is too.
    cell, request : str
        Id of the cell, and of the message by which it was sent.

    Attributes
    ----------
    cell, request : str
        The same.
    goes_on : bool
        Whether the run outlives the cell: then what stands there does, too, until the run shows something.
    """

    def __init__(self, publish: Publish, cell: str, request: str) -> None:
        self.cell = cell
        self.request = request
        self.goes_on = False
        self._publish = publish
        self._lock = threading.Lock()
        # display id of the output of the run before
        self._earlier = f"nblaunch-{uuid.uuid4().hex[:12]}-earlier"
        # name of the output of this run that has replaced it
        self._in_its_place = ""
        # whether the output of the run before is there, and whether a widget is below it
        self._stands = False
        self._has_widget = False
        # by the name that the run gives it
        self._shown: dict[str, Bundle] = {}
        self._error = ""
        before = _last_shown.pop(cell, None)
        _last_shown[cell] = self
        while len(_last_shown) > _MAX_CELLS:
            _last_shown.popitem(last=False)
        html = "" if before is None else before._html()
        if html:
            self._stands = True
            self._publish(_dimmed(html, cell), {}, {"display_id": self._earlier})

    def __call__(
        self, data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        """Show something, in the place of what the run before has left if that still stands there."""
        name = str(transient.get("display_id") or uuid.uuid4().hex)
        with self._lock:
            self._remember(name, Bundle(data, metadata))
            # A page draws a widget after some time; the drawn widget then hides the output above it, see `_dimmed`.
            is_drawn_later = WIDGET in data
            self._has_widget = self._has_widget or is_drawn_later
            takes_place = self._stands and not self._has_widget and not update
            goes = self._stands and self._has_widget and not is_drawn_later
            if takes_place or goes:
                self._stands = False
            if takes_place:
                self._in_its_place, update = name, True
            if name == self._in_its_place:
                transient = {**transient, "display_id": self._earlier}
        if goes:
            self._take_away()
        self._publish(data, metadata, transient, update=update)

    def end(self, traceback: Iterable[str] = ()) -> None:
        """Remove the output of the run before, if nothing has replaced it; remember the cell's traceback."""
        with self._lock:
            self._error = "\n".join(traceback)[:_MAX_CHARACTERS]
            goes = self._stands and not self._has_widget and not self.goes_on
            self._stands = self._stands and not goes
        if goes:
            self._take_away()

    def _take_away(self) -> None:
        self._publish(NOTHING, {}, {"display_id": self._earlier}, update=True)

    def _remember(self, name: str, output: Bundle) -> None:
        room = _MAX_CHARACTERS - sum(other.size() for key, other in self._shown.items() if key != name)
        self._shown[name] = output if output.size() <= room else Bundle({}, {})

    def _html(self) -> str:
        with self._lock:
            shown, error = list(self._shown.values()), self._error
        parts = [*_side_by_side(shown)]
        if error:
            lines = render(error.encode(errors="replace"))
            parts.append(f'<pre style="{PRE}; margin: 0">{chr(10).join(map(line_html, lines))}</pre>')
        return "\n".join(parts)


def _side_by_side(outputs: list[Bundle]) -> Iterator[str]:
    """Yield the HTML of outputs; images are side by side if they were, each below its rank."""
    are_beside = any("nblaunch-images" in str(output.data.get("text/html")) for output in outputs)
    label = ""
    for output in outputs:
        html = _html_of(output)
        if label and is_image(output):
            yield f'<div style="{_BESIDE if are_beside else ""}">{label}{html}</div>'
            label = ""
        else:
            if label:
                yield label
            label = html if 'class="nblaunch-image' in html else ""
            if html and not label:
                yield html
    if label:
        yield label


def _html_of(output: Bundle) -> str:
    """Return the HTML of an output; empty if it shows nothing, or would do something."""
    data = output.data
    html = data.get("text/html")
    if isinstance(html, str):
        return "" if _DOES_SOMETHING.search(html) else _STYLES.sub("", html)
    if is_image(output):
        mime = next((mime for mime in _IMAGES if isinstance(data.get(mime), str)), "")
        if not mime:
            return ""
        size = output.metadata.get(mime, {})
        width = f"width: {size['width']}px; " if isinstance(size, dict) and "width" in size else ""
        source = f"data:{mime};base64,{data[mime].strip()}"
        return f'<div><img style="{escape(width)}max-width: 100%" src="{escape(source)}"></div>'
    text = data.get(PLAIN)
    return (
        f'<pre style="{PRE}; margin: 0">{escape(text)}</pre>'
        if isinstance(text, str) and text and len(data) == 1
        else ""
    )


def _dimmed(html: str, cell: str) -> dict[str, Any]:
    return {
        "text/html": (
            f'<div class="nblaunch-earlier" data-cell="{escape(cell)}" style="position: relative">'
            f"<style>{_HIDDEN}</style>"
            f'<div style="opacity: 0.45">{html}</div><div style="{_WORD}">of the run before</div></div>'
        ),
        PLAIN: "(what the run before has left is here until this one has something to show)",
    }
