"""`Host`: runs cases inside a kernel, in its own namespace and in ranks, and says what differs."""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from nblaunch import launch
from tests.differential.case import Case, parse
from tests.differential.describing import OPAQUE, describe
from tests.differential.renaming import with_own_names

__all__ = ["METHODS", "Host", "Looks"]

METHODS = ("zygote", "forkserver", "spawn", "fork")
_MOST_DIFFERENCES = 12


class Looks:
    """What one side has seen. The cells that `Host` makes call it, here and in ranks."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.returned: dict[str, object] = {}

    def look(self, key: str, value: Callable[[], object]) -> None:
        """Note what an expression is."""
        with self.step(key):
            self.seen[key] = describe(value())

    def back(self, key: str, value: Callable[[], object]) -> None:
        """Note a value that comes back."""
        with self.step(key):
            self.returned[key] = value()

    @contextlib.contextmanager
    def step(self, key: str) -> Iterator[None]:
        """Note what a statement raises."""
        try:
            yield
        except Exception as error:
            self.seen[key] = f"raises {type(error).__module__}.{type(error).__qualname__}: {error}"


@dataclass(frozen=True)
class _Set:
    """A case whose cells have been run."""

    number: int
    case: Case
    renamed: Case

    def looked_at(self) -> Iterator[tuple[str, str]]:
        """Return the keys under which `Looks` notes things, with what was looked at."""
        for i, text in enumerate(self.case.looks):
            yield f"{self.number}.{i}", text
        for i, text in enumerate(self.case.backs):
            yield f"{self.number}.back{i}", text


class Host:
    """Cases in the notebook that runs here.

    Parameters
    ----------
    shell : object
        IPython's.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._number = 0
        self._sets: list[_Set] = []
        self._ranks: dict[str, dict[int, list[tuple[dict[str, str], dict[str, object]]]]] = {}
        self._problems: list[str] = []
        self._failed: set[int] = set()

    def compare_kind(self, name: str, methods: Sequence[str] = METHODS) -> list[str]:
        """Compare the cases of ``tests.differential.cases.NAME``; see `compare`.

        Those of a module with ``ALONE`` are compared one by one, and keep their names.
        """
        module = import_module(f"tests.differential.cases.{name}")
        kind = parse(module.CASES)
        if not getattr(module, "ALONE", False):
            return self.compare(kind.cases, kind.imports, methods)
        problems = [self.compare([case], kind.imports, methods, own_names=False) for case in kind.cases]
        return [problem for found in problems for problem in found]

    def compare(
        self, cases: Sequence[Case], imports: str, methods: Sequence[str] = METHODS, own_names: bool = True
    ) -> list[str]:
        """Run cases here and in ranks that are started by each method; return what differs, in words.

        Parameters
        ----------
        cases : sequence of Case
            Those that this Python cannot run are left out.
        imports : str
            A cell that is run before all of them.
        methods : sequence of str
            How ranks are started.
        own_names : bool
            Whether names are made different for each case; otherwise there may be one case only.
        """
        self._sets, self._ranks, self._problems, self._failed = [], {}, [], set()
        before, flags = set(self._shell.user_ns), self._shell.compile.flags
        self._run(imports)
        for case in cases:
            if case.is_possible():
                self._set_up(case, own_names)
        for method in methods:
            self._ranks[method] = {}
            good = [one for one in self._sets if one.number not in self._failed]
            self._launch(method, [one for one in good if not one.case.refused])
        for one in self._sets:
            if one.case.refused:
                self._expect_refusal(one)
        self._compare_with_ranks()
        for name in set(self._shell.user_ns) - before:
            del self._shell.user_ns[name]
        self._shell.compile.flags = flags  # of cells that import from __future__
        return self._problems

    def _run(self, cell: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = self._shell.run_cell(cell, store_history=True)
        done.raise_error()

    def _set_up(self, case: Case, own_names: bool) -> None:
        self._number += 1
        one = _Set(self._number, case, with_own_names(case, self._number) if own_names else case)
        try:
            for cell in one.renamed.cells:
                self._run(cell)
        except Exception as error:
            self._object(one, "the notebook's cells fail", f"{type(error).__name__}: {error}")
        else:
            self._sets.append(one)

    def _object(self, one: _Set, what: str, detail: str) -> None:
        self._problems.append(f"{one.case.name}: {what}\n{detail}")

    # ---- in ranks

    def _launch(self, method: str, sets: Sequence[_Set]) -> None:
        """Look at cases in ranks; if that fails, at fewer at once, until it is known which do."""
        if not sets:
            return
        nprocs = 2 if method == "zygote" else 1
        try:
            run = launch(_cell(sets), nprocs, start_method=method, quiet=True, timeout=60.0)
        except Exception as error:
            failure = f"refused: {type(error).__name__}: {error}"
        else:
            if run.ok:
                for one in sets:
                    self._ranks[method][one.number] = [run.results[rank] for rank in range(nprocs)]
                return
            failure = "\n".join(f"rank {rank}: {what}" for rank, what in run.failures.items())
        if len(sets) == 1:
            self._failed.add(sets[0].number)
            self._object(sets[0], f"no value with {method}", failure[:2000])
            return
        self._launch(method, sets[: len(sets) // 2])
        self._launch(method, sets[len(sets) // 2 :])

    def _expect_refusal(self, one: _Set) -> None:
        try:
            run = launch(_cell([one]), 1, quiet=True, timeout=60.0)
        except Exception as error:
            if one.case.refused not in str(error):
                self._object(one, f"refused in other words than {one.case.refused!r}", f"{error}")
        else:
            failure = "".join(map(str, run.failures.values()))
            self._object(one, "was not refused", failure or str([result[0] for result in run.results.values()]))

    # ---- here

    def _compare_with_ranks(self) -> None:
        sets = [one for one in self._sets if not one.case.refused]
        for one in sets:
            here = Looks()
            namespace = self._shell.user_ns
            namespace["_looks"] = here
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(_steps(one), f"<{one.case.name}>", "exec", dont_inherit=True), namespace)
            self._compare_one(one, here)

    def _compare_one(self, one: _Set, here: Looks) -> None:
        told: dict[str, list[str]] = {}
        for key, text in one.looked_at():
            silent = [line.strip() for line in here.seen.get(key, "").splitlines() if OPAQUE in line]
            if silent:
                self._object(one, f"{text} says nothing", "\n".join(silent))
        for method, found in self._ranks.items():
            for rank, (seen, returned) in enumerate(found.get(one.number, [])):
                for key, text in one.looked_at():
                    difference = _difference(here.seen.get(key, ""), seen.get(key, ""))
                    if not difference and key in here.returned:
                        difference = _return_difference(here.returned[key], returned.get(key))
                    if difference:
                        told.setdefault(f"{text}\n{difference}", []).append(f"{method} {rank}")
        for difference, where in told.items():
            self._object(one, f"differs with {', '.join(where)}", difference)


def _cell(sets: Sequence[_Set]) -> str:
    lines = ["from tests.differential.host import Looks as _Looks", "_looks = _Looks()"]
    lines += [_steps(one) for one in sets]
    return "\n".join([*lines, "(_looks.seen, _looks.returned)"])


def _steps(one: _Set) -> str:
    lines = []
    for i, text in enumerate(one.renamed.looks):
        key = f"{one.number}.{i}"
        try:
            compile(text, "<look>", "eval")
        except SyntaxError:
            inner = "\n".join(f"    {line}" for line in text.splitlines())
            lines.append(f"with _looks.step({key!r}):\n{inner}")
        else:
            lines.append(f"_looks.look({key!r}, lambda: ({text}))")
    for i, text in enumerate(one.renamed.backs):
        lines.append(f"_looks.back({f'{one.number}.back{i}'!r}, lambda: ({text}))")
    return "\n".join(lines)


def _difference(here: str, there: str) -> str:
    if here == there:
        return ""
    # one object more changes the numbers of all that follow: they are shown only where nothing else differs
    for pattern in (r"#\d+ ?", r"$^"):
        before, after = (re.sub(pattern, "", text).splitlines() for text in (here, there))
        lines = difflib.unified_diff(before, after, lineterm="", n=0)
        shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        if shown:
            break
    return "\n".join(f"    {line[:300]}" for line in shown[:_MOST_DIFFERENCES])


def _return_difference(own: object, returned: object) -> str:
    if isinstance(own, type) and own is not returned:
        return f"    {own!r} comes back as another class"
    if type(own) is not type(returned):
        return f"    comes back as {type(returned)!r}, not {type(own)!r}"
    return _difference(describe(own), describe(returned))


def host() -> Host:
    """Return the one of this kernel."""
    return Host(sys.modules["IPython"].get_ipython())
