"""What a training step takes in memory, and whether the system gets it back."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys

from torch import Tensor

# Of input that a processor works off at once. EfficientNet-Lite0 keeps about 1.1 kB of activations a pixel for the
# gradient when all stages learn. At 300 x 300 two parts of 16 images cost 0.4 % of a step of 32, three parts 13 %.
PART_PIXELS = 1_500_000


def memory_parts(x: Tensor) -> int:
    """In how many parts a batch ``(N, C, H, W)`` goes through a network for its gradient to bound the memory.

    It depends on the shape alone, so that the same run is cut the same everywhere. A GPU takes the whole batch.
    """
    if x.device.type != "cpu":
        return 1
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    return min(x.shape[0], max(1, -(-pixels // PART_PIXELS)))


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library to reuse large blocks; true when it took the hint.

    Activations of a convolutional network are tens of megabytes each. The GNU allocator returns such blocks to
    the system when they are freed, and the next layer pays for fresh, zeroed pages: more than half of the time
    of a training step on the CPU (measured in `benchmarks/training.py`). Other systems are left alone.
    """
    try:
        libc = _gnu_library()
        mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of <malloc.h>
        took = libc.mallopt(mmap_threshold, 1 << 30) and libc.mallopt(trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):  # another C library
        return False
    return bool(took)


def give_freed_memory_back() -> None:
    """Give what `keep_freed_memory` kept back to the system: the work that needed it is over."""
    with contextlib.suppress(OSError, AttributeError):
        _gnu_library().malloc_trim(0)


def _gnu_library() -> ctypes.CDLL:
    """The GNU C library; OSError where there is none."""
    if sys.platform != "linux":
        raise OSError("another system")
    return ctypes.CDLL("libc.so.6")
