"""The rules in force, indexed so that a change costs nothing for rules that cannot be about it. This file finishes with `Catalogue`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from alerts.rules import RULES, definition_of
from domain.alerting import Rule
from domain.errors import InputError
from domain.model import Datastream, Station

MOST_REMEMBERED = 100_000
_WILD = frozenset("*?[")


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
        self.sound = tuple(sound)
        self._by_clock = tuple(rule for rule in sound if RULES[rule.kind].by_clock)
        self._by_data = tuple(rule for rule in sound if not RULES[rule.kind].by_clock)
        self._named: dict[str, list[Rule]] = {}
        self._general: list[Rule] = []
        self._watching: dict[str, list[Rule]] = {}
        self._watching_here: dict[str, list[Rule]] = {}
        for rule in self._by_data:
            self._enter(rule)
        self._has_globs = any(definition_of(rule).scope.datastream for rule in self._general)
        self._alike: dict[Hashable, tuple[Rule, ...]] = {}
        self.looked_at = 0

    def _enter(self, rule: Rule) -> None:
        definition, kind = definition_of(rule), RULES[rule.kind]
        codes = definition.scope.datastream
        if codes and not any(set(code) & _WILD for code in codes):
            for code in codes:
                self._named.setdefault(code, []).append(rule)
        else:
            self._general.append(rule)
        if kind.watched is None:
            return
        watch = kind.watched(definition)
        for code in watch.codes:
            self._watching.setdefault(code, []).append(rule)
        for name in watch.here:
            self._watching_here.setdefault(name, []).append(rule)

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
        """Return the rules whose own datastream this is.

        Rules that name their datastreams are found by the name; of the others, which were admitted is remembered for everything that
        looks alike to a scope. So the cost does not grow with rules that are about something else; `looked_at` counts what was tested.
        """
        named = self._named.get(datastream.code, ())
        self.looked_at += len(named)
        return [
            *self._admitted(datastream, station),
            *(rule for rule in named if definition_of(rule).scope.admits(datastream, station)),
        ]

    def _admitted(self, datastream: Datastream, station: Station) -> Sequence[Rule]:
        looks: Hashable = (
            datastream.code if self._has_globs else datastream.property_code, datastream.aquifer, datastream.derivation is None,
            station.kind, station.zone_code, station.region_code, station.tags,
        )  # fmt: skip
        found = self._alike.get(looks)
        if found is None:
            self.looked_at += len(self._general)
            found = tuple(rule for rule in self._general if definition_of(rule).scope.admits(datastream, station))
            if len(self._alike) >= MOST_REMEMBERED:
                self._alike.clear()
            self._alike[looks] = found
        return found

    def through(self, datastream: Datastream) -> list[tuple[Rule, str]]:
        """Return the rules that read this datastream beside their own, each with the code of its own one."""
        here = datastream.code.partition(":")[2]
        rules = [*self._watching.get(datastream.code, ()), *self._watching_here.get(here, ())]
        self.looked_at += len(rules)
        return [(rule, code) for rule in rules for code in self._anchors(rule, datastream.station)]

    @staticmethod
    def _anchors(rule: Rule, station: str) -> Sequence[str]:
        anchors = RULES[rule.kind].anchors
        return () if anchors is None else anchors(definition_of(rule), station)

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
