"""Which process a number means: numbers are given again, times of start are not."""

from __future__ import annotations

from pathlib import Path

# **Source:** proc(5), /proc/<pid>/stat: `starttime` is field 22; the name before it may hold spaces and brackets.
_FIELDS_BEFORE = 19


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot.

    Raises:
        OSError: there is no such process.
    """
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(text.rpartition(")")[2].split()[_FIELDS_BEFORE])
