"""The grammar of ``%multiproc``: how values on the line are read, and how a line that makes no sense is refused."""

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
    "LONGEST_REFUSAL",
    "aligned",
    "assignment",
    "at_least_one",
    "in_one_sentence",
    "in_words_of_the_line",
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
    """Return bytes out of a size such as 500M; for an argument of the line."""
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
    """Return numbers of ranks out of numbers and ranges; for an argument of the line."""
    found: set[int] = set()
    for part in re.split(r"[,\s]+", text.strip()):
        span = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", part)
        if span is None or int(span[2] or span[1]) < int(span[1]):
            raise argparse.ArgumentTypeError(f"it takes numbers of ranks and ranges of them, as in 0,2-3, not {text!r}")
        found.update(range(int(span[1]), int(span[2] or span[1]) + 1))
    return frozenset(found)


def assignment(text: str) -> tuple[str, str]:
    """Return name and value; for an argument of the line."""
    variable, equals, value = text.partition("=")
    if not variable or not equals:
        raise argparse.ArgumentTypeError(f"it takes NAME=VALUE, not {text!r}")
    return variable, value


def in_one_sentence(
    error: UsageError, parser: MagicArgumentParser, variables: Container[str] = frozenset()
) -> UsageError:
    """Say what the parser has refused, and what may have been meant.

    Parameters
    ----------
    error : UsageError
        What the parser says.
    parser : MagicArgumentParser
        The parser.
    variables : container of str
        The notebook's variables, one of which may have been meant.
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
    """Say how the line takes the value of a variable, if that may have been meant."""
    if text.startswith(("{", "$")):
        return "; it is replaced by a value only where that can be evaluated, so see whether its variables are defined"
    try:
        names = compile(text, "<line>", "eval").co_names
    except (SyntaxError, ValueError):
        return ""
    if names and any(name in variables for name in names):
        return f"; to take the value of {text} write {{{text}}}"
    return ""


def in_words_of_the_line(message: str) -> str:
    """Name options as the line does, where a message begins with the argument of `nblaunch.launch`."""
    name = message.partition(" ")[0]
    return f"--{name.replace('_', '-')}{message[len(name) :]}" if "_" in name and name.isidentifier() else message


LONGEST_REFUSAL = 700
"""Characters: a message quotes what it refuses, and that may be a whole file."""


def refusal(message: str) -> UsageError:
    """Return the error of a line or cell that nothing was started for."""
    message = printable(shortened(message, LONGEST_REFUSAL))
    message = message if message.endswith((".", "?")) else f"{message}."
    return UsageError(f"%%multiproc: {message} Nothing was started.")


def printable(line: str) -> str:
    """Return a line without what cannot be printed."""
    # what the parser does not take even in a comment, and a page not even in a title
    return "".join(character if character.isprintable() else "?" for character in line)


def aligned(line: str, cell: str) -> str:
    """Put a line in the place of the ``%%multiproc`` line, so that line numbers are those of the notebook's cell."""
    # a nested cell magic must come first; its lines are its own affair
    if cell.lstrip().startswith("%%"):
        return cell
    # IPython takes a common indent away, by what it sees in the first line
    indent = re.match(r"[ \t]*", cell.lstrip("\n"))
    return f"{indent[0] if indent else ''}# %%multiproc {printable(line)}\n{cell}"


def unknown_command(name: str) -> str:
    """Say what is wrong with a command."""
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
