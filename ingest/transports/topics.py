"""Topics of devices: which topic carries which message format, and what the topic itself says of the sender.

One line a topic, so that a format reaches MQTT without a class of its own. `{station}` and `{device}` name the levels that identify
the sender (with `{group}` and `{node}` before the device, where there are such), `{}` is a level that says nothing. This file finishes
with `message_of`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from ingest.messages import Message

_LEVEL = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class DeviceTopic:
    """One topic that devices or their network server publish on; `format` is a key of `ingest.formats.MESSAGE_FORMATS`."""

    pattern: str
    format: str

    @property
    def subscription(self) -> str:
        """The topic filter to subscribe to."""
        return _LEVEL.sub("+", self.pattern)


@dataclass(frozen=True, slots=True)
class Address:
    """What a topic says: the format, and the station or the device that the message is of (`station` is empty when it says none)."""

    format: str
    station: str = ""
    device: str | None = None


DEVICE_TOPICS: Sequence[DeviceTopic] = (
    DeviceTopic("gw/v1/stations/{station}/obs", "native_json"),
    DeviceTopic("gw/v1/stations/{station}/senml", "senml"),
    DeviceTopic("gw/v1/stations/{station}/sl651", "sl651"),
    DeviceTopic("gw/v1/stations/{station}/hj212", "hj212"),
    DeviceTopic("gw/v1/stations/{station}/toa5", "toa5"),
    DeviceTopic("application/{}/device/{device}/event/up", "chirpstack"),
    *(DeviceTopic(f"spBv1.0/{{group}}/{kind}/{{node}}", "sparkplug") for kind in ("NBIRTH", "NDATA", "NDEATH")),
    *(DeviceTopic(f"spBv1.0/{{group}}/{kind}/{{node}}/{{device}}", "sparkplug") for kind in ("DBIRTH", "DDATA", "DDEATH")),
)


@lru_cache
def _pattern(topic: DeviceTopic) -> re.Pattern[str]:
    return re.compile(_LEVEL.sub(lambda level: f"(?P<{level[1]}>[^/]+)" if level[1] else "[^/]+", topic.pattern))


@lru_cache(maxsize=4096)
def address_of(topic: str) -> Address | None:
    """Return format and sender of a topic, or None for a topic that no device publishes on.

    Examples
    --------
    >>> address_of("gw/v1/stations/JX-W01/obs")
    Address(format='native_json', station='JX-W01', device=None)
    """
    for known in DEVICE_TOPICS:
        match = _pattern(known).fullmatch(topic)
        if match is not None:
            named = match.groupdict()
            levels = [named[level] for level in ("group", "node", "device") if level in named]
            return Address(known.format, named.get("station", ""), "/".join(levels) or None)
    return None


def message_of(topic: str, payload: bytes, received_at: datetime) -> Message | None:
    """Return the message that a payload on a topic is; None on a topic that no device publishes on."""
    address = address_of(topic)
    if address is None:
        return None
    return Message(address.station, payload, received_at, topic, address.device, address.format)
