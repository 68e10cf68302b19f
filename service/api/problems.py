"""Errors as RFC 9457 problem details: one table from error class to status, one stable `type` a class.

`type` is `urn:groundwatch:problem:{code}`. This file finishes with `install`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from domain.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    GroundWatchError,
    InputError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class TooManyRequestsError(GroundWatchError):
    """The caller has to wait `retry_after_s` seconds."""

    code = "too-many-requests"

    def __init__(self, what: str, *, retry_after_s: int) -> None:
        super().__init__(what, remedy=f"try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class TooLargeError(GroundWatchError):
    """A request body beyond the limit."""

    code = "too-large"


STATUSES: tuple[tuple[type[GroundWatchError], int, str], ...] = (
    (TooManyRequestsError, 429, "Too many requests"),
    (TooLargeError, 413, "Request too large"),
    (InputError, 400, "The request cannot be used as it is"),
    (AuthenticationError, 401, "Login needed"),
    (PermissionDeniedError, 403, "Not permitted"),
    (NotFoundError, 404, "Not found"),
    (ConflictError, 409, "Conflict with what is stored"),
    (UnavailableError, 503, "Temporarily unavailable"),
    (ConfigurationError, 500, "Configuration error"),
    (GroundWatchError, 500, "Internal error"),
)
"""First match wins, so the narrower classes stand first."""

_HTTP_CODES = {401: "authentication", 403: "permission-denied", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}


def problem(
    status: int,
    code: str,
    title: str,
    *,
    detail: str | None = None,
    remedy: str | None = None,
    instance: str | None = None,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> JSONResponse:
    """Build a problem details response; members that are None are left out."""
    members = {
        "type": f"urn:groundwatch:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "remedy": remedy,
        "instance": instance,
        **extra,
    }
    content = {name: value for name, value in members.items() if value is not None}
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def of_error(error: GroundWatchError, instance: str | None = None) -> JSONResponse:
    """Return the response for an error of the tree."""
    status, title = next((status, title) for kind, status, title in STATUSES if isinstance(error, kind))
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="groundwatch"'
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(error.retry_after_s)
    return problem(
        status,
        error.code,
        title,
        detail=error.what,
        remedy=error.remedy,
        instance=instance,
        headers=headers,
        parameter=error.where,
    )


def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GroundWatchError)
    if isinstance(error, ConfigurationError):
        log.error("%s %s: %s", request.method, request.url.path, error)
    return of_error(error, request.url.path)


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_described(item) for item in error.errors()]
    return problem(
        422,
        "validation",
        "A parameter or the body is not valid",
        detail="; ".join(f"{item['parameter']}: {item['detail']}" for item in errors),
        remedy=errors[0]["remedy"] if errors else None,
        instance=request.url.path,
        errors=errors,
    )


def _described(item: Mapping[str, Any]) -> dict[str, str]:
    if item["type"] == "json_invalid":
        return _not_json(item)
    where = [str(part) for part in item["loc"]]
    name = ".".join(where[1:]) or where[0]
    bounds = ", ".join(f"{key} {value}" for key, value in (item.get("ctx") or {}).items() if isinstance(value, str | int | float))
    message = str(item["msg"])
    remedy = f"correct {name} in the {where[0]}" + (f" ({bounds})" if bounds else "") + "; see /docs"
    return {"parameter": name, "detail": message, "remedy": remedy}


def _not_json(item: Mapping[str, Any]) -> dict[str, str]:
    """The location of a body that cannot be parsed ends with the offset of the fault, not with a parameter."""
    fault = (item.get("ctx") or {}).get("error", item["msg"])
    return {
        "parameter": "body",
        "detail": f"the body is not JSON: {fault} at offset {item['loc'][-1]} (characters, from 0)",
        "remedy": "send one JSON document in UTF-8 with Content-Type: application/json; see /docs",
    }


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "http")
    remedy = "the paths are listed in /docs" if error.status_code in {404, 405} else None
    return problem(
        error.status_code,
        code,
        str(error.detail),
        remedy=remedy,
        instance=request.url.path,
        headers=error.headers,
    )


def internal_error(instance: str) -> JSONResponse:
    """Return the response for what nobody expected; it says nothing of the inside."""
    return problem(500, "internal", "Internal error", remedy="the server's log has the details", instance=instance)


def install(app: FastAPI) -> None:
    """Make every error of the application a problem details response."""
    app.add_exception_handler(GroundWatchError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
