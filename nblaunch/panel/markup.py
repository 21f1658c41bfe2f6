"""How a record looks: what comes from ranks as HTML that can do nothing, with styles that may be taken away."""

from __future__ import annotations

from html import escape

from nblaunch.panel.arrivals import STDERR
from nblaunch.panel.colours import TEXT, css, on_any_ground
from nblaunch.panel.terminal import Line, visible

__all__ = ["BAD", "GOOD", "MUTED", "NO_WRAP", "PRE", "Markup", "cut", "line_html", "row"]

# Characters of a line.
_LONGEST_LINE = 2_000

MUTED = "color: var(--jp-ui-font-color2, #757575)"
GOOD = on_any_ground("#388e3c")
BAD = on_any_ground("#d64a3f")
PRE = (
    "margin: 2px 0; padding: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.35; "
    "font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px)"
)
NO_WRAP = "white-space: nowrap"
_BOX = f"font-size: var(--jp-ui-font-size1, 13px); line-height: 1.5; {TEXT}"


class Markup:
    """HTML and text side by side, together at most so many bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._html: list[str] = []
        self._text: list[str] = []
        self._size = 0

    @property
    def room(self) -> int:
        """How many bytes may still be added."""
        # some are left for what is closed behind it
        return self._most - 2_000 - self._size

    def add(self, html: str, text: str = "") -> bool:
        """Add a part to both, unless that is too much."""
        size = len(html.encode()) + len(text.encode()) + 1
        if size > self.room:
            return False
        self._size += size
        self._html.append(html)
        if text:
            self._text.append(text)
        return True

    def html(self) -> str:
        """Return it for pages."""
        return f'<div style="{_BOX}">{"".join(self._html)}</div>'

    def text(self) -> str:
        """Return it for terminals."""
        return "\n".join(self._text)


def row(head: str, line: Line, stream: int) -> str:
    """Return a line with what stands before it."""
    html = line_html(line)
    if stream == STDERR:
        html = f'<span style="border-left: 2px solid #d08a1e; padding-left: 4px"><b>!</b> {html}</span>'
    return f'<span style="{MUTED}">{escape(head)}</span>{html}' if head else html


def line_html(line: Line) -> str:
    """Return a line with its colours."""
    parts = []
    left = _LONGEST_LINE
    for text, style in line.spans:
        shown = escape(text[:left])
        left -= len(text)
        parts.append(f'<span style="{css(style)}">{shown}</span>' if style is not None else shown)
        if left <= 0:
            parts.append("…")
            break
    return "".join(parts)


def cut(text: str) -> str:
    """Return a line as text."""
    text = visible(text)
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"
