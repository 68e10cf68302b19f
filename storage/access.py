"""Accounts, partners, keys, the hash-chained audit log and remembered answers to requests with an Idempotency-Key.

Neither passwords nor keys come in here, only their hashes: scrypt strings of passwords, SHA-256 of 256-bit random keys. This file
finishes with `AccessRepository`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from psycopg.rows import class_row, dict_row

from domain.errors import ConflictError, NotFoundError
from storage.database import Connection, Database, refusals_are_conflicts
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("access")
T = TypeVar("T")
_NOTHING_YET = "0" * 64
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A person's account; `password_hash` is shown to nobody."""

    account_id: int
    name: str
    display_name: str
    role: str
    password_hash: str | None = field(repr=False)
    enabled: bool
    attributes: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PartnerRow:
    """A partner and what was agreed with it."""

    partner_id: int
    code: str
    name_zh: str
    name_en: str
    agreement: Mapping[str, Any]
    source: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key or session, and whom it stands for; never the key itself."""

    key_id: int
    prefix: str
    role: str
    account: str | None
    account_id: int | None
    account_attributes: Mapping[str, Any]
    display_name: str | None
    partner: str | None
    partner_id: int | None
    station: str | None
    note: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit log."""

    entry_id: int
    recorded_at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    previous_hash: str
    entry_hash: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Whether the chain holds, over how many entries, where it breaks first, and its newest entry.

    `truncated` says that entries are missing at the end: the head that is kept with every entry, or one that was kept elsewhere
    (`missing_head`), names one that is not there any more.
    """

    ok: bool
    entries: int
    first_broken: int | None
    newest_id: int | None
    newest_hash: str | None
    truncated: bool = False
    missing_head: str | None = None


class AccessRepository:
    """Who may do what, and who did what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- accounts -----------------------------------------------------------------------------------------------------

    def account(self, name: str) -> AccountRow | None:
        """Return an account, or None."""
        return self._one(AccountRow, SQL.account, [name])

    def accounts(self) -> list[AccountRow]:
        """Return every account, by name."""
        return self._all(AccountRow, SQL.accounts, [])

    def add_account(
        self, name: str, display_name: str, role: str, password_hash: str | None, attributes: Mapping[str, Any] | None = None
    ) -> int:
        """Create an account and return its id; ConflictError when the name is taken or the role unknown."""
        parameters = {
            "name": name,
            "display_name": display_name,
            "role": role,
            "password_hash": password_hash,
            "attributes": jsonb(attributes or {}),
        }
        with self._database.transaction() as connection, refusals_are_conflicts(f"account {name}"):
            return _number(connection, SQL.insert_account, parameters) or 0

    def update_account(
        self,
        name: str,
        *,
        display_name: str | None = None,
        role: str | None = None,
        password_hash: str | None = None,
        enabled: bool | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Change an account (None = as it was); a new role or password, or disabling it, ends its sessions and keys."""
        parameters = {
            "name": name,
            "display_name": display_name,
            "role": role,
            "password_hash": password_hash,
            "enabled": enabled,
            "attributes": None if attributes is None else jsonb(attributes),
        }
        with self._database.transaction() as connection, refusals_are_conflicts(f"account {name}"):
            account_id = _number(connection, SQL.update_account, parameters)
            if account_id is None:
                raise NotFoundError(f"there is no account {name}.")
            if role is not None or password_hash is not None or enabled is False:
                connection.execute(SQL.revoke_keys_of_account, [account_id])

    # -- partners -------------------------------------------------------------------------------------------------------

    def partner(self, code: str) -> PartnerRow | None:
        """Return a partner, or None."""
        return self._one(PartnerRow, SQL.partner, [code])

    def partners(self) -> list[PartnerRow]:
        """Return every partner, by code."""
        return self._all(PartnerRow, SQL.partners, [])

    def upsert_partner(
        self, code: str, name_zh: str, name_en: str, agreement: Mapping[str, Any], source: str, enabled: bool = True
    ) -> int:
        """Insert or replace a partner with its agreement; return its id."""
        parameters = {
            "code": code,
            "name_zh": name_zh,
            "name_en": name_en,
            "agreement": jsonb(agreement),
            "source": source,
            "enabled": enabled,
        }
        with self._database.transaction() as connection, refusals_are_conflicts(f"partner {code}"):
            return _number(connection, SQL.upsert_partner, parameters) or 0

    # -- keys -----------------------------------------------------------------------------------------------------------

    def add_key(
        self,
        key_hash: str,
        prefix: str,
        role: str,
        *,
        account: str | None = None,
        partner: str | None = None,
        station: str | None = None,
        note: str | None = None,
        expires_at: datetime | None = None,
    ) -> int:
        """Store the SHA-256 of a key and return its id.

        Raises
        ------
        NotFoundError
            The account, partner or station is unknown.
        ConflictError
            Not a SHA-256, a key that is stored already, an unknown role, a device key without station or a partner key without
            partner.
        """
        if not _SHA256.fullmatch(key_hash):
            raise ConflictError("a key is stored as its SHA-256 in hexadecimal digits, never as it is.")
        with self._database.transaction() as connection, refusals_are_conflicts("the key"):
            parameters = {
                "key_hash": key_hash,
                "prefix": prefix,
                "role": role,
                "account_id": _id_of(connection, SQL.account_id, account, "account"),
                "partner_id": _id_of(connection, SQL.partner_id, partner, "partner"),
                "station_id": _id_of(connection, SQL.station_id, station, "station"),
                "note": note,
                "expires_at": expires_at,
            }
            return _number(connection, SQL.insert_key, parameters) or 0

    def find_key(self, key_hash: str, now: datetime) -> KeyRow | None:
        """Return the key if it is good at `now`: neither revoked nor expired, and whoever it stands for enabled."""
        return self._one(KeyRow, SQL.find_key, {"key_hash": key_hash, "now": now})

    def keys(self) -> list[KeyRow]:
        """Return every key, revoked and expired ones too, oldest first."""
        return self._all(KeyRow, SQL.keys, [])

    def revoke_key(self, key_id: int, now: datetime) -> None:
        """End a key; NotFoundError when there is none that could be ended."""
        with self._database.transaction() as connection:
            if connection.execute(SQL.revoke_key, {"key_id": key_id, "now": now}).rowcount != 1:
                raise NotFoundError(f"there is no key {key_id} that could be revoked.")

    # -- audit log --------------------------------------------------------------------------------------------------------

    def audit_append(self, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> int:
        """Write down who did what to what; return the entry's id."""
        with self._database.transaction() as connection:
            return _number(connection, SQL.audit_append, [actor, action, subject, jsonb(detail or {})]) or 0

    def audit_entries(self, after: int = 0, limit: int = 100) -> list[AuditEntry]:
        """Return entries with an id above `after`, oldest first."""
        return self._all(AuditEntry, SQL.audit_entries, {"after": after, "limit": limit})

    def verify_audit(self, kept: Sequence[tuple[int, str]] = ()) -> AuditReport:
        """Compute the hash chain of the audit log again and say whether it holds.

        Parameters
        ----------
        kept
            Heads (id, hash) that were kept outside the database: each must still stand in the chain.
        """
        with self._database.transaction() as connection:
            with connection.cursor(row_factory=dict_row) as cursor:
                row = cursor.execute(SQL.verify_audit).fetchone()
            assert row is not None
            missing = next((f"{number}:{digest}" for number, digest in kept if _hash_of(connection, number) != digest), None)
        newest = row["newest_hash"] or _NOTHING_YET
        truncated = missing is not None or row["head_entries"] != row["entries"] or row["head_hash"] != newest
        return AuditReport(
            ok=row["first_broken"] is None and not truncated,
            entries=row["entries"],
            first_broken=row["first_broken"],
            newest_id=row["newest_id"],
            newest_hash=row["newest_hash"],
            truncated=truncated,
            missing_head=missing,
        )

    # -- idempotency ------------------------------------------------------------------------------------------------------

    def idempotent(self, key: str, owner: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the digest of the request and the answer that were remembered for a key of an owner, or None."""
        with self._database.transaction() as connection:
            return connection.execute(SQL.idempotent, [key, owner]).fetchone()

    def remember(self, key: str, owner: str, request_sha256: str, response: Mapping[str, Any]) -> None:
        """Remember the answer to a request; the first answer stays."""
        parameters = {"key": key, "owner": owner, "request_sha256": request_sha256, "response": jsonb(response)}
        with self._database.transaction() as connection:
            connection.execute(SQL.remember, parameters)

    def forget_answers(self, before: datetime) -> int:
        """Forget answers remembered before a moment; return how many."""
        with self._database.transaction() as connection:
            return connection.execute(SQL.forget_before, [before]).rowcount

    # -- plumbing ---------------------------------------------------------------------------------------------------------

    def _one(self, kind: type[T], statement: bytes, parameters: Any) -> T | None:
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(statement, parameters).fetchone()

    def _all(self, kind: type[T], statement: bytes, parameters: Any) -> list[T]:
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(statement, parameters).fetchall()


def _number(connection: Connection, statement: bytes, parameters: Any) -> int | None:
    row = connection.execute(statement, parameters).fetchone()
    return None if row is None else int(row[0])


def _id_of(connection: Connection, statement: bytes, name: str | None, noun: str) -> int | None:
    if name is None:
        return None
    found = _number(connection, statement, [name])
    if found is None:
        raise NotFoundError(f"there is no {noun} {name}.")
    return found


def _hash_of(connection: Connection, entry_id: int) -> str | None:
    row = connection.execute(SQL.audit_hash_of, [entry_id]).fetchone()
    return None if row is None else str(row[0])
