"""What users import: every exported name says the module that they import it from, and is complete there."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pydoc
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import nblaunch
from nblaunch.exports import exported_by

ROOT = Path(__file__).parents[1]
NAMES = [name for name in nblaunch.__all__ if name != "__version__"]
CLASSES = [name for name in NAMES if isinstance(getattr(nblaunch, name), type)]
PROCESSES = ("nblaunch.processes", "nblaunch.processes.api", "nblaunch.processes.errors")


@pytest.mark.parametrize("name", NAMES)
def test_exported_names_say_nblaunch(name: str) -> None:
    thing = getattr(nblaunch, name)
    assert (thing.__module__, thing.__qualname__) == ("nblaunch", name)
    assert b"nblaunch.runs" not in pickle.dumps(thing)
    assert pickle.loads(pickle.dumps(thing)) is thing
    assert f"{name} in module nblaunch\n" in pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("module", PROCESSES)
def test_names_of_processes_say_where_programs_look_for_them(module: str) -> None:
    package = importlib.import_module(module)
    # types of Python and of torch keep their names, and each module has a `__getattr__` of its own
    for name in {*package.__all__} - {"JSON", "GlobalRank", "NumaOptions", "__getattr__"}:
        thing = getattr(package, name)
        assert ".elastic." not in thing.__module__
        assert getattr(importlib.import_module(thing.__module__), name) is thing


@pytest.mark.torch
@pytest.mark.parametrize("module", PROCESSES)
def test_names_of_processes_say_what_those_of_torch_say(module: str) -> None:
    ours = importlib.import_module(module)
    theirs = importlib.import_module(module.replace("nblaunch.processes", "torch.distributed.elastic.multiprocessing"))
    packages = "torch.distributed.elastic.multiprocessing", "nblaunch.processes"
    compared = {
        name: (getattr(ours, name).__module__, getattr(theirs, name).__module__.replace(*packages))
        for name in ours.__all__
        if getattr(getattr(theirs, name, None), "__module__", "").startswith(packages[0])
    }
    assert len(compared) > 4
    assert {name: said for name, said in compared.items() if said[0] != said[1]} == {}


@pytest.mark.parametrize("name", CLASSES)
def test_annotations_can_still_be_read(name: str) -> None:
    """They are texts, and name what their own file has imported."""
    thing = getattr(nblaunch, name)
    assert typing.get_type_hints(thing).keys() >= inspect.get_annotations(thing).keys()


def test_annotations_of_all_kinds_can_still_be_read() -> None:
    class Plain:
        one: list[int]
        two: typing.ClassVar[int] = 2

    before = typing.get_type_hints(Plain)
    assert (
        typing.get_type_hints(exported_by("nblaunch")(Plain))
        == before
        == {"one": list[int], "two": typing.ClassVar[int]}
    )


def test_the_source_is_found_or_said_to_be_missing() -> None:
    """Python looks for a class in the file of the module that it names, and must not show something else there."""
    assert "def launch(" in inspect.getsource(nblaunch.launch)
    assert inspect.getsource(nblaunch.Run.wait).lstrip().startswith("def wait(")
    for name in CLASSES:
        with pytest.raises(OSError, match=r"could not find class definition|source code not available"):
            inspect.getsource(getattr(nblaunch, name))


def _named(what: Any) -> tuple[Any, Any, str]:
    return nblaunch.RankTimeout("late"), what, type(what).__module__


def test_exported_classes_are_the_same_in_ranks() -> None:
    """They go by name, there and back, as what a rank raises does."""
    output = nblaunch.Output({"text/plain": "a"})
    run = nblaunch.launch(_named, 1, args=(output,), check=True)
    late, back, module = run.results[0]
    assert isinstance(late, nblaunch.RankTimeout)
    assert (back, module) == (output, "nblaunch")
    raised = nblaunch.launch("import nblaunch\nraise nblaunch.RankTimeout('late')", 1)
    assert isinstance(raised.failures[0].exception, nblaunch.RankTimeout)
    assert pickle.loads(pickle.dumps(raised.failures[0])).rank == 0


def test_a_traceback_of_a_program_names_what_it_can_catch() -> None:
    program = "import nblaunch\nif __name__ == '__main__':\n    nblaunch.launch('1 / 0', 1, check=True)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "\nnblaunch.RanksFailed: 1 of 1 rank failed; rank 0 first: ZeroDivisionError" in done.stderr


def test_what_a_run_has_is_documented() -> None:
    run = nblaunch.launch("rank", 1)
    documented = inspect.getdoc(nblaunch.Run) or ""
    for name in {name for name in vars(run) if not name.startswith("_")}:
        assert f"\n{name} : " in documented
