"""Keep freed memory in the process instead of giving it back to the system after every layer."""

from __future__ import annotations

import ctypes
import functools
import sys


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library to reuse large blocks; true when it took the hint.

    Activations of a convolutional network are tens of megabytes each. The GNU allocator returns such blocks to
    the system when they are freed, and the next layer pays for fresh, zeroed pages: more than half of the time
    of a training step on the CPU (measured in `benchmarks/training.py`). Other systems are left alone.
    """
    if sys.platform != "linux":
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of <malloc.h>
        took = libc.mallopt(mmap_threshold, 1 << 30) and libc.mallopt(trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):  # another C library
        return False
    return bool(took)
