"""The table of all libraries whose settings are sent."""

from __future__ import annotations

from nblaunch.settings.figures import FIGURES
from nblaunch.settings.library import Library
from nblaunch.settings.log_lines import LOGGING
from nblaunch.settings.mathematics import MATHEMATICS
from nblaunch.settings.numeric import NUMERIC
from nblaunch.settings.standard import STANDARD
from nblaunch.settings.tables import TABLES
from nblaunch.settings.tensors import TENSORS
from nblaunch.settings.warning_filters import FILTERS

__all__ = ["LIBRARIES"]

LIBRARIES: tuple[Library, ...] = (*STANDARD, FILTERS, LOGGING, *NUMERIC, *TENSORS, *MATHEMATICS, *TABLES, *FIGURES)
"""All libraries with settings, in the order in which a rank makes them."""
