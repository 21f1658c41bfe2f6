"""The document of a run as Markdown: what had to be reached and what was; and every figure."""

from __future__ import annotations

from typing import Any

__all__ = ["figures", "in_words", "targets"]

DERIVED = "line"


def targets(document: dict[str, Any]) -> str:
    """Return the table of what had to be reached."""
    return "\n".join(
        [
            _circumstances(document),
            "",
            "| work | to reach | reached | | nblaunch | compared with |",
            "| --- | --- | --- | --- | --- | --- |",
            *(line for work in document["works"] for line in _targets(work, judge=not document["quick"])),
            "",
        ]
    )


def figures(document: dict[str, Any]) -> str:
    """Return the tables of everything that was measured."""
    lines = [_circumstances(document)]
    for work in document["works"]:
        lines += [
            "",
            f"### {work['name']}: {work['title']}",
            "",
            "| case | contender | median | middle half | samples |",
            "| --- | --- | --- | --- | --- |",
            *_figures(work),
        ]
    return "\n".join([*lines, ""])


def _circumstances(document: dict[str, Any]) -> str:
    machine, versions = document["machine"], document["packages"]
    named = [f"{name} {versions[name]}" for name in document["peers"] if name in versions]
    quick = "A quick run with small sizes, which says nothing about speed. " if document["quick"] else ""
    return (
        f"{quick}Measured on {document['date'][:10]}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_GiB']:g} GiB, {machine['kernel']}, {machine['python']}, {', '.join(named)}. "
        f"Medians (and middle halves) of up to {document['rounds']} rounds, in which the contenders took turns."
    )


def _targets(work: dict[str, Any], judge: bool) -> list[str]:
    lines = []
    for number, target in enumerate(work["targets"]):
        mark = {True: "✓", False: "✗", None: "–"}[target["met"] if judge else None]
        reached = "not measured" if target["reached"] is None else _number(target["reached"], target["unit"])
        if target["doubtful"]:
            reached += " (beats a limit: measured wrongly)"
        of = _side(target["of"])
        against = f"{target['against']['entry']}: {_side(target['against'])}" if target["against"] else ""
        title = work["title"] if number == 0 else ""
        lines.append(_row(title, target["text"], reached, mark, of, against))
    return lines


def _side(side: dict[str, Any]) -> str:
    if side["summary"] is None:
        return "not measured"
    if side["case"] == DERIVED:
        return str(side["figure"])
    name = "" if side["figure"] == "value" else f", {side['figure']}"
    return f"{in_words(side['summary']['median'], side['unit'])} ({_range(side['summary'], side['unit'])}){name}"


def _range(summary: dict[str, float], unit: str) -> str:
    return f"{in_words(summary['quartile_1'], unit)} – {in_words(summary['quartile_3'], unit)}"


def _figures(work: dict[str, Any]) -> list[str]:
    lines = []
    for case in work["cases"]:
        for outcome in case["outcomes"]:
            name, where = outcome["contender"], case["label"]
            if outcome["summary"] is not None:
                lines.append(_measured(where, name, case["unit"], outcome["summary"]))
            for part, detail in outcome["details"].items():
                unit = "MB/s" if part == "MB/s" else case["unit"]
                lines.append(_measured(where, f"{name}: {part}", unit, detail["summary"]))
            if outcome["problem"]:
                lines.append(_row(where, name, outcome["problem"], "", ""))
            if outcome["left_behind"]:
                lines.append(_row(where, name, f"left {len(outcome['left_behind'])} processes behind", "", ""))
    by_entry: dict[str, list[str]] = {}
    for derived in work["derived"]:
        by_entry.setdefault(derived["entry"], []).append(f"{derived['figure']}: {derived['number']:.4g}")
    lines += [_row(DERIVED, entry, "; ".join(numbers), "", "") for entry, numbers in by_entry.items()]
    return lines


def _measured(where: str, name: str, unit: str, summary: dict[str, float]) -> str:
    return _row(where, name, in_words(summary["median"], unit), _range(summary, unit), str(summary["number"]))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _number(number: float, unit: str) -> str:
    if unit == "×":
        return f"{number:.3g} ×" if number < 1000 else f"{number:.0f} ×"
    return in_words(number, unit)


def in_words(number: float, unit: str) -> str:
    """Return a figure with its unit; of seconds, below one, milliseconds."""
    if unit == "s" and abs(number) < 1:
        number, unit = number * 1e3, "ms"
    text = f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"
    return f"{text} {unit}".rstrip()
