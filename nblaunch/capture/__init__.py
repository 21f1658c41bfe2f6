"""Capture: which notebook objects a cell needs, and why one of them cannot be sent.

`names_of` takes the text of a cell, and returns the names that it needs, each with a line. If the objects with these
names cannot be pickled, `explain` takes them, and returns an error that names the part to blame. Both leave it to the
caller to look names up in a namespace and to pickle objects.

========================  ==================================================================
`names`                   `names_of`: which names, and on which line
`scopes`                  which scope a name belongs to
`flow`                    statements, in the order in which they run
`expressions`             the same for expressions and assignment targets
`deferred`                function bodies: what they read, and from when on
`shelltext`               text that IPython expands or runs: ``!ls {path}``, ``%timeit f(x)``
`texts`                   texts and attributes that may name variables: ``globals()["k"]``
`parts`, `search`         an object taken apart, and the smallest part that cannot be pickled
`places`, `tables`        where a part sits, in words; columns and elements of data frames
`advice`, `errors`        what to do about it, and `explain`
========================  ==================================================================
"""

from __future__ import annotations

from nblaunch.capture.errors import CaptureError, Problem, explain
from nblaunch.capture.names import CellNames, names_of
from nblaunch.capture.shelltext import transform

__all__ = ["CaptureError", "CellNames", "Problem", "explain", "names_of", "transform"]
