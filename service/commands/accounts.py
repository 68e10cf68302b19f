"""Who may do what: users, keys and partners on the command line. Secrets are shown once, when they are made.

This file finishes with `PartnerRegister`.
"""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from domain.errors import InputError, NotFoundError
from service.bootstrap import Container
from service.commands.entries import text_of

Entry = Mapping[str, Any]
SHORTEST_PASSWORD = 10
KEY_ROLES = ("device", "operator", "viewer", "supervisor", "analyst", "admin", "partner")
NEEDED_BY_ROLE = {"device": "station", "partner": "partner"}


def refuse_unknown(values: Mapping[str, Any], *known: str) -> None:
    """Raise `InputError` for a value that is not among those known."""
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"unknown: {', '.join(unknown)}.", remedy=f"known are {', '.join(known)}")


def checked_password(values: Mapping[str, Any]) -> str | None:
    """Return the password among the values, or None; `InputError` for one that is too short."""
    if "password" not in values:
        return None
    password = text_of(values, "password") or ""
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(f"the password is shorter than {SHORTEST_PASSWORD} characters.", remedy="choose a longer one")
    return password


class UserRegister:
    """Accounts of people; the code is the login name."""

    FIELDS = ("display_name", "role", "password", "enabled")

    def __init__(self, container: Container) -> None:
        self.container = container
        self.access = container.access

    def all(self) -> Iterator[Entry]:
        """Return every account, without its password's hash."""
        for account in self.access.accounts():
            yield {"code": account.name, "display_name": account.display_name, "role": account.role, "enabled": account.enabled}

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create an account; a password is drawn and shown once unless one is given."""
        refuse_unknown(values, *self.FIELDS)
        if "role" not in values:
            raise InputError("role missing.", remedy="role=viewer, operator, supervisor, analyst or admin")
        password = checked_password(values) or secrets.token_urlsafe(12)
        self.container.add_account(code, text_of(values, "display_name") or code, str(values["role"]), password)
        self._audit("add", code)
        return {"code": code, "role": values["role"], "password": password}

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Change name, role, password or enabled; a new role or password ends the account's sessions."""
        from service.api.passwords import hash_password

        refuse_unknown(values, *self.FIELDS)
        password = checked_password(values)
        self.access.update_account(
            code,
            display_name=text_of(values, "display_name"),
            role=values.get("role"),
            password_hash=None if password is None else hash_password(password),
            enabled=values.get("enabled"),
        )
        self._audit("change", code)
        return next(entry for entry in self.all() if entry["code"] == code)

    def remove(self, code: str) -> Entry:
        """Disable an account; what it did stays in its name."""
        return self.change(code, {"enabled": False})

    def _audit(self, action: str, code: str) -> None:
        self.access.audit_append(getpass.getuser(), f"user {action}", code)


class KeyRegister:
    """Keys of machines; the code of a new key is the role it has, afterwards its number."""

    def __init__(self, container: Container) -> None:
        self.access = container.access
        self.clock = container.clock

    def all(self) -> Iterator[Entry]:
        """Return every key, never the key itself."""
        for key in self.access.keys():  # noqa: SIM118 - a repository, no mapping
            yield {"code": str(key.key_id), **{name: value for name, value in asdict(key).items() if not name.endswith("_id")}}

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create a key of role `code` for account=, partner= or station=, with days= of life; it is shown once."""
        from service.api.passwords import digest_of, new_token

        if code not in KEY_ROLES:
            raise InputError(
                f"{code!r} is no role of a key.", remedy=f"groundwatch key add ROLE ..., one of {', '.join(KEY_ROLES)}"
            )
        refuse_unknown(values, "account", "partner", "station", "note", "days")
        if (needed := NEEDED_BY_ROLE.get(code)) and not values.get(needed):
            raise InputError(f"a key of role {code} needs its {needed}.", remedy=f"groundwatch key add {code} {needed}=CODE")
        token = new_token()
        key_id = self.access.add_key(
            digest_of(token),
            token[:8],
            code,
            account=text_of(values, "account"),
            partner=text_of(values, "partner"),
            station=text_of(values, "station"),
            note=text_of(values, "note"),
            expires_at=self._expiry(values.get("days")),
        )
        self.access.audit_append(getpass.getuser(), "key add", str(key_id), {"role": code})
        return {"code": str(key_id), "role": code, "key": token}

    def _expiry(self, days: Any) -> datetime | None:
        if days is None:
            return None
        if not isinstance(days, int | float) or days <= 0:
            raise InputError(f"days cannot be {days!r}.", remedy="write a number of days, e.g. days=365")
        return self.clock() + timedelta(days=float(days))

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Refuse: a key is replaced, never changed."""
        raise InputError("a key cannot be changed.", remedy="add a new key and remove the old one")

    def remove(self, code: str) -> Entry:
        """Revoke a key."""
        if not code.isdigit():
            raise InputError(f"{code!r} is no key's number.", remedy="groundwatch key list")
        self.access.revoke_key(int(code), self.clock())
        self.access.audit_append(getpass.getuser(), "key revoke", code)
        return {"code": code, "revoked": True}


class PartnerRegister:
    """Partners of the joint-control network and what was agreed with them."""

    def __init__(self, container: Container) -> None:
        self.access = container.access

    def all(self) -> Iterator[Entry]:
        """Return every partner."""
        for partner in self.access.partners():
            yield {name: value for name, value in asdict(partner).items() if name != "partner_id"}

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Create a partner; names, agreement and its source are needed."""
        missing = [name for name in ("name_zh", "name_en", "agreement", "source") if name not in values]
        if missing:
            raise InputError(f"{', '.join(missing)} missing.", remedy="see deploy/examples/jiaxing/partners.yaml")
        return self._store(code, values)

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Change a partner."""
        partner = self.access.partner(code)
        if partner is None:
            raise NotFoundError(f"there is no partner {code}.", remedy="groundwatch partner list")
        stored = {name: value for name, value in asdict(partner).items() if name not in {"partner_id", "code"}}
        return self._store(code, {**stored, **values})

    def _store(self, code: str, values: Mapping[str, Any]) -> Entry:
        refuse_unknown(values, "name_zh", "name_en", "agreement", "source", "enabled")
        self.access.upsert_partner(
            code, values["name_zh"], values["name_en"], values["agreement"], values["source"], bool(values.get("enabled", True))
        )
        self.access.audit_append(getpass.getuser(), "partner store", code)
        return {"code": code, **values}

    def remove(self, code: str) -> Entry:
        """Disable a partner; its keys no longer open anything."""
        return self.change(code, {"enabled": False})
