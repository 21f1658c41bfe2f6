"""Libraries take a rank for a script: not for a notebook, nor for an interpreter at whose prompt somebody types.

By that, libraries decide which processes they may start (in interactive programs, Lightning refuses most of its
strategies) and how they show progress. They look at `sys.ps1`, at `sys.flags.interactive`, and at IPython's shell. A
rank's shell has neither prompts nor a kernel. But a rank that is forked from the notebook's process inherits the
notebook's prompts, and what libraries have stored about it.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["hide_interactivity"]

_PROMPTS = ("ps1", "ps2", "ps3")
# Its packages, whose modules import a constant of this name from one another.
_LIGHTNING = ("lightning.", "lightning_fabric.", "pytorch_lightning.")
_IS_INTERACTIVE = "_IS_INTERACTIVE"


def hide_interactivity() -> None:
    """Remove from this process the signs that somebody types at a prompt or runs cells."""
    is_flagged = bool(sys.flags.interactive)
    if not is_flagged and not any(hasattr(sys, name) for name in _PROMPTS):
        return
    for name in _PROMPTS:
        if hasattr(sys, name):
            delattr(sys, name)
    if is_flagged:
        names = type(sys.flags).__match_args__
        flags = zip(names, sys.flags, strict=True)
        sys.flags = _Flags(0 if name in _INTERACTIVE_FLAGS else flag for name, flag in flags)  # type: ignore[assignment]
    for name, module in list(sys.modules.items()):
        if name.startswith(_LIGHTNING) and getattr(module, _IS_INTERACTIVE, False):
            setattr(module, _IS_INTERACTIVE, False)
    for name, change in _CHANGES.items():
        if name in sys.modules:
            change(sys.modules[name])


class _Flags(tuple[Any, ...]):
    """Replaces `sys.flags`, of whose type there can be no second instance; the flags of ``python -i`` are 0."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in _INTERACTIVE_FLAGS:
            return 0
        return getattr(_ORIGINAL_FLAGS, name) if hasattr(_ORIGINAL_FLAGS, name) else super().__getattribute__(name)


_ORIGINAL_FLAGS = sys.flags
# set by ``python -i``
_INTERACTIVE_FLAGS = ("inspect", "interactive")


def _forget_notebook(transformers: Any) -> None:
    """Have transformers check again whether it runs in a notebook."""
    forget = getattr(getattr(transformers, "is_in_notebook", None), "cache_clear", None)
    if forget is not None:
        forget()


def _show_progress_as_text(trainer: Any) -> None:
    """Have the `Trainer` of transformers show its progress as in a script."""
    if hasattr(trainer, "ProgressCallback") and hasattr(trainer, "DEFAULT_PROGRESS_CALLBACK"):
        trainer.DEFAULT_PROGRESS_CALLBACK = trainer.ProgressCallback


def _forget_console(rich: Any) -> None:
    """Have rich make a new console, because the one that it has prints to the notebook."""
    if hasattr(rich, "_console"):
        rich._console = None


def _leave_colab(hub: Any) -> None:
    """Have huggingface_hub forget that it was imported in a notebook of Google Colab."""
    if hasattr(hub, "_is_google_colab"):
        hub._is_google_colab = False


# By the module that has stored that it runs in a notebook.
_CHANGES = {
    "transformers.utils.import_utils": _forget_notebook,
    "transformers.trainer": _show_progress_as_text,
    "rich": _forget_console,
    "huggingface_hub.utils._runtime": _leave_colab,
}
