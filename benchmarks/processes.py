"""GroundWatch's own processes, started for a measurement and ended after it. This file finishes with `running`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

GRACE_S = 30.0


def end_in_order() -> None:
    """Let SIGTERM end this process as an exception does, so that the processes and servers it started end with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def groundwatch() -> str:
    """Return the path of the command that belongs to this interpreter."""
    return str(Path(sys.executable).parent / "groundwatch")


def start(arguments: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start `groundwatch ARGUMENTS` with its output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [groundwatch(), *arguments], env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process in order, or by force where it does not obey."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(arguments: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `groundwatch ARGUMENTS` meanwhile."""
    process = start(arguments, environment, log)
    try:
        yield process
    finally:
        stop(process)
