"""The ordered feed of changes for partners. This file finishes with `shared_changes`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse

from domain.errors import PermissionDeniedError
from service.api.callers import MayReadShared
from service.api.lookup import container_of, node_code
from service.api.parameters import Limit, next_url
from service.sharing.agreement import Agreement
from service.sharing.feed import PartnerFeed

router = APIRouter(prefix="/api/v1/shared", tags=["sharing"])


@router.get("/changes", summary="What changed since a cursor, as far as the agreement goes", response_class=JSONResponse)
def shared_changes(
    request: Request,
    caller: MayReadShared,
    cursor: Annotated[
        str | None, Query(description="The `cursor` of the answer before; from the beginning when not given.")
    ] = None,
    limit: Limit = 1000,
) -> JSONResponse:
    """Give changes in commit order; a reader that keeps its cursor neither loses nor repeats any.

    What the agreement hides is passed over within a request; only after a long stretch of it (about a second's work) may `items` be
    empty while `more` is true.
    """
    container = container_of(request)
    partner = container.access.partner(caller.partner) if caller.partner is not None else None
    if partner is None:
        raise PermissionDeniedError(
            "this feed is read with a partner's key.", remedy="make one with `groundwatch key add --partner`"
        )
    feed = PartnerFeed(container, Agreement.read(partner.agreement, partner.code), node_code(container))
    page = feed.page(cursor, limit)
    items = page.items
    if items:
        detail = {"entries": len(items), "first_seq": items[0]["seq"], "last_seq": items[-1]["seq"]}
        container.access.audit_append(caller.actor, "read shared changes", partner.code, detail)
    following = next_url(request, cursor=page.cursor) if page.more else None
    return JSONResponse({"items": items, "cursor": page.cursor, "more": page.more, "next": following})
