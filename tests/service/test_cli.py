"""The command line: quick help, one sentence with the remedy instead of a traceback, JSON alone on stdout."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.parser import REGISTERS, build_parser

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = (
    "up", "migrate", "serve", "ingest", "worker", "import", "velocity", "detect", "analyse", "explain", "export", "replay", "embedded", "check",
    *REGISTERS,
)  # fmt: skip


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def commands() -> dict[str, object]:
    parser = build_parser()
    found: dict[str, object] = next(action.choices for action in parser._actions if action.dest == "command")  # type: ignore[assignment]
    return found


def test_every_command_of_the_contract_is_there() -> None:
    assert set(CONTRACT) <= set(commands())


def test_every_command_names_a_function_that_exists() -> None:
    targets = {
        parser.parse_args(arguments).run
        for parser, arguments in (
            (build_parser(), words)
            for words in (
                ["up"], ["migrate"], ["serve"], ["ingest"], ["worker"], ["demo-gateway"], ["configure", "x"], ["check"], ["embedded", "status"],
                ["broker-accounts", "x"], ["import", "x"], ["export"], ["replay", "--since", "x"], ["velocity", "x"], ["detect", "x"],
                ["analyse"], ["explain", "1"], ["audit", "verify"], *([name, "list"] for name in REGISTERS),
            )
        )
    }  # fmt: skip
    for target in targets:
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function)), target


def test_help_imports_nothing_heavy() -> None:
    probe = "import sys; from service.cli import build_parser; build_parser().format_help(); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    for heavy in ("numpy", "pandas", "psycopg", "fastapi", "scipy"):
        assert f"'{heavy}'" not in done.stdout


def test_an_error_is_one_sentence_with_the_remedy_and_json_on_stdout(tmp_path: Path) -> None:
    done = run(
        "station",
        "list",
        "--json",
        GROUNDWATCH_DATABASE_URL="postgresql://nobody:x@127.0.0.1:1/none",
        GROUNDWATCH_HOME=str(tmp_path),
    )
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["error"]) == (False, "unavailable")
    assert answer["remedy"]
    assert "Traceback" not in done.stderr


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    done = run("velocity", str(tmp_path / "absent.csv"))
    assert done.returncode == 2
    assert "absent.csv" in done.stderr
    assert "Remedy" in done.stderr


@pytest.mark.parametrize("words", [["import"], ["nonsense"], ["station", "list", "extra"], ["embedded", "restart"]])
def test_wrong_words_are_refused_with_usage(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "usage:" in done.stderr
