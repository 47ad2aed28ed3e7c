"""Many hosts, live: every shipped interval is played once, as if it were measured here."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.clickhouse import follow
from bwtop.clickhouse.client import Client, FleetServer
from bwtop.clickhouse.follow import FleetFollower
from bwtop.clickhouse.playback import REACH, SLACK, STEP, Playback
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.flows import (
    LOOPBACK_V4,
    LOOPBACK_V6,
    UNATTRIBUTED,
    UNATTRIBUTED_IDENTITY,
    UNKNOWN_ADDRESS,
    Host,
    Identity,
    Loss,
    Remote,
    format_address,
)
from bwtop.model.named import Learned, NameSource
from bwtop.model.sample import Sample
from bwtop.sqlite.delta import Delta, SeenName
from bwtop.text.escape import printable
from tests.build import key, packed, remote, typed
from tests.clickhouse.hosts import HOSTILE, TWINS, WEB
from tests.clickhouse.servers import ClickHouse
from tests.clickhouse.stores import Make, report_host, ship
from tests.history.keep import CURL, NGINX, NOON, REMOTES, Kept
from tests.history.named import SITE, learned, named_delta
from tests.processes import until

BATCH = 10
"""Seconds from a host's batch to its next."""

# Playback: which time is told when.

steps = st.lists(
    st.tuples(
        st.floats(1.0, 3.0),  # from reading to reading
        st.floats(0.0, 40.0),  # until the next batch comes
        st.booleans(),  # whether the server could be asked
    ),
    min_size=1,
    max_size=60,
)


@given(steps, st.floats(-3600, 60))
def test_each_second_is_played_once_and_in_real_time(
    course: list[tuple[float, float, bool]], skew: float
) -> None:
    """Whenever batches arrive, whatever the clock of the host shows, and with or without an answer."""
    playback, now, arrived, next_batch, passed = Playback(), float(NOON), NOON - skew, 0.0, 0.0
    told: list[tuple[float, float]] = []
    for step, wait, answered in course:
        now += step
        passed += step
        next_batch -= step
        if next_batch <= 0:
            arrived, next_batch = now - skew, wait
        if not answered:
            continue
        windows = playback.windows(now, passed, {"h": arrived})
        (first, start), (_, end) = windows.late["h"], windows.due["h"]
        playback.move(windows)
        assert first <= start <= end <= arrived + 1e-6
        assert end - start <= passed + SLACK + 1e-6
        if told and first != end:  # it may begin anew after long
            assert first == told[-1][1]
        told.append((first, end))
        passed = 0.0


class Sender:
    """A host that sends every ten seconds, as playback sees it."""

    def __init__(self) -> None:
        self.playback = Playback()
        self.now = float(NOON)
        self.arrived = 0.0
        self.skew = 0.0
        """Seconds by which the host's clock is ahead."""
        self.ahead = 0.0
        """Seconds by which the follower's clock is ahead."""
        self.due: list[float] = []
        """Seconds told with a time, by reading."""
        self.late = 0.0

    def run(self, seconds: int, delay: float = 0.0, passed: float = 1.0) -> None:
        """Let readings pass; each batch arrives `delay` seconds after its ten."""
        for _ in range(seconds):
            self.now += passed
            self.arrived = max(self.arrived, (self.now - delay) // BATCH * BATCH)
            looked_at, last = self.now + self.ahead, self.arrived + self.skew
            windows = self.playback.windows(looked_at, passed, {"h": last})
            self.playback.move(windows)
            self.due.append(windows.due["h"][1] - windows.due["h"][0])
            self.late += windows.late["h"][1] - windows.late["h"][0]

    @property
    def delay(self) -> float:
        return self.playback.late({}).get("h", STEP)


def test_punctual_host_is_played_without_a_gap() -> None:
    host = Sender()
    host.run(100)
    assert host.due == [0.0] + [1.0] * 99, "what was before is history"
    assert (host.late, host.delay) == (0.0, STEP)


def test_late_host_is_delayed_until_it_recovers() -> None:
    """The time in between is played once, and counts in no rate."""
    host = Sender()
    host.run(30)
    host.run(60, delay=25)
    assert host.delay == 3 * STEP
    assert sum(host.due) == 89 - 2 * STEP
    host.run(60)
    assert host.delay == STEP
    assert host.late == 2 * STEP
    assert max(host.due) == 1.0
    assert sum(host.due) + host.late == 149


def test_many_short_faults_do_not_add_up() -> None:
    host = Sender()
    host.run(30)
    for _ in range(20):
        host.run(1, passed=3.0)  # nobody could be asked for two
        host.run(50)
    assert host.delay == STEP
    assert host.late == 0
    assert sum(host.due) == host.now - NOON - 1, "as long as what has passed"


@pytest.mark.parametrize(
    ("skew", "ahead"), [(600.0, 0.0), (-90.0, 0.0), (-600.0, 0.0), (3600.0, 0.0), (0.0, -3600.0)]
)
def test_a_clock_that_is_set_is_followed(skew: float, ahead: float) -> None:
    host = Sender()
    host.run(60)
    host.skew, host.ahead = skew, ahead
    host.run(120)
    assert host.due[-60:] == [1.0] * 60
    assert max(host.due) == 1.0


# What is read of a server.


class Clock:
    """The clock of the follower."""

    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


class Fleet:
    """Hosts with recorded and shipped intervals, and a follower."""

    def __init__(self, server: FleetServer, keep: Filter = EVERYTHING) -> None:
        self.server = server
        self.keep = keep
        self.clock = Clock()
        self.hosts: dict[Host, Kept] = {}
        self.waiting: dict[Host, list[Delta]] = {}
        self.shift: dict[Host, float] = {}
        """Seconds by which clocks are ahead."""

    def plan(self, host: Host, *deltas: Delta) -> None:
        """Set the deltas of a host; it records each at the end of its interval."""
        self.hosts[host] = Kept()
        self.waiting[host] = sorted(deltas, key=lambda delta: delta.start)

    def follow(self, *, names: bool = True) -> FleetFollower:
        self.send()
        return FleetFollower(self.server, self.keep, self.clock, self.clock, names=names)

    def send(self) -> None:
        for host, kept in self.hosts.items():
            waiting = self.waiting[host]
            over = [d for d in waiting if d.start + d.seconds <= self.clock.now]
            self.waiting[host] = waiting[len(over) :]
            if over:
                ahead = self.shift.get(host, 0.0)
                kept.append(*(replace(delta, start=delta.start + ahead) for delta in over))
                ship(kept, self.server, host)

    def readings(self, follower: FleetFollower, seconds: int) -> Iterator[Sample]:
        """Yield a reading each second; the hosts send every ten seconds."""
        for _ in range(seconds):
            self.clock.now += 1
            if int(self.clock.now) % BATCH == 3:
                self.send()
            yield follower.read()

    def close(self) -> None:
        for kept in self.hosts.values():
            kept.connection.close()


@pytest.fixture(name="fleet")
def _fleet(make: Make) -> Iterator[Fleet]:
    made = Fleet(make())
    yield made
    made.close()
    made.server.close()


on_one_server = pytest.mark.parametrize("make", ["today"], indirect=True)
"""Marks a test of Python alone; other tests ask both servers the same."""


STEADY: Final[Mapping[Any, Any]] = {(key(1), CURL): {REMOTES[0]: (1, 1)}}


def every_second(seconds: int, flows: Mapping[Any, Any] = STEADY, **more: Any) -> list[Delta]:
    """Record from 30 seconds ago on; each second has amounts of its own."""
    return [
        Delta(
            NOON + second,
            1.0,
            {
                process: {
                    far: (rx * (second + 100), tx + second + 30) for far, (rx, tx) in far_.items()
                }
                for process, far_ in flows.items()
            },
            **more,
        )
        for second in range(-30, seconds)
    ]


def alike(seconds: int) -> list[Delta]:
    """Record 1000 bytes in every second."""
    flows = {(key(1), CURL): {REMOTES[0]: (1000, 0)}}
    return [Delta(NOON + second, 1.0, flows) for second in range(-30, seconds)]


Moves = Counter[tuple[str, int, str, Remote, str]]
"""Bytes by host, pid, name, remote and direction."""


def moved(samples: list[Sample]) -> Moves:
    found = Moves()
    for sample in samples:
        for process, remotes in sample.traffic.items():
            who = sample.identities[process]
            assert who.host
            for far, (rx, tx) in remotes.items():
                found[who.host.id, process.stored_pid, who.name, far, "rx"] += rx
                found[who.host.id, process.stored_pid, who.name, far, "tx"] += tx
    return +found


def recorded(host: Host, deltas: list[Delta], start: float, end: float) -> Moves:
    found = Moves()
    for delta in deltas:
        if start <= delta.start < end:
            for (process, who), remotes in delta.flows.items():
                for far, (rx, tx) in remotes.items():
                    found[host.id, process.stored_pid, who.name, far, "rx"] += rx
                    found[host.id, process.stored_pid, who.name, far, "tx"] += tx
    return +found


def test_every_byte_is_played_once(fleet: Fleet) -> None:
    """Of hosts with equal process numbers, and of two with the same name."""
    plans = {}
    for n, host in enumerate((WEB, HOSTILE, *TWINS)):
        flows = {
            (key(1), CURL): dict.fromkeys(REMOTES, (7 + n, 3)),
            (key(2), NGINX): {REMOTES[1]: (1000 + n, 5)},
        }
        plans[host] = every_second(60, flows)
        fleet.plan(host, *plans[host])
    follower = fleet.follow()
    samples = list(fleet.readings(follower, 50))
    wanted = Moves()
    for host, deltas in plans.items():
        wanted += recorded(host, deltas, NOON - STEP, NOON + 50 - STEP)
    assert moved(samples) == wanted
    assert all(sample.elapsed == 1.0 for sample in samples)
    assert [len(sample.traffic) for sample in samples] == [8] * 50, "none has a second without"
    assert follower.state() == ("4 hosts, 15 s late", "")


@on_one_server
def test_played_second_equals_the_recorded_one(fleet: Fleet) -> None:
    """So rates are those of the host, not those of batches."""
    fleet.plan(WEB, *every_second(40))
    told = [sum(moved([sample]).values()) for sample in fleet.readings(fleet.follow(), 30)]
    first = int(100 - STEP) + int(30 - STEP) + 1
    assert told == [first + 2 * second for second in range(30)]


def test_identities_are_those_of_the_host(fleet: Fleet) -> None:
    """uid 33 has the name of the host."""
    pod = Identity("nginx", 33, exe="/usr/sbin/nginx", container="docker:0123", pod="aaaa")
    kernel = Identity("kworker/0:1", None, kernel=True)
    fleet.plan(
        WEB,
        *every_second(30, {
            (key(1), pod): {REMOTES[0]: (1, 1)},
            (key(2), kernel): {REMOTES[0]: (1, 1)},
            (UNATTRIBUTED, UNATTRIBUTED_IDENTITY): {REMOTES[-1]: (5, 5)},
        }),
    )  # fmt: skip
    samples = list(fleet.readings(fleet.follow(), 5))
    found = {who.name: who for sample in samples for who in sample.identities.values()}
    assert found["nginx"] == replace(pod, host=WEB, user=found["nginx"].user)
    assert found["nginx"].user == "www-data"
    assert found["kworker/0:1"] == replace(kernel, host=WEB)
    assert found["(unattributed)"] == replace(UNATTRIBUTED_IDENTITY, host=WEB)
    pids = {process.pid for sample in samples for process in sample.traffic}
    assert pids == {None, 1, 2}


@on_one_server
def test_exec_makes_a_row_for_each_program(fleet: Fleet) -> None:
    """As in the history; no byte is in both."""
    before = every_second(0)
    after = [
        replace(delta, start=delta.start + 30, flows={(key(1), NGINX): {REMOTES[0]: (1, 1)}})
        for delta in before
    ]
    fleet.plan(WEB, *before, *after)
    samples = list(fleet.readings(fleet.follow(), 40))
    assert len({process for sample in samples for process in sample.traffic}) == 2
    assert moved(samples) == recorded(WEB, [*before, *after], NOON - STEP, NOON + 40 - STEP)
    assert [who.name for who in samples[-1].identities.values()] == ["nginx"]


def _amounts(samples: list[Sample]) -> Iterator[tuple[Remote, int]]:
    for sample in samples:
        for remotes in sample.traffic.values():
            for far, traffic in remotes.items():
                yield far, traffic.rx


def test_small_flows_beyond_the_most_are_one_and_no_byte_is_lost(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By process, protocol, role and loopback, so that every filter except that of remotes counts the same."""
    monkeypatch.setattr(follow, "MOST", 5)
    fars = [*REMOTES, *(remote(f"198.51.100.{n}", 443) for n in range(20))]
    flows = {
        (key(pid), CURL): {far: (pid * place + 1, place) for place, far in enumerate(fars)}
        for pid in (1, 2)
    }
    deltas = every_second(30, flows)
    fleet.plan(WEB, *deltas)
    samples = list(fleet.readings(fleet.follow(), 20))
    for sample in samples:
        assert len([far for far, _ in _amounts([sample]) if far.port]) == 5, "the largest"
    found, wanted = moved(samples), recorded(WEB, deltas, NOON - STEP, NOON + 20 - STEP)
    assert kinds(found) == kinds(wanted)
    hidden = {far.address for far, _ in _amounts(samples) if not far.port}
    assert hidden >= {UNKNOWN_ADDRESS, LOOPBACK_V4, LOOPBACK_V6}


def kinds(sums: Moves) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for (host, pid, name, far, way), count in sums.items():
        is_loopback = far.address[:13] == LOOPBACK_V4[:13] or far.address == LOOPBACK_V6
        found[host, pid, name, far.protocol, far.role, is_loopback, way] += count
    return found


def test_losses_are_played(fleet: Fleet) -> None:
    for host in TWINS:
        fleet.plan(host, *every_second(30, loss=Loss(1, 100, 2, 200, 3, 4)))
    lost = Loss()
    for sample in fleet.readings(fleet.follow(), 10):
        lost = lost.plus(sample.loss)
    assert lost == Loss(20, 2000, 40, 4000, 60, 80)


def test_host_filter_limits_the_follower(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on flows applies to the requested hosts only."""
    monkeypatch.setattr(follow, "MOST", 2)
    fleet.keep = typed(f"host:web*,{TWINS[1].id}")
    for host, amount in ((WEB, 1), (TWINS[0], 1000), (TWINS[1], 1)):
        fleet.plan(host, *every_second(30, {(key(1), CURL): {REMOTES[0]: (amount, amount)}}))
    follower = fleet.follow()
    samples = list(fleet.readings(follower, 10))
    assert {(host, far) for host, _, _, far, _ in moved(samples)} == {
        (WEB.id, REMOTES[0]),
        (TWINS[1].id, REMOTES[0]),
    }
    assert follower.state()[0] == "2 hosts, 15 s late"


@on_one_server
def test_unknown_host_name_is_reported(fleet: Fleet) -> None:
    fleet.keep = typed("host:web")
    fleet.plan(WEB, *every_second(30))
    assert fleet.follow().state() == (
        "0 hosts, 15 s late",
        f"no host of that name sends data; live hosts: {WEB.name}",
    )


def named_seconds(*names: str | Learned, who: Identity = CURL, pid: int = 1) -> list[Delta]:
    """Record a byte in every second to a site whose names are heard in the first."""
    return [
        named_delta(NOON + second, *(names if second == -30 else ()), who=who, pid=pid)
        for second in range(-30, 60)
    ]


def names_in(samples: Sequence[Sample]) -> dict[tuple[str, str], list[str]]:
    """Return the names in the last sample that has bytes, by host and process."""
    last = next(one for one in reversed(samples) if one.traffic)
    found = {}
    for (process, _), names in last.named.items():
        who = last.identities[process]
        assert who.host
        found[who.host.id, who.name] = [f"{one.name} {one.source}" for one in names]
    return found


def test_remotes_have_the_names_that_their_hosts_have_sent(fleet: Fleet) -> None:
    """What one host was told by DNS says nothing about the processes of another."""
    fleet.plan(WEB, *named_seconds("www.example.org", learned("cdn.example.net", NameSource.DNS)))
    fleet.plan(TWINS[0], *named_seconds(learned("alien.example", NameSource.DNS, pid=9)))
    fleet.plan(TWINS[1], *named_seconds())
    found = names_in(list(fleet.readings(fleet.follow(), 9)))
    assert found == {
        (WEB.id, "curl"): ["www.example.org sni", "cdn.example.net dns"],
        (TWINS[0].id, "curl"): ["alien.example dns-host"],
    }
    assert names_in(list(fleet.readings(fleet.follow(names=False), 9))) == {}


def test_name_that_changes_is_followed(fleet: Fleet) -> None:
    deltas = named_seconds("old.example")
    deltas[50] = named_delta(deltas[50].start, "new.example")
    fleet.plan(WEB, *deltas)
    follower = fleet.follow()
    samples = list(fleet.readings(follower, 20))
    assert names_in(samples) == {(WEB.id, "curl"): ["old.example sni"]}
    samples += fleet.readings(follower, 30)
    assert names_in(samples) == {(WEB.id, "curl"): ["new.example sni", "old.example sni"]}


def test_many_names_come_one_after_the_other(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "AT_ONCE", 2)
    fars = [remote(f"198.51.100.{n}") for n in range(6)]
    flows = {(key(1), CURL): dict.fromkeys(fars, (1, 0))}
    plan = [Delta(NOON + second, 1.0, flows) for second in range(-30, 30)]
    for n, far in enumerate(fars):
        seen = SeenName(key(1), CURL, far.address, far.port, f"{n}.example", NameSource.SNI)
        plan[0].names[seen] = plan[0].start
    fleet.plan(WEB, *plan)
    counts = [len(sample.named) for sample in fleet.readings(fleet.follow(), 5) if sample.traffic]
    assert counts[:4] == [2, 4, 6, 6]


def test_remotes_that_are_hosts_have_no_other_names(fleet: Fleet) -> None:
    fleet.plan(WEB, *named_seconds("www.example.org"))
    fleet.send()
    report_host(fleet.server, TWINS[0], [format_address(SITE.address)])
    follower = fleet.follow()
    samples = list(fleet.readings(follower, 5))
    assert samples[-1].traffic
    assert not any(sample.named for sample in samples)
    assert follower.peers() == {SITE.address: TWINS[0]}


def test_server_without_names_is_followed(fleet: Fleet) -> None:
    fleet.plan(WEB, *named_seconds("www.example.org"))
    follower = fleet.follow()
    fleet.server.query("DROP TABLE named")
    samples = [follower.read() for fleet.clock.now in (NOON + 1.0, NOON + 2.0)]
    assert all(sample.traffic and not sample.named for sample in samples)


@on_one_server
def test_idle_process_is_forgotten_and_may_return(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = 20
    monkeypatch.setattr(follow, "QUIET", float(quiet))
    steady = every_second(quiet + 60)
    for place, flows in ((40, (10, 0)), (30 + quiet + 40, (20, 0))):
        steady[place].flows[key(2), NGINX] = {REMOTES[0]: flows}
    fleet.plan(WEB, *steady)
    samples = list(fleet.readings(fleet.follow(), quiet + 60))
    keys = [p for sample in samples for p in sample.traffic if p.pid == 2]
    assert len(keys) == 2
    assert keys[0] != keys[1], "the first has been let go"
    assert [p for sample in samples for p in sample.exited] == [keys[0]]
    assert len({p for sample in samples for p in sample.traffic if p.pid == 1}) == 1


@on_one_server
def test_silent_host_is_reported(fleet: Fleet) -> None:
    fleet.plan(WEB, *every_second(10))
    fleet.plan(TWINS[0], *every_second(300))
    follower = fleet.follow()
    list(fleet.readings(follower, 60))
    words, warning = follower.state()
    assert words == "2 hosts, 15 s late"
    assert warning.startswith(f"late: {WEB.name} (")
    fleet.clock.now += int(REACH)
    fleet.send()
    follower.read()
    since = time.strftime("%H:%M", time.localtime(NOON + 60))
    assert follower.state() == ("1 host, 15 s late", f"silent: {WEB.name} (since {since})")


@on_one_server
def test_host_with_a_clock_ahead_is_played(fleet: Fleet) -> None:
    """Its clock was wrong before it was set."""
    wrong = every_second(-28)
    fleet.plan(WEB, *(replace(d, start=d.start - 100) for d in wrong))
    follower = fleet.follow()
    fleet.hosts[WEB].append(*(replace(d, start=d.start + 3600) for d in wrong))
    fleet.waiting[WEB] = every_second(60)
    samples = list(fleet.readings(follower, 50))
    assert [bool(sample.traffic) for sample in samples[-20:]] == [True] * 20


@pytest.mark.parametrize(
    ("make", "ahead", "looks_on"),
    [
        ("18.16", 60.0, True),
        ("today", 60.0, True),
        ("18.16", 30.0, True),
        ("18.16", 60.0, False),
    ],
    indirect=["make"],
)
def test_rows_from_before_a_clock_was_set_back_are_played_once(
    fleet: Fleet, ahead: float, looks_on: bool
) -> None:
    """New intervals come to the times that old ones have; two steps leave two sets of those."""
    fleet.plan(WEB, *alike(300))
    fleet.shift[WEB] = 40 + ahead
    fleet.send()
    begun = fleet.clock.now
    follower = fleet.follow() if looks_on else None
    samples: list[Sample] = []
    for now, later in ((10, ahead), (30, 0.0)):
        while fleet.clock.now < NOON + now:
            fleet.clock.now += 1
            if int(fleet.clock.now) % BATCH == 3:
                fleet.send()
            samples += [follower.read()] if follower else []
        fleet.shift[WEB] = later
    samples += fleet.readings(follower or fleet.follow(), 150)
    told = [rx for _, rx in _amounts(samples)]
    assert max(told) == 1000
    if follower:
        late = [rx for _, rx in _amounts([one.late for one in samples if one.late])]
        seconds = fleet.clock.now - STEP - begun
        assert abs(sum(told) + sum(late) - 1000 * seconds) <= 1000 * 2 * STEP, "nor are they lost"
    else:
        assert len(told) > 110


class Between:
    """A server at which something happens before or after each query of certain columns."""

    def __init__(self, server: FleetServer, columns: str, deed: Callable[[], None]) -> None:
        self._server, self._columns, self._deed = server, columns, deed
        self.insert, self.close = server.insert, server.close

    @property
    def version(self) -> tuple[int, int]:
        return self._server.version

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        found = self._server.query(statement)
        if self._columns in statement:
            self._deed()
        return found


def test_rows_between_two_queries_count_once(fleet: Fleet) -> None:
    """The largest flows are queried before the totals."""
    real, other = fleet.server, Kept()

    def arrive() -> None:
        if not other.deltas:
            other.append(*every_second(0, {(key(1), NGINX): {REMOTES[0]: (7, 0)}}))
            ship(other, real, WEB)

    fleet.server = Between(real, "ORDER BY received + sent", arrive)
    fleet.plan(WEB, *alike(30))
    samples = list(fleet.readings(fleet.follow(), 10))
    assert moved(samples)[WEB.id, 1, "nginx", Remote(6, 0, 0, UNKNOWN_ADDRESS), "rx"] > 0
    assert all(rx > 0 for _, rx in _amounts(samples))
    other.connection.close()


@on_one_server
def test_slow_server_is_queried_less_often(fleet: Fleet) -> None:
    """At most for a quarter of the time; intervals get longer, and nothing is lost."""

    def wait() -> None:
        fleet.clock.now += 1

    fleet.server = Between(fleet.server, "AS kind", wait)
    fleet.plan(WEB, *alike(60))
    samples = list(fleet.readings(fleet.follow(), 30))
    lengths = [sample.elapsed for sample in samples if sample.elapsed]
    assert set(lengths[1:]) == {4.0}
    rates = {rx / s.elapsed for s in samples[5:] if s.elapsed for _, rx in _amounts([s])}
    assert rates == {1000.0}


@on_one_server
def test_number_of_known_processes_is_bounded(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MOST_KNOWN", 20)
    deltas = alike(40)
    for second, delta in enumerate(deltas):
        who = [(key(100 * (second + 1) + n), CURL) for n in range(3)]
        delta.flows = {process: {REMOTES[0]: (1, 1)} for process in who}
    fleet.plan(WEB, *deltas)
    samples = list(fleet.readings(fleet.follow(), 30))
    assert moved(samples) == recorded(WEB, deltas, NOON - STEP, NOON + 30 - STEP)
    assert sum(len(sample.traffic) for sample in samples) == 90
    assert sum(len(sample.exited) for sample in samples) == 70


@on_one_server
def test_no_host_sends(fleet: Fleet) -> None:
    follower = fleet.follow()
    assert follower.state() == ("0 hosts, 15 s late", "no host has sent data for 120 s")
    assert follower.read().traffic == {}


# A server that comes and goes.


def test_a_server_that_was_away_makes_no_spike_and_loses_nothing(own: ClickHouse) -> None:
    fleet = Fleet(Client(own.target, ""))
    fleet.plan(WEB, *alike(200))
    follower = fleet.follow()
    samples = list(fleet.readings(follower, 10))
    own.kill()
    for _ in range(20):
        fleet.clock.now += 1
        sample = follower.read()
        assert (sample.elapsed, sample.traffic) == (0.0, {}), "nobody knows"
    assert follower.state() == (
        "1 host, 15 s late",
        f"{own.target.url()}: Connection refused; showing old data",
    )
    own.start()
    samples += fleet.readings(follower, 80)
    assert all(rx == 1000 * sample.elapsed for sample in samples for _, rx in _amounts([sample]))
    assert all(sample.traffic for sample in samples if sample.elapsed), "no time without rows"
    assert [bool(sample.traffic) for sample in samples[-20:]] == [True] * 20
    assert follower.state() == ("1 host, 15 s late", "")
    late = [sample.late for sample in samples if sample.late]
    assert all(sample.elapsed == 0.0 for sample in late)
    assert sum(rx for _, rx in _amounts([*samples, *late])) == 1000 * 110
    follower.close()
    fleet.close()


@on_one_server
def test_playback_restarts_after_a_long_absence(fleet: Fleet) -> None:
    fleet.plan(WEB, *alike(400))
    follower = fleet.follow()
    list(fleet.readings(follower, 10))
    fleet.clock.now += 2 * REACH
    fleet.send()
    sample = follower.read()
    assert (sample.elapsed, sample.traffic, sample.late) == (0.0, {}, None)
    told = [rx for _, rx in _amounts(list(fleet.readings(follower, 10)))]
    assert told == [1000] * 10


def update(server: Client, table: str, change: str) -> None:
    """Change rows, and wait until that is done."""
    server.query(f"ALTER TABLE {table} UPDATE {change}")
    left = "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done"
    until(lambda: server.query(left) == [(0,)])


def test_invalid_utf_8_does_not_stop_the_follower(server: Client) -> None:
    """Other programs may write there, too."""
    fleet = Fleet(server)
    fleet.plan(WEB, *every_second(30))
    follower = fleet.follow()
    update(server, "traffic", "name = unhex('FF41') WHERE 1")
    fleet.clock.now += 1
    (who,) = follower.read().identities.values()
    assert who.name == "\ufffdA"
    fleet.close()


@pytest.mark.parametrize(
    ("clock", "words"), [(3600.0, "1 hour ahead"), (-90.0, "2 minutes behind")]
)
def test_host_with_a_wrong_clock_is_live_and_named(fleet: Fleet, clock: float, words: str) -> None:
    for host in (WEB, TWINS[0]):
        fleet.plan(host, *alike(60))
    fleet.shift[WEB] = clock
    for host, ahead in ((WEB, clock), (TWINS[0], 3.0)):
        report_host(fleet.server, host, clock=ahead)
    follower = fleet.follow()
    samples = list(fleet.readings(follower, 40))
    assert follower.state() == ("2 hosts, 15 s late", f"clock wrong: {WEB.name} ({words})")
    told = [rx for _, rx in _amounts(samples)]
    assert set(told) == {1000}
    assert len(told) > 50


def test_remotes_are_known_by_the_addresses_that_hosts_report(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that several hosts have is no host's; names are those of live hosts."""
    monkeypatch.setattr(follow, "ADDRESSES", 10.0)
    fleet.plan(TWINS[0], *alike(200))
    fleet.plan(TWINS[1], *alike(200))
    report_host(fleet.server, TWINS[0], ["192.0.2.7", "172.17.0.1"])
    report_host(fleet.server, WEB, ["2001:db8::1", "172.17.0.1"])
    follower = fleet.follow()
    names = {address: host.label for address, host in follower.peers().items()}
    assert names == {packed("192.0.2.7"): "localhost (44444444)", packed("2001:db8::1"): WEB.name}
    report_host(fleet.server, WEB, ["192.0.2.8"])
    list(fleet.readings(follower, 11))
    assert packed("192.0.2.8") in follower.peers()


@on_one_server
def test_hosts_of_one_name_are_told_apart(fleet: Fleet) -> None:
    for host in (*TWINS, WEB):
        fleet.plan(host, *alike(0))
    follower = fleet.follow()
    labels = {host.label for host in follower.hosts.values()}
    assert labels == {"localhost (44444444)", "localhost (55555555)", WEB.name}
    fleet.clock.now += REACH + 20
    follower.read()
    assert follower.state() == ("0 hosts, 15 s late", "no host has sent data for 120 s")
    fleet.plan(WEB, *alike(300))
    fleet.waiting[WEB] = [d for d in fleet.waiting[WEB] if d.start > fleet.clock.now - 60]
    list(fleet.readings(follower, 10))
    assert "localhost (44444444) (since " in follower.state()[1]


def test_host_that_died_while_its_clock_was_ahead_is_silent(server: Client) -> None:
    """The server knows when it received the last rows."""
    fleet = Fleet(server)
    fleet.plan(WEB, *alike(0))
    fleet.plan(TWINS[0], *alike(0))
    fleet.shift[WEB] = 3600.0
    report_host(server, WEB, clock=3600.0)
    follower = fleet.follow()
    assert follower.state()[0] == "2 hosts, 15 s late"
    update(server, "span", f"received = now() - {REACH + 5:.0f} WHERE host = '{WEB.name}'")
    fleet.clock.now += 1
    follower.read()
    assert follower.state()[0] == "1 host, 15 s late"
    assert follower.state()[1].startswith(f"silent: {WEB.name} (since ")
    fleet.close()


MANY: Final = [Host(f"web{n}", f"{n}0000000-1111-4111-8111-111111111111") for n in range(6)]


@on_one_server
@pytest.mark.parametrize(
    ("late", "punctual", "words"),
    [
        (MANY, [WEB], "late: web0 (45 s), web1 (45 s), web2 (45 s), 3 more"),
        (TWINS, [], "late: all hosts (up to 45 s)"),
        ([HOSTILE], [], f"late: {printable(HOSTILE.name)} (45 s)"),
    ],
)
def test_late_hosts_are_a_short_warning(
    fleet: Fleet, late: Sequence[Host], punctual: list[Host], words: str
) -> None:
    for host in late:
        fleet.plan(host, *every_second(0))
    for host in punctual:
        fleet.plan(host, *every_second(60))
    follower = fleet.follow()
    list(fleet.readings(follower, 40))
    assert follower.state()[1] == words
