"""Every figure of the theory pages is drawn by code that runs, from the product's own functions."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "methods" / "figures"
FIGURES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "draw")


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    pytest.importorskip("matplotlib", reason="figures need the extra `plot`")
    spec = importlib.util.spec_from_file_location("figures_draw", FOLDER / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_and_shown_on_its_page(name: str, drawing: ModuleType, tmp_path: Path) -> None:
    written = drawing.draw(name, tmp_path / f"{name}.svg")
    drawn, kept = (ET.fromstring(path.read_text(encoding="utf-8")) for path in (written, FOLDER / f"{name}.svg"))
    paths = [len(list(root.iter("{http://www.w3.org/2000/svg}path"))) for root in (drawn, kept)]
    assert paths[0] == paths[1] > 3, "draw it anew: python docs/methods/figures/draw.py"
    page = (FOLDER.parent / f"{name}.md").read_text(encoding="utf-8")
    assert f"figures/{name}.svg" in page


def test_every_page_has_its_figure() -> None:
    pages = {path.stem for path in FOLDER.parent.glob("*.md")} - {"README"}
    assert pages <= set(FIGURES), f"pages without a figure: {sorted(pages - set(FIGURES))}"
