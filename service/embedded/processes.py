"""Server processes: started apart from the terminal, recognised by id and start time, stopped without leftovers.

A process id alone may have been given to another process since it was written down, so each is paired with the start time
that the kernel reports. This file finishes with a process started, found or gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from service.embedded.home import Account

POLL_S = 0.02
LOG_LIMIT_BYTES = 20_000_000


def start_time(pid: int) -> int | None:
    """Return the kernel's start time of a live process in clock ticks, or None (a zombie is not alive)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def working_in(directory: Path, program: str) -> Iterator[int]:
    """Yield the ids of processes of `program` whose working directory is `directory`.

    Every PostgreSQL process works in its data; so may an operator's shell, which is why the program counts too.
    """
    wanted = directory.resolve()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "comm").read_text(encoding="utf-8").strip() == program and (entry / "cwd").readlink() == wanted:
                    yield int(entry.name)


@dataclass
class Server:
    """A running server, ours to reap when we started it (`child`)."""

    pid: int
    started: int
    child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def adopt(cls, pid: int, started: int | None = None) -> Server | None:
        """Return the server of a process id written down earlier, if that very process still lives."""
        found = start_time(pid)
        return None if found is None or started not in (None, found) else cls(pid, found)

    def is_alive(self) -> bool:
        """Tell whether the process still runs."""
        if self.child is not None and self.child.poll() is not None:
            return False
        return start_time(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process still lives."""
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, numbers: tuple[signal.Signals, ...], patience_s: float) -> None:
        """Send each signal in turn until the process is gone."""
        for number in numbers:
            self.send(number)
            if wait_until(lambda: not self.is_alive(), patience_s):
                break
        self.reap()

    def reap(self) -> None:
        """Collect the exit status of a child that has ended."""
        if self.child is not None and not self.is_alive():
            self.child.wait()

    def release(self) -> None:
        """Let the server outlive us: it is nobody's child to wait for any more."""
        if self.child is not None and self.child.returncode is None:
            self.child.returncode = 0
        self.child = None


def spawn(command: list[str], account: Account, log: Path, environment: Mapping[str, str], directory: Path) -> Server:
    """Start a server in a session of its own (a Ctrl-C in the terminal reaches us alone), its output in `log`."""
    turn_over(log)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=clean_environment(environment),
            start_new_session=True,
            umask=0o077,
            user=account.uid if account.switch else None,
            group=account.gid if account.switch else None,
            extra_groups=[] if account.switch else None,
        )
    return Server(child.pid, start_time(child.pid) or 0, child)


def run_as(
    account: Account, command: list[str], *, text_input: str = "", directory: str | Path = "/"
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end as `account`, in a clean environment, and return what it said."""
    return subprocess.run(
        command,
        input=text_input,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=directory,
        env=clean_environment({}),
        user=account.uid if account.switch else None,
        group=account.gid if account.switch else None,
        extra_groups=[] if account.switch else None,
    )


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return a small environment: no LD_*, PG* or locale of the caller may change how a server behaves."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **extra}


def turn_over(log: Path) -> None:
    """Keep one older log once the present one has grown large."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))


def last_lines(log: Path, count: int = 5) -> str:
    """Return the end of a log for an error message."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " / ".join(line.strip() for line in lines[-count:])


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll `condition` until it holds or the time is over; return whether it held."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True
