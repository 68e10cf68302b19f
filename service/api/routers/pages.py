"""The page shell and its assets, the docs page, and the OpenAPI file: all of it ours, all of it without a token.

This file finishes with `docs`.
"""

from __future__ import annotations

import mimetypes
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from domain.errors import GroundWatchError, NotFoundError
from service.api.docs import docs_page
from service.api.middleware import content_security_policy

router = APIRouter(include_in_schema=False)
WEB = Path(__file__).resolve().parents[2] / "web"
_SERVED = {".js", ".css", ".svg", ".png", ".webp", ".ico", ".json", ".geojson", ".woff2", ".txt", ".webmanifest", ".map"}
_TYPES = {
    ".js": "text/javascript",
    ".geojson": "application/geo+json",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
_REVALIDATE = {"Cache-Control": "no-cache"}


@router.get("/")
def index(request: Request) -> Response:
    """Serve the page shell; a configured base layer's origin may be shown as images and nothing else."""
    headers = {"Content-Security-Policy": content_security_policy(_tile_origin(request))}
    return _file(request, WEB / "index.html", "text/html; charset=utf-8", headers)


@router.get("/cases")
def cases_page(request: Request) -> Response:
    """Serve the page of cases."""
    return _page(request, "cases.html")


@router.get("/alarm-quality")
def alarm_quality_page(request: Request) -> Response:
    """Serve the page of alarm quality."""
    return _page(request, "alarm-quality.html")


@router.get("/instruments")
def instruments_page(request: Request) -> Response:
    """Serve the page of instruments and unknown devices."""
    return _page(request, "instruments.html")


def _page(request: Request, name: str) -> Response:
    return _file(request, WEB / name, "text/html; charset=utf-8", {})


def _tile_origin(request: Request) -> str | None:
    try:
        node = request.app.state.container.registers.node()
    except GroundWatchError:
        return None
    url = None if node is None else (dict(node.attributes).get("map") or {}).get("tile_url")
    if not isinstance(url, str):
        return None
    parts = urlsplit(url.replace("{s}", "*"))
    host = parts.netloc
    is_plain = parts.scheme in {"http", "https"} and host and all(letter.isalnum() or letter in ".-:*" for letter in host)
    return f"{parts.scheme}://{host}" if is_plain else None


@router.get("/assets/{path:path}")
def asset(request: Request, path: str) -> Response:
    """Serve a file of the dashboard."""
    file = (WEB / path).resolve()
    if not file.is_relative_to(WEB) or file.suffix not in _SERVED or not file.is_file():
        raise NotFoundError(f"there is no asset {path!r}.")
    return _file(request, file, _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream", {})


def _file(request: Request, file: Path, media_type: str, extra: dict[str, str]) -> Response:
    if not file.is_file():
        raise NotFoundError("the dashboard is not part of this installation.", remedy="use the API; see /docs")
    stat = file.stat()
    tag = f'"{sha256(f"{file.name}:{stat.st_mtime_ns}:{stat.st_size}".encode()).hexdigest()[:20]}"'
    headers = {"ETag": tag, **_REVALIDATE, **extra}
    known = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if tag in known:
        return Response(status_code=304, headers=headers)
    return FileResponse(file, media_type=media_type, headers=headers)


@router.get("/api/v1/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """Serve the OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Serve the documentation page."""
    return HTMLResponse(docs_page(request.app.openapi()))
