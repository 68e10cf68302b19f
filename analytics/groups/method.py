"""What a group method is: an analytic whose input is several datastreams together.

Layers of one extensometer group, marks of one levelling network, a well's flow and its level: each is a set of members with their
places and depths, and a pure function from the members to outcomes. The digest covers every member, so that a stored run can be
computed again and compared. This file finishes with `make_group_run`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from analytics.method import aware, input_digest, plain, until, without_excluded
from analytics.sampling import Samples
from domain.finding import Outcome, Run
from domain.model import StationEvent


@dataclass(frozen=True)
class Member:
    """One datastream of a group, with what its place in the group depends on.

    Attributes
    ----------
    datastream, station : str
        Codes.
    property_code, unit : str
        What is observed, and the UCUM unit of the samples.
    samples : Samples
    events : tuple of StationEvent
        The log of the station, as far as it concerns the datastream.
    depth_top_m, depth_bottom_m : float or None
        Interval of a layer or screen below ground, metres.
    longitude_deg, latitude_deg : float or None
        CGCS2000.
    station_kind, region_code : str or None
    """

    datastream: str
    station: str
    property_code: str
    unit: str
    samples: Samples
    events: tuple[StationEvent, ...] = ()
    depth_top_m: float | None = None
    depth_bottom_m: float | None = None
    longitude_deg: float | None = None
    latitude_deg: float | None = None
    station_kind: str | None = None
    region_code: str | None = None

    def known(self, now: datetime) -> Samples:
        """Usable samples not later than `now`, without the spans that the log excludes."""
        return without_excluded(until(self.samples, now), self.events).usable()


GroupRunner = Callable[[Sequence[Member], Any, datetime], Mapping[str, Outcome]]


@dataclass(frozen=True)
class GroupMethod:
    """A group analytic as the registry knows it.

    `run(members, parameters, now)` returns an outcome for each datastream that it says something of, by code; it is pure and never raises on
    short input.
    """

    name: str
    version: str
    parameters: type[Any]
    run: GroupRunner
    document: str


def group_digest(members: Sequence[Member], parameters: Any) -> str:
    """Sha-256 over the canonical bytes of every member; the order of the members does not matter."""
    digest = hashlib.sha256()
    for member in sorted(members, key=lambda item: item.datastream):
        place: Mapping[str, Any] = {
            item.name: plain(getattr(member, item.name)) for item in fields(member) if item.name not in {"samples", "events"}
        }
        digest.update(json.dumps(place, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())
        digest.update(input_digest(member.samples, member.events, parameters).encode())
    return digest.hexdigest()


def make_group_run(
    method: tuple[str, str],
    members: Sequence[Member],
    parameters: Any,
    status: str,
    result: Mapping[str, Any],
    window: tuple[datetime, datetime] | None = None,
) -> Run:
    """Record one computation on a group; without `window` it spans all samples of all members."""
    if window is None:
        firsts = [aware(member.samples.time[0]) for member in members if len(member.samples)]
        lasts = [aware(member.samples.time[-1]) for member in members if len(member.samples)]
        window = (min(firsts), max(lasts)) if firsts else None
    return Run(
        method=method[0],
        version=method[1],
        parameters=plain(parameters),
        window_start=window[0] if window else None,
        window_end=window[1] if window else None,
        input_digest=group_digest(members, parameters),
        status=status,
        result=plain(dict(result) | {"datastreams": sorted(member.datastream for member in members)}),
    )


@dataclass(frozen=True)
class Owner:
    """Who acts on a cause: a row of configuration, never of code.

    Attributes
    ----------
    cause : str
        Stable code, e.g. `pumping`, `construction`.
    owner_zh, owner_en : str
    top_m, bottom_m : float
        The row applies where the leading layer's middle lies in this depth range, metres.
    head : str
        `falling`, `not_falling` or `any`: what the head of the confined aquifer does meanwhile.
    source : str
        Where the division of duties is laid down.
    """

    cause: str
    owner_zh: str
    owner_en: str
    top_m: float = 0.0
    bottom_m: float = 1.0e4
    head: str = "any"
    source: str = ""


@dataclass(frozen=True)
class Duties:
    """The configured owners in order of precedence, and who verifies first where no row applies."""

    rows: tuple[Owner, ...] = ()
    otherwise: Owner = field(
        default_factory=lambda: Owner("unknown", "监测机构（先核实）", "monitoring institute (verify first)")
    )
