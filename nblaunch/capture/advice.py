"""Advice: of which kind an object is that cannot be sent, and what the user can do about it.

A kind is a key of `ADVICE`. It is found by the names of the object's classes, so that no library is imported for it,
and then by the error that pickling raised.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADVICE = {
    "lock": "Create it inside the cell, so that each rank has its own.",
    "queue": "It connects threads of the notebook: create it inside the cell, or send the items as a list.",
    "shared": (
        "Send one of a manager instead, such as multiprocessing.Manager().Queue(), .Lock() or .Value('i', 0): that one "
        "works in the ranks and here."
    ),
    "file": "Open it inside the cell, so that each rank has its own.",
    "iterator": "Make a list of it first, or create it inside the cell.",
    "async": "It belongs to the notebook's event loop: create it inside the cell, or send its result.",
    "process": "It belongs to the notebook's process: start it inside the cell, or use --no-capture.",
    "widget": "Widgets live in the notebook only: send its .value instead.",
    "shell": "Each rank has an IPython shell of its own: call get_ipython() inside the cell.",
    "cuda": "Create it in the ranks, or send x.cpu().",
    "map": "Map the file anew, or send a copy: numpy.array(...) of it.",
    "tracer": "Use what the function returns that JAX transforms: it has values.",
    "module": "Import it inside the cell, from a place that the ranks can import from too.",
    "weakref": "Send the object that it refers to instead.",
    "frame": "It belongs to the notebook's call stack: send its text (traceback.format_exc()).",
    "deep": "It refers to itself or nests too deeply: send it in flat form, or create it inside the cell.",
    "memory": "There is too little memory for a copy: load it inside the cell.",
    "rebuild": (
        "Its class has code of its own that runs when it is unpickled (__new__, __setstate__, __getattr__, __hash__): "
        "give it a __reduce__ that avoids this code, or create it inside the cell."
    ),
    "alone": "Make it inside the cell: there it finds the other ranks.",
    "jitclass": "numba compiles a jitclass into this process: define it inside the cell, and send what it holds.",
    "match": "Send what it has found instead: x.group(), x.groups() or x.span().",
    "row": "Send tuple(x) or dict(x) instead.",
    "xml": "It is memory of a C library: send lxml.etree.tostring(x), and parse that inside the cell.",
    "c": "It is memory of C code in the notebook's process: create it inside the cell, or send what it holds.",
    "script": "Save it with torch.jit.save, and load it inside the cell.",
    "objects": "Polars does not pickle a column of dtype Object: send x.to_list(), and make the frame in the cell.",
    "other": "Create it inside the cell, or leave it out (--no-capture).",
}
"""What to do, by the kind of the object."""

# The kind by the name of a class or base class; a name with a dot at its end is that of a module or package. The first
# match counts.
_KINDS = {
    "_thread.lock": "lock",
    "_thread.RLock": "lock",
    "_thread._local": "lock",
    "threading.": "lock",
    "multiprocessing.synchronize.": "shared",
    "queue.": "queue",
    "_queue.": "queue",
    "multiprocessing.queues.": "shared",
    "multiprocessing.sharedctypes.": "shared",
    "_io.": "file",
    "io.": "file",
    "tempfile.": "file",
    "socket.": "file",
    "_socket.": "file",
    "ssl.": "file",
    "_ssl.": "file",
    "mmap.": "file",
    "numpy.memmap": "map",
    "zipfile.": "file",
    "tarfile.": "file",
    "select.": "file",
    "selectors.": "file",
    "sqlite3.Row": "row",
    "sqlite3.": "file",
    "multiprocessing.connection.": "shared",
    "sqlalchemy.engine.": "file",
    "sqlalchemy.orm.session.": "file",
    "psycopg.": "file",
    "psycopg2.": "file",
    "pymysql.": "file",
    "duckdb.": "file",
    "_duckdb.": "file",
    "h5py.": "file",
    "lmdb.": "file",
    "pyarrow.lib.NativeFile": "file",
    "pyarrow.parquet.core.ParquetFile": "file",
    "pyarrow._parquet.": "file",
    "builtins.generator": "iterator",
    "itertools.": "iterator",
    "_csv.": "iterator",
    "pandas.io.parsers.readers.TextFileReader": "iterator",
    "pandas.api.typing.TextFileReader": "iterator",
    "pyarrow.lib.RecordBatchReader": "iterator",
    "pyarrow._dataset.Scanner": "iterator",
    "builtins.coroutine": "async",
    "builtins.async_generator": "async",
    "asyncio.": "async",
    "_asyncio.": "async",
    "concurrent.futures.": "process",
    "multiprocessing.": "process",
    "subprocess.": "process",
    "ipywidgets.": "widget",
    "anywidget.": "widget",
    "IPython.core.interactiveshell.": "shell",
    "ipykernel.": "shell",
    "torch.cuda.": "cuda",
    "torch._C._Cuda": "cuda",
    "cupy.": "cuda",
    "cupy_backends.": "cuda",
    "pycuda.": "cuda",
    "jax._src.core.Tracer": "tracer",
    "numba.experimental.jitclass.": "jitclass",
    "re.Match": "match",
    "lxml.etree._Element": "xml",
    "lxml.etree._ElementTree": "xml",
    "_ctypes.": "c",
    "torch.jit._script.ScriptModule": "script",
    "torch.ScriptModule": "script",
    "torch.ScriptFunction": "script",
    "builtins.module": "module",
    "weakref.": "weakref",
    "builtins.weakref": "weakref",
    "builtins.frame": "frame",
    "builtins.traceback": "frame",
}


def kind_of(obj: object) -> str:
    """Tell the kind of an object by its classes: a key of `ADVICE`, "other" if none fits."""
    cls = type(obj)  # isinstance() would ask a proxy object for its `__class__`, which may raise an error
    if issubclass(cls, types.ModuleType):
        return "module"
    for name in _class_names(cls):
        for known, kind in _KINDS.items():
            if name == known or (known.endswith((".", "Cuda")) and name.startswith(known)):
                return kind
        if name == "torch.Tensor" and getattr(obj, "is_cuda", False):
            return "cuda"
        if name.startswith("polars.") and name.endswith(".Series") and str(getattr(obj, "dtype", "")) == "Object":
            return "objects"
    # An iterator with attributes is "other": it is taken apart, because one of them may be the part to blame.
    return "iterator" if hasattr(cls, "__next__") and not cls.__dictoffset__ else "other"


def kind_of_failure(obj: object, error: BaseException) -> str:
    """Tell the kind by the object, or else by the error."""
    kind = kind_of(obj)
    if kind != "other":
        return kind
    advice: object = getattr(error, "advice", "")
    if isinstance(advice, str) and advice in ADVICE:
        return advice
    if nests_too_deeply(error):
        return "deep"
    if isinstance(error, MemoryError):
        return "memory"
    return "cuda" if "cuda" in str(error).lower() else "other"


def fails_to_be_rebuilt(error: BaseException) -> bool:
    """Tell whether an object was pickled, but could not be rebuilt (`nblaunch.payload.NotRebuilt`)."""
    return getattr(error, "advice", "") == "rebuild"


def nests_too_deeply(error: BaseException) -> bool:
    """Tell whether an error is a RecursionError, possibly wrapped by cloudpickle."""
    if fails_to_be_rebuilt(error):
        return False
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _class_names(cls: type) -> Iterator[str]:
    for base in type.mro(cls):
        yield f"{base.__module__}.{base.__qualname__}"
