"""What short commands must not import: each of these takes longer than the command's own work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.analytics.simulation import gnss_like

HEAVY = ("pandas", "pydantic", "openpyxl", "matplotlib", "pyarrow", "fastapi", "httpx", "psycopg", "statsmodels", "dask", "lxml")
SCIENTIFIC = ("scipy.stats", "scipy.optimize", "scipy.signal", "scipy.special", "scipy.sparse", "scipy.interpolate")


def _imported(*arguments: str) -> set[str]:
    """Modules that one command imports, in a process of its own."""
    program = (
        "import sys, json, io, contextlib\n"
        "from service.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    try:\n"
        "        main(sys.argv[1:])\n"
        "    except SystemExit:\n"
        "        pass\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def _series(path: Path, n: int) -> str:
    samples = gnss_like(1, n)
    rows = [f"{str(time)[:10]},{value:.4f}" for time, value in zip(samples.time, samples.value, strict=True)]
    path.write_text("date,value\n" + "\n".join(rows) + "\n")
    return str(path)


def test_help_imports_no_numpy() -> None:
    assert not _imported("--help") & {"numpy", *HEAVY, *SCIENTIFIC}


@pytest.mark.parametrize("command", ["velocity", "detect"])
def test_a_bare_file_is_answered_without_heavy_libraries(command: str, tmp_path: Path) -> None:
    found = _imported(command, _series(tmp_path / "a.csv", 400))
    assert "numpy" in found
    assert not found & {*HEAVY, *SCIENTIFIC}


def test_a_known_format_is_read_without_services(tmp_path: Path) -> None:
    """A GNSS file needs the formats, but neither web, database nor workbooks."""
    head = "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) _ant(m)"
    rows = [head + " sig_e(m) sig_n(m) sig_u(m) __corr_en __corr_eu __corr_nu"]
    rng = np.random.default_rng(0)
    for day in range(120):
        east, north, up = rng.normal(0.0, 0.002, 3)
        date = (np.datetime64("2020-01-01") + day).astype("datetime64[D]").item().strftime("%y%b%d").upper()
        rows.append(
            f"TEST {date} {2020.0 + day / 365.25:.4f} {58849 + day} 2086 3 120.0 100 {east:.6f} 200 {north:.6f} 10 {up:.6f} 0.0 "
            "0.0010 0.0010 0.0030 0.0 0.0 0.0"
        )
    path = tmp_path / "TEST.tenv3"
    path.write_text("\n".join(rows) + "\n")
    found = _imported("velocity", str(path))
    assert not found & {"fastapi", "httpx", "psycopg", "pydantic", "openpyxl", "matplotlib", "statsmodels", "dask"}
