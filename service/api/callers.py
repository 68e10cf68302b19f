"""Who asks: from a bearer token to a caller with a role, its own stations and its audience.

This file finishes with the annotated dependencies that routers use (`MayRead`, `MayAcknowledge` ...).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from domain.errors import AuthenticationError, PermissionDeniedError
from domain.model import Disclosure, Station
from service.api.passwords import digest_of
from service.api.permissions import OWN_STATIONS_ONLY, PERMISSIONS, Permission, Role


@dataclass(frozen=True, slots=True)
class Audience:
    """What decides which stations somebody sees; hashable, so that an answer can be made once an audience."""

    restricted: bool
    simulated_only: bool = False
    stations: frozenset[str] | None = None

    def sees(self, station: Station) -> bool:
        """May this audience know of the station? Simulated ground has no secrets."""
        if self.stations is not None:
            return station.code in self.stations
        if station.simulated:
            return True
        return not self.simulated_only and (self.restricted or station.disclosure is not Disclosure.RESTRICTED)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as we know."""

    role: Role
    name: str | None
    display_name: str
    actor: str
    account_id: int | None = None
    key_id: int | None = None
    partner: str | None = None
    stations: frozenset[str] | None = None
    expires_at: datetime | None = None

    @property
    def anonymous(self) -> bool:
        """Is nobody logged in (the demonstration's viewer)?"""
        return self.key_id is None

    @property
    def audience(self) -> Audience:
        """Return what decides which stations this caller sees."""
        return Audience(self.may(Permission.READ_RESTRICTED), self.anonymous, self.stations)

    def may(self, permission: Permission) -> bool:
        """Does the role have the permission?"""
        return permission in PERMISSIONS[self.role]

    def sees_precisely(self, station: Station) -> bool:
        """May this caller see exact position and absolute heights of the station?"""
        return station.simulated or self.may(Permission.READ_PRECISE)

    def own(self, station: str) -> None:
        """Raise `PermissionDeniedError` when this caller is held to other stations."""
        if self.stations is not None and station not in self.stations:
            raise PermissionDeniedError(
                f"this {self.role} may not touch station {station}.", remedy="use the key or account of that station"
            )


_BEARER = HTTPBearer(auto_error=False, description="A token from POST /api/v1/login, or a key made with `groundwatch key add`.")
ANONYMOUS_VIEWER = Caller(Role.VIEWER, None, "viewer", "anonymous viewer")


def current_caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
) -> Caller:
    """Return who asks; `AuthenticationError` (401) for no token (unless demonstration) and for a token that is not good."""
    container = request.app.state.container
    if credentials is None:
        if request.headers.get("authorization"):
            raise AuthenticationError(
                "the Authorization header is not a bearer token.", remedy="send `Authorization: Bearer TOKEN`"
            )
        if container.settings.demo:
            return ANONYMOUS_VIEWER
        raise AuthenticationError("no token was sent.", remedy="log in with POST /api/v1/login, or send a key as bearer token")
    key = container.access.find_key(digest_of(credentials.credentials), container.clock())
    if key is None:
        raise AuthenticationError("the token is unknown, expired or revoked.", remedy="log in again, or ask for a new key")
    return caller_of_key(key)


def caller_of_key(key: Any) -> Caller:
    """Return the caller that a stored key stands for."""
    role = Role(key.role)
    own: frozenset[str] | None = None
    if role in OWN_STATIONS_ONLY:
        listed = {key.station} if key.station else set(key.account_attributes.get("stations", ()))
        own = frozenset(listed)
    name = key.account or key.partner or key.station or f"key {key.prefix}"
    actor = key.account or (f"partner {key.partner}" if key.partner else f"{role} key {key.prefix}")
    return Caller(
        role=role,
        name=name,
        display_name=key.display_name or name,
        actor=actor,
        account_id=key.account_id,
        key_id=key.key_id,
        partner=key.partner,
        stations=own,
        expires_at=key.expires_at,
    )


AnyCaller = Annotated[Caller, Depends(current_caller)]


class Require:
    """A dependency: the caller, who has one of the permissions, or an error."""

    def __init__(self, *permissions: Permission) -> None:
        self.permissions = permissions

    def __call__(self, caller: AnyCaller) -> Caller:
        """Return the caller, or raise 401 (nobody logged in) or 403 (the role may not)."""
        if any(caller.may(permission) for permission in self.permissions):
            return caller
        if caller.anonymous:
            raise AuthenticationError("this needs a login.", remedy="log in with POST /api/v1/login")
        raise PermissionDeniedError(
            f"the role {caller.role} may not {self.permissions[0].value.replace('_', ' ')}.",
            remedy="ask an administrator for an account or a key with a fitting role",
        )


MayRead = Annotated[Caller, Depends(Require(Permission.READ))]
MayReadRules = Annotated[Caller, Depends(Require(Permission.READ_RULES))]
MayReadQuarantine = Annotated[Caller, Depends(Require(Permission.READ_QUARANTINE))]
MayReadBatches = Annotated[Caller, Depends(Require(Permission.READ_BATCHES))]
MayReadCatalogue = Annotated[Caller, Depends(Require(Permission.READ, Permission.READ_SHARED))]
MayReadShared = Annotated[Caller, Depends(Require(Permission.READ_SHARED))]
MaySendAlerts = Annotated[Caller, Depends(Require(Permission.SEND_ALERTS))]
MayWriteObservations = Annotated[Caller, Depends(Require(Permission.WRITE_OBSERVATIONS))]
MayWriteEvents = Annotated[Caller, Depends(Require(Permission.WRITE_EVENTS))]
MayAcknowledge = Annotated[Caller, Depends(Require(Permission.ACKNOWLEDGE))]
MayWriteRules = Annotated[Caller, Depends(Require(Permission.WRITE_RULES))]
MayOverrideQuality = Annotated[Caller, Depends(Require(Permission.OVERRIDE_QUALITY))]
MayConfirm = Annotated[Caller, Depends(Require(Permission.CONFIRM))]
MayReadCases = Annotated[Caller, Depends(Require(Permission.READ_CASES))]
MayManageDevices = Annotated[Caller, Depends(Require(Permission.MANAGE_DEVICES))]
MayHandleCases = Annotated[Caller, Depends(Require(Permission.HANDLE_CASES))]
