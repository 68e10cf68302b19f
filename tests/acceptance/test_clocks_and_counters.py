"""Zones taken for each other, and counters, through every format: from the bytes of the device to the flags in the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from domain.model import Datastream, EventKind, Station, StationEvent, StationKind
from service.bootstrap import Container
from service.configuration.vocabulary import apply_vocabulary
from service.jobs import evaluate_once
from service.quality.health import station_health
from service.settings import Settings
from storage.observations import ObservationRow
from storage.register_rows import Node
from tests.ingest.device_clocks import (
    FILES,
    MESSAGES,
    Said,
    Wall,
    devices,
    message_of,
    on_the_clock,
    profile_of,
    written,
)

pytestmark = pytest.mark.stack
EVERYWHERE = [*MESSAGES, *FILES]
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


NUMBERS = count(1)


class Well:
    """A well whose device is heard at chosen times."""

    def __init__(self, container: Container, kind: str, property_code: str, unit: str) -> None:
        self.container, self.kind = container, kind
        self.said = Said(Wall("", ""), property_code, unit, number=next(NUMBERS))
        self.code = self.said.station
        container.registers.add_station(Station(self.code, StationKind.GEOTHERMAL_WELL, self.code, self.code), actor="t")
        stream = Datastream(self.code, property_code, unit, interval_s=3600.0)
        self.key = container.registers.add_datastream(stream, actor="t").datastream_id or 0
        for device in devices(self.said):
            container.devices.store(device, actor="t")

    def hears(self, clock: datetime, value: float, received_at: datetime) -> None:
        said = replace(self.said, wall=on_the_clock(clock), value=value)
        raw = written(self.kind, said)
        if self.kind in MESSAGES:
            self.container.pipeline.ingest_messages([message_of(self.kind, said, raw, received_at)], received_at)
        else:
            self.container.pipeline.ingest_file(
                raw,
                f"{received_at:%d%H}.dat",
                format=FILES[self.kind][0],
                profile=profile_of(self.kind, said),
                station=said.station,
                create=False,
                actor="inbox",
                source_kind="inbox",
                now=received_at,
            )

    def judged(self) -> list[ObservationRow]:
        while evaluate_once(self.container):
            pass
        return self.container.observations.page(self.key, None, None, limit=1000)


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_vocabulary(opened.registers)
        opened.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400", zone="Asia/Shanghai"))
        yield opened


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_utc_sent_as_local_time_is_eight_hours_late_and_found_by_the_third_receipt(container: Container, kind: str) -> None:
    well = Well(container, kind, "depth_to_water", "m")
    for hour in range(6):
        well.hears(BEGIN + hour * HOUR, 5.0 + hour / 100, BEGIN + hour * HOUR + timedelta(seconds=20))
    assert {row.quality for row in well.judged()} == {1}, "the clock keeps time"
    for hour in range(24, 30):
        well.hears(BEGIN + (hour - 8) * HOUR, 5.0 + hour / 100, BEGIN + hour * HOUR + timedelta(seconds=20))
    found = well.judged()
    assert [(row.quality, row.quality_reasons) for row in found] == [(1, None)] * 6 + [(3, ["clock"])] * 6
    if kind in MESSAGES:
        health = station_health(container, well.code, BEGIN + 30 * HOUR, timedelta(hours=48))
        assert health.clock is not None
        assert health.clock.offset_s == pytest.approx(-8 * 3600.0 - 20.0)
        assert health.state == "doubtful"


@pytest.mark.parametrize("kind", [kind for kind in EVERYWHERE if kind != "sl651 file"])  # a file knows no device's own elements
def test_a_counter_is_judged_whatever_brings_it(container: Container, kind: str) -> None:
    """A rollover is no fault; a fall that nobody recorded is suspected until somebody records the swap."""
    well = Well(container, kind, "abstraction_total", "m3")
    readings = [*(999_990.0 - 7.0 * back for back in range(11, -1, -1)), *(4.0 + 7.0 * on for on in range(13)), 0.0, 7.0, 14.0]
    for hour, value in enumerate(readings):
        well.hears(BEGIN + hour * HOUR, value, BEGIN + hour * HOUR + timedelta(seconds=20))
    found = well.judged()
    fallen = readings.index(0.0)
    assert [row.result for row in found] == readings
    assert [row.quality for row in found] == [3 if hour == fallen else 1 for hour in range(len(readings))]
    assert found[fallen].quality_reasons == ["tamper"]
    swap = StationEvent(well.code, EventKind.SENSOR_SWAP, BEGIN + (fallen - 0.5) * HOUR, note="meter replaced")
    container.registers.add_event(swap, "W. Chen")
    assert {row.quality for row in well.judged()} == {1}
