"""The next item is made in a thread while the one before is worked on. This file finishes with `read_ahead`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()
_LOOK_UP_S = 0.2


def read_ahead(items: Iterator[Item], *, waiting: int = 0) -> Generator[Item, None, None]:
    """Yield the items in their order; an error of theirs is raised where its item would have come.

    Parameters
    ----------
    items
        Made in a thread of its own; when this is closed early, the thread ends after the item that it works on.
    waiting
        How many finished items may wait beside the one that is being made: each costs its memory.
    """
    handed: queue.Queue[Any] = queue.Queue()
    room = threading.Semaphore(waiting + 1)
    stop = threading.Event()

    def make() -> None:
        try:
            while not stop.is_set():
                if not room.acquire(timeout=_LOOK_UP_S):
                    continue
                item = next(items, _END)
                handed.put(item)
                if item is _END:
                    return
        except BaseException as error:
            handed.put(_Failed(error))

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (item := handed.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            room.release()
            yield item
            del item
    finally:
        stop.set()
        thread.join()


class _Failed:
    """What was raised instead of an item."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
