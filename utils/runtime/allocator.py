"""glibc's memory allocator, set for tensors of tens of megabytes that are made and freed layer by layer."""

import ctypes
import platform

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Lets the process keep the memory that it frees. Does nothing where the C library is not glibc.

    By default glibc returns every large block to the system at once, and the system must clear the pages of the next
    one. The price: the process stays as large as it once was. `python -m benchmarks.inference` and
    `python -m benchmarks.training` measure the gain.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 64 * 2**20)
