"""A rank is a program that was launched, whatever asks: no notebook, and nobody types at a prompt.

Libraries decide by that which processes they may start (Lightning refuses most of its strategies where somebody types)
and how they show progress. They ask `sys.ps1`, `sys.flags.interactive`, or IPython's shell for its class and settings.
A rank's shell answers right by itself. In a fork of the notebook's process there is more: the prompts of the notebook's
shell, and what libraries have found out there and keep.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["be_launched"]

_PROMPTS = ("ps1", "ps2", "ps3")
# The names of its packages, and of what its modules import from one another.
_LIGHTNING = ("lightning.", "lightning_fabric.", "pytorch_lightning.")
_IS_INTERACTIVE = "_IS_INTERACTIVE"


def be_launched() -> None:
    """Let nothing in this process say that somebody types at a prompt or runs cells."""
    types = bool(sys.flags.interactive)
    if not types and not any(hasattr(sys, name) for name in _PROMPTS):
        return
    for name in _PROMPTS:
        if hasattr(sys, name):
            delattr(sys, name)
    if types:
        names = type(sys.flags).__match_args__
        flags = zip(names, sys.flags, strict=True)
        sys.flags = _Flags(0 if name in _STAYS else flag for name, flag in flags)  # type: ignore[assignment]
    for name, module in list(sys.modules.items()):
        if name.startswith(_LIGHTNING) and getattr(module, _IS_INTERACTIVE, False):
            setattr(module, _IS_INTERACTIVE, False)
    for name, change in _KEPT.items():
        if name in sys.modules:
            change(sys.modules[name])


class _Flags(tuple[Any, ...]):
    """What `sys.flags` is, whose type makes no second one, of an interpreter that was not asked to stay."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in _STAYS:
            return 0
        return getattr(_GIVEN, name) if hasattr(_GIVEN, name) else super().__getattribute__(name)


_GIVEN = sys.flags
# of an interpreter that asks for more when its program has ended
_STAYS = ("inspect", "interactive")


def _ask_again(transformers: Any) -> None:
    """Have transformers find out again whether this is a notebook."""
    forget = getattr(getattr(transformers, "is_in_notebook", None), "cache_clear", None)
    if forget is not None:
        forget()


def _show_progress_as_text(trainer: Any) -> None:
    """Have a `Trainer` of transformers show its progress as it does in a script."""
    if hasattr(trainer, "ProgressCallback") and hasattr(trainer, "DEFAULT_PROGRESS_CALLBACK"):
        trainer.DEFAULT_PROGRESS_CALLBACK = trainer.ProgressCallback


def _make_console_again(rich: Any) -> None:
    """Have rich make another console to print to, because the one that it has is for a notebook."""
    if hasattr(rich, "_console"):
        rich._console = None


def _leave_colab(hub: Any) -> None:
    """Have huggingface_hub know that this is no notebook of Colab."""
    if hasattr(hub, "_is_google_colab"):
        hub._is_google_colab = False


_KEPT = {
    "transformers.utils.import_utils": _ask_again,
    "transformers.trainer": _show_progress_as_text,
    "rich": _make_console_again,
    "huggingface_hub.utils._runtime": _leave_colab,
}
