"""Test bwtop --record --metrics: access, and errors for invalid settings."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bwtop.metrics.watch import Watch
from bwtop.model.flows import Identity, Traffic
from bwtop.web.access import Address
from bwtop.web.answer import METRICS
from bwtop.web.scrape import Scraped
from bwtop.web.source import STUCK
from bwtop.web.trusted import TrustedUsers
from tests.build import key, remote, sample
from tests.kernel.running import HANG, command
from tests.web.serving import TOKEN, Asked, bearer


class Exposing(Asked):
    """Run the server in this process."""

    def __init__(self, token: str | None = None, hosts: tuple[str, ...] = ()) -> None:
        trusted = None if token else TrustedUsers(os.geteuid())
        self.scraped = Scraped(Address("127.0.0.1", 0), token, hosts, trusted)
        self.port = self.scraped._server.server_port


@contextmanager
def exposing(token: str | None = None, hosts: tuple[str, ...] = ()) -> Iterator[Exposing]:
    made = Exposing(token, hosts)
    made.scraped.start()
    try:
        yield made
    finally:
        made.scraped._server.shutdown()
        made.scraped._server.server_close()


def test_only_metrics_and_healthz_are_served() -> None:
    with exposing() as made:
        reading = sample(
            {key(1): {remote(): Traffic(1009, 0)}}, identities={key(1): Identity("curl")}
        )
        made.scraped.watch.take(reading, 0.01)
        found = made.ask("/metrics")
        assert (found.status, found.headers["content-type"]) == (200, METRICS)
        assert b'process="curl",protocol="tcp"} 1009.0\n' in found.body
        assert made.ask("/metrics", "HEAD").body == b""
        assert made.ask("/healthz").document == {"status": "ok"}
        assert made.ask("/").status == 404
        assert "/metrics" in made.ask("/api/v1/live").error
        assert made.ask("/metrics", "POST").status == 405
    assert made.scraped.url == f"http://127.0.0.1:{made.port}/metrics"


def test_all_but_healthz_need_the_token() -> None:
    with exposing(TOKEN) as made:
        for path in ("/metrics", "/", "/nothing"):
            assert made.ask(path).status == 401
            assert made.ask(path, headers=bearer("wrong")).status == 401
        assert made.ask("/metrics", headers=bearer()).status == 200
        assert made.ask("/healthz").status == 200


def test_other_sites_are_refused() -> None:
    """Refuse foreign Host names and foreign origins."""
    with exposing(hosts=("bwtop.example",)) as made:
        for path in ("/metrics", "/healthz"):
            assert made.ask(path, host="evil.example").status == 421
            assert made.ask(path, headers={"Origin": "http://evil.example"}).status == 403
            assert made.ask(path, host="bwtop.example:8063").status == 200
            assert made.ask(path, host=f"localhost:{made.port}").status == 200


def test_healthz_fails_while_readings_are_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    with exposing() as made:
        monkeypatch.setattr(Watch, "age", lambda _: 2 + STUCK)
        assert made.ask("/healthz").status == 200
        monkeypatch.setattr(Watch, "age", lambda _: 2.6 + STUCK)
        assert made.ask("/healthz").status == 503
        assert made.ask("/healthz").error == "no reading for 13 seconds"


# Wrong settings.


def refusal(*flags: str, started: list[str] | None = None) -> str:
    """Return its one line of error, printed before it measures."""
    answer = subprocess.run(
        [*(started or command()), "--record", "--db", "/nonexistent/history.db", *flags],
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert (answer.returncode, answer.stdout) == (2, ""), answer
    (line,) = answer.stderr.splitlines()
    return line.removeprefix("bwtop: ")


needs_root = pytest.mark.kernel
"""Without root, the missing rights are the first error."""


@needs_root
@pytest.mark.parametrize("where", ["0.0.0.0:0", "[::]:0", "192.0.2.7:9000"])
def test_beyond_loopback_a_token_is_required(where: str) -> None:
    assert "--token-file" in refusal("--metrics", where)


@needs_root
def test_a_token_file_must_have_a_token_in_it(tmp_path: Path) -> None:
    missing = tmp_path / "token"
    flags = ("--metrics", "127.0.0.1:0", "--token-file", str(missing))
    assert refusal(*flags) == f"No such file or directory: {missing}"
    missing.write_text("short")
    missing.chmod(0o600)
    assert "16 characters" in refusal(*flags)


@needs_root
def test_port_in_use_gets_one_line() -> None:
    with exposing() as made:
        where = f"127.0.0.1:{made.port}"
        assert refusal("--metrics", where) == f"Address already in use: http://{where}/"


@needs_root
def test_without_prometheus_client_it_says_what_to_install() -> None:
    without = (
        "import sys; sys.modules['prometheus_client'] = None;"
        " import bwtop.cli; bwtop.cli.main(sys.argv[1:])"
    )
    said = refusal("--metrics", "127.0.0.1:0", started=[sys.executable, "-c", without])
    assert said.startswith(
        "--metrics needs prometheus_client: apt install python3-prometheus-client"
    )
