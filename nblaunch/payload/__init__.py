"""Objects to bytes and back: the only form in which anything crosses the border of a process.

`pack` cloudpickles an object into a pickle stream and the large buffers in it (pickle protocol 5, PEP 574), which are
referred to rather than copied. `Packed` writes them one after the other. Large ones go into a file in memory (`store`),
which a receiver maps. `unpack` builds arrays on top of the mapping, or of one received block, without a further copy.
They are writable, and the memory is freed with the last of them.

Three things differ from plain cloudpickle:

* *Shared globals*: functions of the notebook arrive with the receiver's own namespace as their globals instead of a
  private copy, so that ``lr = 0.5; step()`` in a cell is seen by ``step``.
* *Home classes*: an instance of a class that came from the notebook returns as an instance of that very class, and the
  class in the notebook stays as it is.
* *Exceptions* are sent with their traceback, cause, context and notes, whatever their constructor takes.
"""

from __future__ import annotations

from nblaunch.payload.exceptions import (
    ExceptionStandIn,
    add_notes,
    relatives,
    shortened,
    text_of,
    traceback_of,
    type_name,
    why,
)
from nblaunch.payload.identity import received_classes
from nblaunch.payload.memory import NotEnoughMemory, available_memory
from nblaunch.payload.packed import Packed, Parts, split
from nblaunch.payload.pickling import NotRebuilt, pack, pack_exception, pack_named, unpack, unpack_named
from nblaunch.payload.plain import encodable, pack_plain, unpack_plain
from nblaunch.payload.process_groups import WorksInRanksOnly
from nblaunch.payload.stored import MOST_FILES, Stored, require_memory_for, store, store_if_large
from nblaunch.payload.trial import WORTH_TRYING, try_rebuilding

__all__ = [
    "MOST_FILES",
    "WORTH_TRYING",
    "ExceptionStandIn",
    "NotEnoughMemory",
    "NotRebuilt",
    "Packed",
    "Parts",
    "Stored",
    "WorksInRanksOnly",
    "add_notes",
    "available_memory",
    "encodable",
    "pack",
    "pack_exception",
    "pack_named",
    "pack_plain",
    "received_classes",
    "relatives",
    "require_memory_for",
    "shortened",
    "split",
    "store",
    "store_if_large",
    "text_of",
    "traceback_of",
    "try_rebuilding",
    "type_name",
    "unpack",
    "unpack_named",
    "unpack_plain",
    "why",
]
