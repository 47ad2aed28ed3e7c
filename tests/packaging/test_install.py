"""make install and make uninstall: all that is needed, nothing else, and nothing left."""

import marshal
import os
import re
from pathlib import Path

import pytest

from bwtop import __version__
from bwtop.capture import cache
from tests.packaging.making import ROOT, make, run, sources, tree
from tests.processes import ran

SHARED = {
    *("bin", "lib", "lib/systemd", "lib/systemd/system", "lib/sysusers.d"),
    *("share", "share/man", "share/man/man1"),
    *("share/bash-completion", "share/bash-completion/completions"),
    *("share/zsh", "share/zsh/site-functions", "share/zsh/vendor-completions"),
    *("share/fish", "share/fish/vendor_completions.d"),
    "share/doc",
}
"""Folders that belong to no program alone: an administrator's own files go there, too."""


COMPLETIONS = {
    "share/bash-completion/completions/bwtop",
    "share/zsh/site-functions/_bwtop",
    "share/fish/vendor_completions.d/bwtop.fish",
}

EXAMPLES = "share/doc/bwtop/examples"


def examples() -> set[str]:
    """Return the examples, with the folders that they are in."""
    folder = ROOT / "share"
    names = ("prometheus", "grafana", "clickhouse")
    found = {path for name in names for path in (folder / name).iterdir()}
    shown = {str(path.relative_to(folder)) for path in found | {path.parent for path in found}}
    return {"share/doc/bwtop", EXAMPLES, *(f"{EXAMPLES}/{name}" for name in shown)}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the prefix of a real installation, without DESTDIR."""
    folder = tmp_path_factory.mktemp("installed")
    make("install", f"PREFIX={folder}")
    return folder


def private(prefix: Path) -> Path:
    return prefix / "share" / "bwtop"


def installed(prefix: Path) -> set[str]:
    """Return the files of the private folder, without byte code."""
    found = (path for path in private(prefix).rglob("*") if path.is_file())
    return {str(path.relative_to(private(prefix))) for path in found if path.suffix != ".pyc"}


def test_what_is_installed_is_what_is_needed(prefix: Path) -> None:
    assert installed(prefix) == sources()
    others = {name for name in tree(prefix) if not name.startswith("share/bwtop")} - SHARED
    services = {"lib/systemd/system/bwtop.service", "lib/sysusers.d/bwtop.conf"}
    shipped = {"share/man/man1/bwtop.1", *COMPLETIONS, *services}
    assert others == {"bin/bwtop", *shipped, *examples()}


def test_command_is_a_relative_link(prefix: Path) -> None:
    """So that the tree can be moved, and what DESTDIR holds is right where it will be."""
    assert os.readlink(prefix / "bin" / "bwtop") == "../share/bwtop/bwtop.py"
    assert os.access(prefix / "bin" / "bwtop", os.X_OK)


def test_unit_starts_what_was_installed(prefix: Path) -> None:
    unit = (prefix / "lib/systemd/system/bwtop.service").read_text()
    assert re.findall(r"^ExecStart=(\S+)", unit, re.MULTILINE) == [f"{prefix}/bin/bwtop"]
    assert "/usr/" not in unit


def test_byte_code_is_there_and_fits_and_everybody_may_read_it(tmp_path: Path) -> None:
    """With the names of where it will be: a traceback knows nothing of DESTDIR.  Whatever root's umask is."""
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/opt/x", umask=0o077)
    folder = private(tmp_path / "opt/x")
    assert [path for path in folder.rglob("*") if not path.stat().st_mode & 4] == []
    modules = [path for path in folder.rglob("*.py") if path.name != "bwtop.py"]
    assert modules
    for module in modules:
        (code,) = (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc")
        content = code.read_bytes()
        stamp, size = (int.from_bytes(content[at : at + 4], "little") for at in (8, 12))
        assert (stamp, size) == (int(module.stat().st_mtime), module.stat().st_size)
        name = marshal.loads(content[16:]).co_filename
        assert name == f"/opt/x/share/bwtop/{module.relative_to(folder)}"


def test_older_installation_leaves_nothing_in_it(tmp_path: Path) -> None:
    """A module that bwtop has no more could be imported in the place of another one."""
    make("install", f"PREFIX={tmp_path}", "COMPILE=")
    (private(tmp_path) / "bwtop" / "gone.py").touch()
    (private(tmp_path) / "bwtop" / "urwid").mkdir()
    make("install", f"PREFIX={tmp_path}", "COMPILE=")
    assert installed(tmp_path) == sources()
    assert not (private(tmp_path) / "bwtop" / "urwid").exists()


def test_uninstall_leaves_what_was_there(tmp_path: Path) -> None:
    for name in ("bin/other", "share/man/man1/other.1", "share/other/file", "lib/other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("not ours")
    before = tree(tmp_path)
    make("install", f"PREFIX={tmp_path}", "COMPILE=")
    run(tmp_path / "bin/bwtop", "--version")
    (private(tmp_path) / "bwtop/__pycache__").mkdir(exist_ok=True)
    (private(tmp_path) / "bwtop/__pycache__/cli.cpython-311.pyc").touch()
    make("uninstall", f"PREFIX={tmp_path}")
    after = tree(tmp_path)
    assert {name: after.pop(name) for name in before} == before
    assert set(after) <= SHARED
    assert all(kind.startswith("folder") for kind in after.values())


def test_uninstall_removes_the_caches(tmp_path: Path) -> None:
    for folder in (cache.ROOT_FOLDER, cache.SERVICE_FOLDER):
        kept = tmp_path / folder.relative_to("/") / "tracepoint"
        kept.parent.mkdir(parents=True)
        kept.touch()
    make("uninstall", f"DESTDIR={tmp_path}")
    assert tree(tmp_path).keys() == {"var", "var/cache"}


def test_default_is_the_administrators_own_tree_and_uninstall_keeps_to_destdir(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        make("install", f"DESTDIR={tmp_path / name}", "COMPILE=")
        assert {path.name for path in (tmp_path / name).iterdir()} == {"usr"}
        assert {path.name for path in (tmp_path / name / "usr").iterdir()} == {"local"}
    unit = (tmp_path / "one/usr/local/lib/systemd/system/bwtop.service").read_text()
    assert "ExecStart=/usr/local/bin/bwtop --record" in unit
    before = tree(tmp_path / "two")
    make("uninstall", f"DESTDIR={tmp_path / 'one'}")
    assert tree(tmp_path / "two") == before
    assert not [path for path in (tmp_path / "one").rglob("*") if not path.is_dir()]


def test_man_pages_and_completions_go_along(tmp_path: Path) -> None:
    """Debian's zsh has another folder for those in /usr."""
    place = [f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    make("install", *place, "COMPILE=")
    found = {name for name in tree(tmp_path) if "bwtop" in Path(name).name}
    expected = {name.replace("site-functions", "vendor-completions") for name in COMPLETIONS}
    expected.add("share/man/man1/bwtop.1")
    assert {f"usr/{name}" for name in expected} <= found
    make("uninstall", *place)
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


# The installed program.


def test_it_runs_from_anywhere(prefix: Path, tmp_path: Path) -> None:
    assert run(prefix / "bin/bwtop", "--version", cwd=tmp_path) == f"bwtop {__version__}\n"
    (tmp_path / "link").symlink_to(prefix / "bin/bwtop")
    assert run(tmp_path / "link", "--version", cwd=tmp_path) == f"bwtop {__version__}\n"


@pytest.mark.kernel
def test_it_measures_and_writes_nothing_to_where_it_is(prefix: Path, tmp_path: Path) -> None:
    before = tree(prefix)
    measured = ran(
        [prefix / "bin/bwtop", "--batch", "-n", "1", "--no-resolve", "--db", tmp_path / "db"],
        cwd=tmp_path,
    )
    assert measured.returncode == 0, measured.stderr
    assert "measuring (backend: " in measured.stderr
    assert "TOTAL" in measured.stdout
    assert tree(prefix) == before
