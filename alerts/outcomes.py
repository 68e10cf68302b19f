"""From what a rule found to what becomes of its alerts. This file finishes with `Outcomes`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from alerts.audience import Audience
from alerts.evidence import judged_evidence, traced_evidence
from alerts.lifecycle import Episode, episode_from_json
from alerts.reconcile import reconcile
from alerts.recorder import About, Recorder, Report
from alerts.replay import Found
from alerts.store import AlertTransaction
from alerts.transitions import Turn
from domain.alert import AlertState, Level, Verdict
from domain.alerting import RuleKey


class Outcomes:
    """Opens, carries and retracts the alerts of a rule and scope as its episodes say; `at` is when that is recorded."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def traced(self, tx: AlertTransaction, about: About, found: Found, audience: Audience, at: datetime, report: Report) -> None:
        """Record a rule whose whole record was replayed."""
        if found.trace is None or found.folded is None:
            raise TypeError("only a replayed rule has episodes")
        key = RuleKey(about.rule.code, about.scope)
        alerts = tx.alerts_of([key]).get(key, ())
        if not found.folded.episodes and not alerts:
            return
        plan = reconcile(found.folded.episodes, alerts)
        turn = Turn(at, found.evaluation.at, reason=found.evaluation.reason)
        for alert in plan.vanished:
            self._recorder.retract(tx, about, alert, audience, replace(turn, reason="corrected data hold no breach"), report)
        for alert, episode in plan.carried:
            self._recorder.carry(
                tx, about, alert, episode, self._evidence(found, episode), audience, _when(turn, episode), report
            )
        if plan.past:
            self._recorder.remember_past(tx, about, plan.past, alerts, self._evidence(found, plan.past[-1]), turn)
        if plan.opened is not None and not found.stale:
            evidence = self._evidence(found, plan.opened)
            self._recorder.open(tx, about, plan.opened, evidence, audience, _when(turn, plan.opened), report)

    @staticmethod
    def _evidence(found: Found, episode: Episode) -> dict[str, Any]:
        if found.trace is None:
            raise TypeError("only a replayed rule has a trace")
        return traced_evidence(found.context, found.trace, episode, found.ladder, found.definition, found.read_seq)

    def judged(self, tx: AlertTransaction, about: About, found: Found, audience: Audience, at: datetime, report: Report) -> None:
        """Record a rule that looks at the clock or the newest run: its episode is what is open, or nothing."""
        key = RuleKey(about.rule.code, about.scope)
        alerts = tx.alerts_of([key]).get(key, ())
        alert = next((item for item in alerts if item.state is not AlertState.RESOLVED), None)
        judged = found.evaluation
        if judged.verdict is Verdict.CANNOT_TELL or (alert is None and judged.verdict is Verdict.OK):
            return
        before = episode_from_json(alert.evidence["episode"]) if alert is not None else None
        episode = _episode_of(found, before)
        evidence = judged_evidence(found.context, judged, episode, found.definition, found.read_seq)
        turn = Turn(at, episode.ended or episode.onset, reason=judged.reason)
        if alert is None:
            self._recorder.open(tx, about, episode, evidence, audience, turn, report)
        else:
            kept = alert.evidence if episode.ended is not None else evidence
            self._recorder.carry(tx, about, alert, episode, kept, audience, turn, report)


def _when(turn: Turn, episode: Episode) -> Turn:
    """Return the turn at the event time of the episode's newest step."""
    return replace(turn, at=episode.ended or (episode.steps[-1].at if episode.steps else episode.onset))


def _episode_of(found: Found, before: Episode | None) -> Episode:
    """Return the episode of a rule without a trace: what was open goes on, moves its level, or ends."""
    judged = found.evaluation
    if judged.verdict is Verdict.OK:
        if before is None:
            raise ValueError("an episode that never was cannot end")
        heard = judged.evidence.get("last_heard")
        return replace(before, ended=max(before.onset, datetime.fromisoformat(heard) if heard else judged.at))
    onset = (
        before.onset if before else datetime.fromisoformat(judged.evidence["onset"]) if "onset" in judged.evidence else judged.at
    )
    peak = max(judged.level, before.peak if before else Level.NONE)
    return Episode(onset, level=judged.level, held=judged.level, armed=judged.level, peak=peak, peak_held=peak)
