"""Beginning and end of a process: signals become an event, and a child does not outlive its parent.

This file finishes with `room_for_connections`.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from types import FrameType

PARENT_VARIABLE = "GROUNDWATCH_PARENT_PID"
_PR_SET_PDEATHSIG = 1
_OTHER_FILES = 256
"""What a process opens beside its devices' connections: database, broker, files, libraries."""


def follow_parent() -> None:
    """Ask Linux for SIGTERM when the parent that set `GROUNDWATCH_PARENT_PID` dies, so that a killed `up` leaves no process."""
    expected = os.environ.get(PARENT_VARIABLE)
    if not expected or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(expected):
        os.kill(os.getpid(), signal.SIGTERM)


def stop_event() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    event = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        if event.is_set():
            os._exit(1)
        event.set()

    signal.signal(signal.SIGTERM, request)
    signal.signal(signal.SIGINT, request)
    follow_parent()
    return event


def room_for_connections(wanted: int) -> int:
    """Let this process open so many connections beside all else that it opens, and return how many it may.

    The usual limit of 1,024 open files leaves no room for a thousand devices together with database, broker and files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    reached = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, reached), hard))
    return min(wanted, max(1, max(soft, reached) - _OTHER_FILES))
