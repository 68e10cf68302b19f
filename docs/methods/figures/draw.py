"""Draws the figures of the theory pages: `python docs/methods/figures/draw.py [NAME ...]`, all of them without a name.

Beside this file, `<name>.py` holds one figure: a function `draw(rng) -> matplotlib.figure.Figure` that takes a seeded generator,
calls the product's own code and returns the figure; it is written to `<name>.svg`, which the page of the same name shows. The same
code writes the same file, so that a figure that changes is seen in review.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[2]
SEED = 20261122
STYLE = {
    "svg.hashsalt": "groundwatch",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def names() -> list[str]:
    """Names of all figures."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "draw")


def load(name: str) -> Any:
    """Module of one figure."""
    spec = importlib.util.spec_from_file_location(f"figure_{name}", FOLDER / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"there is no figure {name}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(name: str, target: Path | None = None) -> Path:
    """Draw one figure and return where it was written."""
    import matplotlib as mpl

    mpl.use("Agg")
    target = target or FOLDER / f"{name}.svg"
    with mpl.rc_context(STYLE):
        figure = load(name).draw(np.random.default_rng(SEED))
        figure.savefig(target, metadata={"Date": None})
    # Trailing blanks of matplotlib's paths would be changed by editors and hooks.
    target.write_text(
        "\n".join(line.rstrip() for line in target.read_text(encoding="utf-8").splitlines()) + "\n", encoding="utf-8"
    )
    return target


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for wanted in sys.argv[1:] or names():
        sys.stdout.write(f"{draw(wanted)}\n")
