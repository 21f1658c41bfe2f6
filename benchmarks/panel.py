"""``python -m benchmarks.panel``: the live panel in a real JupyterLab and a real Chromium, measured by the page itself.

::

    cell ─► JupyterLab ─► kernel ─► ranks: write lines that say when they were written
                                      │
    numbers ◄─ page: notes when each of them is in the document, all animation frames, clicks, the cell's end

Page, ranks and this program are on one machine, and so read the same clock. While something is measured nobody asks
the page anything: it notes what it sees and is read afterwards. Ranks wait for locks on files and not in loops, so that
256 of them cost nothing until they are let go.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fcntl
import itertools
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from benchmarks import machine
from benchmarks.document import summary
from benchmarks.table import in_words
from tests.kernel import Kernel

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["main"]

PANEL = ".nbl-panel"
PATIENCE = 120.0  # seconds
PAUSE = 1.0  # seconds before a sample
HERD = 0.75  # seconds in which hundreds of ranks that have been woken at once get going
AFTERWARDS = 0.4  # seconds that are looked at after ranks have done their work
VERSIONS = ("nblaunch", "anywidget", "ipykernel", "ipython", "ipywidgets", "jupyterlab", "playwright")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)

# What the page notes; times are milliseconds since the epoch.
IN_PAGE = r"""() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const bench = { frames: [], long: [] };
    const frame = () => {
        bench.frames.push(performance.now());
        requestAnimationFrame(frame);
    };
    const look = (node) => {
        for (const [, name, written] of (node.textContent ?? "").matchAll(/@(\w+) (\d+\.\d+)@/g)) {
            bench.marks[name] ??= [1000 * Number(written), Date.now()];
        }
        if (!bench.widget && node.querySelector?.(".nbl-panel")) bench.widget = Date.now();
    };
    bench.begin = (source) => {
        Object.assign(bench, { marks: {}, frames: [], long: [], widget: 0, clicked: 0, idle: 0 });
        bench.offset = Date.now() - performance.now();
        bench.over = new Promise((resolve) => (bench.end = resolve));
        panel.content.activeCellIndex = 0;
        panel.content.widgets[0].model.sharedModel.setSource(source);
        bench.asked = Date.now();
        void window.jupyterapp.commands.execute("notebook:run-cell");
    };
    bench.take = () => {
        const { marks, asked, widget, clicked, idle, offset, long } = bench;
        return { marks, asked, widget, clicked, idle, long, frames: bench.frames.map((at) => at + offset) };
    };
    new MutationObserver((records) => {
        for (const { type, target, addedNodes } of records) {
            if (type === "characterData") look(target);
            else addedNodes.forEach(look);
        }
    }).observe(panel.content.node, { subtree: true, childList: true, characterData: true });
    document.addEventListener("click", () => (bench.clicked ||= Date.now()), true);
    panel.sessionContext.session.kernel.iopubMessage.connect((_, { header, parent_header: parent, content }) => {
        if (header.msg_type !== "status" || content.execution_state !== "idle") return;
        if (parent.msg_type !== "execute_request" || bench.idle) return;
        bench.idle = Date.now();
        bench.end?.();
    });
    new PerformanceObserver((list) => {
        for (const { startTime, duration, scripts } of list.getEntries()) {
            const parts = scripts.map((script) => [Math.round(script.duration), script.invoker]);
            bench.long.push([startTime + bench.offset, Math.round(duration), parts]);
        }
    }).observe({ type: "long-animation-frame" });
    window.bench = bench;
    requestAnimationFrame(frame);
}"""
READY = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.status === "idle";
}"""

# What ranks use.
PRELUDE = """
import fcntl, os, signal, sys, threading, time
def mark(name):
    print(f"@{name} {time.time():.6f}@")
def arrive(place):
    with open(place, "ab", buffering=0) as file:
        file.write(b".")
def wait(place):
    with open(place) as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
"""
TEXT = """
if rank == 0:
    import random
    pauses = random.Random(2)
    for number in range(LINES):
        time.sleep(pauses.uniform(0.04, 0.24))
        mark(f"line{number}")
"""
FLOOD = """
began = time.monotonic()
for number in range(LINES):
    if number % 500 == 0:
        time.sleep(max(0.0, began + 2.0 * number / LINES - time.monotonic()))
    print(f"step {number:6d} {'x' * 67}")
mark(f"last{rank}")
"""
MANY = """
began = time.monotonic() + PERIOD * rank / world_size
for number in range(round(SECONDS / PERIOD)):
    time.sleep(max(0.0, began + PERIOD * number - time.monotonic()))
    print(f"step {number:6d} of rank {rank}")
mark(f"last{rank}")
"""
UNTIL_STOPPED = """
mark(f"pid{os.getpid()}")
threading.Event().wait()
"""
AT_ONCE = "signal.signal(signal.SIGINT, lambda *_: os._exit(130))"


@dataclass
class Sizes:
    """How much is measured."""

    rounds: int = 5
    lines: int = 50
    flood: int = 200_000
    many: int = 256
    seconds: float = 5.0
    quick_cells: int = 25


@dataclass
class Row:
    """A figure: what it is, what is to be reached, and what was seen."""

    text: str
    unit: str = "s"
    bound: float | None = None
    samples: list[float] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Whether all samples are within the bound, or only the median, or not even that."""
        found = summary(self.samples)
        if self.bound is None or found is None:
            return ""
        return "✓" if found["most"] < self.bound else "median ✓" if found["median"] < self.bound else "✗"


class Figures:
    """All figures, in the order in which they were first asked for."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.busy: list[float] = []
        self.notes: list[dict[str, Any]] = []

    def add(self, text: str, *samples: float, unit: str = "s", bound: float | None = None) -> None:
        """Add samples."""
        self.rows.setdefault(text, Row(text, unit, bound)).samples += samples


@dataclass
class Seen:
    """What the page and the system have seen of one run; times are seconds since the epoch."""

    written: dict[str, float]
    shown: dict[str, float]
    frames: list[float]
    long: list[Any]
    asked: float
    widget: float
    clicked: float
    idle: float
    work: dict[str, float]
    window: tuple[float, float] = (0.0, 0.0)

    def delays(self, name: str) -> list[float]:
        """Return how long marks took from the rank into the document; those that never came are an error."""
        found = [self.shown[key] - self.written[key] for key in self.shown if key.startswith(name)]
        if not found:
            raise RuntimeError(f"no mark {name!r} was seen; seen were {sorted(self.shown)[:10]}")
        return found

    def longest_gap(self, start: float, end: float) -> float:
        """Return the longest time between two animation frames that reaches into a window."""
        pairs = itertools.pairwise([*self.frames, end])
        return max(after - before for before, after in pairs if after > start and before < end)


class Gate:
    """A file that ranks wait for, locked until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def open(self) -> None:
        """Let everybody go."""
        self._file.close()


class Lab:
    """A notebook of one cell, open in a browser.

    Parameters
    ----------
    page : Page
        Shows it.
    server : psutil.Process
        JupyterLab.
    folder : Path
        For gates.
    """

    def __init__(self, page: Page, server: psutil.Process, folder: Path) -> None:
        self.page = page
        self.figures = Figures()
        self._server, self._folder = server, folder
        self._number = 0
        self._kernel: psutil.Process | None = None
        self._before: dict[str, float] = {}
        page.evaluate(IN_PAGE)
        self.prepare()

    def prepare(self) -> None:
        """Load nblaunch into a kernel that has just started."""
        self.begin("%load_ext nblaunch" + PRELUDE)
        self.page.evaluate("bench.over")
        children = self._server.children()
        self._kernel = next(child for child in children if "ipykernel_launcher" in " ".join(child.cmdline()))

    def restart(self) -> None:
        """Restart the kernel."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
        self.page.wait_for_function(READY)
        self.prepare()

    def begin(self, cell: str) -> None:
        """Run a cell; does not wait for it."""
        self._before = self._work()
        self.page.evaluate("source => bench.begin(source)", cell)

    def finish(self) -> Seen:
        """Wait for the end of the cell and return what was seen."""
        self.page.evaluate("bench.over")
        after = self._work()
        # the record comes with the cell's end, its frames after it
        time.sleep(0.5)
        took = {name: after[name] - self._before[name] for name in after}
        got = self.page.evaluate("bench.take()")
        marks = got["marks"].items()
        return Seen(
            written={name: written / 1e3 for name, (written, _) in marks},
            shown={name: shown / 1e3 for name, (_, shown) in marks},
            frames=[at / 1e3 for at in got["frames"]],
            work=took,
            long=[[at / 1e3, *rest] for at, *rest in got["long"]],
            **{name: got[name] / 1e3 for name in ("asked", "widget", "clicked", "idle")},
        )

    def gated(self, ranks: int, work: str, options: str = "") -> Seen:
        """Run a cell whose ranks do their work together once all are there, and end when all are through."""
        self._number += 1
        place = self._folder / f"run{self._number}"
        place.mkdir()
        go, end = Gate(place / "go"), Gate(place / "end")
        here, through = place / "here", place / "through"
        cell = f"""%%multiproc {ranks} {options}
arrive({str(here)!r})
wait({str(go.path)!r})
{work}
arrive({str(through)!r})
wait({str(end.path)!r})"""
        self.breathe()
        self.begin(cell)
        _wait_until(lambda: _size(here) == ranks, "the ranks to start")
        if "--no-panel" not in options:
            self.page.wait_for_selector(PANEL)
        time.sleep(1.0)
        began = time.time()
        go.open()
        _wait_until(lambda: _size(through) == ranks, "the ranks to be through")
        time.sleep(AFTERWARDS)
        ended = time.time()
        end.open()
        seen = self.finish()
        seen.window = began, ended
        shutil.rmtree(place)
        return seen

    def breathe(self) -> None:
        """Leave the machine the time for what an earlier run has left to do, and note how busy others keep it."""
        time.sleep(PAUSE)
        self.figures.busy.append(psutil.cpu_percent(0.5))

    def _work(self) -> dict[str, float]:
        browser = [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]
        kernel = [self._kernel] if self._kernel else []
        found = {"kernel": 0.0, "server": 0.0, "browser": 0.0}
        for name, processes in zip(found, (kernel, [self._server], browser), strict=True):
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    found[name] += times.user + times.system
        return found


# ---- what is measured


def first_widget(lab: Lab, sizes: Sizes) -> None:
    """Measure from the request to the widget in the document, also in kernels that have not shown one."""
    cold, warm = "first widget of a kernel: request to widget in the page", "later widgets: the same"
    for round_ in range(min(3, sizes.rounds)):
        if round_:
            lab.restart()
        for text in (cold, warm, warm):
            seen = lab.gated(4, "")
            lab.figures.add(text, seen.widget - seen.asked)


def text_appears(lab: Lab, sizes: Sizes) -> None:
    """Measure when lines of random moments appear."""
    seen = lab.gated(4, TEXT.replace("LINES", str(sizes.lines)))
    delays = seen.delays("line")
    if len(delays) != sizes.lines:
        raise RuntimeError(f"{len(delays)} of {sizes.lines} lines were seen")
    lab.figures.add("text appears: rank's write to document, cell blocks", *delays, bound=0.25)


def stop(lab: Lab, sizes: Sizes) -> None:
    """Measure from the click on Stop on."""
    for _ in range(sizes.rounds):
        for how, first in (("ranks that wait", ""), ("ranks that exit in their handler", AT_ONCE)):
            lab.breathe()
            lab.begin(f"%%multiproc 4 --grace 60\n{first}{UNTIL_STOPPED}")
            lab.page.wait_for_function("Object.keys(bench.marks).length === 4")
            pids = [int(name[3:]) for name in lab.page.evaluate("Object.keys(bench.marks)")]
            lab.page.hover(f"{PANEL} .nbl-stop")
            time.sleep(1.0)
            with _ends(pids) as ended:
                lab.page.mouse.down()
                lab.page.mouse.up()
                gone = ended()
            seen = lab.finish()
            lab.figures.add(f"Stop, {how}: click to all 4 ranks gone", max(gone) - seen.clicked, bound=0.3)
            lab.figures.add(f"Stop, {how}: click to cell idle", seen.idle - seen.clicked, bound=0.3)


def flood(lab: Lab, sizes: Sizes) -> None:
    """Measure many long lines from 4 ranks, beside the same without a panel."""
    work = FLOOD.replace("LINES", str(sizes.flood // 4))
    add, name = lab.figures.add, f"{sizes.flood:,} lines from 4 ranks"
    for _ in range(sizes.rounds):
        seen, without = lab.gated(4, work), lab.gated(4, work, "--no-panel")
        start = seen.window[0]
        end = max(seen.shown.values()) + 0.1
        add(f"{name}: last line's write to document", *seen.delays("last"), bound=0.25)
        add(f"{name}: longest frame gap", seen.longest_gap(start, end), bound=0.1)
        add(f"{name}: longest frame gap, no panel", without.longest_gap(*without.window))
        add(f"{name}: longest frame gap, record included", seen.longest_gap(start, seen.idle + AFTERWARDS))
        add(f"{name}: kernel CPU, whole run", seen.work["kernel"], bound=0.5)
        add(f"{name}: kernel CPU, whole run, no panel", without.work["kernel"])
        add(f"{name}: server CPU", seen.work["server"])
        add(f"{name}: browser CPU", seen.work["browser"])
        add(f"{name}: lasted, of 2 s", seen.window[1] - seen.window[0] - AFTERWARDS)
        _note_long(lab, name, seen)


def many_ranks(lab: Lab, sizes: Sizes) -> None:
    """Measure the dense map under load, beside the same without a panel and beside ranks that only wait."""
    period = sizes.many / 10_000
    work = MANY.replace("PERIOD", repr(period)).replace("SECONDS", repr(sizes.seconds))
    add, name = lab.figures.add, f"{sizes.many} ranks, together 10,000 lines/s"
    idle = f"time.sleep({sizes.seconds})"
    for _ in range(min(3, sizes.rounds)):
        seen, without = lab.gated(sizes.many, work), lab.gated(sizes.many, work, "--no-panel")
        silent = lab.gated(sizes.many, idle)
        # without the moments at which this program wakes all ranks at once, and in which all are through at once
        runs = (("", seen, 0.15), (", no panel (limit)", without, None), (", ranks silent", silent, None))
        for which, run, bound in runs:
            start = run.window[0]
            gap = run.longest_gap(start + HERD, start + sizes.seconds - HERD)
            add(f"{name}: longest frame gap{which}", gap, bound=bound)
        for which, run, _ in runs:
            add(f"{name}: the same with all woken at once{which}", run.longest_gap(*run.window))
        add(f"{name}: last line's write to document", *seen.delays("last0"))
        add(f"{name}: kernel CPU, whole run", seen.work["kernel"])
        add(f"{name}: kernel CPU, whole run, no panel", without.work["kernel"])
        add(f"{name}: browser CPU, whole run", seen.work["browser"])
        add(f"{name}: browser CPU, whole run, no panel", without.work["browser"])
        add(f"{name}: lasted, of {sizes.seconds:g} s", seen.window[1] - seen.window[0] - AFTERWARDS)
        _note_long(lab, name, seen)


def quick_cell(lab: Lab, sizes: Sizes) -> None:
    """Measure a cell that ends at once, in a kernel without a frontend, with its record and without."""
    samples: dict[str, list[float]] = {"": [], " --no-panel": []}
    lab.breathe()
    with Kernel("live") as kernel:
        kernel.run("%load_ext nblaunch").ok()
        for _ in range(sizes.quick_cells + 1):
            for options, found in samples.items():
                # the next ranks are made ahead meanwhile
                time.sleep(PAUSE)
                began = time.perf_counter()
                reply = kernel.run(f"%%multiproc 4{options}\nrank")
                found.append(time.perf_counter() - began)
                if len(reply.ok().outputs) != (not options):
                    raise RuntimeError(f"with {options!r} the cell showed {len(reply.outputs)} outputs")
    # the first ones only warm up
    with_record, without = (found[1:] for found in samples.values())
    lab.figures.add("quick cell `rank` on 4 ranks, with its record: request to idle", *with_record)
    lab.figures.add("quick cell, --no-panel", *without)
    lab.figures.add(
        "quick cell: what the record takes (pairs)",
        *(one - other for one, other in zip(with_record, without, strict=True)),
    )


WORKS: dict[str, Callable[[Lab, Sizes], None]] = {
    "widget": first_widget,
    "text": text_appears,
    "stop": stop,
    "flood": flood,
    "many": many_ranks,
    "quick": quick_cell,
}


def _note_long(lab: Lab, name: str, seen: Seen) -> None:
    start, end = seen.window
    for at, duration, scripts in seen.long:
        if start < at < end + 0.5:
            note = {"during": name, "ms": duration, "seconds_in": round(at - start, 3), "scripts": scripts}
            lab.figures.notes.append(note)


# ---- the machinery


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:.0f} s in vain for {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def _ends(pids: list[int]) -> Iterator[Callable[[], list[float]]]:
    """Watch processes; give what returns the moments at which they ended."""

    def watch() -> list[float]:
        found = []
        deadline = time.monotonic() + PATIENCE
        while selector.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(selector.get_map())} ranks did not end within {PATIENCE:.0f} s")
            for key, _ in selector.select(1.0):
                found.append(time.time())
                selector.unregister(key.fileobj)
        return found

    with selectors.DefaultSelector() as selector, ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        for pid in pids:
            descriptor = os.pidfd_open(pid)
            stack.callback(os.close, descriptor)
            selector.register(descriptor, selectors.EVENT_READ)
        yield pool.submit(watch).result


@contextlib.contextmanager
def _server(home: Path, notebooks: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Start JupyterLab; give it and the address of the notebook's page."""
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (config / "page_config.json").write_text(json.dumps(quiet))
    environment = {name: value for name, value in os.environ.items() if name != "NBLAUNCH_PANEL"}
    environment |= {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"),
        *("--expose-app-in-browser", f"--ServerApp.root_dir={notebooks}"),
        *("--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
    ]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            address = _address(server.stderr)
            with subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL):
                yield psutil.Process(server.pid), address
                server.terminate()
        finally:
            server.terminate()


def _address(log: IO[str]) -> str:
    seen = []
    for line in log:
        seen.append(line)
        found = re.search(r"(http://127\.0\.0\.1:\d+/lab)\?token=(\w+)", line)
        if found:
            return f"{found[1]}/tree/panel.ipynb?reset&token={found[2]}"
    raise RuntimeError(f"JupyterLab did not start:\n{''.join(seen)}")


@contextlib.contextmanager
def _lab() -> Iterator[tuple[Lab, str]]:
    """Open the notebook; give it and the version of the browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no Chromium on this machine: the panel cannot be measured without one ('make browser')")
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "cell",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": "",
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [cell]}
    with tempfile.TemporaryDirectory(prefix="panel_") as name:
        home = Path(name)
        (home / "notebooks").mkdir()
        (home / "notebooks" / "panel.ipynb").write_text(json.dumps(notebook))
        with _server(home, home / "notebooks") as (server, address), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1100, "height": 900})
            page.set_default_timeout(1e3 * PATIENCE)
            page.goto(address)
            page.wait_for_function(READY)
            page.evaluate("window.jupyterapp.shell.collapseLeft()")
            yield Lab(page, server, home), browser.version
            page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
            browser.close()


# ---- what comes of it


def markdown(document: dict[str, Any]) -> str:
    """Return the document as a table."""
    where, packages = document["machine"], document["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in VERSIONS if name in packages)
    quick = "A quick run with small sizes, which says nothing about speed. " if document["quick"] else ""
    busy = document["busy_percent"]
    circumstances = (
        f"{quick}Measured on {document['date'][:10]}: {where['processor']}, {where['cores']} cores, "
        f"{where['memory_GiB']:g} GiB, {where['kernel']}, {where['python']}, Chromium {document['chromium']}, "
        f"{versions}. Load average before {where['load_before']:g}, after {document['load_after']:g}; before the "
        f"samples the machine was busy to {busy['median']:.0f} % (at most {busy['most']:.0f} %)."
    )
    lines = [
        circumstances,
        "",
        "| | to reach | | median | middle half | most | samples |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in document["rows"]:
        found, unit = row["summary"], row["unit"]
        bound = "" if row["bound"] is None else f"< {in_words(row['bound'], unit)}"
        verdict = "" if document["quick"] else row["verdict"]
        middle = f"{in_words(found['quartile_1'], unit)} – {in_words(found['quartile_3'], unit)}"
        cells = (row["text"], bound, verdict, in_words(found["median"], unit), middle, in_words(found["most"], unit))
        lines.append(f"| {' | '.join(cells)} | {found['number']} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=tuple(WORKS), help="may be repeated (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N", help="runs of each kind (default: 5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it run at all?")
    default = Path(__file__).parent / "results" / "panel.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="results; a table goes beside it")
    chosen = parser.parse_args()
    sizes = Sizes(1, 10, 20_000, 32, 2.0, 3) if chosen.quick else Sizes()
    sizes.rounds = chosen.rounds or sizes.rounds
    document: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "quick": chosen.quick,
        "machine": machine.describe(),
        "packages": machine.packages(),
    }
    with _lab() as (lab, document["chromium"]):
        for name in chosen.only or WORKS:
            sys.stderr.write(f"{name}\n")
            WORKS[name](lab, sizes)
        figures = lab.figures
    document["load_after"] = round(os.getloadavg()[0], 2)
    document["busy_percent"] = summary(figures.busy)
    document["rows"] = [
        {**vars(row), "summary": summary(row.samples), "verdict": row.verdict} for row in figures.rows.values()
    ]
    document["long_animation_frames"] = figures.notes
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    table = markdown(document)
    chosen.json.with_suffix(".md").write_text(table, encoding="utf-8")
    sys.stdout.write(table)


if __name__ == "__main__":
    main()
