"""E-mail: subject and text in the receiver's language, the CAP message attached, one Message-ID a message.

This file finishes with `compose`.
"""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from alerts.notifiers.contract import DeliveryError, NotifierSettings, body_of, setting
from alerts.templates import render
from domain.alerting import Notification, Receiver


class SmtpNotifier:
    """Sends to a receiver's `to` (a list) over its own `url` or the common server; `language` is zh (default), en or both."""

    def __init__(self, settings: NotifierSettings) -> None:
        self._settings = settings

    def deliver(self, receiver: Receiver, notification: Notification) -> None:
        """Send; a temporary refusal (4xx) and a lost connection are worth a retry, a permanent one (5xx) is not."""
        url = str(receiver.settings.get("url") or self._settings.smtp_url or "")
        if not url:
            raise DeliveryError("no mail server is set", retryable=False)
        to = setting(receiver, "to")
        addresses = [to] if isinstance(to, str) else list(to)
        message = compose(receiver, notification, addresses, self._settings)
        try:
            self._send(url, message, addresses)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise DeliveryError(f"recipients refused: {codes}", retryable=all(code < 500 for code in codes)) from error
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(f"SMTP {error.smtp_code}", retryable=error.smtp_code < 500) from error
        except smtplib.SMTPNotSupportedError as error:
            raise DeliveryError(f"SMTP: {error}", retryable=False) from error
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryError(f"{type(error).__name__}: {error}", retryable=True) from error

    def _send(self, url: str, message: EmailMessage, addresses: Sequence[str]) -> None:
        parts = urlsplit(url)
        host, timeout = parts.hostname or "localhost", self._settings.timeout_s
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, parts.port or 465, timeout=timeout, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, parts.port or 25, timeout=timeout)
        with server:
            if parts.scheme == "smtp+starttls":
                server.starttls(context=ssl.create_default_context())
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message, self._settings.mail_from, addresses)

    def close(self) -> None:
        """Nothing is kept open between messages."""


def compose(receiver: Receiver, notification: Notification, addresses: Sequence[str], settings: NotifierSettings) -> EmailMessage:
    """Return the mail of a notification."""
    payload = body_of(notification)
    said = render(payload, receiver.settings)
    mail = EmailMessage()
    mail["Subject"] = said.title
    mail["From"] = settings.mail_from
    mail["To"] = ", ".join(addresses)
    mail["Date"] = format_datetime(notification.created_at)
    mail["Message-ID"] = f"<{hashlib.sha256(notification.idempotency_key.encode()).hexdigest()[:32]}@{settings.node}.groundwatch>"
    mail["X-GroundWatch-Idempotency-Key"] = notification.idempotency_key
    if payload["replay"]:
        mail["X-GroundWatch-Replay"] = "true"
    mail.set_content(said.text + "\n")
    if payload.get("cap"):
        mail.add_attachment(
            str(payload["cap"]).encode(), maintype="application", subtype="cap+xml", filename=f"{payload['identifier']}.xml"
        )
    return mail
