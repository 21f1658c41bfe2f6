"""What an exception of a rank is told about a variable that the rank misses."""

from __future__ import annotations

import pickle
import string
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pytest
from IPython.core.error import UsageError

from nblaunch.messages.work import Elsewhere, Work
from nblaunch.rank.hints import add_hints

LINE = "add --capture k to the %%multiproc line"
NOT_NAMED = f"'k' is a variable of the notebook that the cell does not name, so the ranks do not have it: {LINE}"


def raised_by(source: str | Callable[[], object], **namespace: Any) -> BaseException:
    """Run a cell in a namespace of its own, and return what it raises."""
    space: dict[str, Any] = {"__name__": "__main__", **namespace}
    try:
        exec(compile(source, "<cell>", "exec"), space) if isinstance(source, str) else source()
    except BaseException as error:
        return error
    raise AssertionError("it has not failed")


def hints(error: BaseException, /, *here: str, lines: tuple[str, ...] = (), **elsewhere: Any) -> list[str]:
    work = Work(
        lines=dict.fromkeys(lines, 1), elsewhere=Elsewhere(**{"notebook": "k Net df", "remedy": "line"} | elsewhere)
    )
    return add_hints(error, work, dict.fromkeys(here))


class CatalogException(Exception):
    """As DuckDB's."""


class SQLInterfaceError(Exception):
    """As that of Polars."""


MISSES_K = {
    "eval('k')": {},
    "exec('print(k)')": {},
    "globals()['k']": {},
    "'{k}'.format_map(globals())": {},
    "string.Template('$k').substitute(globals())": {"string": string},
    "df.query('a > @k')": {"df": pd.DataFrame({"a": [1]})},
    "df.eval('b = a + @k')": {"df": pd.DataFrame({"a": [1]})},
    "pd.eval('k + 1')": {"pd": pd},
    "jinja2.Template('{{k.x}}').render(globals())": {"jinja2": jinja2},
    "raise CatalogException('Catalog Error: Table with name k does not exist!\\nDid you mean \"pg_am\"?')": {
        "CatalogException": CatalogException
    },
    "raise SQLInterfaceError(\"relation 'k' was not found\")": {"SQLInterfaceError": SQLInterfaceError},
    "raise RuntimeError('undefined value k:\\n  File ...')": {},
    "raise ValueError(\"NameError: name 'k' is not defined\\n    y ~ a + k\")": {},
    "raise ValueError('Unable to evaluate factor `k`. [NameError: `k` is not present in the dataset or ...]')": {},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source", MISSES_K)
def test_whichever_library_misses_a_variable_of_the_notebook(source: str) -> None:
    assert hints(raised_by(source, **MISSES_K[source])) == [NOT_NAMED]


def test_a_library_that_looks_into_the_frames_of_its_callers() -> None:
    # as numexpr does, which raises a KeyError
    code = "import sys\ndef evaluate(name): return sys._getframe(1).f_globals[name]\n"
    library: dict[str, Any] = {"__name__": "pandas", "__file__": pd.__file__}
    exec(compile(code, pd.__file__, "exec"), library)
    assert hints(raised_by("evaluate('k')", evaluate=library["evaluate"])) == [NOT_NAMED]


def test_at_any_depth_and_each_name_once() -> None:
    source = (
        "try:\n"
        "    try: eval('k')\n"
        "    except NameError as error: raise ValueError('first') from error\n"
        "except ValueError:\n"
        "    try: eval('df')\n"
        "    except NameError: raise RuntimeError(\"name 'k' is not defined\") from None\n"
    )
    error = raised_by(source)
    told = hints(error)
    assert [text.split()[0] for text in told] == ["'k'", "'df'"]
    assert error.__notes__ == told


def test_notes_that_there_are_stay() -> None:
    error = raised_by("eval('k')")
    error.__dict__["__notes__"] = ["mine"]
    hints(error)
    assert error.__dict__["__notes__"] == ["mine", NOT_NAMED]


class Net:
    """Pickled as if a notebook had defined it."""


def test_pickles_of_the_notebooks_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(__import__("sys").modules, "__main__", main)
    net = b"\x80\x04c__main__\nNet\n)\x81."
    sentence = NOT_NAMED.replace("'k'", "'Net'").replace(" k ", " Net ")
    assert hints(raised_by(lambda: pickle.loads(net))) == [sentence]
    assert hints(raised_by("main.Net", main=main)) == [sentence]
    monkeypatch.setattr(Net, "__module__", "__main__")
    assert hints(raised_by(lambda: pickle.dumps(Net()))) == [sentence]
    # as Python 3.14 says it
    assert hints(pickle.PicklingError("Can't pickle <class 'Net'>: it's not found as __main__.Net")) == [sentence]


NOTHING_TO_SAY = {
    "of no variable": "zork",
    "a key": "{}['k']",
    "a key beside an unrelated lookup": "dir(globals()); {}['k', 1]",
    "a local of a function": "def f():\n    print(k)\n    k = 1\nf()",
    "a variable of an outer function": "def f():\n    def g(): return k\n    g()\n    k = 1\nf()",
    "a column": "raise KeyError(\"['k'] not in index\")",
    "a table of a database": "raise RuntimeError('no such table: k')",
    "an attribute": "raise AttributeError(\"'Thing' object has no attribute 'k'\")",
    "another module": "import string\nstring.k",
}


@pytest.mark.parametrize("case", NOTHING_TO_SAY)
def test_what_only_looks_alike(case: str) -> None:
    error = raised_by(NOTHING_TO_SAY[case])
    assert hints(error) == []
    assert not hasattr(error, "__notes__")


def test_what_the_rank_has_or_had_is_not_told() -> None:
    assert hints(raised_by("eval('k')"), "k") == []
    assert hints(raised_by("eval('_k')"), notebook="_k") == []
    assert hints(raised_by("del k\nk", k=1), lines=("k",)) == []


def test_a_file_that_lacks_its_own_variable(tmp_path: Path) -> None:
    # to take the notebook's along would not help it
    path = tmp_path / "forgets.py"
    path.write_text("def f(): return k\n")
    module: dict[str, Any] = {"__name__": "forgets"}
    exec(compile(path.read_text(), str(path), "exec"), module)
    assert hints(raised_by(module["f"])) == []
    error = raised_by(module["f"])
    # the same file, run with the notebook's variables
    work = Work(elsewhere=Elsewhere("k", remedy="line"))
    assert add_hints(error, work, module) == [NOT_NAMED]


def test_how_something_more_is_taken_along() -> None:
    def told(**elsewhere: Any) -> str:
        (sentence,) = hints(raised_by("eval('k')"), **elsewhere)
        return sentence

    assert told(no_capture=True) == f"'k' is a variable of the notebook, which --no-capture has left there: {LINE}"
    assert told(remedy="launch") == NOT_NAMED.replace(LINE, "add capture=['k'] to launch(...)")
    assert told(remedy="function") == NOT_NAMED.replace("the cell", "the function").replace(
        LINE, "name it in the function, or pass it in args"
    )


def test_what_only_ranks_of_an_earlier_cell_had() -> None:
    error = raised_by("table")
    before = {"a table": 3, "table": 7, "b table": 5}
    expected = (
        "'table' was a variable of the ranks of cell In[7], which have ended: each run has new ranks. To have what "
        "they computed, end that cell with table, which puts it into results, or add --out run --collect table to its "
        "line. What all ranks are to have alike, assign in an ordinary cell"
    )
    assert hints(error, ranks=before) == [expected]
    assert hints(raised_by("table"), ranks=before, remedy="launch") == [
        expected.replace("into results", "into run.results").replace(
            "--out run --collect table to its line", "collect=['table'] to its launch(...)"
        )
    ]
    (told,) = hints(raised_by("table"), ranks={"table": 0})
    assert told.startswith("'table' was a variable of the ranks of an earlier cell, ")
    # what the notebook has can travel
    assert "--capture" in hints(raised_by("eval('k')"), ranks={"k": 3})[0]


def test_magics_of_the_notebook() -> None:
    def told(text: str, **elsewhere: Any) -> list[str]:
        return hints(UsageError(text), **elsewhere)

    cell = "Cell magic `%%mine` not found."
    line = "Line magic function `%mine` not found (But cell magic `%%mine` exists, did you mean that instead?)."
    (sentence,) = told(cell, magics="other mine")
    assert sentence == (
        "'%%mine' is a magic of the notebook, and magics are not sent to the ranks: define or load it in a cell that "
        "begins with %%multiproc --setup"
    )
    assert told(line, magics="mine")[0].startswith("'%mine' is a magic of the notebook")
    assert told(cell, magics="other") == told(cell) == []
