"""Colours that can be read wherever a notebook is opened."""

from __future__ import annotations

import re

import pytest

from nblaunch.panel.colours import COLOURS, css
from nblaunch.panel.terminal import Style

ANY = ["#000000", "#ffffff", "#ffff00", "#000080", "#00ff00", "#0000ff", "#ff0000", "#d7005f", "#808080", "#123456"]


def brightness(colour: str) -> float:
    parts = [part / 255 for part in bytes.fromhex(colour[1:])]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((brightness(one), brightness(other)))
    return (lighter + 0.05) / (darker + 0.05)


def colours(style: Style) -> dict[str, str]:
    return dict(re.findall(r"(color|background): (#[0-9a-f]{6})", css(style)))


@pytest.mark.parametrize("number", range(16))
def test_the_16_colours_are_read_on_white_and_on_black(number: int) -> None:
    assert colours(Style(fg=number)) == {"color": COLOURS[number]}
    assert contrast(COLOURS[number], "#ffffff") > 3.6
    assert contrast(COLOURS[number], "#111111") > 3.6


@pytest.mark.parametrize("colour", ANY)
def test_any_colour_is_read_on_white_and_on_black(colour: str) -> None:
    shown = colours(Style(fg=colour))["color"]
    assert contrast(shown, "#ffffff") > 3.2
    assert contrast(shown, "#111111") > 3.2


@pytest.mark.parametrize("bg", [*ANY, 0, 1, 7, 15])
@pytest.mark.parametrize("fg", [*ANY, 0, 1, 7, 15])
def test_text_is_read_on_its_own_ground(fg: int | str, bg: int | str) -> None:
    for style in (Style(fg=fg, bg=bg), Style(fg=bg, bg=fg, inverse=True)):
        found = colours(style)
        assert contrast(found["color"], found["background"]) > 3.2


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert colours(Style(fg="#d7005f")) == {"color": "#d7005f"}
    assert colours(Style(fg="#ffffff", bg="#000080")) == {"color": "#ffffff", "background": "#000080"}


def test_a_ground_without_a_colour_of_text() -> None:
    assert colours(Style(bg="#ffff00")) == {"color": "#000000", "background": "#ffff00"}
    # a middle tone: the text has the theme's colour
    assert colours(Style(bg=1)) == {"background": COLOURS[1]}


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
