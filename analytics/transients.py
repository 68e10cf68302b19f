"""What follows a shock: a logarithmic or exponential transient after an earthquake of the event log.

For each logged earthquake the trajectory is tried with log10(1 + dt / tau) and with 1 - exp(-dt / tau) for a few time constants; the
best is kept where its chi-square exceeds a fixed limit under the noise of the trajectory without it. This file holds that search.

References: Bevis and Brown (2014), doi:10.1007/s00190-013-0685-5; Sobrero et al. (2020), doi:10.1007/s00190-020-01361-7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analytics.gls import generalised_least_squares, lay_on_grid
from analytics.noise import NoiseModel
from analytics.sampling import Floats
from analytics.trajectory import TrajectoryModel

TRANSIENT_LIMIT = 16.0
"""Smallest chi-square of a transient, over ten shapes."""
LOGARITHMS_A = (1.0 / 365.25, 0.01, 0.1, 1.0)
EXPONENTIALS_A = (0.05, 0.1, 0.3, 1.0, 3.0)
SHORTEST_A = 0.5
"""Years of samples after the shock."""


def with_transients(
    years: Floats, values: Floats, model: TrajectoryModel, shocks: Sequence[float], noise: NoiseModel
) -> TrajectoryModel:
    """The trajectory with the transients that its logged shocks need.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
    model : TrajectoryModel
        With the steps of the shocks in it.
    shocks : sequence of float
        Decimal years.
    noise : NoiseModel
        Noise of the trajectory.
    """
    centred = values - float(np.median(values))
    for shock in shocks:
        if not years[0] + 0.1 <= shock <= years[-1] - SHORTEST_A:
            continue
        tried = [(replace(model, logarithms=(*model.logarithms, (shock, tau))), "logarithm") for tau in LOGARITHMS_A]
        tried += [(replace(model, exponentials=(*model.exponentials, (shock, tau))), "exponential") for tau in EXPONENTIALS_A]
        scores = [_score(years, centred, candidate, name, noise) for candidate, name in tried]
        best = int(np.argmax(scores))
        if scores[best] >= TRANSIENT_LIMIT:
            model = tried[best][0]
    return model


def _score(years: Floats, values: Floats, model: TrajectoryModel, name: str, noise: NoiseModel) -> float:
    """Chi-square of the newest term of a kind."""
    fit = generalised_least_squares(lay_on_grid(years, model.design(years), values), noise)
    last = max(i for i, label in enumerate(model.names) if label.startswith(name))
    sigma = float(fit.sigmas[last])
    return float((fit.parameters[last] / sigma) ** 2) if sigma > 0.0 else 0.0
