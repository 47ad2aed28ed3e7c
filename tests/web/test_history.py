"""Test access to the history: unreachable, replaced, busy, or readable."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from bwtop.history.ranges import Range
from bwtop.model.filter import EVERYTHING
from bwtop.sqlite import schema
from bwtop.sqlite.delta import Delta
from bwtop.web import history as module
from bwtop.web.answer import HttpError
from bwtop.web.history import AT_ONCE, LocalHistory
from tests.build import eventually, key, remote
from tests.history.keep import CURL, DAY, NOON, Kept, by, delta, local

RANGE: Final = Range("", NOON - DAY // 2, NOON + DAY // 2)


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
def history_access(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHistory]:
    """Return a history whose connections are closed after the test."""
    opened: list[sqlite3.Connection] = []

    def noted(path: Path) -> sqlite3.Connection:
        opened.append(schema.open_reader(path))
        return opened[-1]

    monkeypatch.setattr(module, "open_reader", noted)
    assert kept.path
    yield LocalHistory(kept.path)
    for connection in opened:
        connection.close()


@pytest.fixture
def beyond(history_access: LocalHistory, monkeypatch: pytest.MonkeyPatch) -> LocalHistory:
    """Return a history whose path became unreachable after `keep`."""
    history_access.keep()
    forbid(monkeypatch)
    return history_access


@pytest.fixture(params=["history_access", "beyond"])
def either(request: pytest.FixtureRequest) -> LocalHistory:
    """Return a history that opens connections, and one with kept connections alone."""
    found: LocalHistory = request.getfixturevalue(request.param)
    return found


def forbid(patch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> sqlite3.Connection:
        raise PermissionError(13, "Permission denied", str(path))

    patch.setattr(module, "open_reader", refuse)


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


def test_each_query_sees_new_records(either: LocalHistory, kept: Kept) -> None:
    """Kept connections are fewer than queries, so that each is reused."""
    for count in range(2 * AT_ONCE + 1):
        assert rx(either) == 5 + count
        kept.append(delta(NOON + 1 + count, 1, 0))
    assert rx(either) == 6 + 2 * AT_ONCE


def test_query_has_one_snapshot(history_access: LocalHistory, kept: Kept) -> None:
    with history_access.history() as history:
        before = history.ask(RANGE, by("process"), EVERYTHING, RANGE.end)
        kept.append(delta(NOON + 1, 100, 0))
        assert history.ask(RANGE, by("process"), EVERYTHING, RANGE.end).rx == before.rx == 5
    assert rx(history_access) == 105


def test_queries_do_not_block_the_checkpoint(either: LocalHistory, kept: Kept) -> None:
    kept.connection.execute("PRAGMA busy_timeout = 0")
    assert is_free(kept), "kept connections hold no snapshot"
    for count in range(2 * AT_ONCE):
        kept.append(delta(NOON + 1 + count, 1, 0))
        with either.history() as history:
            history.extent()
            kept.append(delta(NOON + 10 + count, 1, 0))
            assert not is_free(kept), "a query that is being answered does"
        assert is_free(kept)


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("no\nway"), OSError(5, "bad"), schema.HistoryError("old")]
)
def test_read_error_is_one_line_and_frees_its_turn(
    error: Exception, either: LocalHistory, kept: Kept
) -> None:
    for _ in range(2 * AT_ONCE):
        with pytest.raises(HttpError) as raised, either.history():
            raise error
        assert raised.value.status is HTTPStatus.SERVICE_UNAVAILABLE
    for _ in range(2 * AT_ONCE):
        assert rx(either) == 5
    kept.append(delta(NOON + 1, 1, 0))
    assert is_free(kept)


def test_internal_error_passes_and_frees_its_turn(beyond: LocalHistory) -> None:
    for _ in range(2 * AT_ONCE):
        with pytest.raises(ZeroDivisionError), beyond.history():
            raise ZeroDivisionError
    with beyond.history(), beyond.history():
        pass
    assert rx(beyond) == 5


def test_unreachable_history_that_was_not_kept_is_refused(
    history_access: LocalHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch)
    assert refused(history_access) == f"Permission denied: {history_access.path}"
    assert refused(history_access), "and again: no turn is lost"


def test_queries_at_once_are_limited(either: LocalHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    assert AT_ONCE == 2
    with either.history() as one, either.history() as other:
        assert one is not other
        assert one.extent() == other.extent()
        with (
            pytest.raises(HttpError, match="too many queries at once") as error,
            either.history(),
        ):
            pass
        assert dict(error.value.headers)["Retry-After"]
    assert rx(either) == 5


def test_further_queries_wait_for_their_turn(beyond: LocalHistory) -> None:
    lock = threading.Lock()
    now = most = 0

    def ask() -> int:
        nonlocal now, most
        with beyond.history() as history:
            with lock:
                now += 1
                most = max(most, now)
            found = history.ask(RANGE, by("process"), EVERYTHING, RANGE.end).rx
            with lock:
                now -= 1
        return found

    with ThreadPoolExecutor(16) as pool:
        assert {future.result(30) for future in [pool.submit(ask) for _ in range(64)]} == {5}
    assert 1 <= most <= AT_ONCE


@pytest.mark.parametrize("which", ["history_access", "beyond"])
def test_query_stops_when_its_client_leaves_or_its_time_is_over(
    which: str, kept: Kept, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Test a query of several STEPS: the next one has its turn, and its own limits."""
    history_access: LocalHistory = request.getfixturevalue(which)
    far = {remote(f"10.0.{n >> 8}.{n & 255}"): (1, 0) for n in range(5000)}
    kept.append(Delta(NOON + 1, 1.0, {(key(1), CURL): far}))
    is_gone = threading.Event()

    def ask() -> int:
        with history_access.history(is_gone=is_gone.is_set) as history:
            return history.ask(RANGE, by("remote"), EVERYTHING, RANGE.end).rx

    for _ in range(2 * AT_ONCE):
        assert ask() == 5005
        is_gone.set()
        with pytest.raises(HttpError, match="stopped"):
            ask()
        is_gone.clear()
    monkeypatch.setattr(module, "SECONDS", 0)
    with pytest.raises(HttpError, match="choose a shorter range"):
        ask()


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


def test_kept_connections_to_a_replaced_file_are_not_used(
    beyond: LocalHistory, tmp_path: Path
) -> None:
    assert rx(beyond) == 5
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "other").replace(beyond.path)
    assert "Permission denied" in refused(beyond)


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
    for _ in range(2 * AT_ONCE):
        assert words in refused(history_access)


def test_connections_are_closed(history_access: LocalHistory) -> None:
    descriptors = Path("/proc/self/fd")
    rx(history_access)
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        rx(history_access)
    assert eventually(lambda: len(list(descriptors.iterdir())) <= before)
