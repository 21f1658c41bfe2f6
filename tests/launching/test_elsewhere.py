"""Which variables ranks may miss: gathered before a launch, told when a rank fails."""

from __future__ import annotations

from typing import Any

import pytest

import nblaunch
from nblaunch.capture import names_of
from nblaunch.launching import elsewhere
from nblaunch.launching.elsewhere import remember_bound, variables_elsewhere
from nblaunch.launching.source import Notebook


@pytest.fixture(autouse=True)
def nothing_bound_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_bound_before", {})


@pytest.mark.parametrize(
    ("cell", "bound"),
    [
        ("x = y", "x"),
        ("x, (y, *z) = a; b.c = d[0] = 1", "x y z"),
        ("if a:\n    x = 1\nelse:\n    y = 2", "x y"),
        ("for i in a:\n    with b as c: d = e", "c d i"),
        ("def f(p):\n    q = p\nclass C:\n    r = 1", "C f"),
        ("import a.b, c as d", "a d"),
        ("[x for x in y]; (n := 3)", "n"),
        ("get_ipython().run_line_magic('time', 'x = f()')", "x"),
        ("x += 1\nx: int = 3", "x"),
        ("print(x)", ""),
    ],
)
def test_what_a_cell_binds(cell: str, bound: str) -> None:
    assert names_of(cell).bound == set(bound.split())


def test_names_of_any_notebook() -> None:
    space: dict[Any, Any] = {"x": 1, "_private": 2, 7: 8, "y": 3}
    assert variables_elsewhere(Notebook(space), "cell", {"b", "a"}, "line").notebook == "x _private y"
    del space[7]
    assert variables_elsewhere(Notebook(space), "cell", {"b", "a"}, "line").notebook == "x _private y"
    assert variables_elsewhere(Notebook({}), "cell", {"b", "a"}, "line").bound == "a b"


def test_a_cell_that_is_run_often_is_remembered_once() -> None:
    for number in range(1, 100):
        remember_bound("x y", number, "x = y = 1")
    remember_bound("", 100, "print()")
    assert variables_elsewhere(Notebook({}), "x", (), "line").ranks == {"x y": 99}
    # which says nothing about another run of it: it may bind a name in some of its ranks only
    assert variables_elsewhere(Notebook({}), "x = y = 1", (), "line").ranks == {}


def test_the_hint_is_in_the_traceback_in_the_exception_and_in_what_is_raised() -> None:
    space: dict[str, Any] = {"__name__": "__main__", "k": 1}
    run = nblaunch.launch("text = 'k'; eval(text)", 1, notebook=Notebook(space), panel="none")
    hint = (
        "'k' is a variable of the notebook that the cell does not name, so the ranks do not have it: add capture=['k'] "
        "to launch(...)"
    )
    failure = run.failures[0]
    assert failure.exception is not None
    assert failure.exception.__notes__ == [hint]
    assert failure.traceback.splitlines()[-2:] == ["NameError: name 'k' is not defined", hint]
    assert failure.summary() == "NameError: name 'k' is not defined"
    with pytest.raises(nblaunch.RanksFailed) as failed:
        run.raise_for_failures()
    assert hint in "\n".join(failed.value._render_traceback_())
    # and what it says helps
    assert nblaunch.launch(
        "text = 'k'; eval(text)", 1, capture=["k"], notebook=Notebook(space), panel="none"
    ).results == {0: 1}


def test_a_function_and_what_earlier_ranks_had() -> None:
    space: dict[str, Any] = {"__name__": "__main__", "k": 1}
    exec("def f(): return eval('k')", space)
    (failure,) = nblaunch.launch(space["f"], 1, notebook=Notebook(space), panel="none").failures.values()
    assert failure.traceback.endswith("so the ranks do not have it: name it in the function, or pass it in args")
    assert nblaunch.launch("table = 3", 1, notebook=Notebook(space, number=4), panel="none").ok
    (failure,) = nblaunch.launch("table = table + 1", 1, notebook=Notebook(space), panel="none").failures.values()
    assert "'table' was a variable of the ranks of cell In[4], which have ended" in failure.traceback


def test_to_capture_what_only_earlier_ranks_had() -> None:
    notebook = Notebook({"__name__": "__main__"})
    remember_bound("other table", 4, "other = table = 1")
    with pytest.raises(NameError) as refused:
        nblaunch.launch("table", 1, capture=["table"], notebook=notebook, panel="none")
    assert str(refused.value) == (
        "--capture names 'table', which the notebook does not define: define it first or leave it out. Ranks of cell "
        "In[4] had it and ended"
    )
    with pytest.raises(NameError, match=r"leave it out$"):
        nblaunch.launch("tab", 1, capture=["tab"], notebook=notebook, panel="none")
