"""`try_rebuilding`: finds out before a launch whether an object with its own code for pickling can be rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nblaunch.payload.exceptions import why
from nblaunch.payload.identity import received_classes
from nblaunch.payload.pickling import NotRebuilt, pack, unpack
from nblaunch.wording import RANK_NAMES

__all__ = ["WORTH_TRYING", "try_rebuilding"]

WORTH_TRYING = 1 << 20
"""Most bytes of an object that is rebuilt for a trial; a larger one would take too long."""


def try_rebuilding(value: object, shared_globals: dict[str, Any], provided: Mapping[str, object]) -> None:
    """Pack and rebuild an object as for a rank, and discard the result; the classes of this process stay as they are.

    Raises
    ------
    NotRebuilt
        If the object's own code, such as `__setstate__`, fails.
    """
    # `home_classes`, so that the classes of this process are used and not replaced
    packed = pack(value, shared_globals=shared_globals, provided=provided, home_classes=received_classes())
    if packed.size > WORTH_TRYING:
        return
    try:
        unpack(bytearray(bytes(packed)), shared_globals={**dict.fromkeys(RANK_NAMES, 0), **provided})
    except (Exception, SystemExit) as error:
        raise NotRebuilt(f"rebuilding it in a rank fails: {why(error)}") from error
