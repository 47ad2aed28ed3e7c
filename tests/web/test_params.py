"""Test the parameters in the query of a URL, and the errors for invalid ones."""

import json
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.history.dimensions import DIMENSIONS
from bwtop.model.filter import Loopback
from bwtop.model.ledger import CLASSES
from bwtop.options.values import network
from bwtop.view.columns import PROCESS_COLUMNS, Order
from bwtop.web import params
from bwtop.web.answer import HttpError
from bwtop.web.params import HISTORY, LIVE, LONGEST, STREAM, Param, Values, read
from tests.build import CONTROLS, HOSTILE

TABLES: Final = {"live": LIVE, "stream": STREAM, "history": HISTORY}

EVERY: Final = [pytest.param(param, id=f"{t}-{param.name}") for t in TABLES for param in TABLES[t]]

tables: Final = st.sampled_from([*TABLES.values(), ()])


def refused(text: str, table: tuple[Param, ...] = LIVE) -> str:
    """Return the one line of the refusal."""
    with pytest.raises(HttpError) as error:
        read(text, table)
    assert error.value.status is HTTPStatus.BAD_REQUEST
    is_one_line(error.value)
    return error.value.why


def is_one_line(error: HttpError) -> None:
    assert error.why.strip()
    assert not CONTROLS.search(error.why)
    answer = error.answer()
    assert answer.body.count(b"\n") == 1
    assert json.loads(answer.body) == {"error": error.why}


# The tables.


@pytest.mark.parametrize("param", EVERY)
def test_example_and_default_of_every_parameter_parse(param: Param) -> None:
    assert param.example
    for text in (param.example, param.default):
        param.parse(text)


@pytest.mark.parametrize("param", EVERY)
def test_example_and_default_are_what_the_schema_says(param: Param) -> None:
    for text in filter(None, (param.example, param.default)):
        assert text in param.schema.get("enum", [text])
        assert re.search(param.schema.get("pattern", ""), text)
        assert len(text) <= param.schema.get("maxLength", LONGEST)


@pytest.mark.parametrize("param", EVERY)
def test_every_word_of_a_schema_parses(param: Param) -> None:
    for text in param.schema.get("enum", []):
        param.parse(text)


@pytest.mark.parametrize("param", EVERY)
def test_help_is_one_line(param: Param) -> None:
    assert param.help.strip()
    assert not CONTROLS.search(param.help)


@pytest.mark.parametrize("name", TABLES)
def test_parameter_names_are_unique(name: str) -> None:
    names = [param.name for param in TABLES[name]]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+", name) for name in names)


# What is understood.


def test_no_parameters_select_everything() -> None:
    assert read("", LIVE) == {
        "filter": "",
        "proto": frozenset(CLASSES),
        "loopback": "show",
        "sort": Order(),
        "limit": None,
        "idle": "hide",
        "remotes": None,
        "each": None,
    }
    found = read("", HISTORY)
    assert (found["range"].text, [d.name for d in found["by"]]) == ("today", ["process"])
    assert found["filter"].terms == ()
    assert [found[name] for name in ("process", "user", "pid", "remote")] == [[]] * 4
    assert (found["proto"], found["sort"], found["limit"]) == (frozenset(CLASSES), "", None)


def test_empty_value_is_the_same_as_none() -> None:
    for table in TABLES.values():
        empty = read("&".join(f"{param.name}=" for param in table), table)
        nothing = read("", table)
        for found in (empty, nothing):
            found.pop("range", None)  # a moment later
        assert empty == nothing


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("filter=curl+port%3A443", "filter", "curl port:443"),
        ("filter=%20", "filter", " "),
        ("proto=tcp", "proto", frozenset({"tcp"})),
        ("proto=udp,other", "proto", frozenset({"udp", "other"})),
        ("proto=tcp,tcp", "proto", frozenset({"tcp"})),
        ("loopback=only", "loopback", Loopback.ONLY),
        ("sort=tx_total", "sort", Order("tx_total")),
        ("sort=-pid", "sort", Order("pid", reverse=True)),
        ("limit=5", "limit", 5),
        ("idle=show", "idle", "show"),
        ("remotes=none", "remotes", frozenset()),
        ("remotes=all", "remotes", None),
        ("remotes=10,20", "remotes", frozenset({10, 20})),
        ("each=100", "each", 100),
        ("past=show", "past", "show"),
    ],
)
def test_live_parameters(text: str, name: str, expected: Any) -> None:
    assert read(text, STREAM)[name] == expected


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("process=a,b*", "process", ["a", "b*"]),
        ("user=0,33", "user", [0, 33]),
        ("pid=1,2", "pid", [1, 2]),
        ("remote=10.0.0.0/8,::1", "remote", [network("10.0.0.0/8"), network("::1")]),
        ("sort=-rx", "sort", "-rx"),
        ("limit=1", "limit", 1),
    ],
)
def test_history_parameters(text: str, name: str, expected: Any) -> None:
    assert read(text, HISTORY)[name] == expected


def test_range_and_dimensions() -> None:
    found = read("range=2026-09-01..2026-09-03&by=day,%20user", HISTORY)
    assert found["range"].text == "2026-09-01..2026-09-03"
    assert [d.name for d in found["by"]] == ["day", "user"]
    for dimension in DIMENSIONS:
        assert read(f"by={dimension.name}", HISTORY)["by"] == [dimension]
    for column in PROCESS_COLUMNS:
        assert read(f"sort={column.id}", LIVE)["sort"] == Order(column.id)


# What is not.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nope=1", "unknown parameter 'nope'; expected filter, proto, loopback, sort"),
        ("Limit=1", "unknown parameter 'Limit'"),
        ("=1", "unknown parameter ''"),
        ("limit", None),
        ("limit%5B%5D=1", "unknown parameter 'limit[]'"),
        ("limit=1&limit=1", "limit is given twice"),
        ("limit=&limit=", "limit is given twice"),
        ("limit=0", "limit: invalid number '0'; expected a whole number from 1 to 999999"),
        ("limit=1000000", "limit: invalid number '1000000'; "),
        ("limit=-1", "limit: invalid number '-1'; "),
        ("limit=%0A", r"limit: invalid number '\n'; "),
        ("limit=" + "1" * 1000, "limit: invalid number '111"),
        ("limit=" + "1" * 1001, f"limit is longer than {LONGEST} characters"),
        ("filter=" + "a" * 1001, f"filter is longer than {LONGEST} characters"),
        ("each=x", "each: invalid number 'x'; "),
        ("proto=icmp", "proto: invalid value 'icmp'; expected one of tcp, udp, other"),
        ("proto=tcp,", "proto: invalid value ''; expected"),
        ("proto=tcp;udp", "proto: invalid value 'tcp;udp'; expected"),
        ("loopback=maybe", "loopback: invalid value 'maybe'; expected one of show, hide, only"),
        ("sort=nope", "sort: invalid column 'nope'; expected hostname"),
        ("sort=--pid", "sort: invalid column '-pid'"),
        ("idle=yes", "idle: invalid value 'yes'; expected one of hide, show"),
        ("remotes=some", "remotes: invalid process id 'some'"),
        ("remotes=1,", "remotes: invalid process id ''"),
        ("filter=port%3Ax", "filter: invalid port 'x'; expected 0 to 65535"),
        ("filter=nofield%3Ax", "filter: invalid field 'nofield'"),
        ("past=show", "unknown parameter 'past'"),
        ("filter=%FF", "not UTF-8"),
        ("filter=%ED%B3%BF", "not UTF-8"),
        ("%C3=1", "not UTF-8"),
        ("limit=%", "limit: invalid number '%'"),
        ("limit=%G1", "limit: invalid number '%G1'"),
        ("&".join(f"a{n}=1" for n in range(100)), "too many parameters"),
        ("&" * 100, "too many parameters"),
        ("nope=%1B%5B2J%0A", None),
        ("%1B%5B2J%0A=1", r"unknown parameter '\x1b[2J\n'"),
        ("filter=pid:%E2%80%AE", r"filter: invalid process id '\u202e'"),
    ],
)
def test_invalid_live_parameter_gets_one_line(text: str, words: str | None) -> None:
    if text == "limit":
        assert read(text, LIVE)["limit"] is None
    else:
        assert (words or "unknown parameter") in refused(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("range=someday", "range: invalid range 'someday'; expected today, "),
        ("range=2026-13", "range: invalid range '2026-13'; expected a date and time that exist"),
        ("range=2026-02-02..2026-02-01", "expected an end after its start"),
        ("range=" + "9" * 999 + "d", "range: "),
        ("range=99999-01-01", "range: "),
        ("range=%00", "range: "),
        ("by=planet", "by: invalid group 'planet'; expected process"),
        ("by=day,", "by: invalid group ''"),
        ("by=day,user,day", "by: invalid groups 'day,user,day'; expected day only once"),
        ("range=1969-01-01", "range: invalid range '1969-01-01'; expected 1970 or later"),
        ("sort=-", "sort: invalid value '-'; expected total, rx, tx"),
        ("filter=pid%3A1", "filter: invalid field 'pid'; expected user, name"),
        ("filter=cmd%3Ax", "filter: invalid field 'cmd'"),
        ("user=no-such-user", "user: invalid user 'no-such-user'; expected the name of a user"),
        ("user=%00", "user: invalid user"),
        ("pid=x", "pid: invalid process id 'x'; expected a whole number"),
        (
            "remote=example.org",
            "remote: invalid address 'example.org'; expected an address or a network",
        ),
        (
            "remote=fe80::1%25eth0",
            "remote: invalid address 'fe80::1%eth0'; expected an address without %",
        ),
        ("process=a,", "process: invalid process name ''"),
        ("sort=name", "sort: invalid value 'name'; expected total, rx, tx"),
        ("sort=--rx", "sort: invalid value '--rx'; expected"),
    ],
)
def test_invalid_history_parameter_gets_one_line(text: str, words: str) -> None:
    assert words in refused(text, HISTORY)


def test_route_without_parameters_accepts_none() -> None:
    assert read("", ()) == {}
    assert refused("a=1", ()) == "unknown parameter 'a'; this path takes none"


NAMES: Final = sorted({param.name for table in TABLES.values() for param in table})

texts: Final = (
    st.text()
    | st.sampled_from(HOSTILE)
    | st.sampled_from([text for p in EVERY for text in (p.values[0].example,)])  # type: ignore[union-attr] # Params
)
encoded: Final = st.lists(
    st.tuples(st.sampled_from(NAMES) | st.text(max_size=5), texts), max_size=4
).map(lambda pairs: urlencode(pairs, errors="replace"))
raw: Final = st.text(st.sampled_from("%&=+;,.-:/*\\'\"<>09aAfFzZ\x00\x1b\n\udcff\u202e漢"))
bytes_: Final = st.binary(max_size=40).map(lambda b: f"filter={quote(b)}")
queries: Final = encoded | raw | bytes_ | st.text(st.characters(exclude_categories=()))


@given(tables, queries)
def test_any_query_is_parsed_or_refused_in_one_line(table: tuple[Param, ...], text: str) -> None:
    found = outcome(text, table)
    if isinstance(found, HttpError):
        assert found.status is HTTPStatus.BAD_REQUEST
        is_one_line(found)
    else:
        assert set(found) == {param.name for param in table}


def outcome(text: str, table: tuple[Param, ...]) -> Values | HttpError:
    """Only HttpError may be raised."""
    try:
        return read(text, table)
    except HttpError as refused:
        return refused


@given(st.text(max_size=LONGEST).filter(lambda text: text.isprintable() and ":" not in text))
def test_filter_arrives_as_it_was_sent(text: str) -> None:
    assert read(urlencode({"filter": text}), LIVE)["filter"] == text


def test_value_longer_than_the_limit_is_refused() -> None:
    longest = "a" * LONGEST
    assert read(f"filter={longest}", LIVE)["filter"] == longest
    assert params.LONGEST == 1000
    assert "longer" in refused(f"filter={longest}a")
    assert read("filter=" + quote("漢" * LONGEST), LIVE)["filter"] == "漢" * LONGEST
