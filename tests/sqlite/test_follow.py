"""A follower reads all stored intervals, once, and none from before."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bwtop.history import recent
from bwtop.history.tiers import parse_retention
from bwtop.model.flows import UNATTRIBUTED, UNATTRIBUTED_IDENTITY, Identity, Loss, Traffic
from bwtop.model.named import Learned, NameSource
from bwtop.model.sample import Sample, add_traffic
from bwtop.sqlite import follow, recorder, retention
from bwtop.sqlite.errors import HistoryError
from bwtop.sqlite.follow import Follower
from bwtop.sqlite.rollup import Policy
from tests.build import NOW, REMOTES, key, remote
from tests.history.keep import CURL, NGINX
from tests.history.named import SITE, learned
from tests.history.others import NOBODY, needs_root
from tests.history.recording import (
    ROOT,
    Feed,
    Recorders,
    amount,
    child,
    far,
    rows,
)
from tests.kernel.running import HANG


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recorders retry soon, and followers wait briefly for the next interval."""
    monkeypatch.setattr(follow, "PATIENCE", 0.2)
    monkeypatch.setattr(recorder, "RETRY", 0.1)


@pytest.fixture
def feed(path: Path, recorders: Recorders) -> Feed:
    """Return a feed that has recorded some samples already."""
    made = recorders(path, cmdlines=True)
    made.put(5)
    made.wait()
    return made


@pytest.fixture
def follower(path: Path, feed: Feed) -> Iterator[Follower]:
    with closing(Follower(path)) as made:
        yield made


def numbers(sample: Sample) -> list[int]:
    """Return the numbers of the samples that are in it, whole."""
    flows = {r: t for remotes in sample.traffic.values() for r, t in remotes.items()}
    found = [n for n in range(2000) if far(n) in flows]
    assert len(found) == len(flows)
    assert all((flows[far(n)].rx, flows[far(n)].tx) == amount(n) for n in found)
    return found


def give(feed: Feed, sample: Sample) -> None:
    before = feed.recorder.stored
    feed.clock.go(sample.elapsed)
    sample.time = datetime.fromtimestamp(feed.clock.wall, UTC)
    feed.give(sample)
    feed.wait(lambda: feed.recorder.stored > before)


def test_follower_skips_the_past_and_repeats_nothing(feed: Feed, follower: Follower) -> None:
    seen = []
    for count in (1, 3, 7):
        feed.put(count)
        feed.wait()
        seen += numbers(follower.read())
    assert seen == list(range(5, 16))
    assert numbers(follower.read()) == []


def test_follower_reads_every_interval_during_recording(feed: Feed, follower: Follower) -> None:
    samples = []
    for _ in range(40):
        feed.put(2)
        samples.append(follower.read())
    feed.wait()
    samples.append(follower.read())
    assert [n for sample in samples for n in numbers(sample)] == list(range(5, 85))
    assert sum(sample.elapsed for sample in samples if sample.traffic) == pytest.approx(80)


def test_bytes_without_a_process_are_stored_with_pid_0_and_read_back_without(
    path: Path, feed: Feed, follower: Follower
) -> None:
    given = Sample(NOW, 1.0, {UNATTRIBUTED: {remote("*", 0): Traffic(7, 1)}})
    given.identities[UNATTRIBUTED] = UNATTRIBUTED_IDENTITY
    give(feed, given)
    found = follower.read()
    assert found.traffic == given.traffic
    assert found.identities == given.identities
    assert (0, 0) in rows(path, "SELECT pid, start FROM process")


def test_a_database_that_comes_in_the_place_of_another_is_followed(
    path: Path, feed: Feed, recorders: Recorders, follower: Follower
) -> None:
    """With its names."""
    tell(feed, learned("old.example"))
    assert names_in(follower.read()) == {1: ["old.example sni"]}
    feed.recorder.close()
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    assert numbers(follower.read()) == []
    path.write_bytes(b"")  # not one yet
    assert numbers(follower.read()) == []
    path.unlink()
    other = recorders(path)
    other.put(3)
    other.wait()
    follower.read()
    other.put(2)
    other.wait()
    assert numbers(follower.read()) == [3, 4]
    tell(other, learned("new.example"))
    assert names_in(follower.read()) == {1: ["new.example sni"]}


def test_followed_sample_equals_the_measured_one(feed: Feed, follower: Follower) -> None:
    who = {
        key(1): Identity(
            "curl", 5, "curl -v", "/bin/curl", started=NOW, unit="a.scope", container="c:1", pod="p"
        ),
        key(2): Identity("kworker", 0, kernel=True),
    }
    first = Sample(NOW, 1.5, {k: {r: Traffic(3, 4) for r in REMOTES} for k in who}, who)
    first.loss = Loss(1, 2, 3, 4, 5, 6)
    second = Sample(NOW, 2.0, {key(1): {REMOTES[0]: Traffic(10, 0)}}, {key(1): who[key(1)]})
    second.exited = {key(1)}
    second.loss = Loss(1, 0, 0, 0, 0, 10)
    give(feed, first)
    give(feed, second)
    found = follower.read()
    expected = {k: dict(remotes) for k, remotes in first.traffic.items()}
    add_traffic(expected, key(1), REMOTES[0], Traffic(10, 0))
    assert found.traffic == expected
    assert found.identities == who
    assert found.exited == {key(1)}
    assert found.loss == Loss(2, 2, 3, 4, 5, 16)
    assert found.elapsed == 3.5
    assert abs((datetime.now(UTC) - found.time).total_seconds()) < HANG
    again = follower.read()
    assert (again.traffic, again.identities, again.exited, again.loss) == ({}, {}, set(), Loss())


def test_process_that_exits_and_moves_nothing(feed: Feed, follower: Follower) -> None:
    give(feed, Sample(NOW, 1.0, exited={key(1), key(99)}))
    found = follower.read()
    assert (found.exited, found.traffic) == ({key(1)}, {})
    feed.put()
    feed.wait(lambda: feed.recorder.stored == 7)
    assert follower.read().exited == set()


def test_exec_is_followed(feed: Feed, follower: Follower) -> None:
    for name in ("sh", "curl"):
        give(feed, Sample(NOW, 1.0, {key(1): {remote(): Traffic(1)}}, {key(1): Identity(name)}))
        assert follower.read().identities[key(1)].name == name


def test_more_identities_than_the_cache_holds(feed: Feed, follower: Follower) -> None:
    who = {key(pid): Identity(f"p{pid % 9}", uid=1) for pid in range(10, 17_000)}
    give(feed, Sample(NOW, 1.0, {k: {remote(): Traffic(1)} for k in who}, who))
    assert follower.read().identities == who


def test_follower_waits_briefly_for_the_next_interval(
    feed: Feed, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = follower._read_at
    quiet = follower.read()
    assert quiet.elapsed == follower._read_at - before, "as long as it took, where nothing moved"
    assert follow.PATIENCE <= quiet.elapsed < HANG
    monkeypatch.setattr(follow, "PATIENCE", HANG)
    feed.put()
    assert numbers(follower.read()) == [5]


def test_time_in_which_nothing_moved_is_not_in_the_rates(feed: Feed, follower: Follower) -> None:
    feed.quiet(20)
    feed.put()
    feed.wait(lambda: feed.recorder.stored == 7)
    assert follower.read().elapsed == 1.0


def test_recorder_that_ends_and_begins_again(
    feed: Feed,
    follower: Follower,
    path: Path,
    recorders: Recorders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert follower.recorder() == f"bwtop (pid {os.getpid()})"
    feed.put()
    feed.recorder.close()
    assert follower.recorder() is None
    monkeypatch.setattr(follow, "PATIENCE", 2 * HANG)
    began = time.monotonic()
    assert numbers(follower.read()) == [5]
    assert numbers(follower.read()) == []
    assert time.monotonic() - began < HANG, "nothing is due"
    again = recorders(path, clock=feed.clock)
    again.next = 6
    assert follower.recorder() == f"bwtop (pid {os.getpid()})"
    again.put(3)
    again.wait()
    sample = follower.read()
    assert numbers(sample) == [6, 7, 8]
    assert sample.exited == set()


def test_while_old_intervals_are_deleted(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest intervals are always there: a follower may be so far behind."""
    monkeypatch.setattr(recorder, "ROLLUP_PERIOD", 0.0)
    policy = Policy(parse_retention("seconds=1m,minutes=2m,hours=1h"))
    feed = recorders(path, policy=policy)
    feed.put(5, 30.0)
    feed.wait()
    seen = []
    with closing(Follower(path)) as follower:
        for _ in range(30):
            feed.put(retention.NEWEST, 30.0)
            feed.wait()
            seen += numbers(follower.read())
    assert seen == list(range(5, 5 + 30 * retention.NEWEST))
    feed.wait(lambda: rows(path, "SELECT min(id) FROM interval") != [(1,)])
    assert rows(path, "SELECT count(*) FROM interval")[0][0] >= retention.NEWEST


def test_unreadable_history_cannot_be_followed(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Follower(path)
    path.write_text("no database")
    with pytest.raises(HistoryError):
        Follower(path)


FOLLOW = """
import sys
from pathlib import Path
from bwtop.sqlite.follow import Follower
follower = Follower(Path(sys.argv[1]))
for line in sys.stdin:
    sample = follower.read()
    moved = sum(t.rx + t.tx for remotes in sample.traffic.values() for t in remotes.values())
    print(follower.recorder() is not None, moved, flush=True)
"""


@needs_root
@pytest.mark.parametrize("killed", [False, True])
def test_reader_who_may_not_write(killed: bool) -> None:
    """A member of the group of the service's directory; also when the recorder restarts."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "history.db"
        path.touch(0o640)
        os.chown(place, 0, NOBODY)
        os.chown(path, 0, NOBODY)
        Path(place).chmod(0o750)
        moved = [sum(amount(n)) for n in range(9)]
        with child(path) as first:
            first.tell("put", 3)
            first.until("stored", 3)
            lock = path.with_name("history.db.lock")
            lock.chmod(0o640)
            os.chown(lock, 0, NOBODY)
            with subprocess.Popen(
                [sys.executable, "-B", "-c", FOLLOW, str(path)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
            ) as reader:
                assert reader.stdin
                assert reader.stdout
                reader.stdin.write("\n")
                assert reader.stdout.readline() == "True 0\n"
                first.tell("put", 3)
                first.until("stored", 6)
                reader.stdin.write("\n")
                assert reader.stdout.readline() == f"True {sum(moved[3:6])}\n"
                if killed:
                    first.end()
                else:
                    first.tell("close")
                reader.stdin.write("\n")
                assert reader.stdout.readline() == "False 0\n"
                with child(path) as second:
                    second.tell("from", 6)
                    second.tell("put", 3)
                    second.until("stored", 3)
                    reader.stdin.write("\n")
                    assert reader.stdout.readline() == f"True {sum(moved[6:])}\n"
                reader.stdin.close()
                assert reader.wait(HANG) == 0


def test_follower_does_not_delay_the_recorder(feed: Feed, follower: Follower, path: Path) -> None:
    """Between two reads it holds no snapshot of the database."""
    feed.put()
    feed.wait()
    follower.read()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert path.with_name("history.db-wal").stat().st_size == 0


# Names of remotes.


def tell(feed: Feed, *names: Learned, who: Identity = CURL, pid: int = 1) -> None:
    """Record an interval in which a process moved bytes to a site, and names were heard."""
    given = Sample(NOW, 1.0, {key(pid): {SITE: Traffic(1)}}, {key(pid): who})
    given.learned = list(names)
    give(feed, given)


def names_in(sample: Sample) -> dict[int | None, list[str]]:
    """Return the names in a sample by pid."""
    return {
        process.pid: [f"{one.name} {one.source}" for one in names]
        for (process, far), names in sample.named.items()
        if far == SITE
    }


def test_remotes_have_the_names_that_are_recorded(feed: Feed, follower: Follower) -> None:
    tell(feed, learned("www.example.org"), learned("cdn.example.net", NameSource.DNS))
    assert names_in(follower.read()) == {1: ["www.example.org sni", "cdn.example.net dns"]}
    tell(feed, who=NGINX, pid=2)
    assert names_in(follower.read()) == {2: ["cdn.example.net dns-host"]}
    tell(feed, learned("own.example", NameSource.DNS, pid=2), who=NGINX, pid=2)
    found = names_in(follower.read())
    assert found[2][0] == "own.example dns", "of an address whose names were known"
    tell(feed)
    assert names_in(follower.read())[1][0] == "www.example.org sni"


def test_names_from_before_are_those_of_connections_that_go_on(feed: Feed, path: Path) -> None:
    tell(feed, learned("www.example.org"))
    with closing(Follower(path)) as late:
        tell(feed)
        assert names_in(late.read()) == {1: ["www.example.org sni"]}


def test_old_names_of_many_remotes_are_asked_for_again(
    feed: Feed, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "KNOWN", 2)
    tell(feed, learned("www.example.org"))
    follower.read()
    feed.put(5)
    feed.wait(lambda: feed.recorder.stored == 11)
    follower.read()
    tell(feed)
    assert names_in(follower.read()) == {1: ["www.example.org sni"]}


def test_follower_without_names(feed: Feed, path: Path) -> None:
    with closing(Follower(path, names=False)) as plain:
        tell(feed, learned("www.example.org"))
        found = plain.read()
    assert found.traffic
    assert not found.named
