"""What a terminal shows of the bytes of a log: lines of coloured text, for the record and for one-line summaries.

The live panel does the same in ``screen.js``. Control characters, those that change the direction of writing included,
become visible signs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

__all__ = ["MAX_LINE_CHARACTERS", "Line", "Style", "last_line", "render", "visible"]

MAX_LINE_CHARACTERS = 20_000
"""A longer line goes on in the next one."""

# Lines that a cursor goes up at most.
_CURSOR_REACH = 50
# Empty columns that the cursor may skip, for each character of the log: a few bytes are enough to skip 20,000.
_GAPS_PER_CHARACTER = 100
# Escape sequences and control characters, with the limits of screen.js, which cannot wait for the end of an escape
# forever. OSC, DCS, SOS, PM and APC begin texts up to BEL or ST that are not shown. A line feed ends these too, or one
# stray escape would hide all that follows. A sequence that is unfinished at the end is left out.
_TOKEN = re.compile(
    r"\x1b(?:"
    r"\[([0-9;:?<=>]{0,200})([ -/]{0,8})(?:([@-~])|\Z)"
    r"|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\|\x1b?\Z)?"
    r"|[ -/]{0,8}(?:[0-~]|\Z)"
    r"|)"
    r"|\r+|[\b\t]"
)
# Sequences that change other lines: the cursor's moves up and down, and erasing what is below.
_MOVES_BETWEEN_LINES = re.compile(rb"\x1b\[[0-9:;]*[ABJ]")
_PRIVATE = re.compile("[?<=>]")
_MOVES = frozenset("\r\b\t")
# C0 without those above, DEL, C1, characters that change the direction of writing or are invisible, and surrogates,
# which cannot be encoded.
_HARMFUL = re.compile(
    "[\x00-\x07\x0b\x0c\x0e-\x1b\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks; colours are a number of the 16 that a terminal has, or ``"#rrggbb"``."""

    fg: int | str | None = None
    bg: int | str | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False
    strike: bool = False


_PLAIN = Style()


@dataclass(slots=True)
class Line:
    """One line: spans of text of one style each."""

    spans: list[tuple[str, Style | None]] = field(default_factory=list)
    redrawn: bool = False
    """Whether the cursor has come back to its beginning and written over it, as progress bars do."""
    goes_on: bool = False
    """Whether it is the rest of a line that is too long for one."""

    @property
    def text(self) -> str:
        """The text without its style."""
        return "".join(text for text, _ in self.spans)


def visible(text: str) -> str:
    """Replace characters that could do harm by visible signs."""
    return _HARMFUL.sub(_as_visible, text)


def _as_visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def last_line(data: bytes, limit: int = 200) -> str:
    """Return the last line that has anything on it, without style, at most so many characters."""
    # line by line from the end, unless sequences change other lines
    parts = [data] if _MOVES_BETWEEN_LINES.search(data) else reversed(data.split(b"\n"))
    for part in parts:
        for line in reversed(render(part)):
            text = line.text.strip()
            if text:
                return text if len(text) <= limit else f"{text[: limit - 1]}…"
    return ""


def render(data: bytes) -> list[Line]:
    """Return the lines that a terminal shows of these bytes.

    It knows carriage return, backspace, tabulator, the cursor's ways (CSI A, B, C, D, G), erasing (J, K) and colours
    (m, with 16, 256 or all colours); every other escape sequence is passed over. See ECMA-48.
    """
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    screen = _Screen(_GAPS_PER_CHARACTER * len(text))
    position = 0
    for token in _TOKEN.finditer(text):
        if token.start() > position:
            screen.write_lines(visible(text[position : token.start()]))
        position = token.end()
        parameters, between, final = token.groups()
        if final:
            if not between and not _PRIVATE.search(parameters):
                screen.control(final, parameters)
        elif token[0][0] in _MOVES or (token[0] == "\x1b" and position < len(text)):
            screen.move(token[0][0])
    if position < len(text):
        screen.write_lines(visible(text[position:]))
    return screen.lines()


class _Row:
    """A line while it can still change: characters and their styles, or text that nobody has gone back to yet."""

    __slots__ = ("cells", "goes_on", "length", "redrawn", "spans")

    def __init__(self) -> None:
        self.spans: list[tuple[str, Style | None]] = []
        self.cells: list[tuple[str, Style | None]] | None = None
        self.length = 0
        self.redrawn = False
        self.goes_on = False

    @property
    def is_cleared(self) -> bool:
        """Whether it has nothing but blanks, such as those that a bar was overwritten with."""
        parts = self.spans if self.cells is None else self.cells
        return self.length > 0 and not any(text.strip(" ") for text, _ in parts)

    def put(self, column: int, text: str, style: Style | None) -> None:
        if self.cells is None and column == self.length:
            self.spans.append((text, style))
            self.length += len(text)
            return
        if column == 0 and len(text) >= self.length:
            # as redraws of progress bars do, thousands of times: nothing is left of what was there
            self.spans, self.cells, self.length = [(text, style)], None, len(text)
            return
        cells = self._as_cells()
        if column > len(cells):
            cells.extend([(" ", None)] * (column - len(cells)))
        cells[column : column + len(text)] = [(character, style) for character in text]
        self.length = len(cells)

    def erase(self, begin: int, end: int | None) -> None:
        if begin >= self.length:
            return
        if begin == 0 and (end is None or end >= self.length):
            self.spans, self.cells, self.length = [], None, 0
            return
        cells = self._as_cells()
        if end is None:
            del cells[begin:]
        else:
            cells[begin:end] = [(" ", None)] * (end - begin)
        self.length = len(cells)

    def _as_cells(self) -> list[tuple[str, Style | None]]:
        if self.cells is None:
            self.cells = [(character, style) for text, style in self.spans for character in text]
            self.spans = []
        return self.cells

    def line(self) -> Line:
        parts = self.spans if self.cells is None else self.cells
        if len(parts) < 2:
            return Line(parts, self.redrawn, self.goes_on)
        merged: list[tuple[list[str], Style | None]] = []
        for text, style in parts:
            if merged and merged[-1][1] == style:
                merged[-1][0].append(text)
            else:
                merged.append(([text], style))
        return Line([("".join(texts), style) for texts, style in merged], self.redrawn, self.goes_on)


class _Screen:
    def __init__(self, gaps: int) -> None:
        self._gaps = gaps
        self._rows = [_Row()]
        self._row = 0
        self._column = 0
        # whether the cursor has come back to the beginning of this line, or up to it
        self._returned = False
        self._style: Style | None = None
        # what parameters of "m" make of a style
        self._known: dict[tuple[Style | None, str], Style | None] = {}

    def lines(self) -> list[Line]:
        lines = [row.line() for row in self._rows]
        if not lines[-1].spans:
            lines.pop()
        return lines

    def write_lines(self, text: str) -> None:
        first, *others = text.split("\n")
        self.write(first)
        for line in others:
            self._next_line()
            if line:
                self.write(line)

    def write(self, text: str) -> None:
        while text:
            room = MAX_LINE_CHARACTERS - self._column
            if room <= 0:
                self._next_line()
                self._rows[self._row].goes_on = True
                room = MAX_LINE_CHARACTERS
            row = self._rows[self._row]
            gap = self._column - row.length
            if gap > self._gaps:
                self._column = row.length
            elif gap > 0:
                self._gaps -= gap
            part = text[:room]
            if self._returned:
                # what is written over a bar that was cleared is a line of its own, such as a warning
                self._returned, row.redrawn = False, not row.is_cleared
            row.put(self._column, part, self._style)
            self._column += len(part)
            text = text[room:]

    def move(self, character: str) -> None:
        if character == "\r":
            self._column = 0
            self._returned = True
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character == "\t":
            self.write(" " * (8 - self._column % 8))
        else:
            self.write("␛")

    def control(self, final: str, parameters: str) -> None:
        if final == "m":
            # the same few changes come again and again
            known = self._known.get((self._style, parameters), _PLAIN)
            if known is _PLAIN:
                known = self._known[self._style, parameters] = _styled(self._style or _PLAIN, parameters)
            self._style = known
            return
        first = _number(re.split("[;:]", parameters, maxsplit=1)[0])
        count = max(1, first)
        if final == "A":
            self._row = max(0, len(self._rows) - _CURSOR_REACH, self._row - count)
            self._returned = True
        elif final == "B":
            self._row = min(len(self._rows) - 1, self._row + count)
        elif final == "C":
            self._column = min(MAX_LINE_CHARACTERS, self._column + count)
        elif final == "D":
            self._column = max(0, self._column - count)
        elif final == "G":
            self._column = min(MAX_LINE_CHARACTERS, count) - 1
        elif final == "K":
            self._rows[self._row].erase(0 if first else self._column, self._column + 1 if first == 1 else None)
        elif final == "J" and first == 0:
            self._rows[self._row].erase(self._column, None)
            for row in self._rows[self._row + 1 :]:
                row.erase(0, None)

    def _next_line(self) -> None:
        self._row += 1
        self._column = 0
        self._returned = self._row < len(self._rows)
        if self._row == len(self._rows):
            self._rows.append(_Row())


_FLAGS = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("strike",)}


def _styled(style: Style, parameters: str) -> Style | None:
    changes: dict[str, int | str | bool | None] = {}
    parts = [[_number(detail) for detail in part.split(":")] for part in parameters.split(";")]
    at = 0
    while at < len(parts):
        number, *details = parts[at]
        at += 1
        if number in (38, 48, 58):
            if details:
                # "38:2::r:g:b" names a colour space too
                colour = _colour([2, *details[2:]] if details[0] == 2 and len(details) > 4 else details)
            else:
                numbers = [first for first, *_ in parts[at : at + 4]]
                at += {5: 2, 2: 4}.get(numbers[0] if numbers else 0, 1)
                colour = _colour(numbers)
            if number != 58:
                changes["fg" if number == 38 else "bg"] = colour
        elif number == 0:
            style, changes = _PLAIN, {}
        elif number == 4 and details[:1] == [0]:
            # no underline; "4:3" is a curly one
            changes["underline"] = False
        elif number in _FLAGS:
            changes[_FLAGS[number]] = True
        elif number in _ENDS:
            changes |= dict.fromkeys(_ENDS[number], False)
        elif 30 <= number <= 37 or number == 39:
            changes["fg"] = None if number == 39 else number - 30
        elif 40 <= number <= 47 or number == 49:
            changes["bg"] = None if number == 49 else number - 40
        elif 90 <= number <= 97:
            changes["fg"] = number - 82
        elif 100 <= number <= 107:
            changes["bg"] = number - 92
    style = replace(style, **changes)  # type: ignore[arg-type]
    return None if style == _PLAIN else style


def _number(text: str) -> int:
    # nine digits are beyond all that is meant; Python refuses to convert thousands of them
    return int(text.lstrip("0")[:9] or "0") if text.isdigit() else 0


def _colour(numbers: Sequence[int]) -> int | str | None:
    """Return one of 256 colours, or one of red, green and blue."""
    kind, *parts = numbers or [0]
    if kind == 2 and len(parts) >= 3:
        return "#" + "".join(f"{min(255, part):02x}" for part in parts[:3])
    if kind != 5 or not parts:
        return None
    number = min(255, parts[0])
    if number < 16:
        return number
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    levels = (0, 95, 135, 175, 215, 255)
    number -= 16
    return "#" + "".join(f"{levels[part]:02x}" for part in (number // 36, number // 6 % 6, number % 6))
