"""Test the OpenAPI description: complete, valid, and true of real answers."""

import http.client
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop import __version__
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.metrics.exposition import Exposition
from bwtop.metrics.watch import Watch
from bwtop.model.flows import Traffic
from bwtop.web import files, openapi
from bwtop.web.access import AccessPolicy, Address, HttpRequest
from bwtop.web.answer import HttpResponse
from bwtop.web.api import ROUTES, Api
from bwtop.web.broadcaster import Broadcaster
from bwtop.web.history import LocalHistory
from bwtop.web.params import LONGEST
from bwtop.web.server import WebServer
from bwtop.web.source import LiveSource
from bwtop.web.trusted import Everyone
from tests.build import key, sample
from tests.history.keep import NOON, PROGRAMS, REMOTES, Kept, delta

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)

STREAM: Final = "/api/v1/stream"
"""The stream never ends, so tools that wait for a complete answer cannot test it."""

EXAMPLES: Final = 30


class Nothing:
    """Its samples come from the test."""

    def read(self) -> Any:
        raise AssertionError


@contextmanager
def serving(database: Path, clock: Iterator[float]) -> Iterator[tuple[str, set[str]]]:
    """Run a server open to all users; yield its URL and the requested paths.

    Its clock returns the first time at start, the second for an interval, and the later ones for requests.
    """
    asked: set[str] = set()

    def respond(request: HttpRequest) -> HttpResponse:
        asked.add(request.path)
        return api.respond(request)

    server = WebServer(Address("127.0.0.1", 0))
    broadcaster, source = Broadcaster(None, clock.__next__), LiveSource()
    metrics = Exposition(Watch())
    source.set(
        Measurement(
            readings=Nothing(),
            backend="tracepoint",
            status=lambda: Status("recorded"),
            close=lambda _: None,
        )
    )
    policy = AccessPolicy(server.address, None, trusted=Everyone())
    api = Api(
        policy,
        files.load(None, {}),
        broadcaster,
        source,
        LocalHistory(database),
        None,
        1.0,
        metrics,
    )
    broadcaster.start()
    traffic = {key(10): {far: Traffic(5, 3) for far in REMOTES}}
    broadcaster.put(sample(traffic, identities={key(10): PROGRAMS[0]}), "tracepoint")
    server.start(respond)
    try:
        yield server.address.url().rstrip("/"), asked
    finally:
        broadcaster.close()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openapi") / "history.db"
    kept = Kept(path=path)
    for number, who in enumerate(PROGRAMS):
        kept.append(*(delta(NOON + number, who=who, far=far) for far in REMOTES))
    kept.connection.close()
    return path


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found = json.loads(json.dumps(openapi.describe(ROUTES, __version__)))
    assert isinstance(found, dict)
    return found


def test_every_route_is_described_with_every_parameter(document: dict[str, Any]) -> None:
    assert list(document["paths"]) == [route.path for route in ROUTES]
    for route in ROUTES:
        (method, operation) = next(iter(document["paths"][route.path].items()))
        assert method == "get"
        assert operation["summary"] == route.help
        assert [(p["name"], p["in"], p["description"]) for p in operation["parameters"]] == [
            (param.name, "query", param.help) for param in route.params
        ]


def test_parameters_have_their_defaults_and_limits(document: dict[str, Any]) -> None:
    for route in ROUTES:
        described = document["paths"][route.path]["get"]["parameters"]
        for param, found in zip(route.params, described, strict=True):
            schema = found["schema"]
            assert schema["type"] == "string"
            assert schema["maxLength"] <= LONGEST
            assert schema.get("default", "") == param.default
            assert found["example"] == param.example
            assert re.compile(schema.get("pattern", ""))
            assert not found.get("required"), "each may be left out"


def test_answers_have_their_types_and_all_refusals_are_there(document: dict[str, Any]) -> None:
    for route in ROUTES:
        responses = document["paths"][route.path]["get"]["responses"]
        assert {"400", "401", "403", "404", "421", "503"} <= responses.keys()
        if route.path == "/login":
            assert "303" in responses
        else:
            assert list(responses["200"]["content"]) == [route.type.partition(";")[0]]


def test_description_has_the_security_of_each_route(document: dict[str, Any]) -> None:
    for route in ROUTES:
        security = document["paths"][route.path]["get"]["security"]
        assert ({"token": []} not in security) == route.is_open
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_it_is_openapi(document: dict[str, Any]) -> None:
    """Load it with another program, which validates it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        import schemathesis

        loaded = schemathesis.openapi.from_dict(document)
        loaded.validate()
        operations: list[Any] = list(
            loaded.get_all_operations()
        )  # results: one that is none raises
        found = {result.ok().path for result in operations}
    assert document["openapi"] == "3.1.0"
    assert found == {route.path for route in ROUTES}


def fuzz(url: str, where: Path) -> str:
    """Run schemathesis in a process of its own: warnings of its dependencies would be errors here."""
    command = [
        *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli", "--no-color", "run"),
        *(f"{url}/api/v1/openapi.json", "--checks", ",".join(CHECKS)),
        *("--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"),
        *("--seed", "1", "--suppress-health-check", "all", "--request-timeout", "10"),
        *("--exclude-path", STREAM, "--continue-on-failure", "--no-shrink"),
    ]
    found = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, cwd=where
    )
    said = found.stdout + found.stderr
    assert found.returncode == 0, said[-8000:]
    return said


def test_answers_to_any_request_are_as_described(
    database: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(database, repeat(0.0)) as (url, asked):
        said = fuzz(url, tmp_path)
    assert asked >= {route.path for route in ROUTES} - {STREAM}
    assert int(re.findall(r"(\d+) generated", said)[0]) > EXAMPLES * 5, said
    assert "could not be answered" not in capfd.readouterr().err


def test_too_long_an_address_is_answered_as_described(
    database: Path, document: dict[str, Any]
) -> None:
    """Parameters within their limits can exceed the URL limit: a character may take 12 bytes."""
    with serving(database, repeat(0.0)) as (url, _):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", f"/api/v1/live?filter={'%F0%9F%98%8D' * LONGEST}")
        with closing(connection), connection.getresponse() as answer:
            assert answer.status == HTTPStatus.REQUEST_URI_TOO_LONG
            assert answer.headers["Content-Type"] == "application/json"
            assert json.load(answer) == {"error": "URL too long"}
    for path in document["paths"].values():
        assert "414" in path["get"]["responses"]


def test_unhealthy_answers_are_as_described(database: Path, document: dict[str, Any]) -> None:
    with serving(database, chain([0.0, 0.0], repeat(1000.0))) as (url, _):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/healthz")
        with closing(connection), connection.getresponse() as answer:
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
            found = json.load(answer)
    response = document["paths"]["/healthz"]["get"]["responses"]["503"]
    required = response["content"]["application/json"]["schema"].get("required", [])
    assert found["error"] == "no interval for 1000 seconds"
    assert set(required) <= found.keys()
