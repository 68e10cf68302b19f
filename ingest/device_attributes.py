"""What is registered of a device, checked when it is registered and not only when its first frame comes.

This file finishes with `check_attributes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ingest.formats import chirpstack, hj212, toa5_message
from ingest.formats.element_table import TableReader, ignored_codes, own_elements
from ingest.formats.timestamps import parse_zone


def _sl651(attributes: Mapping[str, Any], where: str) -> None:
    TableReader("sl651", attributes, where)


def _hj212(attributes: Mapping[str, Any], where: str) -> None:
    TableReader("hj212", attributes, where)
    hj212.stated_periods(attributes, where)


def _sparkplug(attributes: Mapping[str, Any], where: str) -> None:
    own_elements(attributes, where)
    ignored_codes(attributes, where)


def _chirpstack(attributes: Mapping[str, Any], where: str) -> None:
    chirpstack.stated_parameters(attributes.get("parameters"), where)


def _toa5(attributes: Mapping[str, Any], where: str) -> None:
    toa5_message.stated_profile(attributes, where)
    if attributes.get("zone") is not None:
        parse_zone(str(attributes["zone"]), where=where)


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], str], None]] = {
    "sl651": _sl651,
    "hj212": _hj212,
    "sparkplug": _sparkplug,
    "chirpstack": _chirpstack,
    "toa5": _toa5,
}


def check_attributes(protocol: str, attributes: Mapping[str, Any], where: str) -> None:
    """Refuse attributes that the frames of a device could not be read with.

    Raises
    ------
    InputError
        With what is wrong and the remedy.
    """
    check = _CHECKS.get(protocol)
    if check is not None:
        check(attributes, where)
