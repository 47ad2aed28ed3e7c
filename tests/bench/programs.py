"""The cost of each program to a message, by the kernel's own clock.

The kernel reads its clock before and after each run while that is switched on (BPF_ENABLE_STATS, Linux 5.8 and newer).
The figures include reading the clock; an empty program shows how much that is.  They leave out calling a program.
"""

import os
import statistics
import struct
from collections.abc import Iterator

from bwtop.capture import preemption
from bwtop.capture.backends import BACKENDS, Backend, suited
from bwtop.capture.libbpf import (
    PROG_TYPE_RAW_TRACEPOINT,
    ProgInfo,
    library,
    prog_info,
    prog_load,
    raw_tracepoint_open,
)
from bwtop.capture.session import Capture, Loading
from tests.bench import works
from tests.bench.tables import Effort, Table

ROUNDS = 9

RETURN_0 = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
"""mov r0, 0; exit (RFC 9669)."""


def tables(effort: Effort) -> Iterator[Table]:
    """Yield a table of the programs that ran, of all backends that this kernel allows."""
    statistics_on = library().bpf_enable_stats(0)
    assert statistics_on >= 0, os.strerror(-statistics_on)
    rows = [_empty(effort), *(row for backend in BACKENDS for row in _rows(backend, effort))]
    os.close(statistics_on)
    yield Table(
        "Each program's time per run",
        ("backend, program", "work", "runs a message", "ns", "instructions"),
        rows,
        "By the kernel's clock, reading which is in all of them, and all of what the empty program shows; medians of the"
        " rounds.",
    )


def _empty(effort: Effort) -> tuple[str, ...]:
    """Return the row of a program that does nothing, at each system call."""
    program = prog_load(PROG_TYPE_RAW_TRACEPOINT, 0, "empty", RETURN_0)
    link = raw_tracepoint_open(program, "sys_enter")
    work, messages = works.WORKS[0], _messages(effort)
    runs, times = [], []
    for _ in range(effort.rounds(ROUNDS)):
        old = prog_info(program)
        work.do(messages)
        new = prog_info(program)
        runs.append((new.run_cnt - old.run_cnt) / messages)
        times.append((new.run_time_ns - old.run_time_ns) / (new.run_cnt - old.run_cnt))
    os.close(link)
    os.close(program)
    return (
        "an empty one, at each system call",
        work.name,
        f"{statistics.median(runs):.2f}",
        f"{statistics.median(times):.0f}",
        str(len(RETURN_0) // 8),
    )


def _messages(effort: Effort) -> int:
    return 2000 if effort.quick else 20_000


def capture_with(backend: Backend) -> Capture | None:
    """Return a capture with the backend in the form that bwtop uses here; None if the kernel refuses it."""
    return Loading([suited(backend.name, preemption.mode())]).finish()[1]


def _rows(backend: Backend, effort: Effort) -> Iterator[tuple[str, ...]]:
    capture = capture_with(backend)
    if capture is None:
        return
    messages = _messages(effort)
    for work in works.WORKS[:3]:
        work.do(messages)
        found: dict[int, list[tuple[float, float]]] = {}
        for _ in range(effort.rounds(ROUNDS)):
            before = _infos(capture)
            work.do(messages)
            for n, (old, new) in enumerate(zip(before, _infos(capture), strict=True)):
                runs = new.run_cnt - old.run_cnt
                if runs > messages // 4:
                    found.setdefault(n, []).append(
                        (runs / messages, (new.run_time_ns - old.run_time_ns) / runs)
                    )
        for n, values in found.items():
            info = prog_info(capture.programs[n])
            yield (
                f"{backend.name}, {info.name.decode()}",
                work.name,
                f"{statistics.median(runs for runs, _ in values):.2f}",
                f"{statistics.median(ns for _, ns in values):.0f}",
                str(info.xlated_prog_len // 8),
            )
        capture.read()
    capture.close()


def _infos(capture: Capture) -> list[ProgInfo]:
    return [prog_info(program) for program in capture.programs]
