"""A case keeps documents that people read, under their own kind; programs are kept under no name."""

from __future__ import annotations

import pytest

from domain.errors import InputError
from service.documents import BEGINNINGS, check_document


@pytest.mark.parametrize(
    ("filename", "body"),
    [
        ("封井照片.jpg", b"\xff\xd8 photo"), ("报告.PDF", b"%PDF-1.7 ..."), ("台账.xlsx", b"PK\x03\x04"), ("点位.csv", "点名,高程".encode()),
        ("a.b.txt", b"anything"), ("旧.doc", b"\xd0\xcf\x11\xe0\xa1"),
    ],
)  # fmt: skip
def test_documents_are_kept(filename: str, body: bytes) -> None:
    check_document(filename, body)


@pytest.mark.parametrize(
    ("filename", "body", "named"),
    [
        ("setup.exe", b"MZ", "exe"), ("page.html", b"<script>", "html"), ("photo.svg", b"<svg onload=...>", "svg"),
        ("noending", b"x", "noending"),
        ("photo.jpg", b"MZ program", "no jpg"), ("report.pdf", b"<html>", "no pdf"), ("run.txt", b"#!/bin/sh", "no txt"),
        ("x.csv", b"\x7fELF", "no csv"),
        (".jpg", b"", "no jpg"),
    ],
)  # fmt: skip
def test_what_is_no_document_or_of_another_kind_is_refused_with_what_is_taken(filename: str, body: bytes, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        check_document(filename, body)
    assert caught.value.remedy


def test_every_kind_is_named_in_the_documentation() -> None:
    from pathlib import Path

    told = (Path(__file__).resolve().parents[2] / "docs" / "cases.md").read_text(encoding="utf-8")
    assert not [kind for kind in BEGINNINGS if f"`{kind}`" not in told]
