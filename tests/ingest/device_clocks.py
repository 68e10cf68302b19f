"""What devices with clocks of their own would send, in each format that devices speak: bytes of one value at one time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import cbor2

from domain.model import Device
from ingest.messages import Message
from ingest.profile import Profile, parse_profile
from tests.ingest import rtu

BEIJING = timezone(timedelta(hours=8))


@dataclass(frozen=True)
class Wall:
    """What stands on the device's clock at +08:00, digit by digit: a clock can say what no calendar has."""

    date: str
    time: str

    @property
    def digits(self) -> str:
        return (self.date + self.time).replace("-", "").replace(":", "")

    @property
    def rfc3339(self) -> str:
        return f"{self.date}T{self.time}+08:00"

    @property
    def epoch_s(self) -> float | None:
        try:
            return datetime.fromisoformat(self.rfc3339).timestamp()
        except ValueError:
            return None


def on_the_clock(moment: datetime) -> Wall:
    local = moment.astimezone(BEIJING)
    return Wall(f"{local:%Y-%m-%d}", f"{local:%H:%M:%S}")


@dataclass(frozen=True)
class Said:
    """One value of a property at a time of the clock of the device that has a number."""

    wall: Wall
    property_code: str = "depth_to_water"
    unit: str = "m"
    value: float = 5.23
    number: int = 1

    @property
    def station(self) -> str:
        return f"JX-W{self.number:02d}"

    @property
    def dev_eui(self) -> str:
        return f"70b3d57ba{self.number:07x}"

    @property
    def mn(self) -> str:
        return f"MN{self.number}"

    @property
    def rtu(self) -> str:
        return f"33040200{self.number:02d}"


def table_profile(format_name: str, said: Said) -> dict[str, Any]:
    time = {} if format_name == "toa5" else {"column": "time", "formats": ["iso"]}
    return {
        "format": format_name,
        "time": {**time, "zone": "+08:00"},
        "station": {"constant": said.station},
        "columns": [{"match": "Value", "property": said.property_code, "unit": said.unit}],
    }


def native_json(said: Said) -> bytes:
    return json.dumps({"t": said.wall.rfc3339, said.property_code: said.value}).encode()


def native_columns(said: Said) -> bytes:
    return json.dumps({"t": [said.wall.rfc3339], said.property_code: [said.value]}).encode()


def native_epoch(said: Said) -> bytes:
    return json.dumps({"t": said.wall.epoch_s, said.property_code: said.value}).encode()


def senml_json(said: Said) -> bytes:
    return json.dumps([{"n": said.property_code, "u": said.unit, "t": said.wall.epoch_s, "v": said.value}]).encode()


def senml_cbor(said: Said) -> bytes:
    return cbor2.dumps([{0: said.property_code, 1: said.unit, 6: said.wall.epoch_s, 2: said.value}])


def sl651(said: Said) -> bytes:
    return rtu.report(rtu.element("0E", f"{said.value:.2f}", 5, 2), observed=said.wall.digits[2:12], station=said.rtu)


def hj212(said: Said) -> bytes:
    values = f"DataTime={said.wall.digits};x01-Rtd={said.value},x01-Flag=N"
    body = f"QN=20261121000000000;ST=21;CN=2011;PW=123456;MN={said.mn};Flag=4;CP=&&{values}&&"
    return f"##{len(body):04d}{body}{rtu.hj212_crc(body.encode()):04X}\r\n".encode()


def chirpstack(said: Said) -> bytes:
    event = {
        "time": said.wall.rfc3339,
        "deviceInfo": {"devEui": said.dev_eui},
        "devAddr": "01",
        "fCnt": 7,
        "data": said.wall.digits,
        "object": {said.property_code: said.value},
    }
    return json.dumps(event).encode()


def toa5(said: Said) -> bytes:
    return (
        f'"TOA5","{said.station}","CR1000X","1","1","p","1","t"\n"TIMESTAMP","RECORD","Value"\n"TS","RN","{said.unit}"\n"","","Smp"\n'
        f'"{said.wall.date} {said.wall.time}",1,{said.value}\n'
    ).encode()


def csv(said: Said) -> bytes:
    return f"time,Value\n{said.wall.date} {said.wall.time},{said.value}\n".encode()


Writer = Callable[[Said], bytes]
MESSAGES: Mapping[str, tuple[str, Writer]] = {
    "native_json": ("native_json", native_json),
    "native_json columns": ("native_json", native_columns),
    "native_json epoch": ("native_json", native_epoch),
    "senml": ("senml", senml_json),
    "senml cbor": ("senml", senml_cbor),
    "sl651": ("sl651", sl651),
    "hj212": ("hj212", hj212),
    "chirpstack": ("chirpstack", chirpstack),
    "toa5": ("toa5", toa5),
}
FILES: Mapping[str, tuple[str, Writer]] = {
    "native_json file": ("native_json", native_json),
    "senml file": ("senml", senml_json),
    "sl651 file": ("sl651", sl651),
    "chirpstack file": ("chirpstack", chirpstack),
    "toa5 file": ("toa5", toa5),
    "csv file": ("csv", csv),
}


def written(kind: str, said: Said) -> bytes:
    return (MESSAGES.get(kind) or FILES[kind])[1](said)


def profile_of(kind: str, said: Said) -> Profile | None:
    name = FILES[kind][0]
    return parse_profile(table_profile(name, said), name) if name in {"toa5", "csv"} else None


def message_of(kind: str, said: Said, raw: bytes, received_at: datetime) -> Message:
    name = MESSAGES[kind][0]
    is_known_by_itself = name in {"sl651", "hj212", "chirpstack"}
    device = said.dev_eui if name == "chirpstack" else None
    return Message("" if is_known_by_itself else said.station, raw, received_at, "topic", device, name)


def devices(said: Said) -> list[Device]:
    """Return what is registered of the devices, so that each knows what it says."""
    place = {"property": said.property_code, "unit": said.unit}
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "sl651": (said.rtu, {"elements": {"0E": place}}),
        "hj212": (said.mn, {"elements": {"x01": place}}),
        "chirpstack": (said.dev_eui, {}),
        "toa5": (said.station, {"profile": table_profile("toa5", said)}),
    }
    return [Device(protocol, identity, said.station, attributes=own) for protocol, (identity, own) in known.items()]
