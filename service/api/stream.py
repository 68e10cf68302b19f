"""Server-sent events, the one place with `async def`: it touches no database.

One listener thread (`service.api.listener`) publishes; each open page has a bounded queue. A page that is too slow loses its queue,
is told `overflow` and fetches again, so that 500 open pages cost the service neither memory nor time.
Reference: WHATWG HTML, section 9.2 (server-sent events). This file finishes with `router`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from domain.errors import UnavailableError
from domain.model import Station
from service.api.callers import Audience, MayRead

QUEUE_LENGTH = 64
MAXIMUM_PAGES = 2000
HEARTBEAT_S = 15.0
OVERFLOW = b"event: overflow\ndata: {}\n\n"


@dataclass(frozen=True)
class Change:
    """Something that changed: the stations and datastreams touched, with what decides who may hear of them."""

    kind: str
    at: str
    touched: tuple[tuple[str, Station], ...] = ()
    _encoded: dict[Audience, bytes | None] = field(default_factory=dict, compare=False)

    def encoded_for(self, audience: Audience) -> bytes | None:
        """Return the event for an audience, or None when nothing in it is theirs to see; encoded once an audience."""
        if audience not in self._encoded:
            self._encoded[audience] = self._encode(audience)
        return self._encoded[audience]

    def _encode(self, audience: Audience) -> bytes | None:
        data: dict[str, Any] = {"at": self.at}
        if self.kind == "observations":
            visible = [(code, station.code) for code, station in self.touched if audience.sees(station)]
            if not visible:
                return None
            data |= {"datastreams": [code for code, _ in visible], "stations": sorted({station for _, station in visible})}
        return frame(self.kind, data)


def frame(kind: str, data: dict[str, Any]) -> bytes:
    """Return one event as it goes over the wire."""
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class Page:
    """One open page: its audience and its bounded queue."""

    def __init__(self, audience: Audience, loop: asyncio.AbstractEventLoop) -> None:
        self.audience = audience
        self.loop = loop
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_LENGTH)

    def offer(self, event: bytes | None) -> None:
        """Queue an event (None ends the stream); a full queue is emptied and says so. Runs in the page's loop."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            if event is not None:
                event = OVERFLOW
        self.queue.put_nowait(event)


class Hub:
    """The pages that are open. `publish` and `close` may be called from any thread."""

    def __init__(self) -> None:
        self._pages: set[Page] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    def open(self, audience: Audience) -> Page:
        """Add a page; call inside its event loop."""
        page = Page(audience, asyncio.get_running_loop())
        with self._lock:
            if self._closed or len(self._pages) >= MAXIMUM_PAGES:
                raise UnavailableError("no further page can listen.", remedy="try again in a minute")
            self._pages.add(page)
        return page

    def leave(self, page: Page) -> None:
        """Remove a page."""
        with self._lock:
            self._pages.discard(page)

    def publish(self, change: Change) -> None:
        """Hand a change to every page that may hear of it."""
        with self._lock:
            pages = tuple(self._pages)
        for page in pages:
            event = change.encoded_for(page.audience)
            if event is not None:
                _call(page, event)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        with self._lock:
            self._closed = True
            pages = tuple(self._pages)
        for page in pages:
            _call(page, None)


def _call(page: Page, event: bytes | None) -> None:
    try:
        page.loop.call_soon_threadsafe(page.offer, event)
    except RuntimeError:  # the loop of a page that is going has closed already
        return


async def events_of(hub: Hub, page: Page, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
    """Yield the bytes of one stream until the hub closes or the reader goes."""
    try:
        yield b"retry: 3000\n" + frame("hello", {})
        while True:
            try:
                event = await asyncio.wait_for(page.queue.get(), heartbeat_s)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if event is None:
                return
            yield event
    finally:
        hub.leave(page)


router = APIRouter(tags=["stream"])


@router.get("/api/v1/stream", summary="Server-sent events: what changed, so that a page can fetch it")
async def stream(request: Request, caller: MayRead) -> StreamingResponse:
    """Stream `observations` (datastream and station codes) and `alerts` events; a comment every 15 s keeps the line open."""
    hub: Hub = request.app.state.hub
    page = hub.open(caller.audience)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events_of(hub, page), media_type="text/event-stream", headers=headers)
