"""Names of remotes as programs ask for them, whose servers are the test's own."""

import socket
import sys
import textwrap
from collections.abc import Iterator

import pytest

from tests.kernel.running import Bwtop, capturing, start
from tests.kernel.running import run as run_here
from tests.names.messages import A, answer, record
from tests.names.servers import MANY, NAME_SERVER, RESOLVER, SHARED, Network, network

pytestmark = pytest.mark.kernel

ANSWERS = 6000

Named = dict[tuple[str, int], tuple[str | None, str | None]]
"""(name, source) by address and port."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("net")) as made:
        yield made


def listens(bwtop: Bwtop) -> bool:
    """Whether it can hear names on this kernel; if not it says so."""
    return not any("reverse DNS alone" in message for message in bwtop.messages)


def named(bwtop: Bwtop, pid: int) -> Named:
    """Return the last name of each remote of a process but its name servers."""
    bwtop.settle()
    return {
        (far["addr"], far["port"]): (far["name"], far["name_source"])
        for entry in bwtop.entries(pid)
        for far in entry["remotes"]
        if far["port"] != 53
    }


def expect(bwtop: Bwtop, pid: int, names: Named) -> None:
    if not listens(bwtop):
        names = dict.fromkeys(names, (None, None))
    assert named(bwtop, pid) == names


PREAMBLE = """
import socket, ssl, struct, sys, time
def connect(host, port=8080):
    connection = socket.create_connection((host, port))
    connection.settimeout(20)
    return connection
def end(connection):
    connection.recv(10)
    connection.close()
def talk(host, port=8080, data=b"x", times=1):
    connection = connect(host, port)
    connection.sendall(data)
    end(connection)
def hello(name):
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
"""


def run(net: Network, program: str, resolver: str = RESOLVER) -> int:
    """Run a Python program; return its pid."""
    return net.run(sys.executable, "-c", PREAMBLE + textwrap.dedent(program), resolver=resolver)


def test_one_address_with_two_names_asked_for_by_two_processes(bwtop: Bwtop, net: Network) -> None:
    one = run(net, "talk('one.test')")
    two = run(net, "talk('two.test')", resolver=NAME_SERVER)
    neither = run(net, f"talk('{SHARED}')")
    place = (SHARED, 8080)
    expect(bwtop, one, {place: ("one.test", "dns")})
    expect(bwtop, two, {place: ("two.test", "dns")})
    expect(bwtop, neither, {place: ("two.test", "dns-host")})


def test_the_name_is_the_question_s_for_all_addresses(bwtop: Bwtop, net: Network) -> None:
    """Of an alias, of many addresses, of IPv6."""
    pid = run(
        net,
        """
        talk("www.alias.test", 80)
        for found in socket.getaddrinfo("many.test", 8080, proto=6):
            talk(found[4][0])
        talk("six.test")
        """,
    )
    found = named(bwtop, pid)
    if not listens(bwtop):
        assert set(found.values()) == {(None, None)}
        return
    assert {found[address, 8080] for address in MANY} == {("many.test", "dns")}
    assert found["2001:db8::1", 8080] == ("six.test", "dns")
    assert found[SHARED, 80][0] in ("www.alias.test", "many.test"), "the latest, never the alias's"


def test_dns_over_tcp(bwtop: Bwtop, net: Network) -> None:
    pid = run(
        net,
        f"""
        query = struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + b"\\3two\\4test\\0\\0\\1\\0\\1"
        for at_once in (False, True):
            server = connect("{NAME_SERVER}", 53)
            server.sendall(struct.pack(">H", len(query)))
            server.sendall(query)
            time.sleep(0.1)
            length = 2 if at_once else 500
            found = server.recv(length)
            if length == 2:
                server.recv(500)
            server.close()
        talk("{SHARED}")
        """,
    )
    expect(bwtop, pid, {(SHARED, 8080): ("two.test", "dns")})


HELLOS = {
    "whole": "connection.sendall(data)",
    "in three writes": "[connection.sendall(part) for part in (data[:5], data[5:90], data[90:])]",
    "in two writes": "[connection.sendall(part) for part in (data[:200], data[200:])]",
    "in segments": "connection.sendmsg([data[:1], b'', data[1:100], data[100:]])",
    "in writev": "import os; os.writev(connection.fileno(), [data[:300], data[300:]])",
    "in write": "import os; os.write(connection.fileno(), data)",
}


@pytest.mark.parametrize("send", HELLOS.values(), ids=list(HELLOS))
def test_tls_server_name(bwtop: Bwtop, net: Network, send: str) -> None:
    pid = run(
        net,
        f"""
        data, connection = hello("sni.example"), connect("{SHARED}", 443)
        {send}
        end(connection)
        """,
    )
    expect(bwtop, pid, {(SHARED, 443): ("sni.example", "sni")})


def test_large_hello_and_what_is_sent_to_proxies(bwtop: Bwtop, net: Network) -> None:
    """A post-quantum hello; and what names another server than the one that it goes to."""
    pid = run(
        net,
        f"""
        sys.path[:0] = {sys.path!r}
        from tests.names.messages import client_hello, padded
        talk("{SHARED}", 443, padded(client_hello("large.example"), 1600))
        for first in (b"CONNECT one.example:443 HTTP/1.1\\r\\nHost: one.example\\r\\n\\r\\n", b"\\5\\1\\0"):
            connection = connect("192.0.2.2", 8080)
            connection.sendall(first)
            connection.sendall(hello("one.example"))
            end(connection)
        talk("192.0.2.2", 8080, b"GET http://one.example/ HTTP/1.1\\r\\nHost: one.example\\r\\n\\r\\n")
        talk("192.0.2.3", 8080, b"EHLO one.example\\r\\nHost: one.example\\r\\n\\r\\n")
        talk("192.0.2.4", 8080, b"GET / HTTP/1.1\\r\\nA: b\\r\\nHost: four.example:8080\\r\\n\\r\\n")
        """,
    )
    found = named(bwtop, pid)
    if not listens(bwtop):
        assert set(found.values()) == {(None, None)}
        return
    assert found[SHARED, 443] == ("large.example", "sni")
    assert found["192.0.2.4", 8080] == ("four.example", "host")
    assert "one.example" not in {name for name, _ in found.values()}


QUIC = {
    "connected": "client.connect(far); [client.send(part) for part in datagrams]",
    "unconnected": "[client.sendto(part, far) for part in datagrams]",
    "sendmsg": "[client.sendmsg([part], [], 0, far) for part in datagrams]",
    "write": "import os; client.connect(far); [os.write(client.fileno(), d) for d in datagrams]",
    "segments of one call": """
        client.setsockopt(socket.IPPROTO_UDP, 103, len(datagrams[0]))  # UDP_SEGMENT
        client.sendto(b"".join(datagrams), far)
    """,
    "after others to others": """
        for number in (2, 3, 4, 2, 3, 4, 2, 3, 4):
            client.sendto(b"an other datagram", (f"192.0.2.{number}", 443))
        [client.sendto(part, far) for part in datagrams]
    """,
}


@pytest.mark.parametrize("send", QUIC.values(), ids=list(QUIC))
def test_server_name_by_quic(bwtop: Bwtop, net: Network, send: str) -> None:
    """A post-quantum hello, which takes two datagrams."""
    pid = run(
        net,
        f"""
        sys.path[:0] = {sys.path!r}
        from tests.names.initial import crypto, initial
        from tests.names.messages import client_hello, padded
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far = ("{SHARED}", 443)
        data = padded(client_hello("quic.example"), 1600)[5:]
        datagrams = [initial([crypto(1000, data[1000:])]), initial([crypto(0, data[:1000])])]
        {textwrap.dedent(send).strip().replace(chr(10), chr(10) + " " * 8)}
        """,
    )
    found = named(bwtop, pid)
    assert found.pop((SHARED, 443)) == (("quic.example", "sni") if listens(bwtop) else (None, None))
    assert "quic.example" not in {name for name, _ in found.values()}


SENDMMSG = """
import ctypes
class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]
class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("size", ctypes.c_uint), ("parts", ctypes.POINTER(Part)),
                ("count", ctypes.c_size_t), ("rest", ctypes.c_char * 32)]
def message(data, host, port):
    name = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, socket.inet_aton(host))
    return Message(name, len(name), ctypes.pointer(Part(data, len(data))), 1)
def sendmmsg(client, *messages):
    assert ctypes.sizeof(Message) == 64
    array = (Message * len(messages))(*messages)
    assert ctypes.CDLL(None).sendmmsg(client.fileno(), array, len(messages), 0) == len(messages)
"""


def test_one_call_with_datagrams_to_several_remotes(bwtop: Bwtop, net: Network) -> None:
    """Which of them is being sent is not known, so that no remote has another one's name."""
    pid = run(
        net,
        f"""
        sys.path[:0] = {sys.path!r}
        from tests.names.initial import crypto, initial
        from tests.names.messages import client_hello
        {textwrap.indent(SENDMMSG, " " * 8).strip()}
        first, second = (
            initial([crypto(0, client_hello(name)[5:])]) for name in ("one.example", "two.example")
        )
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sendmmsg(client, message(first, "192.0.2.2", 443))
        sendmmsg(client, message(second, "192.0.2.3", 443), message(b"another", "192.0.2.4", 443))
        """,
    )
    found = named(bwtop, pid)
    assert found["192.0.2.2", 443] == (("one.example", "sni") if listens(bwtop) else (None, None))
    assert {("192.0.2.3", 443), ("192.0.2.4", 443)} <= found.keys()
    assert "two.example" not in {name for name, _ in found.values()}


def test_without_names_nothing_is_heard(net: Network) -> None:
    with Bwtop("--no-names") as bwtop:
        pid = run(net, f"talk('one.test', 80); talk('{SHARED}', 443, hello('sni.example'))")
        assert named(bwtop, pid) == {(SHARED, 80): (None, None), (SHARED, 443): (None, None)}


def test_what_finds_no_room_is_counted() -> None:
    """Six thousand answers between two readings."""
    message = answer("full.test", record(b"\xc0\x0c", A, bytes([192, 0, 2, 1])))

    def ask() -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            server.bind(("127.0.53.53", 53))
            client.connect(server.getsockname())
            for _ in range(ANSWERS):
                client.send(b"?")
                server.sendto(message, server.recvfrom(10)[1])
                client.recv(1000)

    with capturing() as capture:
        if not capture.report.names:
            return
        capture.read()
        pid = start(ask).wait()
        sample = capture.read()
        mine = [one for one in sample.learned if one.process.pid == pid]
        assert {one.name for one in mine} == {"full.test"}
        assert sample.loss.unheard > 0
        assert len(mine) + sample.loss.unheard >= ANSWERS
        pid = start(ask).wait()
        assert any(one.process.pid == pid for one in capture.read().learned), "there is room again"


SECRET = b"not-to-be-read"


OTHERS = (
    (SECRET,),
    (b"USER ada\r\n", b"PASS " + SECRET),
    (b"\x17\x03\x03\0\x10" + SECRET,),
    (b"GET / HTTP/1.1\r\n\r\n", SECRET),
    (b"POST / HTTP/1.1\r\n" + bytes(512) + SECRET,),
    (b"\x16\x03\x01\0\x04abcd" + SECRET, SECRET),
    (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"\x16\x03\x01\1\1" + SECRET),
)
"""What connections send, one after the other."""


DATAGRAMS = (SECRET, b"", b"\xc0\0\0\0", b"\xc0\0\0\0\2" + SECRET, b"\xe0\0\0\0\1" + SECRET)
"""What sockets send to port 443."""


def test_nothing_else_is_copied() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        capturing() as capture,
    ):
        receiver.bind(("127.0.53.53", 443))

        def send() -> None:
            for sends in OTHERS:
                with socket.create_connection(listener.getsockname()) as connection:
                    for data in sends:
                        connection.sendall(data)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                for data in DATAGRAMS:
                    client.sendto(data, receiver.getsockname())

        run_here(send)
        if capture._ring:
            parts = [*capture._ring.records()]
            assert len(parts) >= 3, "the requests and the hello"
            assert not [part for part in parts if SECRET in part]
