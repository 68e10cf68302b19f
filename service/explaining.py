"""Recomputes stored results of the analytics from what was recorded with them, and says whether every digit comes out the same.

Observations are read as of the ledger sequence that the run read; its parameters, its events and its `now` were stored with it, and for
a group of datastreams its members as they were. This file finishes with `explain_finding`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from analytics import METHODS, Samples
from analytics.groups import GROUP_METHODS
from analytics.method import plain
from analytics.recorded import event_from_json, member_from_json, parameters_from_json
from domain.errors import NotFoundError, RequestError
from domain.finding import Outcome
from service.bootstrap import Container
from storage.analyses import FindingRow, RunRow

COMPARED = ("version", "window_start", "window_end", "input_digest", "status", "result")


def find_run(container: Container, code: str, method: str, as_of: int | None = None) -> RunRow:
    """Return the newest run of a method on a datastream, or the newest that was stored by a ledger sequence.

    Raises
    ------
    NotFoundError
        There is no such datastream, or it has no run of that method.
    """
    datastream = container.registers.datastream(code)
    if datastream is None or datastream.datastream_id is None:
        raise NotFoundError(f"there is no datastream {code}.", remedy="list them: groundwatch datastream list")
    runs = {run.method: run for run in container.analyses.runs_as_of(datastream.datastream_id, as_of)}
    if method not in runs:
        known = ", ".join(sorted(runs)) or "none: groundwatch analyse"
        raise NotFoundError(f"{code} has no run of {method}.", remedy=f"there are {known}")
    return runs[method]


def run_by_id(container: Container, run_id: int) -> RunRow:
    """Return a stored run; `NotFoundError` where there is none."""
    run = container.analyses.run(run_id)
    if run is None:
        raise NotFoundError(
            f"there is no run {run_id}.", remedy="name a datastream and a method: groundwatch explain CODE METHOD"
        )
    return run


def explain_finding_by_id(container: Container, finding_id: int) -> dict[str, Any]:
    """Recompute the run of a current finding and look for it among what comes out."""
    rows = container.analyses.findings(after=finding_id - 1, limit=1)
    if not rows or rows[0].finding_id != finding_id:
        raise NotFoundError(f"there is no current finding {finding_id}.", remedy="list them: GET /api/v1/findings")
    return explain_finding(container, rows[0], run_by_id(container, rows[0].run_id))


def recompute(container: Container, run: RunRow) -> Outcome:
    """Compute a stored run again from its recorded inputs.

    Raises
    ------
    RequestError
        No such method is known any more, or the run is older than the recording of inputs.
    NotFoundError
        A datastream that it read is gone.
    """
    if run.method not in METHODS and run.method not in GROUP_METHODS:
        raise RequestError(
            f"{run.method} is no method that can be recomputed.",
            remedy=f"it can be done for {', '.join([*METHODS, *GROUP_METHODS])}",
        )
    if ("events" if run.method in METHODS else "members") not in run.inputs:
        raise RequestError(f"run {run.run_id} was stored before inputs were recorded.", remedy="run the analytics anew")
    now = datetime.fromisoformat(run.inputs["now"])
    return _recompute_one(container, run, now) if run.method in METHODS else _recompute_group(container, run, now)


def _recompute_one(container: Container, run: RunRow, now: datetime) -> Outcome:
    datastream = container.registers.datastream_by_id(run.datastream_id)
    if datastream is None:
        raise NotFoundError(f"the datastream of run {run.run_id} is gone.")
    method = METHODS[run.method]
    events = [event_from_json(datastream.station, stored) for stored in run.inputs["events"]]
    samples = _samples(container, run.datastream_id, run.read_seq)
    return method.run(samples, events, parameters_from_json(method.parameters, run.parameters), now)


def _recompute_group(container: Container, run: RunRow, now: datetime) -> Outcome:
    members = []
    for stored in run.inputs["members"]:
        datastream = container.registers.datastream(stored["datastream"])
        if datastream is None or datastream.datastream_id is None:
            raise NotFoundError(f"the datastream {stored['datastream']}, which run {run.run_id} read, is gone.")
        members.append(member_from_json(stored, _samples(container, datastream.datastream_id, run.read_seq)))
    method = GROUP_METHODS[run.method]
    outcomes = method.run(members, parameters_from_json(method.parameters, run.parameters), now)
    if run.inputs["about"] not in outcomes:
        raise RequestError(
            f"{run.method} of today says nothing where run {run.run_id} said something.",
            remedy=f"its version was {run.version}, today's is {method.version}",
        )
    return outcomes[run.inputs["about"]]


def _samples(container: Container, datastream_id: int, read_seq: int) -> Samples:
    data = container.observations.series(datastream_id, as_of=read_seq)
    return Samples(data.time, data.result, data.sigma, data.quality.astype("uint8"))


def explain_run(container: Container, run: RunRow) -> dict[str, Any]:
    """Recompute a run and compare it with what is stored.

    Returns
    -------
    dict
        `ok` and `same`; what was read; and the fields that differ, with both values.
    """
    again = recompute(container, run).run
    differences = {
        name: {"recorded": plain(getattr(run, name)), "recomputed": plain(getattr(again, name))}
        for name in COMPARED
        if plain(getattr(run, name)) != plain(getattr(again, name))
    }
    return {
        "ok": not differences,
        "run": run.run_id,
        "datastream_id": run.datastream_id,
        "method": f"{run.method} version {run.version}",
        "read_seq": run.read_seq,
        "now": run.inputs["now"],
        "input_digest": again.input_digest,
        "same": not differences,
        "differences": differences,
    }


def explain_finding(container: Container, finding: FindingRow, run: RunRow) -> dict[str, Any]:
    """Recompute the run of a finding and look whether the finding is among what comes out, digit by digit."""
    wanted = _told(finding)
    found = any(_told(item) == wanted for item in recompute(container, run).findings)
    return explain_run(container, run) | {"finding": finding.finding_id, "ok": found, "same": found}


def _told(finding: Any) -> list[Any]:
    names = ("kind", "start", "end", "size", "sigma", "score", "unit", "source", "parameters")
    return [plain(str(value) if name == "kind" else value) for name in names for value in [getattr(finding, name)]]
