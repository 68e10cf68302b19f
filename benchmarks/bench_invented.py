"""How many steps the analyses invent in the demonstration network: false ones a network by their score, over networks of many seeds.

Run ``python -m benchmarks.bench_invented [--networks 30]``. Ninety datastreams over ten years each; what is told begins at
`steps.STEP_LIMIT`, and the scores below it, down to `LOOK`, show how far the tail is from it. The chance that a run of
tests/acceptance/test_demo_truths.py finds more than it tolerates is that of a Poisson count with the mean found here.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from analytics import MILLIMETRE_PROPERTIES, Samples
from analytics.method import time_of
from analytics.preparation import VelocityParameters, prepare
from analytics.steps import STEP_LIMIT
from benchmarks.side_by_side import tell
from domain.model import Datastream
from service.demo import Demonstration, build

NOW = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)
FIRST_SEED = 5000
LOOK = 20.0
TOLERATED = 2


def false_scores(seed: int) -> list[float]:
    """Chi-squares of the steps from `LOOK` on that are in no plan of one network."""
    network = build(seed, NOW)
    datastreams = {item.code: item for item in network.city.datastreams}
    return [score for code in network.series for score in _false_in(network, datastreams[code])]


def _false_in(network: Demonstration, datastream: Datastream) -> list[float]:
    code, series = datastream.code, network.series[datastream.code]
    observed = next(item for item in network.city.properties if item.code == datastream.property_code)
    events = [one for one in network.events if one.station == datastream.station and one.datastream in {None, code}]
    in_mm = datastream.property_code in MILLIMETRE_PROPERTIES and datastream.unit == "m"
    parameters = replace(
        VelocityParameters(),
        scale=1000.0 if in_mm else 1.0,
        value_kind=observed.value_kind,
        step_limit=LOOK,
        noise_models=("white",),  # the noise of the last fit has no say in which steps are told
    )
    ready = prepare(Samples(series.times(network.first), series.result, series.sigma), events, parameters, network.now)
    within = timedelta(days=15 if ":displacement_" in code else 30)
    planted = [(step.time, within) for step in network.truths.steps if step.datastream == code]
    planted += [(spike.time, timedelta(days=3)) for spike in network.truths.spikes if spike.datastream == code]
    return [
        step.score for step in ready.detected if not any(abs(time_of(step.earliest) - time) <= reach for time, reach in planted)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=4)
    chosen = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 2)) as pool:
        found = pool.map(false_scores, range(FIRST_SEED, FIRST_SEED + chosen.networks), chunksize=1)
    scores = sorted(score for network in found for score in network)
    for limit in (LOOK, 22.0, 25.0, STEP_LIMIT):
        mean = sum(score >= limit for score in scores) / chosen.networks
        beyond = 1.0 - sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(TOLERATED + 1))
        most = max(sum(score >= limit for score in network) for network in found)
        tell(
            f"limit {limit:4.1f}: {mean:.3f} false steps a network, at most {most}; more than {TOLERATED} in {beyond:.2g} of runs"
        )
    tell(
        f"    {chosen.networks} networks, largest scores {[round(score, 1) for score in scores[-5:]]}, {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
