"""Questions that must not take for ever: who asks whether the database answers must be told when it does not.

This file finishes with `Deadline`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadline(Generic[T]):
    """Asks something in a thread of its own, one at a time, and waits only so long.

    Parameters
    ----------
    ask
        The question.
    wait_s
        How long an answer may take; one that took longer is kept for whoever asks next.
    """

    def __init__(self, ask: Callable[[], T], wait_s: float) -> None:
        self.ask, self.wait_s = ask, wait_s
        self._lock = threading.Lock()
        self._asked: tuple[float, Future[T]] | None = None

    def answer(self) -> T:
        """Return the answer, or raise what the question raises.

        Raises
        ------
        TimeoutError
            There is none yet. Who asks again, while the same question is open, is not made to wait once more.
        """
        with self._lock:
            if self._asked is None:
                self._asked = (time.monotonic(), Future())
                threading.Thread(target=self._run, args=(self._asked[1],), name="deadline", daemon=True).start()
            since, future = self._asked
        try:
            result = future.result(timeout=max(0.0, since + self.wait_s - time.monotonic()))
        except NotYet:
            if not future.done():
                raise TimeoutError(f"no answer for {time.monotonic() - since:.0f} s") from None
            raise
        finally:
            with self._lock:
                if future.done() and self._asked is not None and self._asked[1] is future:
                    self._asked = None
        return result

    def _run(self, future: Future[T]) -> None:
        try:
            future.set_result(self.ask())
        except BaseException as failure:
            future.set_exception(failure)
