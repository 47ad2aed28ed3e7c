"""Test that the guide describes the API as its tables do."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from bwtop.options import flags
from bwtop.web import params
from bwtop.web.acceptor import HEAD_SECONDS
from bwtop.web.api import ROUTES
from bwtop.web.server import MAX_STREAMS, SEND_SECONDS

SECTION = (Path(__file__).parents[2] / "man" / "guide" / "web.md").read_text()
PATHS = {route.path: route for route in ROUTES}
EXAMPLES = re.findall(r"(?:localhost|HOST):8064(/[^'\s]+)'?", SECTION)


@pytest.mark.parametrize("path", sorted(set(PATHS) - {"/login"}))
def test_each_route_has_an_example(path: str) -> None:
    assert path in [urlsplit(example).path for example in EXAMPLES]


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e != "/"])
def test_each_example_is_understood(example: str) -> None:
    found = urlsplit(example)
    values = params.read(found.query, PATHS[found.path].params)
    assert values.keys() >= {name for name, _ in parse_qsl(found.query)}


@pytest.mark.parametrize("param", params.STREAM + params.HISTORY, ids=lambda param: param.name)
def test_each_parameter_is_named(param: params.Param) -> None:
    assert re.search(rf"`{param.name}[`=]", SECTION)


def test_what_the_readme_says_of_limits_and_defaults_is_so() -> None:
    assert f"keeps {MAX_STREAMS} pages" in SECTION
    assert f"after {HEAD_SECONDS:.0f} or {SEND_SECONDS:.0f} seconds" in SECTION
    assert f"http://{flags.DEFAULT_HOST}:{flags.DEFAULT_PORT}/" in SECTION
