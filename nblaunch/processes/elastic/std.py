"""Which of a process's standard streams are meant: as a flag, as text, for all ranks or rank by rank."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntFlag
from typing import Any

from nblaunch.exports import exported_by

__all__ = ["Std", "checked_streams", "to_map"]


@exported_by("nblaunch.processes.api")
class Std(IntFlag):
    """Standard streams of a process: none, output, error, or both."""

    NONE = 0
    OUT = 1
    ERR = 2
    ALL = OUT | ERR

    @classmethod
    def from_str(cls, vm: str) -> Std | dict[int, Std]:
        """Read streams from text, as it is given on a command line.

        Parameters
        ----------
        vm : str
            One number for all ranks, or ``rank:number`` pairs with commas between them. The numbers are 0
            (none), 1 (stdout), 2 (stderr) and 3 (both).

        Returns
        -------
        Std or dict of int to Std

        Raises
        ------
        ValueError
            If the text has neither form, or names a rank twice.

        Examples
        --------
        >>> Std.from_str("1") == Std.OUT
        True
        >>> Std.from_str("0:3, 12:0") == {0: Std.ALL, 12: Std.NONE}
        True
        """
        if re.fullmatch(r"\s*[0-3]\s*", vm):
            return cls(int(vm))
        mapping: dict[int, Std] = {}
        for pair in vm.split(","):
            match = re.fullmatch(r"\s*([0-9]{1,9})\s*:\s*([0-3])\s*", pair)
            if not match:
                raise ValueError(
                    f"{vm!r} does not say which streams to take: give one of 0 (none), 1 (stdout), 2 "
                    "(stderr) and 3 (both) for all ranks, such as '3', or rank:number pairs, such as "
                    "'0:3,1:0'"
                )
            rank = int(match[1])
            if rank in mapping:
                raise ValueError(f"{vm!r} names rank {rank} twice: give each rank once")
            mapping[rank] = cls(int(match[2]))
        return mapping


@exported_by("nblaunch.processes.api")
def to_map(val_or_map: Std | Mapping[int, Std], local_world_size: int) -> dict[int, Std]:
    """Spread a setting over all ranks.

    Parameters
    ----------
    val_or_map : Std or mapping of int to Std
        For all ranks, or for some of them; the others get ``Std.NONE``.
    local_world_size : int
        How many ranks there are.

    Returns
    -------
    dict of int to Std
        One value for each of the ranks ``0 … local_world_size-1``.
    """
    setting = checked_streams("val_or_map", val_or_map)
    if isinstance(setting, Std):
        return dict.fromkeys(range(local_world_size), setting)
    return {rank: setting.get(rank, Std.NONE) for rank in range(local_world_size)}


def checked_streams(what: str, value: Any) -> Std | dict[int, Std]:
    """Return a setting as `Std`, for all ranks or rank by rank, or say why the parameter `what` is none.

    Plain integers pass too.
    """
    if not isinstance(value, Mapping):
        return _checked_std(what, value)
    for rank in value:
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 0:
            raise ValueError(f"{what}: the keys must be local ranks, that is 0, 1, …, and {rank!r} is none")
    return {rank: _checked_std(f"{what}[{rank}]", std) for rank, std in value.items()}


def _checked_std(what: str, value: Any) -> Std:
    # True is an int too, but whoever writes it hardly means "stdout only".
    if isinstance(value, bool) or not isinstance(value, int):
        hint = "; read text with Std.from_str" if isinstance(value, str) else ""
        raise TypeError(
            f"{what} must be a Std (NONE, OUT, ERR, ALL) or a mapping from local rank to Std, "
            f"and is {value!r} ({type(value).__name__}){hint}"
        )
    if value not in range(4):
        raise ValueError(f"{what} must be Std.NONE (0), Std.OUT (1), Std.ERR (2) or Std.ALL (3), and is {int(value)}")
    return Std(value)
