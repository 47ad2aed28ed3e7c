"""Names of remotes in reports: the best of what is recorded, for the process that asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bwtop.history.query import History
from bwtop.history.ranges import Range
from bwtop.model.filter import EVERYTHING
from bwtop.model.named import NameSource, RemoteName
from bwtop.output.notes import notes
from bwtop.text import domains
from bwtop.text.domains import registrable
from tests.build import typed
from tests.history.keep import DAY, NOON, Kept, by, local
from tests.history.named import QUESTIONS, named


@pytest.fixture(autouse=True)
def _zone() -> Iterator[None]:
    with local("UTC"):
        yield


@pytest.fixture(scope="module")
def kept() -> Kept:
    return named(Kept())


def rows(kept: Kept, start: float, end: float, *names: str, keep: str = "") -> list[Any]:
    """Return the labels of a report, sorted."""
    wanted = typed(keep) if keep else EVERYTHING
    answer = kept.ask(NOON + start, NOON + end, *names, keep=wanted)
    return sorted(row.labels if len(row.labels) > 1 else row.labels[0] for row in answer.rows)


def test_each_process_has_the_name_that_it_asked_for(kept: Kept) -> None:
    assert rows(kept, 0, 5, "process-name", "name") == [
        ("curl", "cdn.example.net"),  # of port 80, and of another user's curl: what DNS said
        ("curl", "www.example.co.uk"),
        ("nginx", "other.example.org"),
        ("nginx", "two.example.org"),
    ]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 60, ["www.example.co.uk"]),
        (0, 61, ["late.example.co.uk"]),  # of two in one second, by the alphabet
        (0, 3 * DAY, ["sent.example"]),
        (3 * DAY, 4 * DAY, ["www.example.co.uk"]),
        (DAY, 2 * DAY, []),
    ],
)
def test_latest_name_before_the_end_of_the_range_holds(
    kept: Kept, start: float, end: float, expected: list[str]
) -> None:
    found = rows(
        kept, start, end, "name", keep="process:curl user:0 remote:192.0.2.1:443 role:client"
    )
    assert found == expected


def test_remotes_without_a_name_have_their_address(kept: Kept) -> None:
    assert rows(kept, 63, 70, "name") == [
        *("*", "127.0.0.1", "198.51.100.7", "cdn.example.net", "none.example", "sent.example")
    ]
    assert rows(kept, -9, 0, "name") == []


def test_domains_are_registered_ones(kept: Kept) -> None:
    assert rows(kept, 0, 63, "domain") == [
        "example.co.uk",
        "example.net",
        "example.org",
        "old.example",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("name:*.example.co.uk", ["curl"]),
        ("name:OTHER.example.org", ["nginx"]),
        ("name:curl", ["curl"]),
        ("-name:*.example.co.uk remote:192.0.2.1:443 role:client", ["curl", "nginx"]),
        ("example.org", ["nginx"]),
        ("remote:two.example.org:8443", ["nginx"]),
        ("name:unknown.example", []),
    ],
)
def test_filters_find_recorded_names(kept: Kept, words: str, expected: list[str]) -> None:
    assert rows(kept, 0, 60, "process-name", keep=words) == expected


def test_address_of_a_report_has_the_name_of_its_process_and_port(kept: Kept) -> None:
    def found(*names: str, keep: str = "") -> dict[object, RemoteName | None]:
        dimensions, wanted = by(*names), Range("", NOON, NOON + 30)
        answer = History(kept.past()).ask(wanted, dimensions, typed(keep), NOON + 30)
        assert answer.names
        labels = [row.labels for row in answer.rows]
        names_of = answer.names.of(dimensions, labels)
        kept.let_go()
        return {(label[0], label[-1]): name for label, name in zip(labels, names_of, strict=True)}

    sni, dns, host_dns = NameSource.SNI, NameSource.DNS, NameSource.HOST_DNS
    whole = found("remote")
    assert whole["192.0.2.1", False] == RemoteName("other.example.org", sni)
    assert whole["2001:db8::2", False] == RemoteName("two.example.org", dns)
    assert found("process-name", "remote")["curl", False] == RemoteName("www.example.co.uk", sni)
    assert found("remote", keep="process:curl")["192.0.2.1", False] == RemoteName(
        "www.example.co.uk", sni
    )
    assert found("user", "remote")[1000, False] == RemoteName("cdn.example.net", host_dns)
    ports = found("remote", "port", keep="port:80")
    assert ports == {("192.0.2.1", "client"): RemoteName("cdn.example.net", dns)}
    assert found("remote", "name", keep="remote:192.0.2.1") == {
        ("192.0.2.1", "www.example.co.uk"): RemoteName("www.example.co.uk", sni),
        ("192.0.2.1", "cdn.example.net"): RemoteName("cdn.example.net", dns),
        ("192.0.2.1", "other.example.org"): RemoteName("other.example.org", sni),
    }, "a row of a name has that one"
    domains = found("remote", "process-name", "domain", keep="user:1000 | process:nginx")
    assert domains["192.0.2.1", "example.net"] == RemoteName("cdn.example.net", host_dns)
    assert domains["192.0.2.1", "example.org"] == RemoteName("other.example.org", sni)


def test_sums_are_those_of_the_addresses(kept: Kept) -> None:
    for start, end, names, words in QUESTIONS:
        answer = kept.ask(NOON + start, NOON + end, *names, keep=typed(words))
        assert sum(row.rx for row in answer.rows) == answer.rx == sum(bar.rx for bar in answer.bars)


REGISTRABLE = {
    "www.example.co.uk": "example.co.uk",
    "a.b.github.io": "b.github.io",
    "www.ck": "www.ck",
    "a.b.c.ck": "b.c.ck",
    "x.city.kobe.jp": "city.kobe.jp",
    "a.b.c.kobe.jp": "b.c.kobe.jp",
    "com": "com",
    "LB.Example.net.": "example.net",
    "a.b.xn--55qx5d.cn": "b.xn--55qx5d.cn",
    "a.b.unknowntld": "b.unknowntld",
    "192.0.2.1": "192.0.2.1",
    "2001:db8::1": "2001:db8::1",
    "localhost": "localhost",
}


@pytest.mark.parametrize(("name", "expected"), REGISTRABLE.items())
def test_registrable_domain_follows_the_public_suffix_list(name: str, expected: str) -> None:
    assert registrable(name) == expected


def test_without_the_list_domains_are_two_labels_and_the_report_says_so(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registrable("www.example.co.uk", Path("/nowhere")) == "co.uk"
    answer = kept.ask(NOON, NOON + 9, "domain")
    assert not any("public suffix" in note for note in notes(answer))
    monkeypatch.setattr("bwtop.history.query.suffixes", lambda: domains.suffixes(Path("/nowhere")))
    answer = kept.ask(NOON, NOON + 9, "domain")
    assert any("public suffix list is not installed" in note for note in notes(answer))
