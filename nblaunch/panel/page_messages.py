"""The messages between a panel and its pages: what is in each of them.

::

    pages ─► Here, Hello, Gone, Watch, Acknowledge, AskPage, AskStacks, Stop, Kill ─► panel
    pages ◄─ Tick, Page, Stacks, Beat                                              ◄─ panel
    pages ─► Placed                                                                ─► widget of a run that has ended

The messages are described only here. mypy checks the panel against these types. ``static/messages.d.ts`` is made from
them, and TypeScript checks the page against that. `read` checks what a page sends, field by field.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Any, Literal, TypedDict, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

__all__ = [
    "FROM_PAGES",
    "TO_PAGES",
    "AskPage",
    "AskStacks",
    "Channel",
    "Chunk",
    "Found",
    "FromPage",
    "Page",
    "Placed",
    "RankNews",
    "RunNews",
    "Stacks",
    "Tick",
    "ToPage",
    "fits",
    "read",
]

Channel = Literal["control", "comm"]

# ---- from a page


class Said(TypedDict):
    """What is in every message of a page: its name, and how many messages it has sent."""

    client: str
    n: int


class SaidPerhaps(Said, total=False):
    """What may be in every message of a page.

    `buffers` is false in each of a page that binary buffers do not reach. `widget` is the token of the panel, in
    messages on the kernel's control channel. `again` is in a question that has been asked before.
    """

    buffers: bool
    widget: str
    again: bool


class Here(SaidPerhaps):
    """There is a page; `shared`: several people or the server write to its document."""

    kind: Literal["here"]
    shared: bool


class Hello(SaidPerhaps):
    """The page shows the panel, and knows nothing."""

    kind: Literal["hello"]


class Gone(SaidPerhaps):
    """The page shows the panel no more."""

    kind: Literal["gone"]


class Watch(SaidPerhaps):
    """The logs that are in sight."""

    kind: Literal["watch"]
    logs: list[str]


class Acknowledge(SaidPerhaps):
    """The tick of this number has been read, and these logs are in sight."""

    kind: Literal["ack"]
    seq: int
    logs: list[str]


_Range = TypedDict("_Range", {"from": int, "to": int})


class AskPageExactly(SaidPerhaps, total=False):
    """`exact`: just these bytes, and not up to the borders of lines."""

    exact: bool


class AskPage(AskPageExactly, _Range):
    """Bytes of a log are asked for."""

    kind: Literal["page"]
    id: int
    log: str


class AskStacks(SaidPerhaps):
    """Where every rank is now is asked for."""

    kind: Literal["stacks"]
    id: int


class Stop(SaidPerhaps):
    """The ranks are to be interrupted."""

    kind: Literal["stop"]


class Kill(SaidPerhaps):
    """The ranks are to be killed."""

    kind: Literal["kill"]


class Placed(TypedDict):
    """The record of a run that has ended stands in the notebook of the page: no other page has to put it there."""

    kind: Literal["placed"]


# ---- to a page


class ChunkPerhaps(TypedDict, total=False):
    """`base64`: the bytes, where they are not in a buffer of the message."""

    base64: str


class Chunk(ChunkPerhaps):
    """Bytes of a log from an offset on; each piece has a rank, one of its streams (1 or 2), and a number of bytes."""

    log: str
    offset: int
    pieces: list[tuple[int, int, int]]


class RunNews(TypedDict, total=False):
    """What has changed of the run.

    `cpu` is in percent of one core, `memory` in bytes; `about`: the memory of some ranks is not known; `samples`: how
    often they were looked at; `elapsed`: seconds from launch to end.
    """

    state: str
    words: str
    cpu: int
    memory: int
    about: bool
    samples: int
    log_dir: str
    sent: str
    over: bool
    elapsed: float


class RankNews(TypedDict, total=False):
    """What has changed of a rank; `began` and `ended` in seconds since the launch, `out` and `err` in bytes written."""

    state: str
    pid: int | None
    began: float | None
    ended: float | None
    cpu: float
    memory: int
    out: int
    err: int
    line: str
    exit: str
    why: str
    asks: str
    about: str
    answer: str
    traceback: str
    collateral: bool
    root: bool


class TickPerhaps(TypedDict, total=False):
    """What is not in every tick.

    `full`: this is all that is known, and not only what has changed. `history`: the memory of ranks, in bytes.
    `heard`: by which channel each page is heard. `ack`: an acknowledgement is asked for. `probe`: the last buffer has
    so many bytes, by which a page sees whether buffers reach it.
    """

    full: bool
    run: RunNews
    ranks: dict[str, RankNews]
    history: dict[str, list[int]]
    heard: dict[str, Channel]
    ack: bool
    probe: int


class Tick(TickPerhaps):
    """News. The chunks' bytes are in the message's buffers; `clock`: seconds since the launch; `sizes`: of logs."""

    kind: Literal["tick"]
    seq: int
    clock: float
    sizes: dict[str, int]
    chunks: list[Chunk]


class Answer(TypedDict):
    """What is in every answer: the number of the question, and the page that has asked."""

    client: str
    id: int


class PagePerhaps(Answer, total=False):
    """Bytes of a log, or why there are none."""

    chunk: Chunk
    error: str


class Page(PagePerhaps):
    """The answer to `AskPage`."""

    kind: Literal["page"]


class Found(TypedDict, total=False):
    """Where the ranks are, or why that is not known."""

    text: str
    error: str


class Stacks(Answer, Found):
    """The answer to `AskStacks`."""

    kind: Literal["stacks"]


class Beat(TypedDict):
    """There is nothing new, and the panel is there."""

    kind: Literal["beat"]


FromPage = Here | Hello | Gone | Watch | Acknowledge | AskPage | AskStacks | Stop | Kill
ToPage = Tick | Page | Stacks | Beat
FROM_PAGES: tuple[type, ...] = get_args(FromPage)
TO_PAGES: tuple[type, ...] = get_args(ToPage)


def read(content: object) -> FromPage | None:
    """Return what a page has said, or None if that is no message of a page."""
    return cast("FromPage", content) if any(fits(content, shape) for shape in FROM_PAGES) else None


def fits(value: object, shape: Any, *, exactly: bool = False) -> bool:
    """Tell whether a value that came as JSON has a type.

    Parameters
    ----------
    value : object
        Lists count as tuples, and whole numbers as floats.
    shape : type
        A TypedDict, or a type that one of its fields has.
    exactly : bool
        Whether a dictionary must not have more than the fields of its TypedDict.
    """
    origin, parts = get_origin(shape), get_args(shape)
    if is_typeddict(shape):
        fields = _fields(shape)
        return (
            isinstance(value, dict)
            and shape.__required_keys__ <= value.keys()
            and not (exactly and value.keys() - fields.keys())
            and all(fits(value[name], kind, exactly=exactly) for name, kind in fields.items() if name in value)
        )
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if origin in (Union, UnionType):
        return any(fits(value, part, exactly=exactly) for part in parts)
    if origin is list:
        return isinstance(value, list) and all(fits(part, parts[0], exactly=exactly) for part in value)
    if origin is tuple:
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(parts)
            and all(fits(part, kind, exactly=exactly) for part, kind in zip(value, parts, strict=True))
        )
    if origin is dict:
        return isinstance(value, dict) and all(
            isinstance(name, str) and fits(part, parts[1], exactly=exactly) for name, part in value.items()
        )
    if shape is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is shape


@cache
def _fields(shape: type) -> dict[str, Any]:
    return get_type_hints(shape)
