"""The rules in force, indexed so that a change costs nothing for rules that cannot be about it. This file finishes with `Catalogue`."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.rules import RULES, definition_of
from domain.alerting import Rule
from domain.model import Datastream, Station


class Catalogue:
    """Rules by what they look at.

    Parameters
    ----------
    rules
        Enabled rules, one version each.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.key = fingerprint(rules)
        self.rules = {rule.code: rule for rule in rules}
        self._by_clock = tuple(rule for rule in rules if RULES[rule.kind].by_clock)
        self._by_data = tuple(rule for rule in rules if not RULES[rule.kind].by_clock)
        self._of_property: dict[str, tuple[Rule, ...]] = {}

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
