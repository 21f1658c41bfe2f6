"""``python -m benchmarks``: run the suite, or some of its works, and write results, tables and plots."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import (
    arrays_back,
    arrays_out,
    cell,
    death,
    function,
    idle_rank,
    imports,
    logs,
    machine,
    objects,
    plots,
    scaling,
    table,
)
from benchmarks.document import describe_work
from benchmarks.measuring import measure
from benchmarks.work import Figures, Outcome, Work

PEERS = ("nblaunch", "ipyparallel", "torch", "accelerate", "loky", "numpy", "ipython", "ipykernel")
WORKS = {
    "cell": cell.work,
    "function": function.work,
    "arrays_out": arrays_out.work,
    "arrays_back": arrays_back.work,
    "idle_rank": idle_rank.work,
    "scaling": scaling.work,
    "logs": logs.work,
    "death": death.work,
    "imports": imports.work,
    "objects": objects.work,
}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=tuple(WORKS), help="a work; may be repeated (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N", help="samples of each contender (default: 11; quick: 2)")
    parser.add_argument("--before", metavar="FOLDER", help="sources of another version, for `imports`")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: does it run at all?")
    parser.add_argument(
        "--json",
        type=Path,
        default=Path(__file__).parent / "results" / "results.json",
        metavar="PATH",
        help="where the results go; tables and plots go beside it (default: benchmarks/results/results.json)",
    )
    chosen = parser.parse_args()
    rounds = chosen.rounds or (2 if chosen.quick else 11)
    document: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "rounds": rounds,
        "quick": chosen.quick,
        "machine": machine.describe(),
        "packages": machine.packages(),
        "peers": PEERS,
        "works": [],
    }
    for name in chosen.only or WORKS:
        before = name == "imports" and chosen.before
        work = imports.against(os.path.abspath(chosen.before)) if before else WORKS[name](chosen.quick)
        document["works"].append(describe_work(work, _measured(work, rounds)))
        # after each of them, so that an interrupted run has what it got
        _write(document, chosen.json)
    print(chosen.json.with_name("table.md").read_text(encoding="utf-8"))


def _measured(work: Work, rounds: int) -> Figures:
    outcomes: dict[str, list[Outcome]] = {}
    for case in work.cases:
        _say(f"{work.name}: {case.label}")
        outcomes[case.label] = measure(case, rounds, _say)
        for outcome in outcomes[case.label]:
            if outcome.left_behind:
                left = "; ".join(outcome.left_behind)
                _say(f"    {outcome.entry.name}: left behind, and killed: {left}")
    figures = Figures(outcomes)
    work.derive(figures)
    return figures


def _write(document: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_name("table.md").write_text(table.targets(document), encoding="utf-8")
    path.with_name("figures.md").write_text(table.figures(document), encoding="utf-8")
    try:
        plots.draw(document, path.parent)
    except ImportError as error:
        _say(f"no plots: {error}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
