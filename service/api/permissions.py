"""One table: which role may do what. Everything else asks this table and keeps no rule of its own.

This file finishes with `PERMISSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """Who asks."""

    DEVICE = "device"
    OPERATOR = "operator"
    VIEWER = "viewer"
    SUPERVISOR = "supervisor"
    ANALYST = "analyst"
    ADMIN = "admin"
    PARTNER = "partner"


class Permission(StrEnum):
    """What is asked for."""

    READ = "read"
    READ_PRECISE = "read_precise"
    READ_RESTRICTED = "read_restricted"
    READ_RULES = "read_rules"
    READ_QUARANTINE = "read_quarantine"
    READ_BATCHES = "read_batches"
    READ_SHARED = "read_shared"
    SEND_ALERTS = "send_alerts"
    WRITE_OBSERVATIONS = "write_observations"
    WRITE_EVENTS = "write_events"
    ACKNOWLEDGE = "acknowledge"
    CONFIRM = "confirm"
    OVERRIDE_QUALITY = "override_quality"
    WRITE_RULES = "write_rules"
    READ_CASES = "read_cases"
    HANDLE_CASES = "handle_cases"
    MANAGE_DEVICES = "manage_devices"


_ALL = frozenset(Permission)
_READER = frozenset({Permission.READ, Permission.READ_RULES})
_INSIDER = _READER | {Permission.READ_PRECISE, Permission.READ_RESTRICTED, Permission.READ_QUARANTINE, Permission.READ_CASES}
_KEEPER = _INSIDER | {Permission.OVERRIDE_QUALITY}

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.DEVICE: frozenset({Permission.WRITE_OBSERVATIONS}),
    Role.OPERATOR: frozenset(
        {
            Permission.READ,
            Permission.READ_PRECISE,
            Permission.READ_RESTRICTED,
            Permission.WRITE_OBSERVATIONS,
            Permission.WRITE_EVENTS,
        }
    ),
    Role.VIEWER: _READER,
    Role.SUPERVISOR: _KEEPER
    | {Permission.WRITE_EVENTS, Permission.ACKNOWLEDGE, Permission.CONFIRM, Permission.HANDLE_CASES, Permission.WRITE_RULES},
    Role.ANALYST: _KEEPER
    | {
        Permission.READ_BATCHES,
        Permission.MANAGE_DEVICES,
        Permission.WRITE_OBSERVATIONS,
        Permission.WRITE_EVENTS,
        Permission.ACKNOWLEDGE,
        Permission.HANDLE_CASES,
    },
    Role.ADMIN: _ALL,
    Role.PARTNER: frozenset({Permission.READ_SHARED, Permission.SEND_ALERTS}),
}
"""Operators and devices are held to their own stations beside this table; a partner to its agreement."""

OWN_STATIONS_ONLY = frozenset({Role.DEVICE, Role.OPERATOR})
