"""What several cells have done, one case at a time: folders, modules of the user's own, settings, names that are gone."""

ALONE = True

CASES = r"""
import importlib, os, sys
# ---- a name that an earlier cell has bound anew
x = 1
def f(): return x
# %%
x = [2]
y = x
# %%
del y
>>> f(), x, f() is x
# ---- what a function has changed in the notebook
log, count = [], 0
def note(text):
    global count
    count += 1
    log.append((count, text))
# %%
note("a"); note("b")
>>> log, count, note("c"), log, count
# ---- a class that was defined twice, and objects of both
class A:
    v = 1
first = A()
# %%
class A:
    v = 2
second = A()
>>> first.v, second.v, isinstance(first, A), isinstance(second, A), type(first) is type(second)
<<< first, second
# ---- a class whose methods came in a later cell
class Later:
    pass
made = Later()
# %%
def go(self): return self.x
Later.go, Later.x = go, 4
>>> made.go(), Later.go is go
<<< made
# ---- a package of the user's own, its submodules and its aliases
os.makedirs("own_package/inner", exist_ok=True)
for name, text in {
    "own_package/__init__.py": "TOP = object()\n",
    "own_package/inner/__init__.py": "",
    "own_package/inner/deep.py": "from own_package import TOP\nclass D:\n    v = 3\nMARK = object()\ndef f(): return MARK\n",
}.items():
    with open(name, "w") as file:
        file.write(text)
del name, text, file
# %%
import own_package.inner.deep
from own_package.inner import deep as alias
from own_package.inner.deep import D, MARK, f as func
thing = D()
>>> own_package.inner.deep.D is D, alias is own_package.inner.deep, func() is MARK, MARK is alias.MARK, thing.v
>>> own_package.TOP is alias.TOP, type(thing) is alias.D
<<< thing, D, func
<<< MARK is alias.MARK
# ---- the folder was changed after an import
with open("left_behind.py", "w") as file:
    file.write("VALUE = 5\nclass C:\n    def go(self): return VALUE\n")
del file
import left_behind
held = left_behind.C()
os.makedirs("elsewhere", exist_ok=True)
# %%
os.chdir("elsewhere")
>>> left_behind.VALUE, held.go(), os.path.basename(os.getcwd()), type(held) is left_behind.C
>>> os.chdir("..")
<<< held
# ---- a folder that was on the path for one import
os.makedirs("aside", exist_ok=True)
with open("aside/by_path.py", "w") as file:
    file.write("class P:\n    pass\nONE = P()\n")
del file
sys.path.insert(0, os.path.abspath("aside"))
import by_path
sys.path.pop(0)
one = by_path.ONE
>>> by_path.ONE is one, type(one).__module__, any("aside" in part for part in sys.path)
<<< by_path.P
# ---- annotations that are texts everywhere
from __future__ import annotations
import dataclasses, typing
class Kind: pass
K = typing.TypeVar("K")
@dataclasses.dataclass
class Node:
    kind: Kind
    next: Node | None = None
    seen: typing.ClassVar[int] = 3
class Told(typing.TypedDict):
    kind: Kind
    many: list[Node]
class Plain:
    a: Kind
    b: K
    def method(self, node: Node) -> Plain: ...
def build(kind: Kind, many: list[Kind]) -> Told: ...
node = Node(Kind())
>>> node, [one.name for one in dataclasses.fields(Node)], Node.__annotations__, build.__annotations__, node.seen
>>> [str(typing.get_type_hints(one)) for one in (Node, Node.__init__, Told, Plain, Plain.method, build)]
<<< node
# ---- precision of decimals
import decimal
decimal.getcontext().prec = 5
decimal.getcontext().rounding = decimal.ROUND_UP
third = decimal.Decimal(1) / 3
>>> third, decimal.Decimal(2) / 3, decimal.getcontext().prec, decimal.getcontext().rounding
>>> decimal.setcontext(decimal.Context())
# ---- errors of floating point, and how arrays are shown (needs numpy)
import numpy as np
old = np.seterr(divide="raise", invalid="ignore")
np.set_printoptions(precision=2)
del old
>>> np.geterr(), np.ones(1) / 0, repr(np.array([1 / 3]))
>>> np.seterr(divide="warn", invalid="warn") and None, np.set_printoptions(precision=8)
# ---- how deep calls may go
sys.setrecursionlimit(4321)
>>> sys.getrecursionlimit()
# ---- types of numbers of torch (needs torch)
import torch
torch.set_default_dtype(torch.float64)
>>> torch.ones(1).dtype, torch.tensor(1.5).dtype, torch.get_default_dtype()
>>> torch.set_default_dtype(torch.float32)
# ---- outputs of estimators (needs sklearn)
import sklearn, sklearn.preprocessing, pandas as pd
sklearn.set_config(transform_output="pandas")
data = pd.DataFrame({"a": [1.0, 2.0]})
>>> type(sklearn.preprocessing.StandardScaler().fit_transform(data)).__name__
>>> sklearn.set_config(transform_output="default")
# ---- builtins under names of the notebook's, and the other way round
list = [1]
def sum(v): return "mine"
# %%
def uses(): return sum(list), len(list)
>>> uses(), list, sum is not __import__("builtins").sum
# ---- a generator and a lock among what is not used
gen = (v for v in [1])
import threading
lock = threading.Lock()
used = {"v": 1}
>>> used
"""
