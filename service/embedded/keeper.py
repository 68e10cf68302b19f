"""A small process that outlives us just long enough to stop our servers: its pipe closes however we end, kill -9 included.

It runs as a script with the standard library alone. Each line on its standard input is `PID START SIGNAL` for a server to stop
at the end, or `PID 0 0` for one that no longer matters. This file finishes with every named server gone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

PATIENCE_S = 30.0


def read_start_time(pid: int) -> int | None:
    """Return the start time of a live process in clock ticks (see `processes.start_time`; no import is wanted here)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - pathlib is slow to load
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def read_servers(lines: Iterable[str]) -> dict[int, tuple[int, int]]:
    """Read registrations until the pipe closes; return {pid: (start, signal)}."""
    servers: dict[int, tuple[int, int]] = {}
    for line in lines:
        pid, start, number = (int(word) for word in line.split())
        if number:
            servers[pid] = (start, number)
        else:
            servers.pop(pid, None)
    return servers


def stop_servers(servers: dict[int, tuple[int, int]], patience_s: float = PATIENCE_S) -> None:
    """Signal each server that still is the registered process; kill what has not ended in time."""

    def living() -> list[int]:
        return [pid for pid, (start, _) in servers.items() if read_start_time(pid) == start]

    for pid in living():
        os.kill(pid, servers[pid][1])
    deadline = time.monotonic() + patience_s
    while living() and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in living():
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stop_servers(read_servers(sys.stdin))
