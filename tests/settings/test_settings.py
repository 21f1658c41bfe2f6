"""Settings of libraries: each is read, travels and is made in a fresh interpreter; nothing travels that is as ever."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nblaunch.settings import LIBRARIES

# Reads the settings of one process and prints them in the form in which they travel.
SEND = """
import base64, pickle, sys
from nblaunch.settings import changed_settings, pack_settings
found, notices = changed_settings()
sent, more = pack_settings(found, globals(), {})
print(base64.b64encode(pickle.dumps((sent, sorted(found), notices + more))).decode())
"""

# Makes them in another, before anything is imported.
RECEIVE = """
import base64, pickle, sys
from nblaunch.rank.settings import apply_settings
apply_settings(pickle.loads(base64.b64decode({sent!r}))[0], globals())
"""


def python(source: str, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", source], env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def sent_by(source: str, **env: str) -> tuple[str, list[str], tuple[str, ...]]:
    """Return what travels after this source was run, which libraries it is of, and what is told."""
    text = python(f"{source}\n{SEND}", **env).stdout.splitlines()[-1]
    _, libraries, notices = pickle.loads(base64.b64decode(text))
    return text, libraries, notices


CASES = {
    "recursion": ("import sys\nsys.setrecursionlimit(4321)", "import sys", "sys.getrecursionlimit()", 4321),
    "digits": ("import sys\nsys.set_int_max_str_digits(0)", "import sys", "len(str(10**5000))", 5001),
    "stack size": (
        "import threading\nthreading.stack_size(1 << 20)",
        "import threading",
        "threading.stack_size()",
        1 << 20,
    ),
    "decimal": (
        (
            "import decimal\nc = decimal.getcontext()\nc.prec = 50\nc.rounding = 'ROUND_UP'\n"
            "c.traps[decimal.DivisionByZero] = False\ndecimal.DefaultContext.prec = 9"
        ),
        "import decimal",
        "[str(decimal.Decimal(2) / 3), str(decimal.Decimal(1) / 0), decimal.DefaultContext.prec]",
        ["0." + "6" * 49 + "7", "Infinity", 9],
    ),
    "contexts that others are copied from": (
        "import decimal\ndecimal.BasicContext.prec = 3\ndecimal.ExtendedContext.traps[decimal.Inexact] = True",
        "import decimal",
        "[decimal.BasicContext.prec, decimal.ExtendedContext.traps[decimal.Inexact], decimal.DefaultContext.prec]",
        [3, True, 28],
    ),
    "locale": (
        "import locale\nlocale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')",
        "import locale",
        "locale.setlocale(locale.LC_NUMERIC)",
        "C.UTF-8",
    ),
    "csv": ("import csv\ncsv.field_size_limit(10**6)", "import csv", "csv.field_size_limit()", 10**6),
    "calendar": ("import calendar\ncalendar.setfirstweekday(6)", "import calendar", "int(calendar.firstweekday())", 6),
    "multiprocessing": (
        "import multiprocessing\nmultiprocessing.set_start_method('spawn')",
        "import multiprocessing",
        "multiprocessing.get_start_method()",
        "spawn",
    ),
    "namespaces of XML": (
        "import xml.etree.ElementTree as E\nE.register_namespace('mine', 'http://mine.example/')",
        "import xml.etree.ElementTree as E",
        "E.tostring(E.Element('{http://mine.example/}a')).decode()",
        '<mine:a xmlns:mine="http://mine.example/" />',
    ),
    "attrs": (
        "import attrs\nattrs.validators.set_disabled(True)",
        "import attrs",
        "attrs.validators.get_disabled()",
        True,
    ),
    "joblib": (
        "import joblib\njoblib.parallel_config('threading', n_jobs=3, verbose=1, inner_max_num_threads=None)",
        "import joblib",
        "[joblib.Parallel().n_jobs, joblib.Parallel().verbose, type(joblib.parallel.get_active_backend()[0]).__name__]",
        [3, 1, "ThreadingBackend"],
    ),
    "how masks and polynomials are printed": (
        "import numpy as np\nnp.ma.masked_print_option.set_display('?')\nnp.polynomial.set_default_printstyle('ascii')",
        "import numpy as np",
        "[str(np.ma.array([1, 2], mask=[0, 1])), str(np.polynomial.Polynomial([1, 2, 3]))]",
        ["[1 ?]", "1.0 + 2.0 x + 3.0 x**2"],
    ),
    "socket": ("import socket\nsocket.setdefaulttimeout(3.5)", "import socket", "socket.getdefaulttimeout()", 3.5),
    "numpy": (
        (
            "import numpy as np\nnp.seterr(divide='raise')\n"
            "np.set_printoptions(precision=2, formatter={'int': lambda n: f'<{n}>'})"
        ),
        "import numpy as np",
        "[np.geterr()['divide'], str(np.array([1.23456])), str(np.array([7]))]",
        ["raise", "[1.23]", "[<7>]"],
    ),
    "scipy": (
        "import scipy.special\nscipy.special.seterr(singular='raise')",
        "import scipy.special",
        "scipy.special.geterr()['singular']",
        "raise",
    ),
    "mpmath": ("import mpmath\nmpmath.mp.dps = 40", "import mpmath", "len(str(mpmath.sqrt(2)))", 40),
    "sympy": (
        (
            "import sympy.core.parameters as p\np.global_parameters.evaluate = False\n"
            "p.global_parameters.distribute = False"
        ),
        "from sympy import Integer, gamma, symbols\nx = symbols('x')",
        "[str(x + x), str(2 * (x + 1)), str(gamma(5))]",
        ["x + x", "2*(x + 1)", "gamma(5)"],
    ),
    "networkx": (
        "from networkx import config\nconfig.fallback_to_nx = True\nconfig.warnings_to_ignore = {'cache'}",
        "import networkx",
        "[networkx.config.fallback_to_nx, list(networkx.config.warnings_to_ignore)]",
        [True, ["cache"]],
    ),
    "colours": (
        (
            "import matplotlib as m\nfrom matplotlib.colors import ListedColormap\n"
            "m.colormaps.register(ListedColormap(['#010203', 'w'], name='mine'))\n"
            "m.color_sequences.register('row', ['r', 'g'])"
        ),
        (
            "import matplotlib as m\nfrom matplotlib.colors import ListedColormap, to_hex\n"
            "sent = to_hex(m.colormaps['mine'](0))\n"
            "m.colormaps.register(ListedColormap(['#040506'], name='mine'))"
        ),
        "[sent, to_hex(m.colormaps['mine'](0)), m.color_sequences['row']]",
        ["#010203", "#040506", ["r", "g"]],
    ),
    "units of the notebook's classes": (
        (
            "import matplotlib.units\nclass Metre: pass\nclass Converter(matplotlib.units.ConversionInterface): pass\n"
            "matplotlib.units.registry[Metre] = Converter()"
        ),
        "import matplotlib.units",
        "[[k.__name__, type(v).__name__] for k, v in matplotlib.units.registry.items() if k.__module__ == '__main__']",
        [["Metre", "Converter"]],
    ),
    "pandas": (
        (
            "import pandas as pd\nsign = '$'\npd.set_option('display.max_rows', 7)\n"
            "pd.options.display.float_format = lambda x: f'{sign}{x:.1f}'"
        ),
        "import pandas as pd",
        "[pd.get_option('display.max_rows'), '$1.2' in str(pd.DataFrame({'a': [1.23]}))]",
        [7, True],
    ),
    "sklearn": (
        "import sklearn\nsklearn.set_config(transform_output='pandas')",
        "import sklearn",
        "sklearn.get_config()['transform_output']",
        "pandas",
    ),
    "matplotlib": (
        "import matplotlib as m\nm.rcParams['figure.dpi'] = 77\nm.rcParams['font.sans-serif'].insert(0, 'Arial')",
        "import matplotlib as m",
        "[m.rcParams['figure.dpi'], m.rcParams['font.sans-serif'][0]]",
        [77.0, "Arial"],
    ),
    "Pillow": (
        "from PIL import Image, ImageFile\nImage.MAX_IMAGE_PIXELS = None\nImageFile.LOAD_TRUNCATED_IMAGES = True",
        "from PIL import Image, ImageFile",
        "[Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES]",
        [None, True],
    ),
    "warnings": (
        (
            "import warnings\nclass Mine(UserWarning): pass\n"
            "warnings.filterwarnings('error', 'do not', category=Mine)\n"
            "warnings.filterwarnings('ignore', category=FutureWarning)"
        ),
        "import warnings",
        "[(f[0], f[1] and f[1].pattern, f[2].__name__) for f in warnings.filters[:2]]",
        [["ignore", None, "FutureWarning"], ["error", "do not", "Mine"]],
    ),
    "warnings about a library": (
        "import warnings\nfrom sklearn.exceptions import ConvergenceWarning as C\nwarnings.simplefilter('ignore', C)",
        "import warnings\nbefore = 'sklearn' in sys.modules\nimport sklearn.exceptions",
        "[before, warnings.filters[0][0], warnings.filters[0][2].__name__]",
        [False, "ignore", "ConvergenceWarning"],
    ),
    "processes": (
        "import multiprocessing as m\nm.set_start_method('forkserver')",
        "import multiprocessing as m",
        "m.get_start_method()",
        "forkserver",
    ),
    "no filters at all": ("import warnings\nwarnings.resetwarnings()", "import warnings", "warnings.filters", []),
}
TORCH_CASES = {
    "dtype": ("torch.set_default_dtype(torch.float64)", "str(torch.zeros(1).dtype)", "torch.float64"),
    "device": ("torch.set_default_device('meta')", "str(torch.zeros(1).device)", "meta"),
    "a device of CUDA": (
        "torch._GLOBAL_DEVICE_CONTEXT.device_context = type('', (), {'device': torch.device('cuda:1')})",
        "torch._GLOBAL_DEVICE_CONTEXT.device_context.device.type",
        "cuda",
    ),
    "determinism": (
        "torch.use_deterministic_algorithms(True, warn_only=True)",
        "[torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()]",
        [True, True],
    ),
    "products": ("torch.set_float32_matmul_precision('medium')", "torch.get_float32_matmul_precision()", "medium"),
    "one product": (
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.fp32_precision",
        "tf32",
    ),
    "one convolution": (
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
        "[torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision]",
        ["ieee", "tf32"],
    ),
    "attention": ("torch.backends.cuda.enable_flash_sdp(False)", "torch.backends.cuda.flash_sdp_enabled()", False),
    "cudnn": ("torch.backends.cudnn.deterministic = True", "torch.backends.cudnn.deterministic", True),
    "anomalies": ("torch.autograd.set_detect_anomaly(True)", "torch.is_anomaly_enabled()", True),
    "gradients": ("torch.set_grad_enabled(False)", "torch.is_grad_enabled()", False),
    "autocast": (
        (
            "torch.set_autocast_enabled('cpu', True)\ntorch.set_autocast_dtype('cpu', torch.float16)\n"
            "torch.set_autocast_cache_enabled(False)"
        ),
        "[str((torch.ones(2, 2) @ torch.ones(2, 2)).dtype), torch.is_autocast_cache_enabled()]",
        ["torch.float16", False],
    ),
    "distributions": (
        "torch.distributions.Distribution.set_default_validate_args(False)",
        "torch.distributions.Normal(0.0, -1.0).scale.item()",
        -1.0,
    ),
    "printing": ("torch.set_printoptions(precision=1)", "str(torch.tensor([0.25]))", "tensor([0.2])"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_setting_arrives(case: str) -> None:
    made, imports, seen, expected = CASES[case]
    if case in ("mpmath", "networkx", "sympy"):
        pytest.importorskip(case)  # torch brings them
    sent, _, notices = sent_by(made)
    assert notices == ()
    done = python(f"{RECEIVE.format(sent=sent)}\n{imports}\nimport json\nprint(json.dumps({seen}))")
    assert (json.loads(done.stdout), done.stderr) == (expected, "")


# Those of one line go together: each interpreter imports torch, which takes its time.
TORCH_TOGETHER = (
    ("dtype", "determinism", "products", "attention", "cudnn", "anomalies", "gradients", "printing"),
    ("a device of CUDA", "one product", "one convolution"),
    ("autocast", "distributions"),
    ("device",),
)


@pytest.mark.torch
@pytest.mark.parametrize("cases", TORCH_TOGETHER, ids=", ".join)
def test_settings_of_torch_arrive(cases: tuple[str, ...]) -> None:
    made = "\n".join(TORCH_CASES[case][0] for case in cases)
    sent, libraries, notices = sent_by(f"import torch\n{made}")
    assert ("torch" in libraries, notices) == (True, ())
    seen = ", ".join(TORCH_CASES[case][1] for case in cases)
    done = python(f"{RECEIVE.format(sent=sent)}\nimport json, torch\nprint(json.dumps([{seen}]))")
    assert (json.loads(done.stdout), done.stderr) == ([TORCH_CASES[case][2] for case in cases], "")


def test_a_time_zone_that_was_set_after_the_process_began() -> None:
    sent, _, _ = sent_by("import os, time\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()")
    receive = RECEIVE.format(sent=sent)
    done = python(f"import os, time\nos.environ['TZ'] = 'Asia/Tokyo'\n{receive}\nprint(time.tzname)", TZ="UTC")
    assert done.stdout == "('JST', 'JST')\n"


def test_what_is_as_by_default_does_not_travel() -> None:
    names = sorted({library.module for library in LIBRARIES} & {"numpy", "scipy.special", "mpmath", "sklearn", "torch"})
    names += ["torch.distributions"]
    names += ["networkx", "sympy"]
    names += ["pandas", "matplotlib.pyplot", "PIL.ImageFile", "csv", "calendar", "socket", "decimal"]
    names += ["polars", "xml.etree.ElementTree", "attrs", "joblib", "numpy.polynomial", "numpy.ma"]
    source = "\n".join(f"try:\n    import {name}\nexcept ImportError: pass" for name in names)
    _, libraries, notices = sent_by(f"import os\nos.environ.pop('TZ', None)\n{source}")
    assert (libraries, notices) == ([], ())


def test_nothing_is_imported_for_it() -> None:
    source = "import sys\nfrom nblaunch.settings import changed_settings\nprint(changed_settings())\n"
    done = python(
        f"{source}print([n for n in ('numpy', 'pandas', 'torch', 'matplotlib', 'decimal') if n in sys.modules])"
    )
    assert done.stdout == "({}, ())\n[]\n"


JAX = """
import sys, types
class Config:
    jax_enable_x64 = False
    jax_numpy_dtype_promotion = "standard"
    jax_default_device = None
    jax_explicit_x64_dtypes = None
    def update(self, name, value): setattr(self, name, value)
"""


def test_settings_of_jax_arrive_before_its_arrays(tmp_path: Path) -> None:
    (tmp_path / "jax.py").write_text(f"{JAX}\nconfig = Config()\n")
    place = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    sent, libraries, _ = sent_by(
        "import jax, types\njax.config.update('jax_enable_x64', True)\n"
        "jax.config.jax_default_device = types.SimpleNamespace(platform='cpu')",
        **place,
    )
    assert libraries == ["jax"]
    done = python(
        f"{RECEIVE.format(sent=sent)}\nimport jax\nprint(jax.config.jax_enable_x64, jax.config.jax_default_device)",
        **place,
    )
    assert done.stdout == "True cpu\n"


def test_log_lines_arrive_where_they_went() -> None:
    sent, _, notices = sent_by(
        "import logging, sys\nlogging.basicConfig(level=logging.INFO, format='%(levelname)s: %(message)s')\n"
        "log = logging.getLogger('train')\nlog.setLevel(logging.DEBUG)\nlog.propagate = False\n"
        "handler = logging.StreamHandler(sys.stdout)\nhandler.addFilter(lambda record: 'secret' not in record.msg)\n"
        "log.addHandler(handler)\nlogging.addLevelName(25, 'NOTE')\nlogging.getLogger('urllib3').setLevel(40)"
    )
    assert notices == ()
    done = python(
        f"{RECEIVE.format(sent=sent)}\nimport logging\nlogging.info('one')\nlogging.log(25, 'two')\n"
        "logging.debug('no')\n"
        "log = logging.getLogger('train')\nlog.debug('three')\nlog.info('a secret')\n"
        "logging.getLogger('urllib3').warning('no')"
    )
    assert (done.stdout, done.stderr) == ("three\n", "INFO: one\nNOTE: two\n")


def test_a_format_that_needs_a_factory_of_records_has_it() -> None:
    sent, _, notices = sent_by(
        "import logging\nlogging.basicConfig(format='%(who)s: %(message)s')\nusual = logging.getLogRecordFactory()\n"
        "who = 'me'\ndef factory(*args, **keywords):\n    record = usual(*args, **keywords)\n    record.who = who\n"
        "    return record\nlogging.setLogRecordFactory(factory)\n"
        "class Loud(logging.Logger):\n    def shout(self, text): self.warning(text.upper())\n"
        "logging.setLoggerClass(Loud)"
    )
    assert notices == ()
    done = python(f"{RECEIVE.format(sent=sent)}\nimport logging\nlogging.getLogger('new').shout('word')")
    assert done.stderr == "me: WORD\n"


@pytest.mark.torch
def test_hooks_for_all_modules_are_told() -> None:
    _, libraries, notices = sent_by(
        "import torch\ntorch.nn.modules.module.register_module_forward_hook(lambda *_: None)"
    )
    assert (libraries, notices) == (
        [],
        (
            (
                "The forward hooks for all modules of torch stay in the notebook: register them in a set-up cell "
                "(%%multiproc --setup)"
            ),
        ),
    )


def test_a_fork_writes_each_log_line_once_to_its_own_output() -> None:
    done = python(
        "import logging, sys\nfrom nblaunch import launch\n"
        "class Short(logging.Formatter):\n    def format(self, record): return 'short ' + record.getMessage()\n"
        "handler = logging.StreamHandler(sys.stdout)\nhandler.setFormatter(Short())\n"
        "handler.addFilter(lambda record: True)\nlogging.root.addHandler(handler)\n"
        "run = launch(lambda: logging.warning('word'), 1, start_method='fork', panel='none')\n"
        "print(repr(run.logs[0].stdout), run.failures)"
    )
    assert (done.stdout, done.stderr) == ("'short word\\n' {}\n", "")


def test_log_lines_in_a_file_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    sent, _, _ = sent_by(
        f"import logging\nlogging.basicConfig(filename={str(file)!r}, filemode='w')\nlogging.error('here')"
    )
    python(f"{RECEIVE.format(sent=sent)}\nimport logging\nlogging.error('there')")
    assert file.read_text() == "ERROR:root:here\nERROR:root:there\n"


def test_a_handler_that_belongs_to_this_process_is_told() -> None:
    _, _, notices = sent_by("import logging, io\nlogging.getLogger().addHandler(logging.StreamHandler(io.StringIO()))")
    assert notices == (
        (
            "The StreamHandler of the root logger stays in the notebook, so log lines of the ranks do not reach it: "
            "add one in the ranks with a set-up cell (%%multiproc --setup)"
        ),
    )


def test_a_setting_that_cannot_travel_is_told_and_the_others_do() -> None:
    sent, libraries, notices = sent_by(
        "import numpy as np, threading\nlock = threading.Lock()\nnp.seterr(all='raise')\nnp.seterrcall(lambda *_: lock)"
    )
    assert libraries == ["numpy"]
    assert notices == (
        (
            "The setting numpy.errcall cannot travel to the ranks (cannot pickle '_thread.lock' object): make it in a "
            "set-up cell (%%multiproc --setup)"
        ),
    )
    done = python(f"{RECEIVE.format(sent=sent)}\nimport numpy as np\nprint(np.geterr()['over'], np.geterrcall())")
    assert done.stdout == "raise None\n"


def test_a_setting_that_a_rank_refuses_is_told() -> None:
    sent, _, _ = sent_by("import locale\nlocale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')")
    refuse = (
        "import locale\ndef setlocale(*_): raise locale.Error('unsupported locale setting')\n"
        "locale.setlocale = setlocale\n"
    )
    done = python(f"{refuse}{RECEIVE.format(sent=sent)}\nprint('goes on')")
    assert done.stdout == "goes on\n"
    assert done.stderr.splitlines()[-1] == (
        "nblaunch: the notebook's setting locale.LC_NUMERIC cannot be made in this rank (Error: unsupported locale "
        "setting); --no-settings leaves all of them out"
    )


def test_a_library_that_keeps_them_elsewhere_is_told() -> None:
    _, _, notices = sent_by("import sys, types\nsys.modules['sklearn'] = types.ModuleType('sklearn')")
    assert notices == (
        (
            "The settings of sklearn cannot be read here (module 'sklearn' has no attribute 'get_config'): make "
            "them in a set-up cell (%%multiproc --setup)"
        ),
    )


def test_reading_them_warns_of_nothing() -> None:
    pytest.importorskip("polars")
    strict = "import polars, warnings\nwarnings.simplefilter('error')\n"
    _, libraries, notices = sent_by(f"{strict}polars.Config.set_tbl_rows(3)")
    assert ("polars" in libraries, notices) == (True, ())
    assert "polars" not in sent_by(strict)[1]


def test_every_setting_is_named_once() -> None:
    modules: list[Any] = [library.module for library in LIBRARIES]
    assert len(modules) == len(set(modules))
