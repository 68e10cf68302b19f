"""The files of the page: whole, unchanged where they are others', and free of what its CSP forbids."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from service.api.web_pages import PAGES, WEB, page_html

OWN_SCRIPTS = sorted((WEB / "js").glob("*.js"))
OWN_STYLES = sorted((WEB / "css").glob("*.css"))


def words(language: str) -> dict[str, str]:
    loaded: dict[str, str] = json.loads((WEB / "i18n" / f"{language}.json").read_text(encoding="utf-8"))
    return loaded


def test_both_languages_have_the_same_words_with_the_same_places() -> None:
    zh, en = words("zh"), words("en")
    assert zh.keys() == en.keys()
    places = {key: set(re.findall(r"\{\w+\}", text)) for key, text in zh.items()}
    assert {key: set(re.findall(r"\{\w+\}", text)) for key, text in en.items()} == places
    assert all(zh.values())
    assert all(en.values())


def test_every_word_that_the_page_asks_for_is_known() -> None:
    asked = {key for name in PAGES.values() for key in re.findall(r'data-i18n(?:-aria)?="([^"]+)"', page_html(name))}
    for script in OWN_SCRIPTS:
        asked |= set(re.findall(r'\bt\("([\w.]+)"', script.read_text(encoding="utf-8")))
    assert len(asked) > 80
    assert asked - words("zh").keys() == set()


def test_every_code_of_the_domain_has_its_word() -> None:
    from domain.alert import AlertState, Confirmation, Level, Verdict
    from domain.case import CaseState, CaseStep, CaseVerdict, Effect
    from domain.finding import FindingKind
    from domain.model import EventEffect, EventKind, StationKind
    from domain.quality import REASONS, Quality

    wanted = {f"kind.{one.value}" for one in StationKind} | {f"event.{one.value}" for one in EventKind}
    wanted |= (
        {f"finding.{one.value}" for one in FindingKind}
        | {f"reason.{one}" for one in REASONS}
        | {f"quality.{int(one)}" for one in Quality}
    )
    wanted |= {f"state.{one.value}" for one in AlertState} | {f"confirmation.{one.value}" for one in Confirmation}
    wanted |= {f"verdict.{one.value}" for one in Verdict} | {f"level.{one.word}" for one in Level}
    wanted |= {f"case_state.{one.value}" for one in CaseState} | {f"case_step.{one.value}" for one in CaseStep}
    wanted |= {f"case_verdict.{one.value}" for one in CaseVerdict} | {f"case_effect.{one.value}" for one in Effect}
    wanted |= {f"effect.{one.value}" for one in EventEffect if one is not EventEffect.NONE}
    assert wanted - words("zh").keys() == set()


def test_vendored_files_are_those_that_the_register_names() -> None:
    register = (WEB / "vendor" / "VENDOR.md").read_text(encoding="utf-8")
    sums = re.findall(r"^([0-9a-f]{64})  (\S+)$", register, re.MULTILINE)
    assert len(sums) == 4
    for expected, name in sums:
        assert hashlib.sha256((WEB / "vendor" / name).read_bytes()).hexdigest() == expected
    listed = {name for _, name in sums}
    shipped = {
        path.relative_to(WEB / "vendor").as_posix() for path in (WEB / "vendor").rglob("*") if path.suffix in {".js", ".css"}
    }
    assert shipped == listed
    assert (WEB / "vendor" / "leaflet" / "LICENSE.txt").exists()
    assert (WEB / "vendor" / "uplot" / "LICENSE.txt").exists()


@pytest.mark.parametrize("name", PAGES.values())
def test_pages_have_nothing_inline_and_nothing_foreign(name: str) -> None:
    shell = page_html(name)
    assert re.findall(r"<script(?![^>]*\bsrc=)", shell) == []
    assert "<style" not in shell
    assert re.findall(r'\s(?:on\w+|style)="', shell) == []
    assert re.findall(r'(?:src|href)="(?!/|#)[^"]*"', shell) == []
    for address in re.findall(r'(?:src|href)="/assets/([^"]+)"', shell):
        assert (WEB / address).is_file(), address


@pytest.mark.parametrize("script", OWN_SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_html_from_text_and_name_no_other_host(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    assert re.findall(r"\.innerHTML\s*=|\.outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function", source) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", source) == []
    assert len(source.splitlines()) <= 400


@pytest.mark.parametrize("style", OWN_STYLES, ids=lambda path: path.name)
def test_styles_import_nothing(style: Path) -> None:
    source = style.read_text(encoding="utf-8")
    assert re.findall(r"@import|url\(", source) == []
    used = set(re.findall(r"var\((--[\w-]+)\)", source))
    defined = set(re.findall(r"(--[\w-]+):", (WEB / "css" / "tokens.css").read_text(encoding="utf-8")))
    assert used - defined == set()


def test_the_base_layer_says_that_it_is_schematic() -> None:
    drawing = json.loads((WEB / "base" / "jiaxing.geojson").read_text(encoding="utf-8"))
    assert "示意" in drawing["metadata"]["title_zh"]
    assert "not for navigation" in drawing["metadata"]["title_en"]
    counties = {one["properties"].get("region_code") for one in drawing["features"] if one["properties"]["kind"] == "district"}
    assert counties == {"330402", "330411", "330421", "330424", "330481", "330482", "330483"}
    for feature in drawing["features"]:
        if feature["geometry"]["type"] == "Polygon":
            for ring in feature["geometry"]["coordinates"]:
                assert ring[0] == ring[-1]


def test_every_page_fills_the_shell_and_leaves_no_mark() -> None:
    files = {path.stem for path in (WEB / "pages").glob("*.html")} - {"shell"}
    assert files == set(PAGES.values())
    for name in files:
        html = page_html(name)
        assert re.findall(r"<!-- \w+ -->", html) == []
        assert re.findall(r'<(?:script|main|footer|dialog|a class="skip")', html).count("<main") == 1
        assert html.count('type="module"') == html.count('class="skip"') == 1


def test_a_part_that_the_shell_does_not_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.web_pages.WEB", tmp_path)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "shell.html").write_text("<main>\n<!-- content -->\n</main>\n", encoding="utf-8")
    (tmp_path / "pages" / "one.html").write_text("<!-- contents -->\n<p>\n", encoding="utf-8")
    with pytest.raises(ValueError, match="contents is no part"):
        page_html("one")
