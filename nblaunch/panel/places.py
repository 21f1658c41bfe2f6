"""Where under a cell each output of each rank is shown: `Places`.

Every output has a *place*: a label that names its ranks, and the content. What several ranks display alike has one
place. Places stay where they are, because frontends can change an output but neither remove nor move it. So the place
of an output that a rank clears becomes empty, and its next output fills it: an animation stays where it began.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nblaunch.events import Displayed
from nblaunch.runs.displaying import Displaying
from nblaunch.wording import in_words, name_ranks

__all__ = [
    "IMAGE_WIDTH",
    "NOTHING",
    "PLAIN",
    "WIDGET",
    "Bundle",
    "Change",
    "Places",
    "are_of_several_ranks",
    "is_image",
    "label_of",
    "text_of",
]

PLAIN = "text/plain"
"""The MIME type of what every frontend shows, terminals too."""
WIDGET = "application/vnd.jupyter.widget-view+json"
"""The MIME type of a widget, which a page draws after some time."""
NOTHING = {"text/html": "", PLAIN: ""}
"""The data of an output that shows nothing."""
IMAGE_WIDTH = "min(100%, 380px)"
"""How wide images of ranks are that stand side by side."""

# Puts images side by side where there is room, each below the line that names its rank. Each stays an output, because
# images in HTML are lost where a notebook is not trusted, and in formats other than HTML. A rank's line is as wide as
# its image, which a negative margin puts over it: so both go into the next row together. Where styles are removed, or
# outputs have other class names than in Jupyter and nbconvert, images are below each other.
_AREA = ".jp-OutputArea:has(> .jp-OutputArea-child .nblaunch-images)"
_LINE = f"{_AREA} > .jp-OutputArea-child:has(.nblaunch-image)"
_SIDE_BY_SIDE = (
    "<style>"
    f"{_AREA} {{ display: flex; flex-wrap: wrap; align-items: flex-start; --nblaunch-image: {IMAGE_WIDTH} }} "
    f"{_AREA} > .jp-OutputArea-child {{ flex: 0 0 100%; width: 100% }} "
    f"{_LINE}, {_LINE} + .jp-OutputArea-child "
    "{ flex: 0 0 var(--nblaunch-image); width: var(--nblaunch-image); box-sizing: border-box } "
    f"{_LINE} + .jp-OutputArea-child {{ margin-left: calc(-1 * var(--nblaunch-image)); padding-top: 1.6em }} "
    "</style>"
)
_LABEL_STYLE = "font-size: 85%; opacity: 0.7; margin-top: 0.3em"


class Bundle(NamedTuple):
    """Data and metadata of one output, as in Jupyter's ``display_data``."""

    data: dict[str, Any]
    metadata: dict[str, Any]

    def size(self) -> int:
        """Return about how many bytes it takes in a notebook."""
        return sum(len(text) for _, text in self.texts())

    def texts(self) -> list[tuple[str, str]]:
        """Return each MIME type with its content as text; long texts are referred to, not copied."""
        return sorted(
            (mime, part if isinstance(part, str) else json.dumps(part, sort_keys=True))
            for mime, part in self.data.items()
        )

    def key(self) -> object:
        """Return something that is equal for outputs that look alike."""
        return tuple(self.texts()), json.dumps(self.metadata, sort_keys=True)


class Change(NamedTuple):
    """What is to be published under a name, and whether that updates an output that is there already."""

    content: Bundle
    name: str
    update: bool


@dataclass(eq=False)
class _Place:
    """A place and its content; a place without ranks is free."""

    number: int
    ranks: set[int] = field(default_factory=set)
    content: Bundle | None = None
    key: object = None
    size: int = 0
    is_published: bool = False
    has_new_ranks: bool = False
    has_new_content: bool = False
    left_by: int = -1


@dataclass(eq=False)
class _Item:
    """One output of a rank; without a place it is not shown, because the limits are reached."""

    content: Bundle
    place: _Place | None = None


class Places(Displaying[_Item]):
    """The outputs of ranks and their places: at most `most`, with at most `most_bytes` bytes."""

    def __init__(self, most: int, most_bytes: int) -> None:
        super().__init__()
        self._most = most
        self._most_bytes = most_bytes
        self._hidden: Counter[int] = Counter()
        self._places: list[_Place] = []
        self._by_key: dict[object, list[_Place]] = {}
        self._bytes = 0
        self._changed: dict[_Place, None] = {}
        self._rest_told: str | None = None

    def made(self, event: Displayed) -> _Item:
        """Return a new output; it has no place yet."""
        return _Item(_content(event))

    def added(self, item: _Item, event: Displayed) -> None:
        """Give the output a place: that of an equal output of other ranks, if there is one."""
        self._show(event.rank, item, has_name=event.display_id is not None)

    def change(self, item: _Item, event: Displayed) -> None:
        """Change the content of the output's place."""
        item.content = _content(event)
        place = item.place
        if place is None:
            return
        size = item.content.size()
        if self._bytes - place.size + size <= self._most_bytes:
            self._fill(place, item.content, size)
        else:
            item.place = None
            self._hidden[event.rank] += 1
            self._leave(event.rank, place)

    def left(self, rank: int, items: list[_Item]) -> None:
        """Empty their places."""
        self._hidden.pop(rank, None)
        for item in items:
            if item.place is not None:
                self._leave(rank, item.place)

    def has_changed(self) -> bool:
        """Tell whether `changes` would return anything."""
        return bool(self._changed) or self._rest() != (self._rest_told or "")

    def changes(self) -> list[Change]:
        """Return what has to be published to bring what was returned before up to the present state."""
        beside = bool(self._changed) and are_of_several_ranks((place.ranks, place.content) for place in self._places)
        found = [change for place in self._changed for change in _changes_of(place, beside)]
        self._changed.clear()
        rest = self._rest()
        if rest != (self._rest_told or ""):
            found.append(Change(_text(rest), "rest", self._rest_told is not None))
            self._rest_told = rest
        return found

    def start_anew(self) -> None:
        """Publish places that change from now on as new outputs: those that were shown are gone."""
        for place in self._places:
            place.is_published = False
        self._rest_told = None

    def final(self) -> list[Bundle]:
        """Return labels and outputs by rank, in order, alike ones once: where the first of their ranks has them."""
        shown: list[Bundle] = []
        hidden: list[set[int]] = []
        size = 0
        folded = self._folded()
        beside = are_of_several_ranks((ranks, content) for ranks, content in folded)
        for ranks, content in folded:
            added = content.size()
            if len(shown) // 2 < self._most and size + added <= self._most_bytes:
                shown += [label_of(ranks, content, beside), content]
                # the rules are there once
                beside = beside and not is_image(content)
                size += added
            else:
                hidden.append(ranks)
        if hidden:
            shown.append(_text(self._tell_rest(len(hidden), set().union(*hidden))))
        return shown

    def _show(self, rank: int, item: _Item, has_name: bool) -> None:
        # an output with a display id may be updated by its rank, so it shares no place
        key = None if has_name else item.content.key()
        alike = self._by_key.get(key, []) if key is not None else []
        place = next((place for place in alike if rank not in place.ranks), None)
        if place is None:
            size = item.content.size()
            place = self._free_place(rank, size)
            if place is None:
                self._hidden[rank] += 1
                return
            if key is not None:
                self._by_key.setdefault(key, []).append(place)
            place.key = key
            self._fill(place, item.content, size)
        item.place = place
        place.ranks.add(rank)
        place.has_new_ranks = True
        self._changed[place] = None

    def _free_place(self, rank: int, size: int) -> _Place | None:
        if self._bytes + size > self._most_bytes:
            return None
        free = [place for place in self._places if not place.ranks]
        below = self._below_outputs_of(rank, free)
        if not below and len(self._places) < self._most:
            made = _Place(len(self._places))
            self._places.append(made)
            return made
        candidates = below or free
        return next((place for place in candidates if place.left_by == rank), candidates[0] if candidates else None)

    def _below_outputs_of(self, rank: int, free: list[_Place]) -> list[_Place]:
        """Return the free places that keep the order of the rank's outputs."""
        if not free:
            return []
        last = max((item.place.number for item in self.by_rank[rank] if item.place is not None), default=-1)
        return [place for place in free if place.number > last]

    def _leave(self, rank: int, place: _Place) -> None:
        place.ranks.discard(rank)
        place.has_new_ranks = True
        self._changed[place] = None
        if place.ranks:
            return
        if place.key is not None:
            alike = self._by_key[place.key]
            alike.remove(place)
            if not alike:
                del self._by_key[place.key]
        place.key, place.left_by = None, rank
        self._fill(place, None, 0)

    def _fill(self, place: _Place, content: Bundle | None, size: int) -> None:
        self._bytes += size - place.size
        place.content, place.size, place.has_new_content = content, size, True
        self._changed[place] = None

    def _rest(self) -> str:
        return self._tell_rest(sum(self._hidden.values()), self._hidden) if self._hidden else ""

    def _tell_rest(self, count: int, ranks: Collection[int]) -> str:
        return (
            f"… {count} more output{'' if count == 1 else 's'} of {name_ranks(ranks)} {'is' if count == 1 else 'are'} "
            f"not shown, to keep the notebook light (up to {self._most} outputs of {in_words(self._most_bytes)} in all "
            "are). run.outputs has everything, where the cell was run with --out run"
        )

    def _folded(self) -> list[tuple[set[int], Bundle]]:
        """Return the outputs of all ranks, in the order of the ranks; alike ones once, with the ranks that have it."""
        found: list[tuple[set[int], Bundle]] = []
        by_key: dict[object, list[set[int]]] = {}
        for rank, items in sorted(self.by_rank.items()):
            for item in items:
                alike = by_key.setdefault(item.content.key(), [])
                ranks = next((ranks for ranks in alike if rank not in ranks), None)
                if ranks is None:
                    ranks = {rank}
                    alike.append(ranks)
                    found.append((ranks, item.content))
                else:
                    ranks.add(rank)
        return found


def _content(event: Displayed) -> Bundle:
    return Bundle(event.data, event.metadata)


def are_of_several_ranks(outputs: Iterable[tuple[Collection[int], Bundle | None]]) -> bool:
    """Tell whether images of several ranks, or groups of ranks, are shown: only these are put side by side."""
    return len({frozenset(ranks) for ranks, content in outputs if content is not None and is_image(content)}) > 1


def _changes_of(place: _Place, beside: bool) -> list[Change]:
    update = place.is_published
    if not update and not place.ranks:
        return []  # filled and cleared before anybody could see it
    found = []
    if place.has_new_ranks or not update:
        found.append(Change(label_of(place.ranks, place.content, beside), f"{place.number}-label", update))
    if place.has_new_content or not update:
        found.append(Change(place.content or _text(""), str(place.number), update))
    place.is_published = True
    place.has_new_ranks = place.has_new_content = False
    return found


def label_of(ranks: Collection[int], content: Bundle | None = None, beside: bool = False) -> Bundle:
    """Return the line above an output, which names its ranks."""
    if not ranks:
        return Bundle(dict(NOTHING), {})
    names = name_ranks(ranks)
    html = f'<div style="{_LABEL_STYLE}">{names}</div>'
    if content is not None and is_image(content):
        kind, styles = ("nblaunch-image nblaunch-images", _SIDE_BY_SIDE) if beside else ("nblaunch-image", "")
        html = f'<div class="{kind}" style="{_LABEL_STYLE}">{names}</div>{styles}'
    return Bundle({"text/html": html, PLAIN: f"{names}:"}, {})


def text_of(data: Mapping[str, Any]) -> str:
    """Return what is printed of an output, where nothing but text can be shown."""
    text = data.get(PLAIN)
    return text if isinstance(text, str) else f"(an output without text: {', '.join(data)})"


def is_image(content: Bundle) -> bool:
    """Tell whether an output is shown as an image and nothing else."""
    return all(mime.startswith("image/") or mime == PLAIN for mime in content.data) and len(content.data) > (
        PLAIN in content.data
    )


def _text(text: str) -> Bundle:
    return Bundle({PLAIN: text}, {})
