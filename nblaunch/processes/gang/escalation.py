"""How ranks are ended: which signals they are sent, and how long each may take."""

from __future__ import annotations

import signal
from dataclasses import dataclass

__all__ = ["AFTER_KILL", "KILL", "Step", "escalation"]


@dataclass(frozen=True)
class Step:
    """Send `signal` to the ranks that are left, then give them `grace` seconds."""

    signal: signal.Signals
    grace: float


AFTER_KILL = 10.0
"""Seconds to wait after SIGKILL: a process that is still there then hangs in the kernel (state D)."""

KILL = (Step(signal.SIGKILL, AFTER_KILL),)


def escalation(*signals: signal.Signals, grace: float, after_kill: float = AFTER_KILL) -> tuple[Step, ...]:
    """Return the steps that send each signal in turn, `grace` seconds apart, and SIGKILL at last."""
    return (*(Step(number, grace) for number in signals), Step(signal.SIGKILL, after_kill))
