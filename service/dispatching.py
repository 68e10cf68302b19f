"""Sends the outbox from one worker at a time, so that no message goes twice or overtakes an earlier one.

The outbox promises order for each receiver; two dispatchers that read the same rows would break it and send each row twice. This file
finishes with `dispatch_until`.
"""

from __future__ import annotations

import logging
import threading

from service.bootstrap import Container

LOG = logging.getLogger("groundwatch.dispatch")
MATTER = "dispatch"
LOOK_AGAIN_S = 1.0
STAND_BY_S = 5.0
OUTBOX_CHANNEL = "groundwatch_outbox"


def dispatch_until(
    container: Container, stop: threading.Event, *, look_again_s: float = LOOK_AGAIN_S, stand_by_s: float = STAND_BY_S
) -> None:
    """Become the one that dispatches, and send what is due until `stop` is set or the leadership is lost.

    Parameters
    ----------
    look_again_s
        How long to wait where nothing was sent, unless a commit says that the outbox has something new.
    stand_by_s
        How often to ask whether the leadership is free. It ends with the process that holds it, however that ends.
    """
    leadership = container.leadership(MATTER)
    while not stop.is_set():
        if not leadership.try_acquire():
            stop.wait(stand_by_s)
            continue
        LOG.info("this worker sends notifications")
        try:
            with container.db.listen(OUTBOX_CHANNEL) as listener:
                while not stop.is_set() and leadership.held():
                    report = container.dispatcher.run_once(
                        container.clock(), go_on=lambda: not stop.is_set() and leadership.held(), clock=container.clock
                    )
                    if report.sent == 0:
                        listener.wait(look_again_s)
        finally:
            leadership.release()
