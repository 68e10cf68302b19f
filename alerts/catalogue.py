"""The rules in force, indexed so that a change costs nothing for rules that cannot be about it. This file finishes with `Catalogue`."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.rules import RULES, definition_of
from domain.alerting import Rule
from domain.errors import InputError
from domain.model import Datastream, Station


class Catalogue:
    """Rules by what they look at.

    Parameters
    ----------
    rules
        Enabled rules, one version each. One that cannot be read is left out and named in `faulty`: it must not stop the others.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.key = fingerprint(rules)
        self.faulty: dict[str, str] = {}
        sound = [rule for rule in rules if self._is_sound(rule)]
        self._by_clock = tuple(rule for rule in sound if RULES[rule.kind].by_clock)
        self._by_data = tuple(rule for rule in sound if not RULES[rule.kind].by_clock)
        self._of_property: dict[str, tuple[Rule, ...]] = {}

    def _is_sound(self, rule: Rule) -> bool:
        try:
            if rule.kind not in RULES:
                raise InputError(f"kind is {rule.kind!r}.", where=f"rule {rule.code}", remedy=f"use one of {', '.join(RULES)}")
            definition_of(rule)
        except InputError as error:
            self.faulty[rule.code] = str(error)
            return False
        return True

    def about(self, datastream: Datastream, station: Station) -> list[Rule]:
        """Return the rules that a change of this datastream concerns."""
        candidates = self._of_property.get(datastream.property_code)
        if candidates is None:
            candidates = tuple(
                rule for rule in self._by_data if definition_of(rule).scope.admits_property(datastream.property_code)
            )
            self._of_property[datastream.property_code] = candidates
        return [rule for rule in candidates if definition_of(rule).scope.admits(datastream, station)]

    @property
    def by_clock(self) -> Sequence[Rule]:
        """Rules that time alone can change."""
        return self._by_clock

    @property
    def by_data(self) -> Sequence[Rule]:
        """Rules that data change."""
        return self._by_data


def fingerprint(rules: Sequence[Rule]) -> tuple[tuple[str, int], ...]:
    """Return what tells one set of rules from another."""
    return tuple((rule.code, rule.version) for rule in rules)
