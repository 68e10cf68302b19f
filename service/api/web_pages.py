"""The pages of the dashboard, put together from the shell that all of them share and what each has of its own.

`shell.html` has a line `<!-- part -->` for each part that a page may fill; a page file is such lines, each followed by its part.
This file finishes with `PAGES`.
"""

from __future__ import annotations

import re
from pathlib import Path

WEB = Path(__file__).resolve().parents[1] / "web"
_MARK = re.compile(r"^<!-- (\w+) -->\n", re.MULTILINE)


def page_html(name: str) -> str:
    """Return the HTML of the page `name`, one of `PAGES.values()`.

    Raises
    ------
    FileNotFoundError
        The dashboard is not part of this installation.
    ValueError
        The page fills a part that the shell does not have.
    """
    shell = (WEB / "pages" / "shell.html").read_text(encoding="utf-8")
    before, *rest = _MARK.split((WEB / "pages" / f"{name}.html").read_text(encoding="utf-8"))
    parts = dict(zip(rest[::2], rest[1::2], strict=True))
    unknown = parts.keys() - set(_MARK.findall(shell))
    if before or unknown:
        raise ValueError(f"page {name}: {before or ', '.join(sorted(unknown))} is no part of the shell.")
    return _MARK.sub(lambda mark: parts.get(mark[1], ""), shell)


PAGES = {"/": "index", "/cases": "cases", "/alarm-quality": "alarm-quality", "/instruments": "instruments"}
"""The name of each page by its path."""
