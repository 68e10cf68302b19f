"""The worker: loops that are woken by commits, and jobs that only the leader runs.

Every worker evaluates rules and refreshes roll-ups (work is claimed with SKIP LOCKED, so several workers share it); one worker at a
time, the holder of an advisory lock, schedules the analytics and the rules that depend on the clock, and one sends notifications. This
file finishes with `run_worker`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from domain.errors import UnavailableError
from service.analysing import Analyst
from service.bootstrap import Container
from service.dispatching import dispatch_until
from service.escalating import escalate
from service.heartbeats import Heartbeat, LoopsState, this_process
from storage.heartbeats import HeartbeatRepository

LOG = logging.getLogger("groundwatch.worker")
WORK_CHANNEL = "groundwatch_work"
POLL_S = 1.0
SWITCH_S = 0.0005
"""How long a thread computes while another one of this process waits for its turn (Python's own figure is ten times as long).

Rules are evaluated by a thread that asks the database often and waits for the interpreter after every answer: beside a thread that
computes, an evaluation of many statements would take mostly these waits.
"""
ROUND_S = 0.05
"""The least time from the beginning of one round of evaluation to the next."""
RESTS, LONGEST_REST_S = 5.0, 15.0
"""How many times as long as it took a refresh of the roll-ups rests, and how long at most."""
PAUSE_AFTER_FAILURE_S = 2.0
SHARE_OF_INTERVAL = 0.6
CLAIM, ROLL_UP = 5000, 20_000
HOUSEKEEPING_S = 3600.0
ESCALATE_S = 60.0
PROMPT_S, LONGEST_WAY_S = 0.2, 3.0
"""Analytics rest while changes have waited for rules longer than this, and at most so long for one datastream."""
KEEP_ANSWERS = timedelta(days=7)
KEEP_HEARTBEATS = timedelta(days=1)


def run_worker(container: Container, stop: threading.Event) -> None:
    """Run all loops until `stop` is set."""
    sys.setswitchinterval(SWITCH_S)
    state = LoopsState()
    loops: dict[str, Callable[[], None]] = {
        "evaluate": lambda: evaluate_until(container, stop),
        "rollups": lambda: refresh_until(container, stop),
        "dispatch": lambda: dispatch_until(container, stop),
        "lead": lambda: lead_until(container, stop, state),
    }
    threads = [
        threading.Thread(target=keep_going, args=(name, loop, stop, state), name=name, daemon=True)
        for name, loop in loops.items()
    ]
    heartbeat = Heartbeat(HeartbeatRepository(container.db), this_process("worker", container.clock()), state.detail)
    for thread in threads:
        thread.start()
    heartbeat.start()
    stop.wait()
    for thread in threads:
        thread.join(timeout=10.0)
    heartbeat.stop()


def keep_going(name: str, loop: Callable[[], None], stop: threading.Event, state: LoopsState) -> None:
    """Run a loop again after whatever befell it: a worker that evaluates nothing must not look alive."""
    state.running(name)
    while not stop.is_set():
        try:
            loop()
        except UnavailableError as error:
            state.fell(name, str(error))
            LOG.warning("%s waits: %s", name, error)
        except Exception as error:
            state.fell(name, str(error) or type(error).__name__)
            LOG.exception("%s failed and is started again", name)
        stop.wait(PAUSE_AFTER_FAILURE_S)


def refresh_until(container: Container, stop: threading.Event) -> None:
    """Refresh the roll-ups with all that came since: a bucket that changes ten times a second is computed once.

    Every second where that costs little; else the refresh rests several times as long as it worked, and takes more together then.
    """
    while not stop.is_set():
        began = time.monotonic()
        container.rollups.refresh(ROLL_UP)
        stop.wait(min(max(POLL_S, RESTS * (time.monotonic() - began)), LONGEST_REST_S))


def evaluate_until(container: Container, stop: threading.Event) -> None:
    """Evaluate rules for what commits touched, woken by NOTIFY within milliseconds and polling besides.

    A round begins a moment after the one before began at the soonest: what comes within it is done together, at the cost of one.
    """
    with container.db.listen(WORK_CHANNEL) as listener:
        while not stop.is_set():
            began = time.monotonic()
            if evaluate_once(container) == 0:
                listener.wait(POLL_S)
            stop.wait(max(0.0, began + ROUND_S - time.monotonic()))


def evaluate_once(container: Container) -> int:
    """Judge the quality of what came, evaluate what is judged, and return how many datastreams that were.

    What came while the first look went on is judged too, so that few datastreams are left aside.
    """
    began = container.clock()
    if judged := container.inspector.run_once():
        judged += container.inspector.run_once()
    with container.work.claim("evaluate", CLAIM, after="quality") as changes:
        if changes:
            now = container.clock()
            container.engine.evaluate(changes, now, container.clock)
            told = (began.isoformat(), judged, now.isoformat(), len(changes), container.clock().isoformat())
            LOG.debug("round begun %s, quality of %d judged %s, rules of %d evaluated %s", *told)
        return len(changes)


def lead_until(container: Container, stop: threading.Event, state: LoopsState) -> None:
    """Try to become the leader; as the leader run the schedule until leadership or the process ends."""
    leadership = container.leadership("worker")
    while not stop.is_set():
        if not leadership.try_acquire():
            stop.wait(POLL_S * 5)
            continue
        LOG.info("this worker leads")
        state.is_leading = True
        try:
            run_schedule(container, stop, leadership.held)
        finally:
            state.is_leading = False
            leadership.release()


def run_schedule(container: Container, stop: threading.Event, held: Callable[[], bool]) -> None:
    """Run the leader's jobs: analytics of changed datastreams, and rules that depend on the clock."""
    settings = container.settings
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={"default": ThreadPoolExecutor(2)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    with Analyst(container) as analyst:
        debounce = timedelta(seconds=settings.analyse_debounce_s)

        def patience() -> Callable[[], bool]:
            """Return a question that is answered no when the run should end, well before the next one begins."""
            began = time.monotonic()
            deadline = began + settings.analyse_every_s * SHARE_OF_INTERVAL

            def keep_on() -> bool:
                nonlocal began
                give_way(container, stop, time.monotonic() - began)
                began = time.monotonic()
                return began < deadline and not stop.is_set()

            return keep_on

        def analyse_changed() -> int:
            return analyst.analyse_changed(container.clock(), debounce, keep_on=patience(), clock=container.clock)

        scheduler.add_job(
            lambda: guarded("analyse", analyse_changed, stop),
            "interval",
            seconds=settings.analyse_every_s,
            next_run_time=container.clock(),
            id="analyse",
        )
        scheduler.add_job(
            lambda: guarded("tick", lambda: container.engine.tick(container.clock(), container.clock), stop),
            "interval",
            seconds=settings.tick_every_s,
            next_run_time=container.clock(),
            id="tick",
        )
        scheduler.add_job(
            lambda: guarded("escalate", lambda: escalate(container), stop),
            "interval",
            seconds=ESCALATE_S,
            next_run_time=container.clock(),
            id="escalate",
        )
        scheduler.add_job(
            lambda: guarded("housekeeping", lambda: keep_house(container), stop),
            "interval",
            seconds=HOUSEKEEPING_S,
            next_run_time=container.clock(),
            id="housekeeping",
        )
        scheduler.start()
        try:
            while not stop.wait(POLL_S) and held():
                pass
        finally:
            scheduler.shutdown(wait=False)


def give_way(container: Container, stop: threading.Event, worked_s: float) -> None:
    """Let rules go first: rest as long as was worked where anything waits for them, and on while it waits long, but not for ever."""
    waited_s = container.work.oldest_age_s("quality", "evaluate")
    if waited_s is None:
        return
    stop.wait(min(worked_s, LONGEST_WAY_S))
    until = time.monotonic() + LONGEST_WAY_S
    while not stop.is_set() and time.monotonic() < until:
        waited_s = container.work.oldest_age_s("quality", "evaluate")
        if waited_s is None or waited_s < PROMPT_S:
            return
        stop.wait(PROMPT_S / 2)


def keep_house(container: Container) -> None:
    """Remove what only the near future needed: answers to requests that may be repeated, and the signs of life of what is gone."""
    answers = container.access.forget_answers(container.clock() - KEEP_ANSWERS)
    heartbeats = HeartbeatRepository(container.db).forget(KEEP_HEARTBEATS)
    if answers or heartbeats:
        LOG.info("removed %d remembered answers and %d signs of life", answers, heartbeats)


def guarded(name: str, job: Callable[[], object], stop: threading.Event) -> None:
    """Run a scheduled job; a failure is logged and the next run tries again. What breaks off because the process ends is no failure."""
    try:
        job()
    except UnavailableError as error:
        if not stop.is_set():
            LOG.warning("%s waits: %s", name, error)
    except Exception:
        if not stop.is_set():
            LOG.exception("%s failed", name)
