"""The table of faults and how often each was tried."""

from __future__ import annotations

from tests.chaos.driver import Driver

__all__ = ["table"]

_COLUMNS = ("idle", "start", "run", "result", "exit", "–")


def table(driver: Driver, where: str, seconds: float) -> str:
    """Return what was done, as Markdown."""
    faults = sorted({fault for fault, _ in driver.counts}, key=str.lower)
    lines = [
        f"{driver.runs} runs of seed {driver.seed} in {seconds / 60:.0f} minutes; {where}.",
        "",
        f"| fault | {' | '.join(_COLUMNS[:-1])} | in all |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    for fault in faults:
        counts = [driver.counts[fault, moment] for moment in _COLUMNS[:-1]]
        total = sum(count for (name, _), count in driver.counts.items() if name == fault)
        lines.append(f"| {fault} | {' | '.join(str(count or '') for count in counts)} | {total} |")
    lines += ["", f"By start method, form and number of ranks: {_listed(driver.forms)}.", ""]
    lines += [f"How the runs ended: {_listed(driver.endings)}.", ""]
    if driver.attempts:
        of_runs = ", ".join(f"{number} in {count} runs" for number, count in sorted(driver.attempts.items()))
        lines += [f"Attempts of those with --max-restarts: {of_runs}.", ""]
    if driver.endings["kernel killed"]:
        lines.append(
            f"The longest that anything was left after a kernel had been killed: {driver.longest_farewell:.2f} s."
        )
    return "\n".join(lines).rstrip() + "\n"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]) if count)
