"""Recorded names of remotes: each once for the time in which it is seen, as few as bounds allow, and swept."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bwtop.model.flows import Identity, Traffic
from bwtop.model.named import NameSource
from bwtop.model.sample import Sample
from bwtop.sqlite import backlog, naming
from bwtop.sqlite import delta as deltas
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.recorder import Recorder
from bwtop.sqlite.salvage import salvage
from bwtop.sqlite.writer import RecordingOptions
from tests.build import key, remote
from tests.history.keep import CURL, DAY, HOUR, NGINX, NOON, Kept, delta, memory, policy
from tests.history.named import SITE, learned, named_delta

ROWS = "SELECT name, source, first, last FROM named ORDER BY id"


def test_name_that_is_seen_again_is_one_row_for_as_long_as_it_is_seen() -> None:
    kept = Kept()
    for when in (0, 1, 59, 60, 3600, 9 * DAY, 90 * DAY):
        kept.append(named_delta(NOON + when, "a.example"))
    kept.append(named_delta(NOON + 91 * DAY, "b.example"))
    for when in (95 * DAY, 95 * DAY + 3600):
        kept.append(named_delta(NOON + when, "a.example"))
    spans = [("a", 0, 90 * DAY), ("b", 91 * DAY, 91 * DAY), ("a", 95 * DAY, 95 * DAY + 3600)]
    assert kept.rows(ROWS) == [(f"{x}.example", 0, NOON + a, NOON + b) for x, a, b in spans]


def test_name_between_two_others_is_noted_at_once() -> None:
    """Of several names the latest holds, to the second."""
    kept = Kept()
    for when, name in enumerate(("a.example", "b.example", "a.example", "a.example")):
        kept.append(named_delta(NOON + when, name))
    assert kept.rows(ROWS) == [
        ("a.example", 0, NOON, NOON + 2),
        ("b.example", 0, NOON + 1, NOON + 1),
    ]


def test_name_belongs_to_the_program_of_its_process() -> None:
    """Of an unknown process, only what DNS said is of use."""
    kept = Kept()
    unknown = [
        learned("a.example", NameSource.SNI, pid=9),
        learned("b.example", NameSource.DNS, pid=9),
    ]
    kept.append(named_delta(NOON, "c.example", who=NGINX), named_delta(NOON, *unknown))
    kept.append(named_delta(NOON + 100, learned("d.example", NameSource.REVERSE)))
    assert kept.rows(
        "SELECT named.name, program.name FROM named LEFT JOIN program ON program.id = program ORDER BY 1"
    ) == [("b.example", None), ("c.example", "nginx")]


def test_names_come_from_readings_with_the_time_of_the_interval() -> None:
    sample = Sample(datetime.fromtimestamp(NOON + 1, UTC), 1.0, identities={key(1): CURL})
    sample.learned = [learned("a.example"), learned("b.example", pid=2)]
    found = Delta.of(sample)
    assert {seen[:2]: when for seen, when in found.names.items()} == {
        (key(1), CURL): NOON,
        (key(2), None): NOON,
    }
    assert not found.is_quiet()


def test_name_that_is_heard_before_its_process_moves_a_byte_is_its(tmp_path: Path) -> None:
    """The counters are read right before the names."""
    recorder = Recorder(RecordingOptions(tmp_path / "history.db"))
    recorder.open()
    recorder.start()
    for second, (names, traffic) in enumerate(((["a.example"], False), ([], True))):
        sample = Sample(datetime.fromtimestamp(NOON + second + 1, UTC), 1.0)
        sample.learned = [learned(name) for name in names]
        if traffic:
            sample.traffic, sample.identities = {key(1): {SITE: Traffic(1, 1)}}, {key(1): CURL}
        recorder.put(sample)
    recorder.close()
    with closing(sqlite3.connect(recorder.path)) as connection:
        found = connection.execute(
            "SELECT named.name, program.name, first FROM named JOIN program ON program.id = program"
        ).fetchall()
    assert found == [("a.example", "curl", NOON)]


def test_names_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas, "MOST_NAMES", 3)
    waiting = backlog.Backlog(max_flows=6)
    for second in range(9):
        waiting.add(named_delta(NOON + second, f"{second}.example"))
    (merged, last) = waiting
    assert [seen.name for seen in merged.names] == ["5.example", "6.example", "7.example"]
    assert merged.forget_remotes()
    assert not merged.names
    assert last.names


def test_remote_of_a_program_keeps_its_latest_names() -> None:
    kept = Kept()
    for second in range(100):
        kept.append(named_delta(NOON + second, f"{second}.example"))
    latest = [f"{second}.example" for second in range(100 - naming.MOST, 100)]
    assert kept.column("SELECT name FROM named ORDER BY id") == latest
    kept.append(named_delta(NOON + 9 * DAY, latest[0]))
    assert sorted(kept.column("SELECT name FROM named")) == sorted(latest)


def swept(kept: Kept) -> list[tuple[Any, ...]]:
    """Roll up and sweep the history; return the names that are left, with their program."""
    for hours in (2, *range(9600, 16000, 799)):
        kept.append(delta(NOON + hours * HOUR, who=Identity("other"), far=remote("192.0.2.99")))
        kept.steps(NOON + hours * HOUR + 100)
    return kept.rows(
        "SELECT named.name, program.name FROM named LEFT JOIN program ON program.id = program ORDER BY 1"
    )


def test_names_are_kept_as_long_as_their_remotes() -> None:
    forever, day = Kept(), Kept(policy(seconds=60, minutes=60, hours=60, days=DAY, months=DAY))
    for kept in (forever, day):
        kept.append(named_delta(NOON, "a.example"))
        unused = learned("unused.example", NameSource.DNS, address=remote("192.0.2.77").address)
        kept.append(named_delta(NOON, unused))
        assert kept.count("named") == 2
    assert swept(day) == []
    forever.rollup = type(forever.rollup)(forever.store, policy(seconds=60))
    assert swept(forever) == [("a.example", "curl")]


def test_what_a_program_was_told_by_dns_outlives_it_if_others_use_it() -> None:
    kept = Kept(policy(seconds=60, minutes=60, hours=60, days=DAY, months=DAY))
    shared = remote("192.0.2.99")
    for source in (NameSource.SNI, NameSource.DNS):
        kept.append(named_delta(NOON, learned(f"{source}.example", source, address=shared.address)))
    assert swept(kept) == [("dns.example", None)]


def test_names_are_swept_after_a_clock_was_ahead() -> None:
    """No hour is closed any more until that date; new names wait for their remotes, those of the future are not used."""
    kept = Kept(policy(seconds=HOUR))
    later = NOON + 600 * DAY
    dns = learned("later.example", NameSource.DNS, address=remote("192.0.2.77").address)
    kept.append(delta(later), named_delta(later + 4 * HOUR, dns))
    kept.steps(later + 4 * HOUR + 100)
    for hour in range(4):
        name = learned(f"{hour}.example", NameSource.DNS, address=remote("192.0.2.78").address)
        kept.append(named_delta(NOON + hour * HOUR, name), delta(NOON + hour * HOUR))
        kept.steps(NOON + hour * HOUR + 100)
    assert kept.column("SELECT name FROM named") == ["2.example", "3.example"]


def test_names_are_salvaged() -> None:
    kept, new = Kept(), memory()
    kept.append(named_delta(NOON, "a.example", learned("b.example", NameSource.DNS, pid=9)))
    assert all(saved.gaps == 0 for saved in salvage(kept.connection, new))
    assert new.execute("SELECT name, program, port, first FROM named").fetchall() == [
        ("a.example", 1, SITE.port, NOON),
        ("b.example", None, None, NOON),
    ]
