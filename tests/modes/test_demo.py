"""The demo: its table, its processes in the kernel, and the real screen."""

import contextlib
import ipaddress
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

import pytest

from bwtop import cli
from bwtop.measure.sources import NEEDS_ROOT
from bwtop.model.flows import PROTOCOL_NAMES, TCP, UDP
from bwtop.modes import common, demo_processes, demo_traffic
from bwtop.modes import demo as demo_mode
from bwtop.modes import screen as screen_mode
from bwtop.modes.demo_processes import PROCESSES, DemoProcess
from bwtop.modes.demo_traffic import FAR_END, Demo, LinkEnd
from bwtop.rights import privileges
from bwtop.rights.account import Account
from tests.kernel.running import HANG, Bwtop, command
from tests.options.examples import refusal
from tests.processes import capability_sets, is_alive, status, until
from tests.screen.terminal import Terminal

NAMES = {FAR_END, *(process.name for process in PROCESSES)}
ADDRESSES = [address for process in PROCESSES for address in process.remotes]
LONG = 60.0
"""Seconds after which a demo ends by itself if its test does not end it."""

BY_NAME = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


# The table.


def test_names_and_addresses_are_unique() -> None:
    assert len(NAMES) == len(PROCESSES) + 1
    assert len(set(ADDRESSES)) == len(ADDRESSES)
    assert all(ipaddress.ip_address(address).is_loopback for address in ADDRESSES)
    for name in NAMES:
        assert re.fullmatch(r"demo-[a-z]+", name)
        assert len(name.encode()) <= 15, "as the kernel keeps it"


def test_demo_covers_protocols_versions_and_rhythms() -> None:
    """One end sends each byte and the other receives it: 11 MB/s in each direction."""
    assert {process.protocol for process in PROCESSES} == {TCP, UDP}
    assert {ipaddress.ip_address(address).version for address in ADDRESSES} == {4, 6}
    rhythms = {demo_processes.steady, demo_processes.bursts, demo_processes.waves}
    assert {process.rhythm for process in PROCESSES} == rhythms
    assert {process.serves for process in PROCESSES} == {False, True}
    assert max(len(process.remotes) for process in PROCESSES) >= 8
    assert sum(process.rx + process.tx for process in PROCESSES) <= 11_000_000


@BY_NAME
def test_every_remote_reaches_and_never_exceeds_the_full_rate(process: DemoProcess) -> None:
    for remote in range(len(process.remotes)):
        points = [(n + 0.5) / 100 for n in range(100)]
        levels = [process.level(process.period * point, remote) for point in points]
        again = [process.level(process.period * (point + 3), remote) for point in points]
        assert all(0 <= level <= 1 for level in levels)
        assert max(levels) == pytest.approx(1, abs=0.01)
        assert again == pytest.approx(levels)
    # A lower rate never sends a datagram: at most one second is caught up.
    assert (process.datagram > 0) == (process.protocol == UDP)
    assert min(process.rx, process.tx) / len(process.remotes) >= max(process.datagram, 1)


def test_descriptor_limit_covers_all_sockets() -> None:
    most_listeners = max(len(process.remotes) for process in PROCESSES)
    assert 3 + 1 + 2 * len(ADDRESSES) + most_listeners <= demo_traffic.MOST_DESCRIPTORS


# One end of a connection.


def process_of(rate: int, datagram: int = 0) -> DemoProcess:
    protocol = UDP if datagram else TCP
    return DemoProcess(
        "demo-test", protocol, ("127.0.0.9",), rate, rate, demo_processes.steady, 1.0, datagram
    )


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.settimeout(0)
    with ours, theirs:
        yield ours, theirs


def received(sock: socket.socket) -> list[int]:
    """Return the sizes of the waiting datagrams."""
    sizes = []
    try:
        while True:
            sizes.append(len(sock.recv(1 << 20)))
    except BlockingIOError:
        return sizes


def test_sent_bytes_match_the_rate(pair: tuple[socket.socket, socket.socket]) -> None:
    end = LinkEnd(pair[0], process_of(1000), 0, 1000)
    sizes = []
    for step in range(1, 31):
        assert end.move(step * 0.1, 0.1)
        sizes += received(pair[1])
    assert 2990 <= sum(sizes) <= 3000


def test_datagrams_have_their_size(pair: tuple[socket.socket, socket.socket]) -> None:
    """A receiver that does not read does not block the sender."""
    end = LinkEnd(pair[0], process_of(1000, datagram=300), 0, 1000)
    assert end.move(1.0, 1.0)
    assert received(pair[1]) == [300, 300, 300]
    for step in range(2000):
        assert end.move(step, 1.0)
    assert len(received(pair[1])) < 5000


def test_after_a_long_stop_one_second_is_caught_up(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    end = LinkEnd(pair[0], process_of(1000), 0, 1000)
    assert end.move(3600.0, 3600.0)
    assert sum(received(pair[1])) == 1000


# The processes.

PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from bwtop.modes import demo_traffic as demo
from bwtop.rights.account import NOBODY
with demo.Demo(NOBODY, float(sys.argv[1])) as running:
    print(running.pid, flush=True)
    for line in sys.stdin:
        print(running.is_over(), running.status().words, flush=True)
"""


class Running:
    """A demo started by its own process, in its own process group."""

    def __init__(self, seconds: float = LONG, prefix: list[str] | None = None) -> None:
        self.ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [*(prefix or []), sys.executable, "-c", PROGRAM, str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        assert self.process.stdout
        self.far_end = int(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.ours.close()

    def ask(self) -> str:
        """Return whether the demo is over, and its status."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stop(self) -> str:
        """End the demo and return the standard error of all its processes."""
        return self.process.communicate(timeout=HANG)[1]

    def all(self) -> dict[str, int]:
        """Wait for all demo processes and return their ids by name."""
        return all_of(self.far_end)


class Stat(NamedTuple):
    """Fields of proc_pid_stat(5)."""

    name: str
    parent: int
    group: int


def stat(pid: int) -> Stat | None:
    """Return the stat of a process; None: it does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    parent, group = rest.split()[1:3]
    return Stat(name, int(parent), int(group))


def processes() -> dict[int, Stat]:
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return {pid: found for pid in pids if (found := stat(pid))}


def below(parent: int) -> dict[str, int]:
    """Return the children of a process by name."""
    return {found.name: pid for pid, found in processes().items() if found.parent == parent}


def members(group: int) -> list[int]:
    """Return the processes of a process group."""
    return [pid for pid, found in processes().items() if found.group == group]


def all_of(far_end: int) -> dict[str, int]:
    """Wait for all processes of a demo and return their ids by name."""
    found: dict[str, int] = {}

    def are_there() -> bool:
        found.update({FAR_END: far_end}, **below(far_end))
        return found.keys() >= NAMES

    until(are_there, "not all processes of the demo came")
    return {name: found[name] for name in NAMES}


def all_end(pids: dict[str, int]) -> None:
    until(lambda: not any(map(is_alive, pids.values())), f"not all of {pids} ended")


class Socket(NamedTuple):
    """A socket from /proc/net."""

    protocol: int
    local: Address
    remote: Address
    state: int


_ESTABLISHED = 1  # net/tcp_states.h, for connected UDP sockets, too


def address(text: str) -> Address:
    """Parse an address of /proc/net/tcp: 32-bit words in host byte order, and the port."""
    words = bytes.fromhex(text.partition(":")[0])
    swapped = b"".join(words[n : n + 4][::-1] for n in range(0, len(words), 4))
    return ipaddress.ip_address(swapped)


def sockets(pid: int) -> dict[str, Socket]:
    """Return all IP sockets of a process's network namespace by inode."""
    found = {}
    for protocol, name in ((TCP, "tcp"), (TCP, "tcp6"), (UDP, "udp"), (UDP, "udp6")):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            found[fields[9]] = Socket(
                protocol, address(fields[1]), address(fields[2]), int(fields[3], 16)
            )
    return found


def descriptors(pid: int) -> list[str]:
    """Return the open descriptors of a process, without those that it closes meanwhile."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(path))
    return found


def own_sockets(pid: int) -> list[Socket]:
    """Return the sockets of a process; /proc/net, which is no snapshot, may lack some while others are closed."""
    known = sockets(pid)
    inodes = [m[1] for text in descriptors(pid) if (m := re.fullmatch(r"socket:\[(\d+)\]", text))]
    return [known[inode] for inode in inodes if inode in known]


def settled(pids: dict[str, int], addresses: int) -> None:
    """Wait until every process has closed the ends of the others."""
    until(
        lambda: sum(len(own_sockets(pid)) for pid in pids.values()) == 2 * addresses,
        "a process keeps the ends of others",
    )


def has_v6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def reachable(process: DemoProcess) -> set[Address]:
    """Return the remotes of a process that this host can reach."""
    addresses = map(ipaddress.ip_address, process.remotes)
    return {address for address in addresses if address.version == 4 or has_v6()}


@pytest.fixture
def running() -> Iterator[Running]:
    with Running() as started:
        yield started


def test_every_process_is_connected_with_its_remotes_on_loopback(running: Running) -> None:
    pids = running.all()
    settled(pids, sum(len(reachable(process)) for process in PROCESSES))
    for process in PROCESSES:
        own = own_sockets(pids[process.name])
        assert {sock.remote for sock in own} == reachable(process)
        assert {sock.protocol for sock in own} == {process.protocol}
    for pid in pids.values():
        for sock in own_sockets(pid):
            assert sock.local.is_loopback
            assert sock.remote.is_loopback
            assert sock.state == _ESTABLISHED, "no socket listens"


def test_processes_inherit_no_other_descriptors(running: Running) -> None:
    """No standard stream and no inherited socket stays open."""
    pids = running.all()
    settled(pids, sum(len(reachable(process)) for process in PROCESSES))
    pipes = set()
    for pid in pids.values():
        others = sorted(text for text in descriptors(pid) if not text.startswith("socket:"))
        *nowhere, pipe = others
        assert nowhere == ["/dev/null"] * 3
        assert pipe.startswith("pipe:")
        pipes.add(pipe)
    assert len(pipes) == 1
    running.process.kill()
    assert running.ours.recv(1) == b"", "only the parent had it"


def test_no_process_is_root(running: Running) -> None:
    for pid in running.all().values():
        fields, held = status(pid), capability_sets(pid)
        assert "0" not in fields["Uid"].split()
        assert "0" not in fields["Gid"].split()
        assert [held[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [[]] * 4
        assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize("stopped", [[], [FAR_END], ["demo-download"]])
def test_demo_ends_on_stop(running: Running, stopped: list[str]) -> None:
    pids = running.all()
    for name in stopped:
        os.kill(pids[name], signal.SIGSTOP)
    assert running.stop() == ""
    if stopped:
        all_end(pids)
    else:
        until(lambda: not any(map(stat, pids.values())), "not even zombies are to be left")


@pytest.fixture
def neighbour(running: Running) -> Iterator[None]:
    """Run another process in the group, as in a shell's pipeline.

    Without one the kernel would end stopped processes: a group that no process can continue gets SIGHUP and SIGCONT.
    """
    command = ["sleep", str(LONG)]
    with subprocess.Popen(command, process_group=running.process.pid) as process:
        yield
        process.kill()


@pytest.mark.parametrize("stopped", [[], [FAR_END], ["demo-download"], sorted(NAMES)])
def test_demo_ends_when_the_parent_is_killed(
    running: Running, neighbour: None, stopped: list[str]
) -> None:
    pids = running.all()
    for name in stopped:
        os.kill(pids[name], signal.SIGSTOP)
    running.process.kill()
    all_end(pids)


def test_demo_ends_when_the_parent_is_killed_at_once() -> None:
    """The parent dies before a process can request the signal."""
    with Running() as started:
        started.process.kill()
        group = started.process.pid
        until(lambda: not any(map(is_alive, members(group))), "somebody goes on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP])
def test_terminal_signal_ends_demo_silently(running: Running, number: signal.Signals) -> None:
    pids = running.all()
    for pid in pids.values():
        os.kill(pid, number)
    all_end(pids)
    until(lambda: running.ask() == "True demo over", "the end was not noticed")
    assert running.stop() == ""


def test_others_go_on_when_one_is_killed(running: Running) -> None:
    pids = running.all()
    os.kill(pids.pop("demo-download"), signal.SIGKILL)
    until(lambda: "demo-download" not in below(running.far_end), "a zombie is left")
    others = [process for process in PROCESSES if process.name in pids]
    settled(pids, sum(len(reachable(process)) for process in others))
    assert all(map(is_alive, pids.values()))


NETWORK = {
    "without IPv6": "ip link set lo up && sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
    "without loopback": "ip link set lo down",
}


def inside(network: str) -> list[str]:
    """Return a prefix that runs a command in a network namespace."""
    return ["unshare", "--net", "sh", "-c", f'{NETWORK[network]} && exec "$@"', "sh"]


@pytest.mark.kernel
def test_demo_runs_without_ipv6() -> None:
    with Running(prefix=inside("without IPv6")) as started:
        pids = started.all()
        settled(pids, len(ADDRESSES) - 1)
        assert [sock for pid in pids.values() for sock in own_sockets(pid)] != []
        for process in PROCESSES:
            expected = {a for a in map(ipaddress.ip_address, process.remotes) if a.version == 4}
            assert {sock.remote for sock in own_sockets(pids[process.name])} == expected


@pytest.mark.kernel
def test_demo_ends_at_once_without_loopback() -> None:
    with Running(prefix=inside("without loopback")) as started:
        until(lambda: started.ask() == "True demo over", "it goes on without any connection")


# The demo as measured by bwtop.


@pytest.mark.kernel
@pytest.mark.alone
def test_bwtop_sees_every_process_with_its_remotes() -> None:
    """The bytes stay below the rates of the table; a remote may start after some seconds."""
    with Bwtop() as bwtop:
        begun = time.monotonic()
        with Running() as started:
            pids = started.all()

            def flows(process: DemoProcess) -> set[tuple[str, str, str]]:
                return {(f.proto, f.addr, f.role) for f in bwtop.flows(pids[process.name])}

            expected = {
                process: {
                    (PROTOCOL_NAMES[process.protocol], str(address), role_of(process))
                    for address in reachable(process)
                }
                for process in PROCESSES
            }
            until(
                lambda: all(flows(process) == expected[process] for process in PROCESSES),
                "not all remotes were seen",
            )
        bwtop.settle()
        elapsed = time.monotonic() - begun
        for process in PROCESSES:
            entries = bwtop.processes(pids[process.name])
            assert {entry["name"] for entry in entries} == {process.name}
            assert {entry["uid"] == 0 for entry in entries} == {False}
            assert all(remote["loopback"] for entry in entries for remote in entry["remotes"])
            assert 0 < sum(entry["rx"] for entry in entries) <= process.rx * elapsed
            assert 0 < sum(entry["tx"] for entry in entries) <= process.tx * elapsed
        far = bwtop.processes(pids[FAR_END])
        assert {entry["name"] for entry in far} == {FAR_END}
        roles = {(r["proto"], r["role"]) for entry in far for r in entry["remotes"]}
        assert roles == {("tcp", "server"), ("tcp", "client"), ("udp", "server")}


def role_of(process: DemoProcess) -> str:
    return "server" if process.serves else "client"


# The command.


@pytest.fixture
def no_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any start or measurement fail."""

    def never(*_: object, **__: object) -> NoReturn:
        pytest.fail("there was to be no traffic")

    monkeypatch.setattr(demo_traffic, "Demo", never)
    monkeypatch.setattr(common, "load", never)
    monkeypatch.setattr(common, "start_measuring", never)


@pytest.mark.parametrize("may_measure", [False, True])
def test_missing_requirement_is_one_line_without_traffic(
    may_measure: bool,
    no_traffic: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(privileges, "may_load", lambda: may_measure)
    said = refusal(capsys, lambda: cli.main(["--demo"]))
    assert ("terminal" if may_measure else NEEDS_ROOT) in said


def test_demo_takes_the_flags_of_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Any] = []

    class Nothing(Demo):
        def __init__(self, account: Account, seconds: float) -> None:
            made.append((account, seconds))

        def stop(self) -> None:
            made.append("stopped")

    monkeypatch.setattr(privileges, "may_load", lambda: True)
    monkeypatch.setattr(demo_mode, "has_terminal", lambda: True)
    monkeypatch.setattr(demo_traffic, "Demo", Nothing)
    monkeypatch.setattr(common, "load", lambda _: None)
    monkeypatch.setattr(
        demo_mode,
        "run_screen",
        lambda options, files, *_: made.append(screen_mode.settings_of(options, files)),
    )
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "1235")
    cli.main(["--demo", "--udp", "--process", "demo-*", "--loopback", "only", "--no-record"])
    first, settings, last = made
    assert first == ((1234, 1235), demo_traffic.SECONDS)
    assert (settings.classes, settings.filter) == ({"udp"}, "process:demo-*")
    assert last == "stopped"


def of_bwtop(terminal: Terminal) -> dict[str, int]:
    """Return the demo processes shown in a terminal."""
    until(lambda: FAR_END in below(terminal.pid), "there is no demo")
    return all_of(below(terminal.pid)[FAR_END])


def row(seen: str, name: str) -> str:
    """Return the line of a process, without its first column."""
    return next((line[12:] for line in seen.splitlines() if f" {name} " in line), "")


@pytest.mark.kernel
@pytest.mark.screen
def test_screen_shows_demo_traffic_and_leaves_nothing(tmp_path: Path) -> None:
    history = tmp_path / "history.db"
    environment = {"BWTOP_DB": str(history)}
    with Terminal(command("--demo", "--no-resolve"), env=environment) as terminal:
        seen = terminal.wait_for(lambda seen: all(f" {name} " in seen for name in NAMES))
        assert "demo traffic, not recording" in seen
        pids = of_bwtop(terminal)
        for name in NAMES:
            terminal.wait_for(lambda now, name=name: row(now, name) not in ("", row(seen, name)))  # type: ignore[misc]
        terminal.type("/demo-dns\r")
        terminal.wait_for(lambda seen: "filter demo-dns" in seen and "h help" in seen)
        terminal.type("\r")
        terminal.wait_for(lambda seen: all(f"to 127.53.0.{n}:" in seen for n in range(1, 9)))
        terminal.type("q")
        assert terminal.wait() == 0
        until(lambda: not any(map(stat, pids.values())), "not even zombies are to be left")
    assert not history.exists()


SHORT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from bwtop import cli; from bwtop.modes import demo_traffic as demo
demo.SECONDS = 20.0
cli.main(["--demo"])
"""


@pytest.mark.kernel
@pytest.mark.screen
def test_screen_reports_end_of_demo_and_continues() -> None:
    with Terminal([sys.executable, "-c", SHORT]) as terminal:
        pids = of_bwtop(terminal)
        terminal.wait_for(lambda seen: "the demo traffic has ended" in seen and "demo over" in seen)
        all_end(pids)
        until(lambda: FAR_END not in below(terminal.pid), "a zombie is left")
        terminal.wait_for(" exited")
        terminal.type("q")
        assert terminal.wait() == 0
