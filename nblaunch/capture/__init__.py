"""Capture: which notebook objects a cell needs, and why one of them cannot travel.

The cell's text flows in and a mapping of names to lines flows out (`names_of`); later, where those objects
refuse to be pickled, the objects flow in and an error that names the guilty part flows out (`explain`).
Nothing is pickled here, and nothing is taken from a namespace: the caller does both.

========================  ==================================================================
`scopes`                  which scope a name belongs to
`names`                   the question: which names, and on which line
`flow`                    statements, in the order in which they run
`expressions`             the same for expressions and assignment targets
`deferred`                function bodies: what they read, and from when on
`shelltext`               text that IPython expands or runs: ``!ls {path}``, ``%timeit f(x)``
`texts`                   texts and attributes that may name variables: ``globals()["k"]``
`parts`, `search`         an object taken apart, and the smallest part that cannot be pickled
`places`, `tables`        where a part sits, in words; columns and elements of data frames
`advice`, `errors`        what to do about it, and the error that says so
========================  ==================================================================
"""

from __future__ import annotations

from nblaunch.capture.errors import CaptureError, Problem, explain
from nblaunch.capture.names import CellNames, names_of
from nblaunch.capture.shelltext import transform

__all__ = ["CaptureError", "CellNames", "Problem", "explain", "names_of", "transform"]
