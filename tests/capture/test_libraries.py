"""Who is to blame in objects of libraries: the part as its owner knows it, in words that help."""

from __future__ import annotations

import functools
import sched
import textwrap
import threading
import types
import zlib
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest

from nblaunch.capture import explain
from nblaunch.capture.parts import goes_by_value
from nblaunch.payload import pack

LOCK = threading.Lock()
OWN = "Create it inside the cell, so that each rank has its own."


def why(obj: object) -> BaseException | None:
    try:
        pack(obj)
    except Exception as error:  # whatever pickling raises is the answer
        return error
    return None


def told(name: str, obj: object) -> str:
    """Return what is said of an object behind "which cannot be sent to the ranks: "."""
    first, *_ = str(explain({name: obj}, {name: 3}, why)).splitlines()
    before, _, rest = first.partition("which cannot be sent to the ranks: ")
    assert before == f"line 3 uses '{name}', "
    return rest


def of_notebook(source: str, **values: object) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "__main__", "LOCK": LOCK, **values}
    exec(textwrap.dedent(source), space)
    return space


A_LOCK = f"is a _thread.lock (cannot pickle '_thread.lock' object). {OWN}"


def with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["lock"] = LOCK
    return frame


FRAMES: dict[str, Any] = {
    'it["a"].iloc[1]': pd.DataFrame({"n": [1, 2], "a": [1, LOCK]}),
    "it[7].iloc[0]": pd.DataFrame({7: [LOCK]}),
    "it.iloc[1]": pd.Series([1, LOCK]),
    "it[0]": pd.Index([LOCK, 1], dtype=object),
    "it.index[0]": pd.Series([1], index=pd.Index([LOCK], dtype=object)),
    "it.levels[1][0]": pd.MultiIndex.from_tuples([(1, LOCK)]),
    'it.attrs["lock"]': with_attrs(),
    'it["frames"][0]["a"].iloc[0]': {"frames": [pd.DataFrame({"a": [LOCK]})]},
}


@pytest.mark.parametrize("path", FRAMES)
def test_columns_and_elements_of_pandas(path: str) -> None:
    assert told("it", FRAMES[path]) == f"{path} {A_LOCK}"


def test_figures_whose_parts_refer_to_each_other() -> None:
    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.user = LOCK
    try:
        assert told("axes", axes) == f"axes.user {A_LOCK}"
        assert told("figure", figure) == f"figure._localaxes[0].user {A_LOCK}"
    finally:
        pyplot.close(figure)


def test_circles_of_the_users_own() -> None:
    space = of_notebook("""
        class Node:
            def __init__(self): self.others = []
        nodes = [Node() for _ in range(5)]
        for node in nodes: node.others = nodes
        nodes[3].lock = LOCK
    """)
    assert told("nodes", space["nodes"]) == f"nodes[3].lock {A_LOCK}"


def test_what_is_private_in_a_library_is_not_shown() -> None:
    # its lock is in an attribute that nobody knows
    assert told("plan", {"x": sched.scheduler()}) == (
        f"plan[\"x\"] is a sched.scheduler (cannot pickle '_thread.RLock' object). {OWN}"
    )


def test_what_is_private_in_a_class_of_the_users_own_is() -> None:
    space = of_notebook("class Store:\n    def __init__(self): self._lock = LOCK\nstore = Store()")
    assert told("store", space["store"]) == f"store._lock {A_LOCK}"


def test_a_function_in_an_object_that_wraps_it() -> None:
    # as a dispatcher of numba, which holds much of its own that cannot be pickled either
    space = of_notebook(
        """
        class Dispatcher:
            def __init__(self, function): self.registry = (x for x in ())
        def make():
            lock = LOCK
            def compute(x):
                lock
                return x
            return functools.update_wrapper(Dispatcher(compute), compute)
        compute = make()
        """,
        functools=functools,
    )
    assert told("compute", space["compute"]) == f"compute closes over lock, and lock {A_LOCK}"


def test_a_metaclass() -> None:
    space = of_notebook("class Meta(type): lock = LOCK\nclass Model(metaclass=Meta): pass")
    assert told("Model", space["Model"]) == f"Model has the metaclass Meta, and Meta.lock {A_LOCK}"


def test_classes_that_are_made_of_c_are_not_taken_apart() -> None:
    space = of_notebook("class Mine:\n    def f(self): pass")
    assert goes_by_value(space["Mine"])
    assert not goes_by_value(type(zlib.compressobj()))  # which zlib does not have
    assert not goes_by_value(types.SimpleNamespace)


def test_the_reason_is_not_that_of_taking_a_class_apart() -> None:
    error = TypeError("cannot pickle 'classmethod_descriptor' object")
    (found,) = explain({"it": zlib.compressobj()}, {}, lambda _: error).problems
    assert found.reason == "cannot pickle 'zlib.Compress' object"


def test_a_column_of_objects_in_a_frame_of_polars() -> None:
    # shaped as those of Polars
    class Column:
        name, dtype = "a", "Object"

        def __reduce__(self) -> Any:
            raise TypeError("serializing data of type Object is not supported")

    class Frame:
        def get_columns(self) -> list[Any]:
            return [column]

        def __reduce__(self) -> Any:
            return Frame, (column,)

    column = Column()
    for cls, name, module in ((Column, "Series", "polars.series.series"), (Frame, "DataFrame", "polars.frame")):
        cls.__name__ = cls.__qualname__ = name
        cls.__module__ = module
    # the whole name of the class is told where there is such a module
    assert told("frame", {"f": Frame()}).replace("polars.series.series.", "") == (
        'frame["f"]["a"] is a Series (serializing data of type Object is not supported). Polars does not pickle a '
        "column of dtype Object: send x.to_list(), and make the frame in the cell."
    )


# --- the libraries themselves, where they are installed ---


def test_polars() -> None:
    polars = pytest.importorskip("polars")
    if polars.__version__.startswith("1.0."):
        pytest.skip("Polars 1.0 panics when it is asked how large objects are")
    frame = polars.DataFrame({"n": [1], "a": [LOCK]}, schema={"n": polars.Int64, "a": polars.Object})
    for name, thing, path in (("frame", frame, 'frame["a"]'), ("column", frame["a"], "it")):
        said = told(name, thing)
        assert said.startswith(f"{path} is a polars.series.series.Series (")
        assert said.endswith("send x.to_list(), and make the frame in the cell.")
    assert told("lazy", frame.lazy()).startswith("it is a polars.lazyframe.frame.LazyFrame (")


def test_numba() -> None:
    numba = pytest.importorskip("numba")
    jitclass = pytest.importorskip("numba.experimental").jitclass
    space = of_notebook(
        """
        @jitclass([("x", numba.int32)])
        class Bag:
            def __init__(self, x): self.x = x
        bag = Bag(3)
        def make():
            lock = LOCK
            @numba.njit
            def compute(x):
                lock
                return x
            return compute
        compute = make()
        """,
        numba=numba,
        jitclass=jitclass,
    )
    advice = "numba compiles a jitclass into this process: define it inside the cell, and send what it holds."
    assert told("bag", space["bag"]) == f"it is a Bag (cannot pickle 'Bag' object). {advice}"
    assert told("models", {"m": space["bag"]}).startswith('models["m"] is a Bag (')
    assert told("Bag", space["Bag"]).endswith(advice)
    assert told("compute", space["compute"]) == f"compute closes over lock, and lock {A_LOCK}"
