"""Queries of the full screen, in the process that has the rights of the history's owner."""

from contextlib import closing
from pathlib import Path

import pytest

from bwtop.history.moments import Moment, MomentQuery, unpacked
from bwtop.modes.past import MomentAnswers
from bwtop.options.flags import Options
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
