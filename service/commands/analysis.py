"""`analyse`, `explain`, `scenario` and `audit verify`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from domain.errors import NotFoundError, RequestError
from domain.finding import Outcome
from domain.model import Datastream
from service.analysing import Analyst
from service.bootstrap import Container
from service.commands.output import emit, say
from service.settings import load_settings

PAGE = 1000
AUDIT_HEAD = "audit-head"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def analyse(arguments: argparse.Namespace) -> int:
    """Run the analytics now on the datastreams named, or on all; as of the past nothing is stored."""
    with Container(load_settings({"home": arguments.home})) as container, Analyst(container, in_process=True) as analyst:
        as_of = None if arguments.as_of is None else ledger_seq(container, arguments.as_of)
        summaries = []
        # What groups of datastreams say is not of the past: marks of other stations may have been registered since.
        has_groups = as_of is None and not arguments.datastream
        if has_groups:
            analyst.networks.analyse_all(container.clock(), is_first=True)
        for datastream in _wanted(container, arguments.datastream):
            outcomes = analyst.analyse(datastream, container.clock(), as_of=as_of)
            summaries.append(summary(datastream, outcomes))
            if not arguments.json:
                say(_line(summaries[-1]))
        if has_groups:
            analyst.networks.analyse_all(container.clock(), is_first=False)
        if arguments.json:
            emit({"ok": True, "as_of": as_of, "stored": as_of is None, "datastreams": summaries})
    return 0


def ledger_seq(container: Container, text: str) -> int:
    """Return the ledger sequence that a number or a time with offset names."""
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestError(
            f"{text!r} is no ledger sequence and no time with offset.", remedy="e.g. --as-of 2026-01-31T00:00:00+08:00"
        )
    return container.changes.seq_at(moment)


def _wanted(container: Container, codes: list[str] | None) -> Iterator[Datastream]:
    for code in codes or ():
        datastream = container.registers.datastream(code)
        if datastream is None:
            raise NotFoundError(f"there is no datastream {code}.", remedy="list them: groundwatch datastream list")
        yield datastream
    if codes:
        return
    after = None
    while page := container.registers.list_datastreams(after=after, limit=PAGE, derived=False):
        yield from page
        after = page[-1].code


def summary(datastream: Datastream, outcomes: list[Outcome]) -> dict[str, object]:
    """Return what a person wants to know of the outcomes."""
    return {
        "datastream": datastream.code,
        "runs": [
            {
                "method": outcome.run.method,
                "version": outcome.run.version,
                "status": outcome.run.status,
                "digest": outcome.run.input_digest,
            }
            for outcome in outcomes
        ],
        "scalars": [
            {"name": scalar.name, "unit": scalar.unit, "time": scalar.time, "value": scalar.value, "sigma": scalar.sigma}
            for outcome in outcomes
            for scalar in outcome.scalars
        ],
        "findings": sum(len(outcome.findings) for outcome in outcomes),
    }


def _line(entry: dict[str, object]) -> str:
    scalars = entry["scalars"]
    assert isinstance(scalars, list)
    words = [
        f"{scalar['name']} {scalar['value']:.2f} ± "
        + (f"{scalar['sigma']:.2f}" if scalar["sigma"] is not None else "unknown")
        + f" {scalar['unit']}"
        for scalar in scalars
        if scalar["value"] is not None
    ]
    return f"{entry['datastream']}: {', '.join(words) or 'cannot tell'}; {entry['findings']} findings"


def explain(arguments: argparse.Namespace) -> int:
    """Recompute an alert, a run or a finding from its recorded inputs; exit 1 when it does not come out the same."""
    with Container(load_settings({"home": arguments.home})) as container:
        answer = _explained(container, arguments)
    what = " ".join(word for word in (arguments.result, arguments.method) if word)
    what = what if ":" in what or arguments.method else f"alert {what}"
    if arguments.json:
        emit(answer)
    else:
        say(f"{what}: " + ("comes out the same" if answer["same"] else f"differs: {answer['differences']}"))
    return 0 if answer["same"] else 1


def _explained(container: Container, arguments: argparse.Namespace) -> dict[str, Any]:
    """The explanation of `run:N`, `finding:N`, `insar:N`, a datastream's code with a method, or else of an alert."""
    from service.explaining import explain_finding_by_id, explain_run, find_run, run_by_id

    kind, _, number = arguments.result.partition(":")
    if arguments.method is not None:
        as_of = None if arguments.as_of is None else ledger_seq(container, arguments.as_of)
        return explain_run(container, find_run(container, arguments.result, arguments.method, as_of))
    if kind == "run" and number.isdigit():
        return explain_run(container, run_by_id(container, int(number)))
    if kind == "insar" and number.isdigit():
        from service.insar_explaining import explain_insar_run

        return explain_insar_run(container, int(number))
    if kind == "finding" and number.isdigit():
        return explain_finding_by_id(container, int(number))
    alert = arguments.result
    answer: dict[str, Any] = container.engine.explain(int(alert) if alert.isdigit() else alert)
    return answer


def scenario(arguments: argparse.Namespace) -> int:
    """Say where a datastream may be many years ahead, under the assumption that is named; exit 1 where nothing can be said."""
    from service.scenarios import scenario_of

    if not (arguments.years > 0.0 and 0.5 <= arguments.level <= 0.99):
        raise RequestError("the years must be positive and the level between 0.5 and 0.99.", remedy="--years 25 --level 0.95")
    with Container(load_settings({"home": arguments.home})) as container:
        (datastream,) = _wanted(container, [arguments.datastream])
        answer = scenario_of(container, datastream, arguments.years, arguments.level, container.clock())
    answer = {"ok": answer["status"] == "ok", "datastream": datastream.code, "unit": datastream.unit, **answer}
    if arguments.json:
        emit(answer)
    elif answer["ok"]:
        say(
            f"{datastream.code}, if it goes on as {answer['assumption'].replace('_', ' ')} (a scenario that nothing in the record tests):"
        )
        for time, value, low, high in zip(answer["time"], answer["value"], answer["lower"], answer["upper"], strict=True):
            say(f"  {time[:10]}  {value:.4g} {datastream.unit}  ({low:.4g} to {high:.4g}, {answer['level']:.0%})")
    else:
        say(f"{datastream.code}: cannot tell ({answer['reason']})")
    return 0 if answer["ok"] else 1


def audit(arguments: argparse.Namespace) -> int:
    """Verify the audit log, or print its head; exit 1 when it is broken.

    The head of a log that was found whole is kept in the home, outside the database, and asked for the next time.
    """
    settings = load_settings({"home": arguments.home})
    kept = settings.home / AUDIT_HEAD
    with Container(settings) as container:
        report = container.access.verify_audit([*_heads(arguments.head or ()), *_heads(_kept(kept))])
    if report.ok and report.newest_id is not None:
        settings.home.mkdir(parents=True, exist_ok=True)
        kept.write_text(f"{report.newest_id}:{report.newest_hash}\n", encoding="utf-8")
    if arguments.json:
        emit(report)
    elif arguments.action == "head" and report.ok:
        say(f"{report.newest_id or 0}:{report.newest_hash or ''}")
    else:
        say(f"{report.entries} entries, {_standing(report)}")
    return 0 if report.ok else 1


def _standing(report: Any) -> str:
    if report.first_broken is not None:
        return f"the chain is broken at entry {report.first_broken}"
    if report.missing_head is not None:
        return f"entries are missing at the end: the kept head {report.missing_head} is not there"
    return "entries are missing at the end" if report.truncated else "the chain is whole"


def _kept(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def _heads(texts: Iterable[str]) -> Iterator[tuple[int, str]]:
    for text in texts:
        number, _, digest = text.partition(":")
        if not number.isdecimal() or not _SHA256.fullmatch(digest):
            raise RequestError(
                f"{text!r} is no head.", where="--head", remedy="write ID:HASH as `groundwatch audit head` prints it"
            )
        yield int(number), digest
