"""Modules, their submodules and aliases, and functions that use them."""

CASES = r"""
import collections.abc, importlib, importlib.util, os.path, sys, types
# ---- submodules that were imported by dots
import xml.etree.ElementTree, email.mime.text, concurrent.futures, urllib.request
>>> xml.etree.ElementTree.fromstring("<a/>").tag, email.mime.text.MIMEText("x").get_payload(), urllib.request.Request("http://x").host
>>> concurrent.futures.FIRST_COMPLETED, xml.etree.ElementTree is sys.modules["xml.etree.ElementTree"]
# ---- submodules used in functions
import xml.dom.minidom, logging.handlers
def parse(text): return xml.dom.minidom.parseString(text).documentElement.tagName
class Uses:
    def port(self): return logging.handlers.SYSLOG_UDP_PORT
uses = Uses()
>>> parse("<b/>"), uses.port()
<<< parse
# ---- a module under another name, and an attribute of one
import xml.sax as sax_, os.path as osp
from xml import sax as named
from importlib import metadata
>>> sax_.handler is sys.modules["xml.sax.handler"], osp.join("a", "b"), named is sax_, metadata is sys.modules["importlib.metadata"]
# ---- modules in containers and in attributes
import json.decoder, math
table = {"j": json, "m": [math]}
class Holder:
    lib = json
    def __init__(self): self.own = math
holder = Holder()
>>> table["j"].decoder.JSONDecoder().decode("1"), table["m"][0].sqrt(4), holder.lib is json, holder.own.pi
<<< table, holder
# ---- a module that was made in the notebook
made = types.ModuleType("made_here")
made.value = [1]
made.double = lambda x: x * 2
>>> made.value, made.double(4), made.__name__
# ---- functions of modules and bound methods of modules' objects
import random, json, os
pick, dumps, environment = random.random, json.dumps, os.environ
hidden = random._inst
>>> dumps([1]), environment is os.environ, pick.__self__ is random._inst, hidden is random._inst
# ---- packages whose parts are imported late (needs scipy)
import scipy, scipy.linalg
>>> scipy.linalg.det([[2.0]]), scipy.special.expit(0) > 0.4, scipy.linalg is sys.modules["scipy.linalg"]
# ---- abbreviations that people use (needs pandas)
import numpy as np, pandas as pd, numpy.linalg as la
>>> np.linalg is la, pd.DataFrame({"a": [1]}).a.sum(), pd.api.types.is_integer(1), np.random.default_rng(1).integers(9), la.norm([3, 4])
# ---- subpackages of torch (needs torch)
import torch, torch.nn.functional as F, torch.utils.data
from torch import nn
>>> F.relu(torch.ones(1)), nn is torch.nn, torch.utils.data.DataLoader.__name__, F is torch.nn.functional
# ---- functions that import
def inside():
    import fractions
    from decimal import Decimal as D
    return fractions.Fraction(1, 2), D("1.5")
>>> inside()
<<< inside
# ---- star imports, and names that shadow builtins
from string import *
from operator import *
list_ = list
def sum_of(xs): return sum(xs)
>>> ascii_lowercase, add(1, 2), list_((1,)), sum_of([1, 2])
# ---- a name of a module that is no module
re = {"compile": 1}
class os_path: sep = "!"
>>> re["compile"], os_path.sep
<<< os_path
"""
