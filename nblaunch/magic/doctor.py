"""``%multiproc doctor``: how the next ranks are made, what keeps them from being quick, and what the machine has."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
from collections.abc import Iterable, Iterator
from typing import Any

import psutil

import nblaunch
from nblaunch.launching import free_threading
from nblaunch.payload.memory import available_memory
from nblaunch.processes.starting.hash_seed import VARIABLE, own_seed, with_hash_seed
from nblaunch.processes.starting.preloads import learnt
from nblaunch.processes.starting.zygotes import ZYGOTES
from nblaunch.processes.threads import cores
from nblaunch.settings import changed_settings, settings_in_words
from nblaunch.wording import in_words

__all__ = ["examine"]


def examine(start_method: str, settings: bool = True, panel: Iterable[str] = ()) -> str:
    """Return the report, one line per finding.

    Parameters
    ----------
    start_method : str
        The start method of launches that do not choose one.
    settings : bool
        Whether launches make changed settings of libraries in the ranks.
    panel : iterable of str
        Sentences about how runs are shown in this frontend.
    """
    rows = [
        ("nblaunch", _versions()),
        *(("", notice) for notice in free_threading.notices()),
        ("start method", start_method),
        *_zygotes(start_method),
        ("hash seed", _hash_seed(start_method)),
        *_settings(settings),
        *(("" if number else "panel", notice) for number, notice in enumerate(panel)),
        ("machine", _machine()),
        ("limits", _limits()),
    ]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)


def _versions() -> str:
    parts = [nblaunch.__version__, f"Python {platform.python_version()}"]
    for name in ("ipykernel", "IPython", "ipywidgets", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(parts)


def _zygotes(start_method: str) -> Iterator[tuple[str, str]]:
    states = ZYGOTES.state()
    if not states:
        used = start_method == "zygote"
        yield "zygote", "none: the next launch makes one" if used else "none: this start method needs none"
    for state in states:
        yield "zygote", _zygote(state)
        if not state["alive"]:
            continue
        if state["problem"]:
            yield "", f"cannot fork ranks: {state['problem']}"
        if state["ready"] and state["modules"]:
            yield "", f"holds {_packages(state['modules'])}"
        for name, why in state["left_out"].items():
            yield "", f"leaves out {name}: {why}"
        count, left = state["spares"] or (0, 0.0)
        if count:
            yield "", f"{count} spare{'' if count == 1 else 's'} waiting, for {left:.0f} s more"
    if learnt():
        yield "learnt", f"{', '.join(learnt())}: ranks had to import that, and so it is imported ahead"
    for failure in ZYGOTES.failures:
        yield "failed zygote", failure.strip().replace("\n", "\n    ")


def _zygote(state: dict[str, Any]) -> str:
    text = f"pid {state['pid']}"
    if not state["alive"]:
        return f"{text}, dead: the next launch replaces it"
    with contextlib.suppress(psutil.Error):
        if psutil.Process(state["pid"]).status() == psutil.STATUS_STOPPED:
            text += ", stopped"
    if not state["ready"]:
        return f"{text}, importing {_packages(state['modules']) or 'nothing'}"
    with contextlib.suppress(psutil.Error):
        zygote = psutil.Process(state["pid"])
        # the proportional set size, which counts memory that it shares with its spares once
        total = sum(process.memory_full_info().pss for process in (zygote, *zygote.children(recursive=True)))
        text += f", {in_words(total)} with its spares"
    return f"{text}, ready after {state['seconds']:.1f} s"


def _packages(modules: Iterable[str]) -> str:
    return ", ".join(sorted({name.partition(".")[0] for name in modules}, key=str.lower))


def _hash_seed(start_method: str) -> str:
    if start_method == "fork":
        return "that of this kernel: with this start method ranks are copies of it"
    of_ranks, own = with_hash_seed(os.environ)[VARIABLE], own_seed()
    if of_ranks == own:
        return f"{of_ranks}, in this kernel and in all ranks: hash() of a text is the same everywhere"
    whose = (
        f"this kernel has {own}" if own else f"this kernel has drawn its own (start it with {VARIABLE} to choose it)"
    )
    return f"{of_ranks} in all ranks of all runs, which agree about hash() of a text; {whose}"


def _settings(are_sent: bool) -> Iterator[tuple[str, str]]:
    if not are_sent:
        yield "settings", "are not made in the ranks (%config Multiproc.settings)"
        return
    found, notices = changed_settings()
    label = "settings"
    for library, changed in found.items():
        yield label, settings_in_words({library: changed})
        label = ""
    if not found:
        yield "settings", "those of new processes: none was changed here"
    for notice in notices:
        yield "", notice


def _machine() -> str:
    memory = psutil.virtual_memory()
    return (
        f"{cores()} cores for this kernel, {in_words(available_memory())} of {in_words(memory.total)} "
        f"memory available, Linux {platform.release()}"
    )


def _limits() -> str:
    parts = []
    for number, name in ((resource.RLIMIT_NPROC, "processes"), (resource.RLIMIT_NOFILE, "open files")):
        soft = resource.getrlimit(number)[0]
        parts.append(f"{'any number of' if soft == resource.RLIM_INFINITY else soft} {name}")
    return ", ".join(parts)
