"""The counters of flows, which the programs add to and this process reads; bpf/account.h is the other side.

A flow has an id, the place of its struct flow in bwtop_flows.  That map is read a block, one page, at a time, and only
blocks of which ids are in use; the counters only grow, so what moved is what is more than at the last reading.
"""

import mmap
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Final, Protocol

from bwtop.capture import libbpf, records
from bwtop.model.flows import ProcessKey, Remote, Traffic
from bwtop.model.sample import FlowTraffic

IDS_PER_BLOCK: Final = mmap.PAGESIZE // records.FLOW.size

IDLE: Final = 10
"""Readings after which a flow that moves nothing gives its id back, and how often that is looked for."""

_RANGES: Final = 256
"""The parts in which all ids are free at first: as many programs can take one at the same time."""

_FIRST: Final = bytes(4)
"""The key of an array's first entry."""

Around = Callable[[], AbstractContextManager[None]]
"""Makes the context in which the kernel is called for many entries."""


def give_all(free: int, ids: int) -> None:
    """Make all ids free, for a map `free` that is empty."""
    each = -(-ids // _RANGES)
    for first in reversed(range(0, ids, each)):
        libbpf.push(free, records.FREE_IDS.pack(first, min(each, ids - first)))


class _Process:
    """A process with flows that have ids."""

    __slots__ = ("ids", "key", "moved")

    def __init__(self, key: ProcessKey) -> None:
        self.key = key
        self.ids: set[int] = set()
        self.moved: dict[Remote, Traffic] = {}
        """The bytes of this reading."""


class _Memory(Protocol):
    """A block's flows, in the kernel's map."""

    def content(self) -> bytes:
        """Return the block's packed flows."""

    def set_generation(self, index: int, generation: int) -> None:
        """Change a flow's generation without touching its counters."""

    def clear(self, index: int) -> None:
        """Make a flow's counters and key zeros; nothing else may change them meanwhile."""

    def close(self) -> None:
        """Give the memory back."""


class _Mapped:
    """A block that is part of this process's memory (kernel 5.5+)."""

    _GENERATION: Final = records.FLOW_GENERATION // 4

    def __init__(self, flows: int, block: int) -> None:
        self._map = mmap.mmap(flows, mmap.PAGESIZE, offset=block * mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("I")

    def content(self) -> bytes:
        return self._map[:]

    def set_generation(self, index: int, generation: int) -> None:
        self._words[index * records.FLOW.size // 4 + self._GENERATION] = generation

    def clear(self, index: int) -> None:
        at = index * records.FLOW.size
        self._map[at : at + records.FLOW_GENERATION] = bytes(records.FLOW_GENERATION)

    def close(self) -> None:
        self._words.release()
        self._map.close()


class _Copied:
    """A block that is read flow by flow; sockets remember no ids on kernels that need this."""

    def __init__(self, flows: int, block: int) -> None:
        self._flows = flows
        self._keys = [
            key.to_bytes(4, "little")
            for key in range(block * IDS_PER_BLOCK, (block + 1) * IDS_PER_BLOCK)
        ]

    def content(self) -> bytes:
        size = records.FLOW.size
        found = (libbpf.map_lookup(self._flows, key, size) for key in self._keys)
        return b"".join(flow or bytes(size) for flow in found)

    def set_generation(self, index: int, generation: int) -> None:
        """Do nothing: whoever finds an id finds it by the flow's key."""

    def clear(self, index: int) -> None:
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
        self.remotes: list[Remote | None] = [None] * IDS_PER_BLOCK
        self.last = array("Q", bytes(8 * IDS_PER_BLOCK))
        """The number of the reading in which each flow moved last; 0: no flow has this id."""


class Counters:
    """Reads what flows have moved, and takes ids away from those that rest."""

    def __init__(
        self, maps: Mapping[str, int], ids: int, at_once: int, around: Around = nullcontext
    ) -> None:
        """ids: the size of bwtop_flows; at_once: the flows that may be left after a reading, at most."""
        self._maps = maps
        self._at_once = at_once
        self._around = around
        self._blocks: dict[int, _Block] = {}
        count = ids // IDS_PER_BLOCK + 1
        self._given_map = libbpf.WholeArray(maps["bwtop_blocks"], count, 8)
        self._given = array("Q", bytes(8 * count))
        self._retired = array("Q", bytes(8 * count))
        """By block, how often its ids were given to flows, and taken away from them."""
        self._make_memory: Callable[[int, int], _Memory] = (
            _Mapped if self._given_map.is_mapped else _Copied
        )
        self._processes: dict[bytes, _Process] = {}
        self._ended: list[_Process] = []
        self._reading = 0
        self.in_use = 0
        """The ids that flows had at the last reading, before any was taken away."""

    def close(self) -> None:
        """Give all memory back."""
        for block in self._blocks.values():
            block.memory.close()
        self._blocks.clear()
        self._given_map.close()

    def read(self, ended: Iterable[ProcessKey]) -> FlowTraffic:
        """Return what has moved since the last reading.

        ended: processes that move no more after this.  Taking ids away waits for the kernel, up to tens of
        milliseconds.
        """
        self._reading += 1
        self._open_blocks()
        moved: list[_Process] = []
        for number, block in self._blocks.items():
            self._read_block(number, block, moved)
        self._note_ended(ended)
        self.in_use = sum(self._given) - sum(self._retired)
        if retiring := self._resting():
            self._retire(retiring, moved)
        traffic = {process.key: process.moved for process in moved}
        for process in moved:
            process.moved = {}
        return traffic

    def _open_blocks(self) -> None:
        given = array("Q", self._given_map.content())
        if given == self._given:
            return
        for number, (now, retired) in enumerate(zip(given, self._retired, strict=True)):
            if now != retired and number not in self._blocks:
                self._blocks[number] = _Block(self._make_memory(self._maps["bwtop_flows"], number))
        self._given = given

    def _read_block(self, number: int, block: _Block, moved: list[_Process]) -> None:
        now = block.memory.content()
        before = block.before
        if now == before:
            return
        processes, remotes, last, reading = (
            block.processes,
            block.remotes,
            block.last,
            self._reading,
        )
        index = -1
        for new, old in zip(
            records.FLOW_COUNTERS.iter_unpack(now),
            records.FLOW_COUNTERS.iter_unpack(before),
            strict=True,
        ):
            index += 1
            if new == old:
                continue
            process = processes[index] or self._meet(number, block, now, index)
            if process is None:  # its key is being written: the next reading has its bytes
                at = index * records.FLOW.size
                now = now[:at] + before[at : at + 16] + now[at + 16 :]
                continue
            if not process.moved:
                moved.append(process)
            process.moved[remotes[index]] = Traffic(new[0] - old[0], new[1] - old[1])  # type: ignore[index]
            last[index] = reading
        block.before = now

    def _meet(self, number: int, block: _Block, now: bytes, index: int) -> _Process | None:
        """Decode the key of a flow that has moved for the first time; None if it is not complete."""
        flow = records.flow(now, index)
        process = self._processes.get(flow.process)
        if process is None:
            key = records.process(flow.process)
            if not key.start:
                return None
            process = self._processes[flow.process] = _Process(key)
        process.ids.add(number * IDS_PER_BLOCK + index)
        block.processes[index] = process
        block.remotes[index] = records.remote(flow.remote)
        return process

    def _note_ended(self, ended: Iterable[ProcessKey]) -> None:
        for key in ended:
            process = self._processes.get(records.PROCESS_KEY.pack(*key))
            if process is not None:
                self._ended.append(process)

    def _resting(self) -> list[int]:
        """Return the ids to take away now, ascending: of ended processes and idle flows, and more if there are too many."""
        excess = self.in_use - self._at_once
        if excess <= 0 and self._reading % IDLE:
            return []
        resting = {flow for process in self._ended for flow in process.ids}
        self._ended.clear()
        oldest = max(self._reading - IDLE, 0)
        resting.update(flow for last, flow in self._lasts() if last <= oldest)
        if excess > len(resting):
            by_age = sorted(self._lasts())
            resting.update(flow for _, flow in by_age[: excess + self._at_once // 4])
        return sorted(resting)

    def _lasts(self) -> Iterator[tuple[int, int]]:
        """Yield (the reading in which it moved last, id) of each flow."""
        for number, block in self._blocks.items():
            first = number * IDS_PER_BLOCK
            for index, last in enumerate(block.last):
                if last:
                    yield last, first + index

    def _retire(self, ids: list[int], moved: list[_Process]) -> None:
        """Take ids away from their flows, whose last bytes are added to this reading."""
        by_block = [
            (number, [flow % IDS_PER_BLOCK for flow in flows])
            for number, flows in groupby(ids, lambda flow: flow // IDS_PER_BLOCK)
        ]
        keys: list[bytes] = []
        for number, indexes in by_block:
            memory = self._blocks[number].memory
            content = memory.content()
            for index in indexes:
                flow = records.flow(content, index)
                memory.set_generation(index, flow.generation + 1)
                keys.append(flow.key)
        libbpf.map_delete_all(self._maps["bwtop_ids"], keys, self._around)
        libbpf.map_update(
            self._maps["bwtop_wait"], _FIRST, self._maps["bwtop_nothing"].to_bytes(4, "little")
        )
        for number, indexes in by_block:
            self._empty(number, indexes, moved)
        for first, count in reversed(list(_ranges(ids))):
            libbpf.push(self._maps["bwtop_free"], records.FREE_IDS.pack(first, count))

    def _empty(self, number: int, indexes: list[int], moved: list[_Process]) -> None:
        """Book what the flows have moved since they were read, and make their places blank."""
        block = self._blocks[number]
        now, before = block.memory.content(), block.before
        blank = bytearray(before)
        for index in indexes:
            flow = records.flow(now, index)
            self._book_last(
                number, index, flow.moved.minus(records.flow(before, index).moved), moved
            )
            block.memory.clear(index)
            block.memory.set_generation(index, flow.generation + 1)
            at = index * records.FLOW.size
            blank[at : at + records.FLOW.size] = bytes(records.FLOW.size)
        block.before = bytes(blank)
        self._retired[number] += len(indexes)
        if self._retired[number] == self._given[number] and not any(block.processes):
            block.memory.close()
            del self._blocks[number]

    def _book_last(self, number: int, index: int, late: Traffic, moved: list[_Process]) -> None:
        block = self._blocks[number]
        process, remote = block.processes[index], block.remotes[index]
        assert process is not None, "only a flow that has moved can rest"
        assert remote is not None
        if late != Traffic():
            if not process.moved:
                moved.append(process)
            process.moved[remote] = process.moved.get(remote, Traffic()).plus(late)
        block.processes[index] = block.remotes[index] = None
        block.last[index] = 0
        process.ids.discard(number * IDS_PER_BLOCK + index)
        if not process.ids:
            del self._processes[records.PROCESS_KEY.pack(*process.key)]


def _ranges(ids: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of each run of ids that follow each other; they ascend."""
    for _, run in groupby(enumerate(ids), lambda pair: pair[1] - pair[0]):
        members = [flow for _, flow in run]
        yield members[0], len(members)
