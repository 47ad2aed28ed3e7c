"""Damaged and hostile databases: an error of one line, never a traceback, and nothing is overwritten."""

import io
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bwtop.clickhouse.spool import Spool
from bwtop.history import dimensions, ranges
from bwtop.history.query import History
from bwtop.model.filter import Filter
from bwtop.model.filter_fields import made
from bwtop.model.flows import Host, Traffic
from bwtop.output import report
from bwtop.output.notes import notes
from bwtop.output.request import ReportRequest
from bwtop.sqlite import check, checked, connections, errors, follow, recorder, schema
from bwtop.sqlite.errors import HistoryError
from bwtop.sqlite.follow import Follower
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.store import Event
from bwtop.sqlite.writer import DatabaseWriter, RecordingOptions
from tests.build import key, sample
from tests.examples import examples
from tests.history.keep import CURL
from tests.history.named import SITE, learned, named_delta
from tests.history.recording import (
    START,
    Feed,
    Recorders,
    amount,
    answer,
    found,
    is_line,
    rows,
)
from tests.kernel.running import HANG

PAGE = 4096
DAMAGED = 40
FLIPS = 30
SEEDS = examples(50)

HOST = Host("here", "00000000-0000-0000-0000-000000000001")

ODD = ["NULL", "'text'", "CAST(x'ff00fe' AS TEXT)", "x'00ff'", "-1", "9223372036854775807"]
ODD += ["-9223372036854775808", "1e308", "9e999", "-9e999", "''", "'[1, \"x\"]'", "'[[[[1]]]]'"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recorders retry soon, and nothing wait long for a database that cannot be used."""
    monkeypatch.setattr(follow, "PATIENCE", 0.0)
    monkeypatch.setattr(recorder, "RETRY", 0.05)
    monkeypatch.setattr(recorder, "LAST_SECONDS", 0.0)
    monkeypatch.setattr(recorder, "LAST_RETRY", 0.0)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with rows in each table, and several hundred pages."""
    return recorded(tmp_path_factory.mktemp("real"), 240)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with rows in each table, as few as that takes."""
    return recorded(tmp_path_factory.mktemp("few"), 24)


def recorded(folder: Path, samples: int) -> Path:
    """Record two hours in so many samples; return the database."""
    path, recorders = folder / "history.db", Recorders()
    feed = recorders(path, cmdlines=True)
    for _ in range(4):
        feed.put(samples // 4, seconds=7200 / samples)
        feed.wait()
    recorders.close()
    complete(path, "clock", "dropped")
    assert rows(path, "SELECT count(*) > 0 FROM span WHERE level > 0") == [(1,)]
    return path


def complete(path: Path, *events: str) -> None:
    """Add rows to the tables that nothing but events, names and shipping fills."""
    writer = DatabaseWriter(RecordingOptions(path, Policy()))
    assert writer.open() is None
    added = [Event(START, kind, 5.0) for kind in events]
    writer.append([named_delta(START, "www.example.org")], added)
    writer.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        Spool(connection, "server", HOST).begin()
    assert all(rows(path, f"SELECT count(*) FROM {table}") > [(0,)] for table, _ in columns())


@pytest.fixture
def copy(real: Path, path: Path) -> Path:
    """Return a copy of the real database."""
    return Path(shutil.copy(real, path))


def read(path: Path) -> list[str]:
    """Read a database in each way; return the errors."""
    messages = []
    for way in (_report, _follow, _ship):
        try:
            way(path)
        except (HistoryError, sqlite3.Error) as error:
            messages.append(errors.plain(error, path))
    assert all(map(is_line, messages))
    return messages


def _report(path: Path) -> None:
    for by, form in (("process,remote,user", "table"), ("hour", "json"), ("pid", "csv")):
        chosen = [dimensions.parse(name) for name in by.split(",") if name != "pid"]
        keep = made({"pid": [1, 2, 3]}) if by == "pid" else Filter()
        request = ReportRequest(ranges.parse("all", START), by=chosen, keep=keep)
        with closing(History(LocalReader(connections.open_reader(path)))) as history:
            report.run(history, request, form, io.StringIO())


def _follow(path: Path) -> None:
    with closing(Follower(path)) as follower:
        follower._last = 0
        follower.read()


def _ship(path: Path) -> None:
    with closing(connections.open_reader(path)) as connection:
        spool = Spool(connection, "server", HOST)
        spool.waiting()
        spool.batch()


def flip(path: Path, dice: random.Random) -> None:
    """Overwrite some bytes."""
    content = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, FLIPS)):
        content[dice.randrange(len(content))] = dice.randrange(256)
    if dice.random() < 0.2:  # where all that SQLite needs to find anything is
        content[dice.randrange(100)] = dice.randrange(256)
    path.write_bytes(content)


def test_flipped_bytes_are_an_error_or_nothing(
    real: Path, tmp_path: Path, recorders: Recorders
) -> None:
    errors = asides = 0
    for seed in range(SEEDS):
        path = tmp_path / str(seed) / "history.db"
        path.parent.mkdir()
        shutil.copy(real, path)
        flip(path, random.Random(seed))
        before = path.read_bytes()
        errors += len(read(path))
        assert path.read_bytes() == before, f"seed {seed}: a reader wrote"
        feed = recorders(path)
        feed.put(5)
        feed.recorder.close()
        assert all(map(is_line, feed.lines)), f"seed {seed}"
        aside = sorted(path.parent.glob("*.damaged-*[0-9]"))
        asides += len(aside)
        if not feed.recorder.state.fault:
            assert feed.recorder.stored >= 5, f"seed {seed}"
        elif not aside and "damaged" not in feed.recorder.state.fault:
            assert path.exists(), f"seed {seed}"
        shutil.rmtree(path.parent)
    assert errors > SEEDS // 10
    assert asides > 0


def columns() -> Iterator[tuple[str, str]]:
    """Yield all columns; of those with the bytes of a category, which are read in one loop, the first."""
    alike = schema.pulse_columns()[1:]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        for table in tables:
            for row in connection.execute(f"PRAGMA table_info({table})").fetchall():
                if row[1] not in alike:
                    yield table, row[1]


def is_changed(path: Path, whole: Path, table: str, column: str, value: str) -> bool:
    """Copy a database with a value in all rows of a column; return whether the column takes it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(whole, path)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
        suppress(sqlite3.Error),
    ):
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {value}")
        return connection.total_changes > 0
    return False


@pytest.mark.parametrize(("table", "column"), list(columns()))
def test_wrong_value_in_any_column(
    table: str, column: str, few: Path, path: Path, recorders: Recorders
) -> None:
    taken = ""
    for value in ODD:
        if is_changed(path, few, table, column, value):
            taken, before = value, path.read_bytes()
            read(path)
            assert path.read_bytes() == before, value
    assert is_changed(path, few, table, column, taken)
    feed = recorders(path)
    feed.put(3)
    feed.recorder.close()
    assert all(map(is_line, feed.lines))
    assert feed.recorder.lost == 0


@pytest.mark.parametrize("column", ["first", "last"])
def test_wrong_time_of_a_name_that_is_seen_again(
    column: str, few: Path, path: Path, recorders: Recorders
) -> None:
    assert is_changed(path, few, "named", column, "'text'")
    feed = recorders(path)
    feed.clock.go(1)
    one = sample({key(1): {SITE: Traffic(5, 7)}}, identities={key(1): CURL})
    one.learned = [learned("www.example.org")]
    feed.give(one)
    feed.recorder.close()
    assert feed.recorder.aside
    assert rows(path, "SELECT sum(rx), sum(tx) FROM delta") == [(5, 7)]


@pytest.mark.parametrize(
    "hostile",
    [
        "DROP TABLE event; CREATE VIEW event AS WITH RECURSIVE n(time) AS"
        " (SELECT 0 UNION ALL SELECT time FROM n) SELECT 1 AS id, time, 'clock' AS kind, 1 AS amount FROM n",
        "CREATE TRIGGER mine AFTER INSERT ON interval BEGIN DELETE FROM delta; END",
        "DROP TRIGGER span_made; CREATE TRIGGER span_made AFTER INSERT ON span BEGIN DELETE FROM delta; END",
        "CREATE TABLE other (text)",
        "CREATE INDEX other ON delta (abs(rx))",
        "DROP TABLE event; CREATE TABLE event (id, time, kind, amount AS (zeroblob(1000000000)))",
        "DROP TABLE event",
    ],
    ids=["view", "trigger", "changed trigger", "table", "index", "column", "missing"],
)
def test_foreign_objects_are_refused(hostile: str, copy: Path, recorders: Recorders) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.executescript(hostile)
    before = copy.read_bytes()
    errors = read(copy)
    assert len(errors) == 3
    assert all(error.endswith("; move it away or choose another with --db") for error in errors)
    feed = recorders(copy)
    assert feed.recorder.state.is_lasting
    assert feed.recorder.state.fault == errors[0]
    feed.put(3)
    feed.recorder.close()
    assert copy.read_bytes() == before


def overwrite(path: Path) -> None:
    """Overwrite pages of the tables in place."""
    dice = random.Random(1)
    with path.open("r+b") as file:
        for page in dice.sample(range(40, path.stat().st_size // PAGE), DAMAGED):
            file.seek(page * PAGE)
            file.write(dice.randbytes(PAGE))


def set_aside(feed: Feed) -> Path:
    """Check that a history was set aside, and that the recorder said so; return its path."""
    path = feed.recorder.path
    (aside,) = path.parent.glob("history.db.damaged-*[0-9]")
    assert feed.recorder.aside == aside.name
    assert feed.lines == [
        f"not recording: the history is damaged: {path}; measurements wait in memory",
        f"set the damaged history aside as {aside}",
        f"recording to {path} again",
    ]
    assert rows(path, "SELECT kind FROM event") == [("damaged",)]
    (note,) = notes(answer(path, now=feed.clock.wall))
    assert note.startswith("the history was damaged and set aside at ")
    return aside


def test_pages_overwritten_while_recording(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "PERIOD", 0.2)
    monkeypatch.setattr(connections, "WAIT", HANG)  # the test writes, too
    feed = recorders(path)
    feed.put(3000)
    feed.wait()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(path)
    first = feed.next
    feed.until(lambda: feed.recorder.aside)
    feed.put(50)
    feed.wait()
    feed.recorder.close()
    aside = set_aside(feed)
    assert aside.stat().st_size > DAMAGED * PAGE
    there = found(path)
    lost = first + len(range(first, min(there)))
    assert there == {number: amount(number) for number in range(lost, feed.next)}
    assert feed.recorder.lost == 0


def test_damage_is_found_at_the_start(path: Path, recorders: Recorders) -> None:
    """The check goes over all pages, also those that recording does not touch."""
    first = recorders(path)
    first.put(3000)
    first.wait()
    first.recorder.close()
    overwrite(path)
    content = path.read_bytes()
    feed = recorders(path)
    feed.put(5)
    feed.wait(lambda: feed.recorder.aside)
    feed.put(5)
    feed.wait(lambda: feed.recorder.state.recording and not feed.recorder.unwritten.intervals)
    feed.recorder.close()
    set_aside(feed)
    assert len(content) > DAMAGED * PAGE


def test_nothing_set_aside_is_overwritten(path: Path) -> None:
    writer = DatabaseWriter(RecordingOptions(path, Policy()))
    asides = []
    for number in range(3):
        assert writer.open() is None
        aside = writer.set_aside(START)
        assert aside
        assert aside not in asides, number
        asides.append(aside)
    assert all(aside.exists() for aside in asides)
    writer.close()


def test_only_the_holder_of_the_lock_sets_aside(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.put(5)
    feed.wait()
    second = DatabaseWriter(RecordingOptions(path, Policy()))
    assert second.open()
    assert second.set_aside(START) is None
    second.close()
    assert os.listdir(path.parent).count("history.db") == 1


@pytest.mark.parametrize("value", [None, "x", b"x", -1, 2.5, float("nan"), 1 << 70])
def test_checked_values(value: object) -> None:
    with pytest.raises(checked.DamagedError):
        checked.whole(value)
