"""Compare many programs drawn at random: ``python -m tests.differential --examples 20000 [--seed N]``."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.differential.at_random import compare_at_random
from tests.differential.kernels import kernel_that_compares


def main() -> int:
    """Compare, print what differs, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    chosen = parser.parse_args()
    print(f"{chosen.examples} programs, seed {chosen.seed}", flush=True)
    with kernel_that_compares() as kernel:
        problems = compare_at_random(kernel, chosen.examples, chosen.seed)
    print("\n\n".join(problems) or "all alike")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
