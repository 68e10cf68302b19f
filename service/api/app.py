"""The application: routers, errors, middleware and the listener thread, around one container.

This file finishes with `create_app`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI

from service.api import problems, stream
from service.api.listener import Listening
from service.api.metrics import Metrics
from service.api.middleware import BodyLimit, SecurityHeaders, Surprises, Timing
from service.api.parameters import refuse_unknown
from service.api.readiness import Readiness
from service.api.routers import (
    alarm_quality,
    alerts,
    cases,
    catalogue,
    datastreams,
    devices,
    events,
    foreign,
    health,
    insar,
    node,
    observations,
    oversight,
    pages,
    partner_answers,
    quality,
    receivers,
    rules,
    session,
    shared,
    silences,
    stations,
)
from service.api.throttle import LoginThrottle

DESCRIPTION = (
    "Land-subsidence and geothermal monitoring. Times are RFC 3339 in UTC; units are UCUM; vertical displacement is up positive; "
    "what is not known is null, never 0. Lists are {items, next}. Errors are RFC 9457 problem details."
)
_ROUTERS = (
    devices,
    insar,
    quality,
    node,
    session,
    stations,
    datastreams,
    observations,
    alerts,
    rules,
    alarm_quality,
    cases,
    receivers,
    silences,
    foreign,
    partner_answers,
    events,
    oversight,
    shared,
    catalogue,
    stream,
    health,
)


def create_app(container: Any, *, listen: bool = True) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    container
        The `service.bootstrap.Container` (or its like in tests): registers, observations, analyses, alerts, engine, access, changes,
        pipeline, settings, db and clock().
    listen
        Whether a thread listens to the database for the pages that are open.

    Returns
    -------
    FastAPI
        Ready for uvicorn; `app.state.hub.close()` ends the open streams, so that a server can stop at once.
    """
    hub = stream.Hub()
    metrics = Metrics(container, hub)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        listening = Listening(container, hub)
        if listen:
            listening.start()
        yield
        listening.stop()

    app = FastAPI(
        title="GroundWatch",
        version=version("groundwatch"),
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        dependencies=[Depends(refuse_unknown)],
    )
    app.state.container = container
    app.state.hub = hub
    app.state.metrics = metrics
    app.state.readiness = Readiness(container, container.clock())
    app.state.health_threads = CapacityLimiter(4)
    app.state.throttle = LoginThrottle()
    for module in _ROUTERS:
        app.include_router(module.router)
    app.include_router(pages.router)
    problems.install(app)
    app.add_middleware(Surprises)
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Timing, observe=metrics.observe)
    return app
