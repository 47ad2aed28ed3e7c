"""The kernel tests in guests with other kernels: `make test-kernels`."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from tests.vm import matrix
from tests.vm.cache import NotFetchedError
from tests.vm.guest import BY_INSTRUCTIONS, PROGRESS, Guest
from tests.vm.jobs import JOBS, LIMIT, Job, chosen, script
from tests.vm.kernels import BY_NAME, KERNELS, MACHINES, Kernel, Tree, fetch, version
from tests.vm.results import LAST, Row, blocks, failures, read, table
from tests.vm.userland import Userland, userland

AT_ONCE = 2
"""Guests that run side by side."""

BOOT = 300
"""Seconds in which a guest boots and ends."""


def main() -> int:
    """Run what the command line says; return the exit status."""
    args = arguments()
    # Ends like Ctrl-C, so that no guest is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if args.verify:
        return verified(args.changes)
    folder = Path(tempfile.mkdtemp(prefix="bwtop-vm-"))
    if args.exec:
        options = BY_INSTRUCTIONS if args.count else []
        return asyncio.run(by_hand(args.kernel, args.exec, folder, options))
    return concluded(asyncio.run(all_rows(args.jobs, folder)), folder)


def arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(prog="tests.vm", description=__doc__)
    names = list(dict.fromkeys(job.name for job in JOBS))
    parser.add_argument("--machine", choices=MACHINES, help="only kernels of this machine")
    parser.add_argument("--kernel", choices=[kernel.name for kernel in KERNELS])
    parser.add_argument("--backend", choices=names, help="a backend, or another column")
    parser.add_argument("-k", dest="keywords", metavar="WORDS", help="pytest's -k")
    parser.add_argument("--exec", metavar="COMMAND", help="run this in a kernel's guest instead")
    parser.add_argument(
        "--count", action="store_true", help="and let its clock count instructions, for a benchmark"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run nothing; say whether the table in matrix.json is of these sources and packages",
    )
    parser.add_argument(
        "--changed", action="store_true", help="run only kernels that --verify finds changed"
    )
    args = parser.parse_args()
    if args.exec and not args.kernel:
        parser.error("--exec needs --kernel")
    if args.count and not args.exec:
        parser.error("--count needs --exec")
    args.jobs = chosen(args.machine, args.kernel, args.backend, args.keywords)
    if args.verify or args.changed:
        machines = [args.machine] if args.machine else MACHINES
        args.changes = matrix.changes(matrix.read(), version, machines)
    if args.changed:
        must_run = {kernel for change in args.changes for kernel in change.kernels}
        args.jobs = [job for job in args.jobs if job.kernel in must_run]
    if not args.jobs:
        parser.error("no kernel is tested like that")
    return args


def out(line: str) -> None:
    """Say something at once: who waits may be a log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def verified(changes: list[matrix.Change]) -> int:
    """Say what has changed since the runs whose table is kept; return 1 if anything has."""
    for change in changes:
        out(f"the kernel matrix must run: {change.what}")
    if not changes:
        out("the kernel matrix has run with these sources and packages")
    return int(bool(changes))


def keep(row: Row, jobs: list[Job], tested: dict[str, str]) -> None:
    """Write a kernel's row of the table, if all its jobs ran, none is red and the sources are still those."""
    if jobs != chosen(None, row.kernel, None, None):
        return
    if row.failures or blocks([row], ci=True):
        out(f"Nothing is written of {row.kernel}: only the row of a green run is kept.")
    elif matrix.inputs() != tested:
        out(f"Nothing is written of {row.kernel}: the sources have changed since the run began.")
    else:
        matrix.write(row, tested)
        out(f"Written for {row.kernel}: {matrix.FILE} and {matrix.DOCUMENT}. Commit both.")


async def by_hand(name: str, command: str, folder: Path, options: list[str]) -> int:
    """Run a command in a guest; return its exit status."""
    kernel = BY_NAME[name]
    tree, programs = fetch(kernel), userland_of(kernel)
    guest = Guest(kernel, tree, folder, BOOT + 2 * LIMIT, programs, tuple(options))
    status = await guest.run(command + "\n", out)
    out(f"{tree.release}: status {status}, files in {folder}")
    return status


async def all_rows(jobs: list[Job], folder: Path) -> list[Row]:
    """Run jobs in their kernels, some side by side."""
    room = asyncio.Semaphore(AT_ONCE)
    tested = matrix.inputs()

    async def row_of(kernel: Kernel, mine: list[Job]) -> Row:
        row = await one_row(kernel, mine, folder / kernel.name, room)
        keep(row, mine, tested)
        return row

    work = {
        kernel: [job for job in jobs if job.kernel == kernel.name] for kernel in reversed(KERNELS)
    }
    longest_first = sorted(work.items(), key=lambda item: -len(item[1]))
    tasks = {
        kernel.name: asyncio.create_task(row_of(kernel, mine))
        for kernel, mine in longest_first
        if mine
    }
    await asyncio.gather(*tasks.values())
    return [tasks[kernel.name].result() for kernel in KERNELS if kernel.name in tasks]


def userland_of(kernel: Kernel) -> Userland | None:
    """Return what a kernel's guest runs; None for this machine's own."""
    return None if kernel.machine == MACHINES[0] else userland(kernel.machine)


async def one_row(kernel: Kernel, jobs: list[Job], folder: Path, room: asyncio.Semaphore) -> Row:
    """Fetch a kernel, boot it and run its jobs."""
    async with room:
        try:
            tree = await asyncio.to_thread(fetch, kernel)
            programs = await asyncio.to_thread(userland_of, kernel)
        except NotFetchedError as error:
            out(f"{kernel.name}: not tested ({error})")
            return Row(kernel.name, untested=str(error))
        if tree.old:
            out(f"{kernel.name}: there may be a newer one ({tree.old})")
        return await booted(kernel, tree, programs, jobs, folder)


async def booted(
    kernel: Kernel, tree: Tree, programs: Userland | None, jobs: list[Job], folder: Path
) -> Row:
    """Run a kernel's jobs in one guest."""
    last: deque[str] = deque(maxlen=LAST)
    began = time.monotonic()

    def say(text: str) -> None:
        out(f"[{time.monotonic() - began:5.0f} s] {kernel.name}: {text}")

    def hear(line: str) -> None:
        last.append(line)
        if line.startswith(PROGRESS):
            say(progress(line.removeprefix(PROGRESS), jobs, folder))

    say(f"boots {tree.release}")
    guest = Guest(kernel, tree, folder, BOOT + LIMIT * len(jobs), programs)
    await guest.run(script(jobs), hear)
    console = "\n".join(last)
    results = tuple(read(job, folder, console) for job in jobs)
    return Row(kernel.name, tree.release, results, package=tree.version)


def progress(said: str, jobs: list[Job], folder: Path) -> str:
    """Return what a guest says, and of a job that has ended, what came of it."""
    for job in jobs:
        if said == f"ended {job.name}":
            result = read(job, folder, "")
            return f"{job.name}: {result.cell} ({result.seconds:.0f} s)"
    return said


def concluded(rows: list[Row], folder: Path) -> int:
    """Print the table and the failures; return the exit status.  The guests' files stay only if something failed."""
    out(f"\n{table(rows)}\n")
    ci = bool(os.environ.get("CI"))
    if not any(row.failures for row in rows):
        shutil.rmtree(folder)
    else:
        out(failures(rows))
        out(f"\nThe consoles of the guests: {folder}/*/console.log")
        if not blocks(rows, ci=ci):
            out("Only a kernel that changes by itself failed: CI goes on.")
    return int(blocks(rows, ci=ci))


try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
