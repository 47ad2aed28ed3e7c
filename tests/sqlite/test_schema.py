"""A database is opened, created or migrated; or left as it is, with a reason in one line."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.history import tiers
from bwtop.history.tiers import FOREVER, TIERS, parse_retention
from bwtop.sqlite import location, schema
from bwtop.sqlite.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    HistoryError,
    connect_writer,
    open_reader,
    open_writer,
    plain,
    statements,
    version,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")

Open = Callable[[Path], sqlite3.Connection]


def _write(path: Path) -> sqlite3.Connection:
    return open_writer(path, 0o600)


both = pytest.mark.parametrize("opened", [_write, open_reader], ids=["writer", "reader"])


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def value(connection: sqlite3.Connection, statement: str) -> object:
    return connection.execute(statement).fetchone()[0]


def program(connection: sqlite3.Connection, name: str = "curl") -> None:
    connection.execute("INSERT INTO program (name, kernel) VALUES (?, 0)", (name,))


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


def test_new_database_and_what_lies_beside_it_are_the_owners_only(path: Path) -> None:
    connection = open_writer(path, location.mode(path))
    program(connection)
    assert {f.name: f.stat().st_mode & 0o777 for f in path.parent.iterdir()} == {
        "history.db": 0o600,
        "history.db-wal": 0o600,
        "history.db-shm": 0o600,
    }
    connection.close()


def test_the_services_group_may_read_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "SYSTEM", path)
    connection = open_writer(path, location.mode(path))
    program(connection)
    assert {f.stat().st_mode & 0o777 for f in path.parent.iterdir()} == {0o640}
    assert len(files(path)) == 3
    connection.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#!/bin/sh\necho a tool of the user's\n" * 20, "is not a history of bwtop"),
        (b"SQLite format 3\0" + bytes(84), "is not a history of bwtop"),
        (None, "is another program's database"),
    ],
    ids=["script", "header", "database"],
)
def test_foreign_file_keeps_its_mode_and_content(
    path: Path, content: bytes | None, words: str
) -> None:
    """`--db ./tool`, by mistake, removed the permissions of other users from a tool."""
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other (id)")
        connection.close()
        content = path.read_bytes()
    path.write_bytes(content)
    path.chmod(0o757)
    with pytest.raises(HistoryError, match=words):
        open_writer(path, 0o600)
    assert path.stat().st_mode & 0o777 == 0o757
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_history_replaced_while_it_is_opened_keeps_its_mode(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_writer(path, 0o600).close()
    path.chmod(0o644)
    monkeypatch.setattr(schema, "file_id", lambda _: (0, 0))
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


def test_path_may_begin_with_two_slashes(path: Path) -> None:
    """Two slashes equal one on Linux."""
    made(Path(f"/{path}"))
    open_reader(Path(f"/{path}")).close()
    assert path.exists()


def test_path_may_be_relative(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    made(Path(path.name))
    open_reader(Path(path.name)).close()
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
    assert len(refusal(open_reader, path).splitlines()) == 1
    assert files(path) == {"history.db": b""}


@both
def test_directory_is_no_history(path: Path, opened: Open) -> None:
    path.mkdir()
    text = fails(opened, path, Exception)
    assert "directory" in text or "cannot be" in text


@both
@pytest.mark.parametrize("content", [b"[bwtop]\nnot = a database\n", bytes(10_000), b"x" * 65536])
def test_file_that_is_no_database_is_left_as_it_is(
    path: Path, opened: Open, content: bytes
) -> None:
    path.write_bytes(content)
    text = fails(opened, path, HistoryError)
    assert "not a history" in text
    assert files(path) == {"history.db": content}


@both
@pytest.mark.parametrize("length", [50, 100, 511, 1024, 4096, 5000, 20_480])
def test_truncated_database_is_damaged(path: Path, opened: Open, length: int) -> None:
    content = made(path)[:length]
    path.write_bytes(content)
    assert "damaged" in fails(opened, path, sqlite3.DatabaseError)
    assert path.read_bytes() == content


@both
def test_damaged_schema_is_an_error(path: Path, opened: Open) -> None:
    content = bytearray(made(path))
    content[100:4096] = b"\xa5" * 3996
    path.write_bytes(content)
    assert "damaged" in fails(opened, path, sqlite3.DatabaseError)
    assert path.read_bytes() == content


@both
@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE cookies (value TEXT)",
        "CREATE TABLE program (id INTEGER)",
        "PRAGMA user_version = 7",
        "PRAGMA user_version = 1; PRAGMA application_id = 1; CREATE TABLE a (b)",
        "PRAGMA journal_mode = WAL; CREATE TABLE a (b)",
    ],
)
def test_database_of_another_program_is_not_touched(path: Path, opened: Open, script: str) -> None:
    other = sqlite3.connect(path)
    other.executescript(script)
    other.close()
    before = files(path)
    assert "another program" in fails(opened, path, HistoryError)
    assert path.read_bytes() == before["history.db"]


@both
def test_database_of_another_program_is_not_taken_though_it_is_empty(
    path: Path, opened: Open
) -> None:
    """Its application id names the owner."""
    other = sqlite3.connect(path)
    other.execute("PRAGMA application_id = 12345")
    other.close()
    before = path.read_bytes()
    assert "another program" in fails(opened, path, HistoryError)
    assert path.read_bytes() == before


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
    """Return a database of an older bwtop, with a row in every table."""
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


@pytest.mark.usefixtures("next_schema")
def test_new_database_runs_all_migrations(path: Path) -> None:
    connection = open_writer(path, 0o600)
    assert value(connection, "SELECT count(colour) FROM program") == 0
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


def test_new_database_whose_migration_fails_stays_empty(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, BROKEN))
        fails(_write, path, sqlite3.OperationalError)
    assert shape(path) == []
    connection = open_writer(path, 0o600)
    assert value(connection, "PRAGMA user_version") == version()
    assert value(connection, "PRAGMA auto_vacuum") == 2
    connection.close()


def test_failure_leaves_no_descriptor_open(path: Path) -> None:
    path.write_text("no database at all")
    before = len(os.listdir("/proc/self/fd"))
    kept = []
    for opened in (_write, open_reader):
        with pytest.raises(HistoryError) as caught:
            opened(path)
        kept.append(caught.value)  # and its traceback, with all that its frames hold
    assert len(os.listdir("/proc/self/fd")) == before


# With others.

_WRITER = """
import sys
from pathlib import Path
from bwtop.sqlite.schema import open_writer
connection = open_writer(Path(sys.argv[1]), 0o644)
for name in ("one", "two", "three"):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO program (name, kernel) VALUES (?, 0)", (name,))
    print(flush=True)
    sys.stdin.readline()
    connection.execute("COMMIT")
    print(flush=True)
    sys.stdin.readline()
"""
"""Stops within each transaction and after it, until somebody says a line."""


class Writer:
    """Another process that writes a database."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == "\n"

    def go_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        with self.process:
            pass


@pytest.fixture(name="writer")
def _writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


def test_reader_sees_what_another_process_has_committed(path: Path, writer: Writer) -> None:
    names: list[object] = []
    writer.wait()
    reader = open_reader(path)
    for name in ("one", "two"):
        assert [n for (n,) in reader.execute("SELECT name FROM program")] == names
        second = open_reader(path)
        assert value(second, "SELECT count(*) FROM program") == len(names)
        second.close()
        writer.go_on()
        writer.wait()
        names.append(name)
        assert [n for (n,) in reader.execute("SELECT name FROM program")] == names
        writer.go_on()
        writer.wait()
    reader.close()


def test_second_writer_gets_a_busy_error(
    path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WAIT", 0.01)
    writer.wait()
    connection = open_writer(path, 0o600)
    with pytest.raises(sqlite3.OperationalError) as caught:
        program(connection)
    assert "locked" in plain(caught.value, path)
    writer.go_on()
    writer.wait()
    program(connection)
    connection.close()


@pytest.mark.usefixtures("next_schema")
def test_migration_waits_for_a_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "WAIT", 0.01)
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


def test_opening_a_current_database_writes_nothing(path: Path) -> None:
    before = made(path)
    open_writer(path, 0o600).close()
    assert files(path) == {"history.db": before}


@both
def test_writer_that_was_killed_leaves_what_it_committed(
    path: Path, writer: Writer, opened: Open
) -> None:
    writer.wait()
    writer.go_on()
    writer.wait()
    writer.go_on()
    writer.wait()  # within the second one
    writer.close()
    connection = opened(path)
    assert connection.execute("SELECT name FROM program").fetchall() == [("one",)]
    assert value(connection, "PRAGMA integrity_check") == "ok"
    connection.close()


@pytest.fixture(name="public")
def _public() -> Iterator[Path]:
    """Return the path of a database in a directory that other users may read; those of pytest are private."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name, "history.db")


def as_nobody(read: Callable[[], object], expected: object) -> None:
    """Check the result of a read as a user without write permission."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            found = read()
            if found != expected:
                os.write(2, f"{found!r}\n".encode())
            status = 0 if found == expected else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


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


@as_root
def test_idle_database_is_readable_in_a_read_only_directory(public: Path) -> None:
    made(public)
    public.chmod(0o644)
    as_nobody(lambda: names(public), ["curl"])
    assert set(files(public)) == {"history.db"}


@as_root
def test_active_database_is_readable_in_a_read_only_directory(public: Path) -> None:
    writer = Writer(public)
    try:
        writer.wait()
        writer.go_on()
        writer.wait()
        for file in public.parent.iterdir():
            file.chmod(0o644)
        as_nobody(lambda: names(public), ["one"])
    finally:
        writer.close()


@as_root
def test_reader_without_write_permission_is_told_of_a_foreign_database(public: Path) -> None:
    other = sqlite3.connect(public)
    other.executescript("PRAGMA journal_mode = WAL; CREATE TABLE a (b)")
    other.close()
    public.chmod(0o644)
    as_nobody(lambda: "another program" in refusal(open_reader, public), True)


@as_root
def test_unreadable_database_is_reported(public: Path) -> None:
    made(public)
    before = public.read_bytes()
    as_nobody(lambda: refusal(open_reader, public), f"Permission denied: {public}")
    as_nobody(lambda: refusal(_write, public), f"Permission denied: {public}")
    public.chmod(0o644)
    as_nobody(lambda: refusal(_write, public), f"Permission denied: {public}")
    assert public.read_bytes() == before


@as_root
def test_unwritable_directory_is_reported(public: Path) -> None:
    made(public)
    public.chmod(0o666)
    as_nobody(lambda: refusal(_write, public) in ("opened", ""), False)


@as_root
def test_database_on_a_read_only_file_system_says_so(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    mount, umount = ["mount", "-t", "tmpfs", "none", str(tmp_path)], ["umount", str(tmp_path)]
    subprocess.run(mount, check=True)
    try:
        made(path)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        assert refusal(_write, path) == f"Read-only file system: {path}"
        assert names(path) == ["curl"]
    finally:
        subprocess.run(umount, check=True)


# Words.


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        ("\n \n", []),
        ("SELECT 1;", ["SELECT 1;"]),
        ("SELECT 1;\nSELECT 2;\n", ["SELECT 1;", "SELECT 2;"]),
        ("\nSELECT\n 1\n;\n", ["SELECT\n 1\n;"]),
        ("SELECT ';';\nSELECT 'a;\n--b';", ["SELECT ';';", "SELECT 'a;\n--b';"]),
        ("CREATE TABLE a ( -- not; here\n b);\n", ["CREATE TABLE a ( -- not; here\n b);"]),
        (
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n DELETE FROM b;\n DELETE FROM c;\nEND;\nSELECT 1;",
            [
                "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n DELETE FROM b;\n DELETE FROM c;\nEND;",
                "SELECT 1;",
            ],
        ),
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


CODES = sorted(
    {
        number
        for name, number in vars(sqlite3).items()
        if name.startswith("SQLITE_") and isinstance(number, int) and 1 <= number & 0xFF <= 27
    }
)


@pytest.mark.parametrize("code", CODES)
def test_every_error_of_sqlite_is_one_line(path: Path, code: int) -> None:
    text = plain(sqlite_error(code), path)
    assert text.endswith(f": {path}")
    assert len(text.splitlines()) == 1
    assert len(text) > len(f": {path}")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, "disk is full"),
        (sqlite3.SQLITE_IOERR_WRITE, "disk cannot"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "read-only"),
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


# How long it is kept.

HOUR, DAY = 3600.0, 86400.0
USUAL = {tier.name: tier.seconds for tier in TIERS}
SUMS = tuple(tier.name for tier in TIERS if tier.level >= 0)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("minutes=30d", {"minutes": 30 * DAY}),
        ("minutes=30d,days=forever", {"minutes": 30 * DAY, "days": FOREVER}),
        (" seconds= 90m , hours=20w ", {"seconds": 1.5 * HOUR, "hours": 140 * DAY}),
        ("seconds=0s", {"seconds": 0.0}),
        ("seconds=7200s", {"seconds": 2 * HOUR}),
        ("days=2y", {"days": 730 * DAY}),
        ("5min=1h", {"5min": HOUR}),
        ("5min=forever", {"5min": FOREVER}),
        ("fives=1h", {"5min": HOUR}),  # its former name
        ("fives=1h,minutes=30d", {"5min": HOUR, "minutes": 30 * DAY}),
        ("seconds=10d", {"seconds": 10 * DAY, "minutes": 10 * DAY}),
        ("minutes=1y", {"minutes": 365 * DAY, "hours": 365 * DAY}),
        ("seconds=forever", dict.fromkeys(SUMS, FOREVER)),
        (",".join(f"{name}=1h" for name in SUMS), dict.fromkeys(SUMS, HOUR)),
    ],
)
def test_tier_that_is_not_named_keeps_its_default_or_the_finer_tiers_retention(
    text: str, changed: dict[str, float]
) -> None:
    assert parse_retention(text) == USUAL | changed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ", ".join(USUAL)),
        ("weeks=1d", "weeks"),
        ("Minutes=1d", "Minutes"),
        ("=1d", "''"),
        ("minutes=1d,", "''"),
        ("minutes", "''"),
        ("minutes=", "''"),
        ("minutes=30", "'30'"),
        ("minutes=30 d", "'30 d'"),
        ("minutes=-1d", "'-1d'"),
        ("minutes=1.5d", "'1.5d'"),
        ("minutes=1D", "'1D'"),
        ("minutes=Forever", "'Forever'"),
        ("minutes=1d=2d", "'1d=2d'"),
        ("minutes=1000000d", "'1000000d'"),
        ("minutes=\u0663d", "invalid duration"),
        ("minutes=3d\nhours=4d", "invalid duration"),
        ("minutes=30m", "minutes must be kept"),
        ("seconds=2d,minutes=1d", "minutes must be kept"),
        ("minutes=30d,hours=7d", "hours must be kept"),
        ("days=1d", "days must be kept"),
        ("hours=forever,days=9y", "days must be kept"),
    ],
)
def test_invalid_retention_is_refused(text: str, reason: str) -> None:
    with pytest.raises(
        ValueError, match=r"invalid level of detail|kept|invalid duration"
    ) as caught:
        parse_retention(text)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


parts = st.tuples(
    st.sampled_from([*USUAL, "weeks"]), st.sampled_from(["0s", "30m", "2h", "9d", "3y", "forever"])
).map("=".join)


@given(st.text() | st.lists(parts, max_size=5).map(",".join))
def test_coarser_sums_are_kept_at_least_as_long(text: str) -> None:
    try:
        found = parse_retention(text)
    except ValueError as error:
        refused = str(error)
    else:
        refused = "in one line"
        assert found.keys() == USUAL.keys()
        lengths = [found[tier.name] for tier in TIERS if tier.level >= 0]
        assert lengths == sorted(lengths)
    assert len(refused.splitlines()) == 1
