"""The machine that was measured: figures from two machines, or two loads, can't be compared."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil


def facts(scratch: Path) -> dict[str, Any]:
    """What the figures depend on; `scratch` is the folder of database and evidence."""
    mounts = [part for part in psutil.disk_partitions(all=True) if scratch.is_relative_to(part.mountpoint)]
    disk = max(mounts, key=lambda part: len(part.mountpoint), default=None)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file_system": disk.fstype if disk else "unknown",
        "load_1_min": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
