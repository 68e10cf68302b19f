"""TOA5 tables as messages: a logger that sends its table with the four header lines, whole or from the last record on.

The logger is known by the station name of its header; what its fields mean stands in the attributes of the registered device: `profile`
(the mapping of a TOA5 profile) and `zone`. This file finishes with `message_elements`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from domain.errors import ConfigurationError, FormatError
from domain.observation import ParsedPayload, Rejected
from ingest.formats import toa5
from ingest.formats.decoding import split_lines
from ingest.formats.format import ImportContext
from ingest.formats.message import MessageContext
from ingest.formats.native_json import Element, Elements
from ingest.formats.table import split_row
from ingest.profile import Profile, parse_profile

_HEADER_BYTES = 4096


def identity(raw: bytes) -> str | None:
    """Return the station name of the header, or None."""
    lines = split_lines(raw[:_HEADER_BYTES].decode("utf-8", "replace"))
    environment = split_row(lines[0], ",") if lines else []
    name = environment[1].strip() if len(environment) > 1 and environment[0] == "TOA5" else ""
    return name[:128] or None


def message_elements(raw: bytes, context: MessageContext) -> Elements:
    """Parse the table of one message.

    Raises
    ------
    FormatError
        The bytes are no TOA5 table, or the device's attributes do not say what its fields and times mean.
    """
    zone = context.attributes.get("zone")
    described = ImportContext(context.where, station=context.station, zone=None if zone is None else str(zone))
    return _elements(toa5.parse(raw, stated_profile(context.attributes, context.where), described))


def stated_profile(attributes: Mapping[str, Any], where: str) -> Profile | None:
    """Return the profile of a device's attributes.

    Raises
    ------
    FormatError
        It is none.
    """
    content = attributes.get("profile")
    if content is None:
        return None
    try:
        return parse_profile(content, "the device's profile")
    except ConfigurationError as fault:
        raise FormatError(fault.what, where=where, remedy="correct profile in the device's attributes") from fault


def _elements(payload: ParsedPayload) -> Elements:
    found = Elements(rejected=list(payload.rejected))
    rows = payload.columns
    times = rows.time.astype("int64").tolist()
    ends = rows.end.astype("int64").tolist()  # NaT is the same number as NO_END
    for row, (time_us, end_us) in enumerate(zip(times, ends, strict=True)):
        stream = payload.streams[rows.stream[row]]
        key = f"{stream.property_code}:{stream.channel}" if stream.channel else stream.property_code
        result, line = float(rows.result[row]), int(rows.line[row])
        if stream.unit is None:
            reason = f"neither header nor profile states the unit of {key}. Remedy: name it in the device's profile, then replay"
            found.rejected.append(Rejected(line, "unit", reason, f"{key}={'' if math.isnan(result) else result}".encode()))
            continue
        found.units[key] = stream.unit
        reasons = None if rows.reasons is None else rows.reasons[row]
        found.values.append(Element(key, time_us, end_us, result, float(rows.sigma[row]), int(rows.quality[row]), reasons, line))
    return found
