"""Profiles of a person's own that are kept beside the data: the inbox applies them by name, and what they refused is replayed with them.

A name means one profile. So an import never puts another one in the place of what a person laid there, nor of one that came from elsewhere.
This file finishes with `keep_profile`.
"""

from __future__ import annotations

from pathlib import Path

from domain.errors import InputError
from ingest.profile import PROFILE_FOLDER, shipped_profiles

_MARK = "# kept by groundwatch import from "


def check_profile(home: Path, named: str | None) -> None:
    """Refuse a profile whose name is that of another one, before anything is imported with it.

    Raises
    ------
    InputError
        Under its name another profile is kept or shipped.
    """
    if named is None or not Path(named).is_file():
        return
    path, kept = Path(named), _kept(home, named)
    if not kept.is_file():
        if path.stem in shipped_profiles() and _text(path) != _text(PROFILE_FOLDER / f"{path.stem}.yaml"):
            raise InputError(
                f"{path.stem} is the name of a shipped profile.",
                where=named,
                remedy="give yours a name of its own, and import with that",
            )
        return
    first, _, rest = _text(kept).partition("\n")
    is_ours = first.startswith(_MARK)
    is_alike = _text(path) == (rest if is_ours else _text(kept))
    if not is_alike and first != _origin(path) and not path.samefile(kept):
        raise InputError(
            f"another profile of this name is kept, {kept}; the inbox and replays use it.",
            where=named,
            remedy=f"give yours another name, or replace that one yourself: cp {path} {kept}",
        )


def keep_profile(home: Path, named: str | None) -> None:
    """Keep a profile that was imported with, unless it is there already."""
    if named is None or not Path(named).is_file():
        return
    path, kept = Path(named), _kept(home, named)
    text = f"{_origin(path)}\n{_text(path)}"
    if kept.is_file() and (path.samefile(kept) or _text(kept) in {text, _text(path)}):
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    written = kept.with_name(f".{kept.name}.writing")
    written.write_text(text, encoding="utf-8")
    written.replace(kept)


def _kept(home: Path, named: str) -> Path:
    return home / "profiles" / f"{Path(named).stem}.yaml"


def _origin(path: Path) -> str:
    return f"{_MARK}{path.resolve()}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")
