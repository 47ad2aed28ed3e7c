"""Queries of the full screen, in the process that has the rights of the history's owner."""

from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import Final

import pytest

from bwtop.history.moments import Moment, MomentQuery, unpacked
from bwtop.modes import common
from bwtop.modes.past import MomentAnswers, access_of
from bwtop.options.flags import Options
from bwtop.web.access import HttpRequest
from bwtop.web.reports import ROWS, TOTALS, Reports
from tests.history.keep import NOON, Kept
from tests.history.named import named_delta


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a history with a name of a remote."""
    kept = Kept(path=tmp_path / "history.db")
    kept.append(named_delta(NOON, "www.example.org"))
    kept.connection.close()
    return tmp_path / "history.db"


def looked_at(options: Options) -> Moment:
    """Return the moment that the screen steps back to first."""
    with closing(MomentAnswers(options, lambda: None).server()) as server:
        server.start()
        head, body = server.ask(MomentQuery(steps=-1).text())
        with body:
            assert not head
            return unpacked(body)


def test_past_has_recorded_names_unless_names_are_not_wanted(path: Path) -> None:
    found = looked_at(Options(db=path)).samples[-1]
    assert [one.name for names in found.named.values() for one in names] == ["www.example.org"]
    plain = looked_at(Options(db=path, no_names=True)).samples[-1]
    assert plain.traffic == found.traffic
    assert not plain.named


QUERIES: Final = (
    "by=remote",
    "by=remote,name",
    "by=name",
    "by=domain",
    "by=process&filter=name:*.org",
)


@pytest.mark.parametrize("kind", [TOTALS, ROWS])
def test_page_has_recorded_names_unless_names_are_not_wanted(path: Path, kind: str) -> None:
    named, plain = (
        reported(Options(db=path, no_names=no_names), kind) for no_names in (False, True)
    )
    assert [b"example.org" in body for body in named] == [True] * 4 + [False]
    assert not [body for body in plain if b"example.org" in body]
    assert all(b"192.0.2.1" in body for body in plain[:-1]), "the address takes its place"
    assert b"curl" in named[-1]
    assert b"curl" not in plain[-1], "a filter finds none either"


def reported(options: Options, kind: str) -> list[bytes]:
    """Return the answers to QUERIES."""
    found = []
    with closing(Reports(*access_of(options, common.history(options), ""))) as reports:
        reports.start()
        for query in QUERIES:
            request = HttpRequest("GET", "/", f"range=all&{query}", Message())
            with reports.ask(kind, request) as body:
                found.append(body.read())
    return found
