"""Which station each row of a table is of: by the caller's word, the file's name, a constant, or columns that a template puts together.

This file finishes with `one_station`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from domain.errors import FormatError, InputError
from domain.model import station_code
from domain.observation import IntArray
from ingest.formats.format import ImportContext
from ingest.formats.table import Table
from ingest.profile import Profile, StationRule

if TYPE_CHECKING:
    from ingest.formats.columnar import ColumnarTable

    AnyTable = Table | ColumnarTable

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RowStations:
    """The stations of a table: for each row a number into `codes`, sorted, and into `faults` (None = a station)."""

    of_row: IntArray
    codes: list[str]
    faults: list[str | None]

    @property
    def is_known(self) -> BoolArray:
        """Which of `faults` are none: their rows have a station."""
        return np.array([fault is None for fault in self.faults], dtype=bool)


def row_stations(table: AnyTable, profile: Profile, context: ImportContext) -> RowStations:
    """Return the station of each row, and why a row has none."""
    n = len(table)
    rule = profile.station
    if context.station or rule.constant or rule.filename or not rule.template:
        return RowStations(np.zeros(n, dtype=np.int32), [one_station(rule, context)], [None])
    names = re.findall(r"\{([^{}]+)\}", rule.template)
    indices = {name: table.find([name]) for name in names}
    absent = [name for name, index in indices.items() if index is None]
    if absent:
        raise FormatError(
            f"no column is named {absent[0]!r}.", where=context.filename, remedy=f"correct station: in the profile {profile.name}"
        )
    of_row, texts = _filled(table, rule.template, {name: index for name, index in indices.items() if index is not None})
    found = [_station_or_fault(rule.codes.get(text, text)) for text in texts]
    codes = sorted({code for code, _ in found})
    faults: dict[str, str | None] = {code: fault for code, fault in found if fault is None}
    # A refused text gets a place of its own, so that each row keeps the reason of its own text.
    refused = [(text, fault) for text, (_, fault) in zip(texts, found, strict=True) if fault is not None]
    position = {code: number for number, code in enumerate(code for code in codes if code in faults)}
    position_of_refused = {text: len(position) + number for number, (text, _) in enumerate(refused)}
    places = np.array(
        [
            position[code] if fault is None else position_of_refused[text]
            for text, (code, fault) in zip(texts, found, strict=True)
        ],
        dtype=np.int32,
    )
    return RowStations(
        places[of_row], [*position, *("" for _ in refused)], [*(None for _ in position), *(why for _, why in refused)]
    )


def _filled(table: AnyTable, template: str, indices: dict[str, int]) -> tuple[IntArray, list[str]]:
    """Fill the template for each row: a number for each row, and the text that each number stands for."""
    of_row, texts = np.zeros(len(table), dtype=np.int32), [template]
    for name, index in indices.items():
        numbers, cells = table.categories(index)
        if len(texts) == 1:
            of_row, texts = numbers, [texts[0].replace("{" + name + "}", cell) for cell in cells]
            continue
        pairs, of_row_wide = np.unique(of_row.astype(np.int64) * max(len(cells), 1) + numbers, return_inverse=True)
        of_row = of_row_wide.astype(np.int32)
        texts = [
            texts[before].replace("{" + name + "}", cells[number])
            for before, number in (divmod(int(pair), max(len(cells), 1)) for pair in pairs)
        ]
    return of_row, texts


def _station_or_fault(text: str) -> tuple[str, str | None]:
    try:
        return station_code(text), None
    except InputError as fault:
        return "", str(fault)


def one_station(rule: StationRule, context: ImportContext) -> str:
    """Return the one station of a file: flag, then the profile's pattern on the file's name, then its constant.

    Raises
    ------
    FormatError
        When neither says which station it is.
    """
    if context.station:
        return station_code(context.station, where="--station")
    if rule.filename:
        match = re.search(rule.filename, context.filename.rsplit("/", 1)[-1])
        if match:
            text = match.group(1) if match.groups() else match.group(0)
            return station_code(rule.codes.get(text, text), where=context.filename)
    if rule.constant:
        return station_code(rule.constant, where="profile")
    raise FormatError(
        "neither the file, its name nor the profile says which station this is.",
        where=context.filename,
        remedy="give --station CODE",
    )
