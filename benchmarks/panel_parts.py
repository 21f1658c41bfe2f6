"""What is measured of the panel, part by part."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.panel_figures import Seen
from benchmarks.panel_lab import AFTERWARDS, PANEL, PATIENCE, PAUSE, Lab
from tests.kernel import Kernel

__all__ = ["WORKS", "Sizes"]

HERD = 0.75  # seconds in which hundreds of ranks that have been woken at once get going

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
                # the value is not shown, which would be another output
                reply = kernel.run(f"%%multiproc 4{options}\nrank;")
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
