"""`station|sensor|datastream|licence|rule|partner|user|key|device list|show|add|set|remove|export|import`.

History is never deleted: `remove` disables or revokes what can be, and says what to do instead where nothing can. This file finishes
with `run`.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from domain.alerting import Rule
from domain.errors import ConflictError, InputError, NotFoundError, RequestError
from domain.licence import Licence
from domain.model import Datastream, Sensor, Station, split_datastream_code, station_code
from service.bootstrap import Container
from service.commands.accounts import KeyRegister, PartnerRegister, UserRegister
from service.commands.devices import DeviceRegister
from service.commands.entries import Values, build, parse_values, with_values
from service.commands.output import emit, jsonable, say
from service.settings import load_settings

PAGE = 1000
T = TypeVar("T")
Entry = Mapping[str, Any]


class Register(Protocol):
    """What every register offers to the command line; entries are plain mappings with a `code`."""

    def all(self) -> Iterable[Entry]:
        """Return every entry."""

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create an entry."""

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Change an entry."""

    def remove(self, code: str) -> Entry:
        """End an entry."""


def run(arguments: argparse.Namespace) -> int:
    """Run one action on one register."""
    with Container(load_settings({"home": arguments.home})) as container:
        register = REGISTERS[arguments.register](container)
        ACTIONS[arguments.action](register, arguments)
    return 0


def _list(register: Register, arguments: argparse.Namespace) -> None:
    for entry in register.all():
        if arguments.json:
            emit(entry)
        else:
            say_entry(entry)


def say_entry(entry: Entry) -> None:
    """Print one line of a list: the code and the fields that are set."""
    told = {key: value for key, value in jsonable(entry).items() if value not in (None, "", [], {}) and key != "code"}
    say(f"{entry['code']}  " + "  ".join(f"{key}={value}" for key, value in told.items()))


def _show(register: Register, arguments: argparse.Namespace) -> None:
    _answer(find(register, arguments.code), arguments)


def find(register: Register, code: str) -> Entry:
    """Return the entry with a code, whatever its case; of versions the newest."""
    found = [entry for entry in register.all() if str(entry["code"]).casefold() == code.casefold()]
    if found:
        return found[-1]
    raise NotFoundError(f"there is no {code}.", remedy="list what there is with the action list")


def _add(register: Register, arguments: argparse.Namespace) -> None:
    _answer(register.add(arguments.code, parse_values(arguments.values)), arguments)


def _set(register: Register, arguments: argparse.Namespace) -> None:
    _answer(register.change(arguments.code, parse_values(arguments.values)), arguments)


def _remove(register: Register, arguments: argparse.Namespace) -> None:
    _answer(register.remove(arguments.code), arguments)


def _export(register: Register, arguments: argparse.Namespace) -> None:
    entries = [jsonable(entry) for entry in register.all()]
    print(yaml.safe_dump(entries, allow_unicode=True, sort_keys=False), end="")  # noqa: T201 - the command's output


def _import(register: Register, arguments: argparse.Namespace) -> None:
    path = Path(arguments.file)
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read: {error}.", where=str(path), remedy="compare with what export writes") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "code" in entry for entry in entries):
        raise InputError("is no list of entries with a code.", where=str(path), remedy="compare with what export writes")
    known = {str(entry["code"]).casefold() for entry in register.all()}
    for entry in entries:
        code = str(entry.pop("code"))
        act = register.change if code.casefold() in known else register.add
        _answer(act(code, {key: value for key, value in entry.items() if value is not None}), arguments)


def _answer(entry: Entry, arguments: argparse.Namespace) -> None:
    if arguments.json:
        emit(entry)
    else:
        say_entry(entry)


ACTIONS: dict[str, Callable[[Register, argparse.Namespace], None]] = {
    "list": _list,
    "show": _show,
    "add": _add,
    "set": _set,
    "remove": _remove,
    "export": _export,
    "import": _import,
}


def actor() -> str:
    """Return who runs the command, for the audit log."""
    return getpass.getuser()


def _pages(page_after: Callable[[str | None], list[T]], code_of: Callable[[T], str]) -> Iterator[T]:
    after: str | None = None
    while page := page_after(after):
        yield from page
        after = code_of(page[-1])


def _never_deleted(code: str, instead: str) -> ConflictError:
    return ConflictError(f"{code} has a history, which is never deleted.", remedy=instead)


class StationRegister:
    """Stations."""

    def __init__(self, container: Container) -> None:
        self.registers = container.registers

    def all(self) -> Iterator[Entry]:
        """Return every station."""
        pages = _pages(lambda after: self.registers.list_stations(after=after, limit=PAGE), lambda station: station.code)
        return (_without(asdict(station), "station_id") for station in pages)

    def _found(self, code: str) -> Station:
        station = self.registers.station(code)
        if station is None:
            raise NotFoundError(f"there is no station {code}.", remedy="groundwatch station list")
        return station

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create a station; kind, name_zh and name_en are needed."""
        if self.registers.station(station_code(code)) is not None:
            raise ConflictError(
                f"there is a station {code} already.", remedy=f"change it: groundwatch station set {code} KEY=VALUE"
            )
        station = build(Station, values, fixed={"code": station_code(code)})
        return _without(asdict(self.registers.add_station(station, actor=actor())), "station_id")

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Change a station, e.g. confirmed=true disclosure=open."""
        changed = self.registers.update_station(with_values(self._found(code), values), actor=actor())
        return _without(asdict(changed), "station_id")

    def remove(self, code: str) -> Entry:
        """Refuse: observations stay."""
        raise _never_deleted(self._found(code).code, "groundwatch station set CODE disclosure=restricted tags=[retired]")


class SensorRegister:
    """Sensors; the code is STATION:SENSOR."""

    def __init__(self, container: Container) -> None:
        self.registers = container.registers
        self.stations = StationRegister(container)

    def all(self) -> Iterator[Entry]:
        """Return every sensor."""
        for station in self.stations.all():
            for sensor in self.registers.sensors(station["code"]):
                yield _sensor_entry(sensor)

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create a sensor."""
        station, name = _sensor_code(code)
        sensor = build(Sensor, _without(values, "station"), fixed={"station": station, "code": name})
        return _sensor_entry(self.registers.add_sensor(sensor, actor=actor()))

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Change a sensor, e.g. calibrated_on=2026-01-31."""
        return _sensor_entry(
            self.registers.update_sensor(with_values(self._found(code), _without(values, "station")), actor=actor())
        )

    def _found(self, code: str) -> Sensor:
        station, name = _sensor_code(code)
        for sensor in self.registers.sensors(station):
            if sensor.code == name:
                return sensor
        raise NotFoundError(f"there is no sensor {code}.", remedy="groundwatch sensor list")

    def remove(self, code: str) -> Entry:
        """Refuse: a removed sensor keeps its calibration for the observations that it made."""
        self._found(code)
        raise _never_deleted(code, f"groundwatch sensor set {code} removed_at=2026-01-31T00:00:00+08:00")


def _sensor_code(code: str) -> tuple[str, str]:
    station, separator, name = code.partition(":")
    if not separator or not name:
        raise RequestError(f"{code!r} is not STATION:SENSOR.", remedy="e.g. W1:logger")
    return station_code(station), name


def _sensor_entry(sensor: Sensor) -> Entry:
    return {**_without(asdict(sensor), "sensor_id"), "code": f"{sensor.station}:{sensor.code}"}


class DatastreamRegister:
    """Datastreams; the code is STATION:PROPERTY[:CHANNEL]."""

    def __init__(self, container: Container) -> None:
        self.registers = container.registers

    def all(self) -> Iterator[Entry]:
        """Return every datastream, derived ones too."""
        pages = _pages(lambda after: self.registers.list_datastreams(after=after, limit=PAGE), lambda item: item.code)
        return (_datastream_entry(datastream) for datastream in pages)

    def _found(self, code: str) -> Datastream:
        datastream = self.registers.datastream(code)
        if datastream is None:
            raise NotFoundError(f"there is no datastream {code}.", remedy="groundwatch datastream list")
        return datastream

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create a datastream; the unit is needed, and the datum of a height."""
        station, observed, channel = split_datastream_code(code)
        fixed = {"station": station, "property_code": observed, "channel": channel}
        datastream = build(Datastream, _without(values, *fixed, "derivation"), fixed=fixed)
        return _datastream_entry(self.registers.add_datastream(datastream, actor=actor()))

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Change what describes a datastream; its unit and datum are what its numbers mean and stay."""
        found = self._found(code)
        wanted = with_values(found, _without(values, "station", "property_code", "channel", "derivation"))
        if (wanted.unit, wanted.datum_code) != (found.unit, found.datum_code):
            raise ConflictError(
                f"{found.code} is stored in {found.unit}, datum {found.datum_code}.", remedy="add another channel"
            )
        return _datastream_entry(self.registers.update_datastream(wanted, actor=actor()))

    def remove(self, code: str) -> Entry:
        """Refuse: observations stay."""
        raise _never_deleted(self._found(code).code, f"groundwatch datastream set {code} disclosure=restricted")


def _datastream_entry(datastream: Datastream) -> Entry:
    return {"code": datastream.code, **_without(asdict(datastream), "datastream_id")}


class LicenceRegister:
    """Licences of geothermal wells, in versions; a change begins on `effective_from`, or today."""

    def __init__(self, container: Container) -> None:
        self.registers = container.registers

    def all(self) -> Iterator[Entry]:
        """Return every version of every licence."""
        return map(_licence_entry, self.registers.list_licences())

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create a licence; station, holder and validity are needed."""
        return self._store(build(Licence, values, fixed={"code": code}))

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Store a version, made from that of the same day or else from the newest."""
        versions = [licence for licence in self.registers.list_licences() if licence.code.casefold() == code.casefold()]
        if not versions:
            raise NotFoundError(f"there is no licence {code}.", remedy="groundwatch licence list")
        that_day = [item for item in versions if str(item.effective_from) == str(values.get("effective_from"))]
        return self._store(with_values(replace((that_day or versions)[-1], effective_from=None, superseded_on=None), values))

    def _store(self, licence: Licence) -> Entry:
        if licence.superseded_on is not None:
            raise InputError("superseded_on follows from the next version.", remedy="state effective_from of that one")
        self.registers.upsert_licence(licence)
        stored = [item for item in self.registers.list_licences() if item.code == licence.code]
        return _licence_entry(next((item for item in stored if item.effective_from == licence.effective_from), stored[-1]))

    def remove(self, code: str) -> Entry:
        """Refuse: past years are judged by the licence of their time."""
        raise _never_deleted(code, f"end it: groundwatch licence set {code} valid_to=2026-01-31")


def _licence_entry(licence: Licence) -> Entry:
    return _without(asdict(licence), "superseded_on")


class RuleRegister:
    """Rules; a change is a new version."""

    def __init__(self, container: Container) -> None:
        from service.rule_desk import RuleDesk

        self.alerts = container.alerts
        self.clock = container.clock
        self.desk = RuleDesk(container)

    def all(self) -> Iterator[Entry]:
        """Return the newest version of every rule, disabled ones too."""
        return (_rule_entry(rule) for rule in self.alerts.rules(enabled_only=False))

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create a rule from kind, names, source and the fields of its kind."""
        return _rule_entry(self.desk.add(self.desk.read({**_without(values), "code": code}, actor())))

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Store a new version with some fields changed."""
        return _rule_entry(self.desk.change(code, _without(values, "version", "author"), actor()))

    def remove(self, code: str) -> Entry:
        """Disable a rule by a new version; its alerts stay."""
        return _rule_entry(self.alerts.save_rule(replace(self.desk.found(code), enabled=False, author=actor()), now=self.clock()))


def _rule_entry(rule: Rule) -> dict[str, Any]:
    return {**_without(asdict(rule), "definition", "recorded_at"), **rule.definition}


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    if isinstance(values, Values):
        return values.without(*names)
    return {key: value for key, value in values.items() if key not in names}


REGISTERS: dict[str, Callable[[Container], Register]] = {
    "station": StationRegister,
    "sensor": SensorRegister,
    "datastream": DatastreamRegister,
    "licence": LicenceRegister,
    "rule": RuleRegister,
    "partner": PartnerRegister,
    "user": UserRegister,
    "key": KeyRegister,
    "device": DeviceRegister,
}
