"""The HTML of records: text of ranks is escaped, and is readable where styles are removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from nblaunch.logs.reader import STDERR
from nblaunch.panel.colours import TEXT, css, on_any_ground
from nblaunch.panel.terminal import MAX_LINE_CHARACTERS, Line, visible

__all__ = [
    "ANYWHERE",
    "BAD",
    "GOOD",
    "MUTED",
    "PRE",
    "SIDE_BY_SIDE",
    "Markup",
    "box",
    "cut",
    "line_html",
    "line_text",
    "marked",
    "row",
]

# Characters of a line, and of a text that has to be short, such as a title.
_MAX_LINE_CHARACTERS = MAX_LINE_CHARACTERS
_MAX_SHORT_CHARACTERS = 2_000

MUTED = "color: var(--jp-ui-font-color2, #757575)"
GOOD = on_any_ground("#388e3c")
BAD = on_any_ground("#d64a3f")
# Jupyter would break words of a text as this one wherever the line ends.
PRE = (
    "margin: 2px 0; padding: 0; white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; line-height: 1.35; "
    "font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px)"
)
# Two in a page of 900 pixels. Jupyter leaves this in a notebook that it does not trust, unlike all that has a variable.
SIDE_BY_SIDE = "display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 2px 16px"
_LINE_HEIGHT = 1.35
ANYWHERE = "overflow-wrap: anywhere"
# As far from the left as Jupyter has plain text: in a narrow page its own marks lie there.
_BOX = f"padding-left: 5px; font-size: var(--jp-ui-font-size1, 13px); line-height: 1.5; {ANYWHERE}; {TEXT}"


class Markup:
    """The same content as HTML and as text, which together have at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._html: list[str] = []
        self._text: list[str] = []
        self._size = 0

    @property
    def room(self) -> int:
        """How many bytes may still be added."""
        # some are kept for closing tags
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

    @contextmanager
    def inside(self, style: str) -> Iterator[None]:
        """Put what is added in the ``with`` block into an element of this style, if there is room."""
        opened = self.add(f'<div style="{style}">')
        yield
        if opened:
            # `room` leaves some for it
            self._html.append("</div>")
            self._size += len("</div>")

    def html(self) -> str:
        """Return it for pages."""
        return f'<div style="{_BOX}">{"".join(self._html)}</div>'

    def text(self) -> str:
        """Return it for terminals."""
        return "\n".join(self._text)


def box(html: str, lines: int) -> str:
    """Return a box of at most `lines` lines that scrolls and shows its end first."""
    # Where column-reverse is removed, the box shows its beginning first. The height fits whole lines and the margin
    # below them, because a part of a line at the top would look torn.
    style = (
        f"max-height: {lines * _LINE_HEIGHT + 0.15:.2f}em; overflow: auto; "
        "display: flex; flex-direction: column-reverse; "
        "border: 1px solid var(--jp-border-color2, #8884); border-radius: 3px; padding: 0 6px"
    )
    return f'<div style="{style}"><div>{html}</div></div>\n'


def marked(stream: int, line: Line) -> bool:
    """Tell whether a line is marked as one of standard error; progress bars are not, because they are no errors."""
    return stream == STDERR and not line.redrawn


def row(head: str, line: Line, stream: int, *, short: bool = False) -> str:
    """Return a line with what stands before it."""
    html = line_html(line, _MAX_SHORT_CHARACTERS if short else _MAX_LINE_CHARACTERS)
    if marked(stream, line):
        html = f'<span style="border-left: 2px solid #d08a1e; padding-left: 4px"><b>!</b> {html}</span>'
    return f'<span style="{MUTED}">{escape(head)}</span>{html}' if head else html


def line_html(line: Line, most: int = _MAX_LINE_CHARACTERS) -> str:
    """Return a line with its colours, up to so many characters."""
    parts = []
    left = most
    for text, style in line.spans:
        if left <= 0:
            break
        shown = escape(text[:left])
        left -= len(text)
        parts.append(f'<span style="{css(style)}">{shown}</span>' if style is not None else shown)
    more = sum(len(text) for text, _ in line.spans) - most
    return "".join([*parts, escape(_more(more))])


def line_text(text: str, *, short: bool = False) -> str:
    """Return a line of a log as text."""
    text, most = visible(text), _MAX_SHORT_CHARACTERS if short else _MAX_LINE_CHARACTERS
    return text[:most] + _more(len(text) - most)


def _more(characters: int) -> str:
    return f"… {characters:,} more characters in the log" if characters > 0 else ""


def cut(text: str) -> str:
    """Return a title, a reason or the like as text."""
    text = visible(text)
    return text if len(text) <= _MAX_SHORT_CHARACTERS else f"{text[:_MAX_SHORT_CHARACTERS]}…"
