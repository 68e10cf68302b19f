"""The catalogue: what this node has, as DCAT 3 in JSON-LD, for harvesters and partners. This file finishes with `catalogue`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from domain.errors import PermissionDeniedError
from domain.model import Datastream, Station
from service.api.callers import Caller, MayReadCatalogue
from service.api.listings import every_datastream, statuses_of
from service.api.lookup import container_of, may_see, node_code
from service.api.permissions import Permission
from service.api.times import stamp
from service.sharing.agreement import Agreement
from service.sharing.disclosure import HeightView, height_view

router = APIRouter(prefix="/api/v1", tags=["sharing"])
_CONTEXT = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


@router.get("/catalogue", summary="What this node has (DCAT 3, JSON-LD)", response_class=JSONResponse)
def catalogue(request: Request, caller: MayReadCatalogue) -> JSONResponse:
    """Give one dataset an observed property: its datastreams, time span and where to read them.

    A partner finds in it what its agreement covers, and the feed as the place to read it.
    """
    container = container_of(request)
    registers = container.registers
    is_listed, access = _view_of(container, caller)
    by_property: dict[str, list[Any]] = defaultdict(list)
    for item in every_datastream(container):
        station = registers.station(item.station)
        if station is not None and is_listed(station, item):
            by_property[item.property_code].append(item)
    origin = str(container.settings.public_url).rstrip("/")
    node, code = registers.node(), node_code(container)
    datasets = [
        _dataset(container, origin + access.format(quote(name)), code, name, items) for name, items in sorted(by_property.items())
    ]
    body = {
        "@context": _CONTEXT,
        "@id": f"urn:groundwatch:{code}",
        "@type": "dcat:Catalog",
        "dct:title": _names(node.name_zh if node else code, node.name_en if node else code),
        "dcat:dataset": datasets,
    }
    return JSONResponse(body, media_type="application/ld+json")


def _view_of(container: Any, caller: Caller) -> tuple[Callable[[Station, Datastream], bool], str]:
    """Return what is listed for a caller, and the path (with a place for the property's code) under which it is read."""
    if caller.may(Permission.READ):
        return (lambda station, item: may_see(caller, station, item)), "/api/v1/datastreams?property={}"
    partner = container.access.partner(caller.partner) if caller.partner is not None else None
    if partner is None:
        raise PermissionDeniedError("this key belongs to no partner.", remedy="make one with `groundwatch key add --partner`")
    agreement = Agreement.read(partner.agreement, partner.code)

    def is_shared(station: Station, item: Datastream) -> bool:
        observed = container.registers.observed_property(item.property_code)
        return (
            bool(agreement.datasets & {"datastreams", "observations"})
            and agreement.covers(station, item)
            and height_view(station, item, observed, agreement.disclosure) is not HeightView.HIDDEN
        )

    return is_shared, "/api/v1/shared/changes"


def _names(zh: str, en: str) -> list[dict[str, str]]:
    return [{"@language": "zh", "@value": zh}, {"@language": "en", "@value": en}]


def _dataset(container: Any, address: str, code: str, name: str, items: list[Any]) -> dict[str, Any]:
    observed = container.registers.observed_property(name)
    statuses = statuses_of(container, items)
    firsts = [status.first_time for status in statuses.values() if status.first_time is not None]
    lasts = [status.last_time for status in statuses.values() if status.last_time is not None]
    dataset: dict[str, Any] = {
        "@id": f"urn:groundwatch:{code}:{name}",
        "@type": "dcat:Dataset",
        "dct:identifier": name,
        "dct:title": _names(observed.name_zh, observed.name_en),
        "dct:description": f"{len(items)} datastreams in {observed.unit}, {observed.direction}",
        "dcat:distribution": {
            "@type": "dcat:Distribution",
            "dcat:accessURL": {"@id": address},
            "dcat:mediaType": "application/json",
        },
    }
    if firsts and lasts:
        dataset["dct:temporal"] = {
            "@type": "dct:PeriodOfTime",
            "dcat:startDate": {"@type": "xsd:dateTime", "@value": stamp(min(firsts))},
            "dcat:endDate": {"@type": "xsd:dateTime", "@value": stamp(max(lasts))},
        }
    return dataset
