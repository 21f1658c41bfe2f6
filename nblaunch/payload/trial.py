"""Whether an object that its own class takes apart can be rebuilt, found out before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nblaunch.payload.exceptions import why
from nblaunch.payload.identity import received_classes
from nblaunch.payload.pickling import NotRebuilt, pack, unpack
from nblaunch.wording import RANK_NAMES

__all__ = ["WORTH_TRYING", "try_rebuilding"]

WORTH_TRYING = 1 << 20
"""Bytes of an object up to which it is rebuilt for a trial; a larger one takes too long."""


def try_rebuilding(value: object, shared_globals: dict[str, Any], provided: Mapping[str, object]) -> None:
    """Rebuild an object that was packed before, and let go of it; classes and what they hold stay as they are.

    Raises
    ------
    NotRebuilt
        If its own code, `__setstate__` for example, fails.
    """
    # all classes are at home here, so that none is written over
    packed = pack(value, shared_globals=shared_globals, provided=provided, home_classes=received_classes())
    if packed.size > WORTH_TRYING:
        return
    try:
        unpack(bytearray(bytes(packed)), shared_globals={**dict.fromkeys(RANK_NAMES, 0), **provided})
    except (Exception, SystemExit) as error:
        raise NotRebuilt(f"rebuilding it in a rank fails: {why(error)}") from error
