"""A database is opened, created or migrated; or left as it is, with a reason in one line."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from bwtop.history import tiers
from bwtop.sqlite import connections, schema
from bwtop.sqlite.connections import connect_writer, open_reader
from bwtop.sqlite.errors import HistoryError, plain
from bwtop.sqlite.schema import APPLICATION_ID, MIGRATIONS, statements, version
from tests.build import open_writer
from tests.history.others import as_nobody, needs_root
from tests.processes import descriptors_of

Open = Callable[[Path], sqlite3.Connection]


def _write(path: Path) -> sqlite3.Connection:
    return open_writer(path, 0o600)


both = pytest.mark.parametrize("opened", [_write, open_reader], ids=["writer", "reader"])


def value(connection: sqlite3.Connection, statement: str) -> object:
    return connection.execute(statement).fetchone()[0]


def program(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO program (name, kernel) VALUES ('curl', 0)")


def made(path: Path) -> bytes:
    """Create an idle history with one row; return its bytes."""
    connection = open_writer(path, 0o600)
    program(connection)
    connection.close()
    return path.read_bytes()


def contents(path: Path) -> list[str]:
    """Return the content and the markers of a database."""
    connection = sqlite3.connect(path)
    marks = [str(value(connection, f"PRAGMA {n}")) for n in ("user_version", "application_id")]
    found = [*marks, *connection.iterdump()]
    connection.close()
    return found


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def fails(opened: Open, path: Path, kind: type[Exception]) -> str:
    """Return the error message: one line that names the file."""
    with pytest.raises(kind) as caught:
        opened(path)
    text = plain(caught.value, path)
    assert str(path) in text
    assert len(text.splitlines()) == 1
    return text


# New ones.


def test_new_database_is_an_empty_history(path: Path) -> None:
    connection = open_writer(path, 0o600)
    assert value(connection, "PRAGMA journal_mode") == "wal"
    assert value(connection, "PRAGMA user_version") == version()
    assert value(connection, "PRAGMA application_id") == APPLICATION_ID
    assert value(connection, "PRAGMA auto_vacuum") == 2
    assert value(connection, "PRAGMA synchronous") == 2
    assert value(connection, "PRAGMA temp_store") == 2
    assert 0 < int(str(value(connection, "PRAGMA journal_size_limit"))) < 1 << 30
    assert value(connection, "PRAGMA integrity_check") == "ok"
    assert value(connection, "SELECT count(*) FROM program") == 0
    assert connection.execute("SELECT * FROM level ORDER BY level").fetchall() == [
        (level, 0, 0) for level in range(tiers.COARSEST + 1)
    ]
    assert not connection.in_transaction
    connection.close()
    assert path.read_bytes()[68:72] == b"bwtp", "for file(1)"


FOREIGN: Final[dict[str, tuple[bytes | str, str]]] = {
    "text": (b"#!/bin/sh\necho a tool of the user's\n" * 20, "is not a history of bwtop"),
    "zeros": (bytes(10_000), "is not a history of bwtop"),
    "header": (b"SQLite format 3\0" + bytes(84), "is not a history of bwtop"),
    "table": ("CREATE TABLE cookies (value TEXT)", "is another program's database"),
    "our table": ("CREATE TABLE program (id INTEGER)", "is another program's database"),
    "version": ("PRAGMA user_version = 7", "is another program's database"),
    "id": ("PRAGMA application_id = 12345", "is another program's database"),
    "log": ("PRAGMA journal_mode = WAL; CREATE TABLE a (b)", "is another program's database"),
}
"""Bytes of a file or SQL of a database, and the words that refuse it."""


@both
@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_file_keeps_its_mode_and_content(path: Path, opened: Open, kind: str) -> None:
    """`--db ./tool`, by mistake, removed the permissions of other users from a tool."""
    content, words = FOREIGN[kind]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        other = sqlite3.connect(path)
        other.executescript(content)
        other.close()
    path.chmod(0o757)
    before = path.read_bytes()
    assert words in fails(opened, path, HistoryError)
    assert path.stat().st_mode & 0o777 == 0o757
    assert path.read_bytes() == before
    if kind != "log":
        assert set(files(path)) == {path.name}


def test_history_replaced_while_it_is_opened_keeps_its_mode(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_writer(path, 0o600).close()
    path.chmod(0o644)
    monkeypatch.setattr(connections, "file_id", lambda file: (0, int(isinstance(file, Path))))
    with pytest.raises(HistoryError, match="was replaced while it was being opened"):
        open_writer(path, 0o600)
    assert path.stat().st_mode & 0o777 == 0o644


def test_empty_file_becomes_a_history(path: Path) -> None:
    path.touch(0o644)
    open_writer(path, 0o600).close()
    assert path.stat().st_mode & 0o777 == 0o640, "its group was somebody's wish; all others are not"
    connection = open_reader(path)
    assert value(connection, "PRAGMA user_version") == version()
    assert value(connection, "PRAGMA auto_vacuum") == 2
    connection.close()


@pytest.mark.parametrize(
    "name",
    ["a b.db", "a?mode=memory", "a#b%20c", "é\u202e", "two\nlines", "\udcff.db", "file:x", "&'\";"],
)
def test_any_file_name_works(path: Path, name: str) -> None:
    odd = path.with_name(name)
    made(odd)
    assert odd.exists()
    connection = open_reader(odd)
    assert value(connection, "SELECT name FROM program") == "curl"
    connection.close()


@pytest.mark.parametrize("name", ["/{}/history.db", "history.db"])
def test_path_may_be_relative_or_begin_with_two_slashes(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(path.parent)
    named = Path(name.format(path.parent))
    made(named)
    open_reader(named).close()
    assert path.exists()


# Existing ones.


def test_existing_database_keeps_its_rows(path: Path) -> None:
    made(path)
    before = contents(path)
    for _ in range(3):
        open_writer(path, 0o600).close()
    assert contents(path) == before
    assert "curl" in "".join(before)
    assert set(files(path)) == {"history.db"}, "nothing is left beside it"


def test_reader_cannot_write(path: Path) -> None:
    made(path)
    connection = open_reader(path)
    with pytest.raises(sqlite3.OperationalError):
        program(connection)
    connection.close()


def test_reader_makes_no_database(path: Path) -> None:
    for missing in (path, path.parent / "missing" / "history.db"):
        fails(open_reader, missing, FileNotFoundError)
    assert not files(path)


def test_reader_of_an_empty_file_leaves_it(path: Path) -> None:
    path.touch()
    assert "nothing has been recorded yet" in fails(open_reader, path, HistoryError)
    assert files(path) == {"history.db": b""}


def test_creation_that_was_cut_off_is_not_called_read_only(path: Path) -> None:
    """A kill while the journal mode is being changed leaves a rollback journal, which no reader may roll back."""
    other = sqlite3.connect(path.with_name("other.db"), isolation_level=None)
    other.executescript("PRAGMA cache_size = 1; CREATE TABLE a (b); BEGIN; ")
    other.executemany("INSERT INTO a VALUES (?)", ((bytes(4000),) for _ in range(50)))
    for end in ("", "-journal"):
        shutil.copy(path.with_name(f"other.db{end}"), path.with_name(f"{path.name}{end}"))
    other.close()
    with pytest.raises(sqlite3.OperationalError) as raised:
        open_reader(path)
    assert plain(raised.value, path) == (
        f"the last write was cut off; it is undone when bwtop next records: {path}"
    )


@both
def test_directory_is_no_history(path: Path, opened: Open) -> None:
    path.mkdir()
    text = fails(opened, path, Exception)
    assert "directory" in text or "cannot be" in text


@both
@pytest.mark.parametrize("length", [50, 511, 1024, 5000, 20_480, None])
def test_damaged_database_is_left_as_it_is(path: Path, opened: Open, length: int | None) -> None:
    """Cut to a length, or with other bytes in the place of the schema."""
    content = bytearray(made(path))[:length]
    if length is None:
        content[100:4096] = b"\xa5" * 3996
    path.write_bytes(content)
    assert "damaged" in fails(opened, path, sqlite3.DatabaseError)
    assert path.read_bytes() == content


@both
def test_newer_schema_is_refused_and_left(path: Path, opened: Open) -> None:
    made(path)
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {version() + 1}")
    newer.close()
    before = path.read_bytes()
    text = fails(opened, path, HistoryError)
    assert "newer" in text
    assert f"schema {version() + 1}" in text
    assert f"up to {version()}" in text
    assert path.read_bytes() == before


# Older ones.


def older(path: Path, number: int) -> None:
    """Create a database of an older bwtop, with a row in every table."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    for script in MIGRATIONS[:number]:
        connection.executescript(script)
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    ).fetchall()
    for (table,) in tables:
        columns = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
        connection.execute(
            f"INSERT OR REPLACE INTO {table} VALUES ({', '.join(['1'] * columns)})"  # ids are 1, too
        )
    if number:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {number}")
    connection.close()


def shape(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("number", range(version() + 1))
def test_every_older_schema_becomes_this_one(path: Path, number: int) -> None:
    older(path, number)
    connection = open_writer(path, 0o600)
    assert value(connection, "PRAGMA user_version") == version()
    assert value(connection, "PRAGMA application_id") == APPLICATION_ID
    assert value(connection, "PRAGMA integrity_check") == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for table in ("program", "remote", "flow", "process", "interval", "delta", "pulse"):
        rows = 1 if number else 0
        assert value(connection, f"SELECT count(*) FROM {table}") == rows, table
    connection.close()
    new = path.with_name("new.db")
    open_writer(new, 0o600).close()
    assert shape(path) == shape(new)


@pytest.fixture(name="next_schema")
def _next_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
    ALTER TABLE program ADD COLUMN colour TEXT;
    UPDATE program SET colour = 'green; blue';
    """
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, script))


def test_this_schema_becomes_the_next(path: Path, request: pytest.FixtureRequest) -> None:
    """No migration runs a second time."""
    made(path)
    request.getfixturevalue("next_schema")
    for _ in range(2):
        connection = open_writer(path, 0o600)
        assert connection.execute("SELECT name, colour FROM program").fetchall() == [
            ("curl", "green; blue")
        ]
        assert value(connection, "PRAGMA user_version") == len(MIGRATIONS) + 1
        connection.close()


BROKEN = "CREATE TABLE half (a);\nDELETE FROM program;\nINSERT INTO nowhere VALUES (1);\n"


def test_migration_that_fails_leaves_the_database_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path)
    before = contents(path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, BROKEN))
        assert "nowhere" in fails(_write, path, sqlite3.OperationalError)
    assert contents(path) == before
    open_writer(path, 0o600).close()
    assert contents(path) == before


def test_failure_leaves_no_descriptor_open(path: Path) -> None:
    path.write_text("no database at all")
    kept = []
    for opened in (_write, open_reader):
        with pytest.raises(HistoryError) as caught:
            opened(path)
        kept.append(caught.value)  # and its traceback, with all that its frames hold
    assert not descriptors_of(re.escape(str(path)))


# With others.


@pytest.mark.usefixtures("next_schema")
def test_migration_waits_for_a_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WAIT", 0.01)
    older(path, len(MIGRATIONS))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "locked" in fails(_write, path, sqlite3.OperationalError)
    other.execute("COMMIT")
    other.close()
    open_writer(path, 0o600).close()


@pytest.mark.usefixtures("next_schema")
def test_writer_without_the_lock_leaves_an_older_schema(path: Path) -> None:
    older(path, len(MIGRATIONS))
    before = contents(path)
    connect_writer(path, 0o600).close()
    assert contents(path) == before


def names(path: Path) -> list[object]:
    connection = open_reader(path)
    found = [name for (name,) in connection.execute("SELECT name FROM program ORDER BY id")]
    connection.close()
    return found


def refusal(opened: Open, path: Path) -> str:
    try:
        opened(path)
    except (HistoryError, OSError, sqlite3.Error) as error:
        return plain(error, path)
    return "opened"


@needs_root
def test_idle_database_is_readable_in_a_read_only_directory(public: Path) -> None:
    path = public / "history.db"
    made(path)
    path.chmod(0o644)
    as_nobody(lambda: names(path), ["curl"])
    assert set(files(path)) == {"history.db"}


@needs_root
def test_unreadable_database_is_reported(public: Path) -> None:
    path = public / "history.db"
    before = made(path)
    for mode, refused in ((0o600, (open_reader, _write)), (0o644, (_write,))):
        path.chmod(mode)
        for opened in refused:
            as_nobody(partial(refusal, opened, path), f"Permission denied: {path}")
    assert path.read_bytes() == before


# Words.


TRIGGER = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n DELETE FROM b;\n DELETE FROM c;\nEND;"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("\n \n", []),
        ("\nSELECT\n 1\n;\nSELECT 2;\n", ["SELECT\n 1\n;", "SELECT 2;"]),
        ("SELECT ';';\nSELECT 'a;\n--b';", ["SELECT ';';", "SELECT 'a;\n--b';"]),
        ("CREATE TABLE a ( -- not; here\n b);\n", ["CREATE TABLE a ( -- not; here\n b);"]),
        (f"{TRIGGER}\nSELECT 1;", [TRIGGER, "SELECT 1;"]),
    ],
)
def test_script_is_cut_into_its_statements(script: str, expected: list[str]) -> None:
    assert statements(script) == expected


@pytest.mark.parametrize("number", range(version()))
def test_migrations_are_whole_statements(number: int) -> None:
    """An incomplete statement would be lost silently."""
    script = MIGRATIONS[number]
    assert "".join("".join(statements(script)).split()) == "".join(script.split())


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError(f"what SQLite says about {code}")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, "disk is full"),
        (sqlite3.SQLITE_IOERR_WRITE, "disk cannot"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "read-only"),
        (sqlite3.SQLITE_READONLY_RECOVERY, "not merged yet"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, "cannot be opened"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
        (sqlite3.SQLITE_NOTADB, "not a history"),
        (sqlite3.SQLITE_ERROR, "what SQLite says about 1"),
    ],
)
def test_common_sqlite_errors_have_plain_messages(path: Path, code: int, expected: str) -> None:
    assert expected in plain(sqlite_error(code), path)


def test_other_errors_have_messages(path: Path) -> None:
    assert plain(PermissionError(13, "Permission denied"), path) == f"Permission denied: {path}"
    assert plain(OSError("odd"), path) == f"odd: {path}"
    assert plain(HistoryError("says it all"), path) == "says it all"
    assert plain(sqlite3.ProgrammingError("without a code"), path) == "without a code"
