"""``python -m tests.chaos``, behind ``make chaos``: many chaotic runs, and a table of what was done to them."""

from __future__ import annotations

import argparse
import platform
import random
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path

from tests.chaos.driver import run_all
from tests.chaos.table import table


def main() -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaotic runs in a real kernel.")
    parser.add_argument("--runs", type=int, default=150, help="how many (default: 150)")
    parser.add_argument("--seed", type=int, help="what they are drawn from (default: another one each time)")
    parser.add_argument("--only", type=int, help="the number of a single run")
    parser.add_argument("--table", type=Path, help="file for the table of what was done")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    # or the kernel, which leads a session of its own, would stay
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    numbers = range(chosen.runs) if chosen.only is None else [chosen.only]
    driver, failed = run_all(seed, numbers, lambda line: print(line, flush=True))
    where = (
        f"nblaunch {version('nblaunch')}, Python {platform.python_version()}, ipykernel {version('ipykernel')}, "
        f"IPython {version('ipython')}, Linux {platform.release()}"
    )
    text = table(driver, where, time.monotonic() - began)
    print(text)
    if chosen.table is not None:
        chosen.table.parent.mkdir(parents=True, exist_ok=True)
        chosen.table.write_text(text, encoding="utf-8")
    if failed:
        print(f"{len(failed)} of {driver.runs + len(failed)} runs of seed {seed} failed:", file=sys.stderr)
        for message in failed:
            print(f"  {message.splitlines()[0]}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
