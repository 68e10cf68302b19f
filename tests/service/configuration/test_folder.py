"""A folder is checked whole: each problem names file, entry, field and remedy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from domain.datum import offset_m
from domain.errors import ConfigurationError, DatumError
from domain.units import parse_unit
from service.configuration import FolderError, read_folder
from service.configuration.vocabulary import shipped_datums, shipped_properties

EXAMPLES = Path(__file__).resolve().parents[3] / "deploy" / "examples"
Change = Callable[[str, str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "city"
    shutil.copytree(EXAMPLES / "huzhou", copy)
    return copy


@pytest.fixture
def change(folder: Path) -> Change:
    def replace(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return replace


@pytest.mark.parametrize("city", ["jiaxing", "huzhou"])
def test_the_examples_are_sound(city: str) -> None:
    read = read_folder(EXAMPLES / city)
    assert read.node.code == city
    assert read.node.simulated
    assert all(count > 0 for name, count in read.counts().items() if name != "events")


def test_jiaxing_knows_its_own_offset_and_not_shanghais() -> None:
    offsets = read_folder(EXAMPLES / "jiaxing").offsets
    assert offset_m("CN-WUSONG", "CN-H85", "330402", offsets) == -1.828
    assert offset_m("CN-WUSONG", "CN-H85", "310116", offsets) == -1.659
    assert offset_m("CN-H56", "CN-H85", "330402", offsets) == -0.029
    assert offset_m("CN-H85", "CN-WUSONG", "330402", offsets) == 1.828


def test_huzhou_refuses_wusong_heights_rather_than_borrow_a_constant() -> None:
    with pytest.raises(DatumError, match="no offset from CN-WUSONG"):
        offset_m("CN-WUSONG", "CN-H85", "330503", read_folder(EXAMPLES / "huzhou").offsets)


@pytest.mark.parametrize(
    ("file", "old", "new", "entry", "field", "what"),
    [
        ("node.yaml", "zone: Asia/Shanghai", "zone: Asia/Huzhou", "node", "zone", "no time zone"),
        ("node.yaml", '"330500"', "330500", "node", "region_code", "not a GB/T 2260 code"),
        ("node.yaml", "  simulated: true", "  simulated: true\n  colour: blue", "node", "colour", "unknown key"),
        ("regions.yaml", 'parent: "330500"}', 'parent: "330599"}', "330502", "parent", "no region above"),
        ("datums.yaml", ", source:", ", sauce:", "CN-H56", "source", "is missing"),
        ("datums.yaml", "from: CN-H56", "from: CN-H65", "CN-H65", "from", "not known"),
        ("datums.yaml", "offset_m: -0.029", 'offset_m: "-0.029"', "CN-H56", "offset_m", "not a number"),
        ("limits.yaml", "property: depth_to_water", "property: depth_of_water", "nanxun-II-limit", "property", "not known"),
        ("limits.yaml", "level: yellow", "level: amber", "nanxun-II-limit", "level", "no colour"),
        ("limits.yaml", "unit: m,", "unit: furlong,", "nanxun-II-limit", "unit", "not a unit"),
        (
            "stations.yaml",
            "unit: m, interval: 1 a, datum: CN-H85",
            "unit: m, interval: 1 a",
            "HZ-BM01:height",
            "datum",
            "missing for a height",
        ),
        ("stations.yaml", "unit: Cel, sensor", "unit: mm, sensor", "water_temperature", "unit", "does not measure"),
        ("stations.yaml", "aquifer: II}", "aquifer: IX}", "depth_to_water", "aquifer", "not known"),
        (
            "stations.yaml",
            'start: "2025-05-10T09:00:00+08:00"',
            'start: "2025-05-10T09:00:00"',
            "HZ-OW01",
            "start",
            "with offset",
        ),
        ("stations.yaml", "interval: 4 h", "interval: hourly", "HZ-OW01", "interval", "a number with s"),
        ("stations.yaml", "kind: benchmark", "kind: bench", "HZ-BM01", "kind", "unknown"),
        ("stations.yaml", "latitude_deg: 30.54", "latitude_deg: 130.54", "HZ-GN01", "latitude_deg", "out of bounds"),
        (
            "stations.yaml",
            "property: displacement_north",
            "property: displacement_east",
            "HZ-GN01:displacement_east",
            "datastream",
            "twice",
        ),
        ("licences.yaml", "valid_to: 2030-12-31", "valid_to: 2010-12-31", "SIM-3305-GT01", "valid_to", "not after"),
        ("licences.yaml", "station: HZ-GT01", "station: HZ-GT09", "SIM-3305-GT01", "station", "not known"),
        (
            "licences.yaml",
            "reinjection_ratio: 0.8",
            "reinjection_ratio: 80",
            "SIM-3305-GT01",
            "reinjection_ratio",
            "between 0 and 1",
        ),
        ("rules.yaml", "levels: {blue: 60", "levels: {purple: 60", "wellhead-temperature-low", "", "purple"),
        ("receivers.yaml", "kind: mqtt", "kind: pigeon", "mqtt", "kind", "unknown"),
        ("partners.yaml", "datasets: [stations,", "datasets: [everything,", "330000", "agreement", "unknown datasets"),
        ("partners.yaml", "cadence: hourly", "cadenza: hourly", "330000", "agreement cadenza", "unknown key"),
    ],
)
def test_a_problem_names_file_entry_field_and_remedy(
    folder: Path, change: Change, file: str, old: str, new: str, entry: str, field: str, what: str
) -> None:
    change(file, old, new)
    with pytest.raises(FolderError) as caught:
        read_folder(folder)
    matching = [p for p in caught.value.problems if p.file == file and entry in p.entry and field in p.field and what in p.what]
    assert matching, caught.value.problems
    assert all(problem.remedy for problem in matching)
    assert file in str(caught.value)


def test_all_problems_are_reported_at_once(folder: Path, change: Change) -> None:
    change("node.yaml", "zone: Asia/Shanghai", "zone: Nowhere")
    change("limits.yaml", "value: 20", "value: twenty")
    change("stations.yaml", "kind: benchmark", "kind: bench")
    with pytest.raises(FolderError) as caught:
        read_folder(folder)
    assert {problem.file for problem in caught.value.problems} >= {"node.yaml", "limits.yaml", "stations.yaml"}


def test_a_key_given_twice_is_refused_rather_than_won_by_the_last(folder: Path, change: Change) -> None:
    change("node.yaml", "  zone: Asia/Shanghai", "  zone: Asia/Shanghai\n  zone: UTC")
    with pytest.raises(FolderError, match="given twice"):
        read_folder(folder)


def test_a_misnamed_file_is_refused(folder: Path) -> None:
    (folder / "licenses.yaml").write_text("licences: []", encoding="utf-8")
    with pytest.raises(FolderError, match=r"licenses\.yaml: is an unknown file"):
        read_folder(folder)


def test_a_missing_required_file_is_named(folder: Path) -> None:
    (folder / "datums.yaml").unlink()
    with pytest.raises(FolderError, match=r"datums\.yaml: is missing"):
        read_folder(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration folder"):
        read_folder(tmp_path / "absent")


def test_the_digest_is_of_what_is_said_and_not_of_the_layout(folder: Path, change: Change) -> None:
    before = read_folder(folder).digest
    change("node.yaml", "node:", "# a comment\nnode:")
    assert read_folder(folder).digest == before
    change("limits.yaml", "value: 20", "value: 21")
    assert read_folder(folder).digest != before


def test_rules_are_the_defaults_unless_told_otherwise(folder: Path) -> None:
    from alerts.defaults import default_rules

    defaults = {rule.code for rule in default_rules()}
    assert {rule.code for rule in read_folder(folder).rules} == defaults | {"wellhead-temperature-low"}
    (folder / "rules.yaml").write_text("disabled: [silent]\n", encoding="utf-8")
    assert {rule.code for rule in read_folder(folder).rules if rule.enabled} == defaults - {"silent"}
    (folder / "rules.yaml").write_text("defaults: false\n", encoding="utf-8")
    assert read_folder(folder).rules == ()
    (folder / "rules.yaml").write_text("disabled: [no-such-rule]\n", encoding="utf-8")
    with pytest.raises(FolderError, match="no-such-rule"):
        read_folder(folder)


def test_a_city_adds_its_own_property(folder: Path) -> None:
    entry = "{code: radon, name_zh: 氡, name_en: radon, unit: Hz, direction: more positive}"
    (folder / "observed_properties.yaml").write_text(f"observed_properties:\n  - {entry}\n", encoding="utf-8")
    assert "radon" in {item.code for item in read_folder(folder).properties}


def test_values_are_read_as_they_are_written(folder: Path) -> None:
    city = read_folder(folder)
    well = next(item for item in city.datastreams if item.code == "HZ-OW01:depth_to_water")
    assert (well.interval_s, well.aquifer, well.depth_top_m) == (14_400.0, "II", 85.0)
    licence = city.licences[0]
    assert (licence.valid_from, licence.reinjection_ratio, licence.licence_year_start) == (date(2020, 1, 1), 0.8, "01-01")
    assert city.events[0].start == datetime(2025, 5, 10, 1, tzinfo=UTC)


def test_the_shipped_vocabulary_states_unit_sign_and_plausible_range() -> None:
    codes = [item.code for item in shipped_properties()]
    assert len(codes) == len(set(codes))
    for item in shipped_properties():
        parse_unit(item.unit)
        assert item.direction.endswith("positive") or "positive" in item.direction
        assert item.name_zh != item.name_en or item.code == "ph"
        assert item.lowest is not None
        assert item.highest is not None
        assert item.lowest < item.highest
    assert {item.code for item in shipped_properties() if item.needs_datum} == {"height", "head", "water_level"}
    assert {item.code for item in shipped_datums()} >= {"CN-H85", "CN-H56", "CN-WUSONG", "NL-NAP"}


def test_shipped_profiles_name_only_known_properties_and_datums() -> None:
    from ingest.profile import shipped_profiles

    properties, datums = {item.code for item in shipped_properties()}, {item.code for item in shipped_datums()}
    for profile in shipped_profiles().values():
        assert {rule.property_code for rule in profile.columns} <= properties, profile.name
        assert {rule.datum for rule in profile.columns if rule.datum} <= datums, profile.name
