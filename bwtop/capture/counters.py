"""The counters of flows, which the programs add to and this process reads; bpf/account.h is the other side.

A flow has an id, the place of its struct flow in bwtop_flows.  That map is read a block, one page, at a time, and only
blocks of which ids are in use; the counters only grow, so what moved is what is more than at the last reading.
"""

import functools
import mmap
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Final, Protocol

from bwtop.capture import bulk, libbpf, records
from bwtop.model.flows import ProcessKey, Remote, Traffic
from bwtop.model.sample import FlowTraffic

IDS_PER_BLOCK: Final = mmap.PAGESIZE // records.FLOW.size

IDLE: Final = 10
"""Readings after which a flow that moves nothing gives its id back, and how often that is looked for."""

_RANGES: Final = 256
"""The parts in which all ids are free at first: as many programs can take one at the same time."""

_FIRST: Final = bytes(4)
"""The key of an array's first entry."""

_traffic: Final = functools.partial(tuple.__new__, Traffic)
_remote: Final = functools.partial(tuple.__new__, Remote)
"""Their _make(), without a call in Python."""

_NOWHERE: Final = Remote(0, 0, 0, b"")
"""The remote of a place without a flow."""

Around = Callable[[], AbstractContextManager[None]]
"""Makes the context in which the kernel is called for many entries."""


def give_all(free: int, ids: int) -> None:
    """Make all ids free, for a map `free` that is empty."""
    each = -(-ids // _RANGES)
    for first in reversed(range(0, ids, each)):
        libbpf.push(free, records.FREE_IDS.pack(first, min(each, ids - first)))


class _Process:
    """A process with flows that have ids."""

    __slots__ = ("flows", "is_retiring", "key", "moved")

    def __init__(self, key: ProcessKey) -> None:
        self.key = key
        self.flows = 0
        self.is_retiring = False
        """All its flows give their ids back when that is next looked for."""
        self.moved: dict[Remote, Traffic] = {}
        """The bytes of this reading."""


class _Memory(Protocol):
    """A block of bwtop_flows."""

    def content(self) -> bytes:
        """Return the block's packed flows."""

    def raise_generations(self, indexes: Sequence[int]) -> None:
        """Add 1 to the generation of these flows, without touching their counters."""

    def clear(self, indexes: Sequence[int]) -> None:
        """Make counters and keys of these flows zeros; nothing else may change them meanwhile."""

    def close(self) -> None:
        """Give the memory back."""


class _Mapped:
    """A block that is part of this process's memory (kernel 5.5+)."""

    def __init__(self, flows: int, block: int) -> None:
        self._map = bulk.Mapped(flows, mmap.PAGESIZE, block * mmap.PAGESIZE)

    def content(self) -> bytes:
        return self._map.content()

    def raise_generations(self, indexes: Sequence[int]) -> None:
        words = self._map.words
        for index in indexes:
            at = (index * records.FLOW.size + records.FLOW_GENERATION) // 4
            words[at] = words[at] + 1 & 0xFFFFFFFF

    def clear(self, indexes: Sequence[int]) -> None:
        for index in indexes:
            self._map.clear(index * records.FLOW.size, records.FLOW_GENERATION)

    def close(self) -> None:
        self._map.close()


class _Copied:
    """A block that is read flow by flow; sockets remember no ids on kernels that need this."""

    def __init__(self, flows: int, block: int) -> None:
        self._flows = flows
        first = block * IDS_PER_BLOCK
        self._keys = [key.to_bytes(4, "little") for key in range(first, first + IDS_PER_BLOCK)]

    def content(self) -> bytes:
        size = records.FLOW.size
        found = (libbpf.map_lookup(self._flows, key, size) for key in self._keys)
        return b"".join(flow or bytes(size) for flow in found)

    def raise_generations(self, indexes: Sequence[int]) -> None:
        """Do nothing: whoever finds an id finds it by the flow's key."""

    def clear(self, indexes: Sequence[int]) -> None:
        for index in indexes:
            libbpf.map_update(self._flows, self._keys[index], bytes(records.FLOW.size))

    def close(self) -> None:
        """Do nothing."""


class _Block:
    """The flows of a block, as they were at the last reading."""

    __slots__ = ("before", "last", "memory", "processes", "remotes")

    def __init__(self, memory: _Memory) -> None:
        self.memory = memory
        self.before = bytes(IDS_PER_BLOCK * records.FLOW.size)
        self.processes: list[_Process | None] = [None] * IDS_PER_BLOCK
        self.remotes = [_NOWHERE] * IDS_PER_BLOCK
        self.last = array("Q", bytes(8 * IDS_PER_BLOCK))
        """The number of the reading in which each flow moved last; 0: no flow has this id."""


class Counters:
    """Reads what flows have moved, and takes ids away from those that rest."""

    def __init__(
        self, maps: Mapping[str, int], ids: int, at_once: int, around: Around = nullcontext
    ) -> None:
        """ids: the size of bwtop_flows."""
        self._maps = maps
        self.at_once = at_once
        """The ids that are left to flows after a reading, at most; the rest is free for the next interval."""
        self._around = around
        self._blocks: dict[int, _Block] = {}
        count = ids // IDS_PER_BLOCK + 1
        self._given_map = bulk.WholeArray(maps["bwtop_blocks"], count, 8)
        self._given = array("Q", bytes(8 * count))
        self._retired = array("Q", bytes(8 * count))
        """By block, how often its ids were given to flows, and taken away from them."""
        self._make_memory: Callable[[int, int], _Memory] = (
            _Mapped if self._given_map.is_mapped else _Copied
        )
        self._processes: dict[bytes, _Process] = {}
        self._reading = 0
        self.in_use = 0
        """The ids that flows had at the last reading, before any was taken away."""

    def close(self) -> None:
        """Give all memory back."""
        for block in self._blocks.values():
            block.memory.close()
        self._blocks.clear()
        self._given_map.close()

    def retire(self, key: ProcessKey) -> None:
        """Let the flows of a process give their ids back soon; those that move on get others."""
        if process := self._processes.get(records.PROCESS_KEY.pack(*key)):
            process.is_retiring = True

    def read(self, ended: Iterable[ProcessKey]) -> FlowTraffic:
        """Return what has moved since the last reading.

        ended: processes that move no more.  Taking ids away waits for the kernel, up to tens of milliseconds.
        """
        self._reading += 1
        self.in_use = 0
        for key in ended:
            self.retire(key)
        moved: list[_Process] = []
        self._read_once(moved)
        if self._count() > self.at_once:  # most of them new, and not known before this reading
            self._read_once(moved)
        traffic = {process.key: process.moved for process in moved}
        for process in moved:
            process.moved = {}
            self._forget(process)
        return traffic

    def _read_once(self, moved: list[_Process]) -> None:
        """Add what has moved, and take ids away: before the last bytes of their flows are read, or none would be sure."""
        self._open_blocks()
        self.in_use = max(self.in_use, self._count())
        retiring = self._resting()
        if retiring:
            self._unlink(retiring)
        for block in self._blocks.values():
            self._read_block(block, moved)
        if retiring:
            self._free(retiring)

    def _count(self) -> int:
        """Return the number of ids that flows have."""
        return sum(self._given) - sum(self._retired)

    def _open_blocks(self) -> None:
        given = array("Q", self._given_map.content())
        if given != self._given:
            for number, (now, retired) in enumerate(zip(given, self._retired, strict=True)):
                if now != retired and number not in self._blocks:
                    memory = self._make_memory(self._maps["bwtop_flows"], number)
                    self._blocks[number] = _Block(memory)
            self._given = given

    def _read_block(self, block: _Block, moved: list[_Process]) -> None:
        now, before = block.memory.content(), block.before
        if now == before:
            return
        processes, remotes, last, reading = (
            block.processes,
            block.remotes,
            block.last,
            self._reading,
        )
        unpack = records.FLOW_COUNTERS.iter_unpack
        for index, (new, old) in enumerate(zip(unpack(now), unpack(before), strict=True)):
            if new == old:
                continue
            process = processes[index] or self._meet(block, now, index)
            if process is None:  # its key is being written: the next reading has its bytes
                at = index * records.FLOW.size
                now = now[:at] + before[at : at + records.FLOW.size] + now[at + records.FLOW.size :]
                continue
            if not process.moved:
                moved.append(process)
            traffic: Traffic = _traffic((new[0] - old[0], new[1] - old[1]))
            counted = process.moved.setdefault(remotes[index], traffic)
            if counted is not traffic:  # it lost its id meanwhile, and has another one
                process.moved[remotes[index]] = counted.plus(traffic)
            last[index] = reading
        block.before = now

    def _meet(self, block: _Block, now: bytes, index: int) -> _Process | None:
        """Decode the key of a flow that has moved for the first time; None if it is not complete."""
        at = index * records.FLOW.size + records.FLOW_PROCESS
        record = now[at : at + records.PROCESS_KEY.size]
        process = self._processes.get(record)
        if process is None:
            key = records.process(record)
            if not key.start:
                return None
            process = self._processes[record] = _Process(key)
        process.flows += 1
        block.processes[index] = process
        block.remotes[index] = _remote(
            records.REMOTE.unpack_from(now, at + records.PROCESS_KEY.size)
        )
        return process

    def _resting(self) -> dict[int, list[int]]:
        """Return the places, by block, of flows that are to retire or idle, and of more if ids are scarce."""
        excess = self._count() - self.at_once
        if excess <= 0 and self._reading % IDLE:
            return {}
        oldest = self._reading - IDLE
        resting = self._older(oldest)
        lacking = excess - sum(map(len, resting.values()))
        if lacking > 0:
            ages = sorted(last for block in self._blocks.values() for last in block.last if last)
            if ages:
                resting = self._older(ages[min(excess + self.at_once // 4, len(ages)) - 1])
        return resting

    def _older(self, oldest: int) -> dict[int, list[int]]:
        """Return the places of flows that are to retire, or that have not moved since the reading `oldest`."""
        found: dict[int, list[int]] = {}
        for number, block in self._blocks.items():
            indexes = [
                index
                for index, (last, process) in enumerate(
                    zip(block.last, block.processes, strict=True)
                )
                if process and (last <= oldest or process.is_retiring)
            ]
            if indexes:
                found[number] = indexes
        return found

    def _unlink(self, retiring: Mapping[int, Sequence[int]]) -> None:
        """Let no program find these flows any more, and wait for those that have found them."""
        keys: list[bytes] = []
        for number, indexes in retiring.items():
            block = self._blocks[number]
            block.memory.raise_generations(indexes)
            content = block.memory.content()
            starts = (index * records.FLOW.size + records.FLOW_PROCESS for index in indexes)
            keys += [content[at : at + records.FLOW_KEY.size] for at in starts]
        bulk.delete_all(self._maps["bwtop_ids"], keys, self._around)
        libbpf.map_update(
            self._maps["bwtop_wait"], _FIRST, self._maps["bwtop_nothing"].to_bytes(4, "little")
        )

    def _free(self, retiring: Mapping[int, Sequence[int]]) -> None:
        """Make the places blank, and give their ids back."""
        ids: list[int] = []
        for number, indexes in sorted(retiring.items()):
            block = self._blocks[number]
            for index in indexes:
                self._leave(block, index)
            block.memory.clear(indexes)
            block.memory.raise_generations(indexes)
            block.before = (
                block.memory.content()
                if len(indexes) == IDS_PER_BLOCK
                else (_without_counters(block.before, indexes))
            )
            self._retired[number] += len(indexes)
            if self._retired[number] == self._given[number] and not any(block.processes):
                block.memory.close()
                del self._blocks[number]
            ids += [number * IDS_PER_BLOCK + index for index in indexes]
        for first, count in reversed(list(_ranges(ids))):
            libbpf.push(self._maps["bwtop_free"], records.FREE_IDS.pack(first, count))

    def _leave(self, block: _Block, index: int) -> None:
        process = block.processes[index]
        assert process, "only a flow that has moved can rest"
        block.processes[index] = None
        block.remotes[index] = _NOWHERE
        block.last[index] = 0
        process.flows -= 1
        self._forget(process)

    def _forget(self, process: _Process) -> None:
        """Forget a process without flows, unless it has moved bytes that no reading has told yet."""
        if not process.flows and not process.moved:
            self._processes.pop(records.PROCESS_KEY.pack(*process.key), None)


def _without_counters(flows: bytes, indexes: Sequence[int]) -> bytes:
    blank = bytearray(flows)
    for index in indexes:
        at = index * records.FLOW.size
        blank[at : at + records.FLOW_VALUE.size] = bytes(records.FLOW_VALUE.size)
    return bytes(blank)


def _ranges(ids: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of each run of ids that follow each other; they ascend."""
    for _, run in groupby(enumerate(ids), lambda pair: pair[1] - pair[0]):
        members = [flow for _, flow in run]
        yield members[0], len(members)
