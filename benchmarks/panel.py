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
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.document import summary
from benchmarks.panel_parts import WORKS, Sizes
from benchmarks.panel_server import open_lab
from benchmarks.table import in_words

__all__ = ["main"]

VERSIONS = ("nblaunch", "anywidget", "ipykernel", "ipython", "ipywidgets", "jupyterlab", "playwright")


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
    with open_lab() as (lab, document["chromium"]):
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
