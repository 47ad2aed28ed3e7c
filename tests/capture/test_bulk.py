"""Reading maps of the running kernel, many entries in a call or one by one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from bwtop.capture import bulk, libbpf
from bwtop.capture.bulk import BATCH, BatchReader
from bwtop.capture.libbpf import library

HASH, DEVMAP_HASH = 1, 25  # enum bpf_map_type
LOOPBACK = 1  # its ifindex
ENTRIES = 20_000


@pytest.fixture
def table() -> Iterator[int]:
    fd = library().bpf_map_create(HASH, b"bwtop_test", 8, 16, ENTRIES, None)
    assert fd >= 0
    yield fd
    os.close(fd)


@pytest.fixture
def devices() -> Iterator[int]:
    """Yield a map of numbers to network interfaces (5.4): a kind of map that has never learnt batches."""
    fd = library().bpf_map_create(DEVMAP_HASH, b"bwtop_test", 4, 4, 100, None)
    assert fd >= 0
    yield fd
    os.close(fd)


def fill(table: int, count: int) -> dict[bytes, bytes]:
    entries = {n.to_bytes(8, "little"): (n * n).to_bytes(16, "little") for n in range(count)}
    for key, value in entries.items():
        libbpf.map_update(table, key, value)
    return entries


def contents(reader: BatchReader, table: int, *, delete: bool) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for keys, values in reader.read(table, delete=delete):
        for place in range(len(keys) // 8):
            key = bytes(keys[place * 8 : place * 8 + 8])
            assert key not in found, "no entry comes twice"
            found[key] = bytes(values[place * 16 : place * 16 + 16])
    return found


@pytest.mark.kernel
def test_each_batch_call_happens_within_what_it_is_given(table: int) -> None:
    """And nothing else does: what is made of the entries takes its time."""
    fill(table, BATCH + 1)
    within = 0
    entered = 0

    @contextmanager
    def around() -> Iterator[None]:
        nonlocal within, entered
        entered += 1
        within += 1
        yield
        within -= 1

    for _ in BatchReader(8, 16, around).read(table):
        assert not within
    assert entered >= 2


@pytest.mark.kernel
@pytest.mark.parametrize("in_batches", [True, False], ids=["batches", "singly"])
@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1, ENTRIES])
def test_all_entries_come_once_and_go_if_told(table: int, count: int, in_batches: bool) -> None:
    entries = fill(table, count)
    reader = BatchReader(8, 16)
    reader.in_batches = in_batches
    assert contents(reader, table, delete=False) == entries
    assert contents(reader, table, delete=False) == entries, "it was left as it was"
    assert contents(reader, table, delete=True) == entries
    assert libbpf.map_next_key(table, None, 8) is None, "nothing is left of it"
    assert contents(reader, table, delete=True) == {}
    assert reader.in_batches is in_batches


@pytest.mark.kernel
@pytest.mark.parametrize("delete", [False, True])
def test_entries_that_programs_add_meanwhile_are_no_harm(table: int, delete: bool) -> None:
    """Of bwtop_spill and bwtop_ended, which are read while programs write to them."""
    entries = fill(table, BATCH + 100)
    reader = BatchReader(8, 16)
    reader.in_batches = False
    found = set()
    for number, (keys, _) in enumerate(reader.read(table, delete=delete)):
        found |= {bytes(keys[a:b]) for a, b in pairwise(range(0, len(keys) + 8, 8))}
        libbpf.map_update(table, (10**6 + number).to_bytes(8, "little"), bytes(16))
    assert entries.keys() <= found


@pytest.mark.kernel
@pytest.mark.parametrize("delete", [False, True])
def test_kind_of_map_that_knows_no_batches_is_read_singly(devices: int, delete: bool) -> None:
    numbers = {n.to_bytes(4, "little") for n in range(0, 1000, 11)}
    for number in numbers:
        libbpf.map_update(devices, number, LOOPBACK.to_bytes(4, "little"))
    reader = BatchReader(4, 4)
    ((keys, values),) = reader.read(devices, delete=delete)
    assert not reader.in_batches, "it is out of date: this kind has learnt batches"
    assert {bytes(keys[a:b]) for a, b in pairwise(range(0, len(keys) + 4, 4))} == numbers
    assert bytes(values) == LOOPBACK.to_bytes(4, "little") * len(numbers)
    left = {bytes(keys) for keys, _ in reader.read(devices)}
    assert bool(left) is not delete


@pytest.mark.kernel
@pytest.mark.parametrize("error", bulk._NOT_SUPPORTED)
def test_kernel_without_batches_is_read_singly(
    table: int, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = fill(table, 100)
    lib = library()
    calls = []

    def refuse(*_: object) -> int:
        calls.append(1)
        return -error

    class Old:
        """The library of a kernel before 5.6."""

        bpf_map_lookup_batch = bpf_map_lookup_and_delete_batch = staticmethod(refuse)

        def __getattr__(self, name: str) -> object:
            return getattr(lib, name)

    monkeypatch.setattr(libbpf, "library", Old)
    reader = BatchReader(8, 16)
    assert contents(reader, table, delete=True) == entries
    assert contents(reader, table, delete=True) == {}
    assert len(calls) == 1, "asked once"


@pytest.mark.kernel
def test_error_of_a_closed_map_is_raised() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        list(BatchReader(8, 16).read(-1))


@pytest.mark.kernel
@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOMEM, errno.ENOSPC])
def test_other_errors_are_no_lack_of_batches(
    table: int, error: int, delete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = library()

    class Failing:
        bpf_map_lookup_batch = bpf_map_lookup_and_delete_batch = staticmethod(lambda *_: -error)

        def __getattr__(self, name: str) -> object:
            return getattr(lib, name)

    monkeypatch.setattr(libbpf, "library", Failing)
    reader = BatchReader(8, 16)
    with pytest.raises(OSError, match=os.strerror(error)) as raised:
        list(reader.read(table, delete=delete))
    assert raised.value.errno == error
    assert reader.in_batches
