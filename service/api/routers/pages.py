"""The dashboard's pages and its assets, the docs page, and the OpenAPI file: all of it ours, all of it without a token.

This file finishes with `docs`.
"""

from __future__ import annotations

import mimetypes
from hashlib import sha256
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from domain.errors import GroundWatchError, NotFoundError
from service.api.docs import docs_page
from service.api.middleware import content_security_policy
from service.api.web_pages import PAGES, WEB, page_html

router = APIRouter(include_in_schema=False)
_SERVED = {".js", ".css", ".svg", ".png", ".webp", ".ico", ".json", ".geojson", ".woff2", ".txt", ".webmanifest", ".map"}
_TYPES = {
    ".js": "text/javascript",
    ".geojson": "application/geo+json",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}


@router.get("/")
def index(request: Request) -> Response:
    """Serve the overview; a configured base layer's origin may be shown as images and nothing else."""
    return _page(request, {"Content-Security-Policy": content_security_policy(_tile_origin(request))})


@router.get("/cases")
@router.get("/alarm-quality")
@router.get("/instruments")
def page(request: Request) -> Response:
    """Serve the page of cases, of alarm quality, or of instruments and unknown devices."""
    return _page(request, {})


def _page(request: Request, extra: dict[str, str]) -> Response:
    try:
        html = page_html(PAGES[request.scope["route"].path]).encode()
    except FileNotFoundError as absent:
        raise NotFoundError("the dashboard is not part of this installation.", remedy="use the API; see /docs") from absent
    headers = _revalidated(html, extra)
    return _unchanged(request, headers) or Response(html, media_type="text/html; charset=utf-8", headers=headers)


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
    stat = file.stat()
    headers = _revalidated(f"{file.name}:{stat.st_mtime_ns}:{stat.st_size}".encode(), {})
    media_type = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return _unchanged(request, headers) or FileResponse(file, media_type=media_type, headers=headers)


def _revalidated(identity: bytes, extra: dict[str, str]) -> dict[str, str]:
    return {"ETag": f'"{sha256(identity).hexdigest()[:20]}"', "Cache-Control": "no-cache", **extra}


def _unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    known = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    return Response(status_code=304, headers=headers) if headers["ETag"] in known else None


@router.get("/api/v1/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """Serve the OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Serve the documentation page."""
    return HTMLResponse(docs_page(request.app.openapi()))
