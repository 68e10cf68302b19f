"""What is done with whole InSAR deliveries: analyses on this machine or on a dask cluster, comparisons, decomposition.

Tiles are read, fitted and stored a few at a time, so memory does not grow with the delivery. This file finishes with
`decompose_deliveries`.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analytics.insar import METHOD, VERSION, PointResults, PointSettings, columns_of, fit_points, resolved, unit_of
from analytics.insar_geometry import Cells, UpEast, decompose, in_cells, look_vector, vertical_from_los
from analytics.insar_marks import RADIUS_M, MarkComparison, compare_means, compare_with_marks
from analytics.sampling import decimal_years
from domain.errors import ConfigurationError, NotFoundError, UnavailableError
from domain.model import Station, StationKind
from domain.units import convert_spread
from storage.insar import EVERYWHERE, Box, DeliveryRow, NewRun, PointMap, RunRow

if TYPE_CHECKING:
    from service.bootstrap import Container

Floats = npt.NDArray[np.float64]
MARK_KINDS = frozenset({StationKind.BENCHMARK, StationKind.BEDROCK_MARK, StationKind.GNSS_MARK})
MARK_PROPERTIES = ("displacement_up", "height")
INTERIM_BELOW_A = 2.5
LEAST_SHARE_OF_SPAN = 0.5
"""A mark's observations must span this much of a delivery to have a rate that can be compared."""

PAGE = 1000


def delivery_of(container: Container, code: str) -> DeliveryRow:
    """Return a delivery by its name, or raise `NotFoundError`."""
    found = container.insar.delivery(code)
    if found is None:
        raise NotFoundError(f"there is no delivery {code!r}.", remedy="list them: groundwatch insar list")
    return found


def epochs_of(delivery: DeliveryRow) -> npt.NDArray[np.datetime64]:
    """Return the epochs as UTC instants."""
    return np.array([epoch.astimezone(UTC).replace(tzinfo=None) for epoch in delivery.epochs], dtype="datetime64[us]")


@contextmanager
def workers(scheduler: str | None) -> Iterator[tuple[Executor, int]]:
    """Lend what runs the fits, and how many it runs at once: threads of this machine, or the workers of a dask scheduler.

    Raises
    ------
    ConfigurationError
        dask is not installed.
    UnavailableError
        Nobody answers at the address, or no worker is connected to it.
    """
    if scheduler is None:
        count = os.cpu_count() or 1
        with ThreadPoolExecutor(count, thread_name_prefix="insar") as threads:
            yield threads, count
        return
    try:
        import distributed
    except ImportError as error:
        raise ConfigurationError("dask.distributed is not installed.", remedy="pip install 'groundwatch[cluster]'") from error
    remedy = "start it with `dask scheduler` and `dask worker ADDRESS` where groundwatch is installed"
    try:
        client: Any = distributed.Client(  # type: ignore[no-untyped-call]
            scheduler, timeout="10s", set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise UnavailableError(f"no dask scheduler answers: {error}.", where=scheduler, remedy=remedy) from error
    try:
        count = sum(client.nthreads().values())
        if not count:
            raise UnavailableError("the dask scheduler has no workers.", where=scheduler, remedy=remedy)
        yield client.get_executor(pure=False), count
    finally:
        client.close()


def analyse_delivery(
    container: Container,
    delivery: DeliveryRow,
    settings: PointSettings,
    actor: str,
    *,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunRow:
    """Fit every point of a delivery and store the results beside the points, in one transaction.

    The same function does the work on threads and on a cluster, so the results are the same to the bit.
    """
    years = decimal_years(epochs_of(delivery))
    chosen = resolved(years, settings)
    names = columns_of(chosen)
    digest = hashlib.sha256(years.tobytes())
    rates: list[npt.NDArray[np.float32]] = []
    done = 0

    def results(pool: Executor, at_once: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        nonlocal done
        waiting: deque[tuple[int, Future[PointResults]]] = deque()

        def next_one() -> tuple[int, npt.NDArray[np.float32]]:
            nonlocal done
            tile_no, future = waiting.popleft()
            values = future.result().values.astype(np.float32)
            rates.append(values[names.index("rate")])
            done += values.shape[1]
            if progress is not None:
                progress(done, delivery.points)
            return tile_no, values

        for tile in container.insar.tiles(delivery.delivery_id, len(years)):
            digest.update(np.ascontiguousarray(tile.displacement_mm).data)
            waiting.append((tile.tile_no, pool.submit(fit_points, years, tile.displacement_mm, chosen)))
            if len(waiting) > 2 * at_once:
                yield next_one()
        while waiting:
            yield next_one()

    def finish() -> tuple[str, dict[str, Any]]:
        return digest.hexdigest(), _summary(np.concatenate(rates), float(np.ptp(years)))

    run = NewRun(METHOD, VERSION, chosen.to_json(), names, tuple(map(unit_of, names)), actor)
    with workers(scheduler) as (pool, at_once):
        return container.insar.save_run(delivery, run, results(pool, at_once), finish)


def _summary(rates: npt.NDArray[np.float32], span_a: float) -> dict[str, Any]:
    told = rates[np.isfinite(rates)]
    quantiles = np.quantile(told, [0.0, 0.05, 0.5, 0.95, 1.0]) if len(told) else [np.nan] * 5
    names = ("rate_min", "rate_p05", "rate_median", "rate_p95", "rate_max")
    return {
        "points": len(rates),
        "cannot_tell": len(rates) - len(told),
        "interim": span_a < INTERIM_BELOW_A,
        **{name: round(float(value), 4) for name, value in zip(names, quantiles, strict=True)},
    }


def rate_map(container: Container, delivery: DeliveryRow, box: Box = EVERYWHERE) -> tuple[PointMap, str]:
    """Return the line-of-sight rate of every point, and where it is from: the newest run, else what was delivered."""
    for run in container.insar.runs(delivery.delivery_id):
        if "rate" in run.columns:
            found = container.insar.map_of_result(delivery.delivery_id, run.run_id, run.columns.index("rate"), box)
            return found, f"run {run.run_id} ({run.method} {run.version})"
    if "rate" not in delivery.attributes:
        raise NotFoundError(
            f"delivery {delivery.code} has no rates.", remedy=f"estimate them: groundwatch insar analyse {delivery.code}"
        )
    number = delivery.attributes.index("rate")
    return container.insar.map_of_attribute(delivery.delivery_id, number, box), "as delivered"


def incidence_of(container: Container, delivery: DeliveryRow) -> Floats | float:
    """Return the incidence of every point, or the one of the delivery; `ConfigurationError` where nobody stated it."""
    if "incidence" in delivery.attributes:
        values = container.insar.map_of_attribute(delivery.delivery_id, delivery.attributes.index("incidence")).value
        known = np.isfinite(values) & (values > 0) & (values < 90)
        if known.any():
            return np.where(known, values, values[known].mean()).astype(np.float64)
    if delivery.incidence_deg is None:
        raise ConfigurationError(
            f"the incidence of {delivery.code} is not stated.", remedy="import it with --incidence DEG or an incidence column"
        )
    return delivery.incidence_deg


def compare_to_marks(container: Container, delivery: DeliveryRow, radius_m: float = RADIUS_M) -> dict[str, Any]:
    """Compare a delivery's vertical rates with those of the marks over the same span."""
    found, source = rate_map(container, delivery)
    vertical = vertical_from_los(found.value.astype(np.float64), incidence_of(container, delivery))
    marks = [mark for mark in _marks(container, delivery) if mark[1] is not None]
    stations = [station for station, _ in marks]
    place = (
        np.array([station.longitude_deg for station in stations], dtype=np.float64),
        np.array([station.latitude_deg for station in stations], dtype=np.float64),
        np.array([rate for _, rate in marks], dtype=np.float64),
    )
    answer = compare_with_marks((found.longitude_deg, found.latitude_deg, vertical.up), place, radius_m=radius_m)
    items = [
        {
            "station": station.code,
            "points": int(answer.n_points[row]),
            "insar_up": float(answer.insar[row]),
            "mark_up": float(place[2][row]),
            "difference": float(answer.difference[row]),
        }
        for row, station in enumerate(stations)
    ]
    head = {"delivery": delivery.code, "version": delivery.version, "rates": source, "radius_m": radius_m}
    largest = None if answer.largest_at is None else stations[answer.largest_at].code
    return {**head, "assumption": vertical.assumption, **_told(answer), "largest_at": largest, "items": items}


def _told(answer: MarkComparison) -> dict[str, Any]:
    return {
        "unit": "mm/a",
        "direction": "up positive",
        "used": answer.marks_used,
        "frame": dict(zip(("constant", "per_km_east", "per_km_north"), answer.frame, strict=True)),
        "r": answer.r,
        "rmse": answer.rmse,
        "rmse_left_out": answer.rmse_left_out,
        "largest": answer.largest,
        "reason": answer.reason,
    }


def _marks(container: Container, delivery: DeliveryRow) -> Iterator[tuple[Station, float | None]]:
    """Yield marks within the delivery with their rate over its span, in mm/a up positive (None = cannot tell)."""
    after = None
    while page := container.registers.list_stations(after=after, limit=PAGE):
        for station in page:
            if station.kind in MARK_KINDS and _is_within(station, delivery):
                yield station, _mark_rate(container, station, delivery)
        after = page[-1].code


def _is_within(station: Station, delivery: DeliveryRow) -> bool:
    if station.longitude_deg is None or station.latitude_deg is None or delivery.west is None:
        return False
    assert delivery.east is not None
    assert delivery.south is not None
    assert delivery.north is not None
    return delivery.west <= station.longitude_deg <= delivery.east and delivery.south <= station.latitude_deg <= delivery.north


def _mark_rate(container: Container, station: Station, delivery: DeliveryRow) -> float | None:
    found = container.registers.list_datastreams(station=station.code, limit=PAGE, derived=False)
    for wanted in MARK_PROPERTIES:
        for datastream in found:
            if datastream.property_code != wanted or datastream.datastream_id is None:
                continue
            series = container.observations.series(datastream.datastream_id, delivery.epochs[0], delivery.epochs[-1])
            usable = np.isfinite(series.result) & np.isin(series.quality, (1, 2))
            years = decimal_years(series.time[usable])
            span = (delivery.epochs[-1] - delivery.epochs[0]).total_seconds() / (365.25 * 86400)
            if len(years) < 2 or np.ptp(years) < LEAST_SHARE_OF_SPAN * span:
                continue
            values = series.result[usable] * float(convert_spread(1.0, datastream.unit, "mm"))
            return float(np.polyfit(years - years.mean(), values - values.mean(), 1)[0])
    return None


def compare_deliveries(container: Container, one: DeliveryRow, other: DeliveryRow, cell_m: float = 100.0) -> dict[str, Any]:
    """Compare the rates of two deliveries cell by cell, in the line of sight: old against new, the frame's plane removed."""
    (first, source), (second, other_source) = rate_map(container, one), rate_map(container, other)
    cells, twin = _common_cells(first, second, cell_m)
    answer = compare_means(cells.n, cells.mean, (cells.longitude_deg, cells.latitude_deg, twin.mean))
    return {
        "delivery": one.code,
        "with": other.code,
        "rates": [source, other_source],
        "cell_m": cell_m,
        **_told(answer),
        "direction": "toward the satellite positive",
    }


def _common_cells(first: PointMap, second: PointMap, cell_m: float) -> tuple[Cells, Cells]:
    if not len(first) or not len(second):
        raise NotFoundError("a delivery has no points.")
    origin = (float(first.longitude_deg[0]), float(first.latitude_deg[0]))
    sides = [
        in_cells(side.longitude_deg, side.latitude_deg, side.value.astype(np.float64), origin, cell_m) for side in (first, second)
    ]
    keys = [side.column.astype(np.int64) * (1 << 31) + side.row for side in sides]
    _, here, there = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    return sides[0].take(here), sides[1].take(there)


def decompose_deliveries(
    container: Container, ascending: DeliveryRow, descending: DeliveryRow, cell_m: float = 100.0
) -> tuple[Cells, UpEast]:
    """Return the cells that both deliveries cover, with up and east rates in mm/a.

    Raises
    ------
    ConfigurationError
        A heading or an incidence is not stated, or both look from the same side.
    """
    looks = []
    for delivery in (ascending, descending):
        if delivery.heading_deg is None:
            raise ConfigurationError(
                f"the heading of {delivery.code} is not stated.",
                remedy="import it with --heading DEG (348 ascending, 192 descending)",
            )
        looks.append(look_vector(float(np.mean(incidence_of(container, delivery))), delivery.heading_deg))
    cells, twin = _common_cells(rate_map(container, ascending)[0], rate_map(container, descending)[0], cell_m)
    found = decompose(cells.mean, looks[0], twin.mean, looks[1], (cells.sigma, twin.sigma))
    if len(cells.mean) and np.isnan(found.up).all():
        raise ConfigurationError(
            "both deliveries look from nearly the same side.", remedy="give one of an ascending and one of a descending track"
        )
    return cells, found
