"""The arguments of the ``%%multiproc`` line and the traits of ``%config Multiproc``, made from the table of options.

The line can switch off what is configured: a flag by its opposite, as ``--no-quiet``, a value by ``none``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from IPython.core.magic_arguments import argument
from traitlets import Bool, Enum, Float, HasTraits, Int, List, TraitType, Unicode

from nblaunch.launching.option_table import OPTIONS, Kind, Option
from nblaunch.magic import line as grammar

__all__ = ["arguments", "configured", "parse", "settings"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

# How the value of an option is read from the line.
_READERS: dict[Kind, Callable[[str], Any]] = {
    Kind.AT_LEAST_ONE: grammar.at_least_one,
    Kind.DURATION: grammar.seconds,
    Kind.POSITIVE_DURATION: grammar.positive_seconds,
    Kind.WHOLE: grammar.whole,
    Kind.COUNT: grammar.whole,
    Kind.SIZE: grammar.size,
    Kind.BYTES: grammar.size,
    Kind.TEXT: str,
    Kind.NAME: grammar.name,
    Kind.NAMES: grammar.names,
    Kind.RANKS: grammar.ranks,
    Kind.ASSIGNMENTS: grammar.assignment,
}
_ACTIONS = {Kind.NAMES: "extend", Kind.ASSIGNMENTS: "append"}


class _Flag(argparse.Action):
    """Stores `const` for the flag, and its contrary for the opposite flag."""

    def __init__(self, option_strings: list[str], dest: str, const: bool, **others: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, const=const, **others)

    def __call__(self, _parser: object, namespace: object, _values: object, flag: str | None = None) -> None:
        setattr(namespace, self.dest, self.const if flag == self.option_strings[0] else not self.const)


def arguments(function: _Function) -> _Function:
    """Give a magic all arguments of the line; a decorator, below `IPython.core.magic_arguments.magic_arguments`."""
    # reversed, because IPython lists the last decorator first
    for option in reversed([option for option in OPTIONS if option.line]):
        for names, details in reversed(_arguments_of(option)):
            argument(*names, **details)(function)
    return function


def _arguments_of(option: Option) -> list[tuple[list[str], dict[str, Any]]]:
    details: dict[str, Any] = {"help": _help_of_line(option).replace("%", "%%")}
    if option.line.startswith("-"):
        details |= {"dest": option.name, "default": argparse.SUPPRESS}
    else:
        details["nargs"] = "?"  # argparse of Python 3.10 cannot combine this with SUPPRESS
    if option.kind is Kind.FLAG:
        names = [option.line, option.opposite] if option.opposite else [option.line]
        return [(names, details | {"action": _Flag, "const": option.sets})]
    if option.kind is Kind.CHOICE:
        details["choices"] = option.choices
    else:
        details["type"] = _reader(option)
    if option.kind in _ACTIONS:
        details["action"] = _ACTIONS[option.kind]
    if option.metavar is not None:
        details["metavar"] = option.metavar
    found = [([option.line], details)]
    if option.off_line:
        off = details | {"action": "store_const", "const": option.off, "help": f"The same as {option.line} none."}
        found.append(([option.off_line], {name: value for name, value in off.items() if name != "choices"}))
    return found


def _reader(option: Option) -> Callable[[str], Any]:
    read = _READERS[option.kind]
    return (lambda text: option.off if text == "none" else read(text)) if option.has_off else read


def _help_of_line(option: Option) -> str:
    notes = []
    if option.default and option.kind is Kind.CHOICE:
        notes.append(f"default: {option.default}")
    elif option.default and option.kind in (Kind.DURATION, Kind.POSITIVE_DURATION):
        notes.append(f"default: {option.default:g}")
    if option.has_off:
        notes.append(f"none: {option.off_means}")
    text = option.line_help or option.help
    return f"{text[:-1]} ({'; '.join(notes)})." if notes else text


def parse(parser: argparse.ArgumentParser, words: list[str]) -> dict[str, Any]:
    """Return the options that the words of a line choose, by name, without those that it does not mention."""
    found = vars(parser.parse_args(words))
    return {name: value for name, value in found.items() if not (name == "nprocs" and value is None)}


def settings() -> dict[str, TraitType[Any, Any]]:
    """Return the traits for ``%config Multiproc``, by name."""
    return {option.name: _trait(option).tag(config=True) for option in OPTIONS if option.is_configurable}


def _trait(option: Option) -> TraitType[Any, Any]:
    start, text = option.setting, _help_of_setting(option)
    if option.kind is Kind.FLAG:
        return Bool(start, help=text)
    if option.kind is Kind.CHOICE:
        return Enum(option.choices if start in option.choices else (start, *option.choices), start, help=text)
    if option.kind is Kind.NAMES:
        return List(Unicode(), list(start), help=text)
    if isinstance(start, str):
        return Unicode(start, help=text)
    return (Float if isinstance(start, float) else Int)(start, min=0, help=text)


def _help_of_setting(option: Option) -> str:
    # whether 0 or an empty text means "not chosen"
    is_empty = option.default is None and not option.setting
    nothing = "empty" if option.setting == "" else "0"
    if option.has_off and option.kind is not Kind.CHOICE:
        return f"{option.help[:-1]}; {nothing if is_empty else '0'}: {option.off_means}."
    return f"{option.help[:-1]}; {nothing} is the default." if is_empty else option.help


def configured(owner: HasTraits) -> Mapping[str, Any]:
    """Return the configured options by name, from an object whose class has the traits of `settings`.

    The result is None for 0 or an empty text where the option's default is None.
    """
    found = {}
    for option in OPTIONS:
        if option.is_configurable:
            value = getattr(owner, option.name)
            found[option.name] = value or None if option.default is None else value
    return found
