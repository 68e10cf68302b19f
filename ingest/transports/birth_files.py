"""Where the births of Sparkplug B edge nodes are kept: a small file a node, which several processes of one home may read and write.

This file finishes with `BirthFile`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Births:
    """What the births of a session say.

    Attributes
    ----------
    names
        Name and datatype of each alias.
    session
        The bdSeq of NBIRTH; None = not known.
    since
        What was received from then on is of this session; None = that is not known of anything.
    why
        Why nothing that was received before is.
    """

    names: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    session: int | None = None
    since: datetime | None = None
    why: str | None = None


class BirthFile:
    """The births of every edge node, in memory and in the files of a folder.

    Parameters
    ----------
    folder
        None = in memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._known: dict[str, tuple[int, Births]] = {}

    def of(self, edge: str) -> Births:
        """Return what is known of a node, as another process may have written it meanwhile."""
        path = self._path(edge)
        stamp = _stamp(path)
        kept = self._known.get(edge)
        if kept is None or kept[0] != stamp:
            kept = self._known[edge] = (stamp, Births() if path is None else _read(path))
        return kept[1]

    def put(self, edge: str, births: Births) -> None:
        """Keep what is known of a node now."""
        path = self._path(edge)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.writing")
            beside.write_text(json.dumps(_as_json(births)), encoding="utf-8")
            beside.replace(path)
        self._known[edge] = (_stamp(path), births)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        for path in self.folder.glob("*.json") if self.folder is not None else ():
            path.unlink(missing_ok=True)

    def _path(self, edge: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{quote(edge, safe='')[:200]}.json"


def _stamp(path: Path | None) -> int:
    """When a file was written; 0 where there is none."""
    try:
        return 0 if path is None else path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _as_json(births: Births) -> dict[str, Any]:
    return {
        "aliases": {str(alias): named for alias, named in births.names.items()},
        "bdSeq": births.session,
        "since": None if births.since is None else births.since.isoformat(),
        "why": births.why,
    }


def _read(path: Path) -> Births:
    """Read a file; one that is damaged is as if it had never been: its node is asked again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {int(alias): (str(name), int(datatype)) for alias, (name, datatype) in content.get("aliases", content).items()}
        since = content.get("since")
        return Births(names, content.get("bdSeq"), None if since is None else datetime.fromisoformat(since), content.get("why"))
    except (OSError, ValueError, TypeError, AttributeError):
        return Births()
