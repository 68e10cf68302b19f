"""Registers, accounts, import, replay, analyse and export by the command line, on a real database."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.cli import main

pytestmark = pytest.mark.stack

Run = Callable[..., tuple[int, list[Any]]]


@pytest.fixture
def run(
    database_url: str, broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setenv("GROUNDWATCH_DATABASE_URL", database_url)
    monkeypatch.setenv("GROUNDWATCH_MQTT_URL", broker.url)
    monkeypatch.setenv("GROUNDWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GROUNDWATCH_BROKER_ACCOUNTS", str(tmp_path / "accounts"))
    (tmp_path / "accounts").mkdir()

    def groundwatch(*words: str) -> tuple[int, list[Any]]:
        code = main([*words, "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith(("{", "["))]

    assert groundwatch("migrate")[0] == 0
    return groundwatch


def add_well(run: Run, code: str) -> None:
    assert (
        run(
            "station", "add", code, "kind=observation_well", "name_zh=一号井", "name_en=well", "disclosure=open", "tags=[border]"
        )[0]
        == 0
    )
    assert run("datastream", "add", f"{code}:depth_to_water", "unit=m", "interval_s=3600")[0] == 0


def test_a_station_is_added_shown_changed_and_never_deleted(run: Run) -> None:
    add_well(run, "W1")
    _, (shown,) = run("station", "show", "w1")
    assert (shown["code"], shown["kind"], shown["tags"], shown["name_zh"]) == ("W1", "observation_well", ["border"], "一号井")
    _, (changed,) = run("station", "set", "W1", "longitude_deg=120.7", "latitude_deg=30.7", "confirmed=true")
    assert (changed["longitude_deg"], changed["latitude_deg"]) == (120.7, 30.7)
    code, (refused,) = run("station", "remove", "W1")
    assert (code, refused["error"]) == (2, "conflict")


def test_a_licence_is_changed_from_a_day_on_and_its_versions_are_listed(run: Run, tmp_path: Path) -> None:
    add_well(run, "GT9")
    stated = ("station=GT9", "holder=某", "valid_from=2020-01-01", "valid_to=2030-12-31", "quota_m3_per_a=300000", "source=批文")
    assert run("licence", "add", "L9", *stated)[0] == 0
    _, (changed,) = run("licence", "set", "L9", "quota_m3_per_a=200000", "effective_from=2025-01-01")
    assert (changed["quota_m3_per_a"], changed["effective_from"], changed["holder"]) == (200000.0, "2025-01-01", "某")
    listed = [entry for entry in run("licence", "list")[1] if entry["code"] == "L9"]
    assert [(entry["effective_from"], entry["quota_m3_per_a"]) for entry in listed] == [("2020-01-01", 3e5), ("2025-01-01", 2e5)]
    assert run("licence", "show", "L9")[1][0]["effective_from"] == "2025-01-01"
    path = tmp_path / "licences.yaml"
    path.write_text(yaml.safe_dump(listed), encoding="utf-8")
    assert run("licence", "import", str(path))[0] == 0
    assert [entry for entry in run("licence", "list")[1] if entry["code"] == "L9"] == listed
    code, (refused,) = run("licence", "set", "L9", "superseded_on=2026-01-01")
    assert code == 2 and "next version" in str(refused)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("station", "add", "W9"), "kind"),
        (("station", "add", "W9", "kind=spaceship", "name_zh=x", "name_en=x"), "kind"),
        (("station", "add", "W9", "kind=other", "name_zh=x", "name_en=x", "colour=red"), "colour"),
        (("station", "add", ":", "kind=other", "name_zh=x", "name_en=x"), "station code"),
        (("datastream", "add", "nowhere:depth_to_water", "unit=m"), "nowhere"),
        (("sensor", "add", "nocolon"), "STATION:SENSOR"),
        (("user", "add", "x"), "role"),
        (("user", "add", "x", "role=viewer", "password=short"), "password"),
        (("key", "add", "viewer", "days=-1"), "days"),
        (("key", "add", "shanghai", "partner=310000"), "role"),
        (("key", "add", "partner"), "partner"),
        (("key", "add", "device"), "station"),
        (("station", "add", "W9", "kind=other", "name_zh=x", "name_en=x", "longitude_deg=east"), "write a number"),
        (("key", "set", "1"), "key"),
        (("device", "add", "nosuch"), "nosuch"),
        (("rule", "add", "r", "kind=nosuch"), "kind"),
        (("licence", "show", "none"), "none"),
    ],
)
def test_what_is_wrong_is_named(run: Run, words: tuple[str, ...], named: str) -> None:
    code, (answer,) = run(*words)
    assert code == 2
    assert named in json.dumps(answer)
    assert answer["remedy"]


def test_a_partner_gets_a_key_though_its_code_looks_like_a_number(run: Run) -> None:
    agreement = json.dumps({"datasets": ["stations"], "disclosure": "rounded"})
    assert run("partner", "add", "310000", "name_zh=上海", "name_en=Shanghai", f"agreement={agreement}", "source=test")[0] == 0
    code, (key,) = run("key", "add", "partner", "partner=310000")
    assert (code, key["role"]) == (0, "partner")
    assert [entry["partner"] for entry in run("key", "list")[1]] == ["310000"]


def test_texts_that_look_like_octal_numbers_are_kept_as_written(run: Run) -> None:
    assert run("station", "add", "02177000", "kind=other", "name_zh=甲", "name_en=0123", "region_code=033041")[0] == 0
    shown = run("station", "show", "02177000")[1][0]
    assert (shown["name_en"], shown["region_code"]) == ("0123", "033041")
    assert run("sensor", "add", "02177000:P1", "serial=1.10")[1][0]["serial"] == "1.10"
    assert run("key", "add", "device", "station=02177000")[0] == 0
    assert run("user", "add", "zhang", "role=viewer", "password=01234567012")[1][0]["password"] == "01234567012"


def test_a_station_is_not_added_twice(run: Run) -> None:
    words = ("station", "add", "TWICE1", "kind=other", "name_zh=x", "name_en=x")
    assert run(*words)[0] == 0
    code, (answer,) = run(*words)
    assert (code, answer["error"]) == (2, "conflict")
    assert "already" in answer["what"]
    assert "station set" in answer["remedy"]


def test_answers_in_words_go_to_stdout_and_complaints_to_stderr(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_well(run, "SAID1")
    assert main(["station", "list"]) == 0
    assert capsys.readouterr().out.count("SAID1  kind=observation_well") == 1
    table = tmp_path / "levels.csv"
    table.write_bytes(
        "点号,高程(m),高程基准,观测日期,累计沉降量(mm)\nSAIDBM,2.065,1985国家高程基准,2023-05-10~2023-05-28,35\n".encode(
            "gb18030"
        )
    )
    assert main(["import", str(table)]) == 0
    said = capsys.readouterr()
    assert "1 accepted" in said.out
    assert "not stored: 累计沉降量" in said.out
    assert "confirmed=true" in said.out
    assert main(["export", "SAIDBM:height", "--from", "2030-01-01T00:00:00Z"]) == 0
    assert capsys.readouterr().out.startswith("datastream,phenomenon_time,")
    assert main(["audit", "verify"]) == 0
    assert "the chain is whole" in capsys.readouterr().out
    assert main(["import", str(tmp_path / "absent.csv")]) == 2
    said = capsys.readouterr()
    assert (said.out, "absent.csv" in said.err) == ("", True)


def test_a_height_needs_its_datum(run: Run) -> None:
    run("station", "add", "BM1", "kind=benchmark", "name_zh=点", "name_en=mark")
    code, (answer,) = run("datastream", "add", "BM1:height", "unit=m")
    assert (code, answer["error"]) == (2, "conflict")
    assert run("datastream", "add", "BM1:height", "unit=m", "datum_code=CN-H85")[0] == 0
    code, (answer,) = run("datastream", "set", "BM1:height", "datum_code=CN-WUSONG")
    assert (code, answer["error"]) == (2, "conflict")


def test_a_register_exported_is_a_register_imported(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("station", "add", "EX1", "kind=other", "name_zh=甲", "name_en=a")
    assert main(["station", "export"]) == 0
    text = capsys.readouterr().out
    entries = yaml.safe_load(text)
    assert any(entry["code"] == "EX1" and entry["name_zh"] == "甲" for entry in entries)
    path = tmp_path / "stations.yaml"
    path.write_text(text.replace("name_en: a\n", "name_en: renamed\n"), encoding="utf-8")
    assert run("station", "import", str(path))[0] == 0
    assert run("station", "show", "EX1")[1][0]["name_en"] == "renamed"


def test_accounts_keys_and_devices_show_their_secret_once(run: Run, tmp_path: Path) -> None:
    _, (made,) = run("user", "add", "wang", "role=supervisor", "display_name=王工")
    assert len(made["password"]) >= 10
    assert all("password" not in entry for entry in run("user", "list")[1])
    assert run("user", "remove", "wang")[1][0]["enabled"] is False
    _, (key,) = run("key", "add", "viewer", "note=test", "days=30")
    assert key["key"].startswith("gw_")
    assert all(key["key"] not in json.dumps(entry) for entry in run("key", "list")[1])
    assert run("key", "remove", key["code"])[0] == 0
    add_well(run, "DEV1")
    _, (device,) = run("device", "add", "DEV1")
    passwords = (tmp_path / "accounts" / "passwords").read_text()
    assert device["mqtt_username"] == "DEV1"
    assert "DEV1:$7$" in passwords
    assert device["mqtt_password"] not in passwords
    assert run("device", "remove", "DEV1")[0] == 0
    assert "DEV1:" not in (tmp_path / "accounts" / "passwords").read_text()


def test_a_rule_changes_by_a_new_version_and_is_disabled_not_deleted(run: Run, database_url: str) -> None:
    from alerts.defaults import default_rules
    from alerts.rules import rule_as_mapping

    mapping = {key: value for key, value in rule_as_mapping(default_rules()[0]).items() if key not in {"code", "version"}}
    words = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in mapping.items() if value is not None]
    _, (first,) = run("rule", "add", "mine", *words)
    assert first["version"] == 1
    _, (second,) = run("rule", "set", "mine", "name_en=Mine")
    assert (second["version"], second["name_en"]) == (2, "Mine")
    _, (third,) = run("rule", "remove", "mine")
    assert (third["version"], third["enabled"]) == (3, False)


def test_a_file_is_rehearsed_imported_exported_and_replayed(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_well(run, "CSV1")
    profile = tmp_path / "well.yaml"
    profile.write_text(
        "format: csv\nsource: test\ntime: {column: time, zone: Asia/Shanghai, formats: [iso]}\nstation: {constant: CSV1}\n"
        "columns:\n  - {match: depth, property: depth_to_water, unit: cm}\n",
        encoding="utf-8",
    )
    table = tmp_path / "well.csv"
    table.write_text("time,depth\n2026-01-01 00:00,512.5\n2026-01-01 01:00,broken\n2026-01-01 02:00,513\n", encoding="utf-8")
    words = ("import", str(table), "--profile", str(profile))
    code, (rehearsed,) = run(*words, "--dry-run")
    assert (code, rehearsed["accepted"], rehearsed["rejected"]) == (3, 2, 1)
    code, (imported,) = run(*words)
    assert (code, imported["accepted"], imported["rejected"]) == (3, 2, 1)
    assert imported["rejects"][0]["line"] == 3
    assert main(["export", "CSV1:depth_to_water"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("datastream,phenomenon_time")
    assert lines[1].startswith("CSV1:depth_to_water,2025-12-31T16:00:00Z,,5.125,m,")
    table.write_text("time,depth\n2026-01-01 00:00,512.5\n2026-01-01 02:00,514\n", encoding="utf-8")
    _, (corrected,) = run(*words)
    assert (corrected["accepted"], corrected["duplicate"], corrected["corrected"]) == (0, 1, 1)
    kept = tmp_path / "home" / "profiles" / "well.yaml"
    kept.write_text(profile.read_text(encoding="utf-8").replace("columns:", "missing: [broken]\ncolumns:"), encoding="utf-8")
    code, (replayed,) = run("replay", "--since", "2020-01-01T00:00:00+08:00")
    assert (code, replayed["payloads"], replayed["resolved"], replayed["remaining"]) == (0, 1, 1, 0)
    assert main(["export", "CSV1:depth_to_water"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_an_import_puts_no_other_profile_in_the_place_of_one_of_its_name(run: Run, tmp_path: Path) -> None:
    add_well(run, "CSV2")
    table = tmp_path / "wells.csv"
    table.write_text("time,depth\n2026-01-01 00:00,512.5\n", encoding="utf-8")
    text = (
        "format: csv\nsource: test\ntime: {column: time, zone: Asia/Shanghai, formats: [iso]}\nstation: {constant: CSV2}\n"
        "columns:\n  - {match: depth, property: depth_to_water, unit: cm}\n"
    )
    folders = [tmp_path / name for name in ("gateway", "other")]
    for folder, unit in zip(folders, ("cm", "mm"), strict=True):
        folder.mkdir()
        (folder / "gateway2.yaml").write_text(text.replace("unit: cm", f"unit: {unit}"), encoding="utf-8")
    mine, other = (folder / "gateway2.yaml" for folder in folders)
    kept = tmp_path / "home" / "profiles" / "gateway2.yaml"
    assert run("import", str(table), "--profile", str(mine))[0] == 0
    assert "unit: cm" in kept.read_text(encoding="utf-8")
    code, (refused,) = run("import", str(table), "--profile", str(other))
    assert code == 2
    assert "another profile of this name is kept" in str(refused)
    assert "unit: cm" in kept.read_text(encoding="utf-8")
    assert run("import", str(table), "--profile", str(other), "--dry-run")[0] == 0
    mine.write_text(text + "  # better\n", encoding="utf-8")
    assert run("import", str(table), "--profile", str(mine))[0] == 0
    assert "better" in kept.read_text(encoding="utf-8")
    assert run("import", str(table), "--profile", str(kept))[0] == 0
    kept.write_text(text, encoding="utf-8")  # a person's own, by now
    assert run("import", str(table), "--profile", str(mine))[0] == 2
    assert kept.read_text(encoding="utf-8") == text
    (tmp_path / "levelling.yaml").write_text(text, encoding="utf-8")
    code, (refused,) = run("import", str(table), "--profile", str(tmp_path / "levelling.yaml"))
    assert (code, (tmp_path / "home" / "profiles" / "levelling.yaml").exists()) == (2, False)
    assert "shipped profile" in str(refused)


def test_an_import_says_that_the_disk_is_full(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ingest.pipeline.Pipeline.ingest_path", fail)
    table = tmp_path / "x.csv"
    table.write_text("time,depth\n", encoding="utf-8")
    code, (refused,) = run("import", str(table))
    assert code not in {0, 3}
    assert "the disk is full" in str(refused)
    assert str(tmp_path / "home") in str(refused)
    assert "make room" in str(refused)


def test_analyse_as_of_the_past_stores_nothing_and_gives_the_digits_of_then(run: Run, tmp_path: Path, database_url: str) -> None:
    from storage.database import Database
    from storage.observations import ObservationRepository

    add_well(run, "AS1")
    profile = tmp_path / "p.yaml"
    profile.write_text(
        "format: csv\nsource: test\ntime: {column: time, zone: UTC, formats: [iso]}\nstation: {constant: AS1}\n"
        "columns:\n  - {match: depth, property: depth_to_water, unit: m}\n",
        encoding="utf-8",
    )
    table = tmp_path / "t.csv"
    rows = [f"{2015 + month // 12}-{month % 12 + 1:02d}-01,{5 + 0.01 * month + 0.002 * (month % 7):.3f}" for month in range(96)]
    table.write_text("\n".join(["time,depth", *rows]), encoding="utf-8")
    assert run("import", str(table), "--profile", str(profile))[0] == 0
    _, (first,) = run("analyse", "--datastream", "AS1:depth_to_water")
    with Database(database_url) as database:
        then = ObservationRepository(database).current_seq()
    table.write_text("\n".join(["time,depth", *rows[:-1], rows[-1].split(",")[0] + ",9.0"]), encoding="utf-8")
    assert run("import", str(table), "--profile", str(profile))[1][0]["corrected"] == 1
    _, (past,) = run("analyse", "--datastream", "AS1:depth_to_water", "--as-of", str(then))
    assert past["stored"] is False
    assert past["datastreams"][0]["scalars"] == first["datastreams"][0]["scalars"]
    _, (now,) = run("analyse", "--datastream", "AS1:depth_to_water")
    assert now["datastreams"][0]["runs"][0]["digest"] != first["datastreams"][0]["runs"][0]["digest"]


def test_check_and_audit_say_that_all_is_well(run: Run) -> None:
    code, (answer,) = run("check")
    named = {result["name"]: result["ok"] for result in answer["checks"]}
    assert named["database"]
    assert named["broker"]
    assert code == (0 if answer["ok"] else 1)
    code, (report,) = run("audit", "verify")
    assert (code, report["ok"]) == (0, True)


def test_the_head_of_the_audit_log_is_kept_outside_the_database(run: Run, tmp_path: Path, database_url: str) -> None:
    run("station", "add", "AUDITED", "kind=other", "name_zh=x", "name_en=x")
    code, (report,) = run("audit", "verify")
    head = f"{report['newest_id']}:{report['newest_hash']}"
    assert code == 0 and (tmp_path / "home" / "audit-head").read_text(encoding="utf-8").strip() == head
    assert run("audit", "verify", "--head", head)[0] == 0
    code, (cut,) = run("audit", "verify", "--head", f"{report['newest_id'] + 1}:{report['newest_hash']}")
    assert (code, cut["ok"], cut["truncated"]) == (1, False, True)
    code, (refused,) = run("audit", "verify", "--head", "yesterday")
    assert code == 2 and "no head" in str(refused)
