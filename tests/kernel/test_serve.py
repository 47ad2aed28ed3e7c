"""The real program serves: not as root, on time whatever is asked of it, and with exact bytes."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.web import login
from bwtop.web.api import ROUTES
from bwtop.web.files import STATIC
from tests.build import eventually
from tests.clickhouse.servers import free_port
from tests.kernel.running import HANG, command, run, send_datagram, sink
from tests.kernel.talking import DOWN, UP, Service, receive_then_send, send_then_receive
from tests.kernel.test_history import place, recording, stop
from tests.processes import (
    USER,
    descriptors,
    proportional_memory,
    ran,
    refused_line,
    status,
    threads,
    until,
    waited,
)
from tests.web.serving import (
    Listener,
    Serving,
    Stream,
    as_user,
    ask,
    bearer,
    connect,
    exchange,
    reply,
    request,
    serving,
)

pytestmark = pytest.mark.kernel
__all__ = ["place"]  # the fixture

NOBODY = 65534
PRIMES = (1009, 2003, 10_007, 20_011, 40_009)


def refusal(*flags: str) -> str:
    """Return the one line with which it ends at once."""
    return refused_line(ran(command("--serve", "--no-resolve", "--no-record", *flags)))


def moved(documents: list[Any], pid: int) -> tuple[int, int]:
    """(received, sent) by a process, in all intervals."""
    found = [p for document in documents for p in document["processes"] if p["pid"] == pid]
    for process in found:
        assert process["rx"] == sum(remote["rx"] for remote in process["remotes"])
        assert process["tx"] == sum(remote["tx"] for remote in process["remotes"])
    return sum(p["rx"] for p in found), sum(p["tx"] for p in found)


def recorded(web: Serving, pid: int) -> tuple[int, int]:
    """Return the same, by the history."""
    answer = web.ask(f"/api/v1/history?range=all&pid={pid}")
    if answer.status == 503:
        return 0, 0
    total = answer.document["total"]
    return total["rx"], total["tx"]


def check_powerless(pid: int, uid: int) -> None:
    """In every thread: capabilities are a thread's own."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found = status(task.name)
        except (FileNotFoundError, ProcessLookupError):
            assert int(task.name) != pid
            continue  # that of a request which has been answered meanwhile
        assert found["Uid"].split() == found["Gid"].split() == [str(uid)] * 4
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(found[name], 16) == 0, name
        assert found["NoNewPrivs"] == "1"


@pytest.fixture(scope="module")
def web() -> Iterator[Serving]:
    """One for tests that leave it as it is."""
    with serving() as running:
        yield running
        assert running.stop() == 0
        assert not [line for line in running.lines if "report it" in line or "Traceback" in line]


# Bytes.


def test_a_stream_and_the_history_tell_each_byte_once(place: Path) -> None:
    database = place / "history.db"
    with (
        sink() as port,
        serving("--db", str(database)) as web,
        Listener(web.port) as one,
        Listener(web.port, "/api/v1/stream?idle=show&sort=pid&past=show") as other,
    ):
        pids = [run(lambda size=size: send_datagram(port, size)) for size in PRIMES]  # type: ignore[misc]
        client, server = Service().talk(send_then_receive, receive_then_send)
        one.settle()
        other.settle()
        expected = dict(zip(pids, [(0, size) for size in PRIMES], strict=True))
        expected |= {client: (DOWN, UP), server: (UP, DOWN)}
        for listener in (one, other):
            assert {pid: moved(listener.intervals, pid) for pid in expected} == expected
        until(lambda: recorded(web, pids[-1]) == (0, PRIMES[-1]))
        assert {pid: recorded(web, pid) for pid in expected} == expected
        by_port = web.ask("/api/v1/history?range=all&by=port,process").document
        rows = [r for r in by_port["rows"] if r["port"] == port and r["role"] == "client"]
        assert sum(row["tx"] for row in rows) == sum(PRIMES)
        assert web.stop() == 0
    lost = Counter[str]()
    for document in one.intervals:
        lost.update(document["lost"])
    assert not any(lost.values())


def test_many_small_ones_over_several_intervals_add_up(web: Serving) -> None:
    """Sent while intervals end, so that some fall on the border."""

    def trickle(port: int) -> None:
        for _ in range(307):
            send_datagram(port, 101)
            time.sleep(0.01)

    with sink() as port, Listener(web.port) as listener:
        pid = run(lambda: trickle(port))
        listener.settle()
        seen = [d for d in listener.intervals if any(p["pid"] == pid for p in d["processes"])]
        assert moved(listener.intervals, pid) == (0, 307 * 101)
        assert len(seen) > 1
        live = web.ask("/api/v1/live?idle=show").document["processes"]
        (process,) = [p for p in live if p["pid"] == pid]
        assert process["tx_total"] == 307 * 101


# Whose the history is.


def test_a_history_in_a_directory_of_roots_is_read_and_written(tmp_path: Path) -> None:
    """The path is out of reach when the questions come."""
    tmp_path.chmod(0o700)
    with sink() as port, serving("--db", str(tmp_path / "history.db")) as web:
        check_powerless(web.pid, NOBODY)
        pid = run(lambda: send_datagram(port, 1013))
        until(lambda: recorded(web, pid) == (0, 1013))
        with ThreadPoolExecutor(8) as pool:  # more might wait too long for their turn
            answers = list(pool.map(web.ask, ["/api/v1/history"] * 20))
        assert {answer.status for answer in answers} == {200}
        pid = run(lambda: send_datagram(port, 1019))
        until(lambda: recorded(web, pid) == (0, 1019))
        assert web.stop() == 0
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {0}


def test_who_records_nothing_reads_what_others_record_there(tmp_path: Path) -> None:
    """In a directory of root's: what was, and what is recorded from now on."""
    tmp_path.chmod(0o700)
    database = tmp_path / "history.db"
    with sink() as port:
        with recording(database) as recorder:
            before = run(lambda: send_datagram(port, 1021))
            stop(recorder)
        with serving("--db", str(database), "--no-record") as web:
            check_powerless(web.pid, NOBODY)
            assert recorded(web, before) == (0, 1021)
            with recording(database):
                after = run(lambda: send_datagram(port, 1031))
                until(lambda: recorded(web, after) == (0, 1031))
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {0}


def test_looking_at_a_users_history_leaves_no_files_of_roots(place: Path) -> None:
    database = place / "history.db"
    with recording(database) as recorder:
        stop(recorder)
    with serving("--db", str(database), "--no-record") as web:
        web.ask("/api/v1/history")
        assert {path.stat().st_uid for path in place.iterdir()} == {USER}
        assert web.stop() == 0
    assert {path.stat().st_uid for path in place.iterdir()} == {USER}
    with recording(database):
        pass


def test_beside_one_that_records_it_measures_and_says_who_records(place: Path) -> None:
    database = place / "history.db"
    with sink() as port, recording(database) as first, serving("--db", str(database)) as web:

        def status() -> dict[str, str]:
            return dict(web.ask("/api/v1/about").document["status"])

        until(lambda: status()["state"] == "measuring")
        assert f"pid {first.pid}" in status()["history"] + status()["warning"]
        with Listener(web.port) as listener:
            pid = run(lambda: send_datagram(port, 1033))
            listener.settle()
            assert moved(listener.intervals, pid) == (0, 1033)
        until(lambda: recorded(web, pid) == (0, 1033))


def test_a_question_takes_no_lock_from_who_writes(place: Path) -> None:
    """Closing any descriptor of a file drops all locks that the process has on it: fcntl(2), Advisory record locking.

    Without SQLite's, who writes there next believes to be alone, and deletes the log that the recorder writes to.
    """
    database = place / "history.db"

    with serving("--db", str(database)) as web:
        until(lambda: database.exists() and is_locked(database, web.pid))
        for _ in range(3):
            assert web.ask("/api/v1/history").status == 200
            assert is_locked(database, web.pid)


def is_locked(path: Path, pid: int) -> bool:
    """Whether a process has a POSIX lock on a file, by /proc/locks."""
    inode = f":{path.stat().st_ino}"
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(
        line[1] == "POSIX" and line[3:5] == ["READ", str(pid)] and line[5].endswith(inode)
        for line in lines
    )


# Without root.


def test_without_root_it_shows_what_was_and_lives_while_somebody_records(place: Path) -> None:
    database = place / "history.db"
    with sink() as port:
        with recording(database) as recorder:
            before = run(lambda: send_datagram(port, 1039))
            stop(recorder)
        with serving("--db", str(database), started=as_user) as web, Listener(web.port) as listener:
            assert status(web.pid)["Uid"].split() == [str(USER)] * 4
            assert recorded(web, before) == (0, 1039)
            listener.wait(lambda: listener.of("status"))
            for _ in range(2):
                listener.wait(lambda: has_no_recorder(listener))
                with recording(database) as recorder:
                    listener.wait(lambda: listener.of("status")[-1].data["state"] == "following")
                    listener.wait(lambda: not has_no_recorder(listener))
                    pid = run(lambda: send_datagram(port, 1049))
                    listener.wait(lambda pid=pid: moved(listener.intervals, pid) == (0, 1049))  # type: ignore[misc]
                    assert web.ask("/api/v1/live").status == 200
                    assert recorded(web, pid) == (0, 1049)
                    stop(recorder)
                listener.wait(lambda: has_no_recorder(listener))
                assert moved(listener.intervals, pid) == (0, 1049)
            assert web.stop() == 0
        assert not [line for line in web.lines if "Traceback" in line]
        assert len([line for line in web.lines if "no live traffic" in line]) == 1


def has_no_recorder(listener: Listener) -> bool:
    """By the status that was told last."""
    last = listener.of("status")[-1].data
    return last["history"] == "no bwtop records" and bool(last["warning"])


def test_without_root_and_recorder_it_says_so_and_serves_the_page(place: Path) -> None:
    """Also before anything has ever been recorded; later it is there."""
    database = place / "history.db"
    with serving("--db", str(database), started=as_user) as web:
        until(lambda: any("no live traffic" in line for line in web.lines))
        about = web.ask("/api/v1/about").document
        assert about["history"] is None
        assert about["status"]["state"] == "waiting"
        assert "no bwtop records to" in about["status"]["warning"]
        assert web.ask("/").status == web.ask("/healthz").status == 200
        for path in ("/api/v1/history", "/api/v1/export.csv", "/api/v1/export.json"):
            refused = web.ask(path)
            assert refused.status == 503
            assert "nothing has been recorded yet" in refused.error
        for path in ("/api/v1/live", "/api/v1/live.csv"):
            refused = web.ask(path)
            assert refused.status == 503
            assert "no bwtop records to" in refused.error
        assert not list(place.iterdir())
        with sink() as port, recording(database):
            pid = run(lambda: send_datagram(port, 1051))
            until(lambda: recorded(web, pid) == (0, 1051))
            until(lambda: web.ask("/api/v1/live").status == 200)
        assert web.stop() == 0


# Beginning and end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_all_its_streams(number: signal.Signals, place: Path) -> None:
    with serving("--db", str(place / "history.db")) as web, ExitStack() as stack:
        streams = [stack.enter_context(Stream(web.port)) for _ in range(10)]
        assert {stream.status for stream in streams} == {200}
        stack.enter_context(connect(web.port))  # says nothing
        unread = stack.enter_context(connect(web.port))
        unread.sendall(request(web.port, "/api/v1/stream"))
        streams[0].next("interval")
        assert web.stop(number) == 0
        for stream in streams:
            try:
                stream.rest()
            except ConnectionError:
                continue
        assert all(line.startswith("bwtop: ") for line in web.lines), web.lines
        assert not [line for line in web.lines if "Traceback" in line or "rror" in line]
        with pytest.raises(ConnectionRefusedError):
            connect(web.port)


def test_it_can_be_started_again_at_once_on_the_same_port() -> None:
    with serving(bind=f"127.0.0.1:{free_port()}") as web, Stream(web.port) as stream:
        assert stream.status == 200
        assert web.stop() == 0
        with serving(bind=f"127.0.0.1:{web.port}") as again:
            assert again.port == web.port
            assert eventually(lambda: again.ask("/api/v1/live").status == 200)


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refusal("--bind", where)
    assert "in use" in line
    assert where in line
    assert "192.0.2.1" in refusal("--bind", "192.0.2.1:0"), "an address that is not ours"


def test_by_default_it_listens_on_loopback_alone() -> None:
    """In a network namespace of its own, where nobody else has its port."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    process = subprocess.Popen(
        [*alone, *command("--serve", "--no-resolve", "--no-record")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    web = Serving(process)
    try:
        assert "bwtop: serving on http://127.0.0.1:8064/" in web.lines
        assert listening(web.pid) == {("127.0.0.1", 8064)}
        assert web.stop() == 0
        (line,) = [line for line in web.lines if "the token" in line]
        assert line.startswith("bwtop: access on this machine: root")
    finally:
        web.kill()


def listening(pid: int) -> set[tuple[str, int]]:
    """Where a process listens over IPv4: proc(5); it must not over IPv6."""
    links = (os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir() if f.is_symlink())
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                assert table == "tcp"
                address, port = fields[1].split(":")
                packed = int(address, 16).to_bytes(4, "little")
                found.add((socket.inet_ntoa(packed), int(port, 16)))
    return found


def test_on_the_other_loopback_root_needs_no_token() -> None:
    with serving(bind="[::1]:0") as web, connect(web.port, "::1") as sock:
        sock.sendall(b"GET /api/v1/about HTTP/1.1\r\nHost: [::1]:%d\r\n\r\n" % web.port)
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        assert f"bwtop: serving on http://[::1]:{web.port}/" in web.lines


STRANGER: Final = 23456
"""A uid of no account."""


def test_another_user_of_the_machine_needs_the_token_that_it_has_printed(web: Serving) -> None:
    """For all that is there but the form that takes it, and whether it is well."""
    until(lambda: web.ask("/api/v1/live").status == 200)
    closed = [route.path for route in ROUTES if not route.is_open]
    names = {f"/{path.name}" for path in STATIC.iterdir()} - {"/index.html", *login.FILES}
    for path in ("/", *sorted(names), *closed):
        refused = web.ask(path, uid=STRANGER)
        assert refused.status == 401, path
        assert f"uid {STRANGER}" in refused.error
        assert web.ask(path, "HEAD", bearer(web.token), uid=STRANGER).status in (200, 503), path
    for path in login.FILES:
        assert web.ask(path, uid=STRANGER).status == 200
    assert web.ask("/healthz", uid=STRANGER).document == {"status": "ok"}


def test_the_user_that_it_runs_for_and_named_users_need_no_token(place: Path) -> None:
    with serving("--db", str(place / "history.db"), "--trust-user", str(STRANGER)) as web:
        for uid, status in ((0, 200), (STRANGER, 200), (STRANGER + 1, 401), (USER, 401)):
            assert web.ask("/", uid=uid).status == status, uid
    behind = {**os.environ, "SUDO_UID": str(USER), "SUDO_GID": str(USER)}
    with serving(env=behind) as web:
        for uid, status in ((0, 200), (USER, 200), (STRANGER, 401)):
            assert web.ask("/", uid=uid).status == status, uid
    with serving("--db", str(place / "history.db"), started=as_user) as web:
        for uid, status in ((0, 200), (USER, 200), (STRANGER, 401)):
            assert web.ask("/", uid=uid).status == status, uid


def test_when_it_is_open_every_user_of_the_machine_may_look() -> None:
    with serving("--open") as web:
        assert web.ask("/", uid=STRANGER).status == 200
        assert web.ask("/api/v1/live", uid=STRANGER).status in (200, 503)
        assert web.stop() == 0
    assert "bwtop: access on this machine: everyone (--open)" in web.lines
    assert not [line for line in web.lines if "token" in line or "login" in line]


def test_open_and_a_token_in_a_file_contradict_each_other(tmp_path: Path) -> None:
    """Also where a configuration file has one of them."""
    config = tmp_path / "config.toml"
    config.write_text("open = true\n")
    flags = ("--config", str(config), "--token-file", str(tmp_path / "token"))
    assert "leave out one of them" in refusal("--bind", "127.0.0.1:0", *flags)
    assert "leave out --open" in refusal("--bind", "0.0.0.0:0", "--config", str(config))


# The token.


def test_beyond_loopback_it_demands_the_token_that_it_has_printed() -> None:
    with serving(bind="0.0.0.0:0") as web:
        token, login = web.token, web.login
        assert len(token) >= 32
        for path in ("/", "/api/v1/live", "/api/v1/stream", "/api/v1/history", "/api/v1/link"):
            assert web.ask(path).status == 401, path
            assert web.ask(path, headers=bearer("wrong")).status == 401, path
        assert web.ask("/healthz").document == {"status": "ok"}
        assert web.ask("/", headers=bearer(token)).status == 200
        with Stream(web.port, headers=bearer(token)) as stream:
            assert stream.next("interval").data["schema"] == "bwtop.batch/1"
        assert web.ask(login, "HEAD").status == 303
        opened = web.ask(login)
        assert opened.status == 303
        cookie = {"Cookie": opened.headers["set-cookie"].partition(";")[0]}
        assert web.ask("/api/v1/about", headers=cookie).status == 200
        assert web.ask(login).status == 403
        assert web.ask("/api/v1/link", headers=cookie).status == 403
        further = web.ask("/api/v1/link", headers=bearer(token)).document["path"]
        assert web.ask(f"/{further}").status == 303
        exchange(web.port, f"nonsense {token} {further}\r\n\r\n".encode())
        assert web.stop() == 0
    assert [token in line for line in web.lines].count(True) == 1
    assert [login in line for line in web.lines].count(True) == 1
    assert not [line for line in web.lines if further.partition("=")[2] in line]


def test_a_token_out_of_a_file_is_told_nowhere(tmp_path: Path) -> None:
    """It holds on loopback, too, for other users.  A bad one is refused in one line, without what is in it."""
    token = "prime-numbers-1009-2003"
    path = tmp_path / "token"
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    with serving("--token-file", str(path)) as web:
        assert web.ask("/api/v1/about", uid=STRANGER).status == 401
        assert web.ask("/api/v1/about", headers=bearer(token), uid=STRANGER).status == 200
        assert web.ask(web.login).status == 303
        assert web.stop() == 0
    assert not [line for line in web.lines if token in line]
    for content in ("", "two words of a token"):
        path.write_text(content)
        line = refusal("--bind", "127.0.0.1:0", "--token-file", str(path))
        assert str(path) in line
        assert not content or content not in line


# Load.


def garbage(port: int, dice: random.Random) -> bytes:
    """Something that no client should send."""
    host = f"Host: 127.0.0.1:{port}\r\n".encode()
    return dice.choice(
        [
            b"POST /api/v1/live HTTP/1.1\r\nContent-Length: 1000\r\n" + host + b"\r\nten bytes.",
            b"GET / HTTP/1.1\r\n"
            + host
            + b"X: "
            + b"y" * dice.choice([12_000, 30_000])
            + b"\r\n\r\n",
            b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
            b"GET /api/v1/live?filter=%28%ff HTTP/1.1\r\n" + host + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            b"GET / HTT",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(300),
            dice.randbytes(dice.randrange(1, 3000)) + b"\r\n\r\n",
        ]
    )


GOOD = ("/healthz", "/", "/api/v1/live", "/api/v1/live.csv", "/api/v1/openapi.json", "/nothing")


def load(port: int, count: int, dice: random.Random) -> list[str]:
    """Send requests one after the other, every other one garbage; return what went wrong with the good ones."""
    wrong = []
    for number in range(0, count, 2):
        path = GOOD[number // 2 % len(GOOD)]
        answer = ask(port, path)
        if answer.status != (404 if path == "/nothing" else 200):
            wrong.append(f"{path}: {answer}")
        if got := exchange(port, garbage(port, dice), shut=True):
            reply(got)
    return wrong


def all_at_once(port: int, count: int) -> list[str]:
    with ThreadPoolExecutor(count // 2) as pool:
        found = pool.map(lambda number: load(port, 2, random.Random(number)), range(count // 2))
        return [wrong for each in found for wrong in each]


@pytest.mark.alone
def test_neither_load_nor_garbage_delays_measuring_or_is_kept(place: Path) -> None:
    """Ten thousand requests in a row, and then two hundred at once."""
    with (
        sink() as port,
        serving("--db", str(place / "history.db")) as web,
        Listener(web.port) as listener,
    ):
        load(web.port, 2000, random.Random(1))
        all_at_once(web.port, 200)  # what a heap keeps for so many threads it has now
        listener.settle()
        until(lambda: threads(web.pid) <= 8, lambda: f"{threads(web.pid)} threads")
        before = (threads(web.pid), descriptors(web.pid), proportional_memory(web.pid))
        first = len(listener.came)
        mover = threading.Thread(target=lambda: moving(port))
        mover.start()
        assert load(web.port, 10_000, random.Random(2)) == []
        assert all_at_once(web.port, 200) == []
        mover.join(HANG)
        pid = run(lambda: send_datagram(port, 1061))
        listener.settle()
        assert moved(listener.intervals, pid) == (0, 1061)
        until(lambda: threads(web.pid) <= before[0], lambda: f"{threads(web.pid)} threads")
        until(lambda: descriptors(web.pid) <= before[1], lambda: f"{descriptors(web.pid)} open")
        grown = proportional_memory(web.pid) - before[2]
        assert grown < 16 << 20, f"it has grown by {grown} bytes"
        told = [(at, event) for at, event in listener.came[first:] if event.name == "interval"]
        ids = [event.id or 0 for _, event in told]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        lengths = [event.data["interval"] for _, event in told]
        assert max(lengths) < 2.5 + waited(web.pid)
        assert sum(lengths) / len(lengths) < 1.2
        came = [at for at, _ in told]
        assert max(b - a for a, b in pairwise(came)) < 2.5 + waited(web.pid) + waited(os.getpid())
        for event in listener.of("interval"):
            lost = {what: count for what, count in event.data["lost"].items() if count}
            assert not lost.keys() - {"names"}, (
                "of thousands of requests a second some are not heard"
            )
        everything = [d for d in listener.intervals for p in d["processes"] for d in p["remotes"]]
        sent = [r["tx"] for r in everything if r["port"] == port and r["role"] == "client"]
        assert sum(sent) == 20 * 1009 + 1061
        assert web.stop() == 0
    assert not [line for line in web.lines if "report it" in line or "Traceback" in line]


def moving(port: int) -> None:
    for _ in range(20):
        send_datagram(port, 1009)
        time.sleep(0.1)


@pytest.mark.alone
def test_silent_and_slow_clients_do_not_delay_measuring(web: Serving) -> None:
    """As many as there is room for, and a stream that nobody reads."""
    with Listener(web.port) as listener, ExitStack() as stack:
        for number in range(90):
            sock = stack.enter_context(connect(web.port))
            if number % 3:
                sock.sendall(b"GET / HTTP/1.1\r\nX: "[: number % 18])
            else:
                sock.sendall(request(web.port, "/api/v1/stream?idle=show&past=show"))
        listener.settle()
        assert web.ask("/").status == 200
        listener.settle()
        assert max(d["interval"] for d in listener.intervals) < 2.5 + waited(web.pid)
        ids = [event.id or 0 for event in listener.of("interval")]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    until(lambda: threads(web.pid) <= 7, lambda: f"{threads(web.pid)} threads")
