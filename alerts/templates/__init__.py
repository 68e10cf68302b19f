"""Texts of notifications, zh and en: shipped templates, or a receiver's own, filled from the payload.

Placeholders are `$name` (string.Template: no code runs in a template). This file finishes with `render`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from domain.alert import level_of
from domain.errors import InputError

FOLDER = Path(__file__).parent
LANGUAGES = ("zh", "en")
SHIPPED = ("long", "short")
PLACEHOLDERS = (
    *("headline", "explanation", "identifier", "node", "kind", "mark", "level", "status"),
    *("station", "datastream", "value", "sigma", "unit", "limit", "onset", "state"),
)
_OF_ALERT = ("station", "datastream", "value", "sigma", "unit", "limit", "onset", "state")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a person reads: one line, and the text."""

    title: str
    text: str


@cache
def _shipped(name: str, language: str) -> str:
    return (FOLDER / f"{name}.{language}.txt").read_text(encoding="utf-8")


def check_templates(settings: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` for an unknown template, language or placeholder."""
    name = settings.get("template", "long")
    if name not in SHIPPED:
        raise InputError(f"template {name!r} is not shipped.", where=where, remedy=f"use one of {', '.join(SHIPPED)}")
    if settings.get("language", "zh") not in (*LANGUAGES, "both"):
        raise InputError(f"language {settings['language']!r} is unknown.", where=where, remedy="use zh, en or both")
    for language, text in dict(settings.get("templates") or {}).items():
        if language not in LANGUAGES or not isinstance(text, str):
            raise InputError(f"templates of {language!r} cannot be used.", where=where, remedy="give texts for zh and en")
        template = Template(text)
        unknown = sorted(set(template.get_identifiers()) - set(PLACEHOLDERS)) if template.is_valid() else ["a lone $"]
        if unknown:
            raise InputError(
                f"the {language} template asks for {', '.join(unknown)}.", where=where, remedy=f"known: {', '.join(PLACEHOLDERS)}"
            )


def languages_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the languages that a receiver reads, Chinese when it does not say."""
    wanted = str(settings.get("language", "zh"))
    return [language for language in LANGUAGES if wanted in (language, "both")] or ["zh"]


def mark_of(payload: Mapping[str, Any], language: str = "en") -> str:
    """Return the word that opens a title: the colour of an alert, else what the message is."""
    alert = payload.get("alert")
    if alert is None:
        kind = str(payload.get("kind", "notice"))
        return kind.upper() if language == "en" else {"case": "问题", "digest": "汇总", "test": "测试"}.get(kind, kind)
    level = str(alert["level"])
    return level.upper() if language == "en" else f"{level_of(level).word_zh}色预警"


def render(payload: Mapping[str, Any], settings: Mapping[str, Any]) -> Rendered:
    """Fill the templates of a receiver's languages from a payload.

    Examples
    --------
    >>> said = {"headline": {"en": "Head falls"}, "explanation": {"en": "It falls."}, "identifier": "X", "alert": {"level": "red"}}
    >>> render(said, {"language": "en", "template": "short"}).text
    '[RED] Head falls (X)'
    """
    languages = languages_of(settings)
    own = dict(settings.get("templates") or {})
    texts = [
        Template(own.get(language) or _shipped(str(settings.get("template", "long")), language)).safe_substitute(
            _values(payload, language)
        )
        for language in languages
    ]
    title = " / ".join(str(payload["headline"][language]) for language in languages)
    return Rendered(" ".join(f"[{mark_of(payload)}] {title}".split()), "\n\n".join(text.strip() for text in texts))


def _values(payload: Mapping[str, Any], language: str) -> dict[str, str]:
    alert = payload.get("alert") or {}
    values = {name: alert.get(name) for name in _OF_ALERT}
    values |= {
        "headline": payload["headline"][language],
        "explanation": payload["explanation"][language],
        "identifier": payload["identifier"],
        "node": payload.get("node"),
        "kind": payload.get("kind", "alert"),
        "mark": mark_of(payload, language),
        "level": alert.get("level"),
        "status": payload.get("status"),
    }
    return {name: "—" if value is None else str(value) for name, value in values.items()}
