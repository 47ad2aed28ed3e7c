"""Test access to the history: unreachable, replaced, busy, or readable."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from subprocess import PIPE
from typing import Final

import pytest

from bwtop.history.ranges import Range
from bwtop.model.filter import EVERYTHING
from bwtop.sqlite import schema
from bwtop.web import history as module
from bwtop.web.answer import HttpError
from bwtop.web.history import AT_ONCE, LocalHistory
from tests.build import eventually, open_writer
from tests.history.keep import DAY, NOON, Kept, by, delta, local

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
def history_access(kept: Kept) -> Iterator[LocalHistory]:
    assert kept.path
    made = LocalHistory(kept.path)
    yield made
    give_back(made)


@pytest.fixture
def beyond(history_access: LocalHistory, monkeypatch: pytest.MonkeyPatch) -> LocalHistory:
    """Return a history whose path became unreachable after `keep`."""
    history_access.keep()
    forbid(monkeypatch)
    return history_access


def forbid(patch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> sqlite3.Connection:
        raise PermissionError(13, "Permission denied", str(path))

    patch.setattr(module, "open_reader", refuse)


def give_back(history_access: LocalHistory) -> None:
    for connection in history_access._kept:
        connection.close()


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


@pytest.mark.parametrize("which", ["history_access", "beyond"])
def test_each_query_sees_new_records(
    which: str, kept: Kept, request: pytest.FixtureRequest
) -> None:
    """Test also kept connections: fewer than queries, so that each is reused."""
    history_access: LocalHistory = request.getfixturevalue(which)
    for count in range(2 * AT_ONCE + 1):
        assert rx(history_access) == 5 + count
        kept.append(delta(NOON + 1 + count, 1, 0))
    assert rx(history_access) == 6 + 2 * AT_ONCE


def test_query_has_one_snapshot(history_access: LocalHistory, kept: Kept) -> None:
    with history_access.history() as history:
        before = history.ask(RANGE, by("process"), EVERYTHING, RANGE.end)
        kept.append(delta(NOON + 1, 100, 0))
        assert history.ask(RANGE, by("process"), EVERYTHING, RANGE.end).rx == before.rx == 5
    assert rx(history_access) == 105


@pytest.mark.parametrize("which", ["history_access", "beyond"])
def test_queries_do_not_block_the_checkpoint(
    which: str, kept: Kept, request: pytest.FixtureRequest
) -> None:
    history_access: LocalHistory = request.getfixturevalue(which)
    kept.connection.execute("PRAGMA busy_timeout = 0")
    for count in range(2 * AT_ONCE):
        kept.append(delta(NOON + 1 + count, 1, 0))
        with history_access.history() as history:
            history.extent()
            kept.append(delta(NOON + 10 + count, 1, 0))
            assert not is_free(kept), "a question that is being answered does"
        assert is_free(kept)


def test_kept_connections_hold_no_snapshot(history_access: LocalHistory, kept: Kept) -> None:
    history_access.keep()
    kept.append(delta(NOON + 1, 1, 0))
    assert is_free(kept)


@pytest.mark.parametrize("which", ["history_access", "beyond"])
@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("no\nway"), OSError(5, "bad"), schema.HistoryError("old")]
)
def test_read_error_is_one_line_and_frees_its_turn(
    which: str, error: Exception, kept: Kept, request: pytest.FixtureRequest
) -> None:
    history_access: LocalHistory = request.getfixturevalue(which)
    for _ in range(2 * AT_ONCE):
        with pytest.raises(HttpError) as raised, history_access.history():
            raise error
        assert raised.value.status is HTTPStatus.SERVICE_UNAVAILABLE
    for _ in range(2 * AT_ONCE):
        assert rx(history_access) == 5
    kept.append(delta(NOON + 1, 1, 0))
    assert is_free(kept)


def test_internal_error_passes_and_frees_its_turn(beyond: LocalHistory) -> None:
    for _ in range(2 * AT_ONCE):
        with pytest.raises(ZeroDivisionError), beyond.history():
            raise ZeroDivisionError
    assert len(beyond._kept) == AT_ONCE
    assert rx(beyond) == 5


def test_unreachable_history_that_was_not_kept_is_refused(
    history_access: LocalHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch)
    assert refused(history_access) == f"Permission denied: {history_access.path}"
    assert refused(history_access), "and again: no turn is lost"


AS_NOBODY: Final = """
import os, sys
from pathlib import Path
from bwtop.web.answer import HttpError
from bwtop.web.history import LocalHistory
from tests.web.test_history import rx

path = Path(sys.argv[1])
history_access = LocalHistory(path)
history_access.keep()
path.parent.chmod(0o700)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for _ in range(5):
    print(rx(history_access), flush=True)
    sys.stdin.readline()
try:
    rx(LocalHistory(path))
except HttpError as refused:
    print(refused.why)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_kept_connections_answer_when_the_file_is_unreachable(kept: Kept) -> None:
    """Open as root, then query as user nobody, who cannot enter the directory."""
    command = [sys.executable, "-B", "-c", AS_NOBODY, str(kept.path)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for count in range(5):
            assert process.stdout.readline() == f"{5 + count}\n"
            assert is_free(kept)
            kept.append(delta(NOON + 1 + count, 1, 0))
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.read() == f"Permission denied: {kept.path}\n"


@pytest.mark.parametrize("which", ["history_access", "beyond"])
def test_queries_at_once_are_limited(
    which: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    history_access: LocalHistory = request.getfixturevalue(which)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    assert AT_ONCE == 2
    with history_access.history() as one, history_access.history() as other:
        assert one is not other
        assert one.extent() == other.extent()
        assert "too many queries at once" in refused(history_access)
    assert rx(history_access) == 5


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
    assert len(beyond._kept) == AT_ONCE


def test_query_that_waits_too_long_gets_retry_after(
    history_access: LocalHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0)
    with history_access.history(), history_access.history():
        with pytest.raises(HttpError) as error, history_access.history():
            pass
        assert dict(error.value.headers)["Retry-After"]


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


def foreign(path: Path) -> str:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    return "is another program's database"


def newer(path: Path) -> str:
    connection = open_writer(path, 0o600)
    connection.execute(f"PRAGMA user_version = {schema.version() + 1}")
    connection.close()
    return "was written by a newer bwtop"


def text(path: Path) -> str:
    path.write_text("this is no database, but it is long enough to be one\n" * 100)
    return "is not a history of bwtop"


def empty(path: Path) -> str:
    path.touch()
    return "nothing has been recorded yet"


def directory(path: Path) -> str:
    path.mkdir()
    return "is not a regular file"


@pytest.mark.parametrize("make", [foreign, newer, text, empty, directory])
@pytest.mark.parametrize("keeping", [False, True])
def test_invalid_history_gets_its_own_error(
    make: Callable[[Path], str], keeping: bool, tmp_path: Path
) -> None:
    path = tmp_path / "history.db"
    words = make(path)
    history_access = LocalHistory(path)
    if keeping:
        history_access.keep()
    assert history_access._kept == []
    for _ in range(2 * AT_ONCE):
        assert words in refused(history_access)


def test_connections_are_closed(history_access: LocalHistory) -> None:
    descriptors = Path("/proc/self/fd")
    rx(history_access)
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        rx(history_access)
    assert eventually(lambda: len(list(descriptors.iterdir())) <= before)
