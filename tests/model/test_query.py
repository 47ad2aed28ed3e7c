"""The filter language: the flows that each condition passes."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.model.filter import Filter
from bwtop.model.flows import UDP, Identity, ProcessKey, Remote, Role
from bwtop.model.query import FIELDS, RECORDED, Field, Query, QueryError, parse, spell
from tests.build import HOSTILE, key, remote

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


def passed(query: Query) -> Flows:
    """Return the flows that a query passes."""
    return {
        (process, far)
        for process, (name, identity) in PROCESSES.items()
        if (terms := query.undecided(name, identity)) is not None
        for far, (address, host) in REMOTES.items()
        if all(term.of_remote(address, host) for term in terms)
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
        ("name:curl", of("curl")),
        ("name:cur", set()),
        ("name:Cur?", of("curl")),
        ("name:[a-c]*", of("curl")),
        ("name:curl,nginx*", of("curl nginx")),
        ('name:"sshd: ada"', of("sshd")),
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
        ("-pid:10", ALL - of("curl")),
        ("-user:0", ALL - of("sshd")),
        ("-user:0,1000", ALL - of("curl sshd")),
        ("-name:*", set()),
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
        ("-remote:10.0.0.0/8", ALL - of("", "ping lite odd")),
        ("-remote:example,::1", ALL - of("", "web web6 local6")),
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


def test_every_field_has_help_and_has_been_tried() -> None:
    tried = test_fields_of_processes, test_fields_of_remotes
    texts = [text for test in tried for text, _ in test.pytestmark[0].args[1]]  # type: ignore[attr-defined] # put there by pytest
    for field in FIELDS:
        assert field.help.strip()
        assert any(text.startswith(f"{field.name}:") for text in texts)
        assert any(text.startswith(f"-{field.name}:") for text in texts) or field.parse


def test_process_conditions_decide_first() -> None:
    """Remotes are not checked when the process already decides."""
    curl, sshd = PROCESSES["curl"], PROCESSES["sshd"]
    for text, of_curl, of_sshd in (
        ("name:curl", 0, None),
        ("-name:curl", None, 0),
        ("curl", 0, 1),
        ("-curl", None, 1),
        ("port:443 -port:80 user:1000", 2, None),
    ):
        query = parse(text)
        for (name, identity), expected in ((curl, of_curl), (sshd, of_sshd)):
            terms = query.undecided(name, identity)
            assert (None if terms is None else len(terms)) == expected


# Partial input and errors.


@pytest.mark.parametrize(
    "text",
    ["-", " - ", '"', '-"', '""', '-""', "port:", "-port:", "port:,", "-port:,,", 'name:"', "pid:"]
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
        ('name:"sshd: ada', of("sshd")),
        ('curl "port:443 ', set()),
    ],
)
def test_partly_complete_term_uses_its_complete_part(text: str, expected: Flows) -> None:
    assert taken(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "curl -pid:1234,5678 port:8000-8999",
        "user:ada,0 -name:nginx*",
        'exe:/usr/bin cmd:"a b" unit:docker:3f',
        "remote:10.0.0.0/8,2001:db8::/32 -remote:::ffff:10.0.0.0/104",
        "proto:tcp,udplite,icmpv6,ip-200,other role:client,server",
        'dead:beef::1 ::1 "port:443"',
    ],
)
def test_partial_input_is_no_error(text: str) -> None:
    for end in range(len(text) + 1):
        parse(text[:end])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://example.org", "no field 'http'; there are pid, user, name"),
        ("sport:80", "no field 'sport'"),
        ("-sport:80", "no field 'sport'"),
        ("pid:abc", "'abc' is not a process id"),
        ("pid:-1", "'-1' is not a process id"),
        ("pid:10,x", "'x' is not a process id"),
        ("pid:4294967296", "'4294967296' is not a process id"),
        ("pid:1e3", "'1e3' is not a process id"),
        ("pid:\u0661", "is not a process id"),
        ("port:http", "'http' is not a port"),
        ("port:65536", "'65536' is not a port"),
        ("port:-80", "'' is not a port"),
        ("port:1-99999", "'99999' is not a port"),
        ("port:1-2-3", "'2-3' is not a port"),
        ("proto:quic", "no protocol 'quic'; there are ah, dccp"),
        ("proto:tcp,quic", "no protocol 'quic'"),
        ("role:peer", "no role 'peer'; there are client and server"),
        ("remote:10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("remote:10.0.0/8", "'10.0.0/8' is not a network"),
        ("remote:2001:db8::/129", "'2001:db8::/129' is not a network"),
        ('pid:"1\n2"', r"'1\n2' is not a process id"),
    ],
)
def test_error_is_one_line(text: str, words: str) -> None:
    for also in (text, f"curl {text}", f"{text} -curl"):
        with pytest.raises(QueryError) as error:
            parse(also)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


TOKENS = (
    *(f"{field.name}:" for field in FIELDS),
    *('"', "-", ",", ":", "::", "/", " ", "\n", "*", "[", "]", "!", "?", "\\", "%eth0", "."),
    *("0", "1", "443", "65536", "9" * 20, "10.0.0.0/8", "dead:beef", "::1", "::ffff:1.2.3.4/99"),
    *("curl", "tcp", "client", "İ", "ß", "\x00", "\x1b[2J", "\ud800"),
)


@given(st.text() | st.lists(st.sampled_from(TOKENS + HOSTILE)).map("".join))
@example("user:" + "1" * 5000)
@example("pid:" + "1" * 5000)
@example("port:1-" + "1" * 5000)
@example("remote:10.0.0.0/" + "1" * 5000)
@example("name:" + "[" * 500)
@example("name:" + "*a" * 200)
@example('"' * 999)
@example("a:" * 500)
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    found = understood(text)
    if isinstance(found, Query):
        assert passed(found) <= ALL
    else:
        assert len(found.splitlines()) == 1


def understood(text: str, fields: Sequence[Field] = FIELDS) -> Query | str:
    """Return the parsed query, or its error."""
    try:
        return parse(text, fields)
    except QueryError as error:
        return str(error)


# Properties.

TERMS = (
    *("curl", "ww", "example", "::1", "c,d", '"sshd: ada"'),
    *("pid:10", "user:0,ada", "name:*n*", "exe:usr", "cmd:ada", "unit:docker,user"),
    *("remote:10.0.0.0/8,example", "port:0-1023", "proto:other,udp", "role:server"),
)


@given(st.lists(st.tuples(st.sampled_from(TERMS), st.booleans()), max_size=4))
def test_terms_and_their_negations_combine_like_sets(terms: list[tuple[str, bool]]) -> None:
    expected = ALL
    for term, negated in terms:
        assert taken(f"-{term}") == ALL - taken(term)
        expected = expected & (ALL - taken(term) if negated else taken(term))
    assert taken(" ".join(f"{'-' * negated}{term}" for term, negated in terms)) == expected


VALUES = {
    "pid": ("10", "20", "99"),
    "user": ("0", "ada", "*a*"),
    "name": ("curl", "nginx*", "nobody"),
    "exe": ("usr", "opt"),
    "cmd": ("curl", "ada"),
    "unit": ("docker", "user"),
    "remote": ("192.0.2.0/24", "example", "10.", "2001:db8::1"),
    "port": ("443", "8000-8999", "1"),
    "proto": ("udp", "icmp", "other"),
    "role": ("client", "server"),
}


@given(st.sampled_from(sorted(VALUES)), st.data())
def test_commas_are_alternatives(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=4))
    together = taken(f"{name}:{','.join(values)}")
    assert together == set().union(*(taken(f"{name}:{value}") for value in values))
    assert taken(f"-{name}:{','.join(values)}") == ALL - together


# Flags spelled as filters.


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, ""),
        ({"pid": None, "name": []}, ""),
        ({"pid": [10, 20], "name": ["curl"]}, "pid:10,20 name:curl"),
        ({"name": ["sshd: ada", "curl"]}, 'name:"sshd: ada,curl"'),
        ({"remote": [ipaddress.ip_network("10.0.0.0/8")]}, "remote:10.0.0.0/8"),
    ],
)
def test_flags_are_spelled_as_typed_filters(
    values: dict[str, list[object] | None], text: str
) -> None:
    assert spell(values) == text


NETWORKS = ["192.0.2.0/24", "192.0.2.1", "10.1.2.3/32", "2001:db8::/32", "::1", "::/0", "fe80::1"]
NAMES = ["curl", "ssh*", "sshd: ada", "nginx-w?rker", "*", "[cn]*", 'qu"ote', ":odd", "-x", "(*"]


@given(
    pids=st.frozensets(st.sampled_from([10, 20, 99])),
    uids=st.frozensets(st.sampled_from([0, 33, 99])),
    names=st.lists(st.sampled_from(NAMES), unique=True),
    networks=st.lists(st.sampled_from(NETWORKS).map(ipaddress.ip_network), unique=True),
)
def test_spelled_flags_keep_their_meaning(
    pids: frozenset[int],
    uids: frozenset[int],
    names: list[str],
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> None:
    """The flags mean the same on the screen and in batch mode."""
    query = parse(spell({"pid": pids, "user": uids, "name": names, "remote": networks}))
    flags = Filter(pids=pids, uids=uids, names=tuple(names), networks=tuple(networks))
    assert passed(query) == {
        (process, far)
        for process, far in ALL
        if flags.takes_process(*PROCESSES[process]) and flags.takes_remote(REMOTES[far][0])
    }


def test_process_name_with_a_quote_is_found_when_it_is_spelled() -> None:
    query = parse(spell({"name": ['a "b" c']}))
    assert query.undecided(key(1), Identity('a "b" c')) == ()
    assert query.undecided(key(1), Identity("a b c")) is None


# The history.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ALL),
        ("curl", of("curl")),
        ("-curl", ALL - of("curl")),
        ("user:0", of("sshd")),
        ("name:curl,nginx*", of("curl nginx")),
        ("exe:sbin", of("sshd")),
        ("unit:docker", of("nginx")),
        ("port:443", of("", "web web6")),
        ("curl port:443", of("curl") & of("", "web web6")),
        ("-port:443 -user:0", ALL - of("sshd", "web web6")),
        ("remote:192.0.2.0/24", of("", "web web10")),
        ("proto:udp", of("", "dns *")),
        ("role:server", of("", "ssh lite")),
        ("remote:resolver", set()),
        ("-remote:resolver", ALL),
        ("www.example.net", set()),
        ("nobody-has-this", set()),
    ],
)
def test_recorded_flow_passes_without_its_host(text: str, expected: Flows) -> None:
    query = parse(text, RECORDED)
    assert {
        (process, far)
        for process, far in ALL
        if query.takes(PROCESSES[process][1], REMOTES[far][0])
    } == expected


def test_history_filter_has_no_pid_and_no_cmd() -> None:
    assert {field.name for field in set(FIELDS) - set(RECORDED)} == {"pid", "cmd"}
    names = ", ".join(field.name for field in RECORDED)
    for text in ("pid:1", "cmd:x", "-pid:1", "PID:1", "curl cmd:a,b"):
        parse(text)
        with pytest.raises(
            QueryError, match=r"no field '(pid|cmd)'; there are user, name"
        ) as error:
            parse(text, RECORDED)
        assert str(error.value).endswith(names)


@pytest.mark.parametrize("field", RECORDED, ids=lambda field: field.name)
def test_history_filter_has_every_other_field(field: Field) -> None:
    value = {"port": "1", "proto": "tcp", "role": "client"}.get(field.name, "x")
    assert len(parse(f"{field.name}:{value}", RECORDED).terms) == 1
    assert parse(f"{field.name}:", RECORDED).terms == ()


def test_colon_after_an_unrecorded_field_is_plain_text() -> None:
    assert parse("cmd::x", RECORDED).takes(Identity("a", exe="/cmd::x"), remote())
    assert parse('"pid:1"', RECORDED).takes(Identity("pid:1"), remote())


@given(st.text() | st.lists(st.sampled_from(TOKENS + HOSTILE)).map("".join))
def test_any_history_filter_is_valid_or_an_error(text: str) -> None:
    found = understood(text, RECORDED)
    if isinstance(found, Query):
        parse(text)  # a valid history filter is valid on the screen
        for process, far in ALL:
            assert found.takes(PROCESSES[process][1], REMOTES[far][0]) in (True, False)
