"""How much memory there is, and refusals of work that would need more."""

from __future__ import annotations

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
UNLIMITED = 2**62


class NotEnoughMemory(MemoryError):
    """Work that needs more memory than there is; the message is for the user."""


def require_memory(needed: float, what: str) -> None:
    """Refuse work before it begins where memory cannot hold it.

    Args:
        needed: bytes at the peak.
        what: the work, such as "a.png: 22400x22300 pixels".

    Raises:
        NotEnoughMemory: fewer bytes are free.
    """
    free = available()
    if needed > free:
        raise NotEnoughMemory(
            f"{what}: not enough memory: {_in_gib(needed)} GiB are needed, {_in_gib(free)} are free; make the"
            " images smaller, or use a machine with more memory"
        )


def _in_gib(size):
    return f"{size / 2**30:.1f}" if size < 10 * 2**30 else f"{size / 2**30:.0f}"


def available() -> int:
    """The bytes that this process can still get: of the machine, and of each limit it runs under.

    Where the system does not say what is free (other systems than Linux), the memory of the machine counts.
    """
    return max(0, min(_free_in_machine(), _cgroups(), _address_space()))


def _free_in_machine():
    """The free memory and swap of the machine, in bytes."""
    try:
        fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return 1024 * sum(int(fields[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return UNLIMITED


def _cgroups():
    """What the control groups of this process leave: the least of each group and those that it is in."""
    try:
        lines = [line.split(":", 2) for line in OWN_CGROUPS.read_text().splitlines()]
    except (OSError, ValueError):
        return UNLIMITED
    free = UNLIMITED
    for _, controllers, name in (line for line in lines if len(line) == 3):
        if controllers == "":
            root, files = CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = CGROUPS / "memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = root / name.strip("/")
        # In a container the name may be that of the host; the group is then the root that is seen here.
        for folder in (group, *group.parents) if group.is_dir() else (root,):
            free = min(free, _free_in_group(folder, *files))
            if folder == root:
                break
    return free


def _free_in_group(folder, limit_file, usage_file, reclaimable):
    """What one control group leaves; the page cache that it can drop counts as free."""
    try:
        limit, usage = (int((folder / name).read_text()) for name in (limit_file, usage_file))
        fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit - usage + int(fields.get(reclaimable, 0))
    except (OSError, ValueError):  # no such file, or "max"
        return UNLIMITED


def _address_space():
    """What `ulimit -v` leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return UNLIMITED
        usage = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        return limit - usage
    except (ImportError, OSError, ValueError):
        return UNLIMITED
