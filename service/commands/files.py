"""`import`, `replay`, `export`, and the two commands that need no database: `velocity` and `detect`."""

from __future__ import annotations

import argparse
import csv
import errno
import getpass
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import DiskFullError, GroundWatchError, InputError, NotFoundError, RequestError
from domain.model import EventEffect, EventKind, StationEvent
from service.bootstrap import Container
from service.commands.kept_profiles import check_profile, keep_profile
from service.commands.output import complain, emit, jsonable, say
from service.commands.progress import ProgressLine
from service.settings import load_settings

if TYPE_CHECKING:
    from domain.model import Station
    from ingest.report import ImportReport

ALL_IN, UNUSABLE, SOME_REJECTED = 0, 2, 3
PAGE = 10_000
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
EXPORTED = ("datastream", "phenomenon_time", "phenomenon_end", "result", "unit", "sigma", "quality", "quality_reasons")


def is_delivery(format_name: str | None, profile: str | None) -> bool:
    """Is this an InSAR delivery, by `--format insar` or by a profile of that format?"""
    if format_name is not None or profile is None:
        return format_name == "insar"
    from ingest.insar.profile import is_insar_profile

    return is_insar_profile(profile)


def import_files(arguments: argparse.Namespace) -> int:
    """Import files one by one; the worst of their exit codes is the command's (0 all in, 3 some rejected, 2 unusable)."""
    with Container(load_settings({"home": arguments.home})) as container:
        return max(
            (_import(container, Path(name), arguments) for name in arguments.files), key=(ALL_IN, SOME_REJECTED, UNUSABLE).index
        )


def _import(container: Container, path: Path, arguments: argparse.Namespace) -> int:
    if is_delivery(arguments.format, arguments.profile):
        return _import_delivery(container, path, arguments)
    try:
        if not arguments.dry_run:
            check_profile(container.settings.home, arguments.profile)
        report = _ingest(container, path, arguments)
    except InputError as error:
        _tell_unusable(path, error, as_json=arguments.json)
        return UNUSABLE
    logged = _log_events(container, report) if arguments.store_events and not arguments.dry_run else 0
    if not arguments.dry_run:
        keep_profile(container.settings.home, arguments.profile)
    if arguments.json:
        emit({**report.to_json(), "file": str(path), "events_logged": logged})
    else:
        _tell(path, report.to_json())
        if logged:
            say(f"  {logged} station events logged")
    return report.exit_code


def _import_delivery(container: Container, path: Path, arguments: argparse.Namespace) -> int:
    from service.commands.insar import import_delivery

    try:
        report = import_delivery(container, path, arguments)
    except InputError as error:
        _tell_unusable(path, error, as_json=arguments.json)
        return UNUSABLE
    if arguments.json:
        emit({**report.to_json(), "file": str(path)})
    else:
        _tell(path, report.to_json())
        say(f"  delivery {report.notes['delivery']} version {report.notes['version']} of {report.notes['datastream']}")
    return report.exit_code


def _ingest(container: Container, path: Path, arguments: argparse.Namespace) -> ImportReport:
    with ProgressLine(path.name, sys.stderr) as progress:
        try:
            return container.pipeline.ingest_path(
                path,
                watch=progress,
                format=arguments.format,
                profile=arguments.profile,
                station=arguments.station,
                unit=arguments.unit,
                datum=arguments.datum,
                zone=arguments.zone,
                frame=arguments.frame,
                convert_datum=arguments.convert_datum,
                create=not arguments.no_create,
                actor=getpass.getuser(),
                dry_run=arguments.dry_run,
                now=container.clock(),
            )
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise _no_room(container.settings.home) from error
            raise _unreadable(path, error) from error
        except KeyboardInterrupt:
            complain(
                f"\n{path}: interrupted; what was stored stays ({progress.stored:,} rows). Import it again to go on from there."
            )
            raise


def _no_room(home: Path) -> DiskFullError:
    return DiskFullError(
        "the disk is full; no more of the file was stored.",
        where=str(home),
        remedy="make room there: a large file needs about as much as it has unpacked (spool) and as it has (raw); then import it again",
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot be read: {error.strerror}.", where=str(path), remedy="check the path and its permissions")


def _log_events(container: Container, report: ImportReport) -> int:
    """Log the station events that a file proposes; those that the log has already are left alone."""
    logged = 0
    for proposal in report.notes.get("proposed_events", ()):
        event = StationEvent(
            proposal["station"],
            EventKind(proposal["kind"]),
            datetime.fromisoformat(proposal["start"]),
            effect=EventEffect(proposal["effect"]),
            note=proposal.get("note"),
            author=getpass.getuser(),
        )
        if (event.kind, event.start) in {(known.kind, known.start) for known in container.registers.events(event.station)}:
            continue
        container.registers.add_event(event, getpass.getuser())
        logged += 1
    return logged


def read_file(path: Path) -> bytes:
    """Return a file's bytes; what cannot be read is an `InputError` that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _tell_unusable(path: Path, error: GroundWatchError, *, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "file": str(path),
                "ok": False,
                "error": error.code,
                "what": error.what,
                "where": error.where,
                "remedy": error.remedy,
            }
        )
    names_it = (error.where or "").startswith((str(path), path.name))
    complain(str(error) if names_it else f"{path}: {error}")


def _tell(path: Path, report: dict[str, Any]) -> None:
    say(
        f"{path}: {report['format']}: {report['accepted']} accepted, {report['duplicate']} duplicate, {report['corrected']} corrected, "
        f"{report['rejected']} rejected, {report['elapsed_s']:.2f} s"
        + (" (dry run, nothing stored)" if report["dry_run"] else "")
    )
    for reject in report["rejects"][:20]:
        say(f"  line {reject['line']}: {reject['reason']}")
    if report["rejected"] > 20:
        say(f"  and {report['rejected'] - 20} more; all are in quarantine with their bytes")
    if report["unconfirmed"]:
        say(f"  not yet confirmed by a person, and restricted until then: {', '.join(report['unconfirmed'])}")
        say("  confirm with: groundwatch station|datastream set CODE confirmed=true disclosure=open|rounded|relative")
    for column in report["notes"].get("columns_not_stored", ()):
        say(f"  not stored: {column}")


def replay(arguments: argparse.Namespace) -> int:
    """Run quarantined raw payloads since a time again; what comes in now is resolved in quarantine."""
    from service.replaying import replay_since

    since = parse_time(arguments.since)
    with Container(load_settings({"home": arguments.home})) as container:
        report = replay_since(container, since)
    if arguments.json:
        emit({"ok": report.failed == 0, **jsonable(report)})
    else:
        say(
            f"{report.payloads} payloads again: {report.resolved} rejects resolved, {report.remaining} remain, {report.failed} failed"
        )
    return ALL_IN if report.remaining == 0 and report.failed == 0 else SOME_REJECTED


def parse_time(text: str) -> datetime:
    """Return an aware time; `RequestError` when it has no offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestError(f"{text!r} is no time with offset.", remedy="write it like 2026-01-31T00:00:00+08:00")
    return moment.astimezone(UTC)


def export(arguments: argparse.Namespace) -> int:
    """Stream observations of datastreams as CSV or JSON lines, or all stations as GeoJSON."""
    with Container(load_settings({"home": arguments.home})) as container:
        if arguments.format == "geojson":
            emit({"type": "FeatureCollection", "features": [_feature(station) for station in _all_stations(container)]})
            return 0
        if not arguments.datastream:
            raise RequestError("no datastream is named.", remedy="list them: groundwatch datastream list")
        start = parse_time(arguments.start) if arguments.start else None
        end = parse_time(arguments.end) if arguments.end else None
        rows = (row for code in arguments.datastream for row in _observations(container, code, start, end))
        _write_csv(rows) if arguments.format == "csv" else _write_json(rows)
    return 0


def _observations(container: Container, code: str, start: datetime | None, end: datetime | None) -> Iterator[dict[str, Any]]:
    datastream = container.registers.datastream(code)
    if datastream is None or datastream.datastream_id is None:
        raise NotFoundError(f"there is no datastream {code}.", remedy="list them: groundwatch datastream list")
    after = None
    while page := container.observations.page(datastream.datastream_id, start, end, after=after, limit=PAGE):
        for row in page:
            yield {
                "datastream": datastream.code,
                "phenomenon_time": row.phenomenon_time,
                "phenomenon_end": row.phenomenon_end,
                "result": row.result,
                "unit": datastream.unit,
                "sigma": row.sigma,
                "quality": row.quality,
                "quality_reasons": " ".join(row.quality_reasons or ()),
            }
        after = page[-1].phenomenon_time


def _write_csv(rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows, None)
    writer = csv.DictWriter(sys.stdout, fieldnames=EXPORTED, lineterminator="\n")
    writer.writeheader()
    if first is not None:
        writer.writerow(jsonable(first))
    writer.writerows(jsonable(row) for row in rows)


def _write_json(rows: Iterator[dict[str, Any]]) -> None:
    for row in rows:
        emit(row)


def _all_stations(container: Container) -> Iterator[Station]:
    after = None
    while page := container.registers.list_stations(after=after, limit=PAGE):
        yield from page
        after = page[-1].code


def _feature(station: Station) -> dict[str, Any]:
    known = station.longitude_deg is not None
    return {
        "type": "Feature",
        "id": station.code,
        "geometry": {"type": "Point", "coordinates": [station.longitude_deg, station.latitude_deg]} if known else None,
        "properties": {
            "code": station.code,
            "kind": station.kind.value,
            "name_zh": station.name_zh,
            "name_en": station.name_en,
            "region_code": station.region_code,
            "simulated": station.simulated,
        },
    }
