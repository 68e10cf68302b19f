"""TLS to the broker: which authority is trusted, what we show of ourselves, and what a refused handshake means.

This file finishes with `explained` and how it tells what is wrong with a broker's certificate.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from domain.errors import ConfigurationError, GroundWatchError, UnavailableError
from ingest.transports.mqtt_settings import BrokerAddress, TlsFiles

T = TypeVar("T")
_CA, _CERTIFICATE, _KEY = "GROUNDWATCH_MQTT_CA_FILE", "GROUNDWATCH_MQTT_CERT_FILE", "GROUNDWATCH_MQTT_KEY_FILE"
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME = frozenset({62, 64})
"""Answers of OpenSSL's verification (X509_V_ERR_*): the certificate's dates, and its names and addresses."""
_SHOW_YOURSELF = f"name this client's certificate in {_CERTIFICATE} and its key in {_KEY}"
_NO_TLS = "name the broker's TLS port (8883 as a rule), or write mqtt:// where it has none"
_ALERTS = {
    "CERTIFICATE_REQUIRED": ("the broker asks for a client certificate and none is set.", _SHOW_YOURSELF),
    "HANDSHAKE_FAILURE": ("the broker refuses the handshake; it may ask for a client certificate.", _SHOW_YOURSELF),
    "UNKNOWN_CA": (
        "the broker does not trust the authority of our certificate.",
        f"have {_CERTIFICATE} signed by the broker's authority",
    ),
    "CERTIFICATE_EXPIRED": (
        "the broker says that our certificate has expired.",
        f"renew it, and put the new one into {_CERTIFICATE}",
    ),
    "CERTIFICATE_REVOKED": ("the broker says that our certificate is revoked.", f"have a new one issued, for {_CERTIFICATE}"),
    "BAD_CERTIFICATE": ("the broker refuses our certificate.", f"read the broker's log, and check {_CERTIFICATE}"),
    "WRONG_VERSION_NUMBER": ("what answers there speaks no TLS.", _NO_TLS),
}
"""What OpenSSL calls an alert that the broker sent: what it means here, and the remedy."""


def tls_for(address: BrokerAddress, files: TlsFiles) -> ssl.SSLContext | None:
    """Return what connections to a broker are made with; None where its URL says that there is no TLS.

    Raises
    ------
    ConfigurationError
        As `tls_context`; also where files are set and the URL would send everything in the open.
    """
    if address.uses_tls:
        return tls_context(files)
    if files != TlsFiles():
        raise ConfigurationError(
            "files for TLS are set, and the broker's URL says mqtt://.",
            where="GROUNDWATCH_MQTT_URL",
            remedy=f"write mqtts://, or take {_CA}, {_CERTIFICATE} and {_KEY} away",
        )
    return None


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what a connection is made with; the broker's certificate and name are always checked.

    Raises
    ------
    ConfigurationError
        A file is absent, is no PEM, or certificate and key do not belong together.
    """
    if files.key is not None and files.certificate is None:
        raise ConfigurationError("a key is set and no certificate.", where=_KEY, remedy=f"set {_CERTIFICATE} too")
    context = _loaded(_CA, files.ca, lambda: ssl.create_default_context(cafile=files.ca))
    certificate = files.certificate
    if certificate is not None:
        if files.key is not None:
            _loaded(_KEY, files.key, files.key.read_bytes)
        _loaded(_CERTIFICATE, certificate, lambda: context.load_cert_chain(certificate, files.key, password=_no_password))
    return context


def _no_password() -> str:
    raise ConfigurationError(
        "the key is locked by a password.", where=_KEY, remedy="write it without one, readable by the service's account alone"
    )


def _loaded(variable: str, path: Path | None, load: Callable[[], T]) -> T:
    where = f"{variable}={path}"
    try:
        return load()
    except ssl.SSLError as fault:
        reason = fault.reason or str(fault)
        if reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(
                "certificate and key do not belong together.", where=where, remedy=f"check {_KEY}"
            ) from fault
        raise ConfigurationError(f"the file cannot be used: {reason}.", where=where, remedy="give PEM") from fault
    except OSError as fault:
        raise ConfigurationError(
            f"the file cannot be read: {fault.strerror}.", where=where, remedy="correct the path, or its permissions"
        ) from fault


class HandshakeEndedError(ConnectionError):
    """The other side hung up amid the handshake, as a server does that speaks no TLS."""


def connected(host: str, port: int, context: ssl.SSLContext | None, timeout_s: float) -> socket.socket:
    """Connect, with the handshake where there is a context; a socket whose handshake fails is closed.

    Raises
    ------
    OSError
        See `explained` for what it means.
    """
    plain = socket.create_connection((host, port), timeout_s)
    if context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError) as fault:
        raise HandshakeEndedError(str(fault)) from fault


def reach(address: BrokerAddress, context: ssl.SSLContext | None, timeout_s: float) -> None:
    """Connect and hang up.

    Raises
    ------
    UnavailableError, ConfigurationError
        As `explained`.
    """
    try:
        connected(address.host, address.port, context, timeout_s).close()
    except OSError as fault:
        raise explained(fault, address.host, address.port) from fault


def explained(fault: OSError, host: str, port: int) -> GroundWatchError:
    """Return what a failed connection means and what can be done: a certificate that does not fit, or a broker that is away."""
    where = f"{host}:{port}"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _mistrust(fault, where)
    reason = (fault.reason or "") if isinstance(fault, ssl.SSLError) else ""
    for name, (what, remedy) in _ALERTS.items():
        if name in reason:
            return ConfigurationError(what, where=where, remedy=remedy)
    if isinstance(fault, HandshakeEndedError):
        what = "the broker hangs up amid the handshake; it may speak no TLS on this port."
        return UnavailableError(what, where=where, remedy=_NO_TLS)
    return UnavailableError(
        f"the broker is out of reach: {fault}.", where=where, remedy="see that it runs, and that the way is open"
    )


def _mistrust(fault: ssl.SSLCertVerificationError, where: str) -> ConfigurationError:
    said = fault.verify_message
    if fault.verify_code == _EXPIRED:
        return ConfigurationError("the broker's certificate has expired.", where=where, remedy="renew it at the broker")
    if fault.verify_code == _NOT_YET:
        return ConfigurationError(
            "the broker's certificate is not valid yet.",
            where=where,
            remedy="set the clocks of both machines, or renew it at the broker",
        )
    if fault.verify_code in _OTHER_NAME:
        return ConfigurationError(
            f"the broker's certificate is for another name: {said}.",
            where=where,
            remedy="write in GROUNDWATCH_MQTT_URL a name that the certificate has, or have one issued for this name",
        )
    return ConfigurationError(
        f"the broker's certificate is not trusted: {said}.",
        where=where,
        remedy=f"name the file of the authority that signed it (PEM) in {_CA}",
    )
