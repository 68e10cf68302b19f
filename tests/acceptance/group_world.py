"""A node in a fresh database whose groups of datastreams are filled by hand: what the scenarios of mechanisms and networks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from analytics.method import aware
from domain.finding import Outcome
from domain.model import Datastream, Disclosure, Station, StationKind
from domain.observation import Batch, columns
from service.analysing import Analyst
from service.api.app import create_app
from service.api.passwords import digest_of
from service.bootstrap import Container
from storage.register_rows import Datum, Node
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import TOKENS

DATUM = "CN-H85"


@dataclass
class GroupWorld:
    """The node under test."""

    container: Container

    def begin(self, **attributes: Any) -> GroupWorld:
        """Make the node, its datum, its vocabulary and an analyst's key."""
        from service.configuration import apply_vocabulary

        apply_vocabulary(self.container.registers)
        self.container.registers.upsert_datum(Datum(DATUM, "1985国家高程基准", "1985", "GB 22021-2008"))
        self.container.registers.set_node(Node("testcity", "测试市", "test city", "330400", attributes=attributes))
        self.container.access.add_account("analyst", "Analyst", "analyst", None)
        self.container.access.add_key(digest_of(TOKENS["analyst"]), "gw_test", "analyst", account="analyst")
        return self

    def station(self, code: str, kind: StationKind, place: tuple[float, float] | None = None, **more: Any) -> None:
        longitude, latitude = place or (None, None)
        self.container.registers.add_station(
            Station(
                code, kind, code, code, longitude_deg=longitude, latitude_deg=latitude, disclosure=Disclosure.OPEN,
                region_code=more.pop("region_code", "330411"), attributes=more,
            ),
            actor="tester",
        )  # fmt: skip

    def stream(self, station: str, property_code: str, unit: str, **more: Any) -> Datastream:
        return self.container.registers.add_datastream(Datastream(station, property_code, unit, **more), actor="tester")

    def put(
        self, datastream: Datastream, times: Any, values: Sequence[float] | np.ndarray[Any, Any], sigma: float | None = None
    ) -> None:
        moments = np.asarray(times, dtype="datetime64[us]")
        rows = columns(
            [datastream.datastream_id or 0] * moments.size,
            moments,
            np.asarray(values, dtype=np.float64),
            sigma=None if sigma is None else np.full(moments.size, sigma),
        )
        self.container.observations.commit(Batch("file", "test.csv", rows, actor="tester"))

    def analyse(self, now: datetime, *, only: Sequence[str] | None = None) -> dict[str, list[tuple[str, Outcome]]]:
        """Run groups, then single datastreams (`only` these, to save time), then groups again, as the worker does."""
        with Analyst(self.container, in_process=True) as analyst:
            analyst.networks.analyse_all(now)
            for datastream in self.container.registers.list_datastreams(limit=10_000, derived=False):
                if only is None or datastream.code in only:
                    analyst.analyse(datastream, now)
            return analyst.networks.analyse_all(now)

    def get(self, path: str) -> Any:
        """Answer of the API to an analyst."""
        with TestClient(create_app(self.container, listen=False)) as client:
            answer = client.get(f"/api/v1{path}", headers=bearer("analyst"))
            assert answer.status_code == 200, answer.text
            return answer.json()

    def run_of(self, datastream: str, method: str) -> dict[str, Any]:
        """The newest run of a method, as the API tells it."""
        runs = self.get(f"/datastreams/{datastream}/results")["runs"]
        return next(run for run in runs if run["method"] == method)

    def findings(self, datastream: str, kind: str) -> list[dict[str, Any]]:
        """Current findings of a kind, as the API tells them."""
        items = self.get(f"/findings?datastream={datastream}&limit=1000")["items"]
        return [item for item in items if item["kind"] == kind]


def every(days: float, count: int, start: str = "2021-01-01") -> Any:
    """Return `count` times at equal intervals."""
    return np.datetime64(start, "us") + (np.arange(count) * days * 86400e6).astype("timedelta64[us]")


def after(times: Any) -> datetime:
    """Return noon of the day after the last time."""
    return aware(np.asarray(times)[-1] + np.timedelta64(36, "h"))
