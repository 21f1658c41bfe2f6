"""The document of a run as pictures: every sample a dot, the median a line, on a card that is light everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["draw"]

INK, PAPER, GRID = "#24292f", "#ffffff", "#d0d7de"
COLOURS = {"nblaunch": "#cf4a1f", "peer": "#3b6ea8", "limit": "#2f2f2f", "reference": "#8a8f98"}
ROLES = {"nblaunch": "nblaunch", "peer": "peer", "limit": "limit of the system", "reference": "for comparison"}
AXES = {"s": "seconds, logarithmic", "MB": "MB of private memory (USS)"}


def draw(document: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what there is and return the files: one per work, and launches by number of ranks."""
    import matplotlib

    matplotlib.use("Agg")
    files = []
    for work in document["works"]:
        picture = _lines(work) if work["name"] == "scaling" else _dots(work)
        if picture is None:
            continue
        file = folder / f"{work['name']}.png"
        picture.savefig(file, dpi=144, facecolor=PAPER, metadata={"Software": None})
        files.append(file)
    import matplotlib.pyplot

    matplotlib.pyplot.close("all")
    return files


def _measured(case: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(
        (outcome for outcome in case["outcomes"] if outcome["samples"]), key=lambda each: each["summary"]["median"]
    )


def _dots(work: dict[str, Any]) -> Any:
    import matplotlib.pyplot

    from benchmarks.table import in_words

    cases = [(case, _measured(case)) for case in work["cases"]]
    cases = [(case, outcomes) for case, outcomes in cases if outcomes]
    if not cases:
        return None
    heights = [len(outcomes) + 1.2 for _, outcomes in cases]
    picture, axes = matplotlib.pyplot.subplots(
        len(cases),
        1,
        figsize=(8.5, 0.34 * sum(heights) + 1.1),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (case, outcomes) in zip(axes[:, 0], cases, strict=True):
        for row, outcome in enumerate(reversed(outcomes)):
            colour = COLOURS[outcome["role"]]
            median = outcome["summary"]["median"]
            axis.scatter(outcome["samples"], [row] * len(outcome["samples"]), s=14, color=colour, alpha=0.35, lw=0)
            axis.plot([median, median], [row - 0.32, row + 0.32], color=colour, lw=2.5)
            axis.annotate(
                in_words(median, case["unit"]),
                (max(outcome["samples"]), row),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=colour,
            )
        axis.set_yticks(range(len(outcomes)), [outcome["contender"] for outcome in reversed(outcomes)], fontsize=9)
        for label, outcome in zip(axis.get_yticklabels(), reversed(outcomes), strict=True):
            label.set_color(COLOURS[outcome["role"]])
            label.set_fontweight("bold" if outcome["role"] == "nblaunch" else "normal")
        axis.set_ylim(-0.6, len(outcomes) - 0.4)
        if case["unit"] == "s":
            axis.set_xscale("log")
            _show_whole_decades(axis, outcomes)
        else:
            axis.set_xlim(0, 1.15 * max(max(outcome["samples"]) for outcome in outcomes))
        _plain(axis)
        axis.set_title(case["label"], fontsize=9, loc="left", color=INK)
    axes[-1, 0].set_xlabel(f"{AXES[cases[-1][0]['unit']]}; dots: samples, bar: median; further left is better")
    picture.suptitle(work["title"], fontsize=11, color=INK)
    _legend(picture, {outcome["role"] for _, outcomes in cases for outcome in outcomes})
    return picture


def _show_whole_decades(axis: Any, outcomes: list[dict[str, Any]]) -> None:
    import math

    from matplotlib.ticker import FuncFormatter, NullFormatter

    from benchmarks.table import in_words

    samples = [sample for outcome in outcomes for sample in outcome["samples"]]
    low, high = math.floor(math.log10(min(samples))), math.ceil(math.log10(max(samples) * 1.5))
    axis.set_xlim(10**low, 10**high)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda number, _: in_words(number, "s")))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _lines(work: dict[str, Any]) -> Any:
    import matplotlib.pyplot
    from matplotlib.ticker import FuncFormatter

    from benchmarks.table import in_words

    points: dict[tuple[str, str], dict[int, float]] = {}
    for case in work["cases"]:
        for outcome in _measured(case):
            number = int(case["label"].split()[0])
            points.setdefault((outcome["contender"], outcome["role"]), {})[number] = outcome["summary"]["median"]
    if not points:
        return None
    picture, axis = matplotlib.pyplot.subplots(figsize=(8.5, 4.6), layout="constrained")
    styles = iter(("--", ":", "-."))
    for (name, role), medians in points.items():
        style = "-" if role in ("nblaunch", "limit") else next(styles)
        axis.plot(
            list(medians), list(medians.values()), style, marker="o", ms=4, lw=1.8, color=COLOURS[role], label=name
        )
    ranks = sorted({number for medians in points.values() for number in medians})
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(ranks, [str(number) for number in ranks])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda number, _: in_words(number, "s")))
    axis.set_xlabel("ranks, logarithmic")
    axis.set_ylabel("median of the whole launch, logarithmic")
    _plain(axis)
    axis.set_title(work["title"], fontsize=11, color=INK)
    axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return picture


def _plain(axis: Any) -> None:
    axis.set_axisbelow(True)
    axis.grid(axis="x", color=GRID, lw=0.7)
    axis.minorticks_off()
    axis.tick_params(colors=INK, labelsize=8.5, length=0)
    axis.xaxis.label.set(color=INK, size=9)
    axis.yaxis.label.set(color=INK, size=9)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GRID)


def _legend(picture: Any, roles: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLOURS[role], lw=2.5, label=ROLES[role]) for role in COLOURS if role in roles]
    picture.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8, labelcolor=INK
    )
