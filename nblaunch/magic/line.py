"""Reads the values on the ``%%multiproc`` line, and makes the errors for a line that cannot be read."""

from __future__ import annotations

import argparse
import difflib
import keyword
import math
import re
from collections.abc import Container

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from nblaunch.payload.exceptions import shortened
from nblaunch.wording import in_bytes

__all__ = [
    "MAX_REFUSAL_CHARACTERS",
    "assignment",
    "at_least_one",
    "clearer",
    "name",
    "names",
    "positive_seconds",
    "printable",
    "ranks",
    "refusal",
    "seconds",
    "size",
    "unknown_command",
    "whole",
    "with_line_as_comment",
    "with_option_name",
]


def positive_seconds(text: str) -> float:
    """Return a number of seconds above 0; for an argument of the line."""
    number = _number(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"it takes seconds above 0, not {text!r}")
    return number


def seconds(text: str) -> float:
    """Return a number of seconds, 0 or more; for an argument of the line."""
    number = _number(text)
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"it takes seconds, 0 or more, not {text!r}")
    return number


def _number(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"it takes a number of seconds, not {text!r}")
    return seconds


def at_least_one(text: str) -> int:
    """Return a whole number of at least 1; for an argument of the line."""
    if not re.fullmatch(r"[+-]?\d{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it takes a whole number of at least 1, not {text!r}")
    return int(text)


def whole(text: str) -> int:
    """Return a whole number; for an argument of the line."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it takes a whole number, not {text!r}") from None


def size(text: str) -> int:
    """Return the number of bytes of a size such as 500M; for an argument of the line."""
    try:
        return in_bytes(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it takes a size such as 500M or 2G, or 0, not {text!r}") from None


def names(text: str) -> list[str]:
    """Return names of variables; for an argument of the line."""
    found = [part for part in re.split(r"[,\s]+", text) if part]
    for part in found:
        name(part)
    if not found:
        raise argparse.ArgumentTypeError("it takes names of variables, separated by commas")
    return found


def name(text: str) -> str:
    """Return the name of a variable; for an argument of the line."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be the name of a variable")
    return text


def ranks(text: str) -> frozenset[int]:
    """Return the ranks of a list such as 0,2-3; for an argument of the line."""
    found: set[int] = set()
    for part in re.split(r"[,\s]+", text.strip()):
        span = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", part)
        if span is None or int(span[2] or span[1]) < int(span[1]):
            raise argparse.ArgumentTypeError(f"it takes numbers of ranks and ranges of them, as in 0,2-3, not {text!r}")
        found.update(range(int(span[1]), int(span[2] or span[1]) + 1))
    return frozenset(found)


def assignment(text: str) -> tuple[str, str]:
    """Return name and value of NAME=VALUE; for an argument of the line."""
    variable, equals, value = text.partition("=")
    if not variable or not equals:
        raise argparse.ArgumentTypeError(f"it takes NAME=VALUE, not {text!r}")
    return variable, value


def clearer(error: UsageError, parser: MagicArgumentParser, variables: Container[str] = frozenset()) -> UsageError:
    """Return a clearer error for one of the parser, with what the user may have meant.

    Parameters
    ----------
    error : UsageError
        The error of the parser.
    parser : MagicArgumentParser
        The parser, which knows all options.
    variables : container of str
        Names of the notebook's variables. If the line names one of them, the error says how to insert its value.
    """
    message = str(error)
    unknown = re.match(r"unrecognized arguments: (\S*)", message)
    if unknown is None:
        message = re.sub(r"^argument (\S+): ", r"\1: ", message).replace("nprocs: it", "the number of ranks: it")
        value = re.search(r", not '(.*)'$", message)
        message += _how_to_give_a_value(value[1], variables) if value else ""
    elif not unknown[1].startswith("-"):
        message = (
            f"it takes one number of ranks, so {unknown[1]!r} is too much; several names go without a space, as in "
            "--collect loss,accuracy"
        )
    else:
        options = [option for action in parser._actions for option in action.option_strings]
        near = difflib.get_close_matches(unknown[1], options, 1)
        message = f"there is no option {unknown[1]}" + (
            f", did you mean {near[0]}?" if near else "; %%multiproc? shows those that there are"
        )
    return refusal(message)


def _how_to_give_a_value(text: str, variables: Container[str]) -> str:
    """Return how to insert the value of a variable into the line, if a refused value may have meant that."""
    if text.startswith(("{", "$")):
        return "; it is replaced by a value only where that can be evaluated, so see whether its variables are defined"
    try:
        names = compile(text, "<line>", "eval").co_names
    except (SyntaxError, ValueError):
        return ""
    if names and any(name in variables for name in names):
        return f"; to take the value of {text} write {{{text}}}"
    return ""


def with_option_name(message: str) -> str:
    """Return a message that begins with an argument of `nblaunch.launch`, with the name of the option instead."""
    name = message.partition(" ")[0]
    return f"--{name.replace('_', '-')}{message[len(name) :]}" if "_" in name and name.isidentifier() else message


MAX_REFUSAL_CHARACTERS = 700
"""Longest message of a refusal, because it quotes what it refuses, which may be a whole file."""


def refusal(message: str) -> UsageError:
    """Return the error for a line or cell, which says that nothing was started."""
    message = printable(shortened(message, MAX_REFUSAL_CHARACTERS))
    message = message if message.endswith((".", "?")) else f"{message}."
    return UsageError(f"%%multiproc: {message} Nothing was started.")


def printable(line: str) -> str:
    """Return a line with ``?`` for characters that are not printable, which break Python comments and page titles."""
    return "".join(character if character.isprintable() else "?" for character in line)


def with_line_as_comment(line: str, cell: str) -> str:
    """Return the cell below its ``%%multiproc`` line as a comment, so that line numbers are those of the notebook."""
    # a nested cell magic must be in the first line
    if cell.lstrip().startswith("%%"):
        return cell
    # IPython removes the indentation of the first line from all lines
    indent = re.match(r"[ \t]*", cell.lstrip("\n"))
    return f"{indent[0] if indent else ''}# %%multiproc {printable(line)}\n{cell}"


def unknown_command(name: str) -> str:
    """Return the error message for a command of ``%multiproc`` that does not exist or has wrong arguments."""
    known = (
        "It knows doctor, preload NAME, setup [clear], stacks [RANKS] [native], debug RANK, stop, kill, logs [NUMBER] "
        "and clear logs."
    )
    if name.isdigit():
        return f"%multiproc is for commands. To run a cell on {name} ranks, begin it with %%multiproc {name}. {known}"
    if not name:
        return f"%multiproc is for commands; to run a cell on ranks, begin it with %%multiproc 4. {known}"
    commands = ("doctor", "preload", "setup", "stacks", "debug", "stop", "kill", "logs", "clear")
    near = difflib.get_close_matches(name, commands, 1)
    if name == "preload":
        return "%multiproc preload: name the modules to import ahead, as in %multiproc preload torch."
    if name == "debug":
        return "%multiproc debug: name the rank whose debugger you want, as in %multiproc debug 2."
    if name == "setup":
        return "%multiproc setup takes nothing, or clear."
    if name == "logs":
        return "%multiproc logs takes nothing, or a number of those that it lists."
    if name == "clear":
        return "%multiproc clear: write %multiproc clear logs, which removes the logs of runs that have ended."
    if name in ("doctor", "stop", "kill"):
        return f"%multiproc {name} takes nothing more."
    return f"%multiproc: there is no command {name!r}{f', did you mean {near[0]}?' if near else '.'} {known}"
