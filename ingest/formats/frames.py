"""Frames out of a stream of bytes: where one begins, how long it is, whether it is whole, and what lies between them.

A stream of an RTU is cut anywhere, carries a modem's chatter and loses bytes. Nothing is thrown away here: every byte comes back as part
of a frame, of a damaged frame, of noise, or of the rest that waits for more. This file finishes with `cut`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Piece(StrEnum):
    """What a stretch of bytes is."""

    FRAME = "frame"
    DAMAGED = "damaged"
    NOISE = "noise"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Framing:
    """How one protocol frames.

    Attributes
    ----------
    mark
        Bytes that every frame begins with.
    length
        `(data, start) -> bytes of the frame that begins at start`; 0 = no frame begins there, None = too few bytes to tell.
    fault
        `(frame) -> None` for a sound frame, else what is wrong with it, with the remedy.
    longest
        Most bytes of a frame.
    """

    mark: bytes
    length: Callable[[bytes, int], int | None]
    fault: Callable[[bytes], str | None]
    longest: int


def cut(data: bytes, framing: Framing, *, is_final: bool = False) -> Iterator[tuple[Piece, bytes]]:
    """Yield the pieces of a stretch of a stream, in order; joined they are `data`.

    Parameters
    ----------
    data
        What has arrived and was not cut yet.
    framing
        The protocol's.
    is_final
        Nothing more will come: what is incomplete is damaged instead of the rest.
    """
    position = 0
    while position < len(data):
        start = _find(data, position, framing)
        if start > position:
            kept = 0 if is_final else _partial_mark(data, start, framing.mark)
            if start - kept > position:
                yield Piece.NOISE, data[position : start - kept]
            if start == len(data):
                if kept:
                    yield Piece.REST, data[start - kept :]
                return
        length = framing.length(data, start)
        if length is not None and start + length <= len(data) and framing.fault(data[start : start + length]) is None:
            yield Piece.FRAME, data[start : start + length]
            position = start + length
            continue
        is_whole = length is not None and start + length <= len(data)
        limit = start + length if is_whole and length is not None else len(data)
        sound = _next_sound(data, start + 1, limit, framing)
        if sound is None and not is_final:
            # What a damaged frame seems to cover may hold the beginning of the next one, the rest of which is still on its way.
            waiting = _next_open(data, start + 1, limit, framing) if is_whole else start
            if waiting < limit:
                if waiting > start:
                    yield Piece.DAMAGED, data[start:waiting]
                yield Piece.REST, data[waiting:]
                return
        end = limit if sound is None else sound
        yield Piece.DAMAGED, data[start:end]
        position = end


def _find(data: bytes, position: int, framing: Framing) -> int:
    """Return where the next frame may begin; the end of the data when nowhere."""
    while True:
        start = data.find(framing.mark, position)
        if start < 0:
            return len(data)
        if framing.length(data, start) != 0:
            return start
        position = start + 1


def _partial_mark(data: bytes, end: int, mark: bytes) -> int:
    """Return how many bytes at the end may be the beginning of a mark."""
    if end != len(data):
        return 0
    return next((count for count in range(len(mark) - 1, 0, -1) if data.endswith(mark[:count])), 0)


def _next_sound(data: bytes, position: int, limit: int, framing: Framing) -> int | None:
    """Return where, before `limit`, a sound frame begins, which shows that the one before it is damaged."""
    while True:
        start = _find(data, position, framing)
        if start >= limit:
            return None
        length = framing.length(data, start)
        if length is not None and start + length <= len(data) and framing.fault(data[start : start + length]) is None:
            return start
        position = start + 1


def _next_open(data: bytes, position: int, limit: int, framing: Framing) -> int:
    """Return where, before `limit`, a frame may begin that more bytes will decide; `limit` when nowhere."""
    while (start := _find(data, position, framing)) < limit:
        length = framing.length(data, start)
        if length is None or start + length > len(data):
            return start
        position = start + 1
    return limit - _partial_mark(data, limit, framing.mark)
