"""Where and with what it was measured. Nothing that names a person, a host or a path."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

__all__ = ["describe", "packages"]


def describe() -> dict[str, Any]:
    """Return processor, memory, kernel, Python and the load before the first sample."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_GiB": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "logs_on": _file_system(tempfile.gettempdir()),
        "load_before": round(os.getloadavg()[0], 2),
        "commit": _commit(),
    }


def packages() -> dict[str, str]:
    """Return the versions of all installed packages."""
    return dict(sorted((each.name, each.version) for each in distributions()))


def _file_system(path: str) -> str:
    real = os.path.realpath(path)
    over = [
        each
        for each in psutil.disk_partitions(all=True)
        if os.path.commonpath([each.mountpoint, real]) == each.mountpoint
    ]
    return max(over, key=lambda each: len(each.mountpoint)).fstype if over else "unknown"


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
