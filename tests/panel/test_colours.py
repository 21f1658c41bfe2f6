"""Colours that can be read wherever a notebook is opened."""

from __future__ import annotations

import re

import pytest

from nblaunch.panel.colours import COLOURS, css
from nblaunch.panel.markup import BAD, GOOD
from nblaunch.panel.terminal import Style

ANY = ["#000000", "#ffffff", "#ffff00", "#000080", "#00ff00", "#0000ff", "#ff0000", "#d7005f", "#808080", "#123456"]


def brightness(colour: str) -> float:
    parts = [part / 255 for part in bytes.fromhex(colour[1:])]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((brightness(one), brightness(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mixed(one: str, other: str, part: int) -> str:
    """Return what a browser makes of `color-mix`, given how many percent the first one has."""
    pairs = zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{round((a * part + b * (100 - part)) / 100):02x}" for a, b in pairs)


def colours(style: Style) -> dict[str, str]:
    """Return what is shown where only plain colours are let through."""
    return dict(re.findall(r"(color|background): (#[0-9a-f]{6})(?:;|$)", css(style)))


def themed(style: Style, text: str) -> str:
    """Return the text's colour where the theme's own is known."""
    ((colour, part),) = re.findall(
        r"color: color-mix\(in srgb, (#[0-9a-f]{6}) (\d+)%, var\(--nbl-text, gray\)\)", css(style)
    )
    return mixed(colour, text, int(part))


@pytest.mark.parametrize("colour", [*range(16), *ANY])
def test_any_colour_is_read_on_white_and_on_black(colour: int | str) -> None:
    # 4.5 is what the guidelines for accessible pages ask for
    assert contrast(themed(Style(fg=colour), "#000000"), "#ffffff") > 4.5
    assert contrast(themed(Style(fg=colour), "#ffffff"), "#111111") > 4.5
    # one that is for both has at most 4.3 with each
    shown = colours(Style(fg=colour))["color"]
    assert contrast(shown, "#ffffff") > (3.6 if isinstance(colour, int) else 3.2)
    assert contrast(shown, "#111111") > (3.6 if isinstance(colour, int) else 3.2)


@pytest.mark.parametrize("style", [GOOD, BAD])
def test_marks_are_read_on_white_and_on_black(style: str) -> None:
    ((colour, part),) = re.findall(r"color-mix\(in srgb, (#[0-9a-f]{6}) (\d+)%", style)
    for text, ground in (("#000000", "#ffffff"), ("#ffffff", "#111111")):
        assert contrast(mixed(colour, text, int(part)), ground) > 4.5


@pytest.mark.parametrize("bg", [*ANY, *range(16)])
@pytest.mark.parametrize("fg", [*ANY, None, 0, 1, 7, 15])
def test_text_is_read_on_its_own_ground(fg: int | str | None, bg: int | str) -> None:
    for style in (Style(fg=fg, bg=bg), *([Style(fg=bg, bg=fg, inverse=True)] if fg is not None else [])):
        found = colours(style)
        assert contrast(found["color"], found["background"]) > 4.5


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert colours(Style(fg="#d7005f")) == {"color": "#d7005f"}
    assert colours(Style(fg=3)) == {"color": COLOURS[3]}
    assert colours(Style(fg="#ffffff", bg="#000080")) == {"color": "#ffffff", "background": "#000080"}


def test_a_ground_without_a_colour_of_text() -> None:
    assert colours(Style(bg="#ffff00")) == {"color": "#000000", "background": "#ffff00"}
    assert colours(Style(bg=1)) == {"color": "#000000", "background": COLOURS[1]}


@pytest.mark.parametrize(
    ("style", "rules"),
    [
        (Style(bold=True, dim=True, italic=True), "font-weight: bold; opacity: 0.7; font-style: italic"),
        (Style(underline=True, strike=True), "text-decoration: underline line-through"),
        (Style(inverse=True), "color: var(--jp-layout-color0, white); background: var(--jp-ui-font-color1, #555)"),
    ],
)
def test_other_styles(style: Style, rules: str) -> None:
    assert css(style) == rules
