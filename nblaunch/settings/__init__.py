"""Settings of libraries that were made in the notebook and hold for a process: ranks get them too.

::

    sys.modules ─► changed_settings ─► pack_settings ─► Work ─► nblaunch.rank.settings, when the library is imported

Only what differs from a library's defaults travels, so that a fresh notebook sends nothing.

===========================  ======================================================================
`library`                    one library's settings: how to read them here and make them there
`standard`                   those of the standard library
`warning_filters`            which warnings are shown
`log_lines`                  which log lines are written, and where to
`numeric`, `tensors`         those of libraries that compute; with tensors
`mathematics`                those of libraries for exact numbers, symbols and graphs
`tables`, `figures`          those of libraries that hold and show tables; and figures and pictures
`table`                      all of them
`reading`                    what is not as by default, and how it travels
===========================  ======================================================================
"""

from __future__ import annotations

from nblaunch.settings.library import Library
from nblaunch.settings.reading import Sent, changed_settings, pack_settings, settings_in_words
from nblaunch.settings.table import LIBRARIES

__all__ = ["LIBRARIES", "Library", "Sent", "changed_settings", "pack_settings", "settings_in_words"]
