"""make rpm: the package, its contents, and what it does with the service where systemd runs.

Debian's rpm installs it into a fresh Debian: the names of its dependencies are Fedora's, so those are not checked there.
"""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bwtop import __version__
from tests.packaging.debian import Machine, Root, booted
from tests.packaging.making import ROOT, Tree, copy_of_checkout, make, run, tree
from tests.packaging.modes import SIZE, Installed, check_batch, question, send, sent
from tests.packaging.test_deb import as_debian_has_it, listed

FEDORA = {
    "python3-bpfcc": "python3-bcc",
    "python3-urwid": "python3-urwid",
    "python3-humanize": "python3-humanize",
    "libbpf1": "libbpf",
}
"""Fedora's names of the needed packages, by Debian's."""

DOCUMENTS = {"CHANGELOG.md", "README.md", "guide"}
DATABASE = "/var/lib/bwtop/history.db"
PACKAGE = "/var/tmp/bwtop.rpm"


@pytest.fixture(scope="module")
def rpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package; check that nothing else is made."""
    checkout = copy_of_checkout(tmp_path_factory.mktemp("rpm") / "checkout")
    before = tree(checkout)
    make("rpm", checkout=checkout)
    name = f"dist/bwtop-{as_debian_has_it(__version__)}-1.noarch.rpm"
    assert (checkout / name).exists()
    assert tree(checkout).keys() - before.keys() == {"dist", name}
    return checkout / name


def test_dependencies_are_fedoras_packages(rpm: Path) -> None:
    assert FEDORA.keys() == listed("RUN_PACKAGES")
    lines = run("rpm", "-qp", "--requires", rpm).splitlines()
    needed = {line.split()[0] for line in lines if not line.startswith(("rpmlib(", "/bin/sh"))}
    assert needed == {"python3", *FEDORA.values()}


def test_contents_are_what_make_installs(rpm: Path, tmp_path: Path) -> None:
    """Byte for byte, with the same modes; zsh has another folder in Fedora."""
    archive = tmp_path / "rpm.tgz"
    packaged, installed = tmp_path / "rpm", tmp_path / "make"
    packaged.mkdir()
    run("sh", "-c", 'rpm2archive - <"$0" >"$1"', rpm, archive)
    run("tar", "-xzf", archive, "-C", packaged)
    zsh = f"ZSH_COMPLETION={installed}/usr/share/zsh/site-functions/_bwtop"
    make("install", f"DESTDIR={installed}", "PREFIX=/usr", "COMPILE=", zsh)
    shutil.rmtree(packaged / "usr/share/licenses")
    for name in DOCUMENTS:
        source = ROOT / ("man" if name == "guide" else "") / name
        shown = packaged / "usr/share/doc/bwtop" / name
        run("diff", "-r", source, shown)
        shutil.rmtree(shown) if shown.is_dir() else shown.unlink()
    run("diff", "-r", packaged, installed)
    assert files(packaged) == files(installed)


def files(folder: Path) -> Tree:
    """Return the files without their times; leave out the folders."""
    found = {name: kind.rsplit(" ", 1)[0] for name, kind in tree(folder).items()}
    return {name: kind for name, kind in found.items() if not kind.startswith("folder")}


# Installed, in a booted machine.  The tests build on each other, in this order.


@pytest.fixture(scope="module")
def root(fresh: Root, rpm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """Yield a Debian with everything that the package needs, by Debian's names."""
    root = Root(tmp_path_factory.mktemp("fedora") / "root")
    run("cp", "-a", fresh.path, root.path)
    needed = [*FEDORA, "libjs-chart.js", "rpm", "systemd"]
    root.run("apt-get", "install", "-q", "-y", "--no-install-recommends", *needed)
    shutil.copy(rpm, root.path / PACKAGE[1:])
    yield root
    shutil.rmtree(root.path)


@pytest.fixture(scope="module")
def machine(root: Root) -> Iterator[Machine]:
    with booted(root) as running:
        running.run("rpm", "--install", "--nodeps", PACKAGE)
        yield running


@pytest.mark.kernel
def test_service_is_the_administrators_decision(machine: Machine) -> None:
    assert machine.state("bwtop", "UnitFileState") == "disabled"
    assert machine.state("bwtop", "ActiveState") == "inactive"
    assert machine.run("id", "-nG", "bwtop") == "bwtop\n"


@pytest.mark.kernel
def test_python_has_compiled_it(machine: Machine, root: Root) -> None:
    folder = root.path / "usr/share/bwtop/bwtop"
    modules, compiled = list(folder.rglob("*.py")), list(folder.rglob("__pycache__/*.pyc"))
    assert len(modules) == len(compiled) > 0


@pytest.mark.kernel
def test_it_measures(machine: Machine, root: Root) -> None:
    check_batch(Installed(partial(root.command, "bwtop"), "/root/history.db", Path("/")))


@pytest.mark.kernel
def test_upgrade_goes_on_with_recording(machine: Machine) -> None:
    """And does not begin with it where it was off."""
    upgrade = ("rpm", "--upgrade", "--force", "--nodeps", PACKAGE)
    machine.run("systemctl", "start", "bwtop")
    main = machine.state("bwtop", "MainPID")
    machine.run(*upgrade)
    assert machine.state("bwtop", "ActiveState") == "active"
    assert machine.state("bwtop", "MainPID") != main
    sender = send()
    machine.run("systemctl", "stop", "bwtop")
    assert sent(machine.run("bwtop", *question(sender), "--db", DATABASE)) == SIZE
    machine.run(*upgrade)
    assert machine.state("bwtop", "ActiveState") == "inactive"


@pytest.mark.kernel
def test_removal_stops_the_service_and_keeps_the_history(machine: Machine, root: Root) -> None:
    machine.run("systemctl", "enable", "--now", "bwtop")
    machine.run("rpm", "--erase", "bwtop")
    assert machine.state("bwtop", "ActiveState") == "inactive"
    names = run("find", root.path, "-xdev", "-name", "*bwtop*").splitlines()
    left = {re.sub(r".*/root/", "", name) for name in names}
    assert left - {PACKAGE[1:]} == {"var/lib/bwtop"}
    assert (root.path / DATABASE[1:]).exists()
