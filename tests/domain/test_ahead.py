"""Reading ahead: every item once and in order, errors in their place, and a thread that ends with its reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from domain.ahead import read_ahead


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("waiting", [0, 2])
def test_every_item_comes_once_and_in_order(waiting: int) -> None:
    assert list(read_ahead(iter(range(500)), waiting=waiting)) == list(range(500))
    assert "read-ahead" not in threads()


def test_an_error_comes_after_what_went_well_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    found = []
    with pytest.raises(ValueError, match="no third"):
        for item in read_ahead(items()):
            found.append(item)  # noqa: PERF402 - a list made at once would lose what came before the error
    assert found == [1, 2]


@pytest.mark.parametrize("waiting", [0, 1, 3])
def test_no_more_is_made_than_may_wait(waiting: int) -> None:
    made: list[int] = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for item in range(100):
            made.append(item)
            if item == waiting + 1:
                full.set()  # one is worked on, one is made, and those beside it may wait
            yield item

    ahead = read_ahead(items(), waiting=waiting)
    for item in ahead:
        assert full.wait(10) or item > waiting
        assert len(made) <= item + 2 + waiting
        if item == 20:
            break
    ahead.close()
    assert "read-ahead" not in threads()
