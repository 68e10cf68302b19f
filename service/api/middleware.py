"""Plain ASGI middleware: security headers, a limit on bodies, one timing a request, and an answer to every surprise.

Plain, because Starlette's own base class buffers streams and server-sent events pass through here. This file finishes with `Surprises`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import RequestError
from service.api.problems import TooLargeError, internal_error, of_error

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 16 * 1024 * 1024
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:{images}; "
    "connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=()",
}


def content_security_policy(image_origin: str | None = None) -> str:
    """Return the policy: our own origin alone, and one more for the tiles of a configured base layer."""
    return CONTENT_SECURITY_POLICY.format(images=f" {image_origin}" if image_origin else "")


class SecurityHeaders:
    """Adds the security headers to every response that does not bring its own; API answers are never cached by others."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", content_security_policy())
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
                    headers.setdefault("Vary", "Authorization")
            await send(message)

        await self.app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies beyond the limit, by their declared length at once, else when the limit is passed."""

    def __init__(self, app: ASGIApp, limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        self.app = app
        self.limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.limit_bytes:
            await of_error(self._error(), scope["path"])(scope, receive, send)
            return
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.limit_bytes:
                    error = self._error()
                    raise HTTPException(413, f"{error.what} Remedy: {error.remedy}")
            return message

        await self.app(scope, receive_counted, send)

    def _error(self) -> TooLargeError:
        return TooLargeError(
            f"the body is larger than {self.limit_bytes} bytes.",
            remedy="send observations in several requests, or import a file with `groundwatch import`",
        )


class Timing:
    """Reports (route, method, status, seconds) of every request, by the route's template so that names stay few."""

    def __init__(self, app: ASGIApp, observe: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_noting_status)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self.observe(route, scope["method"], status, time.perf_counter() - started)


class Surprises:
    """Answers what nobody expected with a problem (500), inside of the other middleware, so that this answer too has their headers.

    Starlette's own handler of last resort stands outside of all middleware. A path or query that holds NUL (which neither file names
    nor texts of PostgreSQL can) is refused here for all routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            error = RequestError("the address holds a NUL character.", remedy="correct the code or the parameter")
            await of_error(error)(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_noting_start)
        except Exception as error:
            if started:
                raise
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            await internal_error(scope["path"])(scope, receive, send)
