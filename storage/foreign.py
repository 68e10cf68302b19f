"""Alerts of partners: messages appended as received, chains joined, acknowledgements written with the message that tells them.

This file finishes with `ForeignRepository`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from domain.alert import Level, MessageStatus, MessageType
from domain.errors import NotFoundError
from domain.foreign import ForeignAcknowledgement, ForeignAlert, ForeignMessage, OwedAnswer, Reference
from storage.alert_work import AlertUnitOfWork
from storage.database import Connection, Database, refusals_are_conflicts
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("foreign")
Fold = Callable[[Sequence[ForeignMessage], Sequence[ForeignAcknowledgement], int | None], ForeignAlert]


@dataclass(frozen=True, slots=True)
class ForeignQuery:
    """Which alerts of partners to list; an empty tuple or None means any."""

    states: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    partner: str | None = None
    acknowledged: bool | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A message of our own that a partner answers."""

    alert_id: int
    sender: str
    sent: datetime


class ForeignUnitOfWork(AlertUnitOfWork):
    """One transaction on partners' alerts, with all that one on our own can do: identifiers, transitions, the outbox."""

    def __init__(self, connection: Connection, fold: Fold) -> None:
        super().__init__(connection)
        self._fold = fold

    def message(self, sender: str, identifier: str) -> ForeignMessage | None:
        """Return a message that came before, or None."""
        rows = _rows(self._connection, SQL.message, {"sender": sender, "identifier": identifier})
        return _message(rows[0]) if rows else None

    def sent_of(self, sender: str, identifiers: Sequence[str]) -> Mapping[str, datetime]:
        """Return when the named messages of a sender were sent, as far as they came."""
        parameters = {"sender": sender, "identifiers": list(identifiers)}
        return {row["identifier"]: row["sent"] for row in _rows(self._connection, SQL.sent_of, parameters)}

    def issued(self, identifier: str) -> Issued | None:
        """Return our own message of an identifier, or None."""
        rows = _rows(self._connection, SQL.issued, [identifier])
        return Issued(**rows[0]) if rows else None

    def add_message(self, message: ForeignMessage) -> int:
        """Append a message and return its number; ConflictError where sender and identifier are taken."""
        with refusals_are_conflicts(f"message {message.identifier} of {message.sender}"):
            row = self._connection.execute(SQL.insert_message, _parameters(message)).fetchone()
        assert row is not None
        return int(row[0])

    def chain(self, message: ForeignMessage, number: int) -> ForeignAlert:
        """Put a message into its chain, joining chains that it connects; return what the chain says now."""
        named = [item.identifier for item in message.references if item.sender == message.sender]
        parameters = {"sender": message.sender, "identifier": message.identifier, "identifiers": named}
        chains = [row[0] for row in self._connection.execute(SQL.chains_of, parameters)]
        if chains:
            into, others = chains[0], chains[1:]
            for statement in (SQL.join_messages, SQL.join_acknowledgements, SQL.drop_joined) if others else ():
                self._connection.execute(statement, {"into": into, "others": others})
        else:
            row = self._connection.execute(SQL.insert_alert, _listed(self._fold([message], (), None))).fetchone()
            assert row is not None
            into = row[0]
        self._connection.execute(SQL.chain, {"message_id": number, "foreign_id": into})
        return self._refold(into)

    def foreign(self, foreign_id: int) -> ForeignAlert:
        """Return a partner's alert, locked; NotFoundError."""
        if self._connection.execute(SQL.lock_alert, [foreign_id]).fetchone() is None:
            raise _unknown(foreign_id)
        return _alerts(self._connection, [foreign_id], self._fold)[0]

    def add_acknowledgement(self, foreign_id: int, said: ForeignAcknowledgement) -> ForeignAlert:
        """Append a person's acknowledgement and return the alert as it stands."""
        values = {name: getattr(said, name) for name in ("identifier", "actor", "note", "recorded_at", "body")}
        parameters = {**values, "foreign_id": foreign_id, "acknowledged": list(said.acknowledged)}
        with refusals_are_conflicts(f"acknowledgement {said.identifier}"):
            self._connection.execute(SQL.insert_acknowledgement, parameters)
        return self._refold(foreign_id)

    def _refold(self, foreign_id: int) -> ForeignAlert:
        (found,) = _alerts(self._connection, [foreign_id], self._fold)
        self._connection.execute(SQL.update_alert, {**_listed(found), "id": foreign_id})
        return found


class ForeignRepository:
    """Keeps partners' messages; `fold` (of the alerts floor) tells what a chain of them says."""

    def __init__(self, database: Database, fold: Fold) -> None:
        self._database = database
        self._fold = fold

    @contextmanager
    def transaction(self, sender: str | None = None) -> Iterator[ForeignUnitOfWork]:
        """Begin a transaction; one that names a sender excludes any other on that sender."""
        with self._database.transaction() as connection:
            if sender is not None:
                connection.execute(SQL.lock_sender, [sender])
            yield ForeignUnitOfWork(connection, self._fold)

    def find(self, foreign_id: int) -> ForeignAlert:
        """Return a partner's alert; NotFoundError."""
        with self._database.transaction() as connection:
            found = _alerts(connection, [foreign_id], self._fold)
        if not found:
            raise _unknown(foreign_id)
        return found[0]

    def owed_answers(self, partner: str, receiver: str) -> list[OwedAnswer]:
        """Return the firing alerts that went to a partner by a receiver and that it has not answered, by their number."""
        with self._database.transaction() as connection:
            rows = _rows(connection, SQL.owed_answers, {"partner": partner, "receiver": receiver})
        return [OwedAnswer(partner=partner, receiver=receiver, **row) for row in rows]

    def list_alerts(
        self, wanted: ForeignQuery, *, after: tuple[datetime, int] | None = None, limit: int = 100
    ) -> tuple[list[ForeignAlert], tuple[datetime, int] | None]:
        """Return a page, newest change first, and the key of the next one (None = last)."""
        parameters = {
            "states": list(wanted.states),
            "statuses": list(wanted.statuses),
            "partner": wanted.partner,
            "acknowledged": wanted.acknowledged,
            "after_time": after[0] if after else None,
            "after_id": after[1] if after else None,
            "limit": limit + 1,
        }
        with self._database.transaction() as connection:
            rows = connection.execute(SQL.list_alerts, parameters).fetchall()
            found = {item.foreign_id: item for item in _alerts(connection, [row[0] for row in rows[:limit]], self._fold)}
        following = (rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit else None
        return [found[row[0]] for row in rows[:limit]], following


def _unknown(foreign_id: int) -> NotFoundError:
    return NotFoundError(
        f"there is no alert {foreign_id} of a partner.", where="id", remedy="they are listed at /api/v1/foreign-alerts"
    )


def _alerts(connection: Connection, ids: Sequence[int], fold: Fold) -> list[ForeignAlert]:
    messages: dict[int, list[ForeignMessage]] = {}
    for row in _rows(connection, SQL.messages_of, [list(ids)]):
        messages.setdefault(row.pop("foreign_id"), []).append(_message(row))
    said: dict[int, list[ForeignAcknowledgement]] = {}
    for row in _rows(connection, SQL.acknowledgements_of, [list(ids)]):
        said.setdefault(row.pop("foreign_id"), []).append(
            ForeignAcknowledgement(**{**row, "acknowledged": tuple(row["acknowledged"])})
        )
    return [fold(messages[number], said.get(number, ()), number) for number in ids if number in messages]


def _rows(connection: Connection, statement: bytes, parameters: Any) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, parameters).fetchall()


def _message(row: Mapping[str, Any]) -> ForeignMessage:
    named = tuple(
        Reference(item["sender"], item["identifier"], datetime.fromisoformat(item["sent"])) for item in row["reference_list"]
    )
    plain = {name: value for name, value in row.items() if name != "reference_list"}
    read = {
        "status": MessageStatus(row["status"]),
        "message_type": MessageType(row["message_type"]),
        "level": Level(row["level"]),
    }
    return ForeignMessage(**{**plain, **read, "references": named})


def _parameters(message: ForeignMessage) -> dict[str, Any]:
    plain = {name: getattr(message, name) for name in ("partner", "sender", "identifier", "sent", "body", "received_at")}
    named = [{"sender": item.sender, "identifier": item.identifier, "sent": item.sent.isoformat()} for item in message.references]
    return {
        **plain,
        "status": message.status.value,
        "message_type": message.message_type.value,
        "level": int(message.level),
        "reference_list": jsonb(named),
        "said": jsonb(message.said),
    }


def _listed(alert: ForeignAlert) -> dict[str, Any]:
    return {
        "partner": alert.partner,
        "sender": alert.sender,
        "state": alert.state.value,
        "status": alert.status.value,
        "level": int(alert.level),
        "acknowledged": alert.is_acknowledged,
        "updated_at": max([item.received_at for item in alert.messages] + [item.recorded_at for item in alert.acknowledgements]),
    }
