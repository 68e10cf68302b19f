"""Words and records of handling: a case (问题) and every step in its life, from 收集 to 销号.

Values only, no behaviour; what a step may follow is decided in `alerts.cases`. Source of the words: the founding notice
(问题收集, 提交解决, 跟踪落实) and the closed loop of the joint control. This file finishes with `Case`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class CaseState(StrEnum):
    """Where a case stands."""

    COLLECTED = "collected"
    VERIFIED = "verified"
    ASSIGNED = "assigned"
    HANDLING = "handling"
    TRACKING = "tracking"
    CLOSED = "closed"

    @property
    def word_zh(self) -> str:
        """收集, 核实, 交办, 处置, 跟踪 or 销号."""
        return _STATES_ZH[self.value]


class CaseStep(StrEnum):
    """What somebody did to a case."""

    COLLECT = "collect"
    VERIFY = "verify"
    DISMISS = "dismiss"
    ASSIGN = "assign"
    HANDLE = "handle"
    FOLLOW_UP = "follow_up"
    CLOSE = "close"
    REOPEN = "reopen"
    LINK = "link"
    ATTACH = "attach"
    COMMENT = "comment"
    ESCALATE = "escalate"

    @property
    def word_zh(self) -> str:
        """The step's name in the ledger."""
        return _STEPS_ZH[self.value]


class CaseVerdict(StrEnum):
    """What a case, or an alert, turned out to be."""

    REAL = "real"
    INSTRUMENT = "instrument"
    MAINTENANCE = "maintenance"
    NATURAL = "natural"
    DUPLICATE = "duplicate"

    @property
    def word_zh(self) -> str:
        """属实, 仪器故障, 维护作业, 自然变化 or 重复."""
        return _VERDICTS_ZH[self.value]


class Effect(StrEnum):
    """What the observations after a measure say, beside those before it. Too little data is no effect shown, not none."""

    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    WORSE = "worse"
    CANNOT_TELL = "cannot_tell"

    @property
    def word_zh(self) -> str:
        """好转, 无明显变化, 恶化 or 无法判断."""
        return _EFFECTS_ZH[self.value]


_STATES_ZH = {
    "collected": "收集",
    "verified": "核实",
    "assigned": "交办",
    "handling": "处置",
    "tracking": "跟踪",
    "closed": "销号",
}
_STEPS_ZH = {
    "collect": "收集",
    "verify": "核实",
    "dismiss": "核实（不属实）",
    "assign": "交办",
    "handle": "处置",
    "follow_up": "跟踪",
    "close": "销号",
    "reopen": "重开",
    "link": "关联预警",
    "attach": "附件",
    "comment": "备注",
    "escalate": "逾期上报",
}
_VERDICTS_ZH = {
    "real": "属实",
    "instrument": "仪器故障",
    "maintenance": "维护作业",
    "natural": "自然变化",
    "duplicate": "重复",
}
_EFFECTS_ZH = {"improved": "好转", "unchanged": "无明显变化", "worse": "恶化", "cannot_tell": "无法判断"}


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """One step: who, when, what was said, and the facts of the step in `detail` (plain JSON values).

    `number` counts from 1 within the case and gives the order; events are appended, never changed.
    """

    case_code: str
    number: int
    step: CaseStep
    actor: str
    recorded_at: datetime
    note: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document of a case, kept once under its digest."""

    filename: str
    media_type: str
    sha256: str
    bytes: int
    location: str


@dataclass(frozen=True, slots=True)
class Case:
    """A case as its events tell it.

    Attributes
    ----------
    code
        `{region}-{year}-{number}`, unique in the node.
    owner, leader
        The body that is responsible (责任单位) and the one person who leads (牵头人).
    handlers
        Everybody who ever led it or recorded a measure, before a reopening too: none of them may close it.
    due_at
        Until when it is to be settled; None until it is assigned.
    escalated_to
        The highest body told that it is overdue; None when in time, and again after a new assignment.
    """

    code: str
    title: str
    state: CaseState
    collected_by: str
    opened_at: datetime
    updated_at: datetime
    description: str = ""
    region_code: str | None = None
    origin: str = "person"
    stations: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    owner: str | None = None
    leader: str | None = None
    due_at: datetime | None = None
    handlers: frozenset[str] = frozenset()
    measures: tuple[str, ...] = ()
    effect: Effect | None = None
    escalated_to: str | None = None
    attachments: tuple[Attachment, ...] = ()
    verdict: CaseVerdict | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None
    reopened: int = 0
    last_number: int = 0
    last_note: str = ""

    def is_overdue(self, now: datetime) -> bool:
        """Is it past its date and not closed? A case without a date is not."""
        return self.state is not CaseState.CLOSED and self.due_at is not None and self.due_at < now
