"""Devices: who is registered, who sends without being registered, and the two decisions about them. This file finishes with `reject`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field

from domain.model import Device, StationKind
from service.admitting import Details, NewStation
from service.admitting import admit as admit_device
from service.admitting import reject as reject_device
from service.api.callers import MayManageDevices, MayReadQuarantine
from service.api.lookup import container_of
from service.api.parameters import DEFAULT, After, Limit, decode_cursor, encode_cursor, listing, next_url
from service.api.times import stamp

router = APIRouter(prefix="/api/v1", tags=["devices"])


class MadeStation(BaseModel):
    """How a station is made that does not exist yet."""

    model_config = ConfigDict(extra="forbid")
    kind: StationKind = StationKind.OTHER
    name_zh: str | None = Field(default=None, max_length=200)
    name_en: str | None = Field(default=None, max_length=200)


class NewAdmission(BaseModel):
    """Where a device belongs, and what its frames need to be understood."""

    model_config = ConfigDict(extra="forbid")
    device: str = Field(description="`protocol:identity`, as the list of unknown devices has it.")
    station: str
    create: MadeStation | None = Field(default=None, description="Make the station and its datastreams where they do not exist.")
    password: str | None = Field(default=None, max_length=64)
    note: str | None = Field(default=None, max_length=2000)
    attributes: dict[str, Any] | None = None


class NewRejection(BaseModel):
    """A device whose frames are neither stored nor answered."""

    model_config = ConfigDict(extra="forbid")
    device: str
    note: str | None = Field(default=None, max_length=2000)


@router.get("/devices", summary="Devices registered by the identity of their frames")
def list_devices(request: Request, caller: MayReadQuarantine, limit: Limit = DEFAULT, after: After = None) -> dict[str, Any]:
    """Give devices, admitted and rejected ones, by protocol and identity; never a password."""
    protocol, _, identity = (decode_cursor(after) if after else "").partition(":")
    rows = container_of(request).devices.devices((protocol, identity), limit + 1)
    page = rows[:limit]
    following = next_url(request, after=encode_cursor(page[-1].code)) if len(rows) > limit else None
    return listing([_device_json(row) for row in page], following)


def _device_json(device: Device) -> dict[str, Any]:
    return {
        "device": device.code,
        "protocol": device.protocol,
        "identity": device.identity,
        "station": device.station,
        "status": str(device.status),
        "has_password": device.password is not None,
        "note": device.note,
        "attributes": dict(device.attributes),
    }


@router.get("/devices/unknown", summary="Devices that nobody has admitted and whose frames wait")
def list_unknown(request: Request, caller: MayReadQuarantine, limit: Limit = DEFAULT, after: After = None) -> dict[str, Any]:
    """Give them with first and last frame, how many wait and where they came from."""
    rows = container_of(request).devices.unknown(decode_cursor(after) if after else "", limit + 1)
    page = rows[:limit]
    following = next_url(request, after=encode_cursor(page[-1].device)) if len(rows) > limit else None
    items = [
        {
            "device": row.device,
            "first_seen": stamp(row.first_seen),
            "last_seen": stamp(row.last_seen),
            "frames": row.frames,
            "transport": row.transport,
            "source": row.source,
        }
        for row in page
    ]
    return listing(items, following)


@router.post("/devices/admissions", status_code=201, summary="Admit a device and run its waiting frames again")
def admit(request: Request, caller: MayManageDevices, admission: Annotated[NewAdmission, Body()]) -> dict[str, Any]:
    """Register a device at a station; `refused` says what of its frames still waits, and why."""
    made = admission.create
    done = admit_device(
        container_of(request),
        admission.device,
        admission.station,
        actor=caller.actor,
        create=None if made is None else NewStation(made.kind, made.name_zh, made.name_en),
        details=Details(admission.password, admission.note, admission.attributes),
    )
    return {
        **_device_json(done.device),
        "created": list(done.created),
        "frames": done.replay.payloads,
        "resolved": done.replay.resolved,
        "remaining": done.replay.remaining,
        "refused": [{"reason": reason, "count": count} for reason, count in done.refused.items()],
    }


@router.post("/devices/rejections", status_code=201, summary="Refuse a device for good")
def reject(request: Request, caller: MayManageDevices, rejection: Annotated[NewRejection, Body()]) -> dict[str, Any]:
    """Set aside what waits of a device; what it sends from now on is neither stored nor answered."""
    count = reject_device(container_of(request), rejection.device, actor=caller.actor, note=rejection.note)
    return {"device": rejection.device, "set_aside": count}
