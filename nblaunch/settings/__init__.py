"""Process-wide settings of libraries that the notebook has changed: ranks get them too.

::

    sys.modules ─► changed_settings ─► pack_settings ─► Work ─► nblaunch.rank.settings, when the library is imported

Only settings that differ from a library's defaults are sent, so a fresh notebook sends none.

===========================  ======================================================================
`library`                    `Library`: how to read a library's settings here and make them in a rank
`standard`                   the standard library
`warning_filters`            which warnings are shown
`log_lines`                  which log lines are written, and where to
`numeric`, `tensors`         libraries for arrays; for tensors
`mathematics`                libraries for exact numbers, symbols and graphs
`tables`, `figures`          libraries for tables; for figures and pictures
`table`                      the table of all libraries
`reading`                    reads the settings that differ from the defaults, and packs them
===========================  ======================================================================
"""

from __future__ import annotations

from nblaunch.settings.library import Library
from nblaunch.settings.reading import Sent, changed_settings, pack_settings, settings_in_words
from nblaunch.settings.table import LIBRARIES

__all__ = ["LIBRARIES", "Library", "Sent", "changed_settings", "pack_settings", "settings_in_words"]
