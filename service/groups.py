"""Which datastreams belong together, for analytics that need several: layers of a group, marks of a datum, a well, an area, a line.

Groups come from the registers alone: stations, depths, datums, places and what configuration says of a line, a well's column or who
answers for a cause. This file finishes with `groups_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from analytics.groups import GROUP_METHODS, Duties, Owner
from analytics.groups.area import LINE, PUMPING, RATE, UP, FunnelParameters, LineParameters
from analytics.groups.layers import HEADS, HeadParameters, LayerParameters
from analytics.groups.wells import COLUMN_TEMPERATURES, DEPTHS, FLOWS, StaticLevelParameters
from analytics.spatial import DistortionLimit
from domain.errors import ConfigurationError
from domain.model import Datastream, Derivation, Disclosure, Station, StationKind
from service.bootstrap import Container

PAGE = 1000
SURVEYED_EVERY_S = 20 * 86400.0
"""Declared interval from which a height is surveyed in campaigns rather than observed continuously."""
MARKS, AREA = "marks", "area"


@dataclass(frozen=True)
class Group:
    """Datastreams that some methods see together.

    Attributes
    ----------
    key : str
        Stable name of the group.
    methods : mapping of str to parameters
    members : tuple of Datastream
    home : (station, property, unit) or None
        Where an outcome goes that speaks for no single member.
    """

    key: str
    methods: Mapping[str, Any]
    members: tuple[Datastream, ...]
    home: tuple[str, str, str] | None = None

    @property
    def is_first(self) -> bool:
        """Whether its findings are facts that the analysis of single datastreams needs."""
        return self.key.startswith((MARKS, "layers"))


@dataclass(frozen=True)
class Registry:
    """All that groups are made of, read once."""

    stations: Mapping[str, Station]
    datastreams: tuple[Datastream, ...]
    node: Any
    by_station: Mapping[str, tuple[Datastream, ...]] = field(default_factory=dict)


def read_registry(container: Container) -> Registry:
    """Read stations and datastreams."""
    stations: dict[str, Station] = {}
    after: str | None = None
    while found := container.registers.list_stations(after=after, limit=PAGE):
        stations.update((station.code, station) for station in found)
        after = found[-1].code
    datastreams: list[Datastream] = []
    after = None
    while page := container.registers.list_datastreams(after=after, limit=PAGE):
        datastreams.extend(page)
        after = page[-1].code
    by_station: dict[str, list[Datastream]] = {}
    for datastream in datastreams:
        by_station.setdefault(datastream.station, []).append(datastream)
    return Registry(
        stations, tuple(datastreams), container.registers.node(), {code: tuple(items) for code, items in by_station.items()}
    )


def groups_of(registry: Registry) -> list[Group]:
    """Return every group, those whose findings others need first."""
    attributes = registry.node.attributes if registry.node else {}
    duties = duties_of(attributes.get("duties") or {})
    found = [*_marks(registry), *_layers(registry, duties), *_wells(registry), *_area(registry), *_lines(registry)]
    return sorted(found, key=lambda group: (not group.is_first, group.key))


def duties_of(content: Mapping[str, Any]) -> Duties:
    """Read who acts on which cause from node.yaml.

    Raises
    ------
    ConfigurationError
        A row lacks its cause or an owner, or has an unknown key.
    """

    def owner(row: Mapping[str, Any]) -> Owner:
        try:
            return Owner(**{name: value for name, value in row.items() if name != "effective_from"})
        except TypeError as error:
            raise ConfigurationError(
                f"an owner of a cause cannot be read: {error}.",
                where="node.yaml: duties",
                remedy="give cause, owner_zh, owner_en, and optionally top_m, bottom_m, head (falling, not_falling, any), source",
            ) from error

    rows = tuple(owner(row) for row in content.get("rows", ()))
    otherwise = content.get("otherwise")
    return Duties(rows, owner(otherwise)) if otherwise else Duties(rows)


def _own(items: Iterable[Datastream]) -> tuple[Datastream, ...]:
    return tuple(item for item in items if item.derivation is None)


def marks_key(item: Datastream) -> str | None:
    """Return the key of the group of marks that a datastream belongs to: surveyed heights of a datum, or displacements of a frame."""
    is_surveyed = item.interval_s is None or item.interval_s >= SURVEYED_EVERY_S
    if item.derivation is not None or item.property_code not in UP or not is_surveyed:
        return None
    return f"{MARKS}:{item.property_code}:{item.datum_code or item.frame or ''}"


def _marks(registry: Registry) -> list[Group]:
    parts: dict[str, list[Datastream]] = {}
    for item in registry.datastreams:
        key = marks_key(item)
        if key is not None:
            parts.setdefault(key, []).append(item)
    methods = {name: GROUP_METHODS[name].parameters() for name in ("common_mode", "tie")}
    return [Group(key, methods, tuple(items)) for key, items in parts.items()]


def _layers(registry: Registry, duties: Duties) -> list[Group]:
    """Extensometers of one station with the heads beside them, or with those that its attribute `heads` names."""
    known = {item.code: item for item in registry.datastreams}
    found = []
    for code, items in registry.by_station.items():
        compactions = [item for item in _own(items) if item.property_code == "compaction"]
        if not compactions:
            continue
        attributes = registry.stations[code].attributes
        named = [known[name] for name in attributes.get("heads", ()) if name in known]
        heads = named or [item for item in _own(items) if item.property_code in HEADS]
        low = attributes.get("preconsolidation_m")
        methods = {
            "layer_closure": LayerParameters(duties=duties),
            "stick_slip": GROUP_METHODS["stick_slip"].parameters(),
            "compaction_head": HeadParameters(preconsolidation_m=None if low is None else float(low)),
        }
        found.append(Group(f"layers:{code}", methods, (*compactions, *heads)))
    return found


def _wells(registry: Registry) -> list[Group]:
    """Flow, levels and temperatures of one well."""
    found = []
    for code, items in registry.by_station.items():
        own = _own(items)
        flows = [item for item in own if item.property_code in FLOWS]
        others = [item for item in own if item.property_code in {*DEPTHS, *COLUMN_TEMPERATURES}]
        if not flows or not others:
            continue
        attributes = registry.stations[code].attributes
        column, reference = attributes.get("column_m"), attributes.get("reference_temperature")
        static = StaticLevelParameters(
            column_m=None if column is None else float(column),
            reference_temperature=None if reference is None else float(reference),
        )
        methods = {
            "recovery": GROUP_METHODS["recovery"].parameters(),
            "static_level": static,
            "temperature_trend": GROUP_METHODS["temperature_trend"].parameters(),
        }
        found.append(Group(f"well:{code}", methods, (*flows, *others)))
    return found


def _rates(registry: Registry) -> tuple[Datastream, ...]:
    wanted = {f"{code}{RATE}" for code in UP}
    return tuple(item for item in registry.datastreams if item.derivation is not None and item.property_code in wanted)


def _area(registry: Registry) -> list[Group]:
    """Rates of all marks: one surface a node."""
    rates = _rates(registry)
    if registry.node is None or len({item.station for item in rates}) < FunnelParameters().least_points:
        return []
    return [Group(AREA, {"funnel": FunnelParameters()}, rates, (f"{registry.node.code}-network", "subsidence_rate", "mm/a"))]


def _lines(registry: Registry) -> list[Group]:
    """Lines are stations whose attribute `line` lists their vertices."""
    lines = [station for station in registry.stations.values() if station.attributes.get("line")]
    if not lines:
        return []
    marks = tuple(item for item in _own(registry.datastreams) if item.property_code in {*UP, *PUMPING})
    members = (*marks, *_rates(registry))
    return [
        Group(f"line:{station.code}", {LINE: line_parameters(station)}, members, (station.code, "differential_settlement", "mm"))
        for station in lines
    ]


def line_parameters(station: Station) -> LineParameters:
    """Read what configuration says of a line from the attributes of its station.

    Raises
    ------
    ConfigurationError
        A vertex or a limit that cannot be read.
    """
    attributes = station.attributes
    try:
        base = LineParameters(
            line=tuple((float(point[0]), float(point[1])) for point in attributes["line"]),
            limits=tuple(
                DistortionLimit(str(item["code"]), float(item["largest"]), str(item["source"]))
                for item in attributes.get("limits", ())
            ),
            source=str(attributes.get("protected_source", "")),
        )
        numbers = ("on_line_m", "longest_span_m", "protected_m", "watched_m", "subsiding_mm_per_a")
        stated: dict[str, Any] = {name: float(attributes[name]) for name in numbers if name in attributes}
        return replace(base, **stated)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigurationError(
            f"the line {station.code} cannot be read: {error!r}.",
            where=f"stations.yaml: {station.code}: attributes",
            remedy="write line: [[longitude, latitude], ...] and limits: [{code, largest, source}, ...]",
        ) from error


def home_of(container: Container, group: Group, method: str, version: str) -> Datastream:
    """Return the datastream that an area's or a line's outcomes hang on, creating it and the network's station where they are new."""
    assert group.home is not None
    code, property_code, unit = group.home
    wanted = Datastream(code, property_code, unit, derivation=Derivation(method, version, {}, ""))
    found = container.registers.datastream(wanted.code)
    if found is not None:
        return found
    if container.registers.station(code) is None:
        node = container.registers.node()
        network = Station(
            code, StationKind.OTHER, "监测网", "monitoring network", disclosure=Disclosure.RELATIVE,
            region_code=node.region_code if node else None, simulated=bool(node and node.simulated),
        )  # fmt: skip
        container.registers.add_station(network, actor="analytics")
    return container.registers.add_datastream(wanted, actor="analytics")
