"""What an import tells: the contract's JSON of `groundwatch import`, and the receipt of a message. This file holds no logic else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from domain.observation import CommitCounts, Rejected

MAX_LISTED_REJECTS = 1000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Outcome of one file.

    `accepted` + `duplicate` + `corrected` observations came in; `rejected` rows are in quarantine with their bytes and reason.
    """

    file: str
    format: str
    sha256: str
    accepted: int
    duplicate: int
    corrected: int
    rejected: int
    rejects: tuple[Rejected, ...]
    stations: tuple[str, ...]
    elapsed_s: float
    profile: str | None = None
    dry_run: bool = False
    created: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unconfirmed: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    batch_ids: tuple[int, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 all in, 3 some rejected, 2 nothing usable."""
        if self.rejected == 0:
            return 0
        return 3 if self.accepted + self.duplicate + self.corrected else 2

    def to_json(self) -> dict[str, Any]:
        """Return the contract's object; lists at most `MAX_LISTED_REJECTS` rejects, the rest are in quarantine."""
        notes = dict(self.notes)
        if self.rejected > MAX_LISTED_REJECTS:
            notes["rejects_not_listed"] = self.rejected - MAX_LISTED_REJECTS
        return {
            "file": self.file,
            "format": self.format,
            "sha256": self.sha256,
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "corrected": self.corrected,
            "rejected": self.rejected,
            "rejects": [
                {"line": item.line, "code": item.code, "reason": item.reason} for item in self.rejects[:MAX_LISTED_REJECTS]
            ],
            "stations": list(self.stations),
            "elapsed_s": round(self.elapsed_s, 6),
            "profile": self.profile,
            "dry_run": self.dry_run,
            "created": {key: list(value) for key, value in self.created.items()},
            "unconfirmed": list(self.unconfirmed),
            "notes": notes,
        }


class MessageReceipt(NamedTuple):
    """Outcome of one device message, known after its commit; a named tuple, because every message gets one.

    `observations` counts what was sent to the store (accepted, duplicate or corrected there), `rejects` went to quarantine;
    `counts` are those of the whole commit, which several messages share.
    """

    station: str
    source: str
    sha256: str
    message_id: str | None
    observations: int
    rejects: tuple[Rejected, ...]
    counts: CommitCounts

    @property
    def is_quarantined(self) -> bool:
        """Was nothing of the message stored as an observation?"""
        return self.observations == 0 and bool(self.rejects)

    def to_json(self) -> dict[str, Any]:
        """Return what a device needs to drop its copy: its own message id, else the digest."""
        receipt: dict[str, Any] = {"sha256": self.sha256, "observations": self.observations, "rejected": len(self.rejects)}
        if self.message_id is not None:
            receipt["id"] = self.message_id
        if self.rejects:
            receipt["rejects"] = [{"line": item.line, "code": item.code, "reason": item.reason} for item in self.rejects[:20]]
        return receipt
