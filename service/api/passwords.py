"""Passwords and tokens: scrypt for what people choose, SHA-256 for what we draw at random.

References: RFC 7914 (scrypt); OWASP Password Storage Cheat Sheet (N = 2^17, r = 8, p = 1 or the equal-cost N = 2^15, p = 3).
This file finishes with `digest_of`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from base64 import b64decode, b64encode

_LOG2_N, _R, _P = 15, 8, 3
_MEMORY = 128 * 1024 * 1024
_SLOTS = threading.BoundedSemaphore(2)
TOKEN_PREFIX = "gw_"


def hash_password(password: str, *, salt: bytes | None = None) -> str:
    """Return `scrypt$log2N$r$p$salt$hash` for a password; 32 MB and about 0.2 s, two at a time."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"scrypt${_LOG2_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(_scrypt(password, salt, _LOG2_N, _R, _P)).decode()}"


def verify_password(password: str, stored: str | None) -> bool:
    """Does the password belong to the stored hash? Takes as long for a name that does not exist (`stored` None)."""
    try:
        scheme, log2_n, r, p, salt, expected = (stored or hash_of_nobody()).split("$")
        found = _scrypt(password, b64decode(salt), int(log2_n), int(r), int(p))
    except ValueError:
        return False
    return scheme == "scrypt" and stored is not None and hmac.compare_digest(found, b64decode(expected))


def hash_of_nobody() -> str:
    """Return a hash of the right cost that no password has."""
    return f"scrypt${_LOG2_N}${_R}${_P}${b64encode(bytes(16)).decode()}${b64encode(bytes(32)).decode()}"


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    with _SLOTS:
        return hashlib.scrypt(password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def new_token() -> str:
    """Draw a token of 256 random bits; it is shown once and never stored."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """Return the SHA-256 under which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()
