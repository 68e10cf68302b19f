"""Recomputes a stored analysis of an InSAR delivery and says whether every result of every point comes out the same.

This file finishes with `explain_insar_run`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from analytics.insar import METHOD, VERSION, PointSettings, fit_points
from analytics.recorded import parameters_from_json
from analytics.sampling import decimal_years
from domain.errors import NotFoundError, RequestError
from service.bootstrap import Container
from service.insar import delivery_of, epochs_of


def explain_insar_run(container: Container, run_id: int) -> dict[str, Any]:
    """Fit every tile of the delivery again with the recorded settings, and compare bit for bit.

    Returns
    -------
    dict
        `ok` and `same`, what was read, and the columns of which a point differs, with how many points do.

    Raises
    ------
    NotFoundError
        There is no such analysis.
    RequestError
        It was made by a method that is not here.
    """
    found = container.insar.run(run_id)
    if found is None:
        raise NotFoundError(f"there is no InSAR analysis {run_id}.", remedy="list them: groundwatch insar show DELIVERY")
    run, code = found
    if run.method != METHOD:
        raise RequestError(f"{run.method} is no method that can be recomputed.", remedy=f"it can be done for {METHOD}")
    delivery = delivery_of(container, code)
    years = decimal_years(epochs_of(delivery))
    settings = parameters_from_json(PointSettings, run.parameters)
    digest = hashlib.sha256(years.tobytes())
    differing = np.zeros(len(run.columns), dtype=np.int64)
    points = 0
    for tile in container.insar.tiles(delivery.delivery_id, len(years)):
        digest.update(np.ascontiguousarray(tile.displacement_mm).data)
        again = fit_points(years, tile.displacement_mm, settings).values.astype(np.float32)
        stored = container.insar.run_tile(run_id, tile.tile_no)
        points += again.shape[1]
        if stored.size != again.size:
            differing += again.shape[1]
            continue
        differing += np.count_nonzero(stored.reshape(again.shape).view(np.uint32) != again.view(np.uint32), axis=1)
    differences: dict[str, Any] = {
        name: {"points": int(count)} for name, count in zip(run.columns, differing, strict=True) if count
    }
    if digest.hexdigest() != run.input_digest:
        differences["input_digest"] = {"recorded": run.input_digest, "recomputed": digest.hexdigest()}
    if run.version != VERSION:
        differences["version"] = {"recorded": run.version, "recomputed": VERSION}
    return {
        "ok": not differences,
        "run": run_id,
        "delivery": code,
        "method": f"{run.method} version {run.version}",
        "points": points,
        "input_digest": digest.hexdigest(),
        "same": not differences,
        "differences": differences,
    }
