"""The mount point of the cgroup v2 hierarchy, from the text of a mountinfo file and from its inode."""

import sys
from pathlib import Path

import pytest

from bwtop.capture import cgroups
from bwtop.capture.cgroups import NoRootError
from bwtop.capture.mounts import mounts, parsed
from tests.processes import ran

UNIFIED = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
24 22 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
"""

HYBRID = """\
24 22 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
31 24 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec shared:9 - cgroup2 cgroup2 rw
33 31 0:30 / /sys/fs/cgroup/systemd rw,nosuid shared:10 - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:11 - cgroup cgroup rw,memory
"""

V1_ONLY = """\
31 24 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup2 rw,cpu
40 22 0:50 / /mnt/cgroup2 rw,relatime - ext4 cgroup2 rw
"""

BIND_MOUNT = """\
50 24 0:26 /system.slice /srv/part rw,relatime shared:9 - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("mountinfo", "points"),
    [
        (UNIFIED, ["/sys/fs/cgroup"]),
        (HYBRID, ["/sys/fs/cgroup/unified"]),
        (V1_ONLY, []),
        ("", []),
        (BIND_MOUNT + UNIFIED, ["/srv/part", "/sys/fs/cgroup"]),
        ("29 24 0:26 / /cg rw - cgroup2 none rw\n", ["/cg"]),
        ("29 24 0:26 /../.. /cg rw shared:9 master:1 unbindable - cgroup2 none rw\n", ["/cg"]),
    ],
    ids=["unified", "hybrid", "v1", "empty", "bind-first", "no-tags", "many-tags"],
)
def test_mounts_of_the_hierarchy_are_found(mountinfo: str, points: list[str]) -> None:
    assert list(cgroups.mount_points(parsed(mountinfo))) == points


@pytest.mark.parametrize(
    ("escaped", "path"),
    [
        (r"/my\040cgroups", "/my cgroups"),
        (r"/tab\011new\012line", "/tab\tnew\nline"),
        (r"/back\134slash", "/back\\slash"),
        (r"/not\134040a-space", "/not\\040a-space"),
    ],
)
def test_escapes_of_the_kernel_are_undone(escaped: str, path: str) -> None:
    line = f"29 24 0:26 / {escaped} rw - cgroup2 cgroup2 rw\n"
    assert list(cgroups.mount_points(parsed(line))) == [path]


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\x0bb", b"a\x0cb", b"a\x1cb", "a\u2028b".encode()])
def test_strange_names_of_other_mounts_do_no_harm(name: bytes, tmp_path: Path) -> None:
    """Users mount FUSE file systems where they like, and a path need not be UTF-8."""
    mountinfo = tmp_path / "mountinfo"
    fuse = b"90 22 0:70 / /home/ada/" + name + b" rw - fuse.sshfs ada@example.org: rw\n"
    mountinfo.write_bytes(fuse + UNIFIED.encode())
    assert list(cgroups.mount_points(mounts(mountinfo))) == ["/sys/fs/cgroup"]


def process(proc: Path, name: str, parent: str, mountinfo: str) -> None:
    (proc / name).mkdir()
    (proc / name / "mountinfo").write_text(mountinfo)
    (proc / name / "status").write_text(f"Name:\tPPid: 9\nTgid:\t1\nPPid:\t{parent}\nUid:\t0\n")


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every mount but those in /srv be of the whole hierarchy: no file system of a test can have its inode."""
    inodes = {"/part": 4711, "/hidden": None}
    monkeypatch.setattr(cgroups, "inode", lambda path: inodes.get(path[path.rindex("/") :], 1))


@pytest.mark.usefixtures("whole")
def test_hierarchy_that_only_an_ancestor_sees(tmp_path: Path) -> None:
    process(tmp_path, "self", "70", V1_ONLY)
    process(tmp_path, "70", "7", BIND_MOUNT)
    with pytest.raises(NoRootError):  # 7 cannot be read
        cgroups.v2_root(tmp_path)
    process(tmp_path, "7", "1", BIND_MOUNT + HYBRID)
    process(tmp_path, "1", "0", UNIFIED)
    assert cgroups.v2_root(tmp_path) == f"{tmp_path}/7/root/sys/fs/cgroup/unified"


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize(
    ("mountinfo", "reason"),
    [
        ("", "no cgroup v2 hierarchy is mounted"),
        (BIND_MOUNT.replace("part", "hidden"), "no cgroup v2 hierarchy is mounted"),
        (BIND_MOUNT, "only a part of the .* hierarchy is mounted; .* with --cgroupns=host"),
    ],
)
def test_hierarchy_that_nobody_sees(tmp_path: Path, mountinfo: str, reason: str) -> None:
    process(tmp_path, "self", "1", V1_ONLY)
    process(tmp_path, "1", "0", mountinfo)
    with pytest.raises(NoRootError, match=reason):
        cgroups.v2_root(tmp_path)


PART = """
mkdir "$1/bwtop_test_part"; echo $$ >"$1/bwtop_test_part/cgroup.procs"
exec unshare --cgroup --mount sh -ec 'umount -a -t cgroup2; mount -t cgroup2 none "$1"; grep -q " / $1 .* cgroup2 " /proc/self/mountinfo
    exec "$2" -c "from bwtop.capture.cgroups import inode; print(inode(\\"$1\\"))"' sh "$2" "$3"
"""
"""Mounts the hierarchy in a cgroup namespace, where mountinfo has "/" for the root of a part."""


@pytest.mark.kernel
def test_root_of_a_cgroup_namespace_is_not_that_of_the_hierarchy(tmp_path: Path) -> None:
    root = cgroups.v2_root()
    assert cgroups.inode(root) == 1
    assert (Path(root) / "cgroup.controllers").exists()
    group = Path(root) / "bwtop_test_part"
    try:
        found = ran(["sh", "-ec", PART, "sh", root, tmp_path, sys.executable], check=True)
    finally:
        group.rmdir()
    assert int(found.stdout) > 1
    assert cgroups.inode(str(tmp_path)) is None
