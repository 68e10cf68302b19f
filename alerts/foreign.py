"""CAP messages of partners: read, chained, acknowledged.

What a chain says is a function of its messages, in whatever order they came. This file finishes with `acknowledgement`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from lxml import etree

from alerts.cap import Message, parse, to_xml
from alerts.cap_problems import NAMESPACE
from domain.alert import Level, MessageStatus, MessageType, level_of_severity
from domain.errors import ConflictError, FormatError, PermissionDeniedError
from domain.foreign import ForeignAcknowledgement, ForeignAlert, ForeignMessage, ForeignState, Reference

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far ahead of ours a partner's clock may be."""
ANSWERS = frozenset({MessageType.ACK, MessageType.ERROR})
"""Types that answer a message of ours, instead of telling of an alert."""
_Q = f"{{{NAMESPACE}}}"


def read_message(raw: bytes, partner: str, now: datetime) -> ForeignMessage:
    """Return what a partner sent.

    Raises
    ------
    FormatError
        It is no valid CAP 1.2, it was sent in the future, or an alert says nothing.
    """
    root = parse(raw)
    text = {
        name: (root.findtext(_Q + name) or "").strip()
        for name in ("identifier", "sender", "sent", "status", "msgType", "references")
    }
    sent = datetime.fromisoformat(text["sent"])
    if sent > now + CLOCK_TOLERANCE:
        raise FormatError(
            f"the message says that it was sent at {text['sent']}, which lies ahead.",
            where="sent",
            remedy="set the sender's clock",
        )
    infos = [_info(element) for element in root.iterfind(f"{_Q}info")]
    kind = MessageType(text["msgType"])
    if kind in {MessageType.ALERT, MessageType.UPDATE} and not infos:
        raise FormatError(f"the {kind.value} has no info.", where="info", remedy="say what, where and how severe")
    return ForeignMessage(
        partner=partner,
        sender=text["sender"],
        identifier=text["identifier"],
        sent=sent,
        status=MessageStatus(text["status"]),
        message_type=kind,
        level=max((level_of_severity(info["severity"]) for info in infos), default=Level.NONE),
        references=tuple(_reference(entry) for entry in text["references"].split()),
        said={"sent": text["sent"], "note": (root.findtext(f"{_Q}note") or "").strip(), "infos": infos},
        body=raw.decode("utf-8"),
        received_at=now,
    )


def _reference(entry: str) -> Reference:
    sender, identifier, sent = entry.split(",")
    return Reference(sender, identifier, datetime.fromisoformat(sent))


def _info(element: etree._Element) -> dict[str, Any]:
    names = ("language", "event", "urgency", "severity", "certainty", "onset", "expires", "senderName", "headline", "description",
             "instruction", "contact", "web")  # fmt: skip
    said: dict[str, Any] = {name: text for name in names if (text := (element.findtext(_Q + name) or "").strip())}
    said["responseType"] = [(item.text or "").strip() for item in element.iterfind(f"{_Q}responseType")]
    said["parameters"] = {
        item.findtext(f"{_Q}valueName") or "": item.findtext(f"{_Q}value") or "" for item in element.iterfind(f"{_Q}parameter")
    }
    said["areas"] = [_area(item) for item in element.iterfind(f"{_Q}area")]
    return said


def _area(element: etree._Element) -> dict[str, Any]:
    return {
        "description": (element.findtext(f"{_Q}areaDesc") or "").strip(),
        "polygons": [(item.text or "").split() for item in element.iterfind(f"{_Q}polygon")],
        "circles": [(item.text or "").strip() for item in element.iterfind(f"{_Q}circle")],
        "geocodes": {
            item.findtext(f"{_Q}valueName") or "": item.findtext(f"{_Q}value") or "" for item in element.iterfind(f"{_Q}geocode")
        },
    }


def check_sender(message: ForeignMessage, trusted: Collection[str], own_sender: str) -> None:
    """Refuse what comes from a sender that the agreement does not name, and what we sent ourselves.

    Raises
    ------
    PermissionDeniedError
        The agreement names other senders.
    ConflictError
        The message is ours: it came back.
    """
    if message.sender == own_sender:
        raise ConflictError("the message is our own.", where="sender", remedy="do not send on what you got from us")
    if message.sender not in trusted:
        raise PermissionDeniedError(
            f"the agreement with {message.partner} names no sender {message.sender!r}.",
            where="sender",
            remedy="add it to `senders` of the partner's agreement, or send as one of those",
        )


def check_reference(claimed: Reference, stored_sent: datetime | None) -> None:
    """Refuse a reference that names a message of ours, or a stored one, with another time than it has."""
    if stored_sent is not None and claimed.sent != stored_sent:
        raise ConflictError(
            f"{claimed.identifier} was sent at {stored_sent.isoformat()}, not at {claimed.sent.isoformat()}.",
            where="references",
            remedy="refer to messages as they were sent",
        )


def fold(
    messages: Sequence[ForeignMessage], acknowledgements: Sequence[ForeignAcknowledgement] = (), foreign_id: int | None = None
) -> ForeignAlert:
    """Return what the messages of one chain say together.

    Parameters
    ----------
    messages
        At least one, in any order. The newest by `sent` decides; of one second the one that refers to more, and a Cancel, is the newer.
    """
    ordered = sorted(
        messages, key=lambda item: (item.sent, len(item.references), item.message_type is MessageType.CANCEL, item.identifier)
    )
    newest = ordered[-1]
    known = {item.key for item in ordered}
    levels = [item.level for item in ordered if item.message_type is not MessageType.CANCEL]
    level = next((item.level for item in reversed(ordered) if item.said["infos"]), Level.NONE)
    return ForeignAlert(
        partner=newest.partner,
        sender=newest.sender,
        state=_state(newest),
        status=newest.status,
        level=level,
        peak_level=max(levels, default=level),
        newest=newest,
        messages=tuple(ordered),
        incomplete=any((item.sender, item.identifier) not in known for message in ordered for item in message.references),
        acknowledgements=tuple(sorted(acknowledgements, key=lambda item: item.recorded_at)),
        foreign_id=foreign_id,
    )


def _state(newest: ForeignMessage) -> ForeignState:
    if newest.message_type is MessageType.CANCEL:
        return ForeignState.CANCELLED
    infos = newest.said["infos"]
    over = all(info.get("urgency") == "Past" or "AllClear" in info["responseType"] for info in infos)
    return ForeignState.ENDED if infos and over else ForeignState.ACTIVE


def has_expired(alert: ForeignAlert, now: datetime) -> bool:
    """Does every info of the newest message state an expiry that is over?"""
    ends = [info.get("expires") for info in alert.newest.said["infos"]]
    return bool(ends) and all(end is not None and datetime.fromisoformat(end) < now for end in ends)


def acknowledgement(
    alert: ForeignAlert, identifier: str, sender: str, actor: str, note: str, restriction: str, now: datetime
) -> ForeignAcknowledgement:
    """Return the CAP Ack by which a named person takes notice of every message of a partner's alert."""
    sent = max(now.replace(microsecond=0), *(item.sent for item in alert.messages))
    message = Message(
        identifier=identifier,
        sender=sender,
        sent=sent,
        status=alert.status,
        message_type=MessageType.ACK,
        infos=(),
        restriction=restriction,
        references=tuple(f"{item.sender},{item.identifier},{item.said['sent']}" for item in alert.messages),
        note=f"{actor}: {note}" if note else actor,
    )
    named = tuple(item.identifier for item in alert.messages)
    return ForeignAcknowledgement(identifier, actor, note, now, named, to_xml(message).decode())
