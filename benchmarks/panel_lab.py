"""A notebook that is open in a browser: its page notes what it sees of a run and when, and is read afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.panel_figures import Figures, Seen

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["AFTERWARDS", "PANEL", "PATIENCE", "PAUSE", "READY", "Lab"]

PANEL = ".nbl-panel"
PATIENCE = 120.0  # seconds
PAUSE = 1.0  # seconds before a sample
AFTERWARDS = 0.4  # seconds that are looked at after ranks have done their work

# What the page notes; times are milliseconds since the epoch.
IN_PAGE = r"""() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const bench = { frames: [], long: [] };
    const frame = () => {
        bench.frames.push(performance.now());
        requestAnimationFrame(frame);
    };
    const look = (node) => {
        // what the run before has left
        if ((node.closest ? node : node.parentElement)?.closest(".nblaunch-earlier")) return;
        if (node.querySelector?.(".nblaunch-earlier") && !node.querySelector(".nbl-panel")) return;
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
