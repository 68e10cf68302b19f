"""The parser of the command line: every command, its arguments, and where the function is that runs it.

It imports none of them, so that help comes at once. This file begins with `build_parser`; the rest are its parts.
"""

from __future__ import annotations

import argparse

REGISTERS = ("station", "sensor", "datastream", "licence", "rule", "partner", "user", "key", "device")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command, importing none of them."""
    parser = argparse.ArgumentParser(
        prog="groundwatch", description="Land-subsidence and geothermal monitoring 地面沉降与地热监测"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_processes(commands)
    _add_files(commands)
    _add_analysis(commands)
    _add_insar(commands)
    _add_quality(commands)
    _add_registers(commands)
    _add_alerts(commands)
    _add_handling(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: str, text: str, *, machine: bool = False
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument("--home", help="data directory (default: GROUNDWATCH_HOME or the user's data directory)")
    if machine:
        command.add_argument("--json", action="store_true", help="print JSON on stdout and nothing else there")
    return command


def _add_processes(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    up = _command(commands, "up", "service.commands.stack:up", "run everything: embedded stack, migrate, ingest, worker, serve")
    up.add_argument("--demo", action="store_true", default=None, help="load and feed the simulated demonstration network")
    up.add_argument("--port", type=int)
    up.add_argument("--host")
    up.add_argument("--config", help="folder of this city's configuration")
    migrate = _command(
        commands, "migrate", "service.commands.processes:migrate", "bring the database schema up to date", machine=True
    )
    migrate.add_argument("--config", help="apply this city's configuration folder afterwards")
    serve = _command(commands, "serve", "service.commands.processes:serve", "serve the dashboard and the API")
    serve.add_argument("--port", type=int)
    serve.add_argument("--host")
    _command(commands, "ingest", "service.commands.processes:ingest", "take observations from MQTT and the inbox folder")
    _command(
        commands,
        "worker",
        "service.commands.processes:worker",
        "evaluate rules, run analytics, refresh roll-ups, send notifications",
    )
    gateway = _command(
        commands, "demo-gateway", "service.commands.processes:demo_gateway", "push simulated live observations over MQTT"
    )
    gateway.add_argument("--interval", type=float, default=5.0, help="seconds between rounds")
    configure = _command(
        commands, "configure", "service.commands.processes:configure", "apply a city's configuration folder", machine=True
    )
    configure.add_argument("folder")
    check = _command(
        commands, "check", "service.commands.check:check", "check configuration and connectivity, with remedies", machine=True
    )
    check.add_argument("--quiet", action="store_true", help="print only what is wrong")
    accounts = _command(
        commands, "broker-accounts", "service.commands.stack:broker_accounts", "write an external broker's account files"
    )
    accounts.add_argument("directory")
    embedded = _command(commands, "embedded", "service.commands.stack:embedded", "the embedded PostgreSQL and Mosquitto alone")
    embedded.add_argument("action", choices=("start", "stop", "status", "url"))


def _add_files(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    load = _command(
        commands, "import", "service.commands.files:import_files", "import files through the whole pipeline", machine=True
    )
    load.add_argument("files", nargs="+", metavar="FILE")
    load.add_argument("--format", help="levelling, toa5, tenv3, csv ... (guessed when absent)")
    load.add_argument("--profile", help="name of a shipped profile or path of a YAML profile")
    load.add_argument("--station", help="station code, where the file states none")
    load.add_argument("--unit", help="UCUM unit of the values, where file and profile state none")
    load.add_argument("--datum", help="vertical datum of the heights, e.g. CN-H85")
    load.add_argument("--zone", help="time zone of naive times, e.g. Asia/Shanghai")
    load.add_argument("--frame", help="reference frame of GNSS positions, e.g. IGS14")
    load.add_argument(
        "--convert-datum", action="store_true", help="convert heights to the datastream's datum by the region's offset"
    )
    load.add_argument("--no-create", action="store_true", help="refuse unknown stations and datastreams instead of creating them")
    load.add_argument(
        "--store-events", action="store_true", help="log what the file says happened (antenna changes) as station events"
    )
    load.add_argument("--dry-run", action="store_true", help="parse and check, store nothing")
    load.add_argument("--delivery", metavar="NAME", help="InSAR: name of the delivery (default: the file's)")
    load.add_argument("--track", help="InSAR: track, e.g. asc-69; deliveries of one area and track are its versions")
    load.add_argument(
        "--incidence", type=float, metavar="DEG", help="InSAR: incidence from the vertical, where no column states it"
    )
    load.add_argument("--heading", type=float, metavar="DEG", help="InSAR: direction of flight from north, clockwise")
    export = _command(commands, "export", "service.commands.files:export", "stream observations or stations out")
    export.add_argument("datastream", nargs="*", help="datastream codes; none with --format geojson = all stations")
    export.add_argument("--format", choices=("csv", "json", "geojson"), default="csv")
    export.add_argument("--from", dest="start", help="inclusive, with offset")
    export.add_argument("--to", dest="end", help="exclusive, with offset")
    replay = _command(
        commands, "replay", "service.commands.files:replay", "run quarantined raw payloads again after a fix", machine=True
    )
    replay.add_argument("--since", required=True, help="time with offset")
    _add_profiles(commands)


def _add_profiles(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    profiles = commands.add_parser("profile", help="profiles of files: guess, list, show").add_subparsers(
        dest="action", required=True
    )
    guess = _command(profiles, "guess", "service.commands.profile:guess", "propose a profile for a file", machine=True)
    guess.add_argument("file", metavar="FILE")
    guess.add_argument("--output", metavar="PROFILE", help="write the proposal to this new file")
    _command(profiles, "list", "service.commands.profile:shipped", "list the shipped profiles", machine=True)
    show = _command(profiles, "show", "service.commands.profile:show", "print a profile", machine=True)
    show.add_argument("name", metavar="NAME", help="a shipped profile, or the path of one")


def _add_analysis(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, text in (
        ("velocity", "velocity, sigma, seasonal terms and steps of files, with no database"),
        ("detect", "anomalies and change points of files, with no database"),
    ):
        command = _command(commands, name, f"service.commands.offline:{name}", text, machine=True)
        command.add_argument("files", nargs="+", metavar="FILE")
        command.add_argument("--format")
        command.add_argument("--plot", metavar="FILE", help="draw what was found as png or svg")
        if name == "velocity":
            command.add_argument("--component", choices=("east", "north", "up", "value"))
            command.add_argument("--events", metavar="FILE", help="steps to split at: an NGL steps file, or a date a line")
    analyse = _command(commands, "analyse", "service.commands.analysis:analyse", "run the analytics now", machine=True)
    analyse.add_argument("--datastream", action="append", metavar="CODE")
    analyse.add_argument("--as-of", help="ledger sequence, or a time with offset")
    explain = _command(
        commands,
        "explain",
        "service.commands.analysis:explain",
        "recompute an alert, a run or a finding from its recorded inputs",
        machine=True,
    )
    explain.add_argument(
        "result",
        help="alert id or identifier, run:ID, finding:ID, insar:ID (an analysis of a delivery), or a datastream's code with METHOD",
    )
    explain.add_argument("method", nargs="?", help="velocity, rate_12mo, anomaly, forecast, time_to_limit ... of that datastream")
    explain.add_argument("--as-of", help="the run that was newest then: a ledger sequence, or a time with offset")
    _add_steps(commands)
    scenario = _command(
        commands,
        "scenario",
        "service.commands.analysis:scenario",
        "where a level may be many years ahead, as assumed",
        machine=True,
    )
    scenario.add_argument("datastream", metavar="CODE")
    scenario.add_argument("--years", type=float, default=25.0, help="years beyond the last observation (default 25)")
    scenario.add_argument("--level", type=float, default=0.95, help="probability of the interval (default 0.95)")
    audit = _command(commands, "audit", "service.commands.analysis:audit", "verify the hash chain of the audit log", machine=True)
    audit.add_argument("action", choices=("verify", "head"), help="verify the chain, or print its head to be kept elsewhere")
    audit.add_argument("--head", action="append", metavar="ID:HASH", help="a head that was printed once must still be there")


def _add_steps(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    steps = commands.add_parser("step", help="proposed steps: list, confirm, refuse").add_subparsers(dest="action", required=True)
    show = _command(steps, "list", "service.commands.steps:show", "list the steps that analyses propose", machine=True)
    show.add_argument("datastream", nargs="?")
    for action, text in (
        ("confirm", "write a proposed step into the event log as an offset"),
        ("refuse", "write into the event log that no step is there"),
    ):
        command = _command(steps, action, "service.commands.steps:answer", text, machine=True)
        command.set_defaults(action=action)
        command.add_argument("id", type=int, help="as `step list` gives it")
        command.add_argument("--by", required=True, metavar="NAME", help="who says so")
        command.add_argument("--note")
        if action == "confirm":
            command.add_argument("--kind", default="other", help="what happened: antenna_change, sensor_swap, earthquake ...")


def _add_insar(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    insar = commands.add_parser("insar", help="InSAR deliveries: list, show, analyse, compare, decompose")
    actions = insar.add_subparsers(dest="action", required=True)
    target = "service.commands.insar:"
    _command(actions, "list", target + "list_deliveries", "list the deliveries, old and new versions", machine=True)
    show = _command(actions, "show", target + "show", "show a delivery with its analyses, or one of its points", machine=True)
    show.add_argument("delivery")
    show.add_argument("--point", metavar="PID", help="one point: its series and results")
    analyse = _command(actions, "analyse", target + "analyse", "rate, seasons, rmse and sigma of every point", machine=True)
    analyse.add_argument("delivery")
    analyse.add_argument(
        "--scheduler", metavar="ADDRESS", help="a dask scheduler, e.g. tcp://10.0.0.5:8786; without: this machine"
    )
    analyse.add_argument(
        "--sigma", choices=("ols", "ar1", "robust"), default="ar1", help="noise that the sigma of the rate implies"
    )
    analyse.add_argument(
        "--acceleration", action="store_true", help="estimate an acceleration too (2 x the quadratic coefficient)"
    )
    analyse.add_argument("--trend-test", action="store_true", help="Mann-Kendall test and Sen slope too")
    analyse.add_argument(
        "--step", action="append", metavar="DATE", help="a step at this date (UTC), for every point; may be repeated"
    )
    compare = _command(actions, "compare", target + "compare", "a delivery against the marks on the ground", machine=True)
    compare.add_argument("delivery")
    compare.add_argument(
        "--radius", type=float, default=100.0, metavar="M", help="points within this distance of a mark (default 100 m)"
    )
    compare.add_argument("--with", dest="other", metavar="DELIVERY", help="compare with another delivery instead of the marks")
    decompose = _command(
        actions, "decompose", target + "decompose", "up and east from an ascending and a descending delivery", machine=True
    )
    decompose.add_argument("ascending")
    decompose.add_argument("descending")
    decompose.add_argument(
        "--cell", type=float, default=100.0, metavar="M", help="side of the cells in which points are averaged"
    )


def _add_handling(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cases = commands.add_parser("case", help="cases 问题: list, show, ledger 台账").add_subparsers(dest="action", required=True)
    target = "service.commands.cases:case"
    _command(cases, "list", target, "list cases", machine=True).add_argument("--overdue", action="store_true")
    _command(cases, "show", target, "show a case with every step", machine=True).add_argument("code")
    ledger = _command(cases, "ledger", target, "write the ledger of cases as XLSX")
    ledger.add_argument("file", metavar="FILE.xlsx")
    ledger.add_argument("--lang", choices=("zh", "en"), default="zh")
    silences = commands.add_parser("silence", help="silences, maintenance windows and what is out of service: list, add, end")
    actions = silences.add_subparsers(dest="action", required=True)
    target = "service.commands.cases:silence"
    _command(actions, "list", target, "list silences", machine=True)
    added = _command(actions, "add", target, "hold messages back for a time", machine=True)
    added.add_argument("matchers", nargs="+", metavar="LABEL=GLOB", help="e.g. station=JX-W01 or region=3304*")
    added.add_argument("--from", dest="start", help="time with offset (now when absent)")
    added.add_argument("--to", dest="end", required=True, help="time with offset")
    added.add_argument("--reason", required=True)
    added.add_argument("--author", required=True, help="who takes the responsibility")
    out = "a sensor (station or datastream) or a rule is out of service: nothing that it says is told, told on or announced anew"
    added.add_argument("--out-of-service", dest="kind", action="store_const", const="out_of_service", default="silence", help=out)
    ended = _command(actions, "end", target, "end a silence now", machine=True)
    ended.add_argument("number", type=int)
    ended.add_argument("--author", required=True)
    receivers = commands.add_parser("receiver", help="who is told: list, test").add_subparsers(dest="action", required=True)
    target = "service.commands.cases:receiver"
    _command(receivers, "list", target, "list receivers and what waits for them", machine=True)
    _command(receivers, "test", target, "send a test message", machine=True).add_argument("code")


def _add_quality(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    quality = commands.add_parser("quality", help="flags of quality control: override, withdraw, list, run")
    actions = quality.add_subparsers(dest="action", required=True)
    add = _command(
        actions, "override", "service.commands.quality:add", "set the quality of observations, with name and reason", machine=True
    )
    add.add_argument("datastream")
    add.add_argument("--from", dest="start", required=True, help="inclusive, with offset")
    add.add_argument("--to", dest="end", help="exclusive, with offset; without it the one observation at --from")
    add.add_argument("--quality", required=True, choices=("good", "unknown", "suspect", "fail"))
    add.add_argument("--reason", required=True)
    add.add_argument("--by", required=True, metavar="NAME", help="who says so")
    back = _command(actions, "withdraw", "service.commands.quality:take_back", "take an override back", machine=True)
    back.add_argument("id", type=int)
    back.add_argument("--by", required=True, metavar="NAME")
    show = _command(actions, "list", "service.commands.quality:show", "list overrides, oldest first", machine=True)
    show.add_argument("datastream", nargs="?")
    show.add_argument("--withdrawn", action="store_true", help="also those taken back")
    again = _command(actions, "run", "service.commands.quality:run", "run the tests again over what is stored", machine=True)
    again.add_argument("datastream", nargs="*", help="codes; none = all")


def _add_registers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name in REGISTERS:
        register = commands.add_parser(name, help=f"manage {name}s")
        actions = register.add_subparsers(dest="action", required=True)
        for action in ("list", "show", "add", "set", "remove", "export", "import"):
            command = _command(actions, action, "service.commands.registers:run", f"{action} {name}", machine=True)
            command.set_defaults(register=name)
            if action in {"show", "add", "set", "remove"}:
                command.add_argument("code", help=_code_help(name, action))
            if action in {"add", "set"}:
                command.add_argument(
                    "values", nargs="*", metavar="KEY=VALUE", help="an unknown KEY answers with those that are known"
                )
            if action == "import":
                command.add_argument("file")
        if name == "device":
            _add_devices(actions)
        if name == "rule":
            _add_rule_actions(actions)


def _add_rule_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    trial = _command(
        actions, "dry-run", "service.commands.rules:dry_run", "what a rule would have done over history", machine=True
    )
    trial.add_argument("rule", help="a YAML file with a rule or rules, or the code of a stored rule")
    trial.add_argument("--from", dest="start", help="onsets from this time on (with offset; default: the budget's window)")
    trial.add_argument("--to", dest="end", help="onsets before this time (with offset; default: now)")
    policy = _command(
        actions, "policy", "service.commands.rules:policy", "what holds messages back: print it, or set it", machine=True
    )
    policy.add_argument("file", nargs="?", help="YAML as in alerts/default_policy.yaml")
    policy.add_argument("--reason", help="why it is changed")


def _add_alerts(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("alert", help="alerts: list, show, act by name").add_subparsers(dest="action", required=True)
    target = "service.commands.rules:alert"
    listed = _command(actions, "list", target, "list alerts, newest update first", machine=True)
    listed.add_argument("--state", choices=("pending", "firing", "resolved", "all"), default="firing")
    listed.add_argument("--level", action="append", choices=("blue", "yellow", "orange", "red"))
    listed.add_argument("--rule", help="code of a rule")
    listed.add_argument("--station", help="code of a station")
    show = _command(actions, "show", target, "show an alert with its explanation and every step", machine=True)
    show.add_argument("alert", help="alert id or identifier")
    show.add_argument("--lang", choices=("zh", "en"), default="zh")
    acts = (("ack", "take notice of an alert"), ("confirm", "confirm an alert"), ("reject", "call an alert false"),
            ("unshelve", "end a shelving"))  # fmt: skip
    for name, text in acts:
        act = _command(actions, name, target, text, machine=True)
        act.add_argument("alert", help="alert id or identifier")
        act.add_argument("--who", help="who decides (default: the account that runs the command)")
        act.add_argument("--note", help="what is said to it")
    shelve = _command(actions, "shelve", target, "hold an alert's messages back until a time", machine=True)
    shelve.add_argument("alert", help="alert id or identifier")
    shelve.add_argument("--until", required=True, help="time with offset, or 12h, or 3d")
    shelve.add_argument("--reason", required=True)
    shelve.add_argument("--who", help="who decides (default: the account that runs the command)")
    _command(actions, "cannot-tell", target, "what the rules could not tell", machine=True)
    blind = _command(actions, "blind", target, "blind hours by station", machine=True)
    blind.add_argument("--days", type=int, default=30)


def _add_devices(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    target, identity = "service.commands.devices", "PROTOCOL:IDENTITY, e.g. sl651:3304020001"
    _command(actions, "unknown", f"{target}:unknown", "list devices that nobody has admitted", machine=True)
    admit = _command(
        actions, "admit", f"{target}:admit", "give a device its station and run its stored frames again", machine=True
    )
    admit.add_argument("code", help=identity)
    admit.add_argument("values", nargs="*", metavar="KEY=VALUE", help="password, note, attributes of the device")
    admit.add_argument("--station", required=True, help="code of its station")
    admit.add_argument(
        "--create", nargs="*", metavar="KEY=VALUE", help="make station (kind, name_zh, name_en) and datastreams that do not exist"
    )
    reject = _command(
        actions, "reject", f"{target}:reject", "refuse a device: no frame of it is stored or answered", machine=True
    )
    reject.add_argument("code", help=identity)
    reject.add_argument("--note", help="why")


def _code_help(register: str, action: str) -> str:
    if register == "key":
        roles = "role of the key: device, operator, viewer, supervisor, analyst, admin or partner (with partner=CODE)"
        return roles if action == "add" else "number of the key, from the list"
    return {
        "sensor": "STATION:SENSOR",
        "datastream": "STATION:PROPERTY or STATION:PROPERTY:CHANNEL",
        "device": "its station, or PROTOCOL:IDENTITY of its frames",
    }.get(register, "code")
