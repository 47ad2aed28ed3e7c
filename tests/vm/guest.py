"""Boots a kernel in QEMU, on the machine's own files, and runs a script there as root."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.vm.kernels import Kernel, Tree
from tests.vm.userland import Userland

CHECKOUT = Path(__file__).resolve().parents[2]

SHARED = "/run/bwtop"
"""Where a guest has the folder that it shares with the machine."""

EMULATION = {
    "amd64": ["-accel", "tcg,thread=single", "-cpu", "max,erms=off"],
    "arm64": ["-accel", "tcg,thread=multi", "-cpu", "cortex-a76"],
}
"""For amd64 one thread emulates both processors: with one for each, QEMU 7.2 is slower on a busy machine and some kernels panic.

Without ERMS kernels clear memory by words.  QEMU emulates the string instructions step by step.
"""

BY_INSTRUCTIONS = ["-icount", "shift=0,sleep=off"]
"""A nanosecond of the guest's clock is an instruction: what is measured there does not depend on the machine's load."""

FILES_AGAIN = [
    *("-fsdev", "local,id=files,path=/,security_model=none,readonly=on,multidevs=remap"),
    *("-device", "virtio-9p-pci,fsdev=files,mount_tag=files"),
]

LINE = 1 << 24
"""How long a line of a console can be: one without an end must not end the guest."""

PROGRESS = "bwtop: "
"""How a line begins that a guest's script says to who waits."""

FILES = "/run/files"
"""Where a guest has the machine's files a second time, with a cache: without one each start of Python takes seconds."""

NATIVE = f"""
# Whatever is written stays in the guest's memory, but for the shared folder; QEMU itself keeps all else read-only.
layer() {{
    mkdir -p /run/layers/$1/upper /run/layers/$1/work
    mount -t overlay -o lowerdir=$3,upperdir=/run/layers/$1/upper,workdir=/run/layers/$1/work overlay $2
}}
mkdir -p {FILES}
mount -t 9p -o ro,version=9p2000.L,trans=virtio,access=any,msize=512000,cache=loose files {FILES}
layer usr /usr {FILES}/usr
layer checkout {CHECKOUT} {FILES}$copy:{FILES}{CHECKOUT}
cd {CHECKOUT}
mkdir -p /usr/lib/modules
mount -t tmpfs tmpfs /usr/lib/modules
"""
"""A guest of this machine's kind runs what this machine has."""

FOREIGN = f"""
cp -R {SHARED}/checkout /run/checkout
cd /run/checkout
"""
"""Another one has a disk of its own, with Python."""

PREPARATION = f"""
mkdir -p /run/private
mount -t tmpfs -o mode=1777 tmpfs /run/private
export HOME=/run/private TMPDIR=/run/private
unset PYTHONDONTWRITEBYTECODE
export PATH={CHECKOUT}/.venv/bin:$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up
"""


def links(tree: Tree) -> str:
    """Commands that put a kernel's modules and headers where the guest looks for them."""
    places = {tree.modules: f"/usr/lib/modules/{tree.release}"}
    for path in [*tree.root.glob("usr/src/*"), *tree.root.glob("usr/lib/linux-kbuild-*")]:
        places[path] = f"/{path.relative_to(tree.root)}"
    return "".join(f"ln -sfn {FILES}{path} {place}\n" for path, place in places.items())


@dataclass(frozen=True)
class Guest:
    """A virtual machine, which lives as long as its script."""

    kernel: Kernel
    tree: Tree
    shared: Path
    """A folder that the guest may write to; the log of its console is kept there too."""
    limit: int
    """Seconds after which it is ended: emulated, it may have hung without a word."""
    userland: Userland | None = None
    """What it runs, if its machine is of another kind than this one."""
    options: tuple[str, ...] = ()
    """More of QEMU's own."""

    async def run(self, script: str, say: Callable[[str], None]) -> int:
        """Boots, runs the script, gives `say` the console's lines, and returns the script's exit status.

        124 if the limit was reached, 255 if the guest ended by itself before the script did.
        """
        scratch = self.shared / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        programs = Path(sys.executable).parent
        status = self.shared / "status"
        status.unlink(missing_ok=True)
        copy = self.shared.resolve() / "checkout"
        copy_sources(copy)
        place = FOREIGN if self.userland else f"copy={copy}\n{NATIVE}{links(self.tree)}"
        (self.shared / "script").write_text(f"{place}{PREPARATION}{script}")
        process = await asyncio.create_subprocess_exec(
            *self.command(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(scratch)},
            limit=LINE,
            start_new_session=True,
        )
        try:
            assert process.stdout
            await self._keep(process.stdout, say)
            ended = await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
                await process.wait()
        return int(status.read_text()) if status.exists() else 124 if ended == 124 else 255

    async def _keep(self, console: asyncio.StreamReader, say: Callable[[str], None]) -> None:
        with (self.shared / "console.log").open("w") as log:
            async for line in console:
                text = line.decode(errors="replace").rstrip("\r\n")
                print(text, file=log, flush=True)
                say(text)

    def command(self) -> list[str]:
        """virtme-run of virtme-ng, under a limit that also holds if the harness dies.

        KVM is left alone: there are machines where /dev/kvm is there and hangs.
        """
        shell = f"sh {SHARED}/script; echo $? > {SHARED}/status"
        return [
            *("timeout", "--kill-after=10", str(self.limit), "virtme-run"),
            *("--kimg", str(self.tree.image), "--mods", "auto", "--name", "guest"),
            *("--disable-kvm", "--force-9p", "--cpus", "2", "--memory", "3G"),
            *(
                part
                for folder in ("/etc", "/usr", "/var", "/tmp")
                for part in ("--overlay-rwdir", folder)
            ),
            *("--rwdir", f"{SHARED}={self.shared.resolve()}", "--cwd", "/"),
            *("--show-boot-console", "--kopt", "loglevel=4", "--kopt", "init_on_alloc=0"),
            *("--script-sh", shell),
            *self.root(),
            *EMULATION[self.kernel.machine],
            *self.options,
        ]

    def root(self) -> list[str]:
        """Where the guest's files are; the last of virtme-run's own options."""
        if not self.userland:
            return ["--qemu-opts", *FILES_AGAIN]
        disk = ["--root-disk", str(self.userland.disk), "--root-fstype", "ext4"]
        busybox = ["--busybox", str(self.userland.busybox)]
        return ["--arch", self.userland.arch, *disk, *busybox, "--qemu-opts"]


def copy_sources(target: Path) -> None:
    """Copy the checkout as it is now: who edits meanwhile changes nothing in a guest."""
    made = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__")
    shutil.copytree(CHECKOUT, target, ignore=made, symlinks=True, dirs_exist_ok=True)
