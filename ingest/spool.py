"""Rows of a file that does not fit into memory: sorted runs on disk, given back in parts by datastream and time.

An external sort of columns. Each run is sorted as it is written; a part takes its slice of every run, so that all lines of one
key come together, wherever in the file they stand. Where one part ends depends on the rows alone, never on their order in the file: the
same rows shuffled make the same parts. This file finishes with `Spool`.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from domain.observation import Columns, columns, concatenate
from ingest.checking import in_order

PART_ROWS = 500_000
_PREFIX = "import-"
_ALWAYS = (("stream", "i4"), ("time", "M8[us]"), ("result", "f8"), ("quality", "i2"), ("line", "i4"))
_SOMETIMES = (("sigma", "f8"), ("end", "M8[us]"), ("reasons", "i4"), ("result_time", "M8[us]"))


@dataclass(frozen=True, slots=True)
class _Run:
    """Where one run lies: for each column its type and offset in the file, and the rows of each datastream."""

    path: Path
    layout: dict[str, tuple[str, int]]
    ids: npt.NDArray[np.int32]
    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]

    def column(self, name: str, rows: slice) -> npt.NDArray[Any] | None:
        """Read some rows of a column; None where the run does not have it."""
        if name not in self.layout:
            return None
        kind, offset = self.layout[name]
        width = np.dtype(kind).itemsize
        return np.fromfile(self.path, dtype=kind, count=rows.stop - rows.start, offset=offset + rows.start * width)

    def times(self, datastream: int) -> tuple[int, npt.NDArray[np.int64]]:
        """Return where the rows of a datastream begin, and their times, mapped rather than read."""
        at = int(np.searchsorted(self.ids, datastream))
        if at == len(self.ids) or self.ids[at] != datastream:
            return 0, np.empty(0, dtype=np.int64)
        begin, end = int(self.begin[at]), int(self.end[at])
        mapped = np.memmap(self.path, dtype=np.int64, mode="r", offset=self.layout["time"][1], shape=(int(self.end[-1]),))
        return begin, mapped[begin:end]


@dataclass(frozen=True, slots=True)
class _Part:
    """Whole datastreams `first` to `last`, or of one datastream the times from `start` up to before `stop`."""

    first: int
    last: int
    start: int | None = None
    stop: int | None = None


class Spool:
    """Sorted runs in a folder of its own, which is gone when the block ends.

    Parameters
    ----------
    folder
        Where the spool may lie; what a killed import left there is removed. None = the system's temporary folder.
    part_rows
        How many rows a part has about; None = `PART_ROWS`.
    """

    def __init__(self, folder: Path | None = None, part_rows: int | None = None) -> None:
        self._parent, self._part_rows = folder, part_rows or PART_ROWS
        self._folder = Path()
        self._lock: IO[bytes] | None = None
        self._runs: list[_Run] = []
        self._reasons: dict[tuple[str, ...], int] = {}
        self.rows = 0

    def __enter__(self) -> Spool:
        if self._parent is not None:
            self._parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(self._parent)
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
        self._lock = (self._folder / "lock").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def add(self, rows: Columns) -> None:
        """Sort some rows and write them down."""
        if not len(rows):
            return
        sorted_rows = in_order(rows)
        path = self._folder / f"run-{len(self._runs):05d}"
        layout: dict[str, tuple[str, int]] = {}
        with path.open("wb") as stream:
            for name, kind, values in self._columns(sorted_rows):
                layout[name] = (kind, stream.tell())
                # Not `tofile`, whose error on a full disk does not say that the disk is full.
                stream.write(np.ascontiguousarray(values, dtype=kind).view(np.uint8).data)
        ids, begin, count = np.unique(sorted_rows.stream, return_index=True, return_counts=True)
        self._runs.append(_Run(path, layout, ids, begin.astype(np.int64), (begin + count).astype(np.int64)))
        self.rows += len(rows)

    def _columns(self, rows: Columns) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
        for name, kind in _ALWAYS:
            yield name, kind, getattr(rows, name)
        for name, kind in _SOMETIMES:
            values = getattr(rows, name)
            if values is None:
                continue
            if name == "reasons":
                numbers = [-1 if not codes else self._reasons.setdefault(tuple(codes), len(self._reasons)) for codes in values]
                yield name, kind, np.array(numbers, dtype=np.int32)
            elif not (np.isnan(values) if kind == "f8" else np.isnat(values)).all():
                yield name, kind, values

    def parts(self) -> Iterator[Columns]:
        """Yield the rows by datastream and time, a part at a time; lines of one key in the order of the file, and never apart."""
        for part in self._plan():
            yield self._read(part)

    def _plan(self) -> Iterator[_Part]:
        counts: dict[int, int] = {}
        for run in self._runs:
            for datastream, begin, end in zip(run.ids.tolist(), run.begin.tolist(), run.end.tolist(), strict=True):
                counts[datastream] = counts.get(datastream, 0) + end - begin
        group: list[int] = []
        size = 0
        for datastream, count in sorted(counts.items()):
            if group and size + count > self._part_rows:
                yield _Part(group[0], group[-1])
                group, size = [], 0
            if count > self._part_rows:
                yield from self._split(datastream, count)
                continue
            group.append(datastream)
            size += count
        if group:
            yield _Part(group[0], group[-1])

    def _split(self, datastream: int, count: int) -> Iterator[_Part]:
        """Cut a long datastream at times of fixed rank."""
        times = [mapped for run in self._runs if len(mapped := run.times(datastream)[1])]
        last = max(int(values[-1]) for values in times)
        start: int | None = None
        for rank in range(self._part_rows, count, self._part_rows):
            stop = _time_of_rank(times, rank)
            if start is not None and stop <= start:
                continue
            yield _Part(datastream, datastream, start, stop)
            start = stop
        if start is None or start <= last:
            yield _Part(datastream, datastream, start)

    def _read(self, part: _Part) -> Columns:
        pieces = [self._read_slice(run, rows) for run in self._runs if (rows := _slice_of(run, part)).stop > rows.start]
        return in_order(concatenate(pieces))

    def _read_slice(self, run: _Run, rows: slice) -> Columns:
        found = {name: run.column(name, rows) for name, _ in (*_ALWAYS, *_SOMETIMES)}
        codes = found.pop("reasons")
        read = columns(found["stream"], found["time"], found["result"], **_stated(found))  # type: ignore[arg-type]
        if codes is None:
            return read
        known = np.empty(len(self._reasons) + 1, dtype=object)
        known[:-1] = list(self._reasons)
        return replace(read, reasons=known[codes])


def _stated(found: dict[str, npt.NDArray[Any] | None]) -> dict[str, Any]:
    return {name: found[name] for name in ("sigma", "quality", "line", "end", "result_time") if found[name] is not None}


def _slice_of(run: _Run, part: _Part) -> slice:
    if part.first != part.last or (part.start is None and part.stop is None):
        low, high = int(np.searchsorted(run.ids, part.first, "left")), int(np.searchsorted(run.ids, part.last, "right"))
        return slice(int(run.begin[low]), int(run.end[high - 1])) if high > low else slice(0, 0)
    begin, times = run.times(part.first)
    first = 0 if part.start is None else int(np.searchsorted(times, part.start, "left"))
    last = len(times) if part.stop is None else int(np.searchsorted(times, part.stop, "left"))
    return slice(begin + first, begin + last)


def _time_of_rank(times: list[npt.NDArray[np.int64]], rank: int) -> int:
    """Return the least time that has at least `rank` rows before it."""
    low, high = min(int(values[0]) for values in times), max(int(values[-1]) for values in times) + 1
    while low < high:
        middle = (low + high) // 2
        if sum(int(np.searchsorted(values, middle, "left")) for values in times) >= rank:
            high = middle
        else:
            low = middle + 1
    return low


def _remove_abandoned(parent: Path) -> None:
    for left in parent.glob(f"{_PREFIX}*"):
        try:
            with (left / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # another import works there, or begins to
