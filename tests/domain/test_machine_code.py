"""Machine code on disk: compiled once, used without the compiler, made anew where it is damaged, and not needed to be kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from domain import machine_code
from domain.machine_code import Loop, load

SOURCE = '''"""A loop of a test."""

def add_up(values, count, total):
    for number in range(count):
        total[0] += values[number]
'''
RUN = """
import sys
from pathlib import Path
import numpy as np
from domain import machine_code
from domain.machine_code import Loop, load
machine_code._folders = lambda: iter([Path({folder!r})])
total = np.zeros(1)
load(Loop("summing", "add_up", "*f8 i8 *f8"))(np.arange(5.0), 5, total)
print(total[0], "numba" in sys.modules)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "summing.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(machine_code, "_folders", lambda: iter([tmp_path / "kept"]))
    monkeypatch.delitem(sys.modules, "summing", raising=False)
    return tmp_path


def summed(values: object) -> float:
    total = np.zeros(1)
    load(Loop("summing", "add_up", "*f8 i8 *f8"))(values, len(values), total)  # type: ignore[arg-type]
    return float(total[0])


def kept(home: Path) -> list[Path]:
    return list((home / "kept").glob("add_up-*.loop"))


def test_what_was_compiled_is_kept_and_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert summed(np.arange(5.0)) == 10.0
    (path,) = kept(home)
    monkeypatch.setattr(machine_code, "_compiled", lambda _: pytest.fail("it was kept"))
    assert summed(np.array([1.5, 2.0])) == 3.5
    assert kept(home) == [path]


def test_another_process_needs_no_compiler(home: Path) -> None:
    script = home / "run.py"
    script.write_text(RUN.format(folder=str(home / "kept")), encoding="utf-8")
    said = [
        subprocess.run([sys.executable, script], env={"PYTHONPATH": str(home)}, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [one.stdout.split() for one in said] == [["10.0", "True"], ["10.0", "False"]]


@pytest.mark.parametrize(
    "damage", [lambda body: body[:-1], lambda body: body[:-1] + b"\1", lambda _: b"", lambda body: b"x" + body]
)
def test_damaged_code_is_not_run_but_made_anew(home: Path, damage: Callable[[bytes], bytes]) -> None:
    assert summed(np.arange(4.0)) == 6.0
    (path,) = kept(home)
    path.write_bytes(damage(path.read_bytes()))
    assert machine_code._read(path) is None
    assert summed(np.arange(4.0)) == 6.0
    assert machine_code._read(path) is not None


def test_a_changed_loop_is_another_loop(home: Path) -> None:
    assert summed(np.arange(4.0)) == 6.0
    (home / "summing.py").write_text(SOURCE.replace("+= values", "-= 1.0 * values"), encoding="utf-8")
    del sys.modules["summing"]
    assert summed(np.arange(4.0)) == -6.0
    assert len(kept(home)) == 2


def test_a_changed_constant_of_another_module_makes_another_loop(home: Path) -> None:
    constants = home / "constants_of_summing.py"
    imported = SOURCE.replace("def add_up", "from constants_of_summing import FACTOR\n\n\ndef add_up")
    (home / "summing.py").write_text(imported.replace("+= values", "+= FACTOR * values"), encoding="utf-8")
    loop = Loop("summing", "add_up", "*f8 i8 *f8", also=("constants_of_summing",))
    for factor in (2, 30):
        constants.write_text(f"FACTOR = {factor}\n", encoding="utf-8")
        for name in ("summing", "constants_of_summing"):
            sys.modules.pop(name, None)
        total = np.zeros(1)
        load(loop)(np.arange(4.0), 4, total)
        assert total[0] == 6.0 * factor
    assert len(kept(home)) == 2


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(home: Path) -> None:
    (home / "kept").write_text("a file, where no folder can be", encoding="utf-8")
    assert summed(np.arange(4.0)) == 6.0
    assert (home / "kept").is_file()


def test_a_user_without_a_home_has_one_place_less(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with_home = list(machine_code._folders())
    monkeypatch.setattr(Path, "home", no_home)
    assert list(machine_code._folders()) == with_home[:1]


def test_an_array_of_another_type_or_with_gaps_is_refused(home: Path) -> None:
    for values in (np.arange(4), np.arange(8.0)[::2], [1.0]):
        with pytest.raises(TypeError, match="contiguous array of float64"):
            summed(values)


def test_without_a_compiler_the_reason_is_an_import_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba.core.compiler", None)
    with pytest.raises(ImportError):
        summed(np.arange(2.0))
