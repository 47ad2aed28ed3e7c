"""Test bwtop --record --metrics: access, and errors for invalid settings."""

import sys
from pathlib import Path

import pytest

from bwtop.metrics.watch import Watch
from bwtop.web.answer import METRICS
from bwtop.web.source import STUCK
from tests.kernel.running import command
from tests.processes import ran, refused_line
from tests.web.serving import Exposing


def test_only_metrics_and_healthz_are_served() -> None:
    with Exposing() as made:
        found = made.ask("/metrics")
        assert (found.status, found.headers["content-type"]) == (200, METRICS)
        assert b'process="curl",protocol="tcp"} 1009.0\n' in found.body
        assert made.ask("/metrics", "HEAD").body == b""
        assert made.ask("/healthz").document == {"status": "ok"}
        assert made.ask("/").status == 404
        assert "/metrics" in made.ask("/api/v1/live").error
        assert made.ask("/metrics", "POST").status == 405
        assert made.url == f"http://127.0.0.1:{made.port}/metrics"


def test_other_sites_are_refused() -> None:
    """Refuse foreign Host names and foreign origins."""
    with Exposing(hosts=("bwtop.example",)) as made:
        for path in ("/metrics", "/healthz"):
            assert made.ask(path, host="evil.example").status == 421
            assert made.ask(path, headers={"Origin": "http://evil.example"}).status == 403
            assert made.ask(path, host="bwtop.example:8063").status == 200
            assert made.ask(path, host=f"localhost:{made.port}").status == 200


def test_healthz_fails_while_readings_are_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    with Exposing() as made:
        monkeypatch.setattr(Watch, "age", lambda _: 2 + STUCK)
        assert made.ask("/healthz").status == 200
        monkeypatch.setattr(Watch, "age", lambda _: 2.6 + STUCK)
        assert made.ask("/healthz").status == 503
        assert made.ask("/healthz").error == "no reading for 13 seconds"


# Wrong settings.


def refusal(*flags: str, started: list[str] | None = None) -> str:
    """Return its one line of error, printed before it measures."""
    recording = ("--record", "--db", "/nonexistent/history.db")
    return refused_line(ran([*(started or command()), *recording, *flags]))


needs_root = pytest.mark.kernel
"""Without root, the missing rights are the first error."""


def test_beyond_loopback_a_token_is_required(tmp_path: Path) -> None:
    for where in ("0.0.0.0:0", "[::]:0", "192.0.2.7:9000"):
        assert "--token-file" in refusal("--metrics", where)
    token = tmp_path / "token"
    flags = ("--metrics", "127.0.0.1:0", "--token-file", str(token))
    assert refusal(*flags) == f"No such file or directory: {token}"
    token.write_text("short")
    token.chmod(0o600)
    assert "16 characters" in refusal(*flags)


@needs_root
def test_port_in_use_gets_one_line() -> None:
    with Exposing() as made:
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
