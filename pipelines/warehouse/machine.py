"""What this machine gives a database: memory, processors, room on disk; within the limits of a container.

A container's limits are files of the kernel (cgroup 1 or 2). Its memory that is free is its limit less what it holds,
but for cached files, which the kernel takes back. Nothing here is remembered: each database that is opened asks anew.
Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst (read 2026-11).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from pipelines.settings import LEAST_MB, Settings

ROOT = Path("/")
SHARE = 0.5  # of the memory that is free: the other half is for Python, the pages and whoever else works here
MB = 1_000_000
_UNLIMITED = 1 << 60  # cgroup 1 writes a number near 2^63 where there is no limit


def memory_mb(settings: Settings, root: Path = ROOT) -> int:
    """Give the megabytes that a database may take: what the settings say, else half of what is free."""
    return settings.memory_mb or max(int(free_memory(root) * SHARE / MB), LEAST_MB)


def threads(settings: Settings, root: Path = ROOT) -> int:
    """Give the threads that a database has: what the settings say, else one a processor."""
    return settings.threads or processors(root)


def free_memory(root: Path = ROOT) -> int:
    """Give the bytes of memory that are free: of the machine, or within the container where that is less."""
    return min([_free_of_machine(root), *_free_of_containers(root)])


def processors(root: Path = ROOT) -> int:
    """Give the processors this process may use, by affinity and its container's quota; a begun one counts whole."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min([there, *(-(-quota // period) for quota, period in _quotas(root))]), 1)


def _free_of_machine(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # no Linux: nobody says what is free


def _free_of_containers(root: Path) -> Iterator[int]:
    names = (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for controller, limit_name, usage_name, cached_name in names:
        for group in _groups(root, controller):
            limit = _number(group / limit_name)
            if limit is None or limit >= _UNLIMITED:
                continue
            cached = dict(line.split(" ", 1) for line in _read(group / "memory.stat").splitlines() if " " in line)
            held = (_number(group / usage_name) or 0) - int(cached.get(cached_name, 0))
            yield max(limit - max(held, 0), 0)


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Give the microseconds of processors that each group may take, and within which time."""
    for group in _groups(root, ""):
        quota, _, period = _read(group / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota), int(period)
    for group in _groups(root, "cpu"):
        limit, within = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if limit is not None and within:
            yield limit, within


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Give the folders of this process's group and those above it: of a controller of cgroup 1, or, of none, cgroup 2.

    Within a container the path may be the host's, which is not there: then the topmost folder is the container's own.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller not in controllers.split(","):
            continue
        every = root / "sys/fs/cgroup"
        top = every / controllers if (every / controllers).is_dir() else every / controller
        here = top / path.strip("/")
        while here != top and top in here.parents:
            yield here
            here = here.parent
        yield top


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    """Read the number of a file; none where it holds none, such as `max` and -1, or is not there."""
    text = _read(file).strip()
    return int(text) if text.isdecimal() else None
