"""DingTalk, WeCom, Feishu, SMS gateways and some 170 others, through the library `apprise`.

The address of such a service holds its token, so a receiver names a secret (`url_secret`) and never the address itself. This file
finishes with `RelayNotifier`.
"""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING

from alerts.notifiers.contract import DeliveryError, NotifierSettings, body_of, setting
from alerts.templates import render
from domain.alerting import Notification, Receiver

if TYPE_CHECKING:
    import apprise

SILENT = logging.getLogger("apprise")
LONGEST_REASON = 300


class RelayNotifier:
    """Sends title and text to the services that a receiver's secret lists, one address a line.

    Every service must take the message: otherwise it is tried again at all of them, under the same identifier in the text. (The services
    know no idempotency key; this is why machines are better served by a webhook.)
    """

    def __init__(self, settings: NotifierSettings) -> None:
        self._secrets = settings.secrets
        self._one_at_a_time = Lock()

    def deliver(self, receiver: Receiver, notification: Notification) -> None:
        """Send; what the library calls a failure is worth a retry, an address that it does not know is not."""
        services = self._services(receiver)
        said = render(body_of(notification), receiver.settings)
        with self._one_at_a_time, _Reasons() as reasons:
            taken = services.notify(title=said.title, body=said.text)
        if not taken:
            raise DeliveryError(reasons.text() or "the service did not take the message", retryable=True)

    def _services(self, receiver: Receiver) -> apprise.Apprise:
        import apprise

        name = str(setting(receiver, "url_secret"))
        addresses = self._secrets.get(name)
        if addresses is None:
            raise DeliveryError(f"receiver {receiver.code} is reached by the secret {name!r}, which is not set", retryable=False)
        services = apprise.Apprise()
        for place, address in enumerate(addresses.split(), 1):
            if not services.add(address):
                raise DeliveryError(f"address {place} of the secret {name!r} is none that apprise knows", retryable=False)
        if not len(services):
            raise DeliveryError(f"the secret {name!r} holds no address", retryable=False)
        return services

    def close(self) -> None:
        """Nothing is kept open between messages."""


class _Reasons(logging.Handler):
    """Collects what the library logs while it sends: its only word on why something failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())

    def text(self) -> str:
        """Return the reasons, shortened; addresses with tokens are not logged by the library at this level."""
        return "; ".join(self._said)[:LONGEST_REASON]

    def __enter__(self) -> _Reasons:
        SILENT.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        SILENT.removeHandler(self)
