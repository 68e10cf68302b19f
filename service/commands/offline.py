"""`velocity` and `detect`: an analyst's one-liners on bare files, with no database."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from domain.errors import InputError
from service.commands.output import complain, emit, say
from service.offline.reading import FileSeries, read_series

UNUSABLE = 2


def velocity(arguments: argparse.Namespace) -> int:
    """Print velocity, sigma, seasonal terms and steps of each file and component."""
    from service.offline.answers import velocity_of
    from service.offline.events import read_steps

    drawn = []
    code = 0
    for name in arguments.files:
        try:
            for series in _wanted(read_series(Path(name), format_name=arguments.format), arguments.component):
                events = read_steps(Path(arguments.events), series.station) if arguments.events else []
                answer, result = velocity_of(series, events)
                drawn.append((series, result))
                _tell(answer, _velocity_line(answer), as_json=arguments.json)
        except InputError as error:
            code = UNUSABLE
            complain(f"groundwatch: {error}")
    if arguments.plot and drawn:
        from service.offline.plotting import plot_velocity

        plot_velocity(Path(arguments.plot), drawn)
    return code


def _wanted(found: list[FileSeries], component: str | None) -> list[FileSeries]:
    if component is None:
        return found
    chosen = [series for series in found if series.component == component]
    if not chosen:
        known = ", ".join(sorted({series.component for series in found}))
        raise InputError(f"there is no component {component}.", where=found[0].file, remedy=f"the file has {known}")
    return chosen


def _tell(answer: dict[str, Any], line: str, *, as_json: bool) -> None:
    if as_json:
        emit(answer)
    else:
        say(line)


def _velocity_line(answer: dict[str, Any]) -> str:
    where = f"{answer['file']} {answer['station']} {answer['component']}"
    if "rate" not in answer:
        return f"{where}: cannot tell from {answer['n']} samples over {answer['span_a']:.2f} a"
    noise = f" ({answer['noise_model']})" if "noise_model" in answer else ""
    words = [f"{answer['rate']:.3f} ± {_sigma(answer, 'rate_sigma')} {answer['unit']}{noise}"]
    if "midas_rate" in answer:
        words.append(f"MIDAS {answer['midas_rate']:.3f} ± {_sigma(answer, 'midas_sigma')}")
    words += [f"step {step['time']} {step['size']:.1f} ({step['source']})" for step in answer["steps"]]
    return f"{where}: " + "; ".join(words) + ("; interim, under 2.5 a" if answer["interim"] else "")


def _sigma(answer: dict[str, Any], name: str) -> str:
    """Two surveys have a rate and no sigma: that is said, never shown as 0."""
    return f"{answer[name]:.3f}" if name in answer else "unknown"


def detect(arguments: argparse.Namespace) -> int:
    """Print anomalies and change points of each file."""
    from service.offline.answers import detection_of

    drawn = []
    code = 0
    for name in arguments.files:
        try:
            for series in read_series(Path(name), format_name=arguments.format):
                answer = detection_of(series)
                drawn.append((series, answer))
                grades = [anomaly["grade"] for anomaly in answer["anomalies"]]
                line = (
                    f"{answer['file']}: {grades.count('alarm')} alarms, {grades.count('suspect')} suspects, "
                    f"{len(answer['change_points'])} change points in {answer['n']}"
                )
                _tell(answer, line, as_json=arguments.json)
        except InputError as error:
            code = UNUSABLE
            complain(f"groundwatch: {error}")
    if arguments.plot and drawn:
        from service.offline.plotting import plot_detection

        plot_detection(Path(arguments.plot), drawn)
    return code
