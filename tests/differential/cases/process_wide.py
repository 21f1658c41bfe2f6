"""What each process has of its own, and texts and tuples that are compared by identity."""

CASES = r"""
import argparse, ctypes, functools, os, sys, warnings
# ---- what the interpreter says of itself
import sys
python, flags, floats, hashes = sys.version_info, sys.flags, sys.float_info, sys.hash_info
>>> python, python >= (3, 10), python is sys.version_info, flags is sys.flags, floats.max, hashes.width
<<< python
<<< [flags, floats]
# ---- the environment under another name
from os import environ, environb
env = os.environ
def get_home(name="HOME"): return env[name]
class Conf:
    environment = os.environ
    def __init__(self): self.held = [env]
conf = Conf()
>>> environ is os.environ, environb is os.environb, env is os.environ, get_home(), conf.held[0] is conf.environment
>>> env["NBLAUNCH_CASE"] = "set"
>>> os.environ["NBLAUNCH_CASE"], os.getenv("NBLAUNCH_CASE"), get_home("NBLAUNCH_CASE")
>>> del env["NBLAUNCH_CASE"]
# ---- the path and the modules under other names
from sys import path, modules, meta_path
from warnings import filters
>>> path is sys.path, modules is sys.modules, meta_path is sys.meta_path, filters is warnings.filters, "os" in modules
# ---- a copy of the environment is a copy
copy_of = dict(os.environ)
copied = os.environ.copy()
>>> copy_of is os.environ, copy_of == copied, type(copied), copied["HOME"]
# ---- settings of matplotlib under another name (needs matplotlib)
import matplotlib
from matplotlib import rcParams
>>> rcParams is matplotlib.rcParams
>>> rcParams["lines.linewidth"] = 7
>>> matplotlib.rcParams["lines.linewidth"]
>>> matplotlib.rcParams["lines.linewidth"] = 1.5
# ---- the context in which decimals are computed, under another name
import decimal
now, extended = decimal.getcontext(), decimal.ExtendedContext
held = {"now": now, "a copy": now.copy()}
inexact = decimal.Decimal(1) / 3
>>> now is decimal.getcontext(), held["now"] is now, held["a copy"] is now, extended is decimal.ExtendedContext
>>> now.flags[decimal.Inexact], now.prec
>>> now.prec = 4
>>> decimal.Decimal(1) / 3, held["a copy"].divide(1, 3)
>>> now.prec = 28
<<< now is decimal.getcontext(), now.copy()
# ---- what matplotlib has registered, under other names (needs matplotlib)
import matplotlib.units, matplotlib.colors, matplotlib.font_manager
from matplotlib import colormaps as maps, color_sequences
from matplotlib.units import registry as units
from matplotlib.font_manager import fontManager
if "case_before" not in maps: maps.register(matplotlib.colors.ListedColormap(["r"], name="case_before"))
>>> maps is matplotlib.colormaps, color_sequences is matplotlib.color_sequences, units is matplotlib.units.registry
>>> fontManager is matplotlib.font_manager.fontManager, maps["case_before"].colors, "case_before" in matplotlib.colormaps
>>> maps.register(matplotlib.colors.ListedColormap(["b"], name="case_mine"))
>>> matplotlib.colormaps["case_mine"].colors
>>> maps.unregister("case_mine")
# ---- contexts of mpmath under other names (needs mpmath)
import mpmath
from mpmath import mp, iv, fp, sqrt as root
contexts = [mp, iv, fp]
>>> mp is mpmath.mp, iv is mpmath.iv, fp is mpmath.fp, [one is two for one, two in zip(contexts, (mp, iv, fp))]
>>> mp.dps = 40
>>> str(mpmath.sqrt(2)), str(root(2)), mpmath.mpf(1) / 3
>>> mp.dps = 15
<<< mpmath.mpf(1) / 3
# ---- configurations of networkx, pandas and SymPy under other names (needs networkx)
import networkx, pandas, sympy
from networkx import config as of_networkx
from pandas import options
from sympy.core.parameters import global_parameters
>>> of_networkx is networkx.config, options is pandas.options
>>> global_parameters is sympy.core.parameters.global_parameters
>>> of_networkx.fallback_to_nx, options.display.max_rows = True, 7
>>> networkx.config.fallback_to_nx, pandas.get_option("display.max_rows")
>>> of_networkx.fallback_to_nx, options.display.max_rows = False, 60
# ---- arguments that are left out of what is parsed
class Action(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None): setattr(namespace, self.dest, values * 2)
quiet = argparse.ArgumentParser(prog="q", argument_default=argparse.SUPPRESS)
quiet.add_argument("--n", type=int)
quiet.add_argument("--twice", action=Action, help=argparse.SUPPRESS)
quiet.set_defaults(hidden=argparse.SUPPRESS, shown=1)
subs = quiet.add_subparsers(dest="which")
sub = subs.add_parser("run", argument_default=argparse.SUPPRESS)
sub.add_argument("--k")
>>> vars(quiet.parse_args([])), vars(quiet.parse_args(["--n", "3", "--twice", "x", "run"])), quiet.format_help()
>>> subs.choices["run"] is sub, quiet.argument_default is argparse.SUPPRESS, argparse.SUPPRESS
# ---- options of optparse
import optparse
option_parser = optparse.OptionParser(prog="o")
option_parser.add_option("-n", type="int")
option_parser.add_option("--hide", help=optparse.SUPPRESS_HELP, default=4)
>>> option_parser.parse_args([])[0].__dict__, option_parser.format_help(), option_parser.parse_args(["-n", "3"])[0].n
# ---- structures, unions and pointers of ctypes
class Inner(ctypes.Union):
    _fields_ = [("i", ctypes.c_int), ("f", ctypes.c_float)]
class Outer(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("tag", ctypes.c_char), ("inner", Inner), ("items", ctypes.c_short * 3)]
    def total(self): return sum(self.items)
outer = Outer(b"x", Inner(i=5), (1, 2, 3))
>>> outer.tag, outer.inner.i, outer.total(), ctypes.sizeof(Outer), type(outer.inner) is Inner, Outer.inner.offset
>>> outer.items[0] = 9
>>> outer.total()
<<< outer.total()
# ---- objects of torch that are named with their module (needs torch)
import torch
kept = {"f": torch.channels_last, "p": torch.preserve_format, "d": torch.float16}
>>> kept["f"] is torch.channels_last, kept["p"] is torch.preserve_format, kept["d"] is torch.float16
>>> torch.ones(1, 2, 3, 4).to(memory_format=kept["f"]).stride()
<<< kept["f"] is torch.channels_last
# ---- views of bytes
import array
data, words = bytearray(b"abcdef"), array.array("i", [1, 2, 3])
window, every, ints = memoryview(data)[2:4], memoryview(data)[::2], memoryview(words)
again = [window, memoryview(data)]
>>> window[0] = 0
>>> data, again[1][2], again[0][0], every.tolist(), ints[1], ints.format
>>> ints[1] = 7
>>> words, bytes(window)
# ---- views of bytes whose base is not captured
def both():
    base = bytearray(range(10))
    return memoryview(base)[2:6], memoryview(base)[4:]
low, high = both()
>>> low[2] = 99
>>> high[0], low.tolist(), high.tolist()
# ---- views of arrays' bytes (needs numpy)
import numpy as np
grid = np.zeros((2, 3))
flat = memoryview(grid).cast("B")
>>> flat[0] = 1
>>> grid[0, 0] != 0, len(flat)
# ---- tables share nothing that anybody sees (needs pandas)
import pandas as pd, numpy as np
table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
rows, column, shallow, whole = table.iloc[1:], table["b"], table.copy(deep=False), table[:]
cats = pd.Series(pd.Categorical(["x", "y", "x"]))
nums = pd.Series(pd.array([1, 2, None], "Int64"))
some_cats, some_nums, renamed = cats[1:], nums[:2], table.rename(columns={"a": "z"})
>>> table.loc[1, "b"] = -1.0
>>> cats[1], nums[0] = "x", 50
>>> table, rows, column, shallow, whole, renamed, some_cats.tolist(), some_nums.tolist()
>>> rows.loc[2, "a"] = 100.0
>>> table, rows, column
# ---- read-only arrays, whatever their order (needs numpy)
import numpy as np
base = np.arange(24.0).reshape(4, 6)
base.setflags(write=False)
turned, gaps, wide, dates = base.T, base[::2, ::3], np.broadcast_to(base[0], (3, 6)), base.astype("M8[s]")
dates.setflags(write=False)
huge = np.broadcast_to(np.float64(2), (1000, 1000, 1000))
>>> [one.flags.writeable for one in (base, turned, gaps, wide, dates, huge)], wide, gaps, huge.shape, huge[5, 5, 5]
>>> gaps[0, 0] = 1
<<< huge.shape, wide, gaps
# ---- masks that are hard (needs numpy)
import numpy as np
hard = np.ma.array([1, 2], mask=[True, False], hard_mask=True)
soft = np.ma.array([1, 2], mask=[True, False])
>>> hard[0], soft[0] = 5, 5
>>> hard, soft
<<< hard, soft
"""
