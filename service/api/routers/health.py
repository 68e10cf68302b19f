"""Liveness, readiness, metrics. This file finishes with `metrics`."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from domain.errors import PermissionDeniedError
from service.api.problems import RETRY_AFTER_S

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Liveness: this process answers")
def healthz() -> dict[str, str]:
    """Answer as long as the process lives; nothing else is asked."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Readiness: database, migrations, freshness, ingest, worker, broker, disk",
    responses={503: {"description": "Not ready."}},
)
def readyz(request: Request) -> JSONResponse:
    """Answer 200 when every check is ok, else 503 with the reasons."""
    checks = request.app.state.readiness.checks()
    ready = all(check.ok for check in checks)
    body: dict[str, Any] = {
        "status": "ready" if ready else "not ready",
        "checks": {check.name: "ok" if check.ok else check.reason for check in checks},
    }
    headers = {} if ready else {"Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse(body, status_code=200 if ready else 503, headers={"Cache-Control": "no-store", **headers})


@router.get("/metrics", summary="Prometheus metrics, from loopback only", response_class=Response)
def metrics(request: Request) -> Response:
    """Give the metrics to this machine alone; what a proxy forwards does not count as this machine."""
    forwarded = {"forwarded", "x-forwarded-for", "x-real-ip"} & set(request.headers)
    if forwarded or not _is_loopback(request.client.host if request.client else ""):
        raise PermissionDeniedError("metrics are read from this machine only.", remedy="scrape 127.0.0.1 on the server itself")
    return Response(generate_latest(request.app.state.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
