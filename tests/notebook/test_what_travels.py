"""What a cell takes along from the notebook, and what it is told when something cannot come."""

from __future__ import annotations

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

NOTHING = "Nothing was started: no rank has run any of the cell."


def test_variables_functions_closures_and_modules(kernel: Kernel) -> None:
    kernel.run(
        "import math as m, os.path\n"
        "from collections import Counter\n"
        "scale = 3\n"
        "table = {'a': [1, 2]}\n"
        "def inner(x): return x * scale\n"
        "def outer(x): return inner(x) + len(table['a'])\n"
        "add = lambda x: x + scale\n"
        "def counter(start):\n"
        "    def count(n): return start + n\n"
        "    return count\n"
        "count = counter(100)\n"
        "def factorial(n): return 1 if n < 2 else n * factorial(n - 1)\n"
        "def local_import():\n"
        "    import json\n"
        "    return json.dumps([scale])\n"
    ).ok()
    reply = kernel.run(
        "%%multiproc 2\n"
        "table['a'].append(rank)\n"
        "(outer(rank), add(rank), count(rank), factorial(5), m.sqrt(4), os.path.join('a', 'b'), Counter('aa'),\n"
        " local_import(), table)"
    ).ok()
    assert (reply.stdout, reply.stderr) == ("", "")
    assert kernel.value("{r: v[:6] + v[7:] for r, v in results.items()}") == {
        r: (3 * r + 3, r + 3, r + 100, 120, 2.0, "a/b", "[3]", {"a": [1, 2, r]}) for r in (0, 1)
    }
    assert kernel.value("(results[0][6] == Counter('aa'), table, failures)") == (True, {"a": [1, 2]}, {})


def test_functions_share_the_globals_of_the_cell(kernel: Kernel) -> None:
    kernel.run("lr = 0.1\ndef step(): return lr\ndef put(x):\n    global kept\n    kept = x").ok()
    kernel.run("%%multiproc 1\nlr = 0.5\nput(7)\nstep(), kept").ok()
    assert kernel.value("results") == {0: (0.5, 7)}
    assert kernel.value("(lr, step(), 'kept' in globals())") == (0.1, 0.1, False)


def test_classes_keep_their_identity_both_ways(kernel: Kernel) -> None:
    kernel.run(
        "from dataclasses import dataclass\n"
        "from enum import Enum\n"
        "factor = 10\n"
        "class Base:\n"
        "    def who(self): return type(self).__name__\n"
        "class Net(Base):\n"
        "    layers = 2\n"
        "    def depth(self): return self.layers * factor\n"
        "class Colour(Enum):\n"
        "    RED = 1\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "    colour: Colour = Colour.RED\n"
        "net, points = Net(), [Point(1)]\n"
        # copyreg notes __slotnames__ in classes whose instances are pickled
        "def known(c): return {k: v for k, v in vars(c).items() if k != '__slotnames__'}\n"
        "def contents(): return [known(c) for c in (Base, Net, Point)]\n"
        "before = contents()\n"
    ).ok()
    for _ in range(2):
        kernel.run(
            "%%multiproc 2\n"
            "Net.layers = 5  # the rank's own copy of the class\n"
            "assert isinstance(net, Net) and isinstance(net, Base) and points == [Point(1)]\n"
            "assert points[0].colour is Colour.RED\n"
            "net.seen = rank\n"
            "dict(depth=net.depth(), net=net, point=Point(rank), cls=Net, sub=type('Sub', (Net,), {})())"
        ).ok()
        assert kernel.value("[results[r]['depth'] for r in (0, 1)]") == [50, 50]
        assert kernel.value(
            "[(type(v['net']) is Net, v['cls'] is Net, v['net'].seen, v['point'] == Point(r),"
            " v['point'].colour is Colour.RED, isinstance(v['sub'], Net), v['sub'].who())"
            " for r, v in results.items()]"
        ) == [(True, True, r, True, True, True, "Sub") for r in (0, 1)]
    # the notebook's classes are what they were, and their methods still see the notebook's variables
    assert kernel.value("before == contents()")
    kernel.run("factor = 20").ok()
    assert kernel.value("(net.depth(), results[0]['net'].depth())") == (40, 40)


def test_instances_of_a_class_of_the_cell(kernel: Kernel) -> None:
    kernel.run("%%multiproc 2\nclass Local:\n    def __init__(self, n): self.n = n\nLocal(rank)").ok()
    assert kernel.value("[(type(v).__name__, v.n) for v in results.values()]") == [("Local", 0), ("Local", 1)]


def test_a_class_that_was_defined_again_is_another_one(kernel: Kernel) -> None:
    for version in (1, 2):
        kernel.run(f"class C:\n    version = {version}\n    def get(self): return self.version").ok()
        kernel.run("%%multiproc 1\nC().get(), C()").ok()
        assert kernel.value("(results[0][0], type(results[0][1]) is C)") == (version, True)


def test_arrays_are_writable_and_copied_only_in_the_rank(kernel: Kernel) -> None:
    kernel.run("import numpy as np\ndata = np.arange(300_000.0)\nview = data[::2]\ntiny = np.zeros(2)").ok()
    kernel.run(
        "%%multiproc 2\ndata += rank + 1; view[:] = 0; tiny += rank\ndata[:3], data.flags.writeable, tiny, data * 2"
    ).ok()
    assert kernel.value("{r: (v[0].tolist(), v[1], v[2].tolist()) for r, v in results.items()}") == {
        # the view lies on the same memory, as in the notebook
        r: ([0.0, r + 2.0, 0.0], True, [r, r])
        for r in (0, 1)
    }
    assert kernel.value("(data[:3].tolist(), tiny.tolist(), results[1][3].flags.writeable)") == (
        [0.0, 1.0, 2.0],
        [0.0, 0.0],
        True,
    )


def test_pandas_frames(kernel: Kernel) -> None:
    kernel.run("import pandas as pd\ndf = pd.DataFrame({'a': range(4), 'b': list('wxyz')})").ok()
    kernel.run("%%multiproc 2\ndf['c'] = df.a * rank\ndf").ok()
    assert kernel.value("(list(df), results[1].c.tolist(), results[1].b.tolist())") == (
        ["a", "b"],
        [0, 1, 2, 3],
        list("wxyz"),
    )


@pytest.mark.torch
def test_torch_modules_and_tensors(kernel: Kernel) -> None:
    kernel.run(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.linear = torch.nn.Linear(2, 1)\n"
        "    def forward(self, x): return self.linear(x)\n"
        "net, x = Net(), torch.ones(3, 2)\n"
        "weight = net.linear.weight.detach().clone()\n"
    ).ok()
    kernel.run(
        "%%multiproc 2\n"
        "loss = net(x).sum()\n"
        "loss.backward()\n"
        "with torch.no_grad():\n"
        "    net.linear.weight += rank + 1\n"
        "x += rank\n"
        "net, x, loss.item(), net.state_dict()"
    ).ok()
    assert kernel.value(
        "[(type(v[0]) is Net, (v[0].linear.weight - weight).round().tolist(), v[1][0].tolist(),"
        " torch.equal(v[3]['linear.weight'], v[0].linear.weight)) for v in results.values()]"
    ) == [(True, [[1.0, 1.0]], [1.0, 1.0], True), (True, [[2.0, 2.0]], [2.0, 2.0], True)]
    assert kernel.value("(torch.equal(net.linear.weight, weight), x.sum().item())") == (True, 6.0)


def test_names_that_the_cell_does_not_read_need_not_travel(kernel: Kernel) -> None:
    kernel.run("import threading\nlock = thing = item = path = threading.Lock()\nclass Has: lock = 5\nhas = Has()").ok()
    kernel.run(
        "%%multiproc 1\n"
        "import os.path as path\n"
        "thing = 1\n"
        "def f(item): return item\n"
        "has.lock, thing, [item for item in 'a'], f(2), path.sep, 'lock'"
    ).ok()
    assert kernel.value("results") == {0: (5, 1, ["a"], 2, "/", "lock")}


@pytest.mark.parametrize(
    ("setup", "cell", "message"),
    [
        (
            "import threading; guard = threading.Lock()",
            "x = 1\nwith guard: pass",
            (
                "line 3 uses 'guard', which cannot be sent to the ranks: it is a _thread.lock (cannot pickle "
                "'_thread.lock' object). Create it inside the cell, so that each rank has its own."
            ),
        ),
        (
            "file = open('data.txt', 'w')",
            "file.write('x')",
            (
                "line 2 uses 'file', which cannot be sent to the ranks: it is an _io.TextIOWrapper (cannot pickle the "
                "open file 'data.txt'). Open it inside the cell, so that each rank has its own."
            ),
        ),
        (
            "numbers = (i for i in range(3))",
            "list(numbers)",
            (
                "line 2 uses 'numbers', which cannot be sent to the ranks: it is a generator (cannot pickle "
                "'generator' object). Make a list of it first, or create it inside the cell."
            ),
        ),
        (
            (
                "import threading\nclass DB:\n    def __init__(self):\n        self.lock = threading.Lock()\n"
                "config = {'db': DB()}"
            ),
            "\n\nconfig['db'].lock",
            (
                "line 4 uses 'config', which cannot be sent to the ranks: config[\"db\"].lock is a _thread.lock "
                "(cannot pickle '_thread.lock' object). Create it inside the cell, so that each rank has its own."
            ),
        ),
        (
            "import threading\nguard = threading.Lock()\ndef train():\n    with guard: pass",
            "train()",
            (
                "line 2 uses 'train', which cannot be sent to the ranks: train uses the global guard, and guard is a "
                "_thread.lock (cannot pickle '_thread.lock' object). Create it inside the cell, so that each rank "
                "has its own."
            ),
        ),
        (
            "import ipywidgets\nslider = ipywidgets.IntSlider()",
            "slider.value",
            (
                "line 2 uses 'slider', which cannot be sent to the ranks: it is an "
                "ipywidgets.widgets.widget_int.IntSlider (cannot pickle the widget 'IntSlider': it lives in the "
                "notebook). Widgets live in the notebook only: send its .value instead."
            ),
        ),
    ],
    ids=["lock", "file", "generator", "nested", "through a function", "widget"],
)
def test_what_cannot_travel_is_told_before_anything_starts(kernel: Kernel, setup: str, cell: str, message: str) -> None:
    kernel.run(setup).ok()
    reply = kernel.run(f"%%multiproc 2\n{cell}")
    assert (reply.status, reply.ename) == ("error", "CaptureError")
    assert reply.traceback == f"CaptureError: {message}\n{NOTHING}"
    assert not list((kernel.place / "tmp").glob("nblaunch_*"))
    assert kernel.value("'results' in globals()") is False
    kernel.quietly("if 'file' in globals(): file.close()\nif 'slider' in globals(): slider.close()")


def test_several_that_cannot_travel_are_told_together(kernel: Kernel) -> None:
    kernel.run("import threading; one = threading.Lock(); two = iter(x for x in 'a')").ok()
    reply = kernel.run("%%multiproc 2\none\ntwo")
    assert reply.traceback.startswith("CaptureError: 2 notebook objects that the cell uses cannot be sent")
    assert "line 2 uses 'one'" in reply.traceback
    assert "line 3 uses 'two'" in reply.traceback


def test_capture_adds_names_that_cannot_be_seen(kernel: Kernel) -> None:
    kernel.run("hidden, other = 5, 6").ok()
    reply = kernel.run("%%multiproc 1 --no-raise\ntext = 'hidden'\neval(text)")
    assert kernel.value("str(failures[0].exception)") == "name 'hidden' is not defined"
    kernel.run("%%multiproc 1 --capture hidden,other\neval('hidden + other')").ok()
    assert kernel.value("results") == {0: 11}
    kernel.run("%%multiproc 1 --capture hidden --capture other\neval('hidden + other')").ok()

    reply = kernel.run("%%multiproc 1 --capture hidden,nothing\n1")
    assert reply.stderr.strip() == (
        "UsageError: %%multiproc: --capture names 'nothing', which the notebook does not define: define it first or "
        "leave it out. Nothing was started."
    )
    kernel.run("import threading; lock = threading.Lock()").ok()
    reply = kernel.run("%%multiproc 1 --capture lock\n1")
    assert reply.traceback.startswith("CaptureError: the captured name 'lock' cannot be sent to the ranks: it is a ")


def test_no_capture_sends_the_cell_alone(kernel: Kernel) -> None:
    kernel.run("import threading; x = 1; lock = threading.Lock(); y = 2").ok()
    reply = kernel.run("%%multiproc 2 --no-capture\nlock, x")
    assert (reply.ename, reply.status) == ("RanksFailed", "error")
    assert "NameError: name 'lock' is not defined" in reply.traceback
    kernel.run("%%multiproc 1 --no-capture --capture y\ny").ok()
    assert kernel.value("results") == {0: 2}


def test_the_rank_has_its_own_shell_and_history(kernel: Kernel) -> None:
    kernel.run("secret = 41").ok()
    kernel.run("%%multiproc 1\n(get_ipython().__class__.__name__, type(In).__name__, 'secret' in dir())").ok()
    assert kernel.value("results") == {0: ("RankShell", "list", False)}
    kernel.run("def shell_name(): return type(get_ipython()).__name__").ok()
    kernel.run("%%multiproc 1\nshell_name()").ok()
    assert kernel.value("results") == {0: "RankShell"}


def test_an_object_that_was_captured_is_let_go(kernel: Kernel) -> None:
    kernel.run("import weakref, gc\nclass Big: pass\nbig = Big()\nwatch = weakref.ref(big)").ok()
    kernel.run("%%multiproc 1\ntype(big).__name__").ok()
    kernel.run("del big; gc.collect()").ok()
    assert kernel.value("watch() is None")


def test_what_only_a_text_names(kernel: Kernel) -> None:
    kernel.run(
        "import pandas as pd\nk = 1\ndf = pd.DataFrame({'a': [1, 2, 3]})\n"
        "def more(table): return len(table.query('a > @k'))"
    ).ok()
    kernel.run("%%multiproc 1\n%time n = len(df.query(f'a > @k'))\nn, more(df)").ok()
    assert kernel.value("results") == {0: (2, 2)}
    reply = kernel.run("%%multiproc 1\nimport pandas\ntext = 'k + 1'\npandas.eval(text)")
    hint = (
        "'k' is a variable of the notebook that the cell does not name, so the ranks do not have it: add --capture k "
        "to the %%multiproc line"
    )
    assert f"UndefinedVariableError: name 'k' is not defined\n{hint}" in reply.traceback
    assert kernel.value("failures[0].exception.__notes__") == [hint]
    kernel.run("%%multiproc 1 --capture k\nimport pandas\ntext = 'k + 1'\nint(pandas.eval(text))").ok()
    assert kernel.value("results") == {0: 2}


def test_a_script_that_is_run_with_the_variables_of_the_ranks(kernel: Kernel) -> None:
    kernel.run("k = 1\nopen('script.py', 'w').write('print(k + 1)')").ok()
    reply = kernel.run("%%multiproc 1\n%run -i script.py")
    assert "name 'k' is not defined" in reply.stderr
    assert reply.stderr.count("add --capture k to the %%multiproc line") == 1
    assert kernel.run("%%multiproc 1 --capture k\n%run -i script.py").ok().stdout == "[0] 2\n"


def test_what_only_ranks_of_an_earlier_cell_had(kernel: Kernel) -> None:
    first = kernel.run("%%multiproc 2\ntable = [rank]").ok()
    reply = kernel.run("%%multiproc 2\ntable = table + [1]")
    assert (
        f"NameError: name 'table' is not defined\n'table' was a variable of the ranks of cell In[{first.count}], which "
        "have ended: each run has new ranks. To have what they computed, end that cell with table, which puts it into "
        "results, or add --out run --collect table to its line. What all ranks are to have alike, assign in an "
        "ordinary cell"
    ) in reply.traceback
    # a cell that is run again, and has it in one of its ranks
    for _ in range(2):
        reply = kernel.run("%%multiproc 2\nif rank == 0: only = 3\nonly")
        assert "NameError: name 'only' is not defined" in reply.traceback
        assert "was a variable" not in reply.traceback
