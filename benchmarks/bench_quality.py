"""Quality control and anomalies: QARTOD kernels beside ioos_qc, false alarms on clean simulated years, and NAB's files.

The peer is run by this interpreter where ioos_qc is installed (extra `peers`), by another where GROUNDWATCH_PEER_PYTHON names one that has
it; else it is skipped by name.
This file finishes with `main`.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter

from analytics import qartod
from analytics.anomaly import AnomalySettings, detect_anomalies
from analytics.detection import TOLD
from analytics.sampling import Floats
from analytics.screening import CALM
from benchmarks.side_by_side import tell

N = 1_000_000
HOURS = 8766
PEER = """
import time, numpy as np
from ioos_qc import qartod
x = np.random.default_rng(0).normal(size=1000000)
t = np.arange(x.size) * 60.0
began = time.perf_counter()
qartod.gross_range_test(inp=x, fail_span=[-6, 6], suspect_span=[-4, 4])
qartod.spike_test(inp=x, suspect_threshold=5, fail_threshold=7)
qartod.rate_of_change_test(inp=x, tinp=t, threshold=0.1)
qartod.flat_line_test(inp=x, tinp=t, suspect_threshold=3600, fail_threshold=7200, tolerance=0.01)
print(time.perf_counter() - began)
"""


def bench_qartod() -> None:
    """A million samples through four tests, ours and the peer's in turn."""
    values, at = np.random.default_rng(0).normal(size=N), np.arange(N) * 60.0
    began = time.perf_counter()
    qartod.gross_range(values, (-6, 6), (-4, 4))
    qartod.spike(values, 5, 7)
    qartod.rate_of_change(values, at, 0.1)
    qartod.flat_line(values, at, 3600.0, 7200.0, 0.01)
    ours = time.perf_counter() - began
    here = sys.executable if importlib.util.find_spec("ioos_qc") is not None else None
    peer = os.environ.get("GROUNDWATCH_PEER_PYTHON") or here
    if not peer:
        tell(f"QARTOD, 1,000,000 samples x 4 tests: {ours:.3f} s; ioos_qc skipped: it is not installed (extra `peers`)")
        return
    theirs = float(subprocess.run([peer, "-W", "ignore", "-c", PEER], check=True, capture_output=True, text=True).stdout)
    tell(f"QARTOD, 1,000,000 samples x 4 tests: {ours:.3f} s, ioos_qc {theirs:.3f} s, ratio {theirs / ours:.1f}")


def clean_years(seed: int) -> dict[str, Floats]:
    """One hourly year of each kind of datastream in which nothing happens."""
    rng, t = np.random.default_rng(seed), np.arange(HOURS)

    def wander(memory: float, kick: float) -> Floats:
        return np.asarray(lfilter([kick], [1.0, -memory], rng.normal(size=HOURS)))

    year = np.cos(2 * np.pi * t / HOURS + rng.uniform(0, 6))
    tide = (
        0.2 * np.cos(2 * np.pi * t / 12.4206 + rng.uniform(0, 6))
        + 0.08 * np.cos(np.pi * t / 6)
        + 0.05 * np.cos(2 * np.pi * t / 25.82)
    )
    day = np.cos(2 * np.pi * (t - 15) / 24)
    pumping = ((t % 24 > 7) & (t % 24 < 18)) * (1 + 0.1 * rng.normal(size=HOURS))
    made: dict[str, Floats] = {
        "tidal well": 5 + 0.6 * year + tide + 0.002 * np.cumsum(rng.normal(size=HOURS)) + 0.004 * rng.normal(size=HOURS),
        "inland well": 12 + 0.8 * year + wander(0.999, 0.004) + 0.003 * rng.normal(size=HOURS),
        "pumped well": 25 + 2 * pumping + 0.3 * year + wander(0.99, 0.03),
        "air pressure": 1016 + 10 * year + wander(0.99, 1.0) + 0.1 * rng.normal(size=HOURS),
        "air temperature": 16 + 11 * year + 4 * day * (1 + 0.3 * wander(0.98, 0.2)) + wander(0.97, 0.8),
        "flow": np.maximum(0.0, 50 + 5 * day + wander(0.9, 1.0) + rng.normal(size=HOURS)),
        "white noise": rng.normal(size=HOURS),
        "Student's t, 4": rng.standard_t(4, size=HOURS),
    }
    return {name: np.round(values, 3) for name, values in made.items()}


def bench_false_alarms(years: int) -> None:
    """Alarms and suspects of `detect`, and what is stored, a clean year, by kind of datastream."""
    found: Counter[tuple[str, str]] = Counter()
    seconds = np.arange(HOURS, dtype=np.float64) * 3600.0
    for seed in range(1000, 1000 + years):
        for name, values in clean_years(seed).items():
            found.update((name, item.grade) for item in detect_anomalies(seconds, values, True, TOLD))
            found[name, "stored"] += len(detect_anomalies(seconds, values, True, AnomalySettings(habits=CALM)))
    for name in clean_years(0):
        alarms, suspects, stored = (found[name, grade] / years for grade in ("alarm", "suspect", "stored"))
        tell(
            f"untrue in a clean year, {name:16s} alarms {alarms:5.2f}, suspects {suspects:5.2f}, stored {stored:5.2f} "
            f"(hourly samples, {years} years)"
        )


def nab_score(starts: list[int], n: int, windows: list[tuple[int, int]]) -> float:
    """Raw score of one file as NAB's own scorer gives it: standard profile, 1 a window at its very beginning, -1 a window missed.

    A false alarm costs up to 0.11, less just after a window. Peers' per-file scores of the corpus are reproduced to 5e-12.
    """

    def sigmoid(position: float) -> float:
        return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0

    probation = min(int(0.15 * n), 750)
    best = {place: -1.0 for place, (_, high) in enumerate(windows) if high >= probation}
    false = 0.0
    for at in sorted(start for start in starts if start >= probation):
        inside = next((place for place, (low, high) in enumerate(windows) if low <= at <= high), None)
        if inside is not None:
            low, high = windows[inside]
            best[inside] = max(best[inside], sigmoid(-(high - at + 1) / (high - low + 1)) / sigmoid(-1.0))
            continue
        before = [(low, high) for low, high in windows if high < at]
        false += 0.11 * (sigmoid((at - before[-1][1]) / (before[-1][1] - before[-1][0])) if before else -1.0)
    return sum(best.values()) + false


def rolling_median(values: Floats, window: int = 288, limit: float = 8.0, quiet: int = 48) -> list[int]:
    """A plain robust detector to stand beside ours: beyond `limit` robust sigmas of the last `window` samples."""
    past = sliding_window_view(values, window)[:-1]
    centre = np.median(past, axis=1)
    scale = 1.4826 * np.median(np.abs(past - centre[:, None]), axis=1)
    over = np.flatnonzero(np.abs(values[window:] - centre) > limit * np.maximum(scale, 1e-9)) + window
    return [int(at) for at in over[np.diff(over, prepend=-quiet - 1) > quiet]]


def bench_corpus(folder: Path) -> None:
    """Every folder of a whole copy of NAB (its `data` and `labels`), ours, its alarms alone and a rolling median, 0 to 100, with the time."""
    windows = json.loads((folder / "labels/combined_windows.json").read_text())
    sums: dict[str, list[float]] = {}
    spent = Counter[str]()
    for name, spans in windows.items():
        rows = list(csv.reader((folder / "data" / name).open()))[1:]
        times = [datetime.fromisoformat(row[0]) for row in rows]
        places = [(times.index(datetime.fromisoformat(a[:26])), times.index(datetime.fromisoformat(b[:26]))) for a, b in spans]
        seconds = np.array([(time - times[0]).total_seconds() for time in times])
        values = np.array([float(row[1]) for row in rows], dtype=np.float64)
        began = time.process_time()
        found = detect_anomalies(seconds, values, True, TOLD)
        spent["ours"] += time.process_time() - began
        began = time.process_time()
        plain = rolling_median(values)
        spent["plain"] += time.process_time() - began
        into = sums.setdefault(name.split("/")[0], [0.0] * 4)
        starts = [item.start_index for item in found], [item.start_index for item in found if item.grade == "alarm"], plain
        for place, score in enumerate((*(nab_score(list(each), len(rows), places) for each in starts), len(places))):
            into[place] += score
    for kind, (*scores, count) in sums.items():
        shown = [50 + 50 * score / count for score in scores] if count else scores
        words = [f"{who} {score:.1f}" for who, score in zip(("ours", "its alarms alone", "rolling median"), shown, strict=True)]
        tell(f"NAB {kind:24s} {', '.join(words)}{'' if count else ' (raw scores: no window)'}")
    tell(f"NAB, processor time of all files: ours {spent['ours']:.1f} s, rolling median {spent['plain']:.1f} s")


def bench_nab(folder: Path) -> None:
    """Our alarms on NAB's files beside the peers' published scores."""
    expected = json.loads((folder / "expected.json").read_text())
    peers = ("ARTime", "numenta", "relativeEntropy", "randomCutForest", "windowedGaussian")
    totals = dict.fromkeys(("ours", *peers), 0.0)
    count = 0
    for name, spans in expected["windows"].items():
        rows = list(csv.reader((folder / name).open()))[1:]
        times = [datetime.fromisoformat(row[0]) for row in rows]
        places = [tuple(times.index(datetime.fromisoformat(edge[:26])) for edge in span) for span in spans]
        seconds = np.array([(time - times[0]).total_seconds() for time in times])
        found = detect_anomalies(seconds, np.array([float(row[1]) for row in rows], dtype=np.float64), True, TOLD)
        score = nab_score([item.start_index for item in found], len(rows), [(low, high) for low, high in places])
        published = expected["peer_score_per_file_standard"][name]
        totals["ours"] += score
        for peer in peers:
            totals[peer] += published[peer]
        count += len(spans)
        tell(f"NAB {name:55s} ours {score:6.2f}  " + "  ".join(f"{peer} {published[peer]:.2f}" for peer in peers))
    tell(
        "NAB, all files, 0 to 100: "
        + ", ".join(f"{who} {100 * (score + count) / (2 * count):.1f}" for who, score in totals.items())
    )


def main() -> None:
    """Run all: the corpus where GROUNDWATCH_NAB names a copy of it."""
    bench_qartod()
    bench_false_alarms(int(os.environ.get("GROUNDWATCH_BENCH_YEARS", "20")))
    shared = Path(os.environ.get("GROUNDWATCH_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    folder = next((path for path in (shared / "data/anomaly/nab", shared / "anomaly/nab") if path.exists()), None)
    if folder is None:
        tell("NAB skipped: the shared data are not here")
    else:
        bench_nab(folder)
    corpus = os.environ.get("GROUNDWATCH_NAB")
    if corpus:
        bench_corpus(Path(corpus))


if __name__ == "__main__":
    main()
