"""`import --format insar` and `insar list|show|analyse|compare|decompose`."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from domain.errors import FormatError, NotFoundError, RequestError
from service.bootstrap import Container
from service.commands.output import complain, emit, jsonable, say
from service.settings import load_settings

if TYPE_CHECKING:
    from ingest.report import ImportReport
    from storage.insar import DeliveryRow, RunRow

PROGRESS_EVERY_S = 0.5
PAGE = 100


def import_delivery(container: Container, path: Path, arguments: argparse.Namespace) -> ImportReport:
    """Import one file as a delivery."""
    from ingest.insar.importing import InsarFlags, InsarImporter

    if arguments.profile is None:
        raise FormatError(
            "an InSAR delivery does not say what its columns are.",
            where=str(path),
            remedy="give --profile egms, stamps, or a path",
        )
    importer = InsarImporter(container.registers, container.insar, container.raw_files)
    flags = InsarFlags(arguments.delivery, arguments.station, arguments.track, arguments.heading, arguments.incidence)
    return importer.import_file(
        path,
        arguments.profile,
        flags,
        actor=getpass.getuser(),
        now=container.clock(),
        create=not arguments.no_create,
        dry_run=arguments.dry_run,
        progress=_Bar() if sys.stderr.isatty() else None,
    )


class _Bar:
    """One line on the terminal: share done, rate, time left."""

    def __init__(self) -> None:
        self.began = self.told = time.monotonic()

    def __call__(self, done: int, size: int) -> None:
        """Draw the line anew, at most twice a second."""
        now = time.monotonic()
        if now - self.told < PROGRESS_EVERY_S and done < size:
            return
        self.told = now
        rate = done / max(now - self.began, 1e-3)
        end = "\n" if done >= size else ""
        sys.stderr.write(f"\r{done / max(size, 1):4.0%}  {rate / 1e6:.0f} MB/s  {(size - done) / max(rate, 1):.0f} s left {end}")
        sys.stderr.flush()


def list_deliveries(arguments: argparse.Namespace) -> int:
    """List every delivery, old and new versions."""
    with Container(load_settings({"home": arguments.home})) as container:
        after = 0
        while page := container.insar.deliveries(after, PAGE):
            for row in page:
                if arguments.json:
                    emit(_delivery_json(row))
                else:
                    state = f"superseded by {row.superseded_by}" if row.superseded_by else "newest"
                    span = f"{row.epochs[0]:%Y-%m-%d} to {row.epochs[-1]:%Y-%m-%d}"
                    say(
                        f"{row.code}: {row.datastream} version {row.version} ({state}), {row.points} points, {len(row.epochs)} epochs, {span}"
                    )
            after = page[-1].delivery_id
    return 0


def _delivery_json(row: DeliveryRow) -> dict[str, Any]:
    head = asdict(row)
    head["bounds"] = [head.pop(side) for side in ("west", "south", "east", "north")]
    return {**head, "unit": "mm", "direction": "toward the satellite positive"}


def show(arguments: argparse.Namespace) -> int:
    """Show a delivery with its analyses, or one of its points with its series and results."""
    from service.insar import delivery_of

    with Container(load_settings({"home": arguments.home})) as container:
        row = delivery_of(container, arguments.delivery)
        runs = container.insar.runs(row.delivery_id)
        if arguments.point is not None:
            answer = _point_json(container, row, runs, arguments.point)
        else:
            answer = {**_delivery_json(row), "runs": [asdict(run) for run in runs]}
        if arguments.json:
            emit(answer)
        else:
            for key, value in answer.items():
                say(f"{key}: {json.dumps(jsonable(value), ensure_ascii=False)}")
    return 0


def _point_json(container: Container, row: DeliveryRow, runs: list[RunRow], pid: str) -> dict[str, Any]:
    point = container.insar.point(row.delivery_id, pid)
    if point is None:
        raise NotFoundError(f"delivery {row.code} has no point {pid!r}.")
    series = container.insar.series(row.delivery_id, point.point_no).astype(float).tolist()
    answer = {**asdict(point), "unit": "mm", "direction": "toward the satellite positive"}
    answer["series"] = [{"time": time, "displacement": value} for time, value in zip(row.epochs, series, strict=True)]
    if runs:
        results = container.insar.results(runs[0].run_id, point.point_no).astype(float).tolist()
        answer["results"] = dict(zip(runs[0].columns, results, strict=True))
        answer["run"] = {"id": runs[0].run_id, "method": runs[0].method, "version": runs[0].version}
    return answer


def analyse(arguments: argparse.Namespace) -> int:
    """Fit every point of a delivery, here or on a cluster, and store the results beside the points."""
    from analytics.insar import PointSettings
    from service.insar import analyse_delivery, delivery_of

    settings = PointSettings(
        arguments.sigma,
        acceleration=arguments.acceleration,
        steps=tuple(_decimal_year(text) for text in arguments.step or ()),
        trend_test=arguments.trend_test,
    )
    began = time.perf_counter()
    with Container(load_settings({"home": arguments.home})) as container:
        row = delivery_of(container, arguments.delivery)
        run = analyse_delivery(container, row, settings, getpass.getuser(), scheduler=arguments.scheduler)
    elapsed_s = time.perf_counter() - began
    if arguments.json:
        emit({"ok": True, "delivery": row.code, **asdict(run), "elapsed_s": round(elapsed_s, 3)})
    else:
        told = run.summary
        say(
            f"{row.code}: run {run.run_id}, {told['points']} points in {elapsed_s:.1f} s, {told['cannot_tell']} cannot tell; line-of-sight rate "
            f"(toward the satellite positive) median {told['rate_median']:.2f}, 5 to 95 % {told['rate_p05']:.2f} to {told['rate_p95']:.2f} mm/a"
            + ("; interim, under 2.5 a" if told["interim"] else "")
        )
    return 0


def _decimal_year(text: str) -> float:
    from analytics.sampling import decimal_years

    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise RequestError(f"{text!r} is no date.", where="--step", remedy="write it like 2021-05-20") from error
    return float(decimal_years(np.array([day], dtype="datetime64[us]"))[0])


def compare(arguments: argparse.Namespace) -> int:
    """Compare a delivery with the marks on the ground, or with another delivery; exit 1 when nothing can be told."""
    from service.insar import compare_deliveries, compare_to_marks, delivery_of

    with Container(load_settings({"home": arguments.home})) as container:
        row = delivery_of(container, arguments.delivery)
        if arguments.other is None:
            answer = compare_to_marks(container, row, arguments.radius)
        else:
            answer = compare_deliveries(container, row, delivery_of(container, arguments.other), arguments.radius)
    if arguments.json:
        emit({"ok": answer["reason"] is None, **answer})
    elif answer["reason"] is not None:
        say(f"cannot tell: {answer['reason']}")
    else:
        r = "unknown" if answer["r"] is None else f"{answer['r']:.3f}"
        at = f" at {answer['largest_at']}" if answer.get("largest_at") else ""
        say(
            f"{row.code}: {answer['used']} places, r {r}, RMSE {answer['rmse']:.2f} mm/a (left out in turn {answer['rmse_left_out']:.2f}), "
            f"largest difference {answer['largest']:.2f} mm/a{at}; {answer['direction']}"
        )
    return 0 if answer["reason"] is None else 1


def decompose(arguments: argparse.Namespace) -> int:
    """Print up and east of the cells that an ascending and a descending delivery share: CSV, or JSON lines."""
    from service.insar import decompose_deliveries, delivery_of

    with Container(load_settings({"home": arguments.home})) as container:
        pair = [delivery_of(container, code) for code in (arguments.ascending, arguments.descending)]
        cells, found = decompose_deliveries(container, pair[0], pair[1], arguments.cell)
    names = ("longitude_deg", "latitude_deg", "up_mm_per_a", "up_sigma", "east_mm_per_a", "east_sigma", "north_in_up")
    parts = (cells.longitude_deg, cells.latitude_deg, found.up, found.up_sigma, found.east, found.east_sigma, found.north_in_up)
    rows = zip(*(part.tolist() for part in parts), strict=True)
    if arguments.json:
        emit({"ok": True, "cells": len(cells.mean), "cell_m": arguments.cell, "assumption": found.assumption})
        for row in rows:
            emit(dict(zip(names, row, strict=True)))
    else:
        say(",".join(names))
        for row in rows:
            say(",".join("" if not np.isfinite(value) else f"{value:.6f}" for value in row))
        complain(f"{len(cells.mean)} cells; {found.assumption}")
    return 0
