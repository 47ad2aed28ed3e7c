"""Names as programs of others ask for them: dig, curl, a static one without glibc, a browser."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.running import HANG, Bwtop
from tests.kernel.test_remote_names import PREAMBLE, Named, named
from tests.names.servers import SHARED, Network, network

pytestmark = pytest.mark.kernel

STATIC = r"""
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	char answer[10];

	if (getaddrinfo(arguments[1], arguments[2], &hints, &found))
		return 1;
	if (connect(sock, found->ai_addr, found->ai_addrlen))
		return 2;
	return write(sock, "x", 1) != 1 || read(sock, answer, sizeof(answer)) < 1;
}
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("net")) as made:
        yield made


@pytest.fixture(scope="module")
def bwtop() -> Iterator[Bwtop]:
    with Bwtop() as running:
        yield running


def test_dig_tells_a_name_to_the_host(bwtop: Bwtop, net: Network) -> None:
    for flags in (["+notcp"], ["+tcp"]):
        net.run("dig", *flags, "two.test" if "+tcp" in flags else "one.test")
        bwtop.settle()
    pid = net.run(sys.executable, "-c", f"{PREAMBLE}\ntalk('{SHARED}')")
    assert named(bwtop, pid) == {(SHARED, 8080): ("two.test", "dns-host")}


CURL: dict[str, tuple[tuple[str, ...], Named]] = {
    "HTTP": (("http://two.test:8080/",), {(SHARED, 8080): ("two.test", "host")}),
    "HTTPS": (
        ("-k", "--connect-to", "sni.example:443:one.test:443", "https://sni.example/"),
        {(SHARED, 443): ("sni.example", "sni")},
    ),
    "through a proxy": (
        ("-x", "http://one.test:8080", "http://other.example/"),
        {(SHARED, 8080): ("one.test", "dns")},
    ),
    "through a proxy's tunnel": (
        ("-k", "-x", "http://one.test:8080", "https://other.example/"),
        {(SHARED, 8080): ("one.test", "dns")},
    ),
}


@pytest.mark.parametrize(("arguments", "names"), CURL.values(), ids=list(CURL))
def test_curl(bwtop: Bwtop, net: Network, arguments: tuple[str, ...], names: Named) -> None:
    pid = net.run("curl", "-s", "-m", "20", *arguments, fails=True)
    assert named(bwtop, pid) == names


def test_a_static_program_that_resolves_without_glibc(
    bwtop: Bwtop, net: Network, tmp_path: Path
) -> None:
    program = tmp_path / "static"
    compiler = ["musl-gcc", "-static", "-x", "c", "-o", str(program), "-"]
    subprocess.run(compiler, input=STATIC.encode(), check=True, timeout=HANG)
    pid = net.run(str(program), "one.test", "8080")
    assert named(bwtop, pid) == {(SHARED, 8080): ("one.test", "dns")}


def browse(net: Network, home: Path, *arguments: str) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}"]
    net.run("env", f"HOME={home}", "chromium", *flags, "--dump-dom", *arguments, fails=True)


def browsed(bwtop: Bwtop, proto: str) -> set[tuple[str, str]]:
    """Return (name, source) of the web servers of browsers."""
    bwtop.settle()
    return {
        (far["name"], far["name_source"])
        for document in bwtop.documents
        for process in document["processes"]
        if process["name"].startswith("chrom")
        for far in process["remotes"]
        if far["port"] in (80, 443) and far["proto"] == proto
    }


def test_a_browser(bwtop: Bwtop, net: Network, tmp_path: Path) -> None:
    for url in ("http://one.test/", "https://two.test/"):
        browse(net, tmp_path, url)
    found = browsed(bwtop, "tcp")
    assert ("one.test", "host") in found
    assert found <= {("one.test", "host"), ("one.test", "dns"), ("two.test", "sni")}


def test_a_browser_by_quic(bwtop: Bwtop, net: Network, tmp_path: Path) -> None:
    """Its hello is in several packets, whose parts are mixed; nobody answers, which is no matter."""
    origin = "quic.test:443"
    resolve = "--host-resolver-rules=MAP quic.test 192.0.2.9"
    browse(
        net,
        tmp_path,
        "--enable-quic",
        f"--origin-to-force-quic-on={origin}",
        resolve,
        f"https://{origin}/",
    )
    assert browsed(bwtop, "udp") == {("quic.test", "sni")}
