"""Which machine this is, as far as it matters to speed and rounding."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path


def processor() -> str:
    """The name of the processor, such as ``AMD EPYC``; ``unknown`` when the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def machine_key() -> str:
    """A short name of this kind of machine: system, processor and how many of its cores may be used."""
    text = f"{platform.system()} {platform.machine()} {processor()} {cores()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
