"""Cases, verdicts, alarm quality and receivers for the tests of the pages: the real rules of handling over a list in memory.

This file finishes with `FakeHandling`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from alerts.alarm_quality import Episode, Notice, load_targets, measure, to_json
from alerts.cases import MAY_FOLLOW, check, fold
from domain.alert import Level
from domain.case import CaseEvent, CaseState, CaseStep, CaseVerdict
from domain.errors import ConflictError, GroundWatchError, PermissionDeniedError
from service.api.routers.cases import _event_json, case_json
from service.api.times import plain

NOW = datetime.now(UTC).replace(microsecond=0)  # the page takes dates to come from the browser's clock
FOLLOWED = {
    "effect": "improved", "quantity": "level", "better": "higher", "change": 3.52, "lower": 3.31, "upper": 3.73, "reason": "",
    "before": {"value": -31.6, "sigma": 0.1, "n": 106, "effective_n": 90.0},
    "after": {"value": -28.08, "sigma": 0.1, "n": 45, "effective_n": 40.0},
}  # fmt: skip
Refuse = Callable[[int, str, str, str], Exception]


class FakeHandling:
    """Answers what the pages of handling ask for; `refuse` makes the exception that becomes a problem."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse
        self.events: dict[str, list[CaseEvent]] = {}
        self.files: dict[str, bytes] = {}
        self.verdicts: dict[int, list[dict[str, Any]]] = {}
        self.dead = [self._notification(7, "city-hook", "connection refused")]
        self.held = [
            {"id": n, "kind": kind, "matchers": matchers, "starts_at": plain(NOW), "ends_at": plain(NOW), "author": who, "reason": why,
             "ended_by": None, "in_force": True}
            for n, kind, matchers, who, why in (
                (1, "silence", {"region": ["330411", "330402"]}, "许工", "演练"),
                (2, "out_of_service", {"datastream": "JX-W01:depth_to_water"}, "陈工", "检修"),
            )
        ]  # fmt: skip
        self.tests: list[str] = []
        self._seed()

    def _seed(self) -> None:
        old = NOW - timedelta(days=20)
        late = self.collect({"title": "王江泾漏斗加深", "stations": ["JX-OW-01"], "origin": "alert", "alerts": []}, "xu", old)
        self.take(late, CaseStep.VERIFY, "xu", old, "复测一致", {})
        due = (NOW - timedelta(days=3)).isoformat()
        self.take(late, CaseStep.ASSIGN, "director", old, "", {"owner": "秀洲区水利局", "leader": "chen", "due_at": due})
        self.take(late, CaseStep.HANDLE, "lin", old, "", {"measure": "封填深井 2 口"})
        self.collect({"title": "标志损坏", "stations": ["JX-BM-07"], "origin": "patrol", "alerts": []}, "lin", NOW)

    # ------------------------------------------------------------ cases

    def collect(self, said: dict[str, Any], who: str, now: datetime = NOW) -> str:
        code = f"330400-2026-{len(self.events) + 1:04d}"
        detail = {"title": said["title"], "description": said.get("description", ""), "region_code": None,
                  "stations": said["stations"], "alerts": said["alerts"], "origin": said["origin"]}  # fmt: skip
        self.events[code] = [CaseEvent(code, 1, CaseStep.COLLECT, who, now, "", detail)]
        return code

    def take(self, code: str, step: CaseStep, who: str, now: datetime, note: str, detail: dict[str, Any]) -> None:
        events = self.events[code]
        event = CaseEvent(code, len(events) + 1, step, who, now, note, detail)
        try:
            check(fold(events), event, now)
        except GroundWatchError as error:
            status = 403 if isinstance(error, PermissionDeniedError) else 409 if isinstance(error, ConflictError) else 400
            raise self._refuse(status, "case", error.what, error.remedy or "") from error
        events.append(event)

    def detail(self, code: str) -> dict[str, Any]:
        if code not in self.events:
            raise self._refuse(404, "not-found", f"there is no case {code!r}.", "")
        case = fold(self.events[code])
        possible = [step.value for step, states in MAY_FOLLOW.items() if case.state in states and step is not CaseStep.ESCALATE]
        whole: dict[str, Any] = plain(
            case_json(case, NOW)
            | {
                "steps": [_event_json(event) for event in self.events[code]],
                "possible_steps": possible,
                "states": [{"state": one.value, "state_zh": one.word_zh} for one in CaseState],
            }
        )
        return whole

    def listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        cases = [fold(events) for events in self.events.values()]
        counts = {
            state.value: {
                "cases": sum(case.state is state for case in cases),
                "overdue": sum(case.state is state and case.is_overdue(NOW) for case in cases),
            }
            for state in CaseState
        }
        wanted = [
            case
            for case in cases
            if case.state.value in query.get("state", [case.state.value])
            and ("overdue" not in query or case.is_overdue(NOW))
            and ("alert" not in query or query["alert"][0] in case.alerts)
        ]
        newest = sorted(wanted, key=lambda case: case.updated_at, reverse=True)
        return {"items": plain([case_json(case, NOW) for case in newest]), "next": None, "counts": counts}

    # ------------------------------------------------------------ the rest

    def quality(self) -> dict[str, Any]:
        start = NOW - timedelta(days=30)
        episodes = [
            Episode(f"alert-{n}", "head_low" if n % 3 else "quota", f"JX-OW-{n % 5:02d}", Level.BLUE, start + timedelta(hours=n),
                    ended_at=None if n < 2 else start + timedelta(hours=n + 5), acknowledged_at=start + timedelta(hours=n, minutes=20),
                    verdict=CaseVerdict.INSTRUMENT if n % 4 == 0 else CaseVerdict.REAL)
            for n in range(40)
        ]  # fmt: skip
        notices = [
            Notice("city-hook", start + timedelta(seconds=4 * n), start + timedelta(seconds=4 * n + 2)) for n in range(9500)
        ]
        notices += [Notice("county-mail", start + timedelta(hours=n)) for n in range(30)]
        shown: dict[str, Any] = plain(to_json(measure(episodes, notices, start, NOW, load_targets()), load_targets()))
        return shown

    @staticmethod
    def _notification(number: int, receiver: str, error: str) -> dict[str, Any]:
        return {"id": number, "idempotency_key": f"key-{number}", "receiver": receiver, "alert": 101, "kind": "alert", "message_type": "Alert",
                "headline": {"zh": "沉降速率超限", "en": "Subsidence rate over the limit"}, "state": "dead", "attempts": 12,
                "created_at": plain(NOW), "sent_at": None, "next_attempt_at": None, "last_error": error}  # fmt: skip

    def receivers(self) -> list[dict[str, Any]]:
        return [
            {"code": code, "kind": "webhook", "enabled": True, "outside": outside, "min_level": "yellow", "matchers": {}, "settings": {},
             "waiting": self.tests.count(code), "oldest_waiting": None, "last_error": None, "next_attempt_at": None}
            for code, outside in (("city-hook", True), ("county-mail", False))
        ]  # fmt: skip

    def get(self, parts: list[str], query: dict[str, list[str]]) -> Any:
        """Return the answer of a GET, or None where it is not ours."""
        match parts:
            case ["cases"]:
                return self.listed(query)
            case ["cases", "ledger.xlsx"]:
                return b"PK ledger"
            case ["cases", code]:
                return self.detail(code)
            case ["cases", _, "attachments", digest]:
                return self.files[digest]
            case ["alerts", number, "verdict"]:
                return self._verdicts(int(number))
            case ["alarm-quality"]:
                return self.quality()
            case ["receivers"]:
                return {"items": self.receivers(), "next": None}
            case ["notifications"]:
                return {"items": self.dead, "next": None}
            case ["silences"]:
                return {"items": self.held, "next": None}
        return None

    def _verdicts(self, number: int) -> dict[str, Any]:
        items = self.verdicts.get(number, [])
        return {"verdict": items[-1]["verdict"] if items else None, "items": items}

    def post(self, parts: list[str], query: dict[str, list[str]], body: Any, who: str) -> Any:
        """Return the answer of a POST, or None where it is not ours."""
        match parts:
            case ["cases"]:
                return self.detail(self.collect(body, who))
            case ["cases", code, "steps"]:
                given = {name: value for name, value in body.items() if name not in {"step", "note"}}
                self.take(code, CaseStep(body["step"]), who, NOW, body.get("note", ""), given)
                return self.detail(code)
            case ["cases", code, "follow-ups"]:
                found = FOLLOWED | {"datastream": body["datastream"], "quantity": body["quantity"]}
                self.take(code, CaseStep.FOLLOW_UP, who, NOW, body.get("note", ""), found)
                return self.detail(code)
            case ["cases", code, "attachments"]:
                digest = sha256(body).hexdigest()
                self.files[digest] = body
                about = {
                    "filename": query["filename"][0],
                    "media_type": "x",
                    "sha256": digest,
                    "bytes": len(body),
                    "location": "x",
                }
                self.take(code, CaseStep.ATTACH, who, NOW, "", about)
                return self.detail(code)
            case ["alerts", number, "verdict"]:
                self.verdicts.setdefault(int(number), []).append({**body, "by": who, "at": plain(NOW)})
                return self._verdicts(int(number))
            case ["receivers", code, "test"]:
                self.tests.append(code)
                return self._notification(99, code, "")
            case ["silences", number]:
                self.held = [one for one in self.held if one["id"] != int(number)]
                return {"id": int(number), "ended_by": who}
            case ["notifications", number, "replay"]:
                self.dead = [one for one in self.dead if one["id"] != int(number)]
                return {"id": int(number), "state": "waiting"}
        return None
