"""Names that only a text may mean: they travel where they are meant, and never keep a cell from running."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from nblaunch.capture import names_of
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.payload.names_in_text import names_behind_at, names_in_constants
from nblaunch.runs.run import Run

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
    assert "add capture=['users'] to launch(...)" in failure.traceback


def test_a_name_that_the_cell_states_too_is_refused_as_ever() -> None:
    with pytest.raises(Exception, match="line 1 uses 'users', which cannot be sent"):
        run_cell("eval('users'), users")


def test_a_namespace_with_keys_that_are_no_names() -> None:
    space = {"__name__": "__main__", 5: "five", "k": 1}
    assert launch("k", 1, notebook=Notebook(space), panel="none").results == {0: 1}  # type: ignore[arg-type]


# --- what is found ---


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a > @k", ["k"]),
        ("@a < @ b.c and d in @b[0] and @größe(1)", ["a", "b", "größe"]),
        ("a > k", []),
        ("@@k", []),
        ("somebody@example.org", []),
        ("x.@k and @1", []),
        ("", []),
    ],
)
def test_names_behind_an_at(text: str, names: list[str]) -> None:
    assert names_behind_at(text) == names


CELLS = {
    "df.query('a > @k')": "df k",
    "df.eval('b = a + @k', inplace=True)": "df k",
    "df.query(expr='a > @k')": "df k",
    "df.query(f'a > @k and b < {limit} + @m')": "df k limit m",
    "df.query('a > ' + '@k' + tail)": "df k tail",
    "df.query('a > @k and %s' % tail)": "df k tail",
    "df.query('''\n  a > @k\n''')": "df k",
    "condition = 'a > @k'\ndf.query(condition)": "df k",
    "k = 1\ndf.query('a > @k')": "df",
    "for k in ks: df.query('a > @k')": "df ks",
    "def f(d, k): return d.query('a > @k and a < @m')\nf(df, 1)": "df m",
    "def f(d):\n    m = 1\n    return d.query('a > @k and a < @m')\nf(df)": "df k",
    "(lambda d: d.query('a > @k'))(df)": "df k",
    "[d.query('a > @d') for d in ds]": "ds",
    "class C:\n    def f(self, d): return d.query('a > @k')": "k",
    "get_ipython().run_line_magic('time', \"n = df.query('a > @k')\")": "df k",
    "print('mail @k')": "print",
    "dfs[0].query('a > k')": "dfs",
}


CELLS |= {
    "eval('k + f(m)')": "eval f k m",
    "exec('k = 1; print(m)')": "exec m print",
    "pd.eval('df.a + k')": "df k pd",
    "ne.evaluate('a + b')": "a b ne",
    "duckdb.sql('select a from df join other using (a)')": "df duckdb other",
    "con.execute('SELECT 1 FROM  df')": "con df",
    "eval('no python, no')": "eval",
    "model.eval()": "model",
    "print('from df')": "print",
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_reads_what_its_texts_name(cell: str) -> None:
    assert sorted(names_of(cell).read) == sorted(CELLS[cell].split())


def test_the_line_is_that_of_the_text() -> None:
    assert names_of("x = 1\ndf.query('a > @k')").read == {"df": 2, "k": 2}


FUNCTIONS = {
    "def f(df): return df.query('a > @k')": "k",
    "def f(df): return df.query('a > @k and b < @m', inplace=False)": "k m",
    "def f(df, k): return df.query('a > @k and b < @m')": "m",
    "def f(df):\n    k = 1\n    return df.query('a > @k')": "",
    "def f(df):\n    def g(): return df.eval('a + @k')\n    return g()": "k",
    "def f(df): return [df.query(text) for text in ('a > @k', 'a < @m')]": "k m",
    "def f(df): return df.query('a > @k') if str(df) in {'@m', '@n'} else 0": "k m n",
    "def f(df, text='a > @z'): return df.query(text)": "",
    "def f(df, end): return df.query(f'a > @k and b < {end} and c > @m')": "k m",
    "def f(df): return df.mean('a > @k')": "",
    "def f(): return duckdb.sql('from df')": "df",
    "def f(df): return duckdb.sql('from df')": "",
    "def f(): return eval('k')": "",
}


@pytest.mark.parametrize("source", FUNCTIONS)
def test_a_function_reads_what_its_constants_name(source: str) -> None:
    space: dict[str, Any] = {}
    exec(source, space)
    assert set(names_in_constants(space["f"].__code__)) == set(FUNCTIONS[source].split())


def test_what_texts_name_travels_with_cells_functions_and_methods() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    source = """
    import pandas as pd
    k, m, cfg = 1, 2, {"limit": 2}
    df = pd.DataFrame({"a": [1, 2, 3]})
    def more(df): return len(df.query("a > @k"))
    class Chooser:
        def choose(self, df): return len(df.query("a > @m"))
    chooser = Chooser()
    def outer(df): return more(df), chooser.choose(df)
    """
    exec(textwrap.dedent(source), space)
    cell = "len(df.query('a >= @cfg[\"limit\"]')), df.eval('a + @k').sum(), outer(df), more(df)"
    run = launch(cell, 2, notebook=Notebook(space), panel="none")
    assert run.results == dict.fromkeys((0, 1), (2, 9, (2, 1), 2)), run.failures
    run = launch(space["outer"], 1, args=(space["df"],), notebook=Notebook(space), panel="none")
    assert run.results == {0: (2, 1)}, run.failures
