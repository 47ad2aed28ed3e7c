"""The filter language: the flows that each condition passes, typed or given as flags, live or recorded."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.history.dimensions import ENDPOINT
from bwtop.history.ranges import Range
from bwtop.model.conditions import FilterError, LiveNumbers, Loopback, no_names
from bwtop.model.filter import EVERYTHING, Filter, FilterField
from bwtop.model.filter_fields import FIELDS, RECORDED, made, toggled
from bwtop.model.flows import UDP, Host, Identity, Loss, ProcessKey, Remote, Role, Traffic
from bwtop.model.ledger import CATEGORIES, CLASSES, category
from bwtop.model.live import LiveModel
from bwtop.model.named import NameSource, RemoteName
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.model.typed import parse
from bwtop.modes import common, screen
from bwtop.options.config import Config
from bwtop.sqlite import selection
from bwtop.sqlite.delta import Delta
from bwtop.view.rows import Expansion, Leaf
from bwtop.view.tree import Tree, View
from tests.build import HOSTILE, key, remote, sample, typed
from tests.history.keep import NOON, Kept, by
from tests.options.examples import parse as options_of
from tests.strategies import samples

PROCESSES: dict[str, tuple[ProcessKey, Identity]] = {
    "curl": (
        key(10),
        Identity(
            "curl",
            uid=1000,
            user="ada",
            exe="/usr/bin/curl",
            cmdline="curl -s https://Example.org/a:b c,d",
            unit="user@1000.service",
        ),
    ),
    "sshd": (
        key(20),
        Identity("sshd: ada", uid=0, user="root", exe="/usr/sbin/sshd", cmdline="sshd: ada [priv]"),
    ),
    "nginx": (
        key(30),
        Identity(
            "nginx-worker",
            uid=33,
            user="www-data",
            exe="/opt/Straße/nginx",
            container="docker:3f1e9a0b7c2d",
            container_name="shop/web-0/nginx",
            pod="8a4c1b9e-03d2",
        ),
    ),
    "unknown": (key(40), Identity("(unknown)")),
}

REMOTES: dict[str, tuple[Remote, str | None]] = {
    "web": (remote("192.0.2.1", 443), "www.example.net"),
    "web10": (remote("192.0.2.10", 8443), None),
    "web6": (remote("2001:db8::1", 443), "Six.Example.net"),
    "dns": (remote("198.51.100.53", 53, UDP), "resolver"),
    "ssh": (remote("203.0.113.9", 22, role=Role.SERVER), None),
    "ping": (remote("10.1.2.3", 0, 1), None),
    "ping6": (remote("fe80::1", 0, 58), None),
    "dead": (remote("dead:beef::1", 80, 132), None),
    "lite": (remote("10.9.9.9", 8080, 136, Role.SERVER), None),
    "odd": (remote("10.9.9.8", 0, 200), None),
    "local": (remote("127.0.0.1", 8080), "localhost"),
    "local6": (remote("::1", 8999), None),
    "*": (remote("*", 0, UDP), None),
}

Flows = set[tuple[str, str]]

ALL: Flows = {(process, far) for process in PROCESSES for far in REMOTES}


def of(processes: str = "", remotes: str = "") -> Flows:
    """Return all flows of some processes, and all of some remotes."""
    return {
        (process, far)
        for process, far in ALL
        if process in processes.split() or far in remotes.split()
    }


def named(host: str | None) -> list[RemoteName]:
    return [RemoteName(host, NameSource.DNS)] if host else []


def passed(keep: Filter) -> Flows:
    """Return the flows that a filter passes."""
    return {
        (process, far)
        for process, (name, identity) in PROCESSES.items()
        if (terms := keep.undecided(name, identity)) is not None
        for far, (address, host) in REMOTES.items()
        if all(term.of_remote(address, lambda _: named(host)) for term in terms)  # noqa: B023
    }


def taken(text: str) -> Flows:
    return passed(parse(text))


# Words.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ALL),
        ("  \t ", ALL),
        ("curl", of("curl")),
        ("CURL", of("curl")),
        ("ada", of("curl sshd")),
        ("/sbin/", of("sshd")),
        ("strasse", of("nginx")),
        ("https", of("curl")),
        ("user@1000", of("curl")),
        ("docker", of("nginx")),
        ("8a4c", of("nginx")),
        ("www-data", of("nginx")),
        ("ww", of("nginx", "web")),
        ("example", of("curl", "web web6")),
        ("example.NET", of("", "web web6")),
        ("192.0.2.1", of("", "web web10")),
        ("2.1", of("", "web web10")),
        ("local", of("", "local")),
        ("nobody-has-this", set()),
        ("curl ada", of("curl")),
        ("curl 192.0.2", of("curl") & of("", "web web10")),
        ("-curl", ALL - of("curl")),
        ("-ww", ALL - of("nginx", "web")),
        ("-example -fe80", ALL - of("curl", "web web6 ping6")),
        ("ada -root", of("curl")),
        ("c,d", of("curl")),
        ("curl,sshd", set()),
        ("--s", ALL - of("curl")),
        ('"sshd: ada"', of("sshd")),
        ('-"sshd: ada"', ALL - of("sshd")),
        ('"curl -s"', of("curl")),
        ('"port:443"', set()),
        ('"a:b"', of("curl")),
        ('cu"rl"', of("curl")),
        ("*", of("", "*")),
    ],
)
def test_word_matches_part_of_a_process_or_remote(text: str, expected: Flows) -> None:
    assert taken(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dead:beef::1", of("", "dead")),
        ("dead:", of("", "dead")),
        ("dead:be", of("", "dead")),
        ("DEAD:BEEF:", of("", "dead")),
        ("beef::1", of("", "dead")),
        ("fe80::1", of("", "ping6")),
        ("fe80::", of("", "ping6")),
        ("::1", of("", "web6 ping6 dead local6")),
        ("-::1", ALL - of("", "web6 ping6 dead local6")),
        ("2001:db8::1", of("", "web6")),
        ("2001:", of("", "web6")),
        ("Class::method", set()),
        ("sshd::", set()),
    ],
)
def test_colons_of_addresses_are_no_fields(text: str, expected: Flows) -> None:
    assert taken(text) == expected


# Fields.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pid:10", of("curl")),
        ("pid:10,30", of("curl nginx")),
        ("pid:1", set()),
        ("PID:10", of("curl")),
        ("user:ada", of("curl")),
        ("user:ROOT", of("sshd")),
        ("user:a", set()),
        ("user:*a*", of("curl nginx")),
        ("user:0", of("sshd")),
        ("user:0,ada", of("curl sshd")),
        ("user:4294967295", set()),
        ("process:curl", of("curl")),
        ("process:cur", set()),
        ("process:Cur?", of("curl")),
        ("process:[a-c]*", of("curl")),
        ("process:curl,nginx*", of("curl nginx")),
        ('process:"sshd: ada"', of("sshd")),
        ('"name":curl', set()),
        ("exe:/usr", of("curl sshd")),
        ("exe:STRASSE", of("nginx")),
        ("exe:/opt,sbin", of("nginx sshd")),
        ("cmd:-s", of("curl")),
        ("cmd:example.org", of("curl")),
        ('cmd:"[priv]"', of("sshd")),
        ("cmd:a:b", of("curl")),
        ("unit:user@", of("curl")),
        ("unit:docker:3f", of("nginx")),
        ("unit:03d2", of("nginx")),
        ("unit:user@,docker", of("curl nginx")),
        ("unit:web-0", of("nginx")),
        ("container:nginx*", of("nginx")),
        ("container:SHOP/*", of("nginx")),
        ("container:docker:3f*,x", of("nginx")),
        (f"container:3f1e9a0b7c2d{'0' * 52}", of("nginx")),
        ("container:web", set()),
        ("-container:*", ALL - of("nginx")),
        ("-pid:10", ALL - of("curl")),
        ("-user:0", ALL - of("sshd")),
        ("-user:0,1000", ALL - of("curl sshd")),
        ("-process:*", set()),
        ("name:curl", of("curl")),
        ("name:nginx*,sshd", of("nginx")),
    ],
)
def test_fields_of_processes(text: str, expected: Flows) -> None:
    assert taken(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port:443", of("", "web web6")),
        ("port:443,53", of("", "web web6 dns")),
        ("port:8000-8999", of("", "web10 lite local local6")),
        ("port:8080-8080,22", of("", "lite local ssh")),
        ("port:8999-8000", set()),
        ("port:0", of("", "ping ping6 odd *")),
        ("-port:443", ALL - of("", "web web6")),
        ("proto:tcp", of("", "web web10 web6 ssh local local6")),
        ("proto:UDP", of("", "dns *")),
        ("proto:udp,tcp", of("", "web web10 web6 ssh local local6 dns *")),
        ("proto:other", of("", "ping ping6 dead lite odd")),
        ("proto:icmp", of("", "ping")),
        ("proto:icmpv6", of("", "ping6")),
        ("proto:sctp", of("", "dead")),
        ("proto:udplite", of("", "lite")),
        ("proto:ip-200", of("", "odd")),
        ("-proto:tcp,udp", of("", "ping ping6 dead lite odd")),
        ("role:server", of("", "ssh lite")),
        ("role:S", of("", "ssh lite")),
        ("role:client", ALL - of("", "ssh lite")),
        ("role:client,server", ALL),
        ("-role:client", of("", "ssh lite")),
        ("remote:192.0.2.1", of("", "web")),
        ("remote:192.0.2.", of("", "web web10")),
        ("remote:192.0.2.0/29", of("", "web")),
        ("remote:192.0.2.7/24", of("", "web web10")),
        ("remote:10.0.0.0/8,127.0.0.0/8", of("", "ping lite odd local")),
        ("remote:0.0.0.0/0", of("", "web web10 dns ssh ping lite odd local")),
        ("remote:2001:db8::/32", of("", "web6")),
        ("remote:2001:db8::1", of("", "web6")),
        ("remote:2001:DB8:0:0::1", of("", "web6")),
        ("remote:fe80::/10", of("", "ping6")),
        ("remote:dead:beef::1", of("", "dead")),
        ("remote:dead:", of("", "dead")),
        ("remote:::1", of("", "local6")),
        ("remote:::1/128", of("", "local6")),
        ("remote:::/0", of("", "web6 ping6 dead local6")),
        ('remote:"::1"', of("", "local6")),
        ("remote:::ffff:192.0.2.1", of("", "web")),
        ("remote:::ffff:10.0.0.0/104", of("", "ping lite odd")),
        ("remote:0::ffff:10.0.0.0/104", of("", "ping lite odd")),
        ("remote:example", of("", "web web6")),
        ("remote:resolver,203.0.113.9", of("", "dns ssh")),
        ("remote:*", of("", "*")),
        ("name:www.example.net", of("", "web")),
        ("name:example.net", set()),
        ("name:*.EXAMPLE.net,resolver", of("", "web web6 dns")),
        ("-name:*.example.net", ALL - of("", "web web6")),
        ("name:local*", of("", "local")),
        ("-remote:10.0.0.0/8", ALL - of("", "ping lite odd")),
        ("-remote:example,::1", ALL - of("", "web web6 local6")),
        ("remote:::", set()),
        ("loopback:only", of("", "local local6")),
        ("loopback:hide", ALL - of("", "local local6")),
        ("loopback:show", ALL),
        ("loopback:O", of("", "local local6")),
        ("loopback:hide,only", ALL),
        ("loopback:hide loopback:only", set()),
        ("-loopback:only", ALL - of("", "local local6")),
        ("net:internet", of("", "web web10 web6 dns ssh dead")),
        ("net:LAN,unk", of("", "ping ping6 lite odd *")),
        ("-net:l", of("", "web web10 web6 dns ssh dead *")),
        ("net:loopback", of("", "local local6")),
        ("net:multicast", set()),
    ],
)
def test_fields_of_remotes(text: str, expected: Flows) -> None:
    assert taken(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("curl port:443", of("curl") & of("", "web web6")),
        ("port:443 port:53", set()),
        ("-curl -port:443", ALL - of("curl") - of("", "web web6")),
        ("user:ada,root proto:udp -remote:*", of("curl sshd") & of("", "dns")),
        ('\tname:"sshd: ada"   role:server ', of("sshd") & of("", "ssh lite")),
        ("example proto:tcp", of("curl", "web6 web") - of("", "dns ping ping6 dead lite odd *")),
    ],
)
def test_all_terms_must_hold(text: str, expected: Flows) -> None:
    assert taken(text) == expected


def test_process_conditions_decide_first() -> None:
    """Remotes are not checked when the process already decides."""
    curl, sshd = PROCESSES["curl"], PROCESSES["sshd"]
    for text, of_curl, of_sshd in (
        ("process:curl", 0, None),
        ("-process:curl", None, 0),
        ("curl", 0, 1),
        ("-curl", None, 1),
        ("port:443 -port:80 user:1000", 2, None),
    ):
        keep = parse(text)
        for (name, identity), expected in ((curl, of_curl), (sshd, of_sshd)):
            terms = keep.undecided(name, identity)
            assert (None if terms is None else len(terms)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8", of("", "ping lite odd")),
        ("-10.0.0.0/8", ALL - of("", "ping lite odd")),
        ("10.0.0.0/", set()),
        ("2001:db8::/32", of("", "web6")),
        ("::/0", of("", "web6 ping6 dead local6")),
        ("192.0.2.1:443", of("", "web")),
        ("192.0.2.1:", of("", "web")),
        ("192.0.2.10:8000-8999", of("", "web10")),
        ("[2001:db8::1]:443", of("", "web6")),
        ("[2001:db8::1]:80", set()),
        ("!192.0.2.1:443", ALL - of("", "web")),
        ("example.net:443", of("", "web web6")),
        ("localhost:8080", of("", "local")),
        ("*:0", of("", "*")),
        (":443", of("", "web web6")),
        ("-:443", ALL - of("", "web web6")),
        (":8000-", of("", "")),
        ("remote:192.0.2.1:443,[::1]:8999", of("", "web local6")),
        ("remote:[::1]", of("", "local6")),
        ("sbin/10", set()),
        ('"10.0.0.0/8"', set()),
        ('"192.0.2.1:443"', set()),
    ],
)
def test_network_address_and_port_without_a_field_are_of_the_remote(
    text: str, expected: Flows
) -> None:
    assert taken(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("curl | sshd", of("curl sshd")),
        ("curl|sshd", of("curl sshd")),
        ("curl || sshd", of("curl sshd")),
        ("curl or sshd OR nginx", of("curl sshd nginx")),
        (
            "curl port:443 | sshd port:22",
            of("curl") & of("", "web web6") | of("sshd") & of("", "ssh"),
        ),
        ("curl and port:443", of("curl") & of("", "web web6")),
        ("curl && port:443", of("curl") & of("", "web web6")),
        ("!curl", ALL - of("curl")),
        ("not curl", ALL - of("curl")),
        ("not -curl", of("curl")),
        ("not curl | curl", ALL),
        ("curl " * 99, of("curl")),
        ("curl |", of("curl")),
        ("| curl", of("curl")),
        ("curl | port:", of("curl")),
        ("curl | |", of("curl")),
        ("|", ALL),
        ("or", ALL),
        ("not", ALL),
        ("proto:udp | loopback:only", of("", "dns * local local6")),
        ("process:curl | pid:30", of("curl nginx")),
        ('"curl | sshd"', set()),
        ("'sshd: ada'", of("sshd")),
        ("process:'sshd: ada'", of("sshd")),
        ("'sshd: a", of("sshd")),
        ('"or"', of("curl nginx")),
    ],
)
def test_alternatives_negations_and_quotes(text: str, expected: Flows) -> None:
    assert taken(text) == expected


def test_live_numbers_of_a_process() -> None:
    fast, slow = LiveNumbers(3 << 20, 5 << 30, exited=False), LiveNumbers(10.0, 10, exited=True)
    who = key(1), Identity("curl")
    for text, expected in (
        ("rate:>1M", (True, False)),
        ("rate:1M", (True, False)),
        ("rate:<1MiB/s", (False, True)),
        ("-rate:>1M", (False, True)),
        ("rate:>20Mbit", (True, False)),
        ("rate:>26Mbit", (False, False)),
        ("rate:>", (True, True)),
        ("total:>4.9G", (True, False)),
        ("state:exited", (False, True)),
        ("state:l", (True, False)),
        ("state:exited | rate:>1m", (True, True)),
        ("nginx | rate:>1M", (True, False)),
    ):
        keep = parse(text)
        assert keep.is_live
        assert tuple(keep.undecided(*who, live) == () for live in (fast, slow)) == expected
    assert not parse("curl | port:1").is_live


# Partial input and errors.


@pytest.mark.parametrize(
    "text",
    [
        "-",
        " - ",
        '"',
        '-"',
        '""',
        '-""',
        "port:",
        "-port:",
        "port:,",
        "-port:,,",
        'process:"',
        "pid:",
    ]
    + [f"{sign}{field.name}:" for field in FIELDS for sign in ("", "-")],
)
def test_incomplete_term_is_no_condition(text: str) -> None:
    assert taken(text) == ALL
    assert taken(f"curl {text}") == of("curl")
    if '"' not in text:
        assert taken(f"{text} curl") == of("curl")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port:443,", of("", "web web6")),
        ("port:,443", of("", "web web6")),
        ("port:8080-", of("", "lite local")),
        ('"sshd: a', of("sshd")),
        ('process:"sshd: ada', of("sshd")),
        ('curl "port:443 ', set()),
    ],
)
def test_partly_complete_term_uses_its_complete_part(text: str, expected: Flows) -> None:
    assert taken(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "curl -pid:1234,5678 port:8000-8999",
        "user:ada,0 -process:nginx*",
        'exe:/usr/bin cmd:"a b" unit:docker:3f',
        "remote:10.0.0.0/8,2001:db8::/32 -remote:::ffff:10.0.0.0/104",
        "proto:tcp,udplite,icmpv6,ip-200,other role:client,server loopback:hide,only",
        'dead:beef::1 ::1 "port:443"',
    ],
)
def test_partial_input_is_no_error(text: str) -> None:
    for end in range(len(text) + 1):
        parse(text[:end])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://example.org", "invalid field 'http'; expected pid, user, process, name"),
        ("sport:80", "invalid field 'sport'"),
        ("-sport:80", "invalid field 'sport'"),
        ("pid:abc", "invalid process id 'abc'; expected 0 to 4294967295"),
        ("pid:-1", "invalid process id '-1'"),
        ("pid:10,x", "invalid process id 'x'"),
        ("pid:4294967296", "invalid process id '4294967296'"),
        ("pid:1e3", "invalid process id '1e3'"),
        ("pid:\u0661", "invalid process id"),
        ("port:http", "invalid port 'http'; expected 0 to 65535 or a range such as 8000-8999"),
        ("port:65536", "invalid port '65536'"),
        ("port:-80", "invalid port '-80'"),
        ("port:1-99999", "invalid port '1-99999'"),
        ("port:1-2-3", "invalid port '1-2-3'"),
        ("proto:quic", "invalid protocol 'quic'; expected ah, dccp"),
        ("proto:tcp,quic", "invalid protocol 'quic'"),
        ("role:peer", "invalid role 'peer'; expected client or server"),
        (
            "net:moon",
            "invalid network 'moon'; expected internet, lan, multicast, loopback, unknown",
        ),
        ("loopback:no", "invalid value 'no'; expected hide, only or show"),
        ("remote:10.0.0.0/33", "invalid network '10.0.0.0/33'; expected one such as 10.0.0.0/8"),
        ("remote:10.0.0/8", "invalid network '10.0.0/8'"),
        ("remote:2001:db8::/129", "invalid network '2001:db8::/129'"),
        ('pid:"1\n2"', r"invalid process id '1\n2'"),
        ("10.0.0.0/33", "invalid network '10.0.0.0/33'; expected one such as 10.0.0.0/8"),
        ("port=443", "invalid term 'port=443'; expected port:443"),
        ("user!=root", "invalid term 'user!=root'; expected -user:root"),
        ("rate>1M", "invalid term 'rate>1M'; expected rate:>1M"),
        ("port>1024", "invalid term 'port>1024'; expected port:1024"),
        ("rate:fast", "invalid amount 'fast'; expected one such as >1M"),
        ("state:gone", "invalid state 'gone'; expected living or exited"),
        ("(curl | sshd)", "no parentheses; for (a | b) c write a c | b c"),
        ("192.0.2.1:99999", "invalid port '99999'"),
        (" ".join(f"word{n}" for n in range(25)), "too many terms; expected 24 or fewer"),
    ],
)
def test_error_is_one_line(text: str, words: str) -> None:
    for also in (text, f"curl {text}", f"{text} -curl"):
        with pytest.raises(FilterError) as error:
            parse(also)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


TOKENS = (
    *(f"{field.name}:" for field in FIELDS),
    *(
        '"',
        "'",
        "|",
        " or ",
        "not ",
        "(",
        ")",
        ">",
        "=",
        "-",
        ",",
        ":",
        "::",
        "/",
        " ",
        "\n",
        "*",
        "[",
        "]",
        "!",
        "?",
        "\\",
        "%eth0",
        ".",
    ),
    *("0", "1", "443", "65536", "9" * 20, "10.0.0.0/8", "dead:beef", "::1", "::ffff:1.2.3.4/99"),
    *("curl", "tcp", "client", "İ", "ß", "\x00", "\x1b[2J", "\ud800"),
)


@given(st.text() | st.lists(st.sampled_from(TOKENS + HOSTILE)).map("".join))
@example("user:" + "1" * 5000)
@example("pid:" + "1" * 5000)
@example("port:1-" + "1" * 5000)
@example("remote:10.0.0.0/" + "1" * 5000)
@example("process:" + "[" * 500)
@example("process:" + "*a" * 200)
@example('"' * 999)
@example("a:" * 500)
@example("rate>1 pid=2")
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    found, recorded = understood(text), understood(text, RECORDED)
    if isinstance(found, Filter):
        assert passed(found) <= ALL
    else:
        assert len(found.splitlines()) == 1
        valid = isinstance(recorded, Filter) and "::" not in text  # pid::x is a name to a report
        assert not valid, "a valid history filter is valid on the screen"


def understood(text: str, fields: Sequence[FilterField] = FIELDS) -> Filter | str:
    """Return the parsed filter, or its error."""
    try:
        return parse(text, fields)
    except FilterError as error:
        return str(error)


# Properties.

TERMS = (
    *("curl", "ww", "example", "::1", "c,d", '"sshd: ada"'),
    *("pid:10", "user:0,ada", "process:*n*", "exe:usr", "cmd:ada", "unit:docker,user"),
    "container:*",
    *("remote:10.0.0.0/8,example", "port:0-1023", "proto:other,udp", "role:server"),
    "loopback:hide",
)


@given(st.lists(st.tuples(st.sampled_from(TERMS), st.booleans()), max_size=4))
def test_terms_and_their_negations_combine_like_sets(terms: list[tuple[str, bool]]) -> None:
    expected = ALL
    for term, negated in terms:
        assert taken(f"-{term}") == ALL - taken(term)
        expected = expected & (ALL - taken(term) if negated else taken(term))
    texts = [f"{'-' * negated}{term}" for term, negated in terms]
    assert taken(" ".join(texts)) == expected
    if texts:
        assert taken(" | ".join(texts)) == set().union(*map(taken, texts))


VALUES = {
    "pid": ("10", "20", "99"),
    "user": ("0", "ada", "*a*"),
    "process": ("curl", "nginx*", "nobody"),
    "name": ("curl", "*.example.net", "*"),
    "exe": ("usr", "opt"),
    "cmd": ("curl", "ada"),
    "unit": ("docker", "user"),
    "container": ("web*", "3f*", "x"),
    "remote": ("192.0.2.0/24", "example", "10.", "2001:db8::1"),
    "port": ("443", "8000-8999", "1"),
    "proto": ("udp", "icmp", "other"),
    "role": ("client", "server"),
    "loopback": ("hide", "only"),
}


@given(st.sampled_from(sorted(VALUES)), st.data())
def test_commas_are_alternatives(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=4))
    together = taken(f"{name}:{','.join(values)}")
    assert together == set().union(*(taken(f"{name}:{value}") for value in values))
    assert taken(f"-{name}:{','.join(values)}") == ALL - together


# Categories.


@given(
    st.lists(st.sampled_from((*TERMS, "proto:tcp", "-proto:udp", "-loopback:only", "proto:icmp")))
)
def test_flows_of_other_categories_do_not_pass(terms: list[str]) -> None:
    keep = parse(" ".join(terms))
    possible = {
        far for far, (address, _) in REMOTES.items() if category(address) in keep.categories()
    }
    found = passed(keep)
    assert {far for _, far in found} <= possible
    if keep.is_of_categories:
        assert found == {(process, far) for process, far in ALL if far in possible}


@pytest.mark.parametrize(
    ("text", "is_of_categories"),
    [
        ("", True),
        ("proto:tcp,OTHER -loopback:only", True),
        ("proto:icmp", False),
        ("proto:tcp,icmp", False),
        ("curl", False),
        ("proto:tcp process:*", False),
        ("-port:1", False),
    ],
)
def test_only_classes_and_loopback_are_decided_by_category(
    text: str, is_of_categories: bool
) -> None:
    assert parse(text).is_of_categories == is_of_categories


@pytest.mark.parametrize("classes", [{"tcp"}, {"udp", "other"}, set(CLASSES), set()])
@pytest.mark.parametrize("loopback", Loopback)
def test_toggles_are_terms(classes: set[str], loopback: Loopback) -> None:
    local = {Loopback.SHOW: {False, True}, Loopback.HIDE: {False}, Loopback.ONLY: {True}}[loopback]
    assert toggled(classes, loopback).categories() == {
        of for of, what in CATEGORIES.items() if what[0] in classes and what[1] in local
    }
    assert (toggled(classes, loopback) == EVERYTHING) == (
        classes == set(CLASSES) and loopback is Loopback.SHOW
    )


# Samples.

texts = st.lists(
    st.sampled_from(
        [
            *("pid:1", "user:0,2", "process:CURL,s*", "-process:?url", "remote:192.0.2.0/31,::/0"),
            *("proto:udp", "port:22", "loopback:hide", "loopback:only", "curl"),
        ]
    ),
    max_size=4,
).map(" ".join)


@given(texts, samples)
def test_passing_flows_are_unchanged_and_dropped_flows_fail_a_condition(
    text: str, reading: Sample
) -> None:
    keep = parse(text)
    kept = {
        (p, r): t for p, remotes in keep.apply(reading).traffic.items() for r, t in remotes.items()
    }
    for process, remotes in reading.traffic.items():
        terms = keep.undecided(process, reading.identities.get(process, Identity("(unknown)")))
        for far, traffic in remotes.items():
            passes = terms is not None and all(term.of_remote(far, no_names) for term in terms)
            assert kept.pop((process, far), None) == (traffic if passes else None)
    assert not kept, "flows came from nowhere"


@pytest.mark.parametrize("text", ["process:curl", "user:0", "curl", "host:*"])
def test_an_unknown_process_matches_nothing(text: str) -> None:
    """Absent, never a false 0: the owner of those bytes is unknown."""
    unknown = sample({key(10): {remote(): Traffic(1)}})
    assert typed(text).apply(unknown).traffic == {}


def test_losses_exits_and_identities_pass_every_filter() -> None:
    before = sample(
        {key(10): {remote(): Traffic(3, 5)}},
        identities={key(10): Identity("curl")},
        exited={key(10)},
        loss=Loss(1, 2, 3, 4, 5, 6),
    )
    after = parse("pid:99").apply(before)
    assert after == replace(before, traffic={})


# Flags, the screen, batch mode and the history have one result.

HOSTS = {"web1": Host("web1", "id-1"), "WEB2": Host("WEB2", "id-2"), "db": Host("db", "Id-3")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host:web1", {"web1"}),
        ("host:Web*", {"web1", "WEB2"}),
        ("host:id-2,Id-3", {"WEB2", "db"}),
        ("host:ID-2", set()),
        ("-host:web*", {"db"}),
        ("host:web* -host:web1 port:1 curl", {"WEB2"}),
        ("process:web1", set(HOSTS)),
    ],
)
def test_terms_on_hosts(text: str, expected: set[str]) -> None:
    assert {name for name, host in HOSTS.items() if typed(text).takes_host(host)} == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, ""),
        ({"pid": None, "process": []}, ""),
        ({"pid": [10, 20], "process": ["curl"]}, "pid:10,20 process:curl"),
        ({"process": ["sshd: ada", "curl"]}, 'process:"sshd: ada,curl"'),
        ({"remote": [ipaddress.ip_network("10.0.0.0/8")]}, "remote:10.0.0.0/8"),
        ({"host": ["web*"]}, "host:web*"),
    ],
)
def test_flags_are_spelled_as_typed_filters(
    values: dict[str, list[object] | None], text: str
) -> None:
    assert made(values).spell() == text
    assert typed(text) == made(values)


@given(
    st.lists(st.tuples(st.sampled_from((*TERMS, '"port:443"')), st.booleans()), max_size=4),
    st.sampled_from([" ", " | "]),
)
def test_a_spelled_filter_is_the_same_filter(terms: list[tuple[str, bool]], between: str) -> None:
    keep = parse(between.join(f"{'-' * negated}{term}" for term, negated in terms))
    assert parse(keep.spell()) == keep
    both = keep & parse("ada | ::1")
    assert passed(parse(both.spell())) == passed(both)


NAMES = ["curl", "SSH*", "sshd: ada", "nginx-w?rker", "*", "[cn]*", 'qu"ote', ":odd", "-x", "(*"]


@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
def test_spelled_names_keep_their_meaning(names: list[str]) -> None:
    keep = made({"process": names})
    assert passed(parse(keep.spell())) == passed(keep)


def test_process_name_with_a_quote_is_found_when_it_is_spelled() -> None:
    keep = parse(made({"process": ['a "b" c']}).spell())
    assert keep.undecided(key(1), Identity('a "b" c')) == ()
    assert keep.undecided(key(1), Identity("a b c")) is None


PLAIN = {of: (name, replace(who, cmdline="")) for of, (name, who) in PROCESSES.items()}
"""The processes as the history knows them: it has no command lines."""

TRAFFIC = {
    key: {far: Traffic(1 + number, 1) for number, (far, _) in enumerate(REMOTES.values())}
    for key, _ in PLAIN.values()
}


def listed(found: Mapping[ProcessKey, Iterator[Remote] | set[Remote]]) -> Flows:
    """Return flows by the names that they have here."""
    processes = {key: of for of, (key, _) in PLAIN.items()}
    remotes = {far: of for of, (far, _) in REMOTES.items()}
    return {(processes[key], remotes[far]) for key, fars in found.items() for far in fars}


def reading() -> Sample:
    return sample(TRAFFIC, identities=dict(PLAIN.values()))


def on_screen(toggles: Filter, keep: Filter) -> Flows:
    """Return the flows that the full screen and the browser view show."""
    model = LiveModel()
    model.advance(reading())
    tree = Tree(model, View(toggles, keep), Expansion(), RemoteNames())
    return listed(
        {
            row.key: {leaf.remote for leaf in tree.children(row) if isinstance(leaf, Leaf)}
            for row in tree.tops
            if row.key
        }
    )


def in_batch(keep: Filter) -> Flows:
    """Return the flows that --batch prints."""
    return listed({key: set(fars) for key, fars in keep.apply(reading()).traffic.items()})


@pytest.fixture(scope="module")
def in_history() -> Iterator[Callable[[Filter], Flows]]:
    """Yield a function that returns the flows in a report."""
    kept = Kept()
    flows = {
        who: {far: (t.rx, t.tx) for far, t in TRAFFIC[who[0]].items()} for who in PLAIN.values()
    }
    kept.append(Delta(NOON, 1.0, flows))
    keys = {who.name: key for key, who in PLAIN.values()}
    wanted, dimensions = Range("", NOON, NOON + 60), (*by("process"), ENDPOINT)

    def ask(keep: Filter) -> Flows:
        answer = kept.ask_for(wanted, dimensions, keep)
        found: dict[ProcessKey, set[Remote]] = {}
        for row in answer.rows:
            name, *_, far = row.labels
            assert isinstance(far, Remote)
            found.setdefault(keys[str(name)], set()).add(far)
            assert (row.rx, row.tx) == TRAFFIC[keys[str(name)]][far]
        assert answer.rx == sum(bar.rx for bar in answer.bars) == sum(row.rx for row in answer.rows)
        return listed(found)

    with patch.object(selection, "user_name", {0: "root", 33: "www-data", 1000: "ada"}.get):
        yield ask
    kept.connection.close()


FLAGS: dict[str, tuple[str, ...]] = {
    "pid": ("10", "20", "40", "99"),
    "user": ("0", "33", "99"),
    "process": ("Curl", "ssh*", "SSHD: ADA", "*-Worker", "*", "(*"),
    "remote": ("192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "::1", "::/0", "0.0.0.0/0", "::"),
}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(st.sampled_from(values), unique=True, min_size=1, max_size=3)
            for name, values in FLAGS.items()
        },
    ),
    st.sets(st.sampled_from(CLASSES), max_size=3).map(sorted),
    st.sampled_from([None, *Loopback]),
)
@example({"process": ["Python3", "CURL"]}, [], None)
@example({"pid": ["10", "40"], "remote": ["::"]}, ["other"], Loopback.HIDE)
def test_flags_and_typed_filters_pass_the_same_flows_everywhere(
    in_history: Callable[[Filter], Flows],
    given_values: dict[str, list[str]],
    classes: list[str],
    loopback: Loopback | None,
) -> None:
    arguments = [f"--{name}={','.join(values)}" for name, values in given_values.items()]
    arguments += [f"--{name}" for name in classes]
    words = [f'{name}:"{",".join(values)}"' for name, values in given_values.items()]
    words += [f"proto:{','.join(classes)}"]
    if loopback:
        arguments.append(f"--loopback={loopback}")
        words.append(f"loopback:{loopback}")
    options = options_of(*arguments)
    settings = screen.settings_of(options, Config())
    by_flags, by_words = common.filter_of(options), parse(" ".join(words))
    expected = passed(by_words)
    assert passed(by_flags) == expected
    assert on_screen(EVERYTHING, by_words) == expected
    toggles = toggled(settings.classes, settings.loopback)
    assert on_screen(toggles, parse(settings.filter)) == expected
    for keep in (by_flags, by_words):
        assert in_batch(keep) == expected
        assert in_history(keep) == expected


WORDS = (
    *("Curl", "ADA", "/sbin/", "docker", "www-data", "192.0.2.1", "2.1", "::1", "*", "nobody"),
    *("pid:10,30", "user:ADA,0", "user:*a*", "process:CURL", "process:*-worker", "exe:Sbin,opt"),
    *("unit:user@", "unit:DOCKER", "remote:192.0.2.0/29,2.1", "remote:10.", "port:443,53"),
    "container:web-0",
    *("port:8000-8999", "proto:tcp,icmp", "proto:OTHER", "role:server", "loopback:only"),
    *("net:lan", "net:internet,unknown"),
)


@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.booleans()), max_size=4),
    st.sampled_from([" ", " | "]),
)
def test_a_typed_filter_passes_the_same_flows_everywhere(
    in_history: Callable[[Filter], Flows], terms: list[tuple[str, bool]], between: str
) -> None:
    keep = parse(between.join(f"{'-' * negated}{term}" for term, negated in terms))
    expected = on_screen(EVERYTHING, keep)
    assert in_batch(keep) == expected
    if (
        "|" not in keep.spell() or "pid:" not in keep.spell()
    ):  # of a report, --pid is no alternative
        assert in_history(keep) == expected


# The history.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ALL),
        ("curl", of("curl")),
        ("curl port:443", of("curl") & of("", "web web6")),
        ("-port:443 -user:0", ALL - of("sshd", "web web6")),
        ("remote:resolver", set()),
        ("-remote:resolver", ALL),
        ("www.example.net", set()),
        ("nobody-has-this", set()),
    ],
)
def test_recorded_flow_passes_without_its_host(text: str, expected: Flows) -> None:
    keep = parse(text, RECORDED)
    assert {
        (process, far) for process, far in ALL if keep.takes(PROCESSES[process][1], REMOTES[far][0])
    } == expected


def test_history_filter_has_no_pid_and_no_cmd() -> None:
    assert {field.name for field in set(FIELDS) - set(RECORDED)} == {
        *("pid", "cmd", "rate", "total", "state")
    }
    names = ", ".join(field.name for field in RECORDED)
    for text in ("pid:1", "cmd:x", "-pid:1", "PID:1", "curl cmd:a,b"):
        parse(text)
        with pytest.raises(
            FilterError, match=r"invalid field '(pid|cmd)'; expected user, process, name"
        ) as error:
            parse(text, RECORDED)
        assert str(error.value).endswith(names)


def test_colon_after_an_unrecorded_field_is_plain_text() -> None:
    assert parse("cmd::x", RECORDED).takes(Identity("a", exe="/cmd::x"), remote())
    assert parse('"pid:1"', RECORDED).takes(Identity("pid:1"), remote())
