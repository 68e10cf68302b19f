"""`groundwatch up --demo`, as `make run` starts it: the dashboard lives on simulated data, and nothing is left behind afterwards."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium import webdriver

from service.embedded import mosquitto, postgres
from service.embedded.home import Layout
from tests.service.web.driving import Page
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.page, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
START_S = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def processes_of(home: Path) -> list[int]:
    """Return the processes that carry the home in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home).encode() in words:
            found.append(int(entry.name))
    return found


class Up:
    """One run of `groundwatch up`."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.url = home, f"http://127.0.0.1:{port}"
        self.log = home.parent / f"up-{os.urandom(3).hex()}.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "up", "--demo", "--home", str(home), "--port", str(port)],
                cwd=ROOT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_serving(self) -> None:
        def serving() -> bool:
            assert self.process.poll() is None, self.text()
            try:
                return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(serving, START_S, f"{self.url} serves")

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def json(self, path: str) -> dict[str, object]:
        answer = httpx.get(f"{self.url}{path}", timeout=20)
        assert answer.status_code == 200, answer.text
        body: dict[str, object] = answer.json()
        return body

    def newest(self) -> str:
        """The time of the newest observation of all stations."""
        stations = self.json("/api/v1/stations?limit=1000")["items"]
        assert isinstance(stations, list)
        return max(station["last_time"] or "" for station in stations)


@pytest.fixture(scope="module")
def home(stack_home: Path, stack_packages: Path, stack: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own with the programs that are unpacked already."""
    folder = stack_home / "sessions" / f"{os.getpid()}-up"
    (folder / "home" / "embedded").mkdir(parents=True)
    (folder / "home" / "embedded" / "packages").symlink_to(stack_packages)
    yield folder / "home"
    for pid in processes_of(folder / "home"):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Up]:
    up = Up(home, free_port())
    up.wait_until_serving()
    yield up
    if up.process.poll() is None:
        up.process.send_signal(signal.SIGINT)
        up.process.wait(timeout=60)


def test_the_addresses_and_the_password_are_shown_once(running: Up) -> None:
    wait_until(lambda: "Ctrl-C" in running.text(), 30, "the addresses are shown")
    text = running.text()
    assert f"dashboard  {running.url}/" in text
    password = re.search(r"log in as {2}admin {2}password (\S+)", text)
    assert password is not None
    answer = httpx.post(f"{running.url}/api/v1/login", json={"name": "admin", "password": password[1]}, timeout=20)
    assert answer.status_code == 200
    assert password[1] not in (running.home / "embedded" / "secrets.json").read_text()


def test_the_page_is_visibly_marked_simulated_and_shows_stations(running: Up, chromium: webdriver.Chrome) -> None:
    page = Page(chromium, running.url)
    page.resize(1440, 900)
    page.open()
    page.until(lambda: len(page.all("#map [data-station]")) > 10, "stations are on the map", 30)
    assert re.search("模拟|simulated", page.text("body"), re.IGNORECASE)
    page.resize(390, 844)
    page.until(
        lambda: chromium.execute_script("return document.documentElement.scrollWidth <= innerWidth"),
        "nothing is wider than a phone",
    )


def test_live_observations_arrive_and_analytics_and_alerts_follow(running: Up) -> None:
    before = running.newest()
    wait_until(lambda: running.newest() > before, 60, "a live observation arrived")
    wait_until(lambda: sum(running.json("/api/v1/summary")["alerts"].values()) > 0, 120, "an alert fires")  # type: ignore[attr-defined]


def test_a_port_that_is_taken_is_named_with_the_remedy(running: Up) -> None:
    port = running.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "up", "--demo", "--home", str(running.home), "--port", port],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert port in done.stderr
    assert "Remedy" in done.stderr


def test_a_part_that_is_killed_is_started_again(running: Up) -> None:
    found = re.search(r"ingest started as process (\d+)", running.text())
    assert found is not None
    os.kill(int(found[1]), signal.SIGKILL)
    wait_until(lambda: len(re.findall(r"ingest started as process", running.text())) == 2, 30, "ingest is started again")


def test_database_and_broker_that_are_killed_are_started_again_and_everything_goes_on(running: Up) -> None:
    layout = Layout.of(running.home, None)
    for server in (postgres.running(layout), mosquitto.running(layout)):
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: "was started again" in running.text(), 60, "the servers are started again")
    wait_until(lambda: httpx.get(f"{running.url}/readyz", timeout=20).status_code == 200, 90, "the node is ready again")
    before = running.newest()
    wait_until(lambda: running.newest() > before, 60, "a live observation arrived")


def test_ctrl_c_stops_all_and_a_second_run_keeps_the_data(running: Up) -> None:
    before = running.json("/api/v1/summary")["datastreams"]
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(timeout=60) == 0
    wait_until(lambda: not processes_of(running.home), 30, "every process has ended")
    again = Up(running.home, free_port())
    again.wait_until_serving()
    assert again.json("/api/v1/summary")["datastreams"] == before
    assert "password" not in again.text().partition("log in as")[2]
    os.kill(again.process.pid, signal.SIGKILL)
    again.process.wait()
    wait_until(lambda: not processes_of(running.home), 60, "every child of the killed parent has ended")
