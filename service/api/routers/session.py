"""Login, logout, who am I. This file finishes with `show_me`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from domain.errors import AuthenticationError
from service.api.callers import AnyCaller
from service.api.lookup import container_of
from service.api.passwords import digest_of, new_token, verify_password
from service.api.permissions import PERMISSIONS, Role
from service.api.times import stamp

router = APIRouter(prefix="/api/v1", tags=["session"])


class Credentials(BaseModel):
    """Name and password of an account."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    password: str = Field(min_length=1, max_length=1024)


def _permissions(role: Role) -> list[str]:
    return sorted(permission.value for permission in PERMISSIONS[role])


@router.post("/login", summary="Name and password for a bearer token that expires")
def login(request: Request, credentials: Annotated[Credentials, Body()]) -> dict[str, Any]:
    """Give a token; failures are counted by name and address and answered alike, whether the name exists or not."""
    container = container_of(request)
    now = container.clock()
    address = request.client.host if request.client else "unknown"
    throttle = request.app.state.throttle
    throttle.attempt(credentials.name, address, now)
    account = container.access.account(credentials.name)
    usable = account is not None and account.enabled
    if not verify_password(credentials.password, account.password_hash if usable else None):
        container.access.audit_append("anonymous", "login failed", credentials.name, {"address": address})
        raise AuthenticationError("name or password are not right.", remedy="try again, or ask an administrator")
    throttle.succeeded(credentials.name, address)
    token = new_token()
    expires_at = now + timedelta(hours=container.settings.session_hours)
    container.access.add_key(
        digest_of(token), token[:8], account.role, account=account.name, note="session", expires_at=expires_at
    )
    container.access.audit_append(account.name, "login", account.name, {"address": address})
    return {
        "token": token,
        "expires_at": stamp(expires_at),
        "name": account.name,
        "display_name": account.display_name,
        "role": account.role,
        "permissions": _permissions(Role(account.role)),
    }


@router.post("/logout", status_code=204, summary="End the session: the token is worthless from now on")
def logout(request: Request, caller: AnyCaller) -> Response:
    """Revoke the token that was sent."""
    container = container_of(request)
    if caller.key_id is None:
        raise AuthenticationError("nobody is logged in.", remedy="send the token that is to end")
    container.access.revoke_key(caller.key_id, container.clock())
    container.access.audit_append(caller.actor, "logout", caller.name or "", {})
    return Response(status_code=204)


@router.get("/me", summary="Who the token stands for and what it may do")
def show_me(caller: AnyCaller) -> dict[str, Any]:
    """Give the caller's name, role and permissions."""
    return {
        "name": caller.name,
        "display_name": caller.display_name,
        "role": caller.role.value,
        "anonymous": caller.anonymous,
        "permissions": _permissions(caller.role),
        "stations": sorted(caller.stations) if caller.stations is not None else None,
        "expires_at": stamp(caller.expires_at),
    }
