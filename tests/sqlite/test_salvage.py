"""All readable rows of a damaged database are saved, and nothing else."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bwtop.model.flows import UNKNOWN_ADDRESS, UNKNOWN_IDENTITY
from bwtop.sqlite import connections, errors, recorder, rollup, schema
from bwtop.sqlite.salvage import Saved, salvage
from tests.build import typed
from tests.examples import examples
from tests.history.keep import DAY, HOUR, NGINX, NOON, REMOTES, Kept, delta
from tests.history.recording import Recorders, answer, found, is_sound, make_older, rows
from tests.sqlite.test_damage import (
    DAMAGED,
    ODD,
    PAGE,
    columns,
    complete,
    flip,
    is_changed,
    overwrite,
)

TABLES = (
    "program",
    "remote",
    "flow",
    "process",
    "interval",
    "delta",
    "span",
    "traffic",
    "pulse",
    "event",
    "named",
)


def recorded(folder: Path, seconds: int = 0) -> Path:
    """Return a database with two hours of recording, and so many seconds more; it has the same pages however long that takes."""
    path, recorders = folder / "history.db", Recorders()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "ROLLUP_PERIOD", 3600.0)
        feed = recorders(path)
        for _ in range(4):
            feed.put(60, seconds=30)
            feed.wait()
        feed.put(seconds)
        feed.wait()
        recorders.close()
    complete(path, "clock", "dropped")
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small database."""
    return recorded(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of several hundred pages, with seconds, minutes and hours."""
    return recorded(tmp_path_factory.mktemp("real"), 3000)


@pytest.fixture
def copy(real: Path, path: Path) -> Path:
    path.write_bytes(real.read_bytes())
    return path


def save(old: Path, new: Path) -> list[Saved]:
    with (
        closing(connections.open_reader(old, oldest=2)) as readable,
        closing(connections.connect_writer(new, 0o600)) as written,
    ):
        schema.migrate(written)
        return list(salvage(readable, written))


Content = dict[str, set[tuple[object, ...]]]
"""Rows by table."""


def content(path: Path) -> Content:
    """Return all rows; of totals and names without the number of their last change."""
    found = {table: set(rows(path, f"SELECT * FROM {table}")) for table in TABLES}
    changing = ("span", "pulse", "named")
    return found | {table: {row[:-1] for row in found[table]} for table in changing}


def made_up(before: Content, after: Content) -> set[tuple[object, ...]]:
    """Return rows that were not there, but the unknown ones that stand for the last lost flow and process."""
    unknown = {row[0] for row in after["program"] if row[1] == UNKNOWN_IDENTITY.name}
    program = {"program": 0, "flow": 1, "process": 4}
    return {
        row
        for table in TABLES
        for row in after[table] - before[table]
        if not (table in program and row[program[table]] in unknown)
        and not (table == "remote" and row[1] == UNKNOWN_ADDRESS)
    }


def test_lost_flow_with_the_highest_number_is_an_unknown_one(copy: Path, tmp_path: Path) -> None:
    """It failed by chance: where one of the damaged pages had that flow."""
    before, new = content(copy), tmp_path / "new.db"
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("DELETE FROM flow WHERE id > (SELECT max(id) - 300 FROM flow)")
        connection.commit()
    save(copy, new)
    after = content(new)
    assert made_up(before, after) == set()
    assert max(after["flow"])[0] == max(before["flow"])[0]


def test_all_of_a_sound_database_is_saved(copy: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    saved = save(copy, new)
    assert not any(each.gaps for each in saved)
    assert content(new) == content(copy)
    assert {each.table: each.rows for each in saved} == {t: len(r) for t, r in content(new).items()}
    levels = "SELECT * FROM level WHERE level BETWEEN 1 AND 2"
    assert [row[:2] for row in rows(new, levels)] == [row[:2] for row in rows(copy, levels)]
    assert found(new) == found(copy)
    assert answer(new, "process").rows == answer(copy, "process").rows


def test_an_older_bwtops_database_is_saved(copy: Path, tmp_path: Path) -> None:
    whole, new = found(copy), tmp_path / "new.db"
    make_older(copy)
    assert not any(each.gaps for each in save(copy, new))
    assert found(new) == whole


def test_most_rows_around_overwritten_pages_are_saved(
    copy: Path, tmp_path: Path, recorders: Recorders
) -> None:
    """SQLite's .dump saved 1,291 of 6,720 deltas of such a file, up to the first damaged page.

    The new database can be recorded to.
    """
    before, new = content(copy), tmp_path / "new.db"
    pages = copy.stat().st_size // PAGE
    overwrite(copy)
    saved = {each.table: each for each in save(copy, new)}
    after = content(new)
    assert made_up(before, after) == set()
    assert saved["delta"].gaps > 0
    whole = sum(map(len, before.values()))
    assert sum(map(len, after.values())) / whole > 1 - 2 * DAMAGED / pages
    assert is_sound(new)
    rx = answer(new).rx
    assert rx > 0
    feed = recorders(new)
    feed.next = 100_000
    feed.put(20)
    feed.wait()
    feed.recorder.close()
    assert not feed.recorder.lost
    assert answer(new).rx > rx
    assert is_sound(new)


def test_rows_of_a_lost_interval_or_span_are_left_out(tmp_path: Path, path: Path) -> None:
    """A new interval or span got its number: recording failed, or no total was ever made again."""
    kept = Kept(path=tmp_path / "old.db")
    kept.append(delta(NOON), delta(NOON + 120), delta(NOON + 120, who=NGINX))
    kept.steps(NOON + 190)
    for table in ("interval", "span"):
        kept.connection.execute(f"DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})")
    kept.connection.close()
    saved = {each.table: each for each in save(tmp_path / "old.db", path)}
    assert [saved[t].rows for t in ("interval", "delta", "span", "traffic")] == [2, 2, 1, 1]
    assert [(saved[t].orphans, saved[t].bytes) for t in ("delta", "traffic")] == [
        (1, 110),
        (2, 220),
    ]
    kept = Kept(path=path)
    kept.append(delta(NOON + HOUR), delta(NOON + 2 * HOUR))
    kept.steps(NOON + DAY)
    assert kept.ask(NOON, NOON + DAY).rx == 400
    assert len(kept.spans(1)) == 4
    kept.connection.close()


def test_bytes_of_a_lost_flow_or_process_are_no_others(tmp_path: Path, path: Path) -> None:
    """New ones get numbers after the last that is there; the bytes of lost ones became theirs."""
    kept = Kept(path=tmp_path / "old.db")
    kept.append(delta(), delta(NOON + 1, who=NGINX, pid=2, far=REMOTES[1]))
    kept.steps(NOON + 64)
    for table in ("flow", "process"):
        kept.connection.execute(f"DELETE FROM {table} WHERE id = 2")
    kept.connection.close()
    save(tmp_path / "old.db", path)
    kept = Kept(path=path)
    kept.append(delta(NOON + 120, rx=7, who=NGINX, pid=3, far=REMOTES[2]))
    for end in (NOON + 121, NOON + 180):
        rows = kept.ask(NOON, end, "process").rows
        assert sorted((row.labels[0], row.rx) for row in rows) == [
            *(("(unknown)", 100), ("curl", 100), ("nginx", 7))
        ]
    assert [row.rx for row in kept.ask(NOON, NOON + 180, keep=typed("pid:3")).rows] == [7]
    kept.connection.close()


def test_a_span_that_is_being_added_up_is_no_gap(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "STEP_SECONDS", -1.0)
    kept = Kept(path=tmp_path / "old.db")
    kept.append(delta(NOON))
    kept.steps(NOON + 64, 1)
    assert kept.rows("SELECT level FROM span") == [(-1,)]
    kept.connection.close()
    saved = save(tmp_path / "old.db", path)
    assert not any(each.gaps or each.orphans for each in saved)
    kept = Kept(path=path)
    kept.steps(NOON + DAY)
    assert kept.rows("SELECT level, sum(rx) FROM span JOIN traffic ON span = id") == [(1, 100)]
    kept.connection.close()


def test_any_damage_is_survived(small: Path, tmp_path: Path) -> None:
    refused = 0
    for seed in range(examples(40)):
        old, new = tmp_path / f"{seed}.db", tmp_path / f"{seed}-new.db"
        old.write_bytes(small.read_bytes())
        flip(old, random.Random(seed))
        try:
            save(old, new)
        except (errors.HistoryError, sqlite3.Error):
            refused += 1  # its schema cannot be read
            continue
        assert is_sound(new)
        answer(new)
    assert refused < examples(40) * 3 / 4


@pytest.mark.parametrize(("table", "column"), [each for each in columns() if each[0] in TABLES])
def test_invalid_rows_are_left_out(
    table: str, column: str, small: Path, path: Path, tmp_path: Path
) -> None:
    taken = False
    for number, value in enumerate([*ODD[::3], "70000", "1000000000000000"]):
        if not is_changed(path, small, table, column, value):
            continue
        taken = True
        new = tmp_path / f"{number}.db"
        save(path, new)
        answer(new, "process", "remote", "name")
        assert is_sound(new)
    assert taken
