"""The import of an InSAR delivery: read by blocks in one thread, kept raw in another, while the store writes; committed whole.

The same bytes read in the same way change nothing; an import that is killed leaves nothing. This file finishes with `InsarImporter`.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from domain.ahead import read_ahead
from domain.errors import ConfigurationError, ConflictError, FormatError, InputError
from domain.insar import DeliveryReceipt, DeliveryStore, LargeFiles, NewDelivery, PointBlock, Progress
from domain.model import CHANNEL_CODE, Datastream, Disclosure, Station, StationKind, datastream_code, station_code
from domain.observation import KeptFile, Rejected
from domain.ports import Registry
from ingest.insar.blocks import Layout
from ingest.insar.profile import InsarProfile, load_insar_profile
from ingest.insar.reading import BLOCK_BYTES, open_delivery, read_blocks, read_layout, sorted_header
from ingest.report import ImportReport

PROPERTY = "los_displacement"
_DELIVERY_CODE = re.compile(r"^[^\W_][\w.\-]{0,63}$")


@dataclass(frozen=True, slots=True)
class InsarFlags:
    """What the person says about a delivery beside its bytes; None = the profile says it."""

    delivery: str | None = None
    station: str | None = None
    track: str | None = None
    heading_deg: float | None = None
    incidence_deg: float | None = None


class InsarImporter:
    """Files of InSAR processors into the store.

    Parameters
    ----------
    registry, store, files
        Ports; `files` keeps the file as it was delivered.
    """

    def __init__(self, registry: Registry, store: DeliveryStore, files: LargeFiles) -> None:
        self.registry, self.store, self.files = registry, store, files

    def import_file(
        self,
        path: Path,
        profile: InsarProfile | str | Path,
        flags: InsarFlags,
        *,
        actor: str,
        now: datetime,
        create: bool = True,
        dry_run: bool = False,
        block_bytes: int = BLOCK_BYTES,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Import one delivery.

        Raises
        ------
        FormatError, ConfigurationError, InputError
            The file is not what the profile says, or area, track or name are not stated.
        ConflictError
            The name is that of another delivery.
        UnavailableError
            The store is out of reach; nothing was stored.
        """
        started = time.perf_counter()
        chosen = _with_flags(profile if isinstance(profile, InsarProfile) else load_insar_profile(profile), flags)
        code = _delivery_code(flags.delivery or path.name.split(".")[0])
        with open_delivery(path) as file:
            state = _state(os.fstat(file.fileno()))
            layout = read_layout(file, chosen, path.name)
            place = _Place(self.registry, chosen, path.name, actor)
            datastream_id, created = place.rehearse() if dry_run else place.find_or_create(create=create)
            blocks = read_blocks(file, layout, chosen, block_bytes=block_bytes)
            if dry_run:
                digest, receipt = _digest(path), _rehearsed(code, blocks)
            else:
                blocks = _told(blocks, file, state.size, progress)
                delivery = _delivery(code, datastream_id, chosen, layout, path.name, actor, now)
                digest, receipt = self._store(path, state, delivery, blocks)
        return _report(path, chosen, place, layout, digest, receipt, created, dry_run, time.perf_counter() - started)

    def _store(
        self, path: Path, state: _State, delivery: NewDelivery, blocks: Iterator[PointBlock]
    ) -> tuple[str, DeliveryReceipt]:
        """Return the digest of the file and what became of it."""
        if self.store.may_be_known(delivery.datastream_id, state.size, delivery.parameters):
            digest = _digest(path)
            if same := self.store.find_same(delivery.datastream_id, digest, delivery.parameters):
                return digest, same
        if self.store.code_is_taken(delivery.code):
            raise ConflictError(
                f"there is a delivery {delivery.code} with other content.",
                where=path.name,
                remedy="name this one with --delivery NAME",
            )
        with ThreadPoolExecutor(1, thread_name_prefix="keep-raw") as pool:
            keeping = pool.submit(self.files.keep_new, path)

            def kept() -> KeptFile:
                file = keeping.result()
                if _state(path.stat()) != state or file.size != state.size:
                    raise ConflictError(
                        "the file changed while it was read; nothing of it is stored.",
                        where=str(path),
                        remedy="import it again once it rests",
                    )
                return file

            with closing(read_ahead(blocks, waiting=1)) as ahead:
                receipt = self.store.load(delivery, ahead, kept)
        return keeping.result().sha256, receipt


class _State(NamedTuple):
    """What changes when somebody writes to a file or puts another in its place."""

    size: int
    modified_ns: int
    inode: int


def _state(found: os.stat_result) -> _State:
    return _State(found.st_size, found.st_mtime_ns, found.st_ino)


def _delivery(
    code: str, datastream_id: int, profile: InsarProfile, layout: Layout, source: str, actor: str, now: datetime
) -> NewDelivery:
    return NewDelivery(
        code=code,
        datastream_id=datastream_id,
        track=profile.track or "",
        header=sorted_header(layout),
        source=source,
        source_positive=profile.positive,
        profile=profile.name,
        parameters=profile.to_json(),
        actor=actor,
        received_at=now,
    )


def _with_flags(profile: InsarProfile, flags: InsarFlags) -> InsarProfile:
    stated = {"area": flags.station, "track": flags.track, "heading_deg": flags.heading_deg, "incidence_deg": flags.incidence_deg}
    chosen = replace(profile, **{key: value for key, value in stated.items() if value is not None})  # type: ignore[arg-type]
    if chosen.incidence_deg is not None and not 0 < chosen.incidence_deg < 90:
        raise InputError(f"an incidence of {chosen.incidence_deg} degrees is none.", remedy="give it from the vertical, 20 to 50")
    return chosen


def _delivery_code(text: str) -> str:
    if not _DELIVERY_CODE.match(text):
        raise InputError(
            f"{text!r} is no name of a delivery.", where="--delivery", remedy="use 1 to 64 letters, digits, '.', '_' or '-'"
        )
    return text


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}.", where=str(path), remedy="check the path and its permissions"
        ) from error


class _Place:
    """The area and the datastream that a delivery belongs to."""

    def __init__(self, registry: Registry, profile: InsarProfile, where: str, actor: str) -> None:
        self.registry, self.profile, self.actor = registry, profile, actor
        if not profile.area:
            raise FormatError(
                "it is not said which area this is.", where=where, remedy="give --station CODE or area: in the profile"
            )
        if not profile.track:
            raise FormatError(
                "it is not said which track this is.",
                where=where,
                remedy="give --track NAME (e.g. asc-69) or track: in the profile; deliveries of one area and track are its versions",
            )
        if not CHANNEL_CODE.match(profile.track):
            raise InputError(f"{profile.track!r} is no track.", where=where, remedy="use letters, digits, '.', '_' or '-'")
        self.station = station_code(profile.area, where=where)
        self.where = where
        self.unconfirmed: list[str] = []

    @property
    def code(self) -> str:
        return datastream_code(self.station, PROPERTY, self.profile.track)

    def rehearse(self) -> tuple[int, dict[str, tuple[str, ...]]]:
        """Say what would be made."""
        made: dict[str, tuple[str, ...]] = {
            "stations": () if self.registry.station(self.station) else (self.station,),
            "datastreams": () if self.registry.datastream(self.code) else (self.code,),
        }
        return -1, made

    def find_or_create(self, *, create: bool) -> tuple[int, dict[str, tuple[str, ...]]]:
        """Return the datastream's id, and what had to be made; what a person's import makes is unconfirmed and restricted."""
        _, made = self.rehearse()
        if not create and any(made.values()):
            raise InputError(
                f"there is no {self.code}.", where=self.where, remedy="create station and datastream, or leave out --no-create"
            )
        if self.registry.observed_property(PROPERTY) is None:
            raise ConfigurationError(f"the property {PROPERTY} is not configured.", remedy="run groundwatch migrate")
        if made["stations"]:
            self.registry.add_station(
                Station(
                    self.station,
                    StationKind.INSAR_AREA,
                    self.station,
                    self.station,
                    disclosure=Disclosure.RESTRICTED,
                    confirmed=False,
                ),
                actor=self.actor,
            )
        datastream = self.registry.datastream(self.code)
        if datastream is None:
            angles = {"incidence_deg": self.profile.incidence_deg, "heading_deg": self.profile.heading_deg}
            attributes = {key: value for key, value in angles.items() if value is not None}
            datastream = self.registry.add_datastream(
                Datastream(self.station, PROPERTY, "mm", channel=self.profile.track, confirmed=False, attributes=attributes),
                actor=self.actor,
            )
        station = self.registry.station(self.station)
        self.unconfirmed = [self.station] * (station is not None and not station.confirmed)
        self.unconfirmed += [self.code] * (not datastream.confirmed)
        assert datastream.datastream_id is not None
        return datastream.datastream_id, made


def _rehearsed(code: str, blocks: Iterator[PointBlock]) -> DeliveryReceipt:
    points = 0
    rejects: list[Rejected] = []
    for block in blocks:
        points += len(block)
        rejects += block.rejected
    return DeliveryReceipt(code, 0, points, False, tuple(rejects), rejected=len(rejects))


def _told(blocks: Iterator[PointBlock], file: Any, size: int, progress: Progress | None) -> Iterator[PointBlock]:
    """Pass blocks on and tell how far the file is read; of a gzip file the packed bytes count."""
    for block in blocks:
        if progress is not None:
            raw = getattr(getattr(file, "fileobj", None), "tell", None)
            progress(min(raw() if raw is not None else file.tell(), size), size)
        yield block


def _report(
    path: Path,
    profile: InsarProfile,
    place: _Place,
    layout: Layout,
    digest: str,
    receipt: DeliveryReceipt,
    created: dict[str, tuple[str, ...]],
    dry_run: bool,
    elapsed_s: float,
) -> ImportReport:
    epochs = sorted_header(layout).epochs
    notes: dict[str, Any] = {
        "delivery": receipt.code,
        "version": receipt.version,
        "datastream": place.code,
        "epochs": len(epochs),
        "first_epoch": f"{epochs[0].astype('datetime64[D]')}",
        "last_epoch": f"{epochs[-1].astype('datetime64[D]')}",
        "sign": f"file: {profile.positive} positive; stored: toward_satellite positive, mm",
    }
    if layout.not_stored:
        notes["columns_not_stored"] = list(layout.not_stored)
    return ImportReport(
        file=path.name,
        format="insar",
        sha256=digest,
        accepted=0 if receipt.repeated else receipt.points,
        duplicate=receipt.points if receipt.repeated else 0,
        corrected=0,
        rejected=receipt.rejected,
        rejects=receipt.rejects,
        stations=(place.station,),
        elapsed_s=elapsed_s,
        profile=profile.name,
        dry_run=dry_run,
        created=created,
        unconfirmed=tuple(place.unconfirmed),
        notes=notes,
        batch_ids=() if receipt.batch_id is None else (receipt.batch_id,),
    )
