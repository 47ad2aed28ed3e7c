"""Test the parameters in the query of a URL, and the errors for invalid ones."""

import json
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.conditions import Loopback
from bwtop.model.ledger import CLASSES
from bwtop.options.values import network
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.view.order import Order
from bwtop.web import params
from bwtop.web.answer import HttpError
from bwtop.web.params import HISTORY, LIVE, LONGEST, STREAM, Param, read
from tests.build import CONTROLS
from tests.web.serving import HAVING

TABLES: Final = {"live": LIVE, "stream": STREAM, "history": HISTORY}

EVERY: Final = [pytest.param(param, id=f"{t}-{param.name}") for t in TABLES for param in TABLES[t]]


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
def test_parameters_agree_with_their_schemas(param: Param) -> None:
    assert param.example
    assert param.help.strip()
    assert not CONTROLS.search(param.help)
    assert re.fullmatch("[a-z]+", param.name)
    for text in (param.example, param.default, *param.schema.get("enum", [])):
        param.parse(text)
    for text in filter(None, (param.example, param.default)):
        assert text in param.schema.get("enum", [text])
        assert re.search(param.schema.get("pattern", ""), text)
        assert len(text) <= param.schema.get("maxLength", LONGEST)


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


UNDERSTOOD: Final[tuple[tuple[str, tuple[Param, ...], Any], ...]] = (
    ("filter=curl+port%3A443", STREAM, "curl port:443"),
    ("filter=%20", STREAM, " "),
    ("proto=tcp", STREAM, frozenset({"tcp"})),
    ("proto=udp,other", STREAM, frozenset({"udp", "other"})),
    ("proto=tcp,tcp", STREAM, frozenset({"tcp"})),
    ("loopback=only", STREAM, Loopback.ONLY),
    ("sort=tx_total", STREAM, Order("tx_total")),
    ("sort=-pid", STREAM, Order("pid", reverse=True)),
    ("limit=5", STREAM, 5),
    ("limit", STREAM, None),
    ("idle=show", STREAM, "show"),
    ("remotes=none", STREAM, frozenset()),
    ("remotes=all", STREAM, None),
    ("remotes=10,20", STREAM, frozenset({10, 20})),
    ("each=100", STREAM, 100),
    ("past=show", STREAM, "show"),
    (f"filter={'a' * LONGEST}", LIVE, "a" * LONGEST),
    (f"filter={quote('漢' * LONGEST)}", LIVE, "漢" * LONGEST),
    ("process=a,b*", HISTORY, ["a", "b*"]),
    ("user=0,33", HISTORY, [0, 33]),
    ("pid=1,2", HISTORY, [1, 2]),
    ("remote=10.0.0.0/8,::1", HISTORY, [network("10.0.0.0/8"), network("::1")]),
    ("sort=-rx", HISTORY, "-rx"),
    ("limit=1", HISTORY, 1),
)


@pytest.mark.parametrize(("text", "table", "expected"), UNDERSTOOD)
def test_parameter_has_its_value(text: str, table: tuple[Param, ...], expected: Any) -> None:
    assert read(text, table)[text.partition("=")[0]] == expected


def test_range_and_dimensions() -> None:
    found = read("range=2026-09-01..2026-09-03&by=day,%20user", HISTORY)
    assert found["range"].text == "2026-09-01..2026-09-03"
    assert [d.name for d in found["by"]] == ["day", "user"]
    for dimension in HAVING:
        assert read(f"by={dimension.name}", HISTORY)["by"] == [dimension]
    for column in PROCESS_COLUMNS:
        assert read(f"sort={column.id}", LIVE)["sort"] == Order(column.id)


# What is not.


REFUSED_LIVE: Final = (
    ("nope=1", "unknown parameter 'nope'; expected filter, proto, loopback, sort"),
    ("Limit=1", "unknown parameter 'Limit'"),
    ("=1", "unknown parameter ''"),
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
    ("nope=%1B%5B2J%0A", "unknown parameter"),
    ("%1B%5B2J%0A=1", r"unknown parameter '\x1b[2J\n'"),
    ("filter=pid:%E2%80%AE", r"filter: invalid process id '\u202e'"),
)
REFUSED_HISTORY: Final = (
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
    ("filter=pid%3A1", "filter: invalid field 'pid'; expected user, process"),
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
)


def test_invalid_parameter_gets_one_line() -> None:
    for table, mistakes in (
        (LIVE, REFUSED_LIVE),
        (HISTORY, REFUSED_HISTORY),
        ((), (("a=1", "unknown parameter 'a'; this path takes none"),)),
    ):
        for text, words in mistakes:
            assert words in refused(text, table)
    assert params.LONGEST == 1000


@given(st.text(max_size=LONGEST).filter(lambda text: text.isprintable() and ":" not in text))
def test_filter_arrives_as_it_was_sent(text: str) -> None:
    assert read(urlencode({"filter": text}), LIVE)["filter"] == text
