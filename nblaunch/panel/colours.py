"""Colours of a terminal as CSS styles of a record, which have to be readable on white and on black.

On which background a saved notebook will be shown is not known.
"""

from __future__ import annotations

import functools

from nblaunch.panel.terminal import Style

__all__ = ["COLOURS", "TEXT", "css", "on_any_ground"]

# Middle tones, which have a contrast of about 4 with white and with Jupyter's dark background.
COLOURS = (
    *("#747474", "#d64a3f", "#2f8c45", "#9a700d", "#3f7bd6", "#ad55be", "#21828f", "#808080"),
    *("#7c7c7c", "#dc4f44", "#32904a", "#a0750e", "#4a80dc", "#b45cc5", "#248896", "#868686"),
)
"""The 16 of a terminal."""

TEXT = "--nbl-text: var(--jp-content-font-color0, gray)"
"""A style for an element around all that has a colour: the theme's colour of text, which is mixed into the colours."""

# No colour has a contrast of 4.5, as the guidelines ask, with white and with black. So each text gets a colour that has
# a contrast of 3.3 with both, and where the theme is known, the theme's colour of text is mixed in.
_CONTRAST = 4.5
_CONTRAST_WITH_ANY = 3.3
_OWN_SHARE = "75%"
# The luminance of Jupyter's dark background.
_DARK_BRIGHTNESS = 0.0056


def css(style: Style) -> str:
    """Return the rules of a style attribute."""
    fg, bg = (style.bg, style.fg) if style.inverse else (style.fg, style.bg)
    rules = []
    if bg is not None:
        rules.append(f"color: {_readable_on(bg, fg)}")
    elif fg is not None:
        rules.append(on_any_ground(_readable(_colour(fg))))
    elif style.inverse and bg is None:
        rules.append("color: var(--jp-layout-color0, white)")
    if bg is not None:
        rules.append(f"background: {_colour(bg)}")
    elif style.inverse:
        rules.append("background: var(--jp-ui-font-color1, #555)")
    if style.bold:
        rules.append("font-weight: bold")
    if style.dim:
        rules.append("opacity: 0.7")
    if style.italic:
        rules.append("font-style: italic")
    if style.underline or style.strike:
        lines = [word for word, there in (("underline", style.underline), ("line-through", style.strike)) if there]
        rules.append(f"text-decoration: {' '.join(lines)}")
    return "; ".join(rules)


def _colour(colour: int | str) -> str:
    return COLOURS[colour] if isinstance(colour, int) else colour


def on_any_ground(colour: str) -> str:
    """Return the rules for text of a middle tone, darker where the theme is light and lighter where it is dark."""
    # twice, because Jupyter removes all but plain colours in a notebook that it does not trust
    return f"color: {colour}; color: color-mix(in srgb, {colour} {_OWN_SHARE}, var(--nbl-text, gray))"


@functools.lru_cache(maxsize=1024)
def _readable_on(bg: int | str, fg: int | str | None) -> str:
    """Return the text's colour, or white or black if it cannot be read on this background."""
    ground = _brightness(_colour(bg))
    if fg is not None and _contrast(_brightness(_colour(fg)), ground) >= _CONTRAST:
        return _colour(fg)
    return "#ffffff" if _contrast(1.0, ground) > _contrast(0.0, ground) else "#000000"


@functools.lru_cache(maxsize=1024)
def _readable(colour: str) -> str:
    """Return the text's colour, changed as little as makes it readable on any background."""
    too_bright = _contrast(_brightness(colour), 1.0) < _CONTRAST_WITH_ANY
    end, ground = ("#000000", 1.0) if too_bright else ("#ffffff", _DARK_BRIGHTNESS)
    for part in range(21):
        mixed = _mixed(colour, end, part / 20)
        if _contrast(_brightness(mixed), ground) >= _CONTRAST_WITH_ANY:
            return mixed
    return colour


def _mixed(one: str, other: str, part: float) -> str:
    pairs = zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in pairs)


def _brightness(colour: str) -> float:
    # relative luminance as in the guidelines for accessible pages, https://www.w3.org/TR/WCAG22/
    parts = (part / 255 for part in bytes.fromhex(colour[1:]))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
