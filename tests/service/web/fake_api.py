"""A server with the shapes of /api/v1 over `Network`, for tests of the page: real HTTP, real CSP, no database.

This file finishes with `FakeApi`.
"""

from __future__ import annotations

import json
import mimetypes
import queue
import threading
from collections import defaultdict
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from service.api.web_pages import PAGES, WEB, page_html
from tests.service.web.fake_cases import FakeHandling
from tests.service.web.fake_devices import FakeDevices
from tests.service.web.fake_network import NOW, Network, stamp

CSP = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'"
)
ACCOUNTS = {
    "wang": ("geology-2026", "王工", "supervisor"),
    "lin": ("lin-2026", "林工", "supervisor"),
    "guest": ("guest-2026", "访客", "viewer"),
    "zhao": ("zhao-2026", "赵工", "analyst"),
}
PERMISSIONS = {
    "supervisor": [
        "read",
        "read_rules",
        "acknowledge",
        "confirm",
        "write_rules",
        "write_events",
        "read_cases",
        "handle_cases",
        "read_quarantine",
    ],
    "analyst": ["read", "read_rules", "read_cases", "read_quarantine", "manage_devices", "override_quality"],
    "viewer": ["read", "read_rules"],
}


INSIDE = {"cases", "receivers", "notifications", "silences", "devices"}
WHOLE = {"regions", "properties", "rules"}
# what the real service takes: it refuses any other parameter
KNOWN = {
    "node": set(),
    "summary": set(),
    "regions": set(),
    "properties": set(),
    "rules": set(),
    "results": {"points", "horizon_a"},
    "revisions": {"time"},
    "overrides": {"datastream", "limit"},
    "observations": {"datastream", "from", "to", "resolution", "points", "limit", "after", "columns"},
    "findings": {"datastream", "station", "kind", "limit", "after"},
    "decision": set(),
    "cases": {"state", "overdue", "alert", "limit", "after"},
    "ledger.xlsx": {"lang"},
    "attachments": {"filename"},
    "alarm-quality": {"from", "to"},
    "cannot-tell": {"limit", "rule", "reason", "station"},
    "blind-hours": {"only", "station", "from", "to"},
    "silences": {"in_force", "kind"},
    "partner-answers": {"overdue", "partner"},
}


UNKNOWN = [
    {"rule": "head_low", "rule_name_zh": "承压水位低于控制水位", "rule_name_en": "Head", "scope": "JX-OW-01:head", "station": "JX-OW-01",
     "station_name_zh": "一号井", "station_name_en": "Well 1", "reason": "no_usable_value", "reason_zh": "最新观测不可用",
     "reason_en": "the newest observation is not usable", "event_time": "2026-03-01T00:00:00Z", "evaluated_at": "2026-03-01T00:00:00Z"}
]  # fmt: skip
BLIND = [
    {"station": "JX-GT-02", "station_name_zh": "二号地热井", "station_name_en": "Geothermal 2", "blind_h": 26.0, "standing": "unknown",
     "blind_now": ["JX-GT-02:wellhead_temperature"], "no_interval": [], "datastreams": []}
]  # fmt: skip
FOREIGN = {
    "id": 7, "partner": "320509", "partner_name": {"zh": "苏州市吴江区", "en": "Wujiang"}, "sender": "wujiang.example.cn",
    "identifier": "32050900000000_20260301080000_0", "state": "active", "status": "Actual", "level": 3, "level_word": "orange", "peak_level": 3,
    "headline": {"zh": "盛泽漏斗橙色预警", "en": "Orange alert: Shengze funnel"}, "explanation": {"zh": "年速率 22 mm/a", "en": "22 mm/a"},
    "instruction": {"zh": "核查开采", "en": "inspect pumping"}, "event": {"zh": "地面沉降", "en": "subsidence"},
    "area": [{"description": "盛泽镇", "polygons": [], "circles": ["30.9,120.66 2"], "geocodes": {}}], "sent": "2026-03-01T00:00:00Z",
    "received_at": "2026-03-01T00:00:02Z", "onset": "2026-02-28T16:00:00Z", "expires": "2026-05-30T00:00:00Z", "incomplete": False,
    "acknowledged": False, "acknowledged_by": None, "acknowledged_at": None, "acknowledgements": [],
    "messages": [{"identifier": "32050900000000_20260301080000_0", "message_type": "Alert", "sent": "2026-03-01T00:00:00Z"}],
}  # fmt: skip
TRIAL = {
    "ok": True, "rule": "subsidence_rate", "alerts": 7, "scopes": 12, "by_level": {"yellow": 7}, "note": "",
    "summary": {"zh": "12 个数据流中 3 处共触发 7 次", "en": "would have fired 7 times at 3 of 12 datastreams"},
    "episodes": [{"scope": "JX-GN-01:displacement_up_rate_12mo", "onset": "2025-03-01T00:00:00+00:00", "ended": None, "level": "yellow"}],
    "cannot_tell": [], "cannot_tell_total": 2, "budget": {"source": "ISA-18.2", "over": False},
    "receivers": [{"receiver": "staff", "alerts": 9, "of_rule": 7, "before": 2, "held": {"grouped": 3},
                   "mean_per_day": 0.02, "worst_day_alerts": 1, "over": []}],
}  # fmt: skip


def network_event(number: int, body: dict[str, Any]) -> dict[str, Any]:
    """The event that an answer to a proposed step becomes."""
    effect = {"confirm": "offset", "refuse": "no_offset"}[body["decision"]]
    return {"id": 90 + number, "station": "JX-GN-01", "datastream": None, "kind": body["kind"], "start": stamp(NOW - timedelta(days=1501)),
            "end": None, "effect": effect, "size": None, "note": body["note"], "author": "wang"}  # fmt: skip


class ProblemError(Exception):
    """An answer in problem details."""

    def __init__(self, status: int, code: str, detail: str = "", remedy: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.body = {
            "type": f"urn:groundwatch:problem:{code}",
            "title": code,
            "status": status,
            "detail": detail,
            "remedy": remedy,
        }


OWED = [
    {
        "partner": "wujiang", "partner_name": {"zh": "苏州市吴江区", "en": "Wujiang"}, "alert": "A", "alert_id": 1, "level_word": "orange",
        "scope": "BM1:height", "identifier": f"33040000000000_2026030108000{n}_0", "since": stamp(NOW),
        "delivered_at": None if n else stamp(NOW),
        "due_at": stamp(NOW), "overdue": n == 0, "told": "县局" if n == 0 else None,
    }
    for n in (0, 1)
]  # fmt: skip
"""One answer that is overdue and told on, and one that is not yet due and not even delivered."""


class FakeApi:
    """Serve the page and a network on a free loopback port; `failures` maps a path to a status, `closed` asks for login."""

    def __init__(self) -> None:
        self.network = Network()
        self.handling = FakeHandling(ProblemError)
        self.devices = FakeDevices(ProblemError)
        self.foreign = dict(FOREIGN)
        self.failures: dict[str, int] = {}
        self.closed = False
        self.streaming = True
        self.requests: dict[str, int] = defaultdict(int)
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.rule_changes: list[str] = []
        self.listeners: list[queue.Queue[str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        for listener in self.listeners:
            listener.put(None)
        self._server.shutdown()
        self._server.server_close()

    def push(self, event: str, data: dict[str, Any]) -> None:
        """Send a server-sent event to every open page."""
        for listener in self.listeners:
            listener.put(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    def hang_up(self) -> None:
        """Close every event stream and refuse new ones."""
        self.streaming = False
        for listener in self.listeners:
            listener.put(None)

    # ------------------------------------------------------------ routes

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, who: str | None) -> Any:
        """Return the JSON of one request, or raise `ProblemError`."""
        self.requests[path] += 1
        unknown = set(query) - KNOWN.get(path.removeprefix("/api/v1/").split("/")[-1], {"state", "limit", "after"})
        if unknown:
            raise ProblemError(400, "request", f"unknown parameter {sorted(unknown)}")
        if path in self.failures:
            raise ProblemError(self.failures[path], "unavailable", "the database is out of reach", "wait and try again")
        parts = [unquote(part) for part in path.removeprefix("/api/v1/").split("/")]
        if method in {"PATCH", "PUT"} and parts[0] == "rules":
            self._permit(who, "write_rules")
            self.rule_changes.append(json.dumps(body, sort_keys=True))
            return {**self.network.rules[0], **body}
        if method == "DELETE" and parts[:2] == ["observations", "overrides"]:
            self._permit(who, "override_quality")
            return self.devices.withdraw(parts[2])
        if (parts[0] in INSIDE or parts[-1] == "verdict") and (who is None or "read_cases" not in self.me(who)["permissions"]):
            raise ProblemError(403, "permission-denied", "the role may not")
        ours = self.handling.get(parts, query) if method == "GET" else self.handling.post(parts, query, body, who or "")
        ours = ours if ours is not None else self.devices.get(parts) if method == "GET" else self.devices.post(parts, body)
        if ours is not None:
            self.posted += [(path, body)] if method == "POST" else []
            return ours
        if method == "DELETE" and parts[-1] == "shelving":
            return self._decide(int(parts[1]), who, "acknowledge", shelved=None)
        if method == "POST":
            self.posted.append((path, body))
            return self._post(parts, body, who)
        if self.closed and who is None and parts[0] != "node":
            raise ProblemError(401, "authentication", "log in")
        first = {name: values[0] for name, values in query.items()}
        return self._get(parts, first)

    def _get(self, parts: list[str], query: dict[str, str]) -> Any:
        network = self.network
        whole = {"node": lambda: network.node, "summary": network.summary, "silent": network.silent}
        lists = {
            "stations": lambda: list(network.stations.values()),
            "properties": lambda: network.properties,
            "rules": lambda: network.rules,
            "regions": lambda: [{"code": "330424", "name_zh": "海盐县", "name_en": "Haiyan", "parent_code": "330400"}],
            "alerts": lambda: [one for one in network.alerts.values() if query.get("state", "firing") in {one["state"], "all"}],
            "findings": lambda: network.findings_of(query.get("datastream"), query.get("station"), query.get("kind")),
            "events": lambda: network.events(query["station"]),
        }
        match parts:
            case [noun] if noun in whole:
                return whole[noun]()
            case [noun] if noun in lists:
                return self._page(lists[noun](), query, f"/api/v1/{noun}")
            case ["foreign-alerts"]:
                return {"items": [self.foreign] if query["state"] == "active" else [], "next": None}
            case ["partner-answers"]:
                return {"items": OWED, "next": None}
            case ["foreign-alerts", "7"]:
                return self.foreign
            case ["cannot-tell"]:
                return {"items": UNKNOWN, "next": None, "total": len(UNKNOWN)}
            case ["blind-hours"]:
                return {"items": BLIND, "next": None, "total_blind_h": 26.0}
            case ["stations", code]:
                own = [one for one in network.datastreams.values() if one["station"] == code]
                return {**self._known(network.stations, code), "sensors": [], "datastreams": own, "events": network.events(code)}
            case ["alerts", number]:
                return self._known(network.alerts, int(number))
            case ["datastreams", code, "results"]:
                return network.results(code, int(query.get("points", 400)))
            case ["datastreams", _, "revisions"]:
                return {"items": [], "next": None}
            case ["observations"]:
                return self._observations(query)
        raise ProblemError(404, "not-found")

    @staticmethod
    def _known(table: dict[Any, dict[str, Any]], key: Any) -> dict[str, Any]:
        if key not in table:
            raise ProblemError(404, "not-found", f"{key} is not known")
        return table[key]

    @staticmethod
    def _page(items: list[dict[str, Any]], query: dict[str, str], path: str) -> dict[str, Any]:
        # pages are kept small, so that the page must follow `next`
        if path.rsplit("/", maxsplit=1)[-1] in WHOLE:
            return {"items": items, "next": None}
        begin = int(query.get("after", 0))
        end = begin + min(int(query.get("limit", 100)), 4)
        rest = "&".join(f"{name}={value}" for name, value in query.items() if name != "after")
        following = f"http://elsewhere.invalid{path}?{rest}&after={end}" if end < len(items) else None
        return {"items": items[begin:end], "next": following}

    def _observations(self, query: dict[str, str]) -> dict[str, Any]:
        code = query["datastream"]
        low, high = (datetime.fromisoformat(query[name]) if name in query else None for name in ("from", "to"))
        known = [one for one in self.network.samples(code) if (low is None or one[0] >= low) and (high is None or one[0] < high)]
        stream = self.network.datastreams[code]
        head = {"datastream": code, "property": stream["property"], "unit": stream["unit"], "direction": stream["direction"],
                "from": query.get("from"), "to": query.get("to"), "as_of": 41, "next": None}  # fmt: skip
        if len(known) <= int(query.get("points", 2000)):
            columns = {"phenomenon_time": [stamp(one[0]) for one in known], "result": [one[1] for one in known],
                       "quality": [one[2] for one in known], "quality_reasons": [one[3] for one in known],
                       "sigma": [None] * len(known), "phenomenon_end": [None] * len(known)}  # fmt: skip
            return {**head, "resolution": "raw", "columns": columns}
        months: dict[datetime, list[float]] = defaultdict(list)
        for time, value, _, _ in known:
            months[time.replace(day=1, hour=0, minute=0) - timedelta(hours=8)].append(value)
        rows = sorted(months.items())
        columns = {"start": [stamp(start) for start, _ in rows], "n": [len(values) for _, values in rows],
                   "mean": [sum(values) / len(values) for _, values in rows], "min": [min(values) for _, values in rows],
                   "max": [max(values) for _, values in rows], "sum": [sum(values) for _, values in rows],
                   "first": [values[0] for _, values in rows], "last": [values[-1] for _, values in rows]}  # fmt: skip
        return {**head, "resolution": "1mo", "zone": "Asia/Shanghai", "columns": columns}

    def me(self, who: str | None) -> dict[str, Any]:
        """Who the token speaks for."""
        if who is None:
            if self.closed:
                raise ProblemError(401, "authentication", "log in")
            return {
                "name": None,
                "display_name": None,
                "role": "viewer",
                "anonymous": True,
                "permissions": PERMISSIONS["viewer"],
                "expires_at": None,
            }
        _, display, role = ACCOUNTS[who]
        return {
            "name": who,
            "display_name": display,
            "role": role,
            "anonymous": False,
            "permissions": PERMISSIONS[role],
            "expires_at": None,
        }

    def _post(self, parts: list[str], body: dict[str, Any], who: str | None) -> Any:
        match parts:
            case ["login"]:
                password, display, role = ACCOUNTS.get(body["name"], (None, None, None))
                if password is None or password != body["password"]:
                    raise ProblemError(401, "authentication", "name or password is wrong")
                return {"token": body["name"], "expires_at": None, "name": body["name"], "display_name": display, "role": role,
                        "permissions": PERMISSIONS[str(role)]}  # fmt: skip
            case ["logout"]:
                return None
            case ["rules", "dry-run"]:
                self._permit(who, "write_rules")
                return TRIAL
            case ["findings", number, "decision"]:
                self._permit(who, "write_events")
                return network_event(int(number), body)
            case ["foreign-alerts", "7", "acknowledgement"]:
                self._permit(who, "acknowledge")
                said = {"identifier": "x", "by": who, "note": body["note"], "at": stamp(NOW), "acknowledged": []}
                self.foreign.update(acknowledged=True, acknowledged_by=who, acknowledged_at=stamp(NOW), acknowledgements=[said])
                return self.foreign
            case ["alerts", number, "shelving"]:
                return self._decide(
                    int(number), who, "acknowledge", shelved={"by": who, "until": body["until"], "reason": body["reason"]}
                )
            case ["alerts", number, "acknowledgement"]:
                return self._decide(
                    int(number),
                    who,
                    "acknowledge",
                    acknowledged_by=who,
                    acknowledged_note=body.get("note"),
                    acknowledged_at=stamp(NOW),
                )
            case ["alerts", number, "confirmation"]:
                return self._decide(
                    int(number), who, "confirm", confirmation=body["decision"], confirmed_by=who, confirmed_at=stamp(NOW)
                )
        raise ProblemError(404, "not-found")

    def _permit(self, who: str | None, permission: str) -> None:
        if who is None:
            raise ProblemError(401, "authentication", "log in")
        if permission not in self.me(who)["permissions"]:
            raise ProblemError(403, "permission-denied", "the role may not")

    def _decide(self, number: int, who: str | None, permission: str, **changes: Any) -> dict[str, Any]:
        self._permit(who, permission)
        alert = self._known(self.network.alerts, number)
        alert.update(changes, updated_at=stamp(NOW))
        return alert

    # ------------------------------------------------------------ HTTP

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
                """Say nothing: what was asked is in `requests`."""

            def do_GET(self) -> None:
                self._run("GET")

            def do_POST(self) -> None:
                self._run("POST")

            def do_PATCH(self) -> None:
                self._run("PATCH")

            def do_PUT(self) -> None:
                self._run("PUT")

            def do_DELETE(self) -> None:
                self._run("DELETE")

            def _run(self, method: str) -> None:
                split = urlsplit(self.path)
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = sent if split.path.endswith("/attachments") else json.loads(sent or b"{}")
                who = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
                if split.path == "/api/v1/stream":
                    self._stream()
                elif split.path == "/api/v1/me":
                    self._json(lambda: api.me(who))
                elif split.path.startswith("/api/v1/"):
                    self._json(lambda: api.answer(method, split.path, parse_qs(split.query), body, who))
                else:
                    self._file(split.path)

            def _json(self, make: Any) -> None:
                try:
                    status, content = 200, make()
                except ProblemError as problem:
                    status, content = problem.status, problem.body
                if isinstance(content, bytes):
                    self._send(200, "application/octet-stream", content)
                    return
                kind = "application/json" if status == 200 else "application/problem+json"
                self._send(status if content is not None else 204, kind, b"" if content is None else json.dumps(content).encode())

            def _file(self, path: str) -> None:
                if path in PAGES:
                    self._send(200, "text/html; charset=utf-8", page_html(PAGES[path]).encode())
                    return
                target = (WEB / path.removeprefix("/assets/")).resolve()
                if not target.is_relative_to(WEB) or not target.is_file():
                    self._send(404, "text/plain", b"")
                    return
                kind = {".js": "text/javascript", ".geojson": "application/geo+json"}.get(target.suffix) or mimetypes.guess_type(
                    target.name
                )[0]
                self._send(200, f"{kind}; charset=utf-8", target.read_bytes())

            def _send(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                for name, value in (
                    ("Content-Type", kind),
                    ("Content-Length", str(len(content))),
                    ("Content-Security-Policy", CSP),
                ):
                    self.send_header(name, value)
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(content)

            def _stream(self) -> None:
                self.close_connection = True
                if not api.streaming:
                    self._send(503, "text/plain", b"")
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                mine: queue.Queue[str | None] = queue.Queue()
                mine.put("event: hello\ndata: {}\n\n")
                api.listeners.append(mine)
                while (text := mine.get()) is not None:
                    try:
                        self.wfile.write(text.encode())
                        self.wfile.flush()
                    except OSError:
                        break
                api.listeners.remove(mine)

        return Handler
