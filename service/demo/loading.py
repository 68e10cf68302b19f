"""Loads the demonstration: applies its configuration, imports its files through the pipeline, logs its public events.

A marker in the node's attributes remembers seed and time, so that a second start does nothing and a load that was cut short is
finished with the same numbers. This file finishes with `load`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from domain.errors import ConfigurationError, ConflictError
from service.configuration import apply_folder
from service.demo.files import write_files
from service.demo.network import Demonstration, build, demo_folder

if TYPE_CHECKING:
    from service.bootstrap import Container

ACTOR = "demonstration"
MARK = "demonstration"


def load(container: Container, seed: int, now: datetime, progress: Callable[[str], None]) -> None:
    """Load the demonstration network once.

    Parameters
    ----------
    container
        Registers, alerts, access and pipeline of the node.
    seed
        Seed of the simulation; ignored where the demonstration is loaded already.
    now
        End of the simulated record.
    progress
        Told one line per stage.

    Raises
    ------
    ConflictError
        When the database is the node of a real city: simulated data never mix with real ones.
    ConfigurationError
        When a simulated file was not taken in whole, which would be a fault of the import path.
    """
    node = container.registers.node()
    if node is not None and not node.simulated:
        raise ConflictError(
            f"the node {node.code!r} holds real data.", where="--demo", remedy="load the demonstration into a database of its own"
        )
    apply_folder(demo_folder(), container.registers, container.alerts, container.access, ACTOR, now=now)
    mark = _mark(container)
    if mark is not None and mark[2]:
        return
    seed, now = (mark[0], mark[1]) if mark is not None else (seed, now)
    _set_mark(container, seed, now, loaded=False)
    network = build(seed, now)
    progress(
        f"demonstration: simulated {network.observations():,} observations of {len(network.city.stations)} stations (seed {seed})"
    )
    _log_events(container, network)
    import_files(container, network, progress)
    _set_mark(container, seed, now, loaded=True)


def import_files(container: Container, network: Demonstration, progress: Callable[[str], None]) -> int:
    """Import the network's files and return the number of observations accepted."""
    accepted = 0
    for number, file in enumerate(write_files(network), start=1):
        report = container.pipeline.ingest_file(
            file.body,
            file.name,
            format=file.format,
            profile=file.profile,
            zone=file.zone,
            frame=file.frame,
            create=False,
            actor=ACTOR,
            now=network.now,
        )
        if report.rejected:
            raise ConfigurationError(
                f"{report.rejected} rows of the simulated file were refused: {report.rejects[0].reason}",
                where=f"{file.name} line {report.rejects[0].line}",
                remedy="apply the demonstration's configuration folder unchanged",
            )
        accepted += report.accepted
        if number % 10 == 0:
            progress(f"demonstration: {number} files, {accepted:,} observations")
    progress(f"demonstration: {accepted:,} observations imported")
    return accepted


def _log_events(container: Container, network: Demonstration) -> None:
    for event in network.events:
        known = {(item.kind, item.start) for item in container.registers.events(event.station)}
        if (event.kind, event.start) not in known:
            container.registers.add_event(event, ACTOR)


def network_of(container: Container) -> Demonstration:
    """Return the network that was loaded, built again from its seed.

    Raises
    ------
    ConfigurationError
        When no demonstration is loaded here.
    """
    mark = _mark(container)
    if mark is None:
        raise ConfigurationError("no demonstration is loaded.", where="node", remedy="start with: groundwatch up --demo")
    return build(mark[0], mark[1])


def _mark(container: Container) -> tuple[int, datetime, bool] | None:
    node = container.registers.node()
    said = node.attributes.get(MARK) if node is not None else None
    if not isinstance(said, dict):
        return None
    return int(said["seed"]), datetime.fromisoformat(str(said["now"])), bool(said["loaded"])


def _set_mark(container: Container, seed: int, now: datetime, *, loaded: bool) -> None:
    node = container.registers.node()
    if node is None:
        raise ConfigurationError("no city is configured yet.", where="node", remedy="apply a configuration folder first")
    mark = {"seed": seed, "now": now.isoformat(), "loaded": loaded}
    container.registers.set_node(replace(node, attributes={**node.attributes, MARK: mark}))
