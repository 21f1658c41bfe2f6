"""What is told by its identity: each process's own objects, constants of libraries, views of bytes, tables."""

from __future__ import annotations

import argparse
import array
import optparse
import os
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from nblaunch.payload import pack, pack_named, unpack, unpack_named

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Arrow says about its own imports
    import pandas as pd


def arrived(**objects: object) -> Any:
    """Send variables as to ranks."""
    space: dict[str, Any] = {}
    return unpack_named(bytearray(bytes(pack_named(objects, shared_globals=space))), shared_globals=space)


def returned(value: object) -> Any:
    """Send a value as from a rank."""
    return unpack(bytearray(bytes(pack(value, to_cpu=True))))


def test_each_process_has_its_own_environment_path_and_modules() -> None:
    class Held:
        environment = os.environ

    there = arrived(
        env=os.environ, raw=os.environb, path=sys.path, loaded=sys.modules, filters=warnings.filters, held=Held
    )
    assert there["env"] is os.environ and there["raw"] is os.environb
    assert there["path"] is sys.path and there["loaded"] is sys.modules and there["filters"] is warnings.filters
    assert there["held"].environment is os.environ


def test_what_a_rank_returns_is_its_environment_at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBLAUNCH_CASE", "there")
    value = returned(os.environ)
    assert value is not os.environ and value["NBLAUNCH_CASE"] == "there"


def test_a_copy_of_the_environment_is_no_more_than_that() -> None:
    there = arrived(copy=dict(os.environ), path=list(sys.path))
    assert there["copy"] == dict(os.environ)
    assert there["path"] == sys.path and there["path"] is not sys.path


def test_a_parser_leaves_out_what_it_left_out() -> None:
    parser = argparse.ArgumentParser(prog="p", argument_default=argparse.SUPPRESS)
    parser.add_argument("--n", help=argparse.SUPPRESS)
    parser.set_defaults(hidden=argparse.SUPPRESS, shown="==SUPPRESS==x")
    for there in (arrived(parser=parser)["parser"], returned(parser)):
        assert vars(there.parse_args([])) == vars(parser.parse_args([]))
        assert there.format_help() == parser.format_help()
        assert there._defaults["hidden"] is argparse.SUPPRESS


def test_options_know_that_they_have_no_default() -> None:
    parser = optparse.OptionParser(prog="o", usage=optparse.SUPPRESS_USAGE)
    parser.add_option("-n", type="int", help=optparse.SUPPRESS_HELP)
    there = arrived(parser=parser)["parser"]
    assert there.format_help() == parser.format_help()
    assert there.option_list[1].default is optparse.NO_DEFAULT


def test_an_argument_class_that_pickles_itself_does_so() -> None:
    there = arrived(action=_Own(["--n"], "n"))["action"]
    assert (there.dest, there.default) == ("made", argparse.SUPPRESS)


class _Own(argparse.Action):
    def __init__(self, options: list[str], dest: str) -> None:
        super().__init__(options, dest, default=argparse.SUPPRESS)

    def __reduce__(self) -> Any:
        return _Own, (["--m"], "made")


_VIEWS: dict[str, Any] = {
    "part": lambda data: data[2:8],
    "every third": lambda data: data[2:8:3],
    "backwards": lambda data: data[::-1],
    "part backwards": lambda data: data[9:2:-2],
    "rows": lambda data: data.cast("B", [3, 4]),
    "numbers": lambda data: data.cast("i"),
    "nothing": lambda data: data[5:5],
}


@pytest.mark.parametrize("view", _VIEWS.values(), ids=_VIEWS.keys())
@pytest.mark.parametrize("base", [bytearray(range(12)), array.array("B", range(12)), np.arange(12, dtype="u1")])
def test_a_view_of_bytes_stays_one(base: Any, view: Any) -> None:
    there = arrived(view=view(memoryview(base)), base=base)
    assert (there["view"].tolist(), there["view"].format) == (
        view(memoryview(base)).tolist(),
        view(memoryview(base)).format,
    )

    there["base"][:] = type(base)("B", range(50, 62)) if isinstance(base, array.array) else range(50, 62)

    assert there["view"].tolist() == view(memoryview(there["base"])).tolist()


@pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="a part of a table changed with it before pandas 3")
def test_tables_do_not_change_with_one_another() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    kinds = pd.Series(pd.Categorical(["x", "y", "x"]))
    whole = pd.Series(pd.array([1, 2, None], "Int64"))
    there = arrived(
        table=table, rows=table.iloc[1:], column=table["b"], kinds=kinds, some=kinds[1:], whole=whole, few=whole[:2]
    )

    there["table"].loc[1, "b"] = -1.0
    there["kinds"][1] = "x"
    there["whole"][0] = 50

    assert there["rows"].b.tolist() == [5, 6] and there["column"].tolist() == [4, 5, 6]
    assert there["some"].tolist() == ["y", "x"] and there["few"].tolist() == [1, 2]


def test_what_names_its_module_is_found_there() -> None:
    torch = pytest.importorskip("torch")
    there = arrived(format=torch.channels_last)
    assert there["format"] is torch.channels_last
    assert returned([torch.preserve_format])[0] is torch.preserve_format
