"""Layers of an extensometer group and their closure on the surface mark."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.compaction import layer_closure


def draw(rng: np.random.Generator) -> Figure:
    """Four layers, their sum and the surface mark, once closing and once not."""
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    groups = {"closes": ([3.1, 1.2, 0.4, 0.1], 4.9), "does not": ([3.1, 1.2, 3.1, 0.1], 4.8)}
    shades = ["#0b5fa5", "#4a90c4", "#8fbfe0", "#c9e0f0"]
    for place, (name, (layers, surface)) in enumerate(groups.items()):
        closure = layer_closure(layers, surface)
        left = 0.0
        for layer, shade, share in zip(layers, shades, closure.shares, strict=True):
            axis.barh(place, layer, left=left, color=shade, height=0.5)
            if share > 0.1:
                axis.text(
                    left + layer / 2, place, f"{share:.0%}", ha="center", va="center", color="white" if share > 0.3 else "black"
                )
            left += layer
        label = "surface ± tolerance" if place else None
        axis.errorbar(surface, place, xerr=closure.tolerance_mm, fmt="o", color="#c2410c", capsize=4, label=label)
        axis.text(8.2, place, f"{closure.residual_mm:+.1f} mm: {name}", va="center")
    axis.set(yticks=[], xlabel="compaction in the window, mm", xlim=(0, 11), ylim=(-0.6, 1.9))
    axis.legend(loc="upper right")
    return figure
