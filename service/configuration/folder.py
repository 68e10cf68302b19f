"""Reads a city's folder whole, checks that what its files say fits together, and gives it a digest.

The digest is of the content, so a comment or another layout is no change. This file finishes with `read_folder`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from domain.errors import ConfigurationError, InputError
from domain.model import Datastream, ObservedProperty, datastream_code
from domain.units import compatible
from service.configuration import sections
from service.configuration.city import City, NamedDatum
from service.configuration.reading import FolderError, Problems, read_yaml
from service.configuration.rules import parse_rules
from service.configuration.stations import StationSection, parse_stations
from service.configuration.vocabulary import shipped_datums, shipped_properties

FILES = (
    "node.yaml",
    "regions.yaml",
    "datums.yaml",
    "aquifers.yaml",
    "observed_properties.yaml",
    "limits.yaml",
    "rules.yaml",
    "stations.yaml",
    "licences.yaml",
    "receivers.yaml",
    "partners.yaml",
)
REQUIRED = ("node.yaml", "regions.yaml", "datums.yaml")


def read_folder(path: Path) -> City:
    """Read and check a configuration folder.

    Parameters
    ----------
    path
        Folder with the YAML files named in `FILES`; node.yaml, regions.yaml and datums.yaml are required.

    Returns
    -------
    City
        All entries, typed, with the shipped observed properties and datums added.

    Raises
    ------
    FolderError
        With every problem found: file, entry, field, what and remedy.
    ConfigurationError
        When there is no such folder.
    """
    if not path.is_dir():
        raise ConfigurationError(
            "there is no such configuration folder.",
            where=str(path),
            remedy="name a folder with node.yaml, e.g. a copy of deploy/examples",
        )
    problems = Problems()
    _check_files(path, problems)
    content = {name: read_yaml(path / name, problems) for name in FILES if (path / name).exists()}
    city = _parse(path.name, content, problems)
    _check(city, problems)
    if problems.found:
        raise FolderError(path, problems.found)
    return city


def _check_files(path: Path, problems: Problems) -> None:
    for name in REQUIRED:
        if not (path / name).exists():
            problems.add(name, "", "", "is missing.", "add the file; every city states its node, regions and datums")
    for found in sorted(path.iterdir()):
        if found.suffix in {".yaml", ".yml"} and found.name not in FILES:
            problems.add(found.name, "", "", "is an unknown file.", "remove it or correct its name; known: " + ", ".join(FILES))


def _parse(name: str, content: Mapping[str, dict[str, Any]], problems: Problems) -> City:
    def of(file: str) -> dict[str, Any]:
        return content.get(file, {})

    node = sections.parse_node(of("node.yaml"), problems)
    datums, offsets = sections.parse_datums("datums.yaml", of("datums.yaml"), problems)
    own = sections.parse_properties("observed_properties.yaml", of("observed_properties.yaml"), problems)
    section: StationSection = parse_stations(of("stations.yaml"), node.simulated, problems)
    return City(
        name=name,
        node=node,
        regions=tuple(sections.parse_regions(of("regions.yaml"), problems)),
        datums=tuple(_merged(shipped_datums(), datums)),
        offsets=tuple(offsets),
        aquifers=tuple(sections.parse_aquifers(of("aquifers.yaml"), problems)),
        properties=tuple(_merged(shipped_properties(), own)),
        stations=tuple(section.stations),
        sensors=tuple(section.sensors),
        datastreams=tuple(section.datastreams),
        events=tuple(section.events),
        limits=tuple(sections.parse_limits(of("limits.yaml"), problems)),
        licences=tuple(sections.parse_licences(of("licences.yaml"), problems)),
        rules=tuple(parse_rules(of("rules.yaml"), problems)),
        receivers=tuple(sections.parse_receivers(of("receivers.yaml"), problems)),
        partners=tuple(sections.parse_partners(of("partners.yaml"), problems)),
        digest=content_digest(content),
        content=json.loads(_canonical(content)),
    )


def _merged(shipped: Sequence[Any], own: Sequence[Any]) -> list[Any]:
    by_code = {item.code: item for item in shipped}
    by_code.update({item.code: item for item in own})
    return list(by_code.values())


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of what the files say, whatever their comments and layout."""
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(content: Mapping[str, Any]) -> str:
    def plain(value: Any) -> str:
        if isinstance(value, date | datetime):
            return value.isoformat()
        raise TypeError(type(value).__name__)

    return json.dumps(content, sort_keys=True, ensure_ascii=False, default=plain)


def _check(city: City, problems: Problems) -> None:
    _check_unique(city, problems)
    _check_registers(city, problems)
    properties = {item.code: item for item in city.properties}
    datums = {item.code for item in city.datums if isinstance(item, NamedDatum)}
    for datastream in city.datastreams:
        _check_datastream(datastream, city, properties, datums, problems)
    _check_events(city, problems)
    _check_limits(city, properties, problems)


def _check_unique(city: City, problems: Problems) -> None:
    groups: list[tuple[str, str, Iterable[str]]] = [
        ("regions.yaml", "code", (item.code for item in city.regions)),
        ("aquifers.yaml", "code", (item.code for item in city.aquifers)),
        ("stations.yaml", "station code", (item.code for item in city.stations)),
        ("stations.yaml", "datastream", (item.code for item in city.datastreams)),
        ("stations.yaml", "sensor", (f"{item.station}:{item.code}" for item in city.sensors)),
        ("limits.yaml", "code", (item.code for item in city.limits)),
        ("licences.yaml", "code and day", (f"{item.code} from {item.begins}" for item in city.licences)),
        ("rules.yaml", "code", (item.code for item in city.rules)),
        ("receivers.yaml", "code", (item.code for item in city.receivers)),
        ("partners.yaml", "code", (item.code for item in city.partners)),
    ]
    for file, what, codes in groups:
        seen: set[str] = set()
        for code in codes:
            if code.casefold() in seen:
                problems.add(
                    file, code, what, "is given twice.", "remove or rename one; a second datastream of a property needs a channel"
                )
            seen.add(code.casefold())


def _named(problems: Problems, file: str, known: set[str], where: str) -> Callable[[str, str, str | None], None]:
    def check(entry: str, field: str, value: str | None) -> None:
        if value is not None and value != "" and value not in known:
            problems.add(file, entry, field, f"{value!r} is not known.", f"add it to {where} or correct it")

    return check


def _check_registers(city: City, problems: Problems) -> None:
    regions, stations = {item.code for item in city.regions}, {item.code for item in city.stations}
    datums = {item.code for item in city.datums}
    _named(problems, "node.yaml", regions, "regions.yaml")("node", "region_code", city.node.region_code)
    for offset in city.offsets:
        check = _named(problems, "datums.yaml", datums, "datums:")
        label = f"offsets {offset.source_datum} to {offset.target_datum}"
        check(label, "from", offset.source_datum)
        check(label, "to", offset.target_datum)
    for station in city.stations:
        _named(problems, "stations.yaml", regions, "regions.yaml")(station.code, "region", station.region_code)
    for sensor in city.sensors:
        _named(problems, "stations.yaml", datums, "datums.yaml")(
            f"{sensor.station} sensor {sensor.code}", "datum", sensor.datum_code
        )
    for licence in city.licences:
        _named(problems, "licences.yaml", stations, "stations.yaml")(licence.code, "station", licence.station)


def _check_datastream(
    datastream: Datastream, city: City, properties: Mapping[str, ObservedProperty], datums: set[str], problems: Problems
) -> None:
    label = datastream.code
    observed = properties.get(datastream.property_code)
    _named(problems, "stations.yaml", set(properties), "observed_properties.yaml")(label, "property", datastream.property_code)
    sensors = {item.code for item in city.sensors if item.station == datastream.station}
    _named(problems, "stations.yaml", sensors, f"the sensors of {datastream.station}")(label, "sensor", datastream.sensor)
    _named(problems, "stations.yaml", datums, "datums.yaml")(label, "datum", datastream.datum_code)
    _named(problems, "stations.yaml", {item.code for item in city.aquifers}, "aquifers.yaml")(
        label, "aquifer", datastream.aquifer
    )
    if observed is None:
        return
    if not _measures(datastream.unit, observed.unit):
        problems.add(
            "stations.yaml",
            label,
            "unit",
            f"{datastream.unit!r} does not measure {observed.name_en}.",
            f"write {observed.unit!r} or a unit of its kind",
        )
    if observed.needs_datum and not datastream.datum_code:
        problems.add("stations.yaml", label, "datum", "is missing for a height.", "state it, e.g. datum: CN-H85")


def _measures(unit: str, canonical: str) -> bool:
    try:
        return compatible(unit, canonical)
    except InputError:
        return True  # an unknown unit is already a recorded problem


def _check_events(city: City, problems: Problems) -> None:
    datastreams = {item.code for item in city.datastreams}
    for event in city.events:
        label = f"{event.station} {event.kind.value} {event.start.isoformat()}"
        _named(problems, "stations.yaml", datastreams, "the station's datastreams")(label, "datastream", event.datastream)
        if event.datastream and not event.datastream.startswith(datastream_code(event.station, "")):
            problems.add("stations.yaml", label, "datastream", "belongs to another station.", "log the event at that station")


def _check_limits(city: City, properties: Mapping[str, ObservedProperty], problems: Problems) -> None:
    stations, aquifers = {item.code for item in city.stations}, {item.code for item in city.aquifers}
    for limit in city.limits:
        _named(problems, "limits.yaml", set(properties), "observed_properties.yaml")(limit.code, "property", limit.property_code)
        _named(problems, "limits.yaml", stations, "stations.yaml")(limit.code, "station", limit.station)
        _named(problems, "limits.yaml", aquifers, "aquifers.yaml")(limit.code, "aquifer", limit.aquifer)
