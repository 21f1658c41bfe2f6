"""Variables that code looks up by their names travel, and never keep a cell from running."""

from __future__ import annotations

import string
import textwrap
from typing import Any

import pytest

from nblaunch.capture import names_of
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.payload.names_looked_up import names_looked_up, names_looked_up_by
from nblaunch.runs.run import Run

TEXTS = {
    "k": "k",
    "größe": "größe",
    "two words": "",
    "{{ k }} and {{m.x | upper}}": "k m upper",
    "{% for x in items %}{{ x }}{% endfor %}": "endfor for in items x",
    "{k:>3} {m[0]} {n.x!r} {0} {}": "k m n",
    "%(k)s %s %%": "k",
    "$k ${m} $1": "k m",
    '{"k": 1}': "",
    "": "",
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_text_names(text: str) -> None:
    assert sorted(names_looked_up(text)) == TEXTS[text].split()


CELLS = {
    "globals().get('k', 'default')": "globals k",
    "'k' in globals()": "globals k",
    "globals()['k']": "globals k",
    "vars()['k']": "k vars",
    "locals().get('k')": "k locals",
    "get_ipython().user_ns['k']": "get_ipython k",
    "[globals()[name] for name in ('k', 'm')]": "globals k m",
    "space = globals()\nspace.get('k')": "globals k",
    "k = 1\nglobals()['k']": "globals",
    "globals()['k'] = 1": "globals k",
    "def f(k): return globals()['k']\nf(1)": "globals k",
    "def f():\n    k = 1\n    return globals()['k']\nf()": "globals k",
    "class C:\n    k = 1\n    def f(self): return globals()['k']": "globals k",
    "'{k}'.format(**globals())": "globals k",
    "jinja2.Template('{{ k }}').render(**globals())": "globals jinja2 k",
    "from __main__ import k": "k",
    "from __main__ import k as other\nother": "k",
    "from __main__ import *": "*",
    "k = 1\nfrom __main__ import k": "",
    "import __main__\n__main__.k": "k",
    "import __main__ as m\nm.k.x": "k",
    "import __main__\n__main__.k = 1": "",
    "import __main__\ngetattr(__main__, 'k')": "getattr k",
    "import sys\nsys.modules['__main__'].k": "k modules",
    "import importlib\nimportlib.import_module('__main__').k": "import_module k",
    "__import__('__main__').k": "__import__ k",
    "def f():\n    from __main__ import k\n    return k\nf()": "k",
    # these look nothing up
    "vars(model)['k']": "model vars",
    "locals, print('k')": "locals print",
    "if __name__ == '__main__': print('k')": "__name__ print",
    "# globals()\nprint('k')": "print",
    "print('k')": "print",
    "m.k": "m",
}


@pytest.mark.parametrize("cell", CELLS)
def test_what_a_cell_looks_up(cell: str) -> None:
    assert set(names_of(cell).read) >= set(CELLS[cell].split()) - {"*", "modules", "import_module"}
    assert ("k" in names_of(cell).read) == ("k" in CELLS[cell].split())


def test_what_is_looked_up_is_not_stated() -> None:
    assert names_of("globals()['k'], m").in_texts == {"k": False}
    assert names_of("globals()['k'], k").in_texts == {}


FUNCTIONS = {
    "def f(): return globals().get('k', 'default')": "k",
    "def f(): return [globals()[name] for name in ('k', 'm')]": "k m",
    "def f(k): return globals()['k']": "k",
    "def f(): return get_ipython().user_ns['k']": "k",
    "def f():\n    import __main__\n    return __main__.k": "k",
    "def f():\n    from __main__ import k\n    return k": "k",
    "def f():\n    import sys\n    return sys.modules['__main__'].k": "k",
    "def f():\n    def g(): return globals()['k']\n    return g()": "k",
    "def f(): return locals()['k'], vars()['k']": "",
    "def f(a): return vars(a)['k']": "",
    "def f(name): return name == '__main__', 'k'": "",
    "def f(): return 'k'": "",
}


@pytest.mark.parametrize("source", FUNCTIONS)
def test_what_a_function_looks_up(source: str) -> None:
    space: dict[str, Any] = {}
    exec(source, space)
    assert set(names_looked_up_by(space["f"].__code__)) & {"k", "m"} == set(FUNCTIONS[source].split())


SET_UP = """
k, m = 7, [8]
many = (number for number in range(3))

def get(): return globals().get("k"), "m" in globals(), globals().get("many")
def get_many(): return globals()["many"]
def recurse(): return globals()["recurse"], globals()["uses_many"]
def uses_many(): return many

class Getter:
    def get(self): return globals()["m"]

getter = Getter()
"""


def run_cell(cell: str, **more: Any) -> Run:
    space: dict[Any, Any] = {"__name__": "__main__", **more}
    exec(textwrap.dedent(SET_UP), space)
    return launch(cell, 1, notebook=Notebook(space), panel="none")


LOOKED_UP: dict[str, Any] = {
    "globals().get('k', 'default'), 'm' in globals(), vars()['k'], locals().get('k')": (7, True, 7, 7),
    "get(), getter.get()": ((7, True, None), [8]),
    "'{k} {m[0]}'.format(**globals()), '%(k)s' % globals()": ("7 8", "7"),
    "string.Template('$k').substitute(globals())": "7",
    "'many' in globals()": False,
    # what it looks up holds what cannot be sent
    "[thing.__name__ for thing in [recurse]]": ["recurse"],
}


@pytest.mark.parametrize("cell", LOOKED_UP)
def test_what_is_looked_up_travels_where_it_can(cell: str) -> None:
    run = run_cell(cell, string=string)
    assert run.results == {0: LOOKED_UP[cell]}, run.failures


def test_what_is_looked_up_and_cannot_be_sent_is_hinted_at() -> None:
    run = run_cell("get_many()")
    assert "'many' is a variable of the notebook" in run.failures[0].exception.__notes__[0]  # type: ignore[union-attr]
