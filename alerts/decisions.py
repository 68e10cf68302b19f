"""What people decide about alerts: acknowledge, confirm, reject, exercise; and the question why.

This file finishes with `Decisions`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from alerts.audience import Audience
from alerts.evidence import judged_evidence
from alerts.explain import explain
from alerts.issue import Issuer
from alerts.lifecycle import Episode, episode_from_json
from alerts.matching import Labels, labels_of, silence_for
from alerts.policy import policy_in_force
from alerts.ports import AlertObservations, AlertRegisters, RunReader
from alerts.reconcile import is_history
from alerts.recorder import About, Recorder, Report
from alerts.replay import Replay
from alerts.store import AlertStore, AlertTransaction
from alerts.times import in_order
from alerts.transitions import Turn
from domain.alert import AlertState, Confirmation, Level, MessageStatus
from domain.alerting import OUT_OF_SERVICE, AlertRecord, RuleKey
from domain.errors import ConflictError, InputError, NotFoundError
from domain.model import Datastream


class Decisions:
    """Brings a named person's decision to an alert, in one transaction with what follows from it."""

    def __init__(
        self,
        store: AlertStore,
        observations: AlertObservations,
        registers: AlertRegisters,
        issuer: Issuer,
        runs: RunReader | None = None,
    ) -> None:
        self._store = store
        self._observations = observations
        self._registers = registers
        self._replay = Replay(observations, registers, runs, issuer.zone)
        self._recorder = Recorder(issuer)

    def acknowledge(self, alert: int | str, who: str, note: str | None, now: datetime) -> AlertRecord:
        """Note that a named person has seen an alert as bad as it is; a second acknowledgement changes nothing.

        What gets worse than that waits for an acknowledgement again.

        Raises
        ------
        InputError
            When nobody is named.
        NotFoundError
            When there is no such alert.
        """
        found = self._named(alert, who)
        with self._store.transaction([found.key]) as tx:
            current = tx.alert(found.alert_id or 0)
            now = in_order(current, now)
            if current.acknowledged_at is not None and "unanswered_since" not in current.memory:
                return current
            known = {name: value for name, value in current.memory.items() if name != "unanswered_since"}
            memory = {**known, "acknowledged_level": int(max(current.level, current.peak_level))}
            after = replace(
                current, acknowledged_by=who, acknowledged_at=now, acknowledged_note=note, updated_at=now, memory=memory
            )
            stored = tx.update_alert(after)
            tx.add_transition(self._recorder.note(stored, Turn(now, now, who, note or "acknowledged", "acknowledged")))
            return stored

    def confirm(self, alert: int | str, who: str, note: str | None, now: datetime) -> AlertRecord:
        """Confirm an alert as it stands: what waited for a person goes out. ConflictError once it is over or rejected."""
        return self._decide(alert, who, note, now, Confirmation.CONFIRMED)

    def reject(self, alert: int | str, who: str, note: str | None, now: datetime) -> AlertRecord:
        """Call an alert false: it is resolved, and cancelled where it was issued. ConflictError once it is over."""
        return self._decide(alert, who, note, now, Confirmation.REJECTED)

    def _decide(self, alert: int | str, who: str, note: str | None, now: datetime, decision: Confirmation) -> AlertRecord:
        found = self._named(alert, who)
        audience = self._audience(now)
        with self._store.transaction([found.key]) as tx:
            current = tx.alert(found.alert_id or 0)
            now = in_order(current, now)
            if current.confirmation is decision:
                return current
            if not _decidable(current, decision):
                raise ConflictError(f"alert {current.identifier} cannot be decided any more.", remedy="reload the alert")
            about = self._about_alert(current)
            episode = episode_from_json(current.evidence["episode"])
            name = "confirmed_level" if decision is Confirmation.CONFIRMED else "rejected_level"
            memory = {**current.memory, "confirmed_level": 0, "rejected_level": 0, name: int(max(episode.level, episode.held))}
            decided = replace(current, memory=memory, confirmed_by=who, confirmed_at=now)
            turn = Turn(now, now, who, note or decision.value, decision.value)
            stored = self._recorder.carry(tx, about, decided, episode, current.evidence, audience, turn, Report())
            if decision is Confirmation.CONFIRMED and stored.state is AlertState.FIRING:
                self._deliver_current(tx, about, stored, audience, now)
            return tx.alert(stored.alert_id or 0)

    def shelve(self, alert: int | str, who: str, reason: str, until: datetime, now: datetime) -> AlertRecord:
        """Hold the messages of an alert's rule and scope back until a time, unless it gets worse; evaluation goes on.

        Raises
        ------
        InputError
            Where nobody or no reason is named, the end is not in the future or later than the policy allows.
        ConflictError
            Where the alert is over.
        """
        found = self._named(alert, who)
        longest = policy_in_force(self._store).longest
        if not reason.strip():
            raise InputError("no reason is given.", where="reason", remedy="say why the alert may wait")
        if not now < until <= now + longest:
            raise InputError(
                f"{until.isoformat()} is not within {longest} from now.",
                where="until",
                remedy="choose an earlier end; shelve again then",
            )
        with self._store.transaction([found.key]) as tx:
            current = tx.alert(found.alert_id or 0)
            now = in_order(current, now)
            if current.state is AlertState.RESOLVED:
                raise ConflictError(f"alert {current.identifier} is over.", remedy="only an open alert can be shelved")
            shelved = {"until": until.isoformat(), "by": who, "reason": reason, "level": int(current.level)}
            stored = tx.update_alert(replace(current, memory={**current.memory, "shelved": shelved}, updated_at=now))
            tx.add_transition(self._recorder.note(stored, Turn(now, now, who, f"until {until.isoformat()}: {reason}", "shelved")))
            return stored

    def unshelve(self, alert: int | str, who: str, note: str | None, now: datetime) -> AlertRecord:
        """End a shelving; what still fires and was held goes out. ConflictError where the alert is not shelved."""
        found = self._named(alert, who)
        with self._store.transaction([found.key]) as tx:
            current = tx.alert(found.alert_id or 0)
            now = in_order(current, now)
            if "shelved" not in current.memory:
                raise ConflictError(f"alert {current.identifier} is not shelved.", remedy="reload the alert")
            memory = {name: value for name, value in current.memory.items() if name != "shelved"}
            stored = tx.update_alert(replace(current, memory=memory, updated_at=now))
            tx.add_transition(self._recorder.note(stored, Turn(now, now, who, note or "unshelved", "unshelved")))
            if stored.state is AlertState.FIRING and "suppressed" in stored.memory:
                self._deliver_current(tx, self._about_alert(stored), stored, self._audience(now), now)
            return tx.alert(stored.alert_id or 0)

    def exercise(self, rule_code: str, scope: str, level: Level, who: str, now: datetime) -> AlertRecord:
        """Open an exercise on a datastream: it goes only to receivers that ask for exercises, and never enters statistics."""
        rule = self._store.rule(rule_code)
        datastream = self._registers_datastream(scope)
        station = self._registers.station(datastream.station)
        if rule is None or station is None:
            raise NotFoundError(f"there is no rule {rule_code}.", remedy="list the rules")
        about = About(rule, station, datastream, f"exercise/{scope}", MessageStatus.EXERCISE)
        episode = Episode(now, level=level, held=level, armed=level, peak=level, peak_held=level)
        found = self._replay.judged_exercise(rule, station, datastream, level, now, self._store.current_seq())
        evidence = judged_evidence(found.context, found.evaluation, episode, found.definition, found.read_seq)
        with self._store.transaction([RuleKey(rule_code, about.scope)]) as tx:
            turn = Turn(now, now, who, "exercise")
            memory = {"confirmed_level": int(level)}
            return self._recorder.open(tx, about, episode, evidence, self._audience(now), turn, Report(), memory)

    def end_exercise(self, alert: int | str, who: str, now: datetime) -> AlertRecord:
        """End an exercise. ConflictError where the alert is no exercise or is over."""
        found = self._named(alert, who)
        with self._store.transaction([found.key]) as tx:
            current = tx.alert(found.alert_id or 0)
            now = in_order(current, now)
            if current.status is not MessageStatus.EXERCISE or current.state is AlertState.RESOLVED:
                raise ConflictError(f"alert {current.identifier} is no exercise that goes on.", remedy="reload the alert")
            episode = replace(episode_from_json(current.evidence["episode"]), ended=now)
            turn = Turn(now, now, who, "the exercise is over")
            about = self._about_alert(current)
            return self._recorder.carry(tx, about, current, episode, current.evidence, self._audience(now), turn, Report())

    def explain(self, alert: int | str) -> dict[str, Any]:
        """Recompute an alert from its recorded inputs and say whether it comes out the same.

        Returns
        -------
        dict
            `ok`, `alert`, `same`, `intact` (the recorded digest fits the recorded evidence), `recorded`, `recomputed`, `differences`.
        """
        found = self._stored(alert)
        rule = self._store.rule(found.rule_code, found.rule_version)
        if rule is None:
            raise NotFoundError(f"there is no version {found.rule_version} of rule {found.rule_code}.")
        about = self._about_alert(found)
        return explain(found, about, rule, self._replay, self._observations)

    def _named(self, alert: int | str, who: str) -> AlertRecord:
        if not who.strip():
            raise InputError("nobody is named.", remedy="name the person who decides")
        return self._stored(alert)

    def _stored(self, alert: int | str) -> AlertRecord:
        found = self._store.find_alert(alert)
        if found is None:
            raise NotFoundError(f"there is no alert {alert}.", remedy="list the alerts")
        return found

    def _registers_datastream(self, code: str) -> Datastream:
        found = self._registers.datastream(code)
        if found is None:
            raise NotFoundError(f"there is no datastream {code}.", remedy="list the datastreams")
        return found

    def _about_alert(self, alert: AlertRecord) -> About:
        rule = self._store.rule(alert.rule_code, alert.rule_version)
        station = self._registers.station(alert.station) if alert.station else None
        if rule is None or station is None:
            raise NotFoundError(f"rule or station of alert {alert.identifier} are gone.")
        datastream = self._registers.datastream_by_id(alert.datastream_id) if alert.datastream_id is not None else None
        return About(rule, station, datastream, alert.scope, alert.status)

    def _labels(self, alert: AlertRecord) -> Labels | None:
        """Return the labels of a stored alert, or None where its rule or station are gone."""
        try:
            about = self._about_alert(alert)
        except NotFoundError:
            return None
        return labels_of(alert, about.rule, about.station, about.datastream)

    def is_out_of_service(self, alert: AlertRecord, now: datetime) -> bool:
        """Has a person taken the sensor or the rule of an alert out of service?"""
        labels = self._labels(alert)
        found = silence_for(self._store.silences(now), labels, now) if labels is not None else None
        return found is not None and found.kind == OUT_OF_SERVICE

    def _audience(self, now: datetime) -> Audience:
        return Audience(self._store, now, self._labels)

    def _deliver_current(self, tx: AlertTransaction, about: About, alert: AlertRecord, audience: Audience, now: datetime) -> int:
        messages = tx.cap_of(alert.alert_id or 0)
        if not messages:
            return 0
        sent, memory = self._recorder.deliver(tx, about, alert, messages[-1], audience, now)
        if memory != alert.memory:
            tx.update_alert(replace(alert, memory=memory))
        return sent


def _decidable(alert: AlertRecord, decision: Confirmation) -> bool:
    """What waits can be decided; what fires without having to wait can be confirmed too, so that it may leave the house, or rejected."""
    if alert.state is AlertState.RESOLVED or is_history(alert):
        return False
    if alert.confirmation is Confirmation.AWAITED:
        return True
    return alert.state is AlertState.FIRING and (
        decision is Confirmation.REJECTED or alert.confirmation is Confirmation.NOT_NEEDED
    )
