"""Head against compaction: elastic loops and the virgin limb."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.skeletal_storage import inelastic_spells, storage_at_best_lag


def draw(rng: np.random.Generator) -> Figure:
    """Eight years of seasonal heads that fall below their old low in the sixth."""
    n = 8 * 365
    time = np.datetime64("2015-01-01", "us") + np.arange(n) * np.timedelta64(1, "D")
    t = np.arange(n)
    head = 2.0 * np.sin(2.0 * np.pi * t / 365.25) - np.clip((t - 5 * 365) / 365.0, 0.0, 2.0) * 2.0
    low = np.minimum.accumulate(np.minimum(head, -2.0))
    compaction = -1.5 * (head - low) - 15.0 * (low + 2.0)
    compaction = np.concatenate((np.full(20, compaction[0]), compaction))[:n] + rng.normal(0.0, 0.1, n)
    found = storage_at_best_lag((time, head), (time, compaction), 100.0)
    spell = inelastic_spells(time, head)[0]
    figure = Figure(figsize=(7, 3))
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    left.plot(time, head, color="#0b5fa5", label="head, m")
    left.axvline(spell.start, color="#c2410c", linewidth=1, label="new record low")
    left.legend(loc="lower left")
    late = head[: n - 20], compaction[20:]
    right.plot(late[1][::5], late[0][::5], ".", markersize=2, color="#666666")
    if found is not None:
        right.set_title(f"lag {found[0]:.0f} d, Ske {found[1].ske:.1e}, Skv {found[1].skv:.1e}", fontsize=8)
    right.set(xlabel="compaction 20 d later, mm", ylabel="head, m")
    return figure
