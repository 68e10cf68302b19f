"""Liveness, readiness, metrics. This file finishes with `metrics`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from domain.errors import PermissionDeniedError
from service.api.problems import RETRY_AFTER_S

router = APIRouter(tags=["health"])
T = TypeVar("T")


@router.get("/healthz", summary="Liveness: this process answers")
async def healthz() -> dict[str, str]:
    """Answer as long as the process lives; nothing else is asked."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Readiness: database, migrations, freshness, ingest, worker, broker, disk",
    responses={503: {"description": "Not ready."}},
)
async def readyz(request: Request) -> JSONResponse:
    """Answer 200 when every check is ok, else 503 with the reasons."""
    checks = await _aside(request, request.app.state.readiness.checks)
    ready = all(check.ok for check in checks)
    body: dict[str, Any] = {
        "status": "ready" if ready else "not ready",
        "checks": {check.name: "ok" if check.ok else check.reason for check in checks},
    }
    headers = {} if ready else {"Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse(body, status_code=200 if ready else 503, headers={"Cache-Control": "no-store", **headers})


@router.get("/metrics", summary="Prometheus metrics, from loopback only", response_class=Response)
async def metrics(request: Request) -> Response:
    """Give the metrics to this machine alone; what a proxy forwards does not count as this machine."""
    forwarded = {"forwarded", "x-forwarded-for", "x-real-ip"} & set(request.headers)
    if forwarded or not _is_loopback(request.client.host if request.client else ""):
        raise PermissionDeniedError("metrics are read from this machine only.", remedy="scrape 127.0.0.1 on the server itself")
    text = await _aside(request, partial(generate_latest, request.app.state.metrics.registry))
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _aside(request: Request, ask: Callable[[], T]) -> T:
    """Ask in threads of our own: those of the other requests may all be waiting for the database that we are to tell of."""
    return await to_thread.run_sync(ask, limiter=request.app.state.health_threads)


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
