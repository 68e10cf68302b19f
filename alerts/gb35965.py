"""An issued message in the terms of GB/T 35965.1-2018 beside CAP: the same identifier, colours instead of severities, Beijing time.

Read from the CAP message itself, so that both say the same. The clause text of the standard was not at hand: identifier, times, types and
colours are as quoted in docs/alerts.md, the names of the other members are ours and have to be held against the platform that takes them.
Event codes (GB/T 35561) are configuration. This file finishes with `gb_message`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from lxml import etree

from alerts.cap_problems import NAMESPACE
from domain.alert import level_of_severity

BEIJING = ZoneInfo("Asia/Shanghai")
_Q = f"{{{NAMESPACE}}}"


def gb_message(cap: str, *, event_code: str | None = None) -> Mapping[str, Any]:
    """Return the message as plain JSON.

    Parameters
    ----------
    cap
        A CAP 1.2 message of our own.
    event_code
        The event's code by GB/T 35561, where the node is configured with one.
    """
    root = etree.fromstring(cap.encode())
    infos = {(info.findtext(f"{_Q}language") or "en-US").lower(): info for info in root.iterfind(f"{_Q}info")}
    info = next((item for language, item in infos.items() if language.startswith("zh")), None)
    told = {
        "identifier": _text(root, "identifier"),
        "sender": _text(root, "sender"),
        "sendTime": _time(_text(root, "sent")),
        "status": _text(root, "status") or "Actual",
        "msgType": _text(root, "msgType"),
        "references": [entry.split(",")[1] for entry in (_text(root, "references") or "").split()],
    }
    return told | ({} if info is None else _warning(info, event_code))


def _warning(info: etree._Element, event_code: str | None) -> dict[str, Any]:
    level = level_of_severity(_text(info, "severity") or "")
    area = info.find(f"{_Q}area")
    return {
        "category": "自然灾害",
        "event": _text(info, "event"),
        "eventCode": event_code,
        "severity": level.name if level else None,
        "level": f"{level.word_zh}色" if level else None,
        "startTime": _time(_text(info, "onset")),
        "expires": _time(_text(info, "expires")),
        "area": None if area is None else _text(area, "areaDesc"),
        "areaCodes": [] if area is None else [item.findtext(f"{_Q}value") for item in area.iterfind(f"{_Q}geocode")],
        "circle": None if area is None else _text(area, "circle"),
        "headline": _text(info, "headline"),
        "description": _text(info, "description"),
        "measures": _text(info, "instruction"),
        "issuer": _text(info, "senderName"),
    }


def _text(parent: etree._Element, name: str) -> str | None:
    return (parent.findtext(_Q + name) or "").strip() or None


def _time(text: str | None) -> str | None:
    """Return a time as the standard writes it: `YYYY-MM-DD hh:mm:ss+08:00`."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone(BEIJING).isoformat(sep=" ", timespec="seconds")
