"""Test the views: the same as --batch for the same samples, and the last two minutes."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.conditions import Loopback
from bwtop.model.filter import Filter
from bwtop.model.filter_fields import made, toggled
from bwtop.model.flows import (
    Identity,
    Loss,
    ProcessKey,
    Remote,
    Traffic,
    is_loopback,
    protocol_class,
)
from bwtop.model.ledger import CLASSES
from bwtop.model.live import LINGER
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.model.series import LENGTH
from bwtop.options.values import network
from bwtop.output import intervals as batch
from bwtop.output.intervals import Layout
from bwtop.text.units import losses
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.view.interval import Intervals
from bwtop.view.order import Order, parse_order
from bwtop.web import params, views
from bwtop.web.broadcaster import BroadcastState
from bwtop.web.views import MOST, ChartView, Document, LiveView, Sheet
from tests.build import CONTROLS, HOSTILE, KEYS, NOW, REMOTES, key, remote, sample

CURL, SSHD, NFSD = key(10), key(20), key(30)
WHO: Final = {
    CURL: Identity("curl", 1000, user="ada", exe="/usr/bin/curl", started=NOW),
    SSHD: Identity("sshd", 0, user="root", unit="ssh.service"),
    NFSD: Identity("nfsd", 0, user="root", kernel=True),
}
WEB, DNS, LOOP = remote(), remote("192.0.2.2", 53, 17), remote("127.0.0.1", 8080)
PING: Final = remote("198.51.100.7", 0, 1)


class Names:
    """The names of some remotes."""

    def get(self, address: bytes) -> str | None:
        return "www.example.net" if address == WEB.address else None


def after(samples: Iterable[Sample], names: RemoteNames | None = None) -> BroadcastState:
    """Return the state after all samples."""
    state = BroadcastState(names or RemoteNames())
    for one in samples:
        state.advance(one)
    state.backend = "tracepoint"
    return state


def asked(text: str = "") -> LiveView:
    return views.live(params.read(text, params.LIVE))


def document(state: BroadcastState, text: str = "") -> dict[str, Any]:
    drawn = Document(asked(text)).draw(state)
    assert b"\n" not in drawn
    assert drawn.isascii()
    found = json.loads(drawn)
    assert isinstance(found, dict)
    return found


def past(state: BroadcastState, text: str = "") -> dict[str, Any]:
    found = json.loads(ChartView(asked(text)).draw(state))
    assert isinstance(found, dict)
    return found


def sheet(state: BroadcastState, text: str = "") -> str:
    return Sheet(asked(text)).draw(state).decode()


def names(found: dict[str, Any]) -> list[str]:
    return [process["name"] for process in found["processes"]]


def remotes(found: dict[str, Any]) -> dict[str, list[str]]:
    return {p["name"]: [far["addr"] for far in p["remotes"]] for p in found["processes"]}


def printed(samples: Iterable[Sample], keep: Filter, order: Order) -> Any:
    """Return what --batch prints for the last sample."""
    intervals, out = Intervals(keep, RemoteNames(), order), io.StringIO()
    writer = batch.JsonWriter(out, Layout("tracepoint"))
    for one in samples:
        writer.write(intervals.advance(one))
    return json.loads(out.getvalue().splitlines()[-1])


def without_more(found: dict[str, Any]) -> dict[str, Any]:
    """Return the document as --batch prints it."""
    more = {"exited", "remote_count"}
    del found["notes"], found["busiest"]
    for process in found["processes"]:
        assert more <= process.keys()
    found["processes"] = [
        {name: process[name] for name in process if name not in more}
        for process in found["processes"]
    ]
    return found


# Random samples.

amounts: Final = st.integers(0, 2**40) | st.sampled_from([0, 0, 1])
moved: Final = st.builds(Traffic, amounts, amounts)
WHO_OF_KEYS: Final = {
    one: Identity(f"proc{place % 3}", place % 3, user=f"user{place % 3}", started=NOW)
    for place, one in enumerate(KEYS)
}


@st.composite
def histories(draw: st.DrawFn) -> list[Sample]:
    """Generate successive samples; an exited process has no more traffic."""
    found: list[Sample] = []
    gone: set[ProcessKey] = set()
    for number in range(draw(st.integers(1, 6))):
        traffic = draw(
            st.dictionaries(
                st.sampled_from(KEYS),
                st.dictionaries(st.sampled_from((*REMOTES, PING)), moved, min_size=1),
            )
        )
        alive = {one: flows for one, flows in traffic.items() if one not in gone}
        exited = draw(st.sets(st.sampled_from(KEYS), max_size=1))
        gone |= exited
        loss = Loss(*(draw(st.integers(0, 5)) for _ in Loss._fields))
        when = NOW + timedelta(seconds=number)
        elapsed = draw(st.sampled_from([0.1, 0.5, 1.0, 1.0003, 10.0]) | st.floats(0.05, 100))
        who = {one: WHO_OF_KEYS[one] for one in alive}
        found.append(Sample(when, elapsed, alive, who, exited, loss))
    return found


classes: Final = st.sets(st.sampled_from(CLASSES), min_size=1).map(sorted)
orders: Final = st.sampled_from(
    [sign + column.id for column in PROCESS_COLUMNS for sign in ("", "-")]
)


NET: Final = network("192.0.2.0/24"), network("127.0.0.0/8"), network("2001:db8::1")
SAME: Final[tuple[tuple[str, dict[str, list[object]]], ...]] = (
    ("", {}),
    ("pid:1", {"pid": [1]}),
    ("pid:1,2", {"pid": [1, 2]}),
    ("user:0,2", {"user": [0, 2]}),
    ("process:proc1,*2", {"name": ["PROC1", "*2"]}),
    ("remote:192.0.2.0/24", {"remote": [*NET[:1]]}),
    ("remote:127.0.0.0/8,2001:db8::1", {"remote": [*NET[1:]]}),
    ("user:0 remote:192.0.2.0/24", {"user": [0], "remote": [*NET[:1]]}),
    ("nobody-has-this", {"name": ["nobody"]}),
)


@given(
    histories(),
    st.sampled_from(SAME),
    classes,
    st.sampled_from(Loopback),
    orders,
)
def test_a_filter_means_what_the_flags_mean(
    samples: list[Sample],
    same: tuple[str, dict[str, list[object]]],
    of: list[str],
    loopback: Loopback,
    order: str,
) -> None:
    text, flags = same
    keep = toggled(of, loopback) & made(flags)
    values = {"filter": text, "proto": ",".join(of), "loopback": loopback.value, "sort": order}
    found = without_more(document(after(samples), urlencode(values)))
    assert found == printed(samples, keep, parse_order(order))


@given(histories(), st.integers(1, 4), st.integers(1, 3), st.sampled_from(["hide", "show"]))
def test_totals_include_rows_beyond_the_limit(
    samples: list[Sample], limit: int, each: int, idle: str
) -> None:
    state = after(samples)
    everything = document(state, f"idle={idle}")
    found = document(state, f"idle={idle}&limit={limit}&each={each}")
    assert found["total"] == everything["total"]
    assert names(found) == names(everything)[:limit]
    for some, whole in zip(found["processes"], everything["processes"], strict=False):
        assert some["remote_count"] == whole["remote_count"] == len(whole["remotes"])
        assert some["remotes"] == whole["remotes"][:each]
        assert {**some, "remotes": []} == {**whole, "remotes": []}


@given(histories(), classes)
def test_remotes_add_up_to_their_process_and_processes_to_the_total(
    samples: list[Sample], of: list[str]
) -> None:
    found = document(after(samples), f"proto={','.join(of)}&idle=show")
    for way in ("rx", "tx"):
        assert sum(process[way] for process in found["processes"]) == found["total"][way]
        assert sum(moved[way] for moved in found["networks"].values()) == found["total"][way]
        for process in found["processes"]:
            for name in (way, f"{way}_total"):
                assert sum(far[name] for far in process["remotes"]) == process[name]


@given(histories())
def test_idle_processes_have_zeros_and_their_totals(samples: list[Sample]) -> None:
    """Totals have all bytes of a process; it is shown for LINGER seconds after its exit."""
    found = document(after(samples), "idle=show")
    moved: dict[tuple[int, str], list[int]] = {}
    for one in samples:
        for process, flows in one.traffic.items():
            total = moved.setdefault((process.stored_pid, WHO_OF_KEYS[process].name), [0, 0])
            total[0] += sum(traffic.rx for traffic in flows.values())
            total[1] += sum(traffic.tx for traffic in flows.values())
    shown = {(p["pid"], p["name"]): [p["rx_total"], p["tx_total"]] for p in found["processes"]}
    lingered = sum(one.elapsed for one in samples[1:]) < LINGER
    assert all(moved[one] == total for one, total in shown.items())
    assert not lingered or shown == {one: total for one, total in moved.items() if any(total)}
    last = {p.pid: f for p, f in samples[-1].traffic.items()}
    for process in found["processes"]:
        if process["pid"] not in last:
            assert process["rx"] == process["tx"] == process["rx_rate"] == process["tx_rate"] == 0


# Examples.


@pytest.fixture
def busy() -> BroadcastState:
    """Return a state: traffic of curl, sshd and nfsd, then of curl and sshd; sshd has exited."""
    first = {
        CURL: {WEB: Traffic(100, 10), DNS: Traffic(5, 5), PING: Traffic(1, 2)},
        SSHD: {LOOP: Traffic(1000, 2000)},
        NFSD: {LOOP: Traffic(7, 0)},
    }
    second = {CURL: {WEB: Traffic(30, 1), LOOP: Traffic(2, 0)}, SSHD: {LOOP: Traffic(300, 0)}}
    loss = Loss(1, 2, 3, 4, 5, 6)
    last = sample(second, elapsed=2.0, identities=dict(WHO), exited={SSHD}, loss=loss)
    return after([sample(first, identities=dict(WHO)), last], RemoteNames(Names().get))


def test_document_has_the_schema_of_batch(busy: BroadcastState) -> None:
    found = document(busy)
    assert found["schema"] == "bwtop.batch/1"
    assert found["interval"] == 2.0
    assert found["backend"] == "tracepoint"
    assert found["time"] == "2026-11-23T08:00:01.000+00:00"
    assert found["total"] == {"rx": 332, "tx": 1}
    lost = {"flows": 1, "bytes": 2, "unattributed_bytes": 4, "unnamed": 5, "events": 6}
    lost["names"] = 0
    assert found["lost"] == lost
    assert found["notes"] == [f"lost: {words}" for words in losses(Loss(1, 2, 3, 4, 5, 6))]
    assert len(found["notes"]) == 4
    curl = next(p for p in found["processes"] if p["name"] == "curl")
    assert (curl["rx"], curl["rx_rate"], curl["rx_total"]) == (32, 16.0, 138)
    assert curl["exited"] is False
    assert [far["host"] for far in curl["remotes"]] == ["www.example.net", None]


@pytest.mark.parametrize("text", ["", "sort=name&limit=1", "idle=show&sort=rx_total&remotes=none"])
def test_busiest_processes_are_there_in_any_order(busy: BroadcastState, text: str) -> None:
    """Idle ones are left out; the filter holds for them."""
    busiest = document(busy, text)["busiest"]
    rates = [(p["name"], p["rx_rate"], p["tx_rate"]) for p in busiest]
    assert rates == [("sshd", 150.0, 0.0), ("curl", 16.0, 0.5)]
    assert [p["name"] for p in document(busy, f"{text}&filter=curl")["busiest"]] == ["curl"]
    rows = {p["name"]: p for p in document(busy)["processes"]}
    for process in busiest:
        assert process.items() <= rows[process["name"]].items()


def test_busiest_processes_are_not_all(busy: BroadcastState) -> None:
    keys = [key(100 + place) for place in range(views.MOST + 5)]
    traffic = {one: {WEB: Traffic(place, 0)} for place, one in enumerate(keys, 1)}
    busy.advance(sample(traffic, identities=dict.fromkeys(keys, WHO[CURL])))
    assert [p["pid"] for p in document(busy, "limit=2")["busiest"]] == (
        [one.pid for one in reversed(keys)][: views.MOST]
    )


def test_idle_processes_are_shown_on_request(busy: BroadcastState) -> None:
    assert names(document(busy)) == ["sshd", "curl"]
    found = document(busy, "idle=show")
    assert names(found) == ["sshd", "curl", "nfsd"]
    nfsd = found["processes"][2]
    assert [nfsd[c] for c in ("rx", "tx", "rx_rate", "rx_total")] == [0, 0, 0.0, 7]
    assert nfsd["remotes"][0]["rx_total"] == 7
    assert remotes(document(busy))["curl"] == ["192.0.2.1", "127.0.0.1"]
    assert set(remotes(found)["curl"]) == {"192.0.2.1", "127.0.0.1", "192.0.2.2", "198.51.100.7"}


def test_exited_processes_are_marked(busy: BroadcastState) -> None:
    found = document(busy, "idle=show")
    exited = {p["name"]: p["exited"] for p in found["processes"]}
    assert exited == {"sshd": True, "curl": False, "nfsd": False}
    busy.advance(sample(elapsed=LINGER / 2))
    assert "sshd" in names(document(busy, "idle=show"))
    assert document(busy)["processes"] == []
    busy.advance(sample(elapsed=LINGER))
    assert names(document(busy, "idle=show")) == ["curl", "nfsd"]


def test_programs_of_one_name_in_one_process_differ() -> None:
    """An exec of the same program is another row, with the same pid, start and name."""
    programs = [CURL, CURL._replace(exec=1)]
    state = after(
        [
            sample({one: {WEB: Traffic(size, 0)}}, identities={one: WHO[CURL]})
            for one, size in zip(programs, (1009, 2003), strict=True)
        ]
    )
    for found in (document(state, "idle=show"), past(state)):
        keys = [(p["pid"], p["start"], p["name"], p["exec"]) for p in found["processes"]]
        assert len({key[:3] for key in keys}) == 1
        assert sorted(key[3] for key in keys) == [0, 1]


def test_remotes_of_requested_pids(busy: BroadcastState) -> None:
    assert remotes(document(busy, "remotes=none")) == {"sshd": [], "curl": []}
    found = document(busy, "remotes=10&idle=show")
    assert {n: len(far) for n, far in remotes(found).items()} == {"sshd": 0, "curl": 4, "nfsd": 0}
    counts = {p["name"]: p["remote_count"] for p in found["processes"]}
    assert counts == {"sshd": None, "curl": 4, "nfsd": None}
    assert found["processes"][1]["rx"] == 32, "its numbers are those of all of its remotes"


def test_toggles_hold_for_idle_rows(busy: BroadcastState) -> None:
    for text in ("proto=udp", "filter=proto:udp", "filter=port:53&proto=udp,tcp"):
        assert remotes(document(busy, f"{text}&idle=show")) == {"curl": ["192.0.2.2"]}
    assert remotes(document(busy, "proto=other&idle=show")) == {"curl": ["198.51.100.7"]}


@pytest.mark.parametrize("elapsed", [0.1, 0.0, 1e-9])
def test_interval_is_the_last_one_alone(elapsed: float) -> None:
    """Sums of lengths are not exact: 0.1 + 0.2 - 0.1 is more than 0.2."""
    lengths = [0.1, 0.2, 0.3, 0.7, 1.1, elapsed]
    samples = [sample({CURL: {WEB: Traffic(1, 0)}}, elapsed=length) for length in lengths]
    found = document(after(samples))
    assert found["total"]["rx"] == 1
    assert elapsed < 0.1 or found["processes"][0]["rx_rate"] == pytest.approx(10)


def test_equal_parameters_are_equal_views() -> None:
    """Equal views are drawn once."""
    for text in ("", "filter=a&proto=tcp&sort=-pid&remotes=1,2&each=3&limit=4&idle=show"):
        for kind in (Document, Sheet, ChartView):
            assert kind(asked(text)) == kind(asked(text))
            assert len({kind(asked(text)), kind(asked(text)), kind(asked("limit=9"))}) == 2
    assert len({kind(asked()) for kind in (Document, Sheet, ChartView)}) == 3


# CSV.


@given(histories(), classes)
def test_sheet_has_the_lines_of_the_document(samples: list[Sample], of: list[str]) -> None:
    state, text = after(samples), f"proto={','.join(of)}&idle=show"
    lines = list(csv.DictReader(io.StringIO(sheet(state, text), newline="")))
    found = document(state, text)
    expected = [(p, far) for p in found["processes"] for far in p["remotes"]]
    assert [(line["pid"], line["addr"], line["rx"], line["rx_total"]) for line in lines] == [
        (str(p["pid"]), far["addr"], str(far["rx"]), str(far["rx_total"])) for p, far in expected
    ]
    assert all(line["time"] == found["time"] for line in lines)


FORMULAS: Final = (
    *("=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20a"),
    *("\u3000=1", '=HYPERLINK("http://example.org","x")'),
)


@pytest.mark.parametrize("name", [*FORMULAS, *HOSTILE, "<script>alert(1)</script>", "a,b\n\"c'"])
def test_hostile_name_is_plain_text_in_every_form(name: str) -> None:
    who = Identity(name, 0, name, exe=name, user=name, unit=name, container=name, pod=name)

    state = after([sample({CURL: {WEB: Traffic(1, 1)}}, identities={CURL: who})])
    state.names = RemoteNames(lambda _: name)
    (process,) = document(state)["processes"]
    for text in (process["name"], process["exe"], process["unit"], process["remotes"][0]["host"]):
        assert text == name
    written = sheet(state)
    assert written.count("\n") == 2
    assert not CONTROLS.search(written.replace("\n", ""))
    (line,) = csv.DictReader(io.StringIO(written, newline=""))
    for column in ("name", "cmdline", "exe", "user", "unit", "container", "pod", "host"):
        cell = line[column]
        assert not cell.lstrip().startswith(
            ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
        )
        assert cell.startswith("'") == (name in FORMULAS and not name.startswith("\t"))


# The past.


def by_hand(
    samples: Sequence[Sample], process: ProcessKey | None, flows: Iterable[Remote]
) -> list[tuple[float, float]]:
    """Return the rates of each interval, of one process or of all."""
    wanted = set(flows)
    found = []
    for one in samples:
        moved = [
            traffic
            for who, remotes in one.traffic.items()
            if process in (None, who)
            for far, traffic in remotes.items()
            if far in wanted
        ]
        found.append(
            (sum(t.rx for t in moved) / one.elapsed, sum(t.tx for t in moved) / one.elapsed)
        )
    return found


def rates(rows: Iterable[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(row["rx_rate"], row["tx_rate"]) for row in rows]


def near(expected: list[tuple[float, float]]) -> Any:
    """Return values to compare with graphs, which are kept in single precision."""
    return [pytest.approx(pair, rel=1e-6, abs=2e-3) for pair in expected]


def passing(of: Iterable[str], loopback: Loopback) -> Iterator[Remote]:
    for far in (*REMOTES, PING):
        if protocol_class(far.protocol) in of and (
            loopback is Loopback.SHOW or is_loopback(far.address) == (loopback is Loopback.ONLY)
        ):
            yield far


@given(histories(), classes, st.sampled_from(Loopback), st.sampled_from(["", "proc"]))
def test_the_past_is_that_of_the_intervals(
    samples: list[Sample], of: list[str], loopback: Loopback, word: str
) -> None:
    """Test also a filter on processes; long-exited processes count only without a filter."""
    state = after(samples)
    text = f"proto={','.join(of)}&loopback={loopback.value}&filter={word}"
    found = past(state, text)
    flows = list(passing(of, loopback))
    shown = document(state, f"{text}&idle=show")["processes"]
    if not word:
        assert rates(found["points"]) == near(by_hand(samples, None, flows))
        assert [p["interval"] for p in found["points"]] == [round(s.elapsed, 4) for s in samples]
        assert [p["time"] for p in found["points"]] == [
            s.time.isoformat(timespec="milliseconds") for s in samples
        ]
    elif sum(one.elapsed for one in samples[1:]) < LINGER and shown:
        assert rates(found["points"]) == near(by_hand(samples, None, flows))
    known = {(one.pid, WHO_OF_KEYS[one].name): one for one in KEYS}
    drawn = {known[p["pid"], p["name"]]: rates(p["rates"]) for p in found["processes"]}
    for process, graph in drawn.items():
        assert graph == near(by_hand(samples, process, flows)[len(samples) - len(graph) :])
    assert {(p.pid, WHO_OF_KEYS[p].name) for p in drawn} <= {(p["pid"], p["name"]) for p in shown}
    if len(found["points"]) == len(samples):
        busy = {(p["pid"], p["name"]) for p in shown if p["rx_total"] / 100 or p["tx_total"] / 100}
        assert busy == {(p.pid, WHO_OF_KEYS[p].name) for p in drawn}


def test_with_a_filter_on_flows_the_past_begins_empty(busy: BroadcastState) -> None:
    for text in ("filter=remote:192.0.2.1", "filter=port:443", "filter=curl+-proto:udp"):
        assert past(busy, text) == {"points": [], "processes": []}
    for text in ("", "filter=%20", "filter=curl", "filter=user:0", "proto=tcp"):
        assert len(past(busy, text)["points"]) == 2, text


def test_the_past_is_no_longer_than_a_graph() -> None:
    assert past(BroadcastState()) == {"points": [], "processes": []}
    samples = [sample({CURL: {WEB: Traffic(n, 0)}}) for n in range(LENGTH + 30)]
    found = past(after(samples))
    assert [rx for rx, _ in rates(found["points"])] == list(range(30, LENGTH + 30))
    assert rates(found["processes"][0]["rates"]) == rates(found["points"])


def test_busiest_processes_are_in_the_past_largest_first() -> None:
    many = {key(pid): {WEB: Traffic(pid, 0)} for pid in range(1, 500)}
    found = past(after([sample(many), sample({key(1): {WEB: Traffic(10**6, 0)}})]))
    assert [p["pid"] for p in found["processes"]] == [1, *range(499, 499 - MOST + 1, -1)]


@pytest.mark.parametrize("idle", range(4))
def test_idle_processes_are_not_in_the_past(idle: int) -> None:
    first = sample({CURL: {WEB: Traffic(1, 0)}, SSHD: {LOOP: Traffic(1, 0)}})
    state = after([first])
    for _ in range(LENGTH - 2 + idle):
        state.advance(sample({SSHD: {LOOP: Traffic(1, 0)}}))
    pids = {process["pid"] for process in past(state)["processes"]}
    assert pids == ({CURL.pid, SSHD.pid} if idle < 2 else {SSHD.pid})


def test_with_a_filter_the_past_begins_where_all_of_it_is_known() -> None:
    """Exited processes are kept for a while; older intervals may have had others."""
    names = dict(WHO)
    state = after([sample({CURL: {WEB: Traffic(100, 0)}}, identities=names) for _ in range(3)])
    state.advance(sample({CURL: {WEB: Traffic(1, 0)}}, exited={CURL}))
    assert rates(past(state, "filter=curl")["points"]) == [(100.0, 0.0)] * 3 + [(1.0, 0.0)]
    for _ in range(int(LINGER) + 5):
        state.advance(sample({SSHD: {LOOP: Traffic(7, 0)}}, identities=names))
    assert len(past(state)["points"]) == 4 + int(LINGER) + 5
    found = rates(past(state, "filter=user:0")["points"])
    assert found == [(7.0, 0.0)] * (int(LINGER) - 1)
