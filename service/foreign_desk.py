"""Takes in the alerts of partners, answers them, and notes their answers to ours. Nothing that comes in here is ever sent on.

This file finishes with `acknowledge`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.foreign import ANSWERS, acknowledgement, check_reference, check_sender, read_message
from alerts.issue import RESTRICTION
from alerts.notifiers.webhook import signature
from domain.alert import MessageStatus, MessageType
from domain.alerting import AlertRecord, Notification, Transition
from domain.errors import ConfigurationError, ConflictError, PermissionDeniedError
from domain.foreign import ForeignAcknowledgement, ForeignAlert, ForeignMessage, ForeignState
from service.sharing.agreement import Agreement, agreement_of
from storage.foreign import ForeignUnitOfWork


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message: whether it had come before, the partner's alert it belongs to, or the alert of ours that it answers."""

    message: ForeignMessage
    repeated: bool
    foreign: ForeignAlert | None = None
    answered: AlertRecord | None = None


def take_in(container: Any, partner: Any, raw: bytes, signed: str | None, now: datetime) -> Taken:
    """Store a CAP message of a partner; the same message again changes nothing.

    Parameters
    ----------
    partner
        Its row, with the agreement.
    raw
        The message as it came.
    signed
        The header `X-GroundWatch-Signature`.

    Raises
    ------
    FormatError
        It is no valid CAP 1.2.
    PermissionDeniedError
        The signature is missing or wrong, or the agreement does not name the sender.
    ConflictError
        Its identifier stands for another message, it is our own, or it answers or refers to what was not sent like that.
    """
    agreement = Agreement.read(partner.agreement, partner.code)
    _check_signature(agreement, container.secrets, raw, signed)
    message = read_message(raw, partner.code, now)
    check_sender(message, agreement.senders, container.issuer.sender)
    with container.foreign.transaction(message.sender) as unit:
        before = unit.message(message.sender, message.identifier)
        if before is not None:
            return _again(unit, message, before)
        if message.message_type in ANSWERS:
            return Taken(message, False, answered=_note_answer(unit, message, container.issuer.sender, now))
        known = unit.sent_of(message.sender, [item.identifier for item in message.references if item.sender == message.sender])
        for claimed in message.references:
            check_reference(claimed, known.get(claimed.identifier) if claimed.sender == message.sender else None)
        return Taken(message, False, foreign=unit.chain(message, unit.add_message(message)))


def _check_signature(agreement: Agreement, secrets: Any, raw: bytes, signed: str | None) -> None:
    if agreement.signature is None:
        return
    secret = secrets.get(agreement.signature)
    if secret is None:
        raise ConfigurationError(
            f"the secret {agreement.signature!r} is not set.", where="agreement", remedy="write it into receiver-secrets.toml"
        )
    if not hmac.compare_digest(signature(secret, raw).encode(), (signed or "").encode()):
        raise PermissionDeniedError(
            "the signature is missing or does not fit the body.",
            where="X-GroundWatch-Signature",
            remedy="send sha256= and the hexadecimal HMAC-SHA256 of the body as it is sent",
        )


def _again(unit: ForeignUnitOfWork, message: ForeignMessage, before: ForeignMessage) -> Taken:
    if before.body != message.body:
        raise ConflictError(
            f"{message.identifier} of {message.sender} stands for another message.",
            where="identifier",
            remedy="give every message an identifier of its own; what changes goes out as an Update",
        )
    return Taken(before, True)


def _note_answer(unit: ForeignUnitOfWork, message: ForeignMessage, own_sender: str, now: datetime) -> AlertRecord:
    """Write a partner's Ack or Error beside the alert of ours that it names; a person here still has to take notice of the alert."""
    issued = {item.identifier: unit.issued(item.identifier) for item in message.references if item.sender == own_sender}
    found = [item for item in issued.values() if item is not None]
    if not found or len(found) < len(message.references):
        raise ConflictError(
            f"the {message.message_type.value} names a message that was not sent from here.",
            where="references",
            remedy="answer with sender, identifier and sent of the message as it came",
        )
    for claimed in message.references:
        sent = issued[claimed.identifier]
        check_reference(claimed, sent.sent if sent is not None else None)
    unit.add_message(message)
    alert = unit.alert(found[-1].alert_id)
    unit.add_transition(
        Transition(
            alert_id=found[-1].alert_id,
            kind="partner_acknowledged" if message.message_type is MessageType.ACK else "partner_error",
            to_state=alert.state,
            occurred_at=message.sent,
            recorded_at=now,
            actor=f"partner {message.partner}",
            reason=str(message.said["note"]) or message.identifier,
            from_state=alert.state,
            from_level=alert.level,
            to_level=alert.level,
            evidence={"identifier": message.identifier, "status": message.status.value},
        )
    )
    return alert


def acknowledge(container: Any, foreign_id: int, actor: str, note: str, now: datetime) -> ForeignAlert:
    """Take notice of a partner's alert by name, and put the CAP Ack into the outbox of the receiver that the agreement names.

    Raises
    ------
    ConflictError
        Nobody has to: what the newest message says is acknowledged already.
    """
    issuer = container.issuer
    with container.foreign.transaction() as unit:
        alert = unit.foreign(foreign_id)
        if alert.is_acknowledged:
            raise ConflictError("this is acknowledged already.", where="id", remedy="wait for the partner's next message")
        identifier = unit.free_identifier(issuer.authority, now)
        said = acknowledgement(alert, identifier, issuer.sender, actor, note, RESTRICTION, now)
        stored: ForeignAlert = unit.add_acknowledgement(foreign_id, said)
        receiver = _reply_to(container, alert.partner)
        if receiver is not None:
            unit.enqueue([_notification(issuer.node, receiver, said, alert, now)])
    return stored


def answers_due(container: Any, alerts: Sequence[ForeignAlert]) -> dict[int | None, datetime]:
    """Return until when we owe the answer to each of some partners' alerts; those that owe none are left out.

    Nothing is owed to what is over, to what is no actual alert, and where no time was agreed. The time runs from the first message after
    the newest one that somebody here took notice of.
    """
    agreements = {partner.code: agreement_of(partner) for partner in container.access.partners()}
    within = {code: agreement.acknowledge_within for code, agreement in agreements.items() if agreement is not None}
    found: dict[int | None, datetime] = {}
    for alert in alerts:
        agreed = within.get(alert.partner)
        if (
            agreed is None
            or alert.is_acknowledged
            or alert.state is not ForeignState.ACTIVE
            or alert.status is not MessageStatus.ACTUAL
        ):
            continue
        named = {identifier for item in alert.acknowledgements for identifier in item.acknowledged}
        seen = [place for place, item in enumerate(alert.messages) if item.identifier in named]
        unseen = alert.messages[max(seen, default=-1) + 1 :]
        found[alert.foreign_id] = min(item.received_at for item in unseen) + agreed
    return found


def _reply_to(container: Any, partner_code: str) -> str | None:
    partner = container.access.partner(partner_code)
    wanted = None if partner is None else Agreement.read(partner.agreement, partner.code).reply_to
    return wanted if wanted in {item.code for item in container.alerts.receivers(enabled_only=False)} else None


def _notification(node: str, receiver: str, said: ForeignAcknowledgement, alert: ForeignAlert, now: datetime) -> Notification:
    newest = alert.newest
    status = newest.status if newest.status is not MessageStatus.DRAFT else MessageStatus.TEST
    payload = {
        "version": 1,
        "kind": "acknowledgement",
        "node": node,
        "message_type": MessageType.ACK.value,
        "identifier": said.identifier,
        "sent": now.isoformat(),
        "references": [f"{item.sender},{item.identifier},{item.said['sent']}" for item in alert.messages],
        "status": status.value,
        "headline": {
            "zh": f"已确认收到 {newest.sender} 的预警 {newest.identifier}",
            "en": f"Acknowledged: alert {newest.identifier} of {newest.sender}",
        },
        "explanation": {"zh": f"{said.actor}：{said.note}", "en": f"{said.actor}: {said.note}"},
        "cap": said.body,
    }
    return Notification(f"{said.identifier}:{receiver}", receiver, MessageType.ACK, payload, now, now)
