"""The largest memory of a process.

`python -m tests.peak ARGS...` runs the command line and prints it on standard error.
"""

import atexit
import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Give the largest resident memory that this program took, in bytes.

    `ru_maxrss` of a child that was started from a large process holds the memory of that process: where the kernel
    keeps the figure of the program alone, that one is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(next(x for x in status.read_text().splitlines() if x.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    from pipelines.cli import main

    atexit.register(lambda: print("peak", peak_bytes(), file=sys.stderr))
    main()
