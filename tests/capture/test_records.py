"""The kernel's records, decoded, and their agreement with bpf/records.h."""

import re
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bwtop.capture import records
from bwtop.model.flows import (
    TCP,
    UDP,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    Role,
    Traffic,
)
from tests.build import NOW, packed

HEADER = (Path(__file__).parents[2] / "bpf" / "records.h").read_text()

KTHREAD, EXE_COMPLETE, EXE_DELETED, CGROUP_COMPLETE, CMDLINE_CUT = (
    1 << int(re.findall(rf"\b{name}\s*=\s*1 << (\d+)", HEADER)[0])
    for name in (
        *("PROCESS_KTHREAD", "PROCESS_EXE_COMPLETE", "PROCESS_EXE_DELETED"),
        *("PROCESS_CGROUP_COMPLETE", "PROCESS_CMDLINE_CUT"),
    )
)


def flow_key(
    start: int, pid: int, protocol: int, role: int, port: int, address: bytes, execs: int = 0
) -> bytes:
    """Return a struct flow_key, laid out by hand."""
    head = b"".join(
        (start.to_bytes(8, "little"), pid.to_bytes(4, "little"), execs.to_bytes(4, "little"))
    )
    return head + bytes([protocol, role]) + port.to_bytes(2, "little") + bytes(4) + address


def flow_value(*counters: int) -> bytes:
    """Return a struct flow_value."""
    return b"".join(counter.to_bytes(8, "little") for counter in counters)


def process(
    flags: int = 0,
    comm: bytes = b"curl",
    cmdline: bytes = b"",
    exe: bytes = b"",
    cgroup: bytes = b"",
    uid: int = 0,
    rest: bytes = b"",
) -> bytes:
    """Return a struct process; `rest` is left behind each text by an earlier, longer one."""

    def filled(text: bytes, room: int) -> bytes:
        return (text + rest)[:room].ljust(room, b"\0")

    head = struct.pack("<IIHHHH", uid, flags, len(cmdline), len(exe), len(cgroup), 1)
    texts = filled(cmdline, 256) + filled(exe, 768) + filled(cgroup, 768)
    return head + comm.ljust(16, b"\0") + texts


def identity(flags: int = 0, **texts: bytes) -> Identity:
    found = records.identity(process(flags, **texts), NOW)  # type: ignore[arg-type]  # no uid here
    assert found
    return found


def test_flows_are_decoded_field_by_field() -> None:
    keys = flow_key(2**40, 4711, UDP, 1, 53, packed("2001:db8::1")) + flow_key(
        1, 2, TCP, 0, 65535, packed("192.0.2.1"), execs=8
    )
    values = flow_value(1, 2**63) + flow_value(5, 6)
    first, second = records.flows([(memoryview(keys), memoryview(values))])
    far = Remote(UDP, Role.SERVER, 53, packed("2001:db8::1"))
    assert first == (ProcessKey(2**40, 4711), far, Traffic(1, 2**63))
    far = Remote(TCP, Role.CLIENT, 65535, packed("192.0.2.1"))
    assert second == (ProcessKey(1, 2, 8), far, Traffic(5, 6))
    assert [type(part) for part in second] == [ProcessKey, Remote, Traffic], "not only equal tuples"


def test_keys_without_values_are_an_error_and_not_a_loss() -> None:
    keys = flow_key(1, 1, TCP, 0, 80, packed("*"))
    with pytest.raises(ValueError, match="shorter"):
        list(records.flows([(memoryview(keys * 2), memoryview(flow_value(1, 1)))]))


def test_processes_are_decoded() -> None:
    keys = struct.pack("<QII", 10, 1, 0) + struct.pack("<QII", 20, 2, 3)
    assert list(records.processes(memoryview(keys))) == [ProcessKey(10, 1), ProcessKey(20, 2, 3)]


def test_losses_are_decoded_and_joined_by_what_the_kernel_skipped() -> None:
    assert records.loss(struct.pack("<7Q", 1, 2, 3, 4, 5, 70, 8), 6) == Loss(
        spilled=1,
        spilled_bytes=2,
        unattributed=3,
        unattributed_bytes=4,
        unnamed=5,
        missed_events=76,
        unheard=8,
    )


def test_identity_is_decoded_field_by_field() -> None:
    record = process(
        uid=1000,
        flags=EXE_COMPLETE | CGROUP_COMPLETE,
        comm=b"curl",
        cmdline=b"curl\0-s\0https://example.org/\0",
        exe=b"curl\0bin\0usr\0",
        cgroup=b"session-3.scope\0user-1000.slice\0user.slice\0",
    )
    assert records.identity(record, NOW) == Identity(
        name="curl",
        uid=1000,
        cmdline="curl -s https://example.org/",
        exe="/usr/bin/curl",
        cgroup="/user.slice/user-1000.slice/session-3.scope",
        kernel=False,
        started=NOW,
    )


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        (b"", ""),
        (b"sh\0left-over", "sh"),
        (b"sixteen-letters!", "sixteen-letters!"),
        ("日本".encode(), "日本"),
        (b"a\xff\x1b[2Jb", "a\\xff\x1b[2Jb"),
    ],
)
def test_name_ends_at_its_nul(comm: bytes, name: str) -> None:
    assert identity(comm=comm).name == name


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"", ""),
        (b"sleep\x005", "sleep 5"),
        (b"a\0\0b\0", "a  b"),
        (b"nginx: worker process\0\0\0\0", "nginx: worker process"),
        (b"caf\xc3\xa9\0\xff\0", "café \\xff"),
        (b"x" * 256, "x" * 256),
    ],
)
def test_arguments_are_joined_by_spaces(raw: bytes, shown: str) -> None:
    assert identity(cmdline=raw, rest=b"old\0older\0").cmdline == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"x" * 256, "x" * 256 + "…"),
        (b"x" * 255 + b"\0", "x" * 255 + "…"),
        (b"x" * 255 + "é".encode()[:1], "x" * 255 + "…"),
        (b"x" * 255 + b"\xff", "x" * 255 + "\\xff…"),
        (b"nginx: worker process".ljust(256, b"\0"), "nginx: worker process"),
    ],
)
def test_command_line_that_was_cut_ends_in_an_ellipsis(raw: bytes, shown: str) -> None:
    assert identity(CMDLINE_CUT, cmdline=raw).cmdline == shown


@pytest.mark.parametrize(
    ("components", "path"),
    [(b"", "/"), (b"init\0", "/init"), (b"a b\0\xff\0\xc3\xa9\0", "/é/\\xff/a b")],
)
def test_paths_are_turned_round(components: bytes, path: str) -> None:
    """They end at their lengths: a record that exec fills again keeps the end of longer texts."""
    flags = EXE_COMPLETE | CGROUP_COMPLETE
    found = identity(flags, exe=components, cgroup=components, rest=b"old\0older\0")
    assert (found.exe, found.cgroup) == (path, path)


@pytest.mark.parametrize(
    ("flags", "exe", "cgroup"),
    [
        (0, None, None),
        (EXE_COMPLETE | KTHREAD, "/bin/sh", None),
        (CGROUP_COMPLETE, None, "/bin/sh"),
        (EXE_DELETED, None, None),
        (EXE_COMPLETE | EXE_DELETED, "/bin/sh (deleted)", None),
    ],
)
def test_path_that_does_not_reach_the_root_is_not_known(
    flags: int, exe: str | None, cgroup: str | None
) -> None:
    found = identity(flags, exe=b"sh\0bin\0", cgroup=b"sh\0bin\0")
    assert (found.exe, found.cgroup) == (exe, cgroup)
    assert found.kernel is bool(flags & KTHREAD)


def test_start_is_nanoseconds_after_the_boot_in_utc() -> None:
    boot = datetime(2026, 11, 23, 7, 0, tzinfo=UTC).timestamp()
    started = records.start_time(ProcessKey(90_500_000_000, 1), boot)
    assert started == datetime(2026, 11, 23, 7, 1, 30, 500_000, tzinfo=UTC)
    assert started.tzinfo is UTC


def test_identity_that_is_being_written_is_not_used() -> None:
    record = bytearray(process())
    record[14:16] = bytes(2)
    assert records.identity(bytes(record), NOW) is None


ASSERTED = re.findall(r"_Static_assert\(sizeof\(struct (\w+)\) == (\d+)", HEADER)


@pytest.mark.parametrize(("name", "size"), ASSERTED)
def test_sizes_are_those_of_the_header(name: str, size: str) -> None:
    assert getattr(records, name.upper()).size == int(size)


def test_roles_are_those_of_the_header() -> None:
    found = re.search(r"enum role \{ (.*?) \}", HEADER)
    assert found
    assert found[1].split(", ") == [f"ROLE_{role.name}" for role in sorted(Role)]
