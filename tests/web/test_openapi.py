"""Test the OpenAPI description: complete, valid, and true of real answers."""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop import __version__
from bwtop.metrics.exposition import Exposition
from bwtop.metrics.watch import Watch
from bwtop.model.flows import Traffic
from bwtop.web import files, openapi
from bwtop.web.api import ROUTES
from bwtop.web.params import LONGEST
from bwtop.web.trusted import Everyone
from tests.build import key, sample
from tests.history.keep import NOON, PROGRAMS, REMOTES, Kept, delta
from tests.kernel.running import HANG
from tests.processes import ran
from tests.web.serving import Web

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)

STREAM: Final = "/api/v1/stream"
"""The stream never ends, so tools that wait for a complete answer cannot test it."""

EXAMPLES: Final = 20


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Run a server with a history, an interval and metrics, open to all users."""
    path = tmp_path_factory.mktemp("openapi") / "history.db"
    kept = Kept(path=path)
    for number, who in enumerate(PROGRAMS):
        kept.append(*(delta(NOON + number, who=who, far=far) for far in REMOTES))
    kept.connection.close()
    static, metrics = files.load(None, {}), Exposition(Watch())
    with (
        Web(path, trusted=Everyone(), files=static, metrics=metrics) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(running.broadcaster, "age", lambda: 0.0)
        traffic = {key(10): {far: Traffic(5, 3) for far in REMOTES}}
        running.put(sample(traffic, identities={key(10): PROGRAMS[0]}))
        yield running


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found = json.loads(json.dumps(openapi.describe(ROUTES, __version__)))
    assert isinstance(found, dict)
    return found


def test_every_route_is_described_with_every_parameter(document: dict[str, Any]) -> None:
    """With defaults and limits, types of answers, all refusals, and its security."""
    assert list(document["paths"]) == [route.path for route in ROUTES]
    for route in ROUTES:
        ((method, operation),) = document["paths"][route.path].items()
        assert (method, operation["summary"]) == ("get", route.help)
        for param, found in zip(route.params, operation["parameters"], strict=True):
            named = found["name"], found["in"], found["description"], found["example"]
            assert named == (param.name, "query", param.help, param.example)
            schema = found["schema"]
            assert (schema["type"], schema.get("default", "")) == ("string", param.default)
            assert schema["maxLength"] <= LONGEST
            assert re.compile(schema.get("pattern", ""))
            assert not found.get("required"), "each may be left out"
        responses = operation["responses"]
        assert {"400", "401", "403", "404", "414", "421", "503"} <= responses.keys()
        if route.path == "/login":
            assert "303" in responses
        else:
            assert list(responses["200"]["content"]) == [route.type.partition(";")[0]]
        assert ({"token": []} not in operation["security"]) == route.is_open
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_it_is_openapi(document: dict[str, Any]) -> None:
    """Load it with another program, which validates it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        import schemathesis

        loaded = schemathesis.openapi.from_dict(document)
        loaded.validate()
        operations: list[Any] = list(loaded.get_all_operations())
        found = {result.ok().path for result in operations}  # a result that is none raises
    assert document["openapi"] == "3.1.0"
    assert found == {route.path for route in ROUTES}


def fuzz(url: str, where: Path) -> str:
    """Run schemathesis in a process of its own: warnings of its dependencies would be errors here."""
    command = [
        *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli", "--no-color", "run"),
        *(f"{url}/api/v1/openapi.json", "--checks", ",".join(CHECKS)),
        *("--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"),
        *("--seed", "1", "--suppress-health-check", "all", "--request-timeout", "60"),
        *("--exclude-path", STREAM, "--continue-on-failure", "--no-shrink"),
    ]
    found = ran(command, timeout=10 * HANG, cwd=where)
    said = found.stdout + found.stderr
    assert found.returncode == 0, said[-8000:]
    return said


def test_answers_to_any_request_are_as_described(
    web: Web, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = fuzz(f"http://127.0.0.1:{web.port}", tmp_path)
    assert {asked.path for asked in web.asked} >= {route.path for route in ROUTES} - {STREAM}
    assert int(re.findall(r"(\d+) generated", said)[0]) > EXAMPLES * 5, said
    assert "please report it" not in capfd.readouterr().err


def test_unhealthy_answers_are_as_described(
    web: Web, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.broadcaster, "age", lambda: 1000.0)
    refused = web.ask("/healthz")
    assert (refused.status, refused.error) == (503, "no interval for 1000 seconds")
    response = document["paths"]["/healthz"]["get"]["responses"]["503"]
    required = response["content"]["application/json"]["schema"].get("required", [])
    assert set(required) <= refused.document.keys()
