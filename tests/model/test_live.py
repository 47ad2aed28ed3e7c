"""The model agrees with plain sums over its readings, and never forgets a byte."""

import gc
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from functools import reduce
from types import FunctionType, ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model import largest
from bwtop.model import live as limits
from bwtop.model.flows import TCP, UDP, Host, Identity, Loss, ProcessKey, Remote, Traffic, nowhere
from bwtop.model.ledger import CATEGORIES, Category, Tally, category
from bwtop.model.live import AVERAGES, LINGER, LiveModel
from bwtop.model.sample import Sample
from bwtop.model.series import LENGTH, Rates
from tests.build import NOW, REMOTES, key, remote, sample
from tests.model.test_ledger import Sums, plain, readings, tallies, totals

SLACK = 0.95
"""Part of the length of an average that is enough: clocks are never exact."""

averages = st.sampled_from(AVERAGES)


def lived(timeline: list[Sample]) -> list[Sample]:
    """Return the readings without traffic after exits."""
    exited: set[ProcessKey] = set()
    for reading in timeline:
        reading.traffic = {k: flows for k, flows in reading.traffic.items() if k not in exited}
        exited |= reading.exited
    return timeline


lives = st.lists(readings, max_size=10).map(lived)


def advanced(timeline: Iterable[Sample], model: LiveModel | None = None) -> LiveModel:
    model = model or LiveModel()
    for reading in timeline:
        model.advance(reading)
    return model


def moved(rx: int = 100, pid: int = 1, elapsed: float = 1.0, far: Remote = REMOTES[0]) -> Sample:
    """Return a reading in which one process received that much."""
    return sample({key(pid): {far: Traffic(rx)}}, elapsed=elapsed)


def windows(model: LiveModel) -> Sums:
    """Return the windows by the names of test_ledger, without empty ones."""
    found = tallies(model.ledger).items()
    return {n: (t.rx_window, t.tx_window) for n, t in found if t.rx_window or t.tx_window}


def entries(timeline: Iterable[Sample]) -> int:
    return sum(
        1 for r in timeline for flows in r.traffic.values() for t in flows.values() if t.rx or t.tx
    )


def window(timeline: list[Sample], average: float, most: int = 10**9) -> list[Sample]:
    """Return the fewest latest readings that make up the average, within the limit of flows."""
    found: list[Sample] = []
    for reading in reversed(timeline):
        if found and sum(r.elapsed for r in found) >= average * SLACK:
            break
        if found and entries([*found, reading]) > most:
            break
        found.append(reading)
    return found


def of_all(model: LiveModel) -> Rates:
    return model.rates(model.window_sums(CATEGORIES))


# Rates over the averages.


@given(
    st.lists(st.tuples(readings, averages | st.none(), averages | st.none()), max_size=12),
    st.sampled_from([1, 7, 20, 10**9]),
)
def test_windows_are_plain_sums_of_the_last_readings(
    steps: list[tuple[Sample, float | None, float | None]], most: int
) -> None:
    """The average changes at any time, with any limit of flows."""
    timeline = lived([reading for reading, _, _ in steps])
    model, average = LiveModel(), AVERAGES[0]
    with patch.object(limits, "MAX_ENTRIES", most):
        for number, (reading, before, after) in enumerate(steps, 1):
            if before:
                average = before
                model.set_average(before)
            model.advance(reading)
            if after:
                average = after
                model.set_average(after)
            expected = window(timeline[:number], average, most)
            assert windows(model) == plain(expected)
            covered = sum(reading.elapsed for reading in expected)
            assert model.covered == covered
            rx, tx = of_all(model)
            assert rx == sum(t.rx for t in traffics(expected)) / covered
            assert tx == sum(t.tx for t in traffics(expected)) / covered


def traffics(timeline: Iterable[Sample]) -> list[Traffic]:
    return [t for reading in timeline for flows in reading.traffic.values() for t in flows.values()]


@given(st.lists(readings, min_size=1, max_size=5).map(lived), st.sets(st.sampled_from(REMOTES)))
def test_rates_and_sums_of_some_categories_are_those_of_their_flows(
    timeline: list[Sample], some: set[Remote]
) -> None:
    """Sum a category at once, flow by flow, or process by process."""
    model = advanced(timeline)
    wanted = {category(far) for far in some}
    processes = model.ledger.processes.values()
    by_all = model.rates(model.window_sums(wanted))
    flows = [f for p in processes for f in p.flows.values() if f.category in wanted]
    of_processes = [tally for p in processes for of, tally in p.sums.items() if of in wanted]
    assert by_all == model.rates(flows) == model.rates(of_processes)


@pytest.mark.parametrize("jitter", [0.98, 0.9997, 1.0003, 1.02])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("interval", [0.1, 0.5, 1.0])
def test_average_has_the_chosen_length(interval: float, average: float, jitter: float) -> None:
    """Intervals are never exactly a second long, so this is approximate."""
    elapsed = interval * jitter
    model = LiveModel()
    model.set_average(average)
    advanced((moved(100, elapsed=elapsed) for _ in range(round(60 / interval))), model)
    assert model.covered == pytest.approx(average, rel=0.06)
    if interval == 1.0 and average <= 10:
        assert model.covered == pytest.approx(average * jitter), "so many intervals"
    rx, tx = of_all(model)
    assert (round(rx * elapsed, 6), tx) == (100, 0)


def test_average_covers_at_least_one_interval_and_at_most_all() -> None:
    model = advanced([moved(100, elapsed=30.0)])
    assert (model.covered, of_all(model)) == (30.0, (100 / 30, 0))
    model.set_average(40.0)
    model.advance(sample(elapsed=2.0))
    assert (model.covered, of_all(model)) == (32.0, (100 / 32, 0))


def test_rate_is_zero_before_the_first_reading() -> None:
    model = LiveModel()
    assert (of_all(model), model.covered, model.number, model.time) == ((0, 0), 0, 0, 0)
    model.set_average(10.0)
    assert of_all(advanced([moved(100, elapsed=0.0)])) == (0, 0)


# Totals.


@given(lives)
def test_time_frames_and_losses_add_up(timeline: list[Sample]) -> None:
    model = advanced(timeline)
    assert model.number == len(timeline)
    assert model.time == sum(reading.elapsed for reading in timeline)
    assert model.loss == reduce(Loss.plus, (reading.loss for reading in timeline), Loss())


ByCategory = dict[Category, tuple[int, int]]


def by_category(tallied: Iterable[tuple[Category, Tally]]) -> ByCategory:
    rx: Counter[Category] = Counter()
    tx: Counter[Category] = Counter()
    for of, tally in tallied:
        rx[of] += tally.rx
        tx[of] += tally.tx
    return {of: (rx[of], tx[of]) for of in rx if rx[of] or tx[of]}


def remembered(model: LiveModel) -> tuple[ByCategory, ...]:
    """Return the traffic of all processes ever: by the total, by process, by flow."""
    processes = [*model.ledger.processes.values(), *model.gone.values()]
    of_all = model.ledger.sums.items()
    of_processes = [item for process in processes for item in process.sums.items()]
    of_flows = [(flow.category, flow) for p in processes for flow in p.flows.values()]
    return tuple(by_category(tallied) for tallied in (of_all, of_processes, of_flows))


@given(
    lives,
    st.sampled_from([0, 1, 10**6]),
    st.sampled_from([0, 1, 2, 10**6]),
    st.sampled_from([0, 1, 2, 10**6]),
    st.sampled_from([0, 1, 3, 10**6]),
)
def test_listed_and_removed_processes_have_all_bytes(
    timeline: list[Sample], lingering: int, kinds: int, remotes: int, flows: int
) -> None:
    model = LiveModel()
    few: Any = {"MAX_LINGERING": lingering, "MAX_GONE": kinds, "MAX_GONE_REMOTES": remotes}
    few["MAX_GONE_FLOWS"] = flows
    with patch.multiple(limits, **few):
        for number, reading in enumerate(timeline, 1):
            model.advance(reading)
            everything = plain(timeline[:number])
            expected = {of: sums for (who, of), sums in everything.items() if who == "all"}
            assert remembered(model) == (expected, expected, expected)
            assert len(model.gone) <= kinds + 1
            assert len(model.exited) <= max(lingering, len(reading.exited))
            assert all(len(kind.flows) <= remotes + len(REMOTES) for kind in model.gone.values())
            named = [f for kind in model.gone.values() for f in kind.flows if f != nowhere(f)]
            assert len(named) <= flows
    assert [kind.key for kind in model.gone.values()] == [None] * len(model.gone)


# Exited processes.


@given(lives)
def test_processes_are_listed_until_they_have_lingered(timeline: list[Sample]) -> None:
    model = LiveModel()
    exits: dict[ProcessKey, float] = {}
    known: set[ProcessKey] = set()
    for reading in timeline:
        with patch.object(largest, "MOST", 0):
            model.advance(reading)
        known |= {name for name, _ in plain([reading]) if isinstance(name, ProcessKey)}
        for process in reading.exited & known:
            exits.setdefault(process, model.time)
        gone = {process for process, time in exits.items() if model.time - time >= LINGER}
        assert model.ledger.processes.keys() == known - gone
        assert model.exited.keys() == exits.keys() - gone


@pytest.mark.parametrize("interval", [0.5, 1.0, 8.0])
def test_process_lingers_until_its_bytes_have_left_every_average(interval: float) -> None:
    model = LiveModel()
    model.set_average(AVERAGES[-1])
    reading = moved(100, elapsed=interval)
    reading.exited = {key(1)}
    advanced([moved(5), reading], model)
    advanced([sample(elapsed=interval)] * (round(LINGER / interval) - 1), model)
    assert model.exited == {key(1): 1 + interval}
    (process,) = model.ledger.processes.values()
    assert sum(tally.rx for tally in process.sums.values()) == 105
    model.advance(sample(elapsed=interval))
    assert (model.ledger.processes, model.exited, windows(model)) == ({}, {}, {})
    assert remembered(model) == ({category(REMOTES[0]): (105, 0)},) * 3


def exiting(pid: int, identity: Identity, far: Remote = REMOTES[0]) -> Sample:
    """Return a reading in which one process receives ten bytes and exits."""
    reading = moved(10, pid, far=far)
    reading.identities = {key(pid): identity}
    reading.exited = {key(pid)}
    return reading


def test_oldest_exited_processes_leave_when_too_many_linger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_LINGERING", 2)
    model = advanced([moved(1, pid=9)] + [exiting(pid, Identity("cc")) for pid in (5, 3, 4, 1)])
    assert list(model.ledger.processes) == [key(9), key(4), key(1)]
    assert list(model.exited) == [key(4), key(1)]


def test_equal_exited_processes_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments and start times do not matter."""
    monkeypatch.setattr(limits, "MAX_LINGERING", 0)
    kind = Identity("curl", uid=5, exe="/bin/curl", user="ada", unit="a.scope")
    alike = [
        Identity("curl", 5, f"curl {n}", "/bin/curl", user="ada", unit="a.scope", started=NOW)
        for n in range(3)
    ]
    others = [Identity("curl", uid=6), Identity("wget", uid=5)]
    readings = [exiting(pid, identity) for pid, identity in enumerate([*alike, *others], 1)]
    model = advanced([*readings, sample()])
    assert {kind: gone.count for kind, gone in model.gone.items()} == {
        kind: 3,
        others[0]: 1,
        others[1]: 1,
    }
    assert all(gone.identity == kind for kind, gone in model.gone.items())
    assert model.gone[kind].flows[REMOTES[0]].rx == 30


def test_exited_processes_beyond_the_limits_become_others(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"MAX_LINGERING": 0, "MAX_GONE": 1, "MAX_GONE_REMOTES": 1}
    for name, most in few.items():
        monkeypatch.setattr(limits, name, most)
    fars = [
        remote(),
        remote("192.0.2.2", 80),
        remote("192.0.2.3", 22),
        remote("192.0.2.4", 53, UDP),
    ]
    model = advanced([exiting(pid, Identity("a"), far) for pid, far in enumerate(fars, 1)])
    model.advance(sample())
    (kind,) = model.gone.values()
    assert {far: flow.rx for far, flow in kind.flows.items()} == {
        remote(): 10,
        remote("*", 0, TCP): 20,
        remote("*", 0, UDP): 10,
    }
    more = [exiting(pid, Identity(name)) for pid, name in ((11, "b"), (12, "c"), (13, "a"))]
    advanced([*more, sample()], model)
    assert {kind.name: gone.count for kind, gone in model.gone.items()} == {"a": 5, "(others)": 2}
    assert kind.flows[remote()].rx == 20, "what is remembered already is not another"


def test_late_bytes_count_in_totals_but_in_no_rate() -> None:
    model = advanced([moved(rx=100), moved(rx=200)])
    before = (of_all(model), windows(model), model.time, model.number, model.covered)
    model.advance(moved(rx=5000, elapsed=0.0))
    model.advance(moved(rx=70, pid=2, elapsed=0.0))
    assert (of_all(model), windows(model), model.time, model.number, model.covered) == before
    assert sum(tally.rx for tally in model.ledger.sums.values()) == 5370
    assert {process.pid for process in model.ledger.processes} == {1, 2}


def test_processes_of_one_interval_stay_however_many_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows would be missing from the sum of the interval."""
    monkeypatch.setattr(limits, "MAX_LINGERING", 1)
    keys = {key(pid) for pid in (1, 2, 3)}
    model = advanced([sample({one: {remote(): Traffic(1)} for one in keys}, exited=keys)])
    assert model.ledger.processes.keys() == model.exited.keys() == keys
    model.advance(sample())
    assert len(model.exited) == 1


@given(lives, averages)
def test_active_flows_are_those_of_the_window(timeline: list[Sample], average: float) -> None:
    model = LiveModel()
    model.set_average(average)
    for reading in timeline:
        model.advance(reading)
        listed = model.ledger.processes.values()
        moving = {p: {f for f in p.flows.values() if f.rx_window or f.tx_window} for p in listed}
        assert {process: set(flows) for process, flows in model.active().items()} == {
            process: flows for process, flows in moving.items() if flows
        }


@given(lives)
def test_without_history_the_window_is_the_last_reading(timeline: list[Sample]) -> None:
    model = LiveModel(history=False)
    for reading in timeline:
        model.advance(reading)
        assert windows(model) == plain([reading])
        assert model.covered == reading.elapsed
    assert model.gone == {}


def test_others_are_kept_per_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LINGERING", 0)
    monkeypatch.setattr(limits, "MAX_GONE", 0)
    web, mail = Host("web", "1"), Host("mail", "2")
    hosts = (web, mail, web)
    model = advanced([exiting(n, Identity(f"{n}", host=host)) for n, host in enumerate(hosts, 1)])
    model.advance(sample())
    assert {(one.name, one.host): gone.count for one, gone in model.gone.items()} == {
        ("(others)", web): 2,
        ("(others)", mail): 1,
    }


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.1"])
def test_loopback_stays_loopback_beyond_the_remote_limit(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise hiding loopback would not hide it any more."""
    monkeypatch.setattr(limits, "MAX_LINGERING", 0)
    monkeypatch.setattr(limits, "MAX_GONE_REMOTES", 0)
    (kind,) = advanced([exiting(1, Identity("a"), remote(address)), sample()]).gone.values()
    assert [flow.category for flow in kind.flows.values()] == [category(remote(address))]


# Pauses.


def shown(model: LiveModel) -> list[object]:
    """Return everything that a view of the model shows."""
    lists = {
        name: process
        for name, process in model.ledger.processes.items()
        if any(tally.rx or tally.tx for tally in process.sums.values())
    }
    return [
        totals(model.ledger),
        windows(model),
        remembered(model),
        {name: process.identity for name, process in lists.items()},
        {name: model.graph(process, CATEGORIES, 20) for name, process in lists.items()},
        {kind: gone.count for kind, gone in model.gone.items()},
        dict(model.exited),
        (model.loss, model.time, model.number, model.covered, of_all(model)),
        model.timeline.columns(24, CATEGORIES),
    ]


@given(st.lists(st.tuples(readings, st.booleans()), max_size=10))
def test_pause_freezes_numbers_and_loses_none(steps: list[tuple[Sample, bool]]) -> None:
    lived([reading for reading, _ in steps])
    model, running = LiveModel(), LiveModel()
    for reading, paused in steps:
        if paused:
            model.pause()
        else:
            model.resume()
        before = shown(model)
        model.advance(reading)
        running.advance(reading)
        assert shown(model) == (before if paused else shown(running))
    model.resume()
    assert shown(model) == shown(running)


@given(lives, st.integers(1, 3))
def test_long_pause_merges_intervals_and_loses_nothing(timeline: list[Sample], most: int) -> None:
    model, running = LiveModel(), advanced(deepcopy(timeline))
    model.pause()
    with patch.object(limits, "MAX_PENDING", most):
        advanced(timeline, model)
    model.resume()
    assert remembered(model) == remembered(running)
    assert model.number == min(most, len(timeline))
    assert (model.time, model.loss) == (running.time, running.loss)
    last = timeline[len(timeline) - most + 1 :]
    if sum(reading.elapsed for reading in last) >= model.average:
        assert windows(model) == windows(running), "the last intervals are as they were"


def test_merging_in_a_pause_does_not_affect_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PENDING", 1)
    model, running = LiveModel(), LiveModel()
    model.pause()
    first, second = moved(1), exiting(1, Identity("cc"))
    advanced([first, second], model)
    running.advance(first)
    assert running.exited == {}


def test_average_may_be_changed_within_a_pause() -> None:
    model = advanced([moved(100), moved(300)])
    model.pause()
    model.advance(moved(1000))
    model.set_average(2.0)
    assert of_all(model) == (200, 0)
    model.resume()
    assert of_all(model) == (650, 0)


# Names, and reset.


def test_new_identity_renames_a_process_after_a_pause() -> None:
    model = advanced([moved(1), sample(identities={key(1): Identity("sh")})])
    process = model.ledger.processes[key(1)]
    assert process.identity.name == "sh"
    model.pause()
    model.advance(sample(identities={key(1): Identity("curl")}))
    assert process.identity.name == "sh"
    model.resume()
    assert model.ledger.processes == {key(1): process}
    assert (process.identity.name, process.flows[REMOTES[0]].rx) == ("curl", 1)


@given(lives, averages, lives)
def test_reset_zeroes_totals_but_keeps_rates_and_graphs(
    timeline: list[Sample], average: float, later: list[Sample]
) -> None:
    lived([*timeline, *later])
    with patch.object(largest, "MOST", 0):
        model, other = (advanced(deepcopy(timeline)) for _ in range(2))
        for one in (model, other):
            one.set_average(average)
        model.reset()
        assert (totals(model.ledger), model.gone, model.loss) == ({}, {}, Loss())
        assert ongoing(model) == ongoing(other)
        advanced(deepcopy(later), model)
        advanced(deepcopy(later), other)
        assert ongoing(model) == ongoing(other)
    assert remembered(model) == remembered(advanced(later))


def ongoing(model: LiveModel) -> list[object]:
    graphs = {k: model.graph(p, CATEGORIES, 9) for k, p in model.ledger.processes.items()}
    return [windows(model), of_all(model), graphs, model.timeline.columns(9, CATEGORIES)]


def test_reset_in_a_pause_drops_earlier_bytes() -> None:
    """As if bwtop had been started then."""
    model = advanced([moved(1)])
    model.pause()
    model.advance(moved(10))
    model.reset()
    model.advance(moved(100))
    model.resume()
    assert remembered(model) == ({category(REMOTES[0]): (100, 0)},) * 3


# Graphs, and what they cost.


@given(lives, st.integers(1, LENGTH), st.sets(st.sampled_from(sorted(CATEGORIES))))
def test_graph_has_a_processs_rates_interval_by_interval(
    timeline: list[Sample], count: int, wanted: set[Category]
) -> None:
    model = advanced(timeline)
    for process in model.ledger.processes.values():
        rates = [(0.0, 0.0)] * count
        for reading in timeline:
            assert process.key
            flows = reading.traffic.get(process.key, {}).items()
            traffic = [t for far, t in flows if category(far) in wanted]
            rates.append(
                (
                    sum(t.rx for t in traffic) / reading.elapsed,
                    sum(t.tx for t in traffic) / reading.elapsed,
                )
            )
        graph = model.graph(process, wanted, count)
        assert [n for pair in graph for n in pair] == pytest.approx(
            [n for pair in rates[-count:] for n in pair], rel=1e-6
        )


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lives, many remotes, and pauses."""
    few = {
        "MAX_LINGERING": 5,
        "MAX_PENDING": 5,
        "MAX_GONE": 5,
        "MAX_GONE_REMOTES": 5,
        "MAX_GONE_FLOWS": 12,
    }
    for name, most in few.items():
        monkeypatch.setattr(limits, name, most)
    monkeypatch.setattr("bwtop.model.ledger.MAX_REMOTES", 5)
    model, sizes = LiveModel(), []
    for number in range(1, 601):
        if number % 100 == 50:
            model.pause()
        elif number % 100 == 0:
            model.resume()
            sizes.append(reachable(model))
        far = remote(f"192.0.2.{number % 250}")
        short = exiting(10 + number, Identity(f"{number}"), far)
        short.traffic[key(1)] = {far: Traffic(1, 1)}
        model.advance(short)
    assert sizes[3:] == [pytest.approx(sizes[2], rel=0.02)] * 3


def reachable(model: LiveModel) -> int:
    """Return the number of objects that a model keeps alive."""
    found: dict[int, object] = {}
    waiting: list[object] = [model]
    while waiting:
        more = waiting.pop()
        if id(more) not in found and not isinstance(more, type | ModuleType | FunctionType):
            found[id(more)] = more
            waiting += gc.get_referents(more)
    return len(found)


# Exited processes that moved much.


@given(lives, st.sampled_from([1, 100, 3000]), st.integers(0, 2), st.integers(0, 2))
def test_largest_exited_processes_stay_and_nothing_is_lost(
    timeline: list[Sample], least: int, most: int, remotes: int
) -> None:
    model, exits = LiveModel(), dict[ProcessKey, float]()
    with (
        patch.multiple(largest, LEAST=least, MOST=most),
        patch.multiple(limits, MAX_REMOTES=remotes),
    ):
        for number, reading in enumerate([*timeline, sample(elapsed=LINGER)], 1):
            model.advance(reading)
            everything = plain([*timeline, sample()][:number])
            expected = {of: sums for (who, of), sums in everything.items() if who == "all"}
            assert remembered(model) == (expected, expected, expected)
            for process in reading.exited & model.ledger.processes.keys():
                exits.setdefault(process, model.time)
        late = [p for p in model.ledger.processes.values() if p.key in exits]
        late = [p for p in late if p.key and exits[p.key] <= model.time - LINGER]
        assert len(late) <= most
        assert all(p.total() >= least for p in late)
    model.reset()
    model.advance(sample(elapsed=LINGER))
    assert not model.ledger.processes.keys() & exits.keys()


def test_process_that_moves_again_has_not_exited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts do not send exits: a process of a fleet may only have been quiet."""
    monkeypatch.setattr(largest, "LEAST", 1)
    reading = moved(100)
    reading.exited = {key(1)}
    model = advanced([reading, sample(elapsed=LINGER)])
    assert model.has_exited(key(1))
    model.advance(moved(5))
    assert not model.has_exited(key(1))
