"""Settings of libraries that the notebook has changed hold in its ranks too."""

from __future__ import annotations

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture
def methods() -> tuple[str, ...]:
    return ("zygote", "spawn", "fork")


def test_numbers_are_computed_and_printed_as_in_the_notebook(kernel: Kernel, methods: tuple[str, ...]) -> None:
    kernel.run(
        "import csv, decimal, locale, socket, sys\nimport numpy as np, pandas as pd, sklearn\n"
        "before = (decimal.getcontext().copy(), sys.getrecursionlimit(), np.geterr(), np.get_printoptions())\n"
        "decimal.getcontext().prec = 50; decimal.getcontext().rounding = 'ROUND_DOWN'\n"
        "sys.setrecursionlimit(4321); sys.set_int_max_str_digits(9999); csv.field_size_limit(200_000)\n"
        "socket.setdefaulttimeout(7.5); locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')\n"
        "np.seterr(divide='raise', under='warn'); np.set_printoptions(precision=3, suppress=True)\n"
        "pd.set_option('display.max_rows', 7, 'display.float_format', lambda x: f'<{x:.1f}>')\n"
        "sklearn.set_config(transform_output='pandas')\n"
        "frame = pd.DataFrame({'a': [1.25]}); array = np.array([1.23456789])\n"
        "def look():\n"
        "    from sklearn.preprocessing import StandardScaler\n"
        "    try: np.ones(1) / 0\n"
        "    except FloatingPointError as error: raised = str(error)\n"
        "    else: raised = None\n"
        "    return (str(decimal.Decimal(2) / 3), sys.getrecursionlimit(), sys.get_int_max_str_digits(),"
        " csv.field_size_limit(), socket.getdefaulttimeout(), locale.setlocale(locale.LC_NUMERIC), raised, np.geterr(),"
        " repr(array), repr(frame), pd.get_option('display.max_rows'),"
        " type(StandardScaler().fit_transform(frame)).__name__)\n"
        "expected = look()"
    ).ok()
    for method in methods:
        kernel.run(f"%%multiproc 2 --start-method {method}\nlook()").ok()
        assert kernel.value("[value == expected for value in results.values()]") == [True, True], method
    kernel.run("%%multiproc 1 --no-settings\ndecimal.getcontext().prec, np.geterr()['divide']").ok()
    assert kernel.value("results") == {0: (28, "warn")}
    kernel.run("%config Multiproc.settings = False").ok()
    kernel.run("%%multiproc 1\ndecimal.getcontext().prec").ok()
    assert kernel.value("results") == {0: 28}
    assert "settings       are not made in the ranks" in kernel.run("%multiproc doctor").ok().stdout
    kernel.run("%config Multiproc.settings = True").ok()
    assert "numpy.errstate={'divide': 'raise', 'under': 'warn'}" in kernel.run("%multiproc doctor").ok().stdout
    kernel.run(
        "decimal.setcontext(before[0]); sys.setrecursionlimit(before[1]); np.seterr(**before[2])\n"
        "np.set_printoptions(**before[3]); sys.set_int_max_str_digits(4300); csv.field_size_limit(131072)\n"
        "socket.setdefaulttimeout(None); locale.setlocale(locale.LC_NUMERIC, 'C')\n"
        "pd.reset_option('display.max_rows'); pd.reset_option('display.float_format')\n"
        "sklearn.set_config(transform_output='default')"
    ).ok()


@pytest.mark.torch
def test_torch(kernel: Kernel, methods: tuple[str, ...]) -> None:
    kernel.run(
        "import torch\n"
        "torch.set_default_dtype(torch.float64); torch.use_deterministic_algorithms(True, warn_only=True)\n"
        "torch.set_float32_matmul_precision('medium'); torch.set_printoptions(precision=2)\n"
        "torch.set_grad_enabled(False); torch.backends.cudnn.benchmark = True\n"
        "def look():\n"
        "    x = torch.ones(1, requires_grad=True) * 2\n"
        "    return (str(torch.ones(1).dtype), torch.are_deterministic_algorithms_enabled(),"
        " torch.get_float32_matmul_precision(), repr(torch.ones(1) / 3), x.requires_grad,"
        " torch.backends.cudnn.benchmark)\n"
        "expected = look()"
    ).ok()
    for method in methods:
        kernel.run(f"%%multiproc 2 --start-method {method}\nlook()").ok()
        assert kernel.value("[value == expected for value in results.values()]") == [True, True], method
    kernel.run(
        "torch.set_default_dtype(torch.float32); torch.use_deterministic_algorithms(False)\n"
        "torch.set_float32_matmul_precision('highest'); torch.set_printoptions(profile='default')\n"
        "torch.set_grad_enabled(True); torch.backends.cudnn.benchmark = False"
    ).ok()


def test_warnings_and_what_is_logged(kernel: Kernel) -> None:
    kernel.run(
        "import logging, warnings\nkept = warnings.filters[:]\n"
        "logging.basicConfig(level=logging.INFO, format='%(levelname)s <%(message)s>')\n"
        "logging.getLogger('loud').setLevel(logging.DEBUG)\n"
        "warnings.filterwarnings('error', category=UserWarning); warnings.filterwarnings('ignore', message='quiet')"
    ).ok()
    reply = kernel.run(
        "%%multiproc 1 --out job\nlogging.info('hello'); logging.getLogger('loud').debug('fine')\n"
        "warnings.warn('quiet please')\n"
        "try: warnings.warn('not me')\nexcept UserWarning as error: raised = str(error)\nraised"
    ).ok()
    assert kernel.value("(job.results, job.logs[0].stderr)") == ({0: "not me"}, "INFO <hello>\nDEBUG <fine>\n")
    # nothing of our own is logged for the user to see
    assert "logs go to" not in reply.stderr + reply.stdout
    kernel.run(
        "warnings.filters[:] = kept\nlogging.root.handlers.clear(); logging.root.setLevel(logging.WARNING)\n"
        "logging.getLogger('loud').setLevel(0)"
    ).ok()


def test_figures(kernel: Kernel) -> None:
    kernel.run("import matplotlib\nmatplotlib.rcParams['lines.linewidth'] = 7.5").ok()
    kernel.run(
        "%%multiproc 1\nimport matplotlib\nmatplotlib.rcParams['lines.linewidth'], matplotlib.get_backend()"
    ).ok()
    assert kernel.value("results[0][0]") == 7.5
    kernel.run("matplotlib.rcdefaults()").ok()
