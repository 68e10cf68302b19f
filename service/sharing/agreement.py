"""What a partner and we agreed on: datasets, regions, properties, the least disclosure. Configuration, read from the register.

This file finishes with `agreement_of`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from domain.errors import ConfigurationError
from domain.model import Datastream, Disclosure, Station
from service.sharing.disclosure import disclosure_of
from storage.access import PartnerRow

LOG = logging.getLogger("groundwatch.sharing")
_SENDER = re.compile(r"[^\s,<&]+")
LONGEST_H = 8784
"""A leap year, in hours."""
DATASETS = frozenset({"stations", "datastreams", "observations", "insar", "findings", "alerts"})


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement: what is not named in `datasets` is not shared; None for the other fields means all.

    `regions` are beginnings of GB/T 2260 codes; `disclosure` is the least strict view that the partner ever gets. `senders` are the CAP
    senders that the partner may send as (none: it sends us no alerts), `signature` names the secret that it signs with, and `reply_to` is
    the receiver that takes our acknowledgements of its alerts, and by which it gets ours. `acknowledge_within` is how long each side has for
    the answer to the other's alert (None: no time was agreed).
    """

    datasets: frozenset[str]
    regions: tuple[str, ...] | None = None
    stations: frozenset[str] | None = None
    properties: frozenset[str] | None = None
    disclosure: Disclosure = Disclosure.ROUNDED
    senders: frozenset[str] = frozenset()
    signature: str | None = None
    reply_to: str | None = None
    acknowledge_within: timedelta | None = None

    @classmethod
    def read(cls, content: Mapping[str, Any], partner: str) -> Agreement:
        """Read an agreement as configured.

        Raises
        ------
        ConfigurationError
            For an unknown dataset or disclosure (a typing error must not share more than was meant), or a time that is none.
        """
        datasets = frozenset(content.get("datasets", ()))
        unknown = sorted(datasets - DATASETS)
        if unknown:
            raise ConfigurationError(
                f"unknown datasets {', '.join(unknown)} in the agreement.",
                where=partner,
                remedy=f"use {', '.join(sorted(DATASETS))}",
            )
        word = content.get("disclosure", Disclosure.ROUNDED.value)
        if word not in {item.value for item in Disclosure}:
            raise ConfigurationError(f"{word!r} is no disclosure.", where=partner, remedy="use open, rounded or relative")
        return cls(
            datasets=datasets,
            regions=_strings(content.get("regions")),
            stations=_set(content.get("stations")),
            properties=_set(content.get("properties")),
            disclosure=Disclosure(word),
            senders=_senders(content.get("senders", ()), partner),
            signature=_name(content, "signature", partner),
            reply_to=_name(content, "reply_to", partner),
            acknowledge_within=_hours(content.get("acknowledge_within_h"), partner),
        )

    def covers(self, station: Station, datastream: Datastream | None = None) -> bool:
        """Is the station (and the datastream) part of the agreement and not restricted?"""
        if disclosure_of(station, datastream, self.disclosure) is Disclosure.RESTRICTED:
            return False
        if self.regions is not None and not (station.region_code or "").startswith(self.regions):
            return False
        if self.stations is not None and station.code not in self.stations:
            return False
        return datastream is None or self.properties is None or datastream.property_code in self.properties


def agreement_of(partner: PartnerRow) -> Agreement | None:
    """Return a partner's agreement, None where what is stored cannot be read: one partner's must not stop what is done for the others."""
    try:
        return Agreement.read(partner.agreement, partner.code)
    except ConfigurationError as error:
        LOG.warning("the agreement with %s cannot be read: %s", partner.code, error)
        return None


def _senders(value: Any, partner: str) -> frozenset[str]:
    wrong = not isinstance(value, list | tuple) or any(not isinstance(item, str) or not _SENDER.fullmatch(item) for item in value)
    if wrong:
        raise ConfigurationError(
            f"senders {value!r} is no list of CAP senders.", where=partner, remedy="list names without spaces, commas, < and &"
        )
    return frozenset(value)


def _name(content: Mapping[str, Any], key: str, partner: str) -> str | None:
    value = content.get(key)
    if value is not None and not (isinstance(value, str) and value):
        raise ConfigurationError(f"{key} is {value!r}.", where=partner, remedy="write a name")
    return value


def _hours(value: Any, partner: str) -> timedelta | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_H:
        raise ConfigurationError(
            f"acknowledge_within_h is {value!r}.", where=partner, remedy=f"write hours, more than 0 and at most {LONGEST_H}"
        )
    return timedelta(hours=float(value))


def _strings(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(str(item) for item in value)


def _set(value: Any) -> frozenset[str] | None:
    return None if value is None else frozenset(str(item) for item in value)
