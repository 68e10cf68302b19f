"""Formats: stateless modules that turn bytes into a `ParsedPayload`. Adding one is a file and a line here.

This file finishes with `MESSAGE_FORMATS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from ingest.formats import (
    chirpstack,
    delimited,
    fews,
    hj212,
    json_table,
    levelling,
    native_json,
    neu,
    pos,
    rdb,
    senml,
    sensorthings,
    sinex,
    sl651,
    sparkplug,
    tenv3,
    toa5,
    toa5_message,
    waterml,
    xle,
)
from ingest.formats.format import Format, ImportContext
from ingest.formats.message import MessageContext, MessageFormat

FORMATS: Mapping[str, Format] = {
    "levelling": Format("levelling", levelling.sniff, levelling.parse, default_profile="levelling", is_a_row_a_line=True),
    "toa5": Format("toa5", toa5.sniff, toa5.parse, since=datetime(1995, 1, 1, tzinfo=UTC), is_a_row_a_line=True),
    "tenv3": Format("tenv3", tenv3.sniff, tenv3.parse, is_a_row_a_line=True),
    "neu": Format("neu", neu.sniff, neu.parse, is_a_row_a_line=True),
    "pos": Format("pos", pos.sniff, pos.parse, is_a_row_a_line=True),
    "sinex": Format("sinex", sinex.sniff, sinex.parse),
    "csv": Format(
        "csv",
        delimited.sniff,
        delimited.parse,
        chunks=delimited.parse_chunks,
        stream=delimited.parse_stream,
        is_a_row_a_line=True,
    ),
    "json": Format("json", json_table.sniff, json_table.parse),
    "rdb": Format("rdb", rdb.sniff, rdb.parse, default_profile="usgs_rdb", is_a_row_a_line=True),
    "waterml": Format("waterml", waterml.sniff, waterml.parse, default_profile="usgs_waterml"),
    "xle": Format("xle", xle.sniff, xle.parse),
    "fews": Format("fews", fews.sniff, fews.parse),
    "sensorthings": Format("sensorthings", sensorthings.sniff, sensorthings.parse),
    "native_json": Format("native_json", native_json.sniff, native_json.parse, unit_is_the_datastreams=True),
    "chirpstack": Format(
        "chirpstack", chirpstack.sniff, chirpstack.parse, unit_is_the_datastreams=True, since=datetime(2015, 1, 1, tzinfo=UTC)
    ),
    "senml": Format("senml", senml.sniff, senml.parse, unit_is_the_datastreams=True),
    "sl651": Format("sl651", sl651.sniff, sl651.parse, unit_is_the_datastreams=True, since=datetime(2010, 1, 1, tzinfo=UTC)),
    "hj212": Format("hj212", hj212.sniff, hj212.parse, unit_is_the_datastreams=True, since=datetime(2005, 1, 1, tzinfo=UTC)),
}

MESSAGE_FORMATS: Mapping[str, MessageFormat] = {
    "native_json": MessageFormat("native_json", native_json.message_elements),
    "chirpstack": MessageFormat("chirpstack", chirpstack.message_elements),
    "senml": MessageFormat("senml", senml.message_elements, "application/senml+json"),
    "sl651": MessageFormat("sl651", sl651.message_elements, "application/octet-stream", sl651.identity, sl651.password),
    "toa5": MessageFormat("toa5", toa5_message.message_elements, "text/csv", toa5_message.identity),
    "sparkplug": MessageFormat("sparkplug", sparkplug.message_elements, "application/octet-stream"),
    "hj212": MessageFormat("hj212", hj212.message_elements, "text/plain", hj212.identity, hj212.password),
}

__all__ = ["FORMATS", "MESSAGE_FORMATS", "Format", "ImportContext", "MessageContext", "MessageFormat"]
