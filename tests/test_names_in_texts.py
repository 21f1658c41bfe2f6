"""Names that only a text may mean: they travel where they are meant, and never keep a cell from running."""

from __future__ import annotations

from typing import Any

import pytest

from nblaunch.launching import launch
from nblaunch.notebook import Notebook
from nblaunch.run import Run

SET_UP = """
import sqlite3
import pandas as pd

df = pd.DataFrame({"a": [1, 2, 3], "m": "me@users"})
k = 1
users = (number for number in range(3))

def count(frame):
    return len(frame.query("a > @k"))

def rows():
    base = sqlite3.connect(":memory:")
    base.execute("create table users (a)")
    found = base.execute("select * from users").fetchall()
    base.close()
    return found
"""


def run_cell(cell: str, **more: Any) -> Run:
    space: dict[Any, Any] = {"__name__": "__main__"}
    exec(SET_UP, space)
    return launch(cell, 1, notebook=Notebook({**space, **more}), panel="none")


MEANT = {
    "len(df.query('a > @k'))": 2,
    "len(df.query(f'a > @k and a < {3}'))": 1,
    "len(df.query(expr='a > ' + '@k'))": 2,
    "int(df.eval('b = a + @k').b.sum())": 9,
    "count(df)": 2,
    "eval('k + 1')": 2,
}


@pytest.mark.parametrize("cell", MEANT)
def test_names_that_texts_mean(cell: str) -> None:
    run = run_cell(cell)
    assert run.results == {0: MEANT[cell]}


OTHERS: dict[str, Any] = {
    "rows()": [],
    "base = sqlite3.connect(':memory:')\nbase.execute('create table users (a)')\n"
    "found = base.execute('select * from users').fetchall()\nbase.close()\nfound": [],
    """len(df.query("m == 'me@users'"))""": 3,
    "class Model:\n    def evaluate(self, what):\n        return what\nModel().evaluate('users')": "users",
}


@pytest.mark.parametrize("cell", OTHERS)
def test_texts_that_mean_something_else(cell: str) -> None:
    # users is a generator in the notebook, which cannot be sent
    run = run_cell(cell)
    assert run.results == {0: OTHERS[cell]}
    assert "users" not in run.captured


def test_a_table_of_a_database_does_not_take_other_variables_along() -> None:
    assert "users" not in run_cell(next(cell for cell in OTHERS if "base" in cell), users=[1] * 1000).captured


def test_what_is_meant_and_cannot_be_sent_is_hinted_at() -> None:
    failure = run_cell("eval('list(users)')").failures[0]
    assert failure.summary() == "NameError: name 'users' is not defined"
    assert "add --capture users to the %%multiproc line" in failure.traceback


def test_a_name_that_the_cell_states_too_is_refused_as_ever() -> None:
    with pytest.raises(Exception, match="line 1 uses 'users', which cannot be sent"):
        run_cell("eval('users'), users")


def test_a_namespace_with_keys_that_are_no_names() -> None:
    space = {"__name__": "__main__", 5: "five", "k": 1}
    assert launch("k", 1, notebook=Notebook(space), panel="none").results == {0: 1}  # type: ignore[arg-type]
