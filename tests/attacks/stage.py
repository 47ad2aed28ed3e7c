"""A throw-away system to attack: real users, real sudo and an installed bwtop, and nothing of it on this machine.

One process keeps a mount and a network namespace.  In it overlayfs stacks a root file system: this machine's below, then a
layer with the users and bwtop, then an empty one for each test.  Whatever a test changes is in that last layer, where it
is found without a list of places to look at.

Never follow a path of the stage from outside: an absolute link in it leads to this machine's own files.  Attacks are shell
scripts that run in the stage, and the layers are walked without following links.
"""

import contextlib
import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.attacks import layers

CHECKOUT: Final = Path(__file__).resolve().parents[2]

HANG: Final = 180.0
"""Seconds after which something that should have happened never will."""

TICK: Final = 0.02

BATCH: Final = ("--batch", "-n", "1", "-d", "0.3")
"""The shortest run that opens the history."""

SECRET: Final = "stage-secret-0f3a9c71d2"
"""In every file of the stage that only root, or only bob, may read."""

TOKEN: Final = "a-token-of-hers-4711"

FIXED: Final = (
    f"/usr/bin/bwtop {' '.join(BATCH)}",
    "/usr/bin/bwtop --batch -d 0.3",
    "/usr/bin/bwtop --record",
    "/usr/bin/bwtop --record --metrics 127.0.0.1",
    "/usr/bin/bwtop --serve",
    "/usr/bin/bwtop --history",
    "/usr/bin/bwtop --check",
    "/usr/bin/bwtop --demo",
    '/usr/bin/bwtop ""',
)
"""The commands that ada may run as root, as sudoers(5) spells them: bwtop with arguments that she did not choose."""

_SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KEEPER: Final = """
mount -t tmpfs -o mode=755 stage "$1"
ip link set lo up
echo kept
exec sleep infinity
"""

_MOUNTS: Final = """
mkdir "$2" "$3" "$4"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
mount -t proc proc "$4/proc"
mount --rbind /sys "$4/sys"
mkdir -p "$4/dev/pts"
mount --bind /dev/pts "$4/dev/pts"
"""

_USERS: Final = f"""
groupadd crew
useradd -m -s /bin/sh -G crew ada
useradd -m -s /bin/sh bob
if getent passwd bwtop > /dev/null; then userdel bwtop; fi
usermod -p '{SECRET}' bob
chmod 755 /home/ada /home/bob
"""
"""A script that makes the users; tests that need a system user for bwtop make it themselves."""

_DEVICES: Final = """
cd /dev
rm -rf null zero full random urandom tty ptmx shm
mknod -m 666 null c 1 3
mknod -m 666 zero c 1 5
mknod -m 666 full c 1 7
mknod -m 666 random c 1 8
mknod -m 666 urandom c 1 9
mknod -m 666 tty c 5 0
mknod -m 666 ptmx c 5 2
install -d -m 1777 shm
"""

_FILES: Final = f"""
chmod 1777 /tmp /var/tmp
chmod 700 /root
install -d -m 2775 -g crew /srv/crew
rm -rf /etc/bwtop /var/lib/bwtop /var/cache/bwtop
echo "127.0.0.1 localhost $(hostname)" > /etc/hosts
install -d /etc/cron.d
install -m 644 /dev/null /etc/cron.d/empty
(umask 077; mkdir -p /root/settings/bwtop
 echo '{SECRET}' > /root/secret
 echo '{SECRET} = 1' > /root/settings/bwtop/config.toml
 echo '{SECRET}' > /home/bob/private)
echo 'what bob noted' > /home/bob/notes
chown bob:bob /home/bob/private /home/bob/notes
"""

_SUDOERS: Final = f"""
rm -rf /etc/sudoers.d
install -d -m 750 /etc/sudoers.d
cat > /etc/sudoers <<'END'
Defaults env_reset
Defaults secure_path="{_SEARCH}"
Defaults use_pty
root ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
END
"""
"""Debian's own, without mails and without the groups it admits."""

_HISTORY: Final = f"""
sudo -n bwtop {" ".join(BATCH)} > /dev/null 2>&1
mv .local/state/bwtop/history.db made.db
rm -rf .local
"""
"""A script that leaves ada a history that bwtop recognizes as one."""


def wait_until(condition: Callable[[], object], what: str, hang: float = HANG) -> None:
    """Wait until something is so; fail if it never is."""
    deadline = time.monotonic() + hang
    while not condition():
        assert time.monotonic() < deadline, f"not so in {hang} s: {what}"
        time.sleep(TICK)


def refused(result: subprocess.CompletedProcess[str], *told: str) -> None:
    """Check that bwtop ended with one line that says this, and shows no secret."""
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result
    assert SECRET not in result.stderr
    for text in told:
        assert text in result.stderr


def _is_in(name: str, directories: Sequence[str]) -> bool:
    return any(f"/{name}/".startswith(f"{directory}/") for directory in directories)


def _namespace(pid: int) -> str:
    """Return the mount namespace of a process; empty: it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def program(pid: int) -> str:
    """Return the name of the program that a process runs; empty: it has ended."""
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    except OSError:
        return ""


class Namespaces:
    """A mount and a network namespace, as long as a process keeps them."""

    def __init__(self, folder: Path) -> None:
        """Cover the folder, in that namespace alone, with a file system for all layers."""
        command = [
            *("setpriv", "--pdeathsig", "KILL"),  # it ends with a test run that is killed
            *("unshare", "--mount", "--net", "--propagation", "private"),
            *("sh", "-euc", _KEEPER, "sh", str(folder)),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "kept\n", "this kernel makes no namespaces"
        self.folder = folder
        self.top = Path(f"/proc/{self._process.pid}/root")
        """The root directory as it is in the namespace, from outside."""

    def close(self) -> None:
        """End the namespaces, and with them all mounts."""
        self.kill()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def entered(self, *words: str) -> list[str]:
        """Return a command that runs in them."""
        return ["nsenter", f"--target={self._process.pid}", "--mount", "--net", *words]

    def pids(self) -> list[int]:
        """Return all processes in them but the keeper."""
        kept = _namespace(self._process.pid)
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return sorted(p for p in pids if p != self._process.pid and _namespace(p) == kept)

    def kill(self) -> None:
        """Kill all processes in them but the keeper."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pids(), "the processes of the stage have ended")


class Stage:
    """One test's root file system, in which it runs commands as the users it likes."""

    def __init__(self, namespaces: Namespaces, below: list[str], name: str) -> None:
        """Stack an empty layer on those below, the topmost first."""
        self._namespaces = namespaces
        self._below = below
        self.upper, work, self.outside = (
            str(namespaces.folder / f"{name}-{part}") for part in ("upper", "work", "root")
        )
        mounts = [":".join(below), self.upper, work, self.outside]
        command = namespaces.entered("sh", "-euc", _MOUNTS, "sh", *mounts)
        subprocess.run(command, check=True)

    def close(self) -> None:
        """End all that runs in it and take it down."""
        self._namespaces.kill()
        command = self._namespaces.entered("umount", "--recursive", "--lazy", self.outside)
        subprocess.run(command, check=True)

    def kill(self) -> None:
        """End all that runs in it."""
        self._namespaces.kill()

    def path(self, name: str) -> Path:
        """Return where the test finds a file of its own; a link on the way leads astray."""
        return Path(f"{self._namespaces.top}{self.outside}{name}")

    def bwtops(self) -> list[int]:
        """Return the processes of bwtop; sudo is none of them."""
        return [pid for pid in self._namespaces.pids() if program(pid).startswith("python3")]

    # What happens in it

    def command(self, user: str, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Return a command that runs in a user's home, with the environment of a login."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "PATH": _SEARCH,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **(env or {}),
        }
        becoming = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        settings = [f"{name}={text}" for name, text in variables.items()]
        return self._namespaces.entered(
            *("chroot", self.outside),
            *(becoming if user != "root" else []),
            *("env", f"--chdir={home}", "-i", *settings),
            *words,
        )

    def run(
        self, user: str, *words: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a user's command to its end, which must come."""
        command = self.command(user, *words, env=env)
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        ) as process:
            try:
                out, err = process.communicate(timeout=HANG)
            except subprocess.TimeoutExpired:
                self.kill()  # all of it: what sudo started has the pipes open, too
                raise AssertionError(f"{words} did not end in {HANG} s") from None
            return subprocess.CompletedProcess(command, process.returncode, out, err)

    def sudo(
        self, *flags: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ada's `sudo bwtop`."""
        return self.run("ada", "sudo", "-n", "bwtop", *flags, env=env)

    def shell(self, user: str, script: str) -> str:
        """Return what a user's script prints; it must succeed."""
        result = self.run(user, "sh", "-euc", script)
        assert result.returncode == 0, (script, result.stderr)
        return result.stdout

    def allow(self, *commands: str, defaults: str = "") -> None:
        """Let ada run these commands as root, as sudoers(5) spells them, and nothing else."""
        rules = f"{defaults}\nada ALL=(root) NOPASSWD: {', '.join(commands)}\n"
        path = self.path("/etc/sudoers.d/bwtop")
        path.write_text(rules)
        path.chmod(0o440)
        self.shell("root", "visudo -cq")

    def allow_any_arguments(self, defaults: str = "") -> None:
        """Let ada start bwtop as root in every way there is."""
        self.allow("/usr/bin/bwtop", defaults=defaults)

    # What came of it

    @contextlib.contextmanager
    def unchanged(self, *but: str, free: Sequence[str] = ()) -> Iterator[None]:
        """Fail if a file is another than before; in these directories, if it is root's now; in free ones never."""
        top = Path(f"{self._namespaces.top}{self.upper}")
        before = layers.entries(top)
        yield
        after = layers.entries(top)
        found = []
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name), after.get(name)
            if old == new or _is_in(name, free) or "/__pycache__/" in name:
                continue
            judge = layers.taken_by_root if _is_in(name, but) else layers.change
            found.append(judge(name, old or self._entry_below(name), new))
        changes = [change for change in found if change]
        assert not changes, changes

    def _entry_below(self, name: str) -> layers.Entry | None:
        """Return what the layers below have under that name."""
        for layer in self._below:
            found = layers.entry(Path(f"{self._namespaces.top}{layer.rstrip('/')}/{name}"))
            if found:
                return None if found.is_whiteout else found
        return None


def _install(namespaces: Namespaces, base: Stage) -> None:
    """Install bwtop as `make install` does, and the driver for ClickHouse as a package would."""
    root = base.outside
    make = ["make", "-s", "-C", str(CHECKOUT), "install"]
    settings = [f"DESTDIR={root}", "PREFIX=/usr", "PYTHON=/usr/bin/python3"]
    subprocess.run(namespaces.entered(*make, *settings), check=True)
    for name in ("clickhouse_driver", "clickhouse_cityhash", "lz4", "pytz", "tzlocal"):
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.submodule_search_locations, f"{name} is no package"
        (source,) = spec.submodule_search_locations
        copy = ["cp", "-R", source, f"{root}/usr/lib/python3/dist-packages/"]
        subprocess.run(namespaces.entered(*copy), check=True)


def build(namespaces: Namespaces) -> list[str]:
    """Return the layers below a stage: this machine, and what all stages share."""
    base = Stage(namespaces, ["/"], "base")
    for script in (_USERS, _DEVICES, _FILES, _SUDOERS):
        base.shell("root", script)
    _install(namespaces, base)
    base.allow(*FIXED)
    base.shell("ada", _HISTORY)
    base.close()
    return [base.upper, "/"]
