"""Birth certificates of Sparkplug B edge nodes: which alias is which metric, kept across restarts, and what was missed between messages.

The one memory between messages that the protocol needs stands here, at the edge: what goes on from here says all by itself. A node whose
alias nobody knows, or whose sequence has a gap, is asked for its births again, at most once a minute. What came under an alias before its
birth may be named afterwards only where the same session of the node is proven: by the bdSeq of the birth before, or by a sequence that
nothing broke from there to a birth that was asked for. This file finishes with `BirthBook`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from domain.errors import InputError
from ingest.formats.sparkplug import NAMESPACE, completed, names_of, read_payload, session_of
from ingest.messages import Message
from ingest.transports.birth_files import BirthFile, Births

LOG = logging.getLogger(__name__)
FORMAT = "sparkplug"
NODE_DEATH, DEVICE_DEATH = "NDEATH", "DDEATH"
BIRTHS = frozenset({"NBIRTH", "DBIRTH"})
_SEQUENCE = 256
_ASK_EVERY_S = 60.0
_NEXT = timedelta(microseconds=1)
_UNKNOWN_SESSION = "no birth certificate of the edge node itself (NBIRTH) has come"


class AliasError(InputError):
    """Values under an alias cannot be named: its birth has not come, or may be of another session."""

    code = "alias"


class _Chain:
    """The messages of a node since something was lost: all of one session, where no death lies between."""

    def __init__(self) -> None:
        self.sequence: int | None = None
        self.since: datetime | None = None
        self.last: datetime | None = None
        self.asked_at_s: float | None = None
        self.broken_by = "the birth came unasked, as after a restart"
        self.is_asked = False
        self.connection = 0

    def follow(self, connection: int) -> None:
        """Break where our own connection did: the broker may have fallen, and nodes may have begun new sessions."""
        if connection != self.connection:
            self.connection, self.sequence, self.since = connection, None, None
            self.is_asked, self.asked_at_s = False, None
            self.broken_by = "our connection to the broker was lost in between"

    def begin(self, at: datetime, why: str | None = None) -> None:
        """Begin anew with a message; what was read together with one before it cannot be told from that by its time."""
        self.since = at if self.last is None or at > self.last else at + _NEXT
        self.broken_by = why or self.broken_by


class BirthBook:
    """Knows the aliases of every edge node.

    Parameters
    ----------
    folder
        Where they are kept across restarts, a file an edge node; None = in memory alone.
    counts_sequence
        Whether every message of a node comes here; False where several processes share a subscription.
    may_ask
        Whether nodes may be asked for their births.
    monotonic
        Seconds that never run backwards.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        counts_sequence: bool = True,
        may_ask: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts_sequence, self.may_ask, self.monotonic = counts_sequence, may_ask, monotonic
        self._births = BirthFile(folder)
        self._chains: dict[str, _Chain] = {}
        self._born: dict[str, None] = {}

    def complete(self, message: Message, connection: int = 0) -> tuple[Message | None, str | None]:
        """Return a message with the names of its metrics, and the topic on which its node is to be asked for its births, or None.

        `connection` counts our connections to the broker. A death certificate ends here: it holds no observation, and what is silent is
        told by its silence.
        """
        parts = message.source.split("/")
        if message.format != FORMAT or len(parts) < 4:
            return message, None
        group, kind, node = parts[1:4]
        edge = f"{group}/{node}"
        chain = self._chains.setdefault(edge, _Chain())
        chain.follow(connection)
        try:
            payload = read_payload(message.payload, where=message.source)
        except InputError:
            if kind == NODE_DEATH:
                self._end(edge, chain, None)
            return message, None  # it goes to quarantine as it is
        if kind == NODE_DEATH:
            self._end(edge, chain, session_of(payload))
            return None, None
        has_gap = self._has_gap(edge, kind, payload.seq if payload.HasField("seq") else None, chain, message.received_at)
        if kind in BIRTHS:
            self._remember(edge, kind, payload, chain, message.received_at)
        chain.last = message.received_at
        if kind == DEVICE_DEATH:
            LOG.warning("%s has died: %s says so", message.device, message.source)
            return None, None
        body, nameless = completed(payload, self._births.of(edge).names)
        wants_birth = (has_gap or nameless > 0) and self._ask(chain)
        return message._replace(payload=body), f"{NAMESPACE}/{group}/NCMD/{node}" if wants_birth else None

    def recalled(self, message: Message) -> Message:
        """Return a message that waited with the names that its session's births gave since.

        Raises
        ------
        AliasError
            A metric goes on having no name, or nothing proves that the births are of the session in which the message was sent.
        """
        parts = message.source.split("/")
        if message.format != FORMAT or len(parts) < 4 or parts[2] in BIRTHS:
            return message
        payload = read_payload(message.payload, where=message.source)
        born = self._births.of(f"{parts[1]}/{parts[3]}")
        before = completed(payload, {})[1]
        body, nameless = completed(payload, born.names)
        if nameless:
            raise AliasError(
                "no birth certificate names the alias; it waits for the edge node's next births", where=message.source
            )
        if before and (born.since is None or message.received_at < born.since):
            raise AliasError(
                f"nothing proves that it is of the session whose births are known: {born.why or _UNKNOWN_SESSION}",
                where=message.source,
                remedy="have the edge node send it again (is_historical); under an alias of another session it could be another metric",
            )
        return message._replace(payload=body)

    def take_born(self) -> list[str]:
        """Return the edge nodes (`group/node`) of which births came since this was asked last."""
        born, self._born = list(self._born), {}
        return born

    def forget_sessions(self) -> None:
        """Forget all aliases: the broker has not kept our session, so deaths and births may have been missed."""
        self._chains.clear()
        self._births.clear()

    def _end(self, edge: str, chain: _Chain, session: int | None) -> None:
        """Forget a session that has ended; the will of an earlier one may come late."""
        known = self._births.of(edge)
        if None not in {session, known.session} and session != known.session:
            return
        LOG.warning("%s has died; its aliases end with its session", edge)
        self._births.put(edge, Births(why="the node died in between"))
        chain.sequence, chain.since, chain.is_asked = None, None, False
        chain.broken_by = "the node died in between"

    def _has_gap(self, edge: str, kind: str, sequence: int | None, chain: _Chain, at: datetime) -> bool:
        if not self.counts_sequence or sequence is None:
            chain.since = None
            return False
        before, chain.sequence = chain.sequence, sequence
        if kind == "NBIRTH":
            return False
        has_gap = before is not None and sequence not in {before, (before + 1) % _SEQUENCE}
        if has_gap:
            LOG.warning("%s: message %s follows %s; what lies between was lost on the way", edge, sequence, before)
            chain.begin(at, "messages in between were lost")
        elif chain.since is None:
            chain.begin(at)
        return has_gap

    def _ask(self, chain: _Chain) -> bool:
        now = self.monotonic()
        if not self.may_ask or (chain.asked_at_s is not None and now - chain.asked_at_s < _ASK_EVERY_S):
            return False
        chain.asked_at_s, chain.is_asked = now, True
        return True

    def _remember(self, edge: str, kind: str, payload: object, chain: _Chain, at: datetime) -> None:
        known, names = self._births.of(edge), names_of(payload)
        if kind == "NBIRTH":
            found = self._session(known, session_of(payload), chain, at)
            born = Births(names, session_of(payload), *found)
            chain.is_asked, chain.since = False, None
        else:
            changes = any(known.names.get(alias, named) != named for alias, named in names.items())
            since, why = (at + _NEXT, "a device's birth gave the alias another name") if changes else (known.since, known.why)
            born = Births({**known.names, **names}, known.session, since, why)
        self._births.put(edge, born)
        self._born[edge] = None

    @staticmethod
    def _session(known: Births, session: int | None, chain: _Chain, at: datetime) -> tuple[datetime, str | None]:
        """Return from when on what came is of the session of an NBIRTH, and why nothing before is."""
        if session is not None and known.session == session and known.since is not None:
            return known.since, known.why
        if known.session is not None and session is not None:
            return at + _NEXT, f"the session before had bdSeq {known.session}, this one has {session}"
        if chain.is_asked and chain.since is not None:
            return chain.since, chain.broken_by
        return at + _NEXT, chain.broken_by
