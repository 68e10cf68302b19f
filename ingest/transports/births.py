"""Birth certificates of Sparkplug B edge nodes: which alias is which metric, kept across restarts, and what was missed between messages.

The one memory between messages that the protocol needs stands here, at the edge: what goes on from here says all by itself. A node whose
alias nobody knows, or whose sequence has a gap, is asked for its births again, at most once a minute. This file finishes with `BirthBook`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from domain.errors import InputError
from ingest.formats.sparkplug import NAMESPACE, completed, names_of, read_payload
from ingest.messages import Message

LOG = logging.getLogger(__name__)
FORMAT = "sparkplug"
DEATHS = frozenset({"NDEATH", "DDEATH"})
BIRTHS = frozenset({"NBIRTH", "DBIRTH"})
_SEQUENCE = 256
_ASK_EVERY_S = 60.0


class BirthBook:
    """Knows the aliases of every edge node.

    Parameters
    ----------
    folder
        Where they are kept across restarts, a file an edge node; None = in memory alone.
    counts_sequence
        Whether every message of a node comes here; False where several processes share a subscription.
    monotonic
        Seconds that never run backwards.
    """

    def __init__(
        self, folder: Path | None, *, counts_sequence: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.counts_sequence, self.monotonic = folder, counts_sequence, monotonic
        self._names: dict[str, dict[int, tuple[str, int]]] = {}
        self._sequence: dict[str, int] = {}
        self._asked: dict[str, float] = {}

    def complete(self, message: Message) -> tuple[Message | None, str | None]:
        """Return a message with the names of its metrics, and the topic on which its node is to be asked for its births, or None.

        A death certificate ends here: it holds no observation, and what is silent is told by its silence.
        """
        parts = message.source.split("/")
        if message.format != FORMAT or len(parts) < 4:
            return message, None
        group, kind, node = parts[1:4]
        edge = f"{group}/{node}"
        if kind in DEATHS:
            self._sequence.pop(edge, None)
            LOG.warning("%s has died: %s says so", message.device, message.source)
            return None, None
        try:
            payload = read_payload(message.payload, where=message.source)
        except InputError:
            return message, None  # it goes to quarantine as it is
        if kind in BIRTHS:
            self._remember(edge, names_of(payload), is_new=kind == "NBIRTH")
        has_gap = self._has_gap(edge, kind, payload.seq if payload.HasField("seq") else None)
        body, nameless = completed(payload, self._known(edge))
        wants_birth = (has_gap or nameless > 0) and self._may_ask(edge)
        return message._replace(payload=body), f"{NAMESPACE}/{group}/NCMD/{node}" if wants_birth else None

    def _has_gap(self, edge: str, kind: str, sequence: int | None) -> bool:
        if not self.counts_sequence or sequence is None:
            return False
        before = self._sequence.get(edge)
        self._sequence[edge] = sequence
        has_gap = kind != "NBIRTH" and before is not None and sequence not in {before, (before + 1) % _SEQUENCE}
        if has_gap:
            LOG.warning("%s: message %s follows %s; what lies between was lost on the way", edge, sequence, before)
        return has_gap

    def _may_ask(self, edge: str) -> bool:
        now = self.monotonic()
        if now - self._asked.get(edge, -_ASK_EVERY_S) < _ASK_EVERY_S:
            return False
        self._asked[edge] = now
        return True

    def _known(self, edge: str) -> dict[int, tuple[str, int]]:
        if edge not in self._names:
            self._names[edge] = self._read(edge)
        return self._names[edge]

    def _remember(self, edge: str, names: dict[int, tuple[str, int]], *, is_new: bool) -> None:
        before = {} if is_new else self._known(edge)
        self._names[edge] = {**before, **names}
        path = self._path(edge)
        if path is None or not self._names[edge]:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.writing")
        beside.write_text(json.dumps({str(alias): named for alias, named in self._names[edge].items()}), encoding="utf-8")
        beside.replace(path)

    def _read(self, edge: str) -> dict[int, tuple[str, int]]:
        path = self._path(edge)
        if path is None or not path.exists():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {int(alias): (str(name), int(datatype)) for alias, (name, datatype) in content.items()}
        except (ValueError, TypeError, AttributeError):
            return {}  # as if it had never been: its node is asked again

    def _path(self, edge: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{quote(edge, safe='')[:200]}.json"
