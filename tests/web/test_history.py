"""Test access to the history: unreachable, replaced, or readable, in this process and in those of queries."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from bwtop.history.ranges import Range
from bwtop.model.filter import EVERYTHING
from bwtop.sqlite import errors
from bwtop.web import history as module
from bwtop.web import reports
from bwtop.web.access import HttpRequest
from bwtop.web.answer import HttpError
from bwtop.web.history import LocalHistory
from bwtop.web.reports import Reports
from tests.build import eventually
from tests.history.keep import DAY, NOON, Kept, by, delta, local
from tests.processes import descriptors_of, until

RANGE: Final = Range("", NOON - DAY // 2, NOON + DAY // 2)
WHEN: Final = "range=2026-09-21"
"""The same, for a request."""

QUERIES: Final = 3


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with local("UTC"):
        yield


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(path=tmp_path / "history.db")
    made.append(delta(NOON, 5, 3))
    yield made
    made.connection.close()


@pytest.fixture
def history_access(kept: Kept) -> LocalHistory:
    assert kept.path
    return LocalHistory(kept.path)


@pytest.fixture(params=["reachable", "beyond"])
def either(request: pytest.FixtureRequest, history_access: LocalHistory) -> Iterator[Reports]:
    """Return reports that open the history, and some whose path became unreachable after `keep`."""
    made = Reports(history_access, beyond(history_access) if request.param == "beyond" else int)
    made.start()
    yield made
    made.close()


def beyond(history_access: LocalHistory) -> Callable[[], None]:
    """Return what makes a path unreachable in the process that calls it, after `keep`."""

    def prepare() -> None:
        history_access.keep()
        forbid(pytest.MonkeyPatch())

    return prepare


def forbid(patch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> sqlite3.Connection:
        raise PermissionError(13, "Permission denied", str(path))

    patch.setattr(module, "open_reader", refuse)


def asked(made: Reports) -> int:
    with made.ask(reports.TOTALS, HttpRequest("GET", "/", WHEN, Message())) as found:
        return int(json.load(found)["total"]["rx"])


def rx(history_access: LocalHistory) -> int:
    with history_access.history() as history:
        return history.ask(RANGE, by("process"), EVERYTHING, RANGE.end).rx


def refused(history_access: LocalHistory) -> str:
    with pytest.raises(HttpError) as error, history_access.history():
        pass
    assert error.value.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert "\n" not in error.value.why
    return error.value.why


def is_free(kept: Kept) -> bool:
    """Return True if the log can be checkpointed: no reader holds a snapshot."""
    busy, _, _ = kept.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0]
    return not busy


def test_each_query_sees_new_records_and_blocks_no_checkpoint(either: Reports, kept: Kept) -> None:
    kept.connection.execute("PRAGMA busy_timeout = 0")
    assert is_free(kept), "a kept connection holds no snapshot"
    for count in range(QUERIES):
        assert asked(either) == 5 + count
        kept.append(delta(NOON + 1 + count, 1, 0))
        assert asked(either) == 6 + count
        until(lambda: is_free(kept))  # the process of the query has ended


def test_query_has_one_snapshot(history_access: LocalHistory, kept: Kept) -> None:
    kept.connection.execute("PRAGMA busy_timeout = 0")
    with history_access.history() as history:
        before = history.ask(RANGE, by("process"), EVERYTHING, RANGE.end)
        kept.append(delta(NOON + 1, 100, 0))
        assert not is_free(kept)
        assert history.ask(RANGE, by("process"), EVERYTHING, RANGE.end).rx == before.rx == 5
    assert rx(history_access) == 105


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("no\nway"), OSError(5, "bad"), errors.HistoryError("old")]
)
def test_read_error_is_one_line_and_ends_the_snapshot(
    error: Exception, history_access: LocalHistory, kept: Kept
) -> None:
    with pytest.raises(HttpError) as raised, history_access.history():
        raise error
    assert raised.value.status is HTTPStatus.SERVICE_UNAVAILABLE
    kept.append(delta(NOON + 1, 1, 0))
    assert is_free(kept)


def test_unreachable_history_that_was_not_kept_is_refused(
    history_access: LocalHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch)
    assert refused(history_access) == f"Permission denied: {history_access.path}"


def test_replaced_file_is_noticed(history_access: LocalHistory, tmp_path: Path) -> None:
    """A replaced file is noticed also with the old one open."""
    history_access.keep()
    assert rx(history_access) == 5
    other = Kept(path=tmp_path / "other.db")
    other.append(delta(NOON, 77, 0))
    other.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.connection.close()
    for suffix in ("-wal", "-shm"):
        history_access.path.with_name(history_access.path.name + suffix).unlink(missing_ok=True)
    (tmp_path / "other.db").replace(history_access.path)
    assert rx(history_access) == 77


def test_kept_connection_to_a_replaced_file_is_not_used(
    history_access: LocalHistory, tmp_path: Path
) -> None:
    made = Reports(history_access, beyond(history_access))
    made.start()
    assert asked(made) == 5
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "other").replace(history_access.path)
    with pytest.raises(HttpError, match="Permission denied"):
        asked(made)
    made.close()


def test_history_may_be_created_later(tmp_path: Path) -> None:
    history_access = LocalHistory(tmp_path / "history.db")
    history_access.keep()
    assert refused(history_access) == "nothing has been recorded yet; run: sudo bwtop"
    kept = Kept(path=tmp_path / "history.db")
    kept.append(delta(NOON, 9, 0))
    assert rx(history_access) == 9
    kept.connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.touch, "nothing has been recorded yet"),
        (Path.mkdir, "is not a regular file"),
        (lambda path: path.write_text("this is no database\n" * 100), "is not a history of bwtop"),
    ],
)
@pytest.mark.parametrize("keeping", [False, True])
def test_invalid_history_gets_its_own_error(
    make: Callable[[Path], object], words: str, keeping: bool, tmp_path: Path
) -> None:
    path = tmp_path / "history.db"
    make(path)
    history_access = LocalHistory(path)
    if keeping:
        history_access.keep()
    assert words in refused(history_access)


def test_connections_are_closed(history_access: LocalHistory) -> None:
    files = re.escape(str(history_access.path))  # and the log's
    rx(history_access)
    before = len(descriptors_of(files))
    for _ in range(20):
        rx(history_access)
    assert eventually(lambda: len(descriptors_of(files)) <= before)
