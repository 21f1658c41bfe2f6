"""The results of a run as one document: what ``results.json`` holds and table and plots are made of."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from benchmarks.work import Figures, Outcome, Ref, Target, Work

__all__ = ["describe_work", "summary"]


def describe_work(work: Work, figures: Figures) -> dict[str, Any]:
    """Return all that was measured of a work, and what of it was to be reached."""
    return {
        "name": work.name,
        "title": work.title,
        "cases": [
            {
                "label": case.label,
                "unit": case.unit,
                "outcomes": [_outcome(outcome) for outcome in figures.outcomes.get(case.label, [])],
            }
            for case in work.cases
        ],
        "derived": [{**asdict(ref), "number": number} for ref, number in figures.derived.items()],
        "targets": [_target(target, work, figures) for target in work.targets],
    }


def summary(samples: list[float]) -> dict[str, float] | None:
    """Return number, median, quartiles, least and most of samples, or None of no samples."""
    if not samples:
        return None
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return {
        "number": len(samples),
        "median": middle,
        "quartile_1": low,
        "quartile_3": high,
        "least": min(samples),
        "most": max(samples),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "contender": outcome.entry.name,
        "role": outcome.entry.role,
        "summary": summary(outcome.samples),
        "samples": outcome.samples,
        "details": {
            name: {"summary": summary(samples), "samples": samples} for name, samples in outcome.details.items()
        },
        "problem": outcome.problem,
        "left_behind": outcome.left_behind,
        "machine_busy_before": outcome.busy,
    }


def _target(target: Target, work: Work, figures: Figures) -> dict[str, Any]:
    def side(ref: Ref | None) -> dict[str, Any] | None:
        if ref is None:
            return None
        # derived numbers carry the unit of the target
        unit = next((case.unit for case in work.cases if case.label == ref.case), target.unit)
        return {**asdict(ref), "unit": unit, "summary": summary(figures.samples(ref))}

    return {
        "text": target.text,
        "sense": target.sense,
        "bound": target.bound,
        "unit": target.unit,
        "reached": target.reached(figures),
        "met": target.met(figures),
        "doubtful": target.doubtful(figures),
        "of": side(target.of),
        "against": side(target.against),
    }
