"""`ShownValues`: shows the values of the ranks below the cell, as a notebook shows its last expression.

::

    results ─► formatted, in a thread, within some seconds ─► values that look alike once ─► under the cell, or printed

None is not shown. Time, number and size of what is shown are bounded; a line says what is left out, and which variable
has it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nblaunch.cell_threads import cell_thread
from nblaunch.interrupts import MAX_WAIT_SLICE
from nblaunch.panel.consumer import Consumer
from nblaunch.panel.folding import prefix
from nblaunch.panel.notices import print_lines
from nblaunch.panel.outputs import Publish
from nblaunch.panel.places import PLAIN, Bundle, are_of_several_ranks, is_image, label_of, text_of
from nblaunch.panel.terminal import visible
from nblaunch.wording import in_words, name_ranks

__all__ = ["ShownValues"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds that all values together may take to be formatted.
_MAX_SECONDS = 5.0
# Values that look different, and bytes of one of them and of all.
_MAX_VALUES = 20
_MAX_BYTES_EACH = 2_000_000
_MAX_BYTES = 10_000_000
# Lines and characters of the texts of all values, and the least that each value may have.
_MAX_LINES, _MIN_LINES_EACH = 40, 4
_MAX_CHARACTERS, _MIN_CHARACTERS_EACH = 4_000, 300
# Equal values of these types look alike, so that only one is formatted.
_EQUAL_READ_ALIKE = (bool, int, str)


class Shown(Protocol):
    """Something that a rank has displayed."""

    data: dict[str, Any]


@dataclass
class _Group:
    """Ranks whose values look alike, and the outputs that show these."""

    ranks: list[int]
    bundles: list[Bundle]

    @property
    def single(self) -> Bundle | None:
        """The output, if there is only one."""
        return self.bundles[0] if len(self.bundles) == 1 else None

    @property
    def text(self) -> str | None:
        """The text of the first output, if it has nothing but text."""
        return str(self.bundles[0].data[PLAIN]) if [*self.bundles[0].data] == [PLAIN] else None


class ShownValues(Consumer):
    """Shows what the ranks of a run have returned, once it has ended.

    Parameters
    ----------
    values : callable
        Returns the value of each rank that is to be shown, once the run has ended.
    nprocs : int
        How many ranks there are.
    where : str
        What holds the values in the notebook, as in ``"results"``.
    displayed : callable
        Returns what each rank has displayed by then: a figure among it is not shown again as the value.
    show_ranks : collection of int, optional
        Ranks whose values are shown; by default all.
    publish : callable, optional
        See `nblaunch.panel.outputs.Publish`; without it the values are printed.
    """

    def __init__(
        self,
        values: Callable[[], Mapping[int, object]],
        nprocs: int,
        where: str,
        displayed: Callable[[], Mapping[int, Sequence[Shown]]],
        show_ranks: Collection[int] | None = None,
        publish: Publish | None = None,
    ) -> None:
        self._values: Callable[[], Mapping[int, object]] | None = values
        self._nprocs = nprocs
        self._where = where
        self._displayed: Callable[[], Mapping[int, Sequence[Shown]]] | None = displayed
        self._show_ranks = show_ranks
        self._publish = publish

    def detach(self, failure: Callable[[], str]) -> None:
        """Show nothing, because that would run the user's code while the notebook is busy with other cells."""
        self._values = self._displayed = None

    def close(self) -> None:
        """Show the values, once; it raises nothing but an interrupt."""
        values, displayed = self._values, self._displayed
        # the panel must not keep the run
        self._values = self._displayed = None
        if values is None or displayed is None:
            return
        try:
            self._format_and_show(values(), displayed())
        except Exception:
            logger.exception("the values of the ranks could not be shown; %s has them", self._where)

    def _format_and_show(self, values: Mapping[int, object], displayed: Mapping[int, Sequence[Shown]]) -> None:
        chosen = {
            rank: value
            for rank, value in sorted(values.items())
            if value is not None and (self._show_ranks is None or rank in self._show_ranks)
        }
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        if chosen and shell is not None:
            work = _Formatting(shell, chosen)
            work.run()
            groups, slow = work.result()
            self._show(groups, _not_shown_yet(groups, displayed), slow, chosen)

    def _show(self, groups: list[_Group], new: list[_Group], slow: int | None, chosen: Mapping[int, object]) -> None:
        shown = _bounded(new, self._where)
        told = _ranks_of(groups) - _ranks_of(new[len(shown) :])
        if self._publish is None:
            _print(shown, self._nprocs)
        else:
            for bundle in _outputs(shown, self._nprocs):
                self._publish(dict(bundle.data), dict(bundle.metadata), {})
        lines = []
        if slow is not None:
            lines.append(
                f"… the value of rank {slow} was not ready to be shown after {_MAX_SECONDS:g} s: the code that shows "
                f"it takes longer. {self._where}[{slow}] has it"
            )
        left = [rank for rank in chosen if rank not in told and rank != slow]
        if left:
            one = len(left) == 1
            lines.append(
                f"… the value{'' if one else 's'} of {name_ranks(left)} {'is' if one else 'are'} not shown; "
                f"{self._where} has {'it' if one else 'them'}"
            )
        if lines and self._publish is not None:
            self._publish({PLAIN: "\n".join(lines)}, {}, {})
        elif lines:
            print_lines(lines)


class _Formatting:
    """Formats values one after the other, in a thread that is not waited for when it takes too long."""

    def __init__(self, shell: Any, values: Mapping[int, object]) -> None:
        self._shell = shell
        self._values = values
        self._groups: list[_Group] = []
        self._at: int | None = None
        self._left = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Format the values; return when all are formatted, or the time is over.

        Numbers are formatted in the thread too: a person may have registered a formatter for them, which takes long.
        """
        thread = cell_thread("nblaunch-shown-values", self._work)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: nothing is shown
            return
        deadline = time.monotonic() + _MAX_SECONDS
        try:
            while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
                thread.join(min(left, MAX_WAIT_SLICE))
        finally:  # an interrupt too
            with self._lock:
                self._left = True

    def result(self) -> tuple[list[_Group], int | None]:
        """Return the formatted values, and the rank whose value was being formatted when the time was over."""
        with self._lock:
            return self._groups, self._at

    def _work(self) -> None:
        # imported here, because it needs IPython, which programs without a notebook may not have
        from nblaunch.panel.formatting import formatted

        began = time.monotonic()
        looks_of: dict[tuple[type, object], object] = {}
        by_looks: dict[object, _Group] = {}
        for rank, value in self._values.items():
            with self._lock:
                if self._left or time.monotonic() - began > _MAX_SECONDS:
                    return
                self._at = rank
            plain = (type(value), value) if type(value) in _EQUAL_READ_ALIKE else None
            looks = None if plain is None else looks_of.get(plain)
            bundles: list[Bundle] = []
            if looks is None:
                bundles = formatted(self._shell, value)
                # values are compared by their outputs, because == of arrays, NaN and others does not tell
                looks = tuple(bundle.key() for bundle in bundles)
            if plain is not None:
                looks_of[plain] = looks
            with self._lock:
                if self._left:
                    return
                self._at = None
                if looks in by_looks:
                    by_looks[looks].ranks.append(rank)
                elif len(by_looks) < _MAX_VALUES:
                    self._groups.append(by_looks.setdefault(looks, _Group([rank], bundles)))
                else:
                    return  # this value and those after it are not shown


def _ranks_of(groups: Sequence[_Group]) -> set[int]:
    return {rank for group in groups for rank in group.ranks}


def _not_shown_yet(groups: list[_Group], displayed: Mapping[int, Sequence[Shown]]) -> list[_Group]:
    """Return the groups without ranks that have displayed the same image already, as they do with open figures."""
    found = []
    for group in groups:
        images = {part for bundle in group.bundles for mime, part in bundle.data.items() if mime.startswith("image/")}
        ranks = [
            rank
            for rank in group.ranks
            if not images or not any(images <= {*map(str, output.data.values())} for output in displayed.get(rank, ()))
        ]
        if ranks:
            found.append(_Group(ranks, group.bundles))
    return found


def _bounded(groups: list[_Group], where: str) -> list[_Group]:
    """Shorten long texts, keep only the text of large outputs, and leave out the groups that exceed the limit."""
    lines = max(_MIN_LINES_EACH, _MAX_LINES // max(1, len(groups)))
    characters = max(_MIN_CHARACTERS_EACH, _MAX_CHARACTERS // max(1, len(groups)))
    found = []
    room = _MAX_BYTES
    for group in groups:
        holds = f"{where}[{group.ranks[0]}]"
        bundles = []
        for bundle in group.bundles:
            data = dict(bundle.data)
            size = bundle.size()
            if size > min(_MAX_BYTES_EACH, room) and data.keys() - {PLAIN}:
                note = f"({in_words(size)} as it would be shown: only its text is; {holds} has it)"
                data = {PLAIN: f"{_cut(str(data.get(PLAIN, '')), lines, characters, holds)}\n{note}".lstrip()}
            elif PLAIN in data:
                data[PLAIN] = _cut(str(data[PLAIN]), lines, characters, holds)
            bundle = Bundle(data, bundle.metadata if len(data) == len(bundle.data) else {})
            room -= bundle.size()
            bundles.append(bundle)
        if room < 0:
            break
        found.append(_Group(group.ranks, bundles))
    return found


def _cut(text: str, lines: int, characters: int, holds: str) -> str:
    """Return the beginning of a text; a line says how much is left out."""
    rows = text.splitlines()
    if len(rows) > lines + 1:
        shown = _cut("\n".join(rows[:lines]), lines, characters, holds)
        return f"{shown}\n… {len(rows) - lines:,} more lines: {holds} has all"
    if len(text) > characters + 100:
        return f"{text[:characters]}\n… {len(text) - characters:,} more characters: {holds} has all"
    return text


def _outputs(groups: list[_Group], nprocs: int) -> list[Bundle]:
    """Return what is published: texts that follow each other as one output, all others below a label."""
    if nprocs == 1:
        return [bundle for group in groups for bundle in group.bundles]
    found: list[Bundle] = []
    texts: list[tuple[str, str]] = []
    # figures stand side by side, as those that ranks display do
    beside = are_of_several_ranks((group.ranks, group.single) for group in groups)
    for group in groups:
        text = group.text if len(group.bundles) == 1 else None
        if text is not None:
            texts.append((f"{name_ranks(group.ranks)}:", text))
            continue
        found += _together(texts)
        texts = []
        found += [label_of(group.ranks, group.single, beside), *group.bundles]
        # the CSS rules for that are needed only once
        beside = beside and not (group.single is not None and is_image(group.single))
    return found + _together(texts)


def _together(texts: list[tuple[str, str]]) -> list[Bundle]:
    width = max((len(name) for name, text in texts if "\n" not in text), default=0)
    lines = [f"{name}\n{text}" if "\n" in text else f"{name:<{width}} {text}" for name, text in texts]
    return [Bundle({PLAIN: "\n".join(lines)}, {})] if lines else []


def _print(groups: list[_Group], nprocs: int) -> None:
    for group in groups:
        head = prefix(group.ranks) if nprocs > 1 else ""
        for bundle in group.bundles:
            print_lines([f"{head}{visible(line)}" for line in text_of(bundle.data).splitlines()])
